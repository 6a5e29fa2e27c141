/* A workflow's keys and literals, so that a typing error is told with its place before anything runs. */
#include <ctype.h>

#include "workflow/schema.h"
#include "workflow/workflow_internal.h"

static const char *const top_keys[] = {"name", "description", "run-name",    "on",   "permissions",
                                       "env",  "defaults",    "concurrency", "jobs", NULL};

static bool known_key(const char *key, const char *const *keys)
{
    for (; *keys; keys++)
        if (wh_streq_ci(key, *keys))
            return true;
    return false;
}

int wh_workflow_check_keys(const struct wh_convert *t, const struct wh_yaml *map, const char *const *keys,
                           struct wh_error *err)
{
    if (map->kind != WH_YAML_MAPPING)
        return wh_convert_fail(t, map, err, "Expected a mapping");
    for (size_t i = 0; i + 1 < map->nitems; i += 2) {
        const struct wh_yaml *key = map->items[i];
        if (key->kind != WH_YAML_SCALAR)
            return wh_convert_fail(t, key, err, "Expected a string");
        if (keys && !known_key(key->text, keys)) {
            const char *near = wh_did_you_mean(key->text, keys);
            return wh_convert_fail(
                t, key, err, near ? "Unexpected value '%s' (did you mean '%s'?)" : "Unexpected value '%s'",
                key->text, near);
        }
        for (size_t k = 0; k < i; k += 2)
            if (wh_streq_ci(map->items[k]->text, key->text))
                return wh_convert_fail(t, key, err, "'%s' is already defined", key->text);
    }
    return 0;
}

int wh_workflow_check_id(const struct wh_convert *t, const struct wh_yaml *at, const char *what,
                         struct wh_error *err)
{
    const char *id = at->text;
    size_t len = strlen(id);
    bool good =
        len > 0 && len < 100 && (isalpha((unsigned char)id[0]) || id[0] == '_') && !wh_starts_with(id, "__");
    for (size_t i = 0; i < len && good; i++)
        good = isalnum((unsigned char)id[i]) || id[i] == '_' || id[i] == '-';
    if (!good)
        return wh_convert_fail(
            t, at, err,
            "The identifier '%s' is invalid. %s IDs may only contain alphanumeric characters, '_', and '-'. "
            "IDs must start with a letter or '_', must not start with '__' and must be less than 100 "
            "characters.",
            id, what);
    return 0;
}

bool wh_workflow_is_nothing(const struct wh_yaml *node)
{
    struct wh_yaml_value v;
    return !node || (node->kind == WH_YAML_SCALAR && wh_yaml_value(node, &v) && v.type == WH_YAML_NULL);
}

int wh_workflow_check_literal(const struct wh_convert *t, const struct wh_yaml *node, enum wh_yaml_type type,
                              struct wh_error *err)
{
    struct wh_yaml_value v;
    if (!node)
        return 0;
    if (node->kind != WH_YAML_SCALAR)
        return wh_convert_fail(t, node, err, "A %s was not expected",
                               node->kind == WH_YAML_MAPPING ? "mapping" : "sequence");
    if (strstr(node->text, "${{"))
        return 0;
    bool good = wh_yaml_value(node, &v) && (type == WH_YAML_STRING || v.type == type);
    return good ? 0 : wh_convert_fail(t, node, err, "Unexpected value '%s'", node->text);
}

/* ---- on ---- */

static int check_event(const struct wh_convert *t, const struct wh_yaml *name, struct wh_error *err)
{
    if (name->kind != WH_YAML_SCALAR)
        return wh_convert_fail(t, name, err, "Expected a string");
    if (known_key(name->text, wf_events))
        return 0;
    const char *near = wh_did_you_mean(name->text, wf_events);
    return wh_convert_fail(t, name, err,
                           near ? "Unexpected value '%s' (did you mean '%s'?)" : "Unexpected value '%s'",
                           name->text, near);
}

static int check_strings(const struct wh_convert *t, const struct wh_yaml *node, struct wh_error *err)
{
    if (!node || node->kind == WH_YAML_SCALAR)
        return 0;
    if (node->kind == WH_YAML_MAPPING)
        return wh_convert_fail(t, node, err, "A mapping was not expected");
    for (size_t i = 0; i < node->nitems; i++)
        if (node->items[i]->kind != WH_YAML_SCALAR)
            return wh_convert_fail(t, node->items[i], err, "Expected a string");
    return 0;
}

static int check_filters(const struct wh_convert *t, const struct wh_yaml *node, struct wh_error *err)
{
    static const char *const keys[] = {"branches", "branches-ignore", "tags",  "tags-ignore",
                                       "paths",    "paths-ignore",    "types", "workflows",
                                       "names",    "versions",        NULL};
    if (wh_workflow_is_nothing(node))
        return 0;
    if (wh_workflow_check_keys(t, node, keys, err) < 0)
        return -1;
    for (size_t i = 0; i + 1 < node->nitems; i += 2)
        if (check_strings(t, node->items[i + 1], err) < 0)
            return -1;
    static const char *const pairs[][2] = {
        {"branches", "branches-ignore"}, {"tags", "tags-ignore"}, {"paths", "paths-ignore"}};
    for (size_t i = 0; i < WH_COUNT(pairs); i++)
        if (wh_yaml_get(node, pairs[i][0]) && wh_yaml_get(node, pairs[i][1]))
            return wh_convert_fail(t, wh_yaml_get(node, pairs[i][1]), err,
                                   "you may only define one of `%s` and `%s` for a single event", pairs[i][0],
                                   pairs[i][1]);
    return 0;
}

static int check_input(const struct wh_convert *t, const struct wh_yaml *name, const struct wh_yaml *node,
                       bool call, struct wh_error *err)
{
    static const char *const keys[] = {"description",        "type", "required", "default", "options",
                                       "deprecationMessage", NULL};
    static const char *const types[] = {"string", "boolean", "number", "choice", "environment", NULL};
    if (!call && wh_workflow_is_nothing(node))
        return 0;
    if (node->kind != WH_YAML_MAPPING)
        return wh_convert_fail(t, node, err, "Input %s: Expected a mapping", name->text);
    if (wh_workflow_check_keys(t, node, keys, err) < 0 ||
        wh_workflow_check_literal(t, wh_yaml_get(node, "required"), WH_YAML_BOOL, err) < 0 ||
        wh_workflow_check_literal(t, wh_yaml_get(node, "default"), WH_YAML_STRING, err) < 0 ||
        wh_workflow_check_literal(t, wh_yaml_get(node, "type"), WH_YAML_STRING, err) < 0 ||
        check_strings(t, wh_yaml_get(node, "options"), err) < 0)
        return -1;
    const struct wh_yaml *type = wh_yaml_get(node, "type");
    if (!type)
        return call ? wh_convert_fail(t, name, err, "Required property is missing: type") : 0;
    if (!known_key(type->text, types) ||
        (call && (wh_streq(type->text, "choice") || wh_streq(type->text, "environment"))))
        return wh_convert_fail(t, type, err, "Unexpected value '%s': an input's type is %s", type->text,
                               call ? "string, boolean or number"
                                    : "string, boolean, number, choice or environment");
    if (wh_streq(type->text, "choice") && !wh_yaml_get(node, "options"))
        return wh_convert_fail(t, name, err, "Required property is missing: options");
    return 0;
}

static int check_inputs(const struct wh_convert *t, const struct wh_yaml *inputs, bool call,
                        struct wh_error *err)
{
    if (wh_workflow_is_nothing(inputs))
        return 0;
    if (wh_workflow_check_keys(t, inputs, NULL, err) < 0)
        return -1;
    for (size_t i = 0; i + 1 < inputs->nitems; i += 2)
        if (check_input(t, inputs->items[i], inputs->items[i + 1], call, err) < 0)
            return -1;
    return 0;
}

static int check_call_parts(const struct wh_convert *t, const struct wh_yaml *list, const char *const *keys,
                            bool null_allowed, struct wh_error *err)
{
    if (wh_workflow_is_nothing(list))
        return 0;
    if (wh_workflow_check_keys(t, list, NULL, err) < 0)
        return -1;
    for (size_t i = 0; i + 1 < list->nitems; i += 2) {
        const struct wh_yaml *node = list->items[i + 1];
        if (null_allowed && wh_workflow_is_nothing(node))
            continue;
        if (wh_workflow_check_keys(t, node, keys, err) < 0)
            return -1;
        if (!null_allowed && !wh_yaml_get(node, "value"))
            return wh_convert_fail(t, list->items[i], err, "Required property is missing: value");
    }
    return 0;
}

static int check_call(const struct wh_convert *t, const struct wh_yaml *node, struct wh_error *err)
{
    static const char *const keys[] = {"inputs", "secrets", "outputs", NULL};
    static const char *const secret_keys[] = {"description", "required", NULL};
    static const char *const output_keys[] = {"description", "value", NULL};
    if (wh_workflow_is_nothing(node))
        return 0;
    if (wh_workflow_check_keys(t, node, keys, err) < 0 ||
        check_inputs(t, wh_yaml_get(node, "inputs"), true, err) < 0)
        return -1;
    return check_call_parts(t, wh_yaml_get(node, "secrets"), secret_keys, true, err) < 0 ||
                   check_call_parts(t, wh_yaml_get(node, "outputs"), output_keys, false, err) < 0
               ? -1
               : 0;
}

static int check_event_config(const struct wh_convert *t, const struct wh_yaml *name,
                              const struct wh_yaml *node, struct wh_error *err)
{
    static const char *const dispatch[] = {"inputs", NULL};
    if (wh_streq_ci(name->text, "workflow_call"))
        return check_call(t, node, err);
    if (wh_streq_ci(name->text, "schedule"))
        return node->kind == WH_YAML_SEQUENCE ? 0 : wh_convert_fail(t, node, err, "Expected a sequence");
    if (!wh_streq_ci(name->text, "workflow_dispatch"))
        return check_filters(t, node, err);
    if (wh_workflow_is_nothing(node))
        return 0;
    if (wh_workflow_check_keys(t, node, dispatch, err) < 0)
        return -1;
    return check_inputs(t, wh_yaml_get(node, "inputs"), false, err);
}

int wh_workflow_check_on(const struct wh_convert *t, const struct wh_yaml *on, struct wh_error *err)
{
    if (on->kind == WH_YAML_SCALAR)
        return check_event(t, on, err);
    if (on->kind == WH_YAML_MAPPING && wh_workflow_check_keys(t, on, NULL, err) < 0)
        return -1;
    bool map = on->kind == WH_YAML_MAPPING;
    for (size_t i = 0; i < on->nitems; i += map ? 2 : 1) {
        if (check_event(t, on->items[i], err) < 0)
            return -1;
        if (map && check_event_config(t, on->items[i], on->items[i + 1], err) < 0)
            return -1;
    }
    return 0;
}

/* ---- the whole ---- */

int wh_workflow_check_concurrency(const struct wh_convert *t, const struct wh_yaml *node,
                                  struct wh_error *err)
{
    static const char *const keys[] = {"group", "cancel-in-progress", "queue", NULL};
    if (!node || node->kind == WH_YAML_SCALAR)
        return 0;
    if (wh_workflow_check_keys(t, node, keys, err) < 0 ||
        wh_workflow_check_literal(t, wh_yaml_get(node, "group"), WH_YAML_STRING, err) < 0 ||
        wh_workflow_check_literal(t, wh_yaml_get(node, "cancel-in-progress"), WH_YAML_BOOL, err) < 0)
        return -1;
    return wh_yaml_get(node, "group") ? 0
                                      : wh_convert_fail(t, node, err, "Required property is missing: group");
}

static int check_jobs(const struct wh_convert *t, const struct wh_yaml *jobs, struct wh_error *err)
{
    if (jobs->kind != WH_YAML_MAPPING)
        return wh_convert_fail(t, jobs, err, "Expected a mapping");
    if (jobs->nitems == 0)
        return wh_convert_fail(t, jobs, err, "There must be at least one job");
    if (jobs->nitems / 2 > WH_MAX_WORKFLOW_JOBS)
        return wh_convert_fail(t, jobs, err, "A workflow has at most %u jobs", WH_MAX_WORKFLOW_JOBS);
    for (size_t i = 0; i + 1 < jobs->nitems; i += 2) {
        if (wh_workflow_check_job(t, jobs->items[i], jobs->items[i + 1], err) < 0)
            return -1;
        for (size_t k = 0; k < i; k += 2)
            if (wh_streq_ci(jobs->items[k]->text, jobs->items[i]->text))
                return wh_convert_fail(t, jobs->items[i], err, "'%s' is already defined",
                                       jobs->items[i]->text);
    }
    return wh_workflow_check_needs(t, jobs, err);
}

int wh_workflow_check(struct wh_workflow *w, struct wh_error *err)
{
    struct wh_convert t = {.file = w->file};
    if (!w->doc.root)
        return wh_fail(err, WH_E_PARSE, "%s: the file is empty", w->file);
    w->root = w->doc.root;
    if (wh_workflow_check_keys(&t, w->root, top_keys, err) < 0)
        return -1;
    const struct wh_yaml *on = wh_yaml_get(w->root, "on");
    if (!on)
        return wh_convert_fail(&t, w->root, err, "Required property is missing: on");
    w->jobs = wh_yaml_get(w->root, "jobs");
    if (!w->jobs)
        return wh_convert_fail(&t, w->root, err, "Required property is missing: jobs");
    return wh_workflow_check_on(&t, on, err) < 0 ||
                   wh_workflow_check_concurrency(&t, wh_yaml_get(w->root, "concurrency"), err) < 0 ||
                   wh_workflow_check_literal(&t, wh_yaml_get(w->root, "name"), WH_YAML_STRING, err) < 0 ||
                   wh_workflow_check_literal(&t, wh_yaml_get(w->root, "run-name"), WH_YAML_STRING, err) < 0 ||
                   check_jobs(&t, w->jobs, err) < 0
               ? -1
               : 0;
}
