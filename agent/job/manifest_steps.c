/* The steps of a composite action: the same struct as those of a job, so that one engine runs both
 * (job-execution.md §7.3). */
#include <ctype.h>

#include "manifest_impl.h"
#include "wherry/base/digest.h"

struct names {
    char **used; /* owned */
};

/* "__run", "__owner_repo_2": never shown in `steps`. */
static char *generated_name(const struct names *names, const struct wh_step_reference *r)
{
    wh_autofree char *base = wh_printf("__%s", r->type == WH_REFERENCE_SCRIPT ? "run"
                                               : r->name                      ? r->name
                                               : r->image                     ? r->image
                                                                              : "self");
    for (char *p = base; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '-')
            *p = '_';
    if (!wh_strv_has(names->used, base))
        return wh_steal(&base);
    for (unsigned i = 2;; i++) {
        wh_autofree char *numbered = wh_printf("%s_%u", base, i);
        if (!wh_strv_has(names->used, numbered))
            return wh_steal(&numbered);
    }
}

static bool is_id(const char *text)
{
    if (!isalpha((unsigned char)text[0]) && text[0] != '_')
        return false;
    for (const char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '-')
            return false;
    return strlen(text) < 100 && !wh_starts_with(text, "__");
}

static int take_id(struct names *names, const struct wh_convert *t, const struct wh_yaml *node,
                   struct wh_error *err)
{
    wh_autofree char *id = wh_convert_text(t, node, err);
    if (!id)
        return -1;
    if (!is_id(id))
        return wh_convert_fail(
            t, node, err,
            "The identifier '%s' is invalid. IDs may only contain alphanumeric characters, "
            "'_', and '-'. IDs must start with a letter or '_' and and must be less than "
            "100 characters.",
            id);
    for (size_t i = 0; names->used && names->used[i]; i++)
        if (wh_streq_ci(names->used[i], id))
            return wh_convert_fail(
                t, node, err, "The identifier '%s' may not be used more than once within the same scope.",
                id);
    wh_strv_add(&names->used, id);
    return 0;
}

static int token(struct wh_convert *t, const struct wh_yaml *map, const char *key, struct wh_token **out,
                 struct wh_error *err)
{
    const struct wh_yaml *node = wh_yaml_get(map, key);
    if (!node)
        return 0;
    *out = wh_convert_token(t, node, WH_PLACE_COMPOSITE_STEP, err);
    return *out ? 0 : -1;
}

static int mapping(struct wh_convert *t, const struct wh_yaml *map, const char *key, struct wh_token **out,
                   struct wh_error *err)
{
    const struct wh_yaml *node = wh_yaml_get(map, key);
    if (!node || (node->kind == WH_YAML_SCALAR && node->plain && node->text[0] == '\0'))
        return 0;
    if (node->kind != WH_YAML_MAPPING)
        return wh_convert_fail(t, node, err, "Expected a mapping");
    return token(t, map, key, out, err);
}

/* A script's pieces travel as inputs, as in a job message. */
static int add_input(struct wh_step *s, struct wh_convert *t, const struct wh_yaml *step, const char *key,
                     const char *input, struct wh_error *err)
{
    wh_autotoken *value = NULL;
    const struct wh_yaml *node = wh_yaml_get(step, key);
    if (!node)
        return 0;
    if (node->kind != WH_YAML_SCALAR)
        return wh_convert_fail(t, node, err, "%s",
                               node->kind == WH_YAML_MAPPING ? "A mapping was not expected"
                                                             : "A sequence was not expected");
    if (token(t, step, key, &value, err) < 0)
        return -1;
    wh_token_add_pair(s->inputs, wh_token_string(input, strlen(input)), wh_steal(&value));
    return 0;
}

static int read_script(struct wh_step *s, struct wh_convert *t, const struct wh_yaml *step,
                       struct wh_error *err)
{
    static const char *const keys[] = {
        "name", "id", "if", "run", "env", "continue-on-error", "shell", "working-directory", NULL};
    s->reference.type = WH_REFERENCE_SCRIPT;
    if (wh_action_manifest_check_keys(t, step, keys, err) < 0)
        return -1;
    if (!wh_yaml_get(step, "shell"))
        return wh_convert_fail(t, step, err, "Required property is missing: shell");
    s->inputs = wh_token_new(WH_TOKEN_MAPPING, t->file_index, (int)step->line, (int)step->col);
    if (add_input(s, t, step, "run", "script", err) < 0 || add_input(s, t, step, "shell", "shell", err) < 0)
        return -1;
    return add_input(s, t, step, "working-directory", "workingDirectory", err);
}

static int read_uses(struct wh_step *s, struct wh_convert *t, const struct wh_yaml *step,
                     struct wh_error *err)
{
    static const char *const keys[] = {"name", "id", "if", "uses", "env", "continue-on-error", "with", NULL};
    const struct wh_yaml *uses = wh_yaml_get(step, "uses");
    if (wh_action_manifest_check_keys(t, step, keys, err) < 0)
        return -1;
    wh_autofree char *text = wh_convert_text(t, uses, err);
    wh_autoerror cause = {0};
    if (!text)
        return -1;
    if (wh_step_reference_parse(text, &s->reference, &cause) < 0)
        return wh_convert_fail(t, uses, err, "%s", wh_error_text(&cause));
    return mapping(t, step, "with", &s->inputs, err);
}

static int read_step(struct wh_step *s, struct names *names, struct wh_convert *t, const struct wh_yaml *step,
                     struct wh_error *err)
{
    char guid[37];
    if (step->kind != WH_YAML_MAPPING)
        return wh_convert_fail(t, step, err, "Expected a mapping");
    s->id = wh_strdup(wh_guid(guid));
    s->enabled = true;
    bool uses = wh_yaml_get(step, "uses") != NULL;
    if (!uses && !wh_yaml_get(step, "run"))
        return wh_convert_fail(t, step, err, "Required property is missing: run");
    if ((uses ? read_uses(s, t, step, err) : read_script(s, t, step, err)) < 0)
        return -1;
    const struct wh_yaml *id = wh_yaml_get(step, "id");
    s->context_name = id ? wh_convert_text(t, id, err) : generated_name(names, &s->reference);
    if (!s->context_name)
        return -1;
    if (!id)
        wh_strv_add(&names->used, s->context_name);
    s->name = wh_strdup(s->context_name);
    s->condition = wh_convert_condition(t, wh_yaml_get(step, "if"), WH_PLACE_COMPOSITE_IF, err);
    if (!s->condition || token(t, step, "name", &s->display_name_token, err) < 0 ||
        mapping(t, step, "env", &s->environment, err) < 0)
        return -1;
    return token(t, step, "continue-on-error", &s->continue_on_error, err);
}

static int read_all(struct wh_action_manifest *m, struct names *names, struct wh_convert *t,
                    const struct wh_yaml *steps, struct wh_error *err)
{
    /* Ids first: a generated name must not take one that a later step has. */
    for (size_t i = 0; i < steps->nitems; i++) {
        const struct wh_yaml *id =
            steps->items[i]->kind == WH_YAML_MAPPING ? wh_yaml_get(steps->items[i], "id") : NULL;
        if (id && take_id(names, t, id, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < steps->nitems; i++)
        if (read_step(&m->steps[m->nsteps++], names, t, steps->items[i], err) < 0)
            return -1;
    return 0;
}

int wh_action_manifest_read_steps(struct wh_action_manifest *m, struct wh_convert *t,
                                  const struct wh_yaml *steps, struct wh_error *err)
{
    struct names names = {0};
    if (steps->nitems > WH_MAX_ACTION_MANIFEST_STEPS)
        return wh_convert_fail(t, steps, err, "more than %u steps", WH_MAX_ACTION_MANIFEST_STEPS);
    m->steps = wh_calloc(steps->nitems + 1, sizeof *m->steps);
    int n = read_all(m, &names, t, steps, err);
    wh_strv_free(names.used);
    return n;
}
