/* Jobs: their keys, steps, needs and strategies. */
#include "workflow/workflow_internal.h"

/* A job is one of two kinds. */
static const char *const job_keys[] = {"name",
                                       "needs",
                                       "if",
                                       "runs-on",
                                       "environment",
                                       "outputs",
                                       "env",
                                       "defaults",
                                       "timeout-minutes",
                                       "cancel-timeout-minutes",
                                       "strategy",
                                       "services",
                                       "concurrency",
                                       "steps",
                                       "container",
                                       "continue-on-error",
                                       "permissions",
                                       "snapshot",
                                       "uses",
                                       "with",
                                       "secrets",
                                       NULL};
static const char *const call_keys[] = {"name", "uses",        "with",        "secrets",  "needs",
                                        "if",   "permissions", "concurrency", "strategy", NULL};
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

int wh_workflow_check_step(const struct wh_convert *t, const struct wh_yaml *step, struct wh_error *err)
{
    if (wh_workflow_check_keys(t, step, step_keys, err) < 0)
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
    return id ? wh_workflow_check_id(t, id, "Step", err) : 0;
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

/* ---- needs ---- */

size_t wh_workflow_need_count(const struct wh_yaml *job)
{
    const struct wh_yaml *needs = wh_yaml_get(job, "needs");
    if (!needs)
        return 0;
    return needs->kind == WH_YAML_SCALAR ? 1 : needs->nitems;
}

const struct wh_yaml *wh_workflow_need(const struct wh_yaml *job, size_t i)
{
    const struct wh_yaml *needs = wh_yaml_get(job, "needs");
    return needs->kind == WH_YAML_SCALAR ? needs : needs->items[i];
}

static int check_needs_kind(const struct wh_convert *t, const struct wh_yaml *job, struct wh_error *err)
{
    const struct wh_yaml *needs = wh_yaml_get(job, "needs");
    if (!needs)
        return 0;
    if (needs->kind == WH_YAML_MAPPING)
        return wh_convert_fail(t, needs, err, "A mapping was not expected");
    for (size_t i = 0; i < wh_workflow_need_count(job); i++) {
        const struct wh_yaml *need = wh_workflow_need(job, i);
        if (need->kind != WH_YAML_SCALAR || need->text[0] == '\0')
            return wh_convert_fail(t, need, err, "Expected the id of a job");
    }
    return 0;
}

static bool is_ready(const struct wh_yaml *jobs, const bool *ready, const struct wh_yaml *need)
{
    for (size_t i = 0; i + 1 < jobs->nitems; i += 2)
        if (wh_streq_ci(jobs->items[i]->text, need->text))
            return ready[i / 2];
    return false;
}

static bool all_ready(const struct wh_yaml *jobs, const bool *ready, const struct wh_yaml *job)
{
    for (size_t i = 0; i < wh_workflow_need_count(job); i++)
        if (!is_ready(jobs, ready, wh_workflow_need(job, i)))
            return false;
    return true;
}

int wh_workflow_check_needs(const struct wh_convert *t, const struct wh_yaml *jobs, struct wh_error *err)
{
    size_t n = jobs->nitems / 2;
    wh_autofree bool *ready = wh_calloc(n + 1, sizeof *ready);
    bool any = false;
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < n; i++) {
            if (ready[i] || !all_ready(jobs, ready, jobs->items[2 * i + 1]))
                continue;
            ready[i] = more = any = true;
        }
    }
    for (size_t i = 0; i < n; i++) {
        const struct wh_yaml *job = jobs->items[2 * i + 1];
        for (size_t k = 0; !ready[i] && k < wh_workflow_need_count(job); k++) {
            const struct wh_yaml *need = wh_workflow_need(job, k);
            const char *id = jobs->items[2 * i]->text;
            if (!wh_yaml_get(jobs, need->text))
                return wh_convert_fail(t, need, err, "Job '%s' depends on unknown job '%s'.", id, need->text);
        }
    }
    if (!any)
        return wh_convert_fail(t, jobs, err,
                               "The workflow must contain at least one job with no dependencies.");
    for (size_t i = 0; i < n; i++) {
        const struct wh_yaml *job = jobs->items[2 * i + 1];
        for (size_t k = 0; !ready[i] && k < wh_workflow_need_count(job); k++) {
            const struct wh_yaml *need = wh_workflow_need(job, k);
            if (!is_ready(jobs, ready, need))
                return wh_convert_fail(
                    t, need, err,
                    "Job '%s' depends on job '%s' which creates a cycle in the dependency graph.",
                    jobs->items[2 * i]->text, need->text);
        }
    }
    return 0;
}

/* ---- strategy ---- */

static bool has_expression(const struct wh_yaml *node, unsigned depth)
{
    if (node->kind == WH_YAML_SCALAR)
        return strstr(node->text, "${{") != NULL;
    for (size_t i = 0; depth < WH_MAX_YAML_DEPTH && i < node->nitems; i++)
        if (has_expression(node->items[i], depth + 1))
            return true;
    return false;
}

static int check_vectors(const struct wh_convert *t, const struct wh_yaml *matrix, struct wh_error *err)
{
    if (wh_workflow_check_keys(t, matrix, NULL, err) < 0)
        return -1;
    if (matrix->nitems == 0)
        return wh_convert_fail(t, matrix, err, "Matrix must define at least one vector");
    for (size_t i = 0; i + 1 < matrix->nitems; i += 2) {
        const struct wh_yaml *vector = matrix->items[i + 1];
        const char *name = matrix->items[i]->text;
        bool filter = wh_streq_ci(name, "include") || wh_streq_ci(name, "exclude");
        if (vector->kind == WH_YAML_SCALAR && strstr(vector->text, "${{"))
            continue;
        if (vector->kind != WH_YAML_SEQUENCE)
            return wh_convert_fail(t, vector, err, "Expected a sequence");
        if (!filter && vector->nitems == 0)
            return wh_convert_fail(t, vector, err, "Matrix vector '%s' does not contain any values", name);
        for (size_t k = 0; filter && k < vector->nitems; k++)
            if (vector->items[k]->kind != WH_YAML_MAPPING && !has_expression(vector->items[k], 0))
                return wh_convert_fail(t, vector->items[k], err, "Expected a mapping");
    }
    return 0;
}

static int check_strategy(const struct wh_convert *t, const struct wh_yaml *node, struct wh_error *err)
{
    static const char *const keys[] = {"matrix", "fail-fast", "max-parallel", NULL};
    if (!node || (node->kind == WH_YAML_SCALAR && strstr(node->text, "${{")))
        return 0;
    if (wh_workflow_check_keys(t, node, keys, err) < 0 ||
        wh_workflow_check_literal(t, wh_yaml_get(node, "fail-fast"), WH_YAML_BOOL, err) < 0 ||
        wh_workflow_check_literal(t, wh_yaml_get(node, "max-parallel"), WH_YAML_NUMBER, err) < 0)
        return -1;
    const struct wh_yaml *matrix = wh_yaml_get(node, "matrix");
    if (!matrix || (matrix->kind == WH_YAML_SCALAR && strstr(matrix->text, "${{")))
        return 0;
    return check_vectors(t, matrix, err);
}

/* ---- a job ---- */

static int check_call(const struct wh_convert *t, const struct wh_yaml *job, struct wh_error *err)
{
    const struct wh_yaml *uses = wh_yaml_get(job, "uses");
    if (wh_yaml_get(job, "steps"))
        return wh_convert_fail(t, wh_yaml_get(job, "steps"), err,
                               "Unexpected value 'steps': a job has either 'uses' or 'steps'");
    if (wh_workflow_check_keys(t, job, call_keys, err) < 0)
        return -1;
    if (uses->kind != WH_YAML_SCALAR)
        return wh_convert_fail(t, uses, err, "Expected a string");
    struct wh_workflow_reference r = {0};
    wh_autoerror cause = {0};
    int n = wh_workflow_reference_parse(uses->text, &r, &cause);
    wh_workflow_reference_clear(&r);
    if (n < 0)
        return wh_convert_fail(t, uses, err, "%s", wh_error_text(&cause));
    const struct wh_yaml *with = wh_yaml_get(job, "with");
    const struct wh_yaml *secrets = wh_yaml_get(job, "secrets");
    if (with && !wh_workflow_is_nothing(with) && wh_workflow_check_keys(t, with, NULL, err) < 0)
        return -1;
    if (secrets && secrets->kind == WH_YAML_SCALAR && !wh_workflow_is_nothing(secrets) &&
        !wh_streq(secrets->text, "inherit"))
        return wh_convert_fail(t, secrets, err, "Unexpected value '%s': 'inherit' or a mapping is expected",
                               secrets->text);
    return secrets && secrets->kind != WH_YAML_SCALAR ? wh_workflow_check_keys(t, secrets, NULL, err) : 0;
}

static int check_runner_job(const struct wh_convert *t, const struct wh_yaml *id, const struct wh_yaml *job,
                            struct wh_error *err)
{
    static const char *const of_call[] = {"with", "secrets"};
    for (size_t i = 0; i < WH_COUNT(of_call); i++)
        if (wh_yaml_get(job, of_call[i]))
            return wh_convert_fail(t, wh_yaml_get(job, of_call[i]), err,
                                   "Unexpected value '%s': it belongs to jobs with 'uses'", of_call[i]);
    const struct wh_yaml *steps = wh_yaml_get(job, "steps");
    if (!wh_yaml_get(job, "runs-on"))
        return wh_convert_fail(t, id, err, "Required property is missing: runs-on");
    if (!steps)
        return wh_convert_fail(t, id, err, "Required property is missing: steps");
    return check_steps(t, steps, err);
}

int wh_workflow_check_job(const struct wh_convert *t, const struct wh_yaml *id, const struct wh_yaml *job,
                          struct wh_error *err)
{
    if (id->kind != WH_YAML_SCALAR)
        return wh_convert_fail(t, id, err, "Expected a string");
    if (wh_workflow_check_id(t, id, "Job", err) < 0 || wh_workflow_check_keys(t, job, job_keys, err) < 0 ||
        check_needs_kind(t, job, err) < 0 || check_strategy(t, wh_yaml_get(job, "strategy"), err) < 0 ||
        wh_workflow_check_concurrency(t, wh_yaml_get(job, "concurrency"), err) < 0)
        return -1;
    static const struct {
        const char *key;
        enum wh_yaml_type type;
    } literals[] = {{"name", WH_YAML_STRING},
                    {"if", WH_YAML_STRING},
                    {"timeout-minutes", WH_YAML_NUMBER},
                    {"cancel-timeout-minutes", WH_YAML_NUMBER},
                    {"continue-on-error", WH_YAML_BOOL}};
    for (size_t i = 0; i < WH_COUNT(literals); i++)
        if (wh_workflow_check_literal(t, wh_yaml_get(job, literals[i].key), literals[i].type, err) < 0)
            return -1;
    return wh_yaml_get(job, "uses") ? check_call(t, job, err) : check_runner_job(t, id, job, err);
}
