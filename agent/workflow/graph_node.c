/* A job that is reached: its condition, then its rows with what must be known before they start. */
#include "wherry/job/message.h"
#include "workflow/graph_internal.h"

#define MAX_NAME 100 /* characters of a name made of a row's values */

/* ---- what it sees ---- */

static struct wh_value *needs_context(const struct wh_graph_node *node)
{
    struct wh_value *needs = wh_value_object();
    for (size_t i = 0; i < node->nneeds; i++) {
        const struct wh_graph_node *need = node->needs[i];
        struct wh_value *entry = wh_value_object();
        wh_object_set_text(entry, "result", wh_graph_result_text(need->result));
        wh_object_set(entry, "outputs", need->outputs);
        wh_object_set_take(needs, need->id, entry);
    }
    return needs;
}

struct wh_value *graph_contexts(const struct wh_graph_node *node, const struct wh_graph_job *job)
{
    const struct wh_graph_scope *scope = node->scope;
    struct wh_value *contexts = wh_value_object();
    wh_object_set(contexts, "github", scope->github);
    wh_object_set(contexts, "inputs", scope->inputs);
    wh_object_set(contexts, "vars", scope->graph->vars);
    wh_object_set_take(contexts, "needs", needs_context(node));
    if (job) {
        wh_object_set(contexts, "strategy", job->strategy);
        wh_object_set(contexts, "matrix", job->matrix);
    }
    struct wh_value *secrets = wh_value_from_json(scope->secrets, NULL);
    wh_object_set_take(contexts, "secrets", secrets ? secrets : wh_value_object());
    return contexts;
}

/* ---- conditions: the status functions look at all that it depends on, near or far ---- */

struct ancestors {
    size_t count, success, failure;
    bool *seen;
};

static void look_at(struct ancestors *a, const struct wh_graph_node *node)
{
    for (size_t i = 0; i < node->nneeds; i++) {
        const struct wh_graph_node *need = node->needs[i];
        size_t index = (size_t)(need - need->scope->nodes);
        if (a->seen[index])
            continue;
        a->seen[index] = true;
        a->count++;
        a->success += need->result == WH_GRAPH_SUCCESS;
        a->failure += need->result == WH_GRAPH_FAILURE;
        look_at(a, need);
    }
}

static bool status(void *arg, enum wh_status_function which)
{
    const struct wh_graph_node *node = arg;
    wh_autofree bool *seen = wh_calloc(node->scope->nnodes + 1, sizeof *seen);
    struct ancestors a = {.seen = seen};
    look_at(&a, node);
    switch (which) {
    case WH_STATUS_SUCCESS:
        return !node->scope->canceled && a.success == a.count;
    case WH_STATUS_FAILURE:
        return a.failure > 0;
    case WH_STATUS_CANCELLED:
        return node->scope->canceled;
    default:
        return true;
    }
}

int graph_condition(struct wh_graph_node *node, struct wh_error *err)
{
    struct wh_convert t = {.file = node->scope->workflow->file};
    const struct wh_yaml *yaml = wh_yaml_get(node->yaml, "if");
    wh_autofree char *condition = wh_convert_condition(&t, yaml, WH_PLACE_JOB_IF, err);
    if (!condition)
        return -1;
    wh_autovalue *contexts = graph_contexts(node, NULL);
    struct wh_eval env = {.contexts = contexts, .status = status, .status_arg = node};
    wh_autoerror cause = {0};
    int wanted = wh_condition_eval(condition, wh_place_allows(WH_PLACE_JOB_IF), &env, &cause);
    return wanted < 0 ? wh_convert_fail(&t, yaml, err, "%s", wh_error_text(&cause)) : wanted;
}

/* ---- concurrency ---- */

int graph_concurrency(const struct wh_workflow *w, const struct wh_yaml *node, enum wh_place place,
                      const struct wh_value *contexts, struct wh_concurrency *out, struct wh_error *err)
{
    struct wh_convert t = {.file = w->file};
    if (!node)
        return 0;
    wh_autovalue *value = wh_workflow_eval(w, node, place, contexts, err);
    if (!value)
        return -1;
    bool map = wh_value_kind(value) == WH_OBJECT;
    const struct wh_value *group = map ? wh_object_get(value, "group") : value;
    const struct wh_value *cancel = map ? wh_object_get(value, "cancel-in-progress") : NULL;
    wh_autofree char *text = wh_value_to_string(group);
    if (!wh_value_is_primitive(group) || text[0] == '\0')
        return wh_convert_fail(&t, node, err, "Concurrency group name cannot be empty");
    if (strlen(text) > WH_MAX_CONCURRENCY_GROUP)
        return wh_convert_fail(&t, node, err, "Concurrency group name must be less than %d characters",
                               WH_MAX_CONCURRENCY_GROUP);
    if (!wh_value_is_null(cancel) && wh_value_kind(cancel) != WH_BOOL) {
        wh_autofree char *shown = wh_value_to_string(cancel);
        return wh_convert_fail(&t, node, err, "Unexpected value '%s'", shown);
    }
    free(out->group);
    *out = (struct wh_concurrency){wh_steal(&text), wh_value_as_bool(cancel)};
    return 0;
}

/* ---- rows ---- */

struct strategy {
    struct wh_matrix matrix;
    bool has_matrix, fail_fast;
    double max_parallel; /* 0: none */
};

static int read_matrix(const struct wh_graph_node *node, const struct wh_value *matrix, struct strategy *out,
                       struct wh_error *err)
{
    struct wh_convert t = {.file = node->scope->workflow->file};
    wh_autoerror cause = {0};
    out->has_matrix = true;
    if (wh_matrix_expand(matrix, &out->matrix, &cause) == 0)
        return 0;
    const struct wh_yaml *strategy = wh_yaml_get(node->yaml, "strategy");
    const struct wh_yaml *at = wh_yaml_get(strategy, "matrix");
    const struct wh_yaml *part = at && out->matrix.at ? wh_yaml_get(at, out->matrix.at) : NULL;
    return wh_convert_fail(&t, part ? part : at ? at : strategy, err, "%s", wh_error_text(&cause));
}

static int read_strategy(const struct wh_graph_node *node, struct strategy *out, struct wh_error *err)
{
    const struct wh_workflow *w = node->scope->workflow;
    struct wh_convert t = {.file = w->file};
    const struct wh_yaml *yaml = wh_yaml_get(node->yaml, "strategy");
    *out = (struct strategy){.fail_fast = true};
    if (!yaml)
        return 0;
    wh_autovalue *contexts = graph_contexts(node, NULL);
    wh_autovalue *value = wh_workflow_eval(w, yaml, WH_PLACE_JOB_STRATEGY, contexts, err);
    if (!value)
        return -1;
    const struct wh_value *fast = wh_object_get(value, "fail-fast");
    const struct wh_value *most = wh_object_get(value, "max-parallel");
    const struct wh_value *wrong = !wh_value_is_null(fast) && wh_value_kind(fast) != WH_BOOL     ? fast
                                   : !wh_value_is_null(most) && wh_value_kind(most) != WH_NUMBER ? most
                                                                                                 : NULL;
    if (wrong) {
        wh_autofree char *shown = wh_value_to_string(wrong);
        return wh_convert_fail(&t, yaml, err, "Unexpected value '%s'", shown);
    }
    if (!wh_value_is_null(fast))
        out->fail_fast = wh_value_as_bool(fast);
    double most_number = wh_value_is_null(most) ? 0 : wh_value_as_number(most);
    out->max_parallel = most_number >= 1 && most_number <= 1e6 ? most_number : 0;
    return wh_object_has(value, "matrix") ? read_matrix(node, wh_object_get(value, "matrix"), out, err) : 0;
}

static struct wh_value *strategy_context(const struct strategy *s, size_t index)
{
    size_t total = s->has_matrix ? s->matrix.nrows : 1;
    struct wh_value *v = wh_value_object();
    wh_object_set_take(v, "fail-fast", wh_value_bool(s->fail_fast));
    wh_object_set_take(v, "job-index", wh_value_number((double)index));
    wh_object_set_take(v, "job-total", wh_value_number((double)total));
    double most = s->max_parallel > 0 ? (double)(unsigned)s->max_parallel : (double)total;
    wh_object_set_take(v, "max-parallel", wh_value_number(most));
    return v;
}

/* --matrix KEY:VALUE: rows that have the key with another value are left out. */
static bool row_wanted(const struct wh_graph *g, const struct wh_value *row)
{
    const cJSON *key;
    cJSON_ArrayForEach(key, g->options.rows)
    {
        if (!wh_object_has(row, key->string))
            continue;
        wh_autofree char *text = wh_value_to_string(wh_object_get(row, key->string));
        bool found = false;
        for (const cJSON *value = key->child; value && !found; value = value->next)
            found = wh_streq_ci(value->valuestring, text);
        if (!found)
            return false;
    }
    return true;
}

static char *cut_name(char *name_taken)
{
    wh_autofree char *name = name_taken;
    size_t len = 0;
    size_t cut = 0;
    for (size_t i = 0; name[i]; i++) {
        if (((unsigned char)name[i] & 0xc0U) == 0x80)
            continue;
        if (len++ == MAX_NAME - 3)
            cut = i;
    }
    return len > MAX_NAME ? wh_printf("%.*s...", (int)cut, name) : wh_steal(&name);
}

static char *job_name(const struct wh_graph_job *job, const char *suffix, const struct wh_value *contexts,
                      struct wh_error *err)
{
    const struct wh_graph_node *node = job->node;
    const struct wh_yaml *yaml = wh_yaml_get(node->yaml, "name");
    wh_autofree char *own =
        yaml ? wh_workflow_eval_text(node->scope->workflow, yaml, WH_PLACE_JOB, contexts, err)
             : wh_strdup(node->id);
    if (!own)
        return NULL;
    bool expression = yaml && strstr(yaml->text, "${{");
    const char *base = own[0] ? own : node->id;
    wh_autofree char *named =
        suffix[0] && !expression ? cut_name(wh_printf("%s (%s)", base, suffix)) : wh_strdup(base);
    const struct wh_graph_job *caller = node->scope->caller;
    return caller ? wh_printf("%s / %s", caller->name, named) : wh_steal(&named);
}

static void add_label(struct wh_str *out, const struct wh_value *v)
{
    bool array = wh_value_kind(v) == WH_ARRAY;
    if (wh_value_is_primitive(v)) {
        wh_autofree char *text = wh_value_to_string(v);
        wh_str_addf(out, "%s%s", out->len > 0 && text[0] ? ", " : "", text);
    }
    for (size_t i = 0; i < wh_value_count(v); i++)
        add_label(out, array ? wh_array_at(v, i) : wh_object_value_at(v, i));
}

static int read_number(const struct wh_graph_job *job, const char *key, const struct wh_value *contexts,
                       unsigned *out, struct wh_error *err)
{
    const struct wh_yaml *yaml = wh_yaml_get(job->node->yaml, key);
    double number = 0;
    if (yaml &&
        wh_workflow_eval_number(job->node->scope->workflow, yaml, WH_PLACE_JOB, contexts, &number, err) < 0)
        return -1;
    *out = number >= 1 && number <= 1e6 ? (unsigned)number : 0;
    return 0;
}

static int fill_job(struct wh_graph_job *job, const char *suffix, struct wh_error *err)
{
    const struct wh_graph_node *node = job->node;
    const struct wh_workflow *w = node->scope->workflow;
    wh_autovalue *contexts = graph_contexts(node, job);
    free(job->name);
    job->name = job_name(job, suffix, contexts, err);
    if (!job->name) {
        job->name = wh_strdup(node->id);
        return -1;
    }
    const struct wh_yaml *runs_on = wh_yaml_get(node->yaml, "runs-on");
    if (runs_on) {
        wh_autovalue *labels = wh_workflow_eval(w, runs_on, WH_PLACE_JOB, contexts, err);
        if (!labels)
            return -1;
        wh_autostr text = {0};
        add_label(&text, labels);
        job->runs_on = wh_str_steal(&text);
    }
    const struct wh_yaml *forgiving = wh_yaml_get(node->yaml, "continue-on-error");
    if (forgiving &&
        wh_workflow_eval_bool(w, forgiving, WH_PLACE_JOB, contexts, &job->continue_on_error, err) < 0)
        return -1;
    return read_number(job, "timeout-minutes", contexts, &job->timeout_minutes, err) < 0 ||
                   graph_concurrency(w, wh_yaml_get(node->yaml, "concurrency"), WH_PLACE_JOB, contexts,
                                     &job->concurrency, err) < 0
               ? -1
               : 0;
}

static struct wh_graph_job *add_job(struct wh_graph_node *node, size_t index, const struct strategy *s)
{
    struct wh_graph_job *job = wh_calloc(1, sizeof *job);
    job->node = node;
    job->index = index;
    job->name = wh_strdup(node->id);
    job->strategy = strategy_context(s, index);
    job->matrix = s->has_matrix ? wh_value_ref(s->matrix.rows[index].values) : NULL;
    node->jobs = wh_reallocarray(node->jobs, node->njobs + 1, sizeof(void *));
    node->jobs[node->njobs++] = job;
    node->scope->graph->njobs++;
    return job;
}

static void make_jobs(struct wh_graph_node *node, const struct strategy *s)
{
    struct wh_graph *g = node->scope->graph;
    size_t total = s->has_matrix ? s->matrix.nrows : 1;
    if (g->njobs + total > WH_MAX_GRAPH_JOBS) {
        wh_autofree char *reason = wh_printf("a run has at most %u jobs", WH_MAX_GRAPH_JOBS);
        graph_node_end(node, WH_GRAPH_FAILURE, reason);
        return;
    }
    for (size_t i = 0; i < total; i++)
        if (!s->has_matrix || row_wanted(g, s->matrix.rows[i].values))
            add_job(node, i, s);
    if (node->njobs == 0) {
        graph_node_end(node, WH_GRAPH_SKIPPED,
                       total > 0 ? "no row of its matrix is wanted" : "its matrix has no rows");
        return;
    }
    /* All are there before the first can fail and cancel the others. */
    for (size_t i = 0; i < node->njobs; i++) {
        struct wh_graph_job *job = node->jobs[i];
        wh_autoerror err = {0};
        bool known = fill_job(job, s->has_matrix ? s->matrix.rows[job->index].suffix : "", &err) == 0;
        if (!known && !g->options.plan)
            wh_graph_fail(job, wh_error_text(&err));
    }
}

/* In a plan there are no outputs: what asks for them can't be told before. */
static bool depends_on_outputs(const struct wh_graph_node *node, const struct wh_yaml *at, unsigned depth)
{
    if (!node->scope->graph->options.plan || !at || depth > WH_MAX_YAML_DEPTH)
        return false;
    if (at->kind == WH_YAML_SCALAR)
        return strstr(at->text, "needs") && strstr(at->text, "outputs");
    for (size_t i = 0; i < at->nitems; i++)
        if (depends_on_outputs(node, at->items[i], depth + 1))
            return true;
    return false;
}

void graph_node_reach(struct wh_graph_node *node)
{
    wh_autoerror err = {0};
    node->expanded = true;
    bool open = depends_on_outputs(node, wh_yaml_get(node->yaml, "if"), 0);
    if (open)
        graph_set_reason(node, "whether it runs depends on outputs");
    int wanted = open ? 1 : graph_condition(node, &err);
    if (wanted < 0) {
        graph_node_end(node, WH_GRAPH_FAILURE, wh_error_text(&err));
        return;
    }
    if (wanted == 0) {
        bool asked = wh_yaml_get(node->yaml, "if") != NULL;
        graph_node_end(node, WH_GRAPH_SKIPPED,
                       node->scope->canceled ? "the run was cancelled"
                       : asked               ? "its condition is false"
                                             : "a job that it needs did not succeed");
        return;
    }
    struct strategy s = {.fail_fast = true};
    if (depends_on_outputs(node, wh_yaml_get(node->yaml, "strategy"), 0)) {
        graph_set_reason(node, "its matrix depends on outputs: it may become several");
        make_jobs(node, &s);
    } else if (read_strategy(node, &s, &err) < 0) {
        graph_node_end(node, WH_GRAPH_FAILURE, wh_error_text(&err));
    } else {
        node->fail_fast = s.fail_fast;
        node->max_parallel = (unsigned)s.max_parallel;
        make_jobs(node, &s);
    }
    wh_matrix_clear(&s.matrix);
}

/* ---- its message ---- */

cJSON *wh_graph_message(const struct wh_graph_job *job, struct wh_error *err)
{
    const struct wh_graph_scope *scope = job->node->scope;
    const struct wh_graph_options *o = &scope->graph->options;
    wh_autovalue *needs = needs_context(job->node);
    struct wh_workflow_context context = {.github = scope->github_json,
                                          .vars = o->vars,
                                          .secrets = scope->secrets,
                                          .token = o->token,
                                          .inputs = scope->inputs,
                                          .needs = needs,
                                          .strategy = job->strategy,
                                          .matrix = job->matrix,
                                          .name = job->name};
    return wh_workflow_message(scope->workflow, job->node->id, &context, err);
}
