/* One job of a workflow as the job message that the service would send. */
#include <ctype.h>

#include "wherry/base/digest.h"
#include "wherry/job/message.h"
#include "workflow/workflow_internal.h"

struct build {
    struct wh_convert t;
    const struct wh_workflow *w;
    const struct wh_yaml *job;
    cJSON *message;
    char **names; /* context names in use */
};

/* ---- pieces ---- */

static void add_guid(cJSON *object, const char *name)
{
    char guid[37];
    cJSON_AddStringToObject(object, name, wh_guid(guid));
}

/* Plain JSON as ContextData. */
static cJSON *context_data(const cJSON *value)
{
    if (cJSON_IsString(value) || cJSON_IsBool(value) || cJSON_IsNumber(value))
        return cJSON_Duplicate(value, true);
    if (!value || cJSON_IsNull(value))
        return cJSON_CreateNull();
    cJSON *out = cJSON_CreateObject();
    bool array = cJSON_IsArray(value);
    cJSON_AddNumberToObject(out, "t", array ? 1 : 2);
    cJSON *list = cJSON_AddArrayToObject(out, array ? "a" : "d");
    for (const cJSON *item = value->child; item; item = item->next) {
        cJSON *data = context_data(item);
        if (array) {
            cJSON_AddItemToArray(list, data);
            continue;
        }
        cJSON *pair = cJSON_CreateObject();
        cJSON_AddStringToObject(pair, "k", item->string);
        cJSON_AddItemToObject(pair, "v", data);
        cJSON_AddItemToArray(list, pair);
    }
    return out;
}

/* The token of map's key, if it is there, into object's member. */
static int add_token(struct build *b, const struct wh_yaml *map, const char *key, enum wh_place place,
                     cJSON *object, const char *member, struct wh_error *err)
{
    const struct wh_yaml *node = wh_yaml_get(map, key);
    if (!node)
        return 0;
    wh_autotoken *token = wh_convert_token(&b->t, node, place, err);
    if (!token)
        return -1;
    cJSON_AddItemToObject(object, member, wh_token_to_json(token));
    return 0;
}

static void add_variable(cJSON *variables, const char *name, const char *value, bool secret)
{
    cJSON *entry = cJSON_AddObjectToObject(variables, name);
    cJSON_AddStringToObject(entry, "value", value);
    if (secret)
        cJSON_AddBoolToObject(entry, "isSecret", true);
}

/* A mapping, unless one expression stands for all of it. */
static int need_mapping(const struct build *b, const struct wh_yaml *node, struct wh_error *err)
{
    if (node->kind == WH_YAML_SEQUENCE || (node->kind == WH_YAML_SCALAR && !strstr(node->text, "${{")))
        return wh_convert_fail(&b->t, node, err, "Expected a mapping");
    return 0;
}

static int add_mapping(struct build *b, const struct wh_yaml *map, const char *key, enum wh_place place,
                       cJSON *object, const char *member, struct wh_error *err)
{
    const struct wh_yaml *node = wh_yaml_get(map, key);
    if (wh_workflow_is_nothing(node))
        return 0;
    if (need_mapping(b, node, err) < 0)
        return -1;
    return add_token(b, map, key, place, object, member, err);
}

/* ---- steps ---- */

static int parse_uses(struct build *b, const struct wh_yaml *at, cJSON *reference, struct wh_error *err)
{
    struct wh_step_reference r = {0};
    wh_autoerror cause = {0};
    if (at->kind != WH_YAML_SCALAR)
        return wh_convert_fail(&b->t, at, err, "Expected a string");
    if (wh_step_reference_parse(at->text, &r, &cause) < 0)
        return wh_convert_fail(&b->t, at, err, "%s", wh_error_text(&cause));
    bool image = r.type == WH_REFERENCE_CONTAINER;
    wh_json_add_string(reference, "type", image ? "containerRegistry" : "repository");
    wh_json_add_string(reference, "image", r.image);
    wh_json_add_string(reference, "name", r.name);
    wh_json_add_string(reference, "ref", r.ref);
    wh_json_add_string(reference, "repositoryType", r.repository_type);
    wh_json_add_string(reference, "path", r.path);
    wh_step_reference_clear(&r);
    return 0;
}

/* "__run", "__actions_checkout_2": what the service generates for steps without an id. */
static char *generated_name(struct build *b, const cJSON *reference)
{
    const char *name = wh_json_string(reference, "name");
    const char *path = wh_json_string(reference, "path");
    const char *image = wh_json_string(reference, "image");
    bool script = wh_streq(wh_json_string(reference, "type"), "script");
    wh_autofree char *base = wh_printf("__%s", script  ? "run"
                                               : name  ? name
                                               : image ? image
                                               : path  ? path
                                                       : "self");
    for (char *p = base; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '-')
            *p = '_';
    if (!wh_strv_has(b->names, base))
        return wh_steal(&base);
    for (unsigned i = 2;; i++) {
        wh_autofree char *numbered = wh_printf("%s_%u", base, i);
        if (!wh_strv_has(b->names, numbered))
            return wh_steal(&numbered);
    }
}

static int add_pair_token(struct build *b, cJSON *list, const char *key, const struct wh_yaml *value,
                          struct wh_error *err)
{
    if (!value)
        return 0;
    wh_autotoken *token = wh_convert_token(&b->t, value, WH_PLACE_STEP, err);
    if (!token)
        return -1;
    cJSON *pair = cJSON_CreateObject();
    cJSON_AddStringToObject(pair, "key", key);
    cJSON_AddItemToObject(pair, "value", wh_token_to_json(token));
    cJSON_AddItemToArray(list, pair);
    return 0;
}

static int add_script_inputs(struct build *b, const struct wh_yaml *step, cJSON *json, struct wh_error *err)
{
    cJSON *inputs = cJSON_AddObjectToObject(json, "inputs");
    cJSON_AddNumberToObject(inputs, "type", 2);
    cJSON *list = cJSON_AddArrayToObject(inputs, "map");
    if (add_pair_token(b, list, "script", wh_yaml_get(step, "run"), err) < 0 ||
        add_pair_token(b, list, "shell", wh_yaml_get(step, "shell"), err) < 0 ||
        add_pair_token(b, list, "workingDirectory", wh_yaml_get(step, "working-directory"), err) < 0)
        return -1;
    return 0;
}

static int fill_step(struct build *b, const struct wh_yaml *step, cJSON *json, struct wh_error *err)
{
    cJSON_AddStringToObject(json, "type", "action");
    add_guid(json, "id");
    cJSON *reference = cJSON_AddObjectToObject(json, "reference");
    const struct wh_yaml *uses = wh_yaml_get(step, "uses");
    if (uses) {
        if (parse_uses(b, uses, reference, err) < 0 ||
            add_mapping(b, step, "with", WH_PLACE_STEP, json, "inputs", err) < 0)
            return -1;
    } else {
        cJSON_AddStringToObject(reference, "type", "script");
        if (add_script_inputs(b, step, json, err) < 0)
            return -1;
    }
    const struct wh_yaml *id = wh_yaml_get(step, "id");
    wh_autofree char *name = id ? wh_strdup(id->text) : generated_name(b, reference);
    wh_strv_add(&b->names, name);
    cJSON_AddStringToObject(json, "name", name);
    cJSON_AddStringToObject(json, "contextName", name);
    wh_autofree char *condition = wh_convert_condition(&b->t, wh_yaml_get(step, "if"), WH_PLACE_STEP_IF, err);
    if (!condition)
        return -1;
    cJSON_AddStringToObject(json, "condition", condition);
    if (add_token(b, step, "name", WH_PLACE_STEP, json, "displayNameToken", err) < 0 ||
        add_mapping(b, step, "env", WH_PLACE_STEP, json, "environment", err) < 0 ||
        add_token(b, step, "continue-on-error", WH_PLACE_STEP, json, "continueOnError", err) < 0 ||
        add_token(b, step, "timeout-minutes", WH_PLACE_STEP, json, "timeoutInMinutes", err) < 0)
        return -1;
    return 0;
}

static int add_steps(struct build *b, struct wh_error *err)
{
    const struct wh_yaml *steps = wh_yaml_get(b->job, "steps");
    cJSON *list = cJSON_AddArrayToObject(b->message, "steps");
    /* Ids first: a generated name must not take one that a later step has. */
    for (size_t i = 0; i < steps->nitems; i++) {
        const struct wh_yaml *id = wh_yaml_get(steps->items[i], "id");
        if (id)
            wh_strv_add(&b->names, id->text);
    }
    for (size_t i = 0; i < steps->nitems; i++) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemToArray(list, json);
        if (fill_step(b, steps->items[i], json, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- the job ---- */

static int add_layers(struct build *b, const char *key, const char *member, enum wh_place of_workflow,
                      enum wh_place of_job, struct wh_error *err)
{
    cJSON *list = cJSON_AddArrayToObject(b->message, member);
    const struct wh_yaml *from[] = {b->w->root, b->job};
    for (size_t i = 0; i < WH_COUNT(from); i++) {
        const struct wh_yaml *node = wh_yaml_get(from[i], key);
        if (wh_workflow_is_nothing(node))
            continue;
        if (need_mapping(b, node, err) < 0)
            return -1;
        wh_autotoken *token = wh_convert_token(&b->t, node, i == 0 ? of_workflow : of_job, err);
        if (!token)
            return -1;
        cJSON_AddItemToArray(list, wh_token_to_json(token));
    }
    return 0;
}

/* `environment: name` or {name, url}. */
static int add_environment(struct build *b, struct wh_error *err)
{
    const struct wh_yaml *node = wh_yaml_get(b->job, "environment");
    if (!node)
        return 0;
    cJSON *json = cJSON_AddObjectToObject(b->message, "actionsEnvironment");
    const struct wh_yaml *name = node->kind == WH_YAML_MAPPING ? wh_yaml_get(node, "name") : node;
    wh_autofree char *text = name ? wh_convert_text(&b->t, name, err) : NULL;
    if (!text)
        return name ? -1 : wh_convert_fail(&b->t, node, err, "Required property is missing: name");
    cJSON_AddStringToObject(json, "name", text);
    return node->kind == WH_YAML_MAPPING
               ? add_token(b, node, "url", WH_PLACE_ENVIRONMENT_URL, json, "url", err)
               : 0;
}

static void add_variables(struct build *b, const struct wh_workflow_context *c, const char *job_id)
{
    cJSON *variables = cJSON_AddObjectToObject(b->message, "variables");
    const char *token = c->token ? c->token : "";
    add_variable(variables, "system.github.job", job_id, false);
    add_variable(variables, "system.github.token", token, true);
    add_variable(variables, "github_token", token, true);
    add_variable(variables, "system.runnerEnvironment", "self-hosted", false);
    add_variable(variables, "DistributedTask.EnhancedAnnotations", "true", false);
    for (const cJSON *s = c->secrets ? c->secrets->child : NULL; s; s = s->next)
        if (cJSON_IsString(s))
            add_variable(variables, s->string, s->valuestring, true);
}

/* What a job without a matrix sees. */
static cJSON *lone_strategy(void)
{
    wh_autojson *strategy = cJSON_CreateObject();
    cJSON_AddBoolToObject(strategy, "fail-fast", true);
    cJSON_AddNumberToObject(strategy, "job-index", 0);
    cJSON_AddNumberToObject(strategy, "job-total", 1);
    cJSON_AddNumberToObject(strategy, "max-parallel", 1);
    return context_data(strategy);
}

static void add_contexts(struct build *b, const struct wh_workflow_context *c)
{
    cJSON *data = cJSON_AddObjectToObject(b->message, "contextData");
    wh_autojson *empty = cJSON_CreateObject();
    cJSON_AddItemToObject(data, "github", context_data(c->github));
    cJSON_AddItemToObject(data, "vars", context_data(c->vars ? c->vars : empty));
    cJSON_AddItemToObject(data, "needs", c->needs ? wh_value_to_context_data(c->needs) : context_data(empty));
    cJSON_AddItemToObject(data, "matrix", wh_value_to_context_data(c->matrix));
    cJSON_AddItemToObject(data, "inputs",
                          c->inputs ? wh_value_to_context_data(c->inputs) : context_data(empty));
    cJSON_AddItemToObject(data, "strategy",
                          c->strategy ? wh_value_to_context_data(c->strategy) : lone_strategy());
}

static void add_frame(struct build *b, const char *job_id, const char *display)
{
    cJSON *m = b->message;
    cJSON_AddStringToObject(m, "messageType", "RunnerJobRequest");
    cJSON *plan = cJSON_AddObjectToObject(m, "plan");
    cJSON_AddStringToObject(plan, "scopeIdentifier", "00000000-0000-0000-0000-000000000000");
    cJSON_AddStringToObject(plan, "planType", "actions");
    cJSON_AddNumberToObject(plan, "version", 0);
    add_guid(plan, "planId");
    cJSON *timeline = cJSON_AddObjectToObject(m, "timeline");
    add_guid(timeline, "id");
    add_guid(m, "jobId");
    cJSON_AddStringToObject(m, "jobDisplayName", display);
    cJSON_AddStringToObject(m, "jobName", job_id);
    cJSON_AddNumberToObject(m, "requestId", 1);
    cJSON *resources = cJSON_AddObjectToObject(m, "resources");
    cJSON *endpoints = cJSON_AddArrayToObject(resources, "endpoints");
    cJSON *endpoint = cJSON_CreateObject(); /* every message has one; ours leads nowhere */
    cJSON_AddItemToArray(endpoints, endpoint);
    cJSON_AddStringToObject(endpoint, "name", "SystemVssConnection");
    cJSON_AddStringToObject(endpoint, "url", "");
    cJSON *authorization = cJSON_AddObjectToObject(endpoint, "authorization");
    cJSON_AddStringToObject(authorization, "scheme", "OAuth");
    cJSON_AddObjectToObject(authorization, "parameters");
    cJSON *files = cJSON_AddArrayToObject(m, "fileTable");
    cJSON_AddItemToArray(files, cJSON_CreateString(b->t.file));
    cJSON_AddArrayToObject(m, "mask");
}

static int fill_message(struct build *b, const char *job_id, const char *display,
                        const struct wh_workflow_context *c, struct wh_error *err)
{
    add_frame(b, job_id, display);
    add_variables(b, c, job_id);
    add_contexts(b, c);
    if (add_layers(b, "env", "environmentVariables", WH_PLACE_WORKFLOW_ENV, WH_PLACE_JOB_ENV, err) < 0 ||
        add_layers(b, "defaults", "defaults", WH_PLACE_WORKFLOW, WH_PLACE_JOB_DEFAULTS, err) < 0 ||
        add_mapping(b, b->job, "outputs", WH_PLACE_JOB_OUTPUTS, b->message, "jobOutputs", err) < 0 ||
        add_token(b, b->job, "container", WH_PLACE_CONTAINER_ENV, b->message, "jobContainer", err) < 0 ||
        add_token(b, b->job, "services", WH_PLACE_CONTAINER_ENV, b->message, "jobServiceContainers", err) <
            0 ||
        add_environment(b, err) < 0)
        return -1;
    return add_steps(b, err);
}

cJSON *wh_workflow_message(const struct wh_workflow *w, const char *job_id,
                           const struct wh_workflow_context *context, struct wh_error *err)
{
    struct build b = {.t = {.file = w->file}, .w = w, .job = wh_workflow_job(w, job_id)};
    if (!b.job) {
        wh_fail(err, WH_E_NOT_FOUND, "%s has no job '%s'", w->file, job_id);
        return NULL;
    }
    const struct wh_yaml *name = wh_yaml_get(b.job, "name");
    wh_autofree char *display = context->name ? wh_strdup(context->name)
                                : name        ? wh_convert_text(&b.t, name, err)
                                              : wh_strdup(job_id);
    if (!display)
        return NULL;
    b.message = cJSON_CreateObject();
    int n = fill_message(&b, job_id, display, context, err);
    wh_strv_free(b.names);
    if (n == 0)
        return b.message;
    cJSON_Delete(b.message);
    return NULL;
}
