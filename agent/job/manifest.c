/* action.yml, all but the steps of a composite (job-execution.md §7.1). */
#include "manifest_impl.h"

/* ---- freeing ---- */

void wh_action_manifest_free(struct wh_action_manifest *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->ninputs; i++) {
        free(m->inputs[i].name);
        wh_token_free(m->inputs[i].value);
        free(m->inputs[i].deprecation);
    }
    for (size_t i = 0; i < m->nsteps; i++)
        wh_step_clear(&m->steps[i]);
    char *const texts[] = {m->name, m->main, m->pre, m->post, m->pre_if, m->post_if, m->image};
    for (size_t i = 0; i < WH_COUNT(texts); i++)
        free(texts[i]);
    wh_token_free(m->args);
    wh_token_free(m->env);
    wh_token_free(m->outputs);
    free(m->inputs);
    free(m->steps);
    free(m);
}

void wh_action_manifest_free_ptr(struct wh_action_manifest **m)
{
    wh_action_manifest_free(*m);
}

/* ---- reading ---- */

int wh_action_manifest_check_keys(const struct wh_convert *t, const struct wh_yaml *map,
                                  const char *const *names, struct wh_error *err)
{
    for (size_t i = 0; i < map->nitems; i += 2) {
        const struct wh_yaml *key = map->items[i];
        bool known = false;
        for (size_t k = 0; names[k] && !known; k++)
            known = key->kind == WH_YAML_SCALAR && wh_streq_ci(key->text, names[k]);
        if (!known)
            return wh_convert_fail(t, key, err, "Unexpected value '%s'", key->text ? key->text : "");
        for (size_t k = 0; k < i; k += 2)
            if (wh_streq_ci(map->items[k]->text, key->text))
                return wh_convert_fail(t, key, err, "'%s' is already defined", key->text);
    }
    return 0;
}

static int need(const struct wh_convert *t, const struct wh_yaml *node, enum wh_yaml_kind kind,
                struct wh_error *err)
{
    static const char *const what[] = {
        [WH_YAML_SCALAR] = "string", [WH_YAML_SEQUENCE] = "sequence", [WH_YAML_MAPPING] = "mapping"};
    if (node->kind == kind)
        return 0;
    if (kind == WH_YAML_SCALAR)
        return wh_convert_fail(t, node, err, "%s",
                               node->kind == WH_YAML_MAPPING ? "A mapping was not expected"
                                                             : "A sequence was not expected");
    return wh_convert_fail(t, node, err, "Expected a %s", what[kind]);
}

/* A non-empty string of runs; without the key *out stays NULL. */
static int read_text(const struct wh_convert *t, const struct wh_yaml *map, const char *key, char **out,
                     struct wh_error *err)
{
    const struct wh_yaml *node = wh_yaml_get(map, key);
    if (!node)
        return 0;
    *out = wh_convert_text(t, node, err);
    if (!*out)
        return -1;
    return (*out)[0] ? 0 : wh_convert_fail(t, node, err, "Unexpected value ''");
}

static int read_token(struct wh_convert *t, const struct wh_yaml *map, const char *key,
                      enum wh_yaml_kind kind, enum wh_place place, struct wh_token **out,
                      struct wh_error *err)
{
    const struct wh_yaml *node = wh_yaml_get(map, key);
    if (!node)
        return 0;
    if (need(t, node, kind, err) < 0)
        return -1;
    *out = wh_convert_token(t, node, place, err);
    return *out ? 0 : -1;
}

static int read_input(struct wh_action_manifest *m, struct wh_convert *t, const struct wh_yaml *key,
                      const struct wh_yaml *value, struct wh_error *err)
{
    if (need(t, key, WH_YAML_SCALAR, err) < 0)
        return -1;
    /* `name:` alone declares an input, too. */
    bool nothing = value->kind == WH_YAML_SCALAR && value->plain && value->text[0] == '\0';
    if (!nothing && need(t, value, WH_YAML_MAPPING, err) < 0)
        return -1;
    for (size_t i = 0; i < m->ninputs; i++)
        if (wh_streq_ci(m->inputs[i].name, key->text))
            return wh_convert_fail(t, key, err, "'%s' is already defined", key->text);
    if (m->ninputs == WH_MAX_ACTION_MANIFEST_INPUTS)
        return wh_convert_fail(t, key, err, "more than %u inputs", WH_MAX_ACTION_MANIFEST_INPUTS);
    m->inputs = wh_reallocarray(m->inputs, m->ninputs + 1, sizeof *m->inputs);
    struct wh_action_manifest_input *in = &m->inputs[m->ninputs++];
    *in = (struct wh_action_manifest_input){.name = wh_strdup(key->text)};
    if (nothing)
        return 0;
    const struct wh_yaml *deprecation = wh_yaml_get(value, "deprecationMessage");
    if (deprecation) {
        in->deprecation = wh_convert_text(t, deprecation, err);
        if (!in->deprecation)
            return -1;
    }
    const struct wh_yaml *standard = wh_yaml_get(value, "default");
    if (!standard)
        return 0;
    if (need(t, standard, WH_YAML_SCALAR, err) < 0)
        return -1;
    in->value = wh_convert_token(t, standard, WH_PLACE_ACTION_INPUT, err);
    return in->value ? 0 : -1;
}

static int read_inputs(struct wh_action_manifest *m, struct wh_convert *t, const struct wh_yaml *root,
                       struct wh_error *err)
{
    const struct wh_yaml *inputs = wh_yaml_get(root, "inputs");
    if (!inputs || (inputs->kind == WH_YAML_SCALAR && inputs->text[0] == '\0'))
        return 0;
    if (need(t, inputs, WH_YAML_MAPPING, err) < 0)
        return -1;
    for (size_t i = 0; i < inputs->nitems; i += 2)
        if (read_input(m, t, inputs->items[i], inputs->items[i + 1], err) < 0)
            return -1;
    return 0;
}

/* Only a composite's have values. */
static int read_outputs(struct wh_action_manifest *m, struct wh_convert *t, const struct wh_yaml *root,
                        struct wh_error *err)
{
    static const char *const keys[] = {"description", "value", NULL};
    const struct wh_yaml *outputs = wh_yaml_get(root, "outputs");
    if (!outputs || (outputs->kind == WH_YAML_SCALAR && outputs->text[0] == '\0'))
        return 0;
    if (need(t, outputs, WH_YAML_MAPPING, err) < 0)
        return -1;
    m->outputs = wh_token_new(WH_TOKEN_MAPPING, t->file_index, (int)outputs->line, (int)outputs->col);
    for (size_t i = 0; i < outputs->nitems; i += 2) {
        const struct wh_yaml *key = outputs->items[i];
        const struct wh_yaml *definition = outputs->items[i + 1];
        bool nothing = definition->kind == WH_YAML_SCALAR && definition->text[0] == '\0';
        if (need(t, key, WH_YAML_SCALAR, err) < 0)
            return -1;
        if (nothing)
            continue;
        if (need(t, definition, WH_YAML_MAPPING, err) < 0 ||
            wh_action_manifest_check_keys(t, definition, keys, err) < 0)
            return -1;
        wh_autotoken *value = NULL;
        if (read_token(t, definition, "value", WH_YAML_SCALAR, WH_PLACE_COMPOSITE_OUTPUTS, &value, err) < 0)
            return -1;
        if (value)
            wh_token_add_pair(m->outputs, wh_token_string(key->text, strlen(key->text)), wh_steal(&value));
    }
    return 0;
}

/* ---- runs ---- */

static int read_conditions(struct wh_action_manifest *m, const struct wh_convert *t,
                           const struct wh_yaml *runs, struct wh_error *err)
{
    if (read_text(t, runs, "pre-if", &m->pre_if, err) < 0 ||
        read_text(t, runs, "post-if", &m->post_if, err) < 0)
        return -1;
    if (!m->pre_if)
        m->pre_if = wh_strdup("always()");
    if (!m->post_if)
        m->post_if = wh_strdup("always()");
    return 0;
}

static int read_node(struct wh_action_manifest *m, struct wh_convert *t, const struct wh_yaml *runs,
                     struct wh_error *err)
{
    static const char *const keys[] = {"using", "main", "pre", "pre-if", "post", "post-if", NULL};
    m->kind = WH_MANIFEST_NODE;
    if (wh_action_manifest_check_keys(t, runs, keys, err) < 0 ||
        read_text(t, runs, "main", &m->main, err) < 0 || read_text(t, runs, "pre", &m->pre, err) < 0 ||
        read_text(t, runs, "post", &m->post, err) < 0)
        return -1;
    if (!m->main)
        return wh_fail(err, WH_E_PARSE,
                       "You are using a JavaScript Action but there is not an entry JavaScript file provided "
                       "in %s.",
                       t->file);
    return read_conditions(m, t, runs, err);
}

static int read_docker(struct wh_action_manifest *m, struct wh_convert *t, const struct wh_yaml *runs,
                       struct wh_error *err)
{
    static const char *const keys[] = {"using",          "image",           "entrypoint", "args",    "env",
                                       "pre-entrypoint", "post-entrypoint", "pre-if",     "post-if", NULL};
    m->kind = WH_MANIFEST_DOCKER;
    if (wh_action_manifest_check_keys(t, runs, keys, err) < 0 ||
        read_text(t, runs, "image", &m->image, err) < 0 ||
        read_text(t, runs, "entrypoint", &m->main, err) < 0 ||
        read_text(t, runs, "pre-entrypoint", &m->pre, err) < 0 ||
        read_text(t, runs, "post-entrypoint", &m->post, err) < 0)
        return -1;
    if (!m->image)
        return wh_fail(err, WH_E_PARSE,
                       "You are using a Container Action but an image is not provided in %s.", t->file);
    if (read_token(t, runs, "args", WH_YAML_SEQUENCE, WH_PLACE_ACTION_ARGS, &m->args, err) < 0 ||
        read_token(t, runs, "env", WH_YAML_MAPPING, WH_PLACE_ACTION_ARGS, &m->env, err) < 0)
        return -1;
    return read_conditions(m, t, runs, err);
}

static int read_composite(struct wh_action_manifest *m, struct wh_convert *t, const struct wh_yaml *root,
                          const struct wh_yaml *runs, struct wh_error *err)
{
    static const char *const keys[] = {"using", "steps", NULL};
    const struct wh_yaml *steps = wh_yaml_get(runs, "steps");
    m->kind = WH_MANIFEST_COMPOSITE;
    if (wh_action_manifest_check_keys(t, runs, keys, err) < 0)
        return -1;
    if (!steps || (steps->kind == WH_YAML_SCALAR && steps->text[0] == '\0'))
        return wh_fail(err, WH_E_PARSE,
                       "You are using a composite action but there are no steps provided in %s.", t->file);
    if (need(t, steps, WH_YAML_SEQUENCE, err) < 0 || wh_action_manifest_read_steps(m, t, steps, err) < 0)
        return -1;
    m->pre_if = wh_strdup("always()");
    m->post_if = wh_strdup("always()");
    return read_outputs(m, t, root, err);
}

static int read_runs(struct wh_action_manifest *m, struct wh_convert *t, const struct wh_yaml *root,
                     struct wh_error *err)
{
    static const struct {
        const char *using;
        int node;
    } nodes[] = {{"node12", 12}, {"node16", 16}, {"node20", 20}, {"node24", 24}};
    const struct wh_yaml *runs = wh_yaml_get(root, "runs");
    if (!runs)
        return wh_fail(err, WH_E_PARSE, "Top level 'runs:' section is required for %s", t->file);
    if (need(t, runs, WH_YAML_MAPPING, err) < 0)
        return -1;
    wh_autofree char *kind = NULL;
    if (read_text(t, runs, "using", &kind, err) < 0)
        return -1;
    if (!kind)
        return wh_fail(err, WH_E_PARSE,
                       "Missing 'using' value. 'using' requires 'composite', 'docker', 'node12', 'node16', "
                       "'node20' or 'node24'.");
    if (wh_streq_ci(kind, "docker"))
        return read_docker(m, t, runs, err);
    if (wh_streq_ci(kind, "composite"))
        return read_composite(m, t, root, runs, err);
    for (size_t i = 0; i < WH_COUNT(nodes); i++) {
        if (wh_streq_ci(kind, nodes[i].using)) {
            m->node = nodes[i].node;
            return read_node(m, t, runs, err);
        }
    }
    return wh_fail(err, WH_E_UNSUPPORTED,
                   "Specified argument was out of the range of valid values. (Parameter ''using: %s' is not "
                   "supported, use 'docker', 'node12', 'node16', 'node20' or 'node24' instead.')",
                   kind);
}

static int read_root(struct wh_action_manifest *m, struct wh_convert *t, const struct wh_yaml *root,
                     struct wh_error *err)
{
    if (!root)
        return wh_fail(err, WH_E_PARSE, "Top level 'runs:' section is required for %s", t->file);
    if (need(t, root, WH_YAML_MAPPING, err) < 0)
        return -1;
    for (size_t i = 0; i < root->nitems; i += 2)
        for (size_t k = 0; k < i; k += 2)
            if (wh_streq_ci(root->items[k]->text, root->items[i]->text))
                return wh_convert_fail(t, root->items[i], err, "'%s' is already defined",
                                       root->items[i]->text);
    const struct wh_yaml *name = wh_yaml_get(root, "name");
    if (name) {
        m->name = wh_convert_text(t, name, err);
        if (!m->name)
            return -1;
    }
    if (read_inputs(m, t, root, err) < 0)
        return -1;
    return read_runs(m, t, root, err);
}

struct wh_action_manifest *wh_action_manifest_parse(const char *text, size_t len, const char *name,
                                                    int file_index, char **error, struct wh_error *err)
{
    wh_autoyaml doc = {0};
    wh_autoerror cause = {0};
    struct wh_convert t = {.file = name, .file_index = file_index};
    wh_autoactionmanifest *m = wh_calloc(1, sizeof *m);
    *error = NULL;
    if (len > WH_MAX_ACTION_MANIFEST_BYTES)
        wh_fail(&cause, WH_E_LIMIT, "%s has more than %zu bytes", name, WH_MAX_ACTION_MANIFEST_BYTES);
    else if (wh_yaml_parse(text, len, name, &doc, &cause) == 0 && read_root(m, &t, doc.root, &cause) == 0)
        return wh_steal(&m);
    *error = wh_strdup(wh_error_text(&cause));
    wh_fail(err, WH_E_PARSE, "Failed to load %s", name);
    return NULL;
}

struct wh_action_manifest *wh_action_manifest_of_dockerfile(const char *file)
{
    struct wh_action_manifest *m = wh_calloc(1, sizeof *m);
    m->kind = WH_MANIFEST_DOCKER;
    m->image = wh_strdup(file);
    m->pre_if = wh_strdup("always()");
    m->post_if = wh_strdup("always()");
    return m;
}
