/* Jobs that call a workflow: what goes in, what comes out. */
#include "workflow/graph_internal.h"

const char *wh_graph_uses(const struct wh_graph_job *job)
{
    return wh_yaml_get(job->node->yaml, "uses")->text;
}

static char *place_of(const struct wh_graph_job *job, const char *key)
{
    const struct wh_yaml *at = wh_yaml_get(job->node->yaml, key);
    return wh_printf("%s (Line: %u, Col: %u)", job->node->scope->workflow->file, at->line, at->col);
}

/* ---- secrets ---- */

static cJSON *given_secrets(const struct wh_graph_job *job, const struct wh_value *contexts, bool *inherit,
                            struct wh_error *err)
{
    const struct wh_graph_scope *scope = job->node->scope;
    const struct wh_yaml *yaml = wh_yaml_get(job->node->yaml, "secrets");
    *inherit = yaml && yaml->kind == WH_YAML_SCALAR && wh_streq(yaml->text, "inherit");
    if (*inherit)
        return cJSON_Duplicate(scope->secrets, true);
    wh_autojson *out = cJSON_CreateObject();
    for (size_t i = 0; yaml && yaml->kind == WH_YAML_MAPPING && i + 1 < yaml->nitems; i += 2) {
        wh_autofree char *text =
            wh_workflow_eval_text(scope->workflow, yaml->items[i + 1], WH_PLACE_JOB_ENV, contexts, err);
        if (!text)
            return NULL;
        cJSON_AddStringToObject(out, yaml->items[i]->text, text);
    }
    return wh_steal(&out);
}

static int check_secrets(const struct wh_graph_job *job, const struct wh_workflow *called, const cJSON *given,
                         struct wh_error *err)
{
    const struct wh_yaml *call = wh_workflow_event_node(called, "workflow_call");
    const struct wh_yaml *list = call ? wh_yaml_get(call, "secrets") : NULL;
    wh_autofree char *place = place_of(job, "uses");
    for (size_t i = 0; list && list->kind == WH_YAML_MAPPING && i + 1 < list->nitems; i += 2) {
        const struct wh_yaml *required = wh_yaml_get(list->items[i + 1], "required");
        bool must = required && required->kind == WH_YAML_SCALAR && wh_streq_ci(required->text, "true");
        if (must && !cJSON_GetObjectItem(given, list->items[i]->text))
            return wh_fail(err, WH_E_PARSE, "%s: Secret %s is required, but not provided while calling.",
                           place, list->items[i]->text);
    }
    for (const cJSON *s = given->child; s; s = s->next)
        if (!list || !wh_yaml_get(list, s->string))
            return wh_fail(err, WH_E_PARSE,
                           "%s: Invalid secret, %s is not defined in the referenced workflow.", place,
                           s->string);
    return 0;
}

/* ---- the call ---- */

static struct wh_value *given_inputs(const struct wh_graph_job *job, const struct wh_value *contexts,
                                     struct wh_error *err)
{
    const struct wh_yaml *yaml = wh_yaml_get(job->node->yaml, "with");
    if (wh_workflow_is_nothing(yaml))
        return wh_value_object();
    struct wh_value *given = wh_workflow_eval(job->node->scope->workflow, yaml, WH_PLACE_JOB, contexts, err);
    if (given && wh_value_kind(given) != WH_OBJECT) {
        wh_value_unref(given);
        given = wh_value_object();
    }
    return given;
}

static int fill_scope(struct wh_graph_scope *scope, struct wh_graph_job *job, struct wh_error *err)
{
    const struct wh_graph_scope *from = job->node->scope;
    wh_autovalue *contexts = graph_contexts(job->node, job);
    wh_autofree char *place = place_of(job, "uses");
    scope->github_json = cJSON_Duplicate(from->github_json, true);
    scope->github = wh_value_ref(from->github);
    wh_autovalue *given = given_inputs(job, contexts, err);
    wh_autovalue *around = wh_value_object(); /* of defaults */
    wh_object_set(around, "github", scope->github);
    wh_object_set(around, "vars", scope->graph->vars);
    scope->inputs =
        given ? wh_workflow_inputs(scope->workflow, "workflow_call", given, around, place, err) : NULL;
    bool inherit = false;
    scope->secrets = scope->inputs ? given_secrets(job, contexts, &inherit, err) : NULL;
    if (!scope->secrets || (!inherit && check_secrets(job, scope->workflow, scope->secrets, err) < 0))
        return -1;
    wh_object_set(around, "inputs", scope->inputs);
    if (graph_concurrency(scope->workflow, wh_yaml_get(scope->workflow->root, "concurrency"),
                          WH_PLACE_WORKFLOW, around, &scope->concurrency, err) < 0)
        return -1;
    scope->closed = scope->concurrency.group != NULL;
    return 0;
}

static int check_limits(const struct wh_graph_job *job, const struct wh_workflow *called,
                        struct wh_error *err)
{
    const struct wh_graph_scope *from = job->node->scope;
    wh_autofree char *place = place_of(job, "uses");
    if (from->level >= WH_MAX_CALL_LEVELS)
        return wh_fail(err, WH_E_LIMIT,
                       "%s: workflows call one another at most %u levels deep, the first one included", place,
                       WH_MAX_CALL_LEVELS);
    if (!wh_workflow_has_event(called, "workflow_call"))
        return wh_fail(err, WH_E_PARSE, "%s: workflow_call key is not defined in the referenced workflow %s.",
                       place, called->file);
    return 0;
}

struct wh_graph_scope *wh_graph_call(struct wh_graph_job *job, struct wh_workflow *workflow_taken, void *user,
                                     struct wh_error *err)
{
    struct wh_graph *g = job->node->scope->graph;
    wh_autoerror cause = {0};
    struct wh_graph_scope *scope = NULL;
    if (check_limits(job, workflow_taken, &cause) == 0)
        scope = graph_scope_new(g, workflow_taken, job, &cause);
    if (!scope) {
        wh_workflow_free(workflow_taken);
    } else {
        scope->user = user;
        job->called = scope;
        wh_graph_start(job);
        if (fill_scope(scope, job, &cause) == 0)
            return scope;
        /* It stays, empty and done: the graph owns it. */
        scope->closed = scope->done = true;
        scope->result = WH_GRAPH_FAILURE;
        job->called = NULL;
    }
    wh_graph_fail(job, wh_error_text(&cause));
    (void)wh_error_move(err, &cause);
    return NULL;
}

struct wh_value *graph_call_outputs(const struct wh_graph_scope *scope, struct wh_error *err)
{
    const struct wh_yaml *call = wh_workflow_event_node(scope->workflow, "workflow_call");
    const struct wh_yaml *list = call ? wh_yaml_get(call, "outputs") : NULL;
    wh_autovalue *jobs = wh_value_object();
    for (size_t i = 0; i < scope->nnodes; i++) {
        struct wh_value *entry = wh_value_object();
        wh_object_set_text(entry, "result", wh_graph_result_text(scope->nodes[i].result));
        wh_object_set(entry, "outputs", scope->nodes[i].outputs);
        wh_object_set_take(jobs, scope->nodes[i].id, entry);
    }
    wh_autovalue *contexts = wh_value_object();
    wh_object_set(contexts, "github", scope->github);
    wh_object_set(contexts, "inputs", scope->inputs);
    wh_object_set(contexts, "vars", scope->graph->vars);
    wh_object_set(contexts, "jobs", jobs);
    wh_autovalue *out = wh_value_object();
    for (size_t i = 0; list && list->kind == WH_YAML_MAPPING && i + 1 < list->nitems; i += 2) {
        wh_autofree char *text =
            wh_workflow_eval_text(scope->workflow, wh_yaml_get(list->items[i + 1], "value"),
                                  WH_PLACE_WORKFLOW_OUTPUTS, contexts, err);
        if (!text)
            return NULL;
        wh_object_set_text(out, list->items[i]->text, text);
    }
    return wh_steal(&out);
}
