/* The run's structure, and what follows from the end of a job. */
#include "workflow/graph_internal.h"

static const char *const result_texts[] = {"", "success", "failure", "cancelled", "skipped"};

const char *wh_graph_result_text(enum wh_graph_result r)
{
    return result_texts[r];
}

enum wh_graph_result wh_graph_result_parse(const char *text)
{
    if (wh_streq_ci(text, "succeeded") || wh_streq_ci(text, "succeededWithIssues"))
        return WH_GRAPH_SUCCESS;
    if (wh_streq_ci(text, "canceled") || wh_streq_ci(text, "cancelled"))
        return WH_GRAPH_CANCELLED;
    return wh_streq_ci(text, "skipped") ? WH_GRAPH_SKIPPED : WH_GRAPH_FAILURE;
}

struct wh_graph *wh_graph_new(const struct wh_graph_options *options)
{
    struct wh_graph *g = wh_calloc(1, sizeof *g);
    g->options = *options;
    g->vars = options->vars ? wh_value_from_json(options->vars, NULL) : NULL;
    if (!g->vars)
        g->vars = wh_value_object();
    return g;
}

static void job_free(struct wh_graph_job *job)
{
    wh_value_unref(job->matrix);
    wh_value_unref(job->strategy);
    wh_value_unref(job->outputs);
    free(job->name);
    free(job->runs_on);
    free(job->concurrency.group);
    free(job);
}

static void node_clear(struct wh_graph_node *node)
{
    for (size_t i = 0; i < node->njobs; i++)
        job_free(node->jobs[i]);
    free(node->jobs);
    free(node->needs);
    free(node->reason);
    wh_value_unref(node->outputs);
}

static void scope_free(struct wh_graph_scope *scope)
{
    for (size_t i = 0; i < scope->nnodes; i++)
        node_clear(&scope->nodes[i]);
    free(scope->nodes);
    free(scope->name);
    free(scope->concurrency.group);
    cJSON_Delete(scope->github_json);
    cJSON_Delete(scope->secrets);
    wh_value_unref(scope->github);
    wh_value_unref(scope->inputs);
    wh_value_unref(scope->outputs);
    if (scope->caller) /* a called workflow was taken over */
        wh_workflow_free((struct wh_workflow *)scope->workflow);
    free(scope);
}

void wh_graph_free(struct wh_graph *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->nscopes; i++)
        scope_free(g->scopes[i]);
    free(g->scopes);
    wh_value_unref(g->vars);
    free(g);
}

size_t wh_graph_scope_count(const struct wh_graph *g)
{
    return g->nscopes;
}

struct wh_graph_scope *wh_graph_scope_at(const struct wh_graph *g, size_t i)
{
    return g->scopes[i];
}

/* ---- making scopes ---- */

static struct wh_graph_node *find_node(struct wh_graph_scope *scope, const char *id)
{
    for (size_t i = 0; i < scope->nnodes; i++)
        if (wh_streq_ci(scope->nodes[i].id, id))
            return &scope->nodes[i];
    return NULL;
}

static void link_needs(struct wh_graph_node *node)
{
    size_t count = wh_workflow_need_count(node->yaml);
    node->needs = wh_calloc(count + 1, sizeof(void *));
    for (size_t i = 0; i < count; i++) {
        struct wh_graph_node *need = find_node(node->scope, wh_workflow_need(node->yaml, i)->text);
        if (need)
            node->needs[node->nneeds++] = need;
    }
}

struct wh_graph_scope *graph_scope_new(struct wh_graph *g, const struct wh_workflow *workflow,
                                       struct wh_graph_job *caller, struct wh_error *err)
{
    size_t n = wh_workflow_job_count(workflow);
    if (g->njobs + n > WH_MAX_GRAPH_JOBS) {
        wh_fail(err, WH_E_LIMIT, "a run has at most %u jobs", WH_MAX_GRAPH_JOBS);
        return NULL;
    }
    struct wh_graph_scope *scope = wh_calloc(1, sizeof *scope);
    scope->graph = g;
    scope->workflow = workflow;
    scope->caller = caller;
    scope->level = caller ? caller->node->scope->level + 1 : 1;
    scope->nodes = wh_calloc(n, sizeof *scope->nodes);
    scope->nnodes = n;
    for (size_t i = 0; i < n; i++) {
        struct wh_graph_node *node = &scope->nodes[i];
        node->scope = scope;
        node->id = wh_workflow_job_id(workflow, i);
        node->yaml = wh_workflow_job(workflow, node->id);
        node->call = wh_yaml_get(node->yaml, "uses") != NULL;
        node->fail_fast = true;
        node->outputs = wh_value_object();
    }
    for (size_t i = 0; i < n; i++)
        link_needs(&scope->nodes[i]);
    g->scopes = wh_reallocarray(g->scopes, g->nscopes + 1, sizeof(void *));
    g->scopes[g->nscopes++] = scope;
    return scope;
}

static void want(struct wh_graph_node *node)
{
    if (!node->left_out)
        return;
    node->left_out = false;
    for (size_t i = 0; i < node->nneeds; i++)
        want(node->needs[i]);
}

static int choose(struct wh_graph_scope *scope, char *const *only, struct wh_error *err)
{
    if (!only)
        return 0;
    for (size_t i = 0; i < scope->nnodes; i++)
        scope->nodes[i].left_out = true;
    for (; *only; only++) {
        struct wh_graph_node *node = find_node(scope, *only);
        if (node) {
            want(node);
            continue;
        }
        wh_autostr names = {0};
        for (size_t i = 0; i < scope->nnodes; i++)
            wh_str_addf(&names, "%s%s", i ? ", " : "", scope->nodes[i].id);
        return wh_fail(err, WH_E_NOT_FOUND, "there is no job '%s'; there is %s", *only, wh_str_text(&names));
    }
    return 0;
}

/* github.event.inputs: what workflow_dispatch was given, with defaults, all as texts. */
static void add_event_inputs(cJSON *github, const struct wh_value *inputs)
{
    cJSON *event = cJSON_GetObjectItem(github, "event");
    if (!cJSON_IsObject(event))
        return;
    cJSON *list = cJSON_CreateObject();
    for (size_t i = 0; i < wh_value_count(inputs); i++) {
        wh_autofree char *text = wh_value_to_string(wh_object_value_at(inputs, i));
        cJSON_AddStringToObject(list, wh_object_key_at(inputs, i), text);
    }
    cJSON_DeleteItemFromObject(event, "inputs");
    cJSON_AddItemToObject(event, "inputs", list);
}

static int root_inputs(struct wh_graph_scope *scope, const struct wh_graph_root *root, struct wh_error *err)
{
    bool dispatch = wh_streq(root->event, "workflow_dispatch");
    wh_autovalue *given = root->inputs ? wh_value_from_json(root->inputs, NULL) : NULL;
    if (!dispatch && wh_value_count(given) > 0)
        return wh_fail(err, WH_E_ARGUMENT,
                       "--input is for the event workflow_dispatch, and this is '%s': say --event "
                       "workflow_dispatch",
                       root->event);
    if (!dispatch)
        scope->inputs = wh_value_object();
    else
        scope->inputs = wh_workflow_inputs(scope->workflow, root->event, given, NULL, NULL, err);
    if (scope->inputs && dispatch && wh_workflow_has_event(scope->workflow, root->event))
        add_event_inputs(scope->github_json, scope->inputs);
    return scope->inputs ? 0 : -1;
}

static int root_names(struct wh_graph_scope *scope, struct wh_error *err)
{
    const struct wh_workflow *w = scope->workflow;
    wh_autovalue *contexts = wh_value_object();
    wh_object_set(contexts, "github", scope->github);
    wh_object_set(contexts, "inputs", scope->inputs);
    wh_object_set(contexts, "vars", scope->graph->vars);
    const struct wh_yaml *run_name = wh_yaml_get(w->root, "run-name");
    scope->name = run_name ? wh_workflow_eval_text(w, run_name, WH_PLACE_WORKFLOW, contexts, err)
                           : wh_strdup(wh_workflow_name(w));
    if (!scope->name || graph_concurrency(w, wh_yaml_get(w->root, "concurrency"), WH_PLACE_WORKFLOW, contexts,
                                          &scope->concurrency, err) < 0)
        return -1;
    scope->closed = scope->concurrency.group != NULL;
    return 0;
}

struct wh_graph_scope *wh_graph_add(struct wh_graph *g, const struct wh_graph_root *root,
                                    struct wh_error *err)
{
    struct wh_graph_scope *scope = graph_scope_new(g, root->workflow, NULL, err);
    if (!scope)
        return NULL;
    scope->github_json = cJSON_Duplicate(root->github, true);
    scope->secrets = root->secrets ? cJSON_Duplicate(root->secrets, true) : cJSON_CreateObject();
    scope->user = root->user;
    int n = choose(scope, root->only, err) < 0 || root_inputs(scope, root, err) < 0 ? -1 : 0;
    if (n == 0) {
        scope->github = wh_value_from_json(scope->github_json, err);
        n = scope->github && root_names(scope, err) == 0 ? 0 : -1;
    }
    if (n == 0)
        return scope;
    g->nscopes--;
    scope_free(scope);
    return NULL;
}

/* ---- going on ---- */

static bool needs_done(const struct wh_graph_node *node)
{
    for (size_t i = 0; i < node->nneeds; i++)
        if (!node->needs[i]->done)
            return false;
    return true;
}

static bool reach_some(struct wh_graph *g)
{
    for (size_t s = 0; s < g->nscopes; s++) {
        struct wh_graph_scope *scope = g->scopes[s];
        for (size_t i = 0; i < scope->nnodes && !scope->closed; i++) {
            struct wh_graph_node *node = &scope->nodes[i];
            if (node->expanded || node->done || node->left_out || !needs_done(node))
                continue;
            graph_node_reach(node);
            return true;
        }
    }
    return false;
}

static struct wh_graph_job *ready_job(const struct wh_graph_node *node)
{
    unsigned running = 0;
    for (size_t i = 0; i < node->njobs; i++)
        running += node->jobs[i]->state == WH_GRAPH_RUNNING;
    if (node->max_parallel > 0 && running >= node->max_parallel)
        return NULL;
    for (size_t i = 0; i < node->njobs; i++)
        if (node->jobs[i]->state == WH_GRAPH_READY && !node->jobs[i]->held)
            return node->jobs[i];
    return NULL;
}

struct wh_graph_job *wh_graph_next(struct wh_graph *g)
{
    while (reach_some(g))
        ;
    for (size_t s = 0; s < g->nscopes; s++) {
        const struct wh_graph_scope *scope = g->scopes[s];
        for (size_t i = 0; i < scope->nnodes && !scope->closed; i++) {
            struct wh_graph_job *job = ready_job(&scope->nodes[i]);
            if (job)
                return job;
        }
    }
    return NULL;
}

bool wh_graph_done(const struct wh_graph *g)
{
    for (size_t i = 0; i < g->nscopes; i++)
        if (!g->scopes[i]->caller && !g->scopes[i]->done)
            return false;
    return true;
}

/* Failure before cancelled before success; nothing but skipped ones is skipped. */
static enum wh_graph_result worse(enum wh_graph_result a, enum wh_graph_result b)
{
    static const int weight[] = {[WH_GRAPH_NONE] = 0,
                                 [WH_GRAPH_SKIPPED] = 1,
                                 [WH_GRAPH_SUCCESS] = 2,
                                 [WH_GRAPH_CANCELLED] = 3,
                                 [WH_GRAPH_FAILURE] = 4};
    return weight[a] > weight[b] ? a : b;
}

enum wh_graph_result wh_graph_result(const struct wh_graph *g)
{
    enum wh_graph_result result = WH_GRAPH_SUCCESS;
    for (size_t i = 0; i < g->nscopes; i++)
        if (!g->scopes[i]->caller)
            result = worse(result, g->scopes[i]->result);
    return result;
}

void wh_graph_start(struct wh_graph_job *job)
{
    job->state = WH_GRAPH_RUNNING;
    job->held = false;
}

void wh_graph_open(struct wh_graph_scope *scope)
{
    scope->closed = false;
}

/* ---- ends ---- */

static void scope_look(struct wh_graph_scope *scope)
{
    enum wh_graph_result result = WH_GRAPH_NONE;
    for (size_t i = 0; i < scope->nnodes; i++) {
        if (!scope->nodes[i].done && !scope->nodes[i].left_out)
            return;
        result = worse(result, scope->nodes[i].result);
    }
    if (scope->done)
        return;
    scope->done = true;
    scope->result = scope->canceled && result == WH_GRAPH_SKIPPED ? WH_GRAPH_CANCELLED : result;
    struct wh_graph_job *caller = scope->caller;
    if (!caller)
        return;
    wh_autoerror err = {0};
    scope->outputs = graph_call_outputs(scope, &err);
    if (!scope->outputs) {
        graph_set_reason(caller->node, wh_error_text(&err));
        scope->result = WH_GRAPH_FAILURE;
    } else if (!graph_take_outputs(caller, scope->outputs)) {
        scope->result = WH_GRAPH_FAILURE;
    }
    graph_job_end(caller, scope->result);
}

void graph_set_reason(struct wh_graph_node *node, const char *reason)
{
    if (!node->reason)
        node->reason = wh_strdup(reason);
}

void graph_node_end(struct wh_graph_node *node, enum wh_graph_result result, const char *reason)
{
    struct wh_graph *g = node->scope->graph;
    graph_set_reason(node, reason);
    node->done = true;
    node->result = result;
    if (g->options.on_end)
        g->options.on_end(g->options.arg, node, NULL);
    scope_look(node->scope);
}

static void node_look(struct wh_graph_node *node)
{
    enum wh_graph_result result = WH_GRAPH_NONE;
    for (size_t i = 0; i < node->njobs; i++) {
        const struct wh_graph_job *job = node->jobs[i];
        if (job->state != WH_GRAPH_DONE)
            return;
        bool forgiven = job->result == WH_GRAPH_FAILURE && job->continue_on_error;
        result = worse(result, forgiven ? WH_GRAPH_SUCCESS : job->result);
    }
    if (node->done)
        return;
    node->done = true;
    node->result = result;
    scope_look(node->scope);
}

static void fail_fast(struct wh_graph_job *failed)
{
    struct wh_graph_node *node = failed->node;
    for (size_t i = 0; i < node->njobs; i++)
        if (node->jobs[i] != failed && node->jobs[i]->state != WH_GRAPH_DONE)
            wh_graph_cancel_job(node->jobs[i]);
}

void graph_job_end(struct wh_graph_job *job, enum wh_graph_result result)
{
    struct wh_graph *g = job->node->scope->graph;
    bool never_ran = job->state == WH_GRAPH_READY;
    if (job->state == WH_GRAPH_DONE)
        return;
    job->state = WH_GRAPH_DONE;
    job->result = result;
    if (g->options.on_end && (never_ran || job->node->call))
        g->options.on_end(g->options.arg, job->node, job);
    if (result == WH_GRAPH_FAILURE && !job->continue_on_error && job->node->fail_fast)
        fail_fast(job);
    node_look(job->node);
}

bool graph_take_outputs(struct wh_graph_job *job, const struct wh_value *outputs)
{
    struct wh_graph *g = job->node->scope->graph;
    size_t bytes = 0;
    for (size_t i = 0; i < wh_value_count(outputs); i++)
        bytes += wh_object_key_len_at(outputs, i) + wh_value_view(wh_object_value_at(outputs, i)).len;
    bool of_job = bytes > WH_MAX_JOB_OUTPUTS;
    if (of_job || g->output_bytes + bytes > WH_MAX_RUN_OUTPUTS) {
        wh_autofree char *reason =
            of_job
                ? wh_printf("its outputs have %zu bytes, at most %zu are allowed", bytes, WH_MAX_JOB_OUTPUTS)
                : wh_printf("the outputs of the run have more than %zu bytes", WH_MAX_RUN_OUTPUTS);
        graph_set_reason(job->node, reason);
        return false;
    }
    g->output_bytes += bytes;
    job->outputs = wh_value_object();
    for (size_t i = 0; i < wh_value_count(outputs); i++) {
        const struct wh_value *value = wh_object_value_at(outputs, i);
        if (wh_value_view(value).len == 0)
            continue; /* of several rows the last one that says something wins */
        wh_object_set(job->outputs, wh_object_key_at(outputs, i), value);
        wh_object_set(job->node->outputs, wh_object_key_at(outputs, i), value);
    }
    return true;
}

void wh_graph_finish(struct wh_graph_job *job, enum wh_graph_result result, const cJSON *outputs)
{
    wh_autovalue *values = wh_value_object();
    for (const cJSON *o = outputs ? outputs->child : NULL; o; o = o->next)
        if (cJSON_IsString(o) && o->string)
            wh_object_set_text(values, o->string, o->valuestring);
    graph_job_end(job, graph_take_outputs(job, values) ? result : WH_GRAPH_FAILURE);
}

void wh_graph_fail(struct wh_graph_job *job, const char *reason)
{
    graph_set_reason(job->node, reason);
    graph_job_end(job, WH_GRAPH_FAILURE);
}

/* ---- cancelling ---- */

void wh_graph_cancel_job(struct wh_graph_job *job)
{
    bool looked_for = job->state == WH_GRAPH_RUNNING && job->node->call && !job->called;
    if (job->state == WH_GRAPH_READY || looked_for)
        graph_job_end(job, WH_GRAPH_CANCELLED);
    else if (job->state == WH_GRAPH_RUNNING && job->called)
        wh_graph_cancel_scope(job->called);
    else if (job->state == WH_GRAPH_RUNNING)
        job->cancel = true;
}

void wh_graph_cancel_scope(struct wh_graph_scope *scope)
{
    if (scope->done || scope->canceled)
        return;
    scope->canceled = true;
    scope->closed = false;
    for (size_t i = 0; i < scope->nnodes; i++) {
        struct wh_graph_node *node = &scope->nodes[i];
        if (!node->expanded || node->done)
            continue;
        bool stays = graph_condition(node, NULL) > 0;
        for (size_t k = 0; k < node->njobs; k++)
            if (!stays || node->call)
                wh_graph_cancel_job(node->jobs[k]);
    }
    if (scope->nnodes == 0)
        scope_look(scope);
}

void wh_graph_cancel(struct wh_graph *g)
{
    for (size_t i = 0; i < g->nscopes; i++)
        if (!g->scopes[i]->caller)
            wh_graph_cancel_scope(g->scopes[i]);
}
