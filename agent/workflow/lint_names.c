/* What an expression's names mean here: steps that are there and ran before, jobs that are needed, members
 * that contexts have. A name that is none of these is no error at GitHub: it is null, always. */
#include "workflow/lint_walk.h"
#include "workflow/workflow_internal.h"

struct naming {
    struct wf_check *check;
    const struct wh_yaml *scalar;
    size_t base;
    const struct wh_expr_use *use;
};

static void tell(const struct naming *n, size_t part, enum wh_lint_level level, const char *what,
                 const char *const *names)
{
    const struct wh_expr_part *p = &n->use->parts[part];
    wh_autofree char *name = wh_view_dup(p->name);
    wh_autofree char *near = names ? wf_near(name, names) : wh_strdup("");
    wf_problem_within(n->check, level, "name", n->scalar, n->base + p->at, p->name.len, what, name, near);
}

static bool is_among(struct wh_view name, const char *const *names)
{
    for (; *names; names++)
        if (strlen(*names) == name.len && wh_strcmp_ci(*names, name.data, name.len) == 0)
            return true;
    return false;
}

static const struct wh_yaml *get(const struct wh_yaml *map, struct wh_view name)
{
    wh_autofree char *key = wh_view_dup(name);
    return wh_yaml_get(map, key);
}

/* The literal keys of a mapping as names. false: there are computed ones, so that any name may be there.
 * Owned vector. */
static bool keys_of(const struct wh_yaml *map, char ***names)
{
    if (!map || map->kind != WH_YAML_MAPPING)
        return !map;
    for (size_t i = 0; i + 1 < map->nitems; i += 2) {
        if (map->items[i]->kind != WH_YAML_SCALAR || strstr(map->items[i]->text, "${{"))
            return false;
        wh_strv_add(names, map->items[i]->text);
    }
    return true;
}

static const char *const none[] = {NULL};
static const char *const *list(char *const *names)
{
    return names ? (const char *const *)names : none;
}

/* ---- steps ---- */

static void check_steps(const struct naming *n)
{
    const struct wf_check *c = n->check;
    const struct wh_yaml *steps = wh_yaml_get(c->job, "steps");
    if (!steps || steps->kind != WH_YAML_SEQUENCE || n->use->nparts == 0)
        return;
    wh_autostrv char **before = NULL;
    bool later = false;
    bool passed = false;
    for (size_t i = 0; i < steps->nitems; i++) {
        passed = passed || (c->step && steps->items[i] == c->step);
        const struct wh_yaml *id = wh_yaml_get(steps->items[i], "id");
        if (!id || id->kind != WH_YAML_SCALAR)
            continue;
        if (!passed)
            wh_strv_add(&before, id->text);
        else
            later =
                later || (strlen(id->text) == n->use->parts[0].name.len &&
                          wh_strcmp_ci(id->text, n->use->parts[0].name.data, n->use->parts[0].name.len) == 0);
    }
    static const char *const members[] = {"outputs", "outcome", "conclusion", NULL};
    if (!is_among(n->use->parts[0].name, list(before)))
        tell(n, 0, WH_LINT_ERROR,
             later ? "Step '%s' has not run yet here: its outputs are empty%s"
                   : "There is no step with the id '%s' before this one%s",
             later ? NULL : list(before));
    else if (n->use->nparts > 1 && !is_among(n->use->parts[1].name, members))
        tell(n, 1, WH_LINT_ERROR, "A step has no '%s', only outputs, outcome and conclusion%s", members);
}

/* ---- needs, jobs ---- */

static void check_job_outputs(const struct naming *n, const struct wh_yaml *job)
{
    wh_autostrv char **names = NULL;
    if (wh_yaml_get(job, "uses") || n->use->nparts < 3 || !keys_of(wh_yaml_get(job, "outputs"), &names) ||
        is_among(n->use->parts[2].name, list(names)))
        return;
    tell(n, 2, WH_LINT_ERROR, "The job has no output '%s'%s", list(names));
}

static void check_needs(const struct naming *n, bool all)
{
    static const char *const members[] = {"outputs", "result", NULL};
    const struct wf_check *c = n->check;
    const struct wh_yaml *jobs = wh_yaml_get(c->root, "jobs");
    if (n->use->nparts == 0 || !jobs || (!all && !c->job))
        return;
    wh_autostrv char **names = NULL;
    if (all && !keys_of(jobs, &names))
        return;
    for (size_t i = 0; !all && i < wh_workflow_need_count(c->job); i++)
        wh_strv_add(&names, wh_workflow_need(c->job, i)->kind == WH_YAML_SCALAR
                                ? wh_workflow_need(c->job, i)->text
                                : "");
    const struct wh_yaml *job = get(jobs, n->use->parts[0].name);
    if (!is_among(n->use->parts[0].name, list(names)))
        tell(n, 0, WH_LINT_ERROR,
             all   ? "There is no job '%s'%s"
             : job ? "The job does not need '%s': add it to its `needs`%s"
                   : "There is no job '%s' in the job's `needs`%s",
             job ? NULL : list(names));
    else if (n->use->nparts > 1 && !is_among(n->use->parts[1].name, members))
        tell(n, 1, WH_LINT_ERROR, "A job that is needed has no '%s', only outputs and result%s", members);
    else if (n->use->nparts > 2 && job)
        check_job_outputs(n, job);
}

/* ---- inputs, matrix ---- */

static void check_inputs(const struct naming *n)
{
    const struct wh_yaml *on = wh_yaml_get(n->check->root, "on");
    if (n->use->nparts == 0 || !on)
        return;
    wh_autostrv char **names = NULL;
    static const char *const events[] = {"workflow_dispatch", "workflow_call"};
    for (size_t i = 0; i < WH_COUNT(events); i++)
        if (!keys_of(wh_yaml_get(wh_yaml_get(on, events[i]), "inputs"), &names))
            return;
    if (!is_among(n->use->parts[0].name, list(names)))
        tell(n, 0, WH_LINT_ERROR, "The workflow declares no input '%s'%s", list(names));
}

static void check_matrix(const struct naming *n)
{
    if (n->use->nparts == 0 || !n->check->job)
        return;
    const struct wh_yaml *strategy = wh_yaml_get(n->check->job, "strategy");
    const struct wh_yaml *matrix = wh_yaml_get(strategy, "matrix");
    wh_autostrv char **names = NULL;
    if ((strategy && strategy->kind == WH_YAML_SCALAR) || !keys_of(matrix, &names))
        return;
    const struct wh_yaml *include = wh_yaml_get(matrix, "include");
    if (include && include->kind == WH_YAML_SCALAR)
        return;
    for (size_t i = 0; include && include->kind == WH_YAML_SEQUENCE && i < include->nitems; i++)
        if (!keys_of(include->items[i], &names))
            return;
    if (!matrix)
        tell(n, 0, WH_LINT_ERROR, "The job has no matrix: there is no '%s'%s", NULL);
    else if (!is_among(n->use->parts[0].name, list(names)))
        tell(n, 0, WH_LINT_ERROR, "The job's matrix has no '%s'%s", list(names));
}

/* ---- contexts with fixed members ---- */

static const char *const of_github[] = {"action",
                                        "action_path",
                                        "action_ref",
                                        "action_repository",
                                        "action_status",
                                        "actor",
                                        "actor_id",
                                        "api_url",
                                        "artifacts",
                                        "artifacts_list",
                                        "artifact_cache_size_limit",
                                        "base_ref",
                                        "env",
                                        "event",
                                        "event_name",
                                        "event_path",
                                        "graphql_url",
                                        "head_ref",
                                        "job",
                                        "job_workflow_sha",
                                        "output",
                                        "path",
                                        "ref",
                                        "ref_name",
                                        "ref_protected",
                                        "ref_type",
                                        "repository",
                                        "repository_id",
                                        "repository_owner",
                                        "repository_owner_id",
                                        "repository_visibility",
                                        "repositoryUrl",
                                        "retention_days",
                                        "run_attempt",
                                        "run_id",
                                        "run_number",
                                        "secret_source",
                                        "server_url",
                                        "sha",
                                        "state",
                                        "step_summary",
                                        "token",
                                        "triggering_actor",
                                        "workflow",
                                        "workflow_ref",
                                        "workflow_sha",
                                        "workspace",
                                        NULL};
static const char *const of_runner[] = {"arch", "debug",      "environment", "name", "os",
                                        "temp", "tool_cache", "workspace",   NULL};
static const char *const of_strategy[] = {"fail-fast", "job-index", "job-total", "max-parallel", NULL};
static const char *const of_job[] = {
    "check_run_id", "container",           "services",     "status", "workflow_file_path",
    "workflow_ref", "workflow_repository", "workflow_sha", NULL};

static void check_members(const struct naming *n, const char *context, const char *const *names)
{
    if (n->use->nparts == 0 || is_among(n->use->parts[0].name, names))
        return;
    wh_autofree char *what = wh_printf("The %s context has no '%%s'%%s", context);
    tell(n, 0, WH_LINT_WARNING, what, names);
}

void wf_check_use(struct wf_check *c, const struct wh_yaml *scalar, size_t base,
                  const struct wh_expr_use *use)
{
    struct naming n = {c, scalar, base, use};
    if (use->function)
        return;
    wh_autofree char *name = wh_view_dup(use->name.name);
    wh_ascii_lower(name);
    if (wh_streq(name, "steps"))
        check_steps(&n);
    else if (wh_streq(name, "needs"))
        check_needs(&n, false);
    else if (wh_streq(name, "jobs"))
        check_needs(&n, true);
    else if (wh_streq(name, "inputs"))
        check_inputs(&n);
    else if (wh_streq(name, "matrix"))
        check_matrix(&n);
    else if (wh_streq(name, "github"))
        check_members(&n, name, of_github);
    else if (wh_streq(name, "runner"))
        check_members(&n, name, of_runner);
    else if (wh_streq(name, "strategy"))
        check_members(&n, name, of_strategy);
    else if (wh_streq(name, "job"))
        check_members(&n, name, of_job);
}
