/* Reading a workflow file and checking its keys, so that a typing error is told with its place before
 * anything runs. */
#include <ctype.h>

#include "workflow/workflow_internal.h"

static const char *const top_keys[] = {"name",     "run-name",    "on",   "permissions", "env",
                                       "defaults", "concurrency", "jobs", NULL};
static const char *const job_keys[] = {
    "name",     "needs",       "if",       "runs-on",         "environment",
    "outputs",  "env",         "defaults", "timeout-minutes", "strategy",
    "services", "concurrency", "steps",    "container",       "continue-on-error",
    "uses",     "permissions", "with",     "secrets",         "snapshot",
    NULL};
static const char *const step_keys[] = {"id",
                                        "if",
                                        "name",
                                        "uses",
                                        "run",
                                        "with",
                                        "env",
                                        "shell",
                                        "working-directory",
                                        "timeout-minutes",
                                        "continue-on-error",
                                        NULL};

static bool known_key(const char *key, const char *const *keys)
{
    for (; *keys; keys++)
        if (wh_streq_ci(key, *keys))
            return true;
    return false;
}

static int check_keys(const struct wh_convert *t, const struct wh_yaml *map, const char *const *keys,
                      struct wh_error *err)
{
    if (map->kind != WH_YAML_MAPPING)
        return wh_convert_fail(t, map, err, "Expected a mapping");
    for (size_t i = 0; i + 1 < map->nitems; i += 2) {
        const struct wh_yaml *key = map->items[i];
        if (key->kind != WH_YAML_SCALAR)
            return wh_convert_fail(t, key, err, "Expected a string");
        if (!known_key(key->text, keys)) {
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

static int check_id(const struct wh_convert *t, const struct wh_yaml *at, const char *what,
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

int wh_workflow_check_step(const struct wh_convert *t, const struct wh_yaml *step, struct wh_error *err)
{
    if (check_keys(t, step, step_keys, err) < 0)
        return -1;
    static const char *const scalars[] = {"run", "uses", "name", "if", "shell", "working-directory", "id"};
    for (size_t i = 0; i < WH_COUNT(scalars); i++) {
        const struct wh_yaml *node = wh_yaml_get(step, scalars[i]);
        if (node && node->kind != WH_YAML_SCALAR)
            return wh_convert_fail(t, node, err, "A %s was not expected",
                                   node->kind == WH_YAML_MAPPING ? "mapping" : "sequence");
    }
    const struct wh_yaml *run = wh_yaml_get(step, "run");
    const struct wh_yaml *uses = wh_yaml_get(step, "uses");
    if (!run == !uses)
        return wh_convert_fail(
            t, step, err, run ? "A step can't have both 'run' and 'uses'" : "A step needs 'run' or 'uses'");
    static const char *const of_run[] = {"shell", "working-directory"};
    for (size_t i = 0; i < WH_COUNT(of_run); i++)
        if (uses && wh_yaml_get(step, of_run[i]))
            return wh_convert_fail(t, wh_yaml_get(step, of_run[i]), err,
                                   "Unexpected value '%s': it belongs to 'run' steps", of_run[i]);
    if (run && wh_yaml_get(step, "with"))
        return wh_convert_fail(t, wh_yaml_get(step, "with"), err,
                               "Unexpected value 'with': it belongs to 'uses' steps");
    const struct wh_yaml *id = wh_yaml_get(step, "id");
    return id ? check_id(t, id, "Step", err) : 0;
}

static int check_steps(const struct wh_convert *t, const struct wh_yaml *steps, struct wh_error *err)
{
    if (steps->kind != WH_YAML_SEQUENCE)
        return wh_convert_fail(t, steps, err, "Expected a sequence of steps");
    if (steps->nitems > WH_MAX_WORKFLOW_STEPS)
        return wh_convert_fail(t, steps, err, "A job has at most %u steps", WH_MAX_WORKFLOW_STEPS);
    for (size_t i = 0; i < steps->nitems; i++) {
        if (wh_workflow_check_step(t, steps->items[i], err) < 0)
            return -1;
        const struct wh_yaml *id = wh_yaml_get(steps->items[i], "id");
        for (size_t k = 0; id && k < i; k++) {
            const struct wh_yaml *other = wh_yaml_get(steps->items[k], "id");
            if (other && wh_streq_ci(other->text, id->text))
                return wh_convert_fail(
                    t, id, err, "The identifier '%s' may not be used more than once within the same scope.",
                    id->text);
        }
    }
    return 0;
}

static int check_job(const struct wh_convert *t, const struct wh_yaml *id, const struct wh_yaml *job,
                     struct wh_error *err)
{
    if (id->kind != WH_YAML_SCALAR)
        return wh_convert_fail(t, id, err, "Expected a string");
    if (check_id(t, id, "Job", err) < 0 || check_keys(t, job, job_keys, err) < 0)
        return -1;
    const struct wh_yaml *steps = wh_yaml_get(job, "steps");
    if (wh_yaml_get(job, "uses"))
        return steps ? wh_convert_fail(t, steps, err, "Unexpected value 'steps': the job has 'uses'") : 0;
    if (!wh_yaml_get(job, "runs-on"))
        return wh_convert_fail(t, id, err, "Required property is missing: runs-on");
    if (!steps)
        return wh_convert_fail(t, id, err, "Required property is missing: steps");
    return check_steps(t, steps, err);
}

static int check_workflow(struct wh_workflow *w, struct wh_error *err)
{
    struct wh_convert t = {.file = w->file};
    if (!w->doc.root)
        return wh_fail(err, WH_E_PARSE, "%s: the file is empty", w->file);
    w->root = w->doc.root;
    if (check_keys(&t, w->root, top_keys, err) < 0)
        return -1;
    if (!wh_yaml_get(w->root, "on"))
        return wh_convert_fail(&t, w->root, err, "Required property is missing: on");
    w->jobs = wh_yaml_get(w->root, "jobs");
    if (!w->jobs)
        return wh_convert_fail(&t, w->root, err, "Required property is missing: jobs");
    if (w->jobs->kind != WH_YAML_MAPPING)
        return wh_convert_fail(&t, w->jobs, err, "Expected a mapping");
    if (w->jobs->nitems == 0)
        return wh_convert_fail(&t, w->jobs, err, "There must be at least one job");
    if (w->jobs->nitems / 2 > WH_MAX_WORKFLOW_JOBS)
        return wh_convert_fail(&t, w->jobs, err, "A workflow has at most %u jobs", WH_MAX_WORKFLOW_JOBS);
    for (size_t i = 0; i + 1 < w->jobs->nitems; i += 2) {
        if (check_job(&t, w->jobs->items[i], w->jobs->items[i + 1], err) < 0)
            return -1;
        for (size_t k = 0; k < i; k += 2)
            if (wh_streq_ci(w->jobs->items[k]->text, w->jobs->items[i]->text))
                return wh_convert_fail(&t, w->jobs->items[i], err, "'%s' is already defined",
                                       w->jobs->items[i]->text);
    }
    return 0;
}

struct wh_workflow *wh_workflow_parse(const char *text, size_t len, const char *name, struct wh_error *err)
{
    struct wh_workflow *w = wh_calloc(1, sizeof *w);
    w->file = wh_strdup(name);
    if (wh_yaml_parse(text, len, name, &w->doc, err) < 0 || check_workflow(w, err) < 0) {
        wh_workflow_free(w);
        return NULL;
    }
    return w;
}

void wh_workflow_free(struct wh_workflow *w)
{
    if (!w)
        return;
    wh_yaml_doc_free(&w->doc);
    free(w->file);
    free(w);
}

void wh_workflow_free_ptr(struct wh_workflow **w)
{
    wh_workflow_free(*w);
    *w = NULL;
}

/* ---- questions ---- */

const struct wh_yaml *wh_workflow_job(const struct wh_workflow *w, const char *id)
{
    return wh_yaml_get(w->jobs, id);
}

static const char *scalar_text(const struct wh_yaml *map, const char *key)
{
    const struct wh_yaml *node = wh_yaml_get(map, key);
    return node && node->kind == WH_YAML_SCALAR && node->text[0] ? node->text : NULL;
}

const char *wh_workflow_name(const struct wh_workflow *w)
{
    const char *name = scalar_text(w->root, "name");
    return name ? name : w->file;
}

size_t wh_workflow_job_count(const struct wh_workflow *w)
{
    return w->jobs->nitems / 2;
}

const char *wh_workflow_job_id(const struct wh_workflow *w, size_t i)
{
    return w->jobs->items[2 * i]->text;
}

char *wh_workflow_job_name(const struct wh_workflow *w, size_t i)
{
    const char *name = scalar_text(w->jobs->items[2 * i + 1], "name");
    return wh_strdup(name ? name : wh_workflow_job_id(w, i));
}

char *wh_workflow_job_condition(const struct wh_workflow *w, size_t i)
{
    struct wh_convert t = {.file = w->file};
    const struct wh_yaml *node = wh_yaml_get(w->jobs->items[2 * i + 1], "if");
    return node ? wh_convert_condition(&t, node, WH_PLACE_JOB_IF, NULL) : NULL;
}

unsigned wh_workflow_job_timeout(const struct wh_workflow *w, size_t i)
{
    const struct wh_yaml *node = wh_yaml_get(w->jobs->items[2 * i + 1], "timeout-minutes");
    struct wh_yaml_value value;
    if (!node || node->kind != WH_YAML_SCALAR || !wh_yaml_value(node, &value) || value.type != WH_YAML_NUMBER)
        return 0;
    return value.number >= 1 && value.number <= 1e6 ? (unsigned)value.number : 0;
}

bool wh_workflow_has_event(const struct wh_workflow *w, const char *event)
{
    const struct wh_yaml *on = wh_yaml_get(w->root, "on");
    if (on->kind == WH_YAML_SCALAR)
        return wh_streq_ci(on->text, event);
    if (on->kind == WH_YAML_MAPPING)
        return wh_yaml_get(on, event) != NULL;
    for (size_t i = 0; i < on->nitems; i++)
        if (on->items[i]->kind == WH_YAML_SCALAR && wh_streq_ci(on->items[i]->text, event))
            return true;
    return false;
}
