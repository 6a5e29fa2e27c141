/* What the schema of a workflow can't say: ids, what jobs need, filters of events, cron. */
#include <ctype.h>

#include "wherry/workflow/workflow.h"
#include "workflow/lint_walk.h"
#include "workflow/workflow_internal.h"

/* ---- ids ---- */

static bool is_id(const char *id)
{
    size_t len = strlen(id);
    if (len == 0 || len >= 100 || wh_starts_with(id, "__") ||
        !(isalpha((unsigned char)id[0]) || id[0] == '_'))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)id[i]) && id[i] != '_' && id[i] != '-')
            return false;
    return true;
}

static void check_id(struct wf_check *c, const struct wh_yaml *at, const char *what)
{
    if (at->kind == WH_YAML_SCALAR && at->text[0] && !is_id(at->text))
        wf_problem(
            c, WH_LINT_REFUSED, "schema", at,
            "The identifier '%s' is invalid. %s IDs may only contain alphanumeric characters, '_', and '-'. "
            "IDs must start with a letter or '_', must not start with '__' and must be less than 100 "
            "characters.",
            at->text, what);
}

static const struct wh_yaml *scalar_of(const struct wh_yaml *map, const char *key)
{
    const struct wh_yaml *node = wh_yaml_get(map, key);
    return node && node->kind == WH_YAML_SCALAR ? node : NULL;
}

static void check_step(struct wf_check *c, const struct wh_yaml *steps, size_t i)
{
    const struct wh_yaml *step = steps->items[i];
    const struct wh_yaml *id = scalar_of(step, "id");
    if (id)
        check_id(c, id, "Step");
    for (size_t k = 0; id && k < i; k++) {
        const struct wh_yaml *other = scalar_of(steps->items[k], "id");
        if (other && wh_streq_ci(other->text, id->text)) {
            wf_problem(c, WH_LINT_REFUSED, "schema", id,
                       "The identifier '%s' may not be used more than once within the same scope.", id->text);
            break;
        }
    }
}

/* ---- needs ---- */

size_t wh_workflow_need_count(const struct wh_yaml *job)
{
    const struct wh_yaml *needs = wh_yaml_get(job, "needs");
    if (!needs || needs->kind == WH_YAML_MAPPING)
        return 0;
    return needs->kind == WH_YAML_SCALAR ? 1 : needs->nitems;
}

const struct wh_yaml *wh_workflow_need(const struct wh_yaml *job, size_t i)
{
    const struct wh_yaml *needs = wh_yaml_get(job, "needs");
    return needs->kind == WH_YAML_SCALAR ? needs : needs->items[i];
}

/* The number of a job; -1. */
static int job_index(const struct wh_yaml *jobs, const char *id)
{
    for (size_t i = 0; i + 1 < jobs->nitems; i += 2)
        if (jobs->items[i]->kind == WH_YAML_SCALAR && wh_streq_ci(jobs->items[i]->text, id))
            return (int)(i / 2);
    return -1;
}

static void check_needs(struct wf_check *c, const struct wh_yaml *jobs, size_t n)
{
    const char *names[WH_MAX_WORKFLOW_JOBS + 1] = {NULL};
    size_t count = 0;
    for (size_t i = 0; i + 1 < jobs->nitems && count < WH_MAX_WORKFLOW_JOBS; i += 2)
        if (i != 2 * n && jobs->items[i]->kind == WH_YAML_SCALAR)
            names[count++] = jobs->items[i]->text;
    const struct wh_yaml *job = jobs->items[2 * n + 1];
    for (size_t i = 0; i < wh_workflow_need_count(job); i++) {
        const struct wh_yaml *need = wh_workflow_need(job, i);
        if (need->kind != WH_YAML_SCALAR || need->text[0] == '\0' || strstr(need->text, "${{") ||
            job_index(jobs, need->text) >= 0)
            continue;
        wh_autofree char *near = wf_near(need->text, names);
        wf_problem(c, WH_LINT_REFUSED, "needs", need, "Job '%s' depends on unknown job '%s'.%s",
                   jobs->items[2 * n]->text, need->text, near);
    }
}

/* Jobs that could never start: again and again those are taken away that need nothing of what is left. */
static void check_cycles(struct wf_check *c, const struct wh_yaml *jobs)
{
    size_t count = WH_MIN(jobs->nitems / 2, (size_t)WH_MAX_WORKFLOW_JOBS);
    bool done[WH_MAX_WORKFLOW_JOBS] = {false};
    bool any = false;
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t i = 0; i < count; i++) {
            const struct wh_yaml *job = jobs->items[2 * i + 1];
            bool waits = done[i];
            for (size_t k = 0; k < wh_workflow_need_count(job) && !waits; k++) {
                const struct wh_yaml *need = wh_workflow_need(job, k);
                int other = need->kind == WH_YAML_SCALAR ? job_index(jobs, need->text) : -1;
                waits = other >= 0 && (size_t)other < count && !done[other];
            }
            if (!waits)
                any = moved = done[i] = true;
        }
    }
    if (count > 0 && !any)
        wf_problem(c, WH_LINT_REFUSED, "needs", jobs,
                   "The workflow must contain at least one job with no dependencies.");
    for (size_t i = 0; i < count; i++) {
        const struct wh_yaml *job = jobs->items[2 * i + 1];
        for (size_t k = 0; k < wh_workflow_need_count(job) && !done[i]; k++) {
            const struct wh_yaml *need = wh_workflow_need(job, k);
            int other = need->kind == WH_YAML_SCALAR ? job_index(jobs, need->text) : -1;
            if (other >= 0 && (size_t)other < count && !done[other])
                wf_problem(c, WH_LINT_REFUSED, "needs", need,
                           "Job '%s' depends on job '%s' which creates a cycle in the dependency graph.",
                           jobs->items[2 * i]->text, need->text);
        }
    }
}

static void check_matrix(struct wf_check *c, const struct wh_yaml *job)
{
    const struct wh_yaml *matrix = wh_yaml_get(wh_yaml_get(job, "strategy"), "matrix");
    if (!matrix || matrix->kind != WH_YAML_MAPPING)
        return;
    const struct wh_yaml *exclude = wh_yaml_get(matrix, "exclude");
    if (matrix->nitems == 0)
        wf_problem(c, WH_LINT_REFUSED, "schema", matrix, "Matrix must define at least one vector");
    for (size_t i = 0; i + 1 < matrix->nitems; i += 2) {
        const struct wh_yaml *value = matrix->items[i + 1];
        if (value->kind == WH_YAML_SEQUENCE && value->nitems == 0 && value != exclude)
            wf_problem(c, WH_LINT_REFUSED, "schema", value, "Matrix vector '%s' does not contain any values",
                       matrix->items[i]->text);
    }
    for (size_t i = 0; exclude && exclude->kind == WH_YAML_SEQUENCE && i < exclude->nitems; i++) {
        const struct wh_yaml *row = exclude->items[i];
        for (size_t k = 0; row->kind == WH_YAML_MAPPING && k + 1 < row->nitems; k += 2) {
            const struct wh_yaml *key = row->items[k];
            if (key->kind == WH_YAML_SCALAR && !strstr(key->text, "${{") && !wh_yaml_get(matrix, key->text))
                wf_problem(c, WH_LINT_ERROR, "schema", key,
                           "Matrix exclude key '%s' does not match any key within the matrix", key->text);
        }
    }
}

void wf_check_jobs(struct wf_check *c)
{
    const struct wh_yaml *jobs = wh_yaml_get(c->root, "jobs");
    if (!jobs || jobs->kind != WH_YAML_MAPPING)
        return;
    if (jobs->nitems == 0)
        wf_problem(c, WH_LINT_REFUSED, "schema", jobs, "There must be at least one job");
    if (jobs->nitems / 2 > WH_MAX_WORKFLOW_JOBS)
        wf_problem(c, WH_LINT_REFUSED, "schema", jobs, "A workflow has at most %u jobs",
                   WH_MAX_WORKFLOW_JOBS);
    for (size_t i = 0; i + 1 < jobs->nitems; i += 2) {
        if (jobs->items[i]->kind != WH_YAML_SCALAR)
            continue;
        const struct wh_yaml *steps = wh_yaml_get(jobs->items[i + 1], "steps");
        check_id(c, jobs->items[i], "Job");
        check_needs(c, jobs, i / 2);
        check_matrix(c, jobs->items[i + 1]);
        if (!steps || steps->kind != WH_YAML_SEQUENCE)
            continue;
        if (steps->nitems > WH_MAX_WORKFLOW_STEPS)
            wf_problem(c, WH_LINT_REFUSED, "schema", steps, "A job has at most %u steps",
                       WH_MAX_WORKFLOW_STEPS);
        for (size_t k = 0; k < steps->nitems && k < WH_MAX_WORKFLOW_STEPS; k++)
            check_step(c, steps, k);
    }
    check_cycles(c, jobs);
}

/* ---- on ---- */

/* One field of a cron line: lists of ranges with steps. names: of months or days; NULL. */
static bool is_cron_field(struct wh_view field, unsigned low, unsigned high, const char *names)
{
    struct wh_view rest = field;
    struct wh_view part;
    for (bool more = true; more;) {
        more = wh_view_split(rest, ',', &part, &rest);
        struct wh_view range;
        struct wh_view step;
        if (wh_view_split(part, '/', &range, &step)) {
            wh_autofree char *text = wh_view_dup(step);
            uint64_t n;
            if (!wh_parse_u64(text, high, &n) || n == 0)
                return false;
        }
        struct wh_view ends[2];
        bool both = wh_view_split(range, '-', &ends[0], &ends[1]);
        if (wh_view_eq(range, "*"))
            continue;
        for (int i = 0; i < (both ? 2 : 1); i++) {
            wh_autofree char *text = wh_view_dup(ends[i]);
            uint64_t n;
            wh_ascii_upper(text);
            bool named = names && strlen(text) == 3 && strstr(names, text);
            if (!named && (!wh_parse_u64(text, high, &n) || n < low))
                return false;
        }
    }
    return true;
}

static bool is_cron(const char *text)
{
    static const struct {
        unsigned low, high;
        const char *names;
    } fields[] = {{0, 59, NULL},
                  {0, 23, NULL},
                  {1, 31, NULL},
                  {1, 12, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"},
                  {0, 7, "SUN MON TUE WED THU FRI SAT"}};
    struct wh_view rest = wh_view_trim(wh_view_of(text));
    size_t count = 0;
    while (rest.len > 0) {
        struct wh_view field;
        (void)wh_view_split(rest, ' ', &field, &rest);
        rest = wh_view_trim(rest);
        if (count == WH_COUNT(fields) ||
            !is_cron_field(field, fields[count].low, fields[count].high, fields[count].names))
            return false;
        count++;
    }
    return count == WH_COUNT(fields);
}

static void check_event(struct wf_check *c, const struct wh_yaml *name, const struct wh_yaml *event)
{
    static const char *const pairs[][2] = {
        {"branches", "branches-ignore"}, {"tags", "tags-ignore"}, {"paths", "paths-ignore"}};
    for (size_t i = 0; i < WH_COUNT(pairs); i++)
        if (wh_yaml_get(event, pairs[i][0]) && wh_yaml_get(event, pairs[i][1]))
            wf_problem(c, WH_LINT_REFUSED, "schema", wh_yaml_get(event, pairs[i][1]),
                       "you may only define one of `%s` and `%s` for a single event", pairs[i][0],
                       pairs[i][1]);
    if (!wh_streq_ci(name->text, "schedule") || event->kind != WH_YAML_SEQUENCE)
        return;
    for (size_t i = 0; i < event->nitems; i++) {
        const struct wh_yaml *cron = scalar_of(event->items[i], "cron");
        if (cron && cron->text[0] && !is_cron(cron->text))
            wf_problem(c, WH_LINT_REFUSED, "schema", cron,
                       "Invalid cron string '%s': five fields are needed: minute, hour, day of the month, "
                       "month, day "
                       "of the week",
                       cron->text);
    }
}

/* Inputs of type choice have options, and their default is one of them. */
static void check_choices(struct wf_check *c, const struct wh_yaml *inputs)
{
    for (size_t i = 0; inputs && inputs->kind == WH_YAML_MAPPING && i + 1 < inputs->nitems; i += 2) {
        const struct wh_yaml *input = inputs->items[i + 1];
        const struct wh_yaml *type = scalar_of(input, "type");
        const struct wh_yaml *options = wh_yaml_get(input, "options");
        const struct wh_yaml *value = scalar_of(input, "default");
        if (!type || !wh_streq(type->text, "choice"))
            continue;
        if (!options) {
            wf_problem(c, WH_LINT_REFUSED, "schema", inputs->items[i],
                       "Required property is missing: options");
            continue;
        }
        bool found = !value || options->kind != WH_YAML_SEQUENCE;
        for (size_t k = 0; !found && k < options->nitems; k++)
            found =
                options->items[k]->kind == WH_YAML_SCALAR && wh_streq(options->items[k]->text, value->text);
        if (!found)
            wf_problem(c, WH_LINT_REFUSED, "schema", value, "The default '%s' is none of the options",
                       value->text);
    }
}

void wf_check_on(struct wf_check *c)
{
    const struct wh_yaml *on = wh_yaml_get(c->root, "on");
    if (!on || on->kind != WH_YAML_MAPPING)
        return;
    for (size_t i = 0; i + 1 < on->nitems; i += 2)
        if (on->items[i]->kind == WH_YAML_SCALAR)
            check_event(c, on->items[i], on->items[i + 1]);
    check_choices(c, wh_yaml_get(wh_yaml_get(on, "workflow_dispatch"), "inputs"));
}
