/* The job message: JSON to a struct, each field checked (job-execution.md §1). */
#include "wherry/job/message.h"

#include "message_impl.h"

static int read_environment(struct wh_job_message *m, const cJSON *json, struct wh_error *err)
{
    const cJSON *environment = wh_json_get(json, "actionsEnvironment");
    if (!environment)
        return 0;
    if (!cJSON_IsObject(environment))
        return wh_fail(err, WH_E_PARSE, "actionsEnvironment is no object");
    m->environment_name = wh_json_text(environment, "name");
    return wh_message_token(environment, "url", "actionsEnvironment.url", &m->environment_url, err);
}

static int read_variable(struct wh_job_message *m, const cJSON *item, struct wh_error *err)
{
    if (!item->string || wh_view_trim(wh_view_of(item->string)).len == 0)
        return 0;
    if (!cJSON_IsObject(item) && !cJSON_IsNull(item))
        return wh_fail(err, WH_E_PARSE, "variables.%s is no object", item->string);
    char *value = wh_json_text(item, "value");
    struct wh_variable *v = &m->variables[m->nvariables++];
    *v = (struct wh_variable){wh_strdup(item->string), value ? value : wh_strdup(""),
                              wh_json_bool(item, "isSecret", false)};
    return 0;
}

static int read_variables(struct wh_job_message *m, const cJSON *json, struct wh_error *err)
{
    const cJSON *object, *item;
    int count = wh_message_list(json, "variables", true, WH_MAX_MESSAGE_VARIABLES, &object, err);
    if (count < 0)
        return -1;
    m->variables = wh_calloc((size_t)count + 1, sizeof *m->variables);
    cJSON_ArrayForEach(item, object)
    {
        if (read_variable(m, item, err) < 0)
            return -1;
    }
    return 0;
}

static int read_masks(struct wh_job_message *m, const cJSON *json, struct wh_error *err)
{
    const cJSON *list, *item;
    int count = wh_message_list(json, "mask", false, WH_MAX_MESSAGE_MASKS, &list, err);
    if (count < 0)
        return -1;
    m->masks = wh_calloc((size_t)count + 1, sizeof *m->masks);
    cJSON_ArrayForEach(item, list)
    {
        char *value = wh_json_text(item, "value");
        if (value)
            m->masks[m->nmasks++] =
                (struct wh_message_mask){wh_message_enum(item, "type", "regex", 2), value};
    }
    return 0;
}

/* An object of plain JSON; absent: empty. */
static struct wh_value *read_strings(const cJSON *json, const char *name, const char *what,
                                     struct wh_error *err)
{
    const cJSON *object = wh_json_get(json, name);
    if (!object)
        return wh_value_object();
    if (!cJSON_IsObject(object)) {
        wh_fail(err, WH_E_PARSE, "%s is no object", what);
        return NULL;
    }
    return wh_value_from_json(object, err);
}

static int read_endpoint(struct wh_job_message *m, const cJSON *item, struct wh_error *err)
{
    if (!cJSON_IsObject(item))
        return wh_fail(err, WH_E_PARSE, "resources.endpoints[%zu] is no object", m->nendpoints);
    struct wh_endpoint *e = &m->endpoints[m->nendpoints++];
    const cJSON *authorization = wh_json_get(item, "authorization");
    e->name = wh_json_text(item, "name");
    e->url = wh_json_text(item, "url");
    e->scheme = wh_json_text(authorization, "scheme");
    e->parameters = read_strings(authorization, "parameters", "authorization.parameters of an endpoint", err);
    e->data = e->parameters ? read_strings(item, "data", "data of an endpoint", err) : NULL;
    return e->data ? 0 : -1;
}

static int read_endpoints(struct wh_job_message *m, const cJSON *json, struct wh_error *err)
{
    const cJSON *list, *item;
    const cJSON *resources = wh_json_get(json, "resources");
    int count = wh_message_list(resources, "endpoints", false, WH_MAX_MESSAGE_ENDPOINTS, &list, err);
    if (count < 0)
        return -1;
    m->endpoints = wh_calloc((size_t)count + 1, sizeof *m->endpoints);
    cJSON_ArrayForEach(item, list)
    {
        if (read_endpoint(m, item, err) < 0)
            return -1;
    }
    size_t system = 0;
    for (size_t i = 0; i < m->nendpoints; i++)
        system += wh_streq_ci(m->endpoints[i].name, "SystemVssConnection");
    if (system != 1)
        return wh_fail(err, WH_E_PARSE, "resources.endpoints names SystemVssConnection %zu times, not once",
                       system);
    return 0;
}

static int read_contexts(struct wh_job_message *m, const cJSON *json, struct wh_error *err)
{
    const cJSON *object = wh_json_get(json, "contextData"), *item;
    m->context_data = wh_value_object();
    if (object && !cJSON_IsObject(object))
        return wh_fail(err, WH_E_PARSE, "contextData is no object");
    cJSON_ArrayForEach(item, object)
    {
        wh_autofree char *what = wh_printf("contextData.%s", item->string ? item->string : "");
        struct wh_value *v = wh_value_from_context_data(item, what, err);
        if (!v)
            return -1;
        wh_object_set_take(m->context_data, item->string ? item->string : "", v);
    }
    return 0;
}

static int read_strv(const cJSON *json, const char *name, char ***out, struct wh_error *err)
{
    const cJSON *list, *item;
    if (wh_message_list(json, name, false, WH_MAX_TEMPLATE_EVENTS, &list, err) < 0)
        return -1;
    cJSON_ArrayForEach(item, list)
    {
        wh_strv_take(out, wh_strdup(cJSON_IsString(item) ? item->valuestring : ""));
    }
    return 0;
}

static int read_token_list(const cJSON *json, const char *name, struct wh_token ***out, size_t *n,
                           struct wh_error *err)
{
    const cJSON *list, *item;
    int count = wh_message_list(json, name, false, WH_MAX_TEMPLATE_EVENTS, &list, err);
    if (count < 0)
        return -1;
    *out = wh_calloc((size_t)count + 1, sizeof(struct wh_token *));
    cJSON_ArrayForEach(item, list)
    {
        wh_autofree char *what = wh_printf("%s[%zu]", name, *n);
        struct wh_token *t = wh_token_from_json(item, what, err);
        if (!t)
            return -1;
        (*out)[(*n)++] = t;
    }
    return 0;
}

static void read_identity(struct wh_job_message *m, const cJSON *json)
{
    const cJSON *plan = wh_json_get(json, "plan");
    m->message_type = wh_json_text(json, "messageType");
    m->plan_id = wh_json_text(plan, "planId");
    m->plan_type = wh_json_text(plan, "planType");
    m->scope_identifier = wh_json_text(plan, "scopeIdentifier");
    m->plan_version = wh_json_int(plan, "version", 0);
    m->timeline_id = wh_json_text(wh_json_get(json, "timeline"), "id");
    m->job_id = wh_json_text(json, "jobId");
    m->job_display_name = wh_json_text(json, "jobDisplayName");
    m->job_name = wh_json_text(json, "jobName");
    m->request_id = wh_json_int(json, "requestId", 0);
    m->billing_owner_id = wh_json_text(json, "billingOwnerId");
    m->workspace_clean = wh_json_text(wh_json_get(json, "workspace"), "clean");
}

static int check_identity(const struct wh_job_message *m, struct wh_error *err)
{
    const struct {
        const char *name, *value;
    } needed[] = {{"plan.planId", m->plan_id}, {"jobId", m->job_id}, {"timeline.id", m->timeline_id}};
    for (size_t i = 0; i < WH_COUNT(needed); i++) {
        if (!needed[i].value || !*needed[i].value)
            return wh_fail(err, WH_E_PARSE, "%s is missing", needed[i].name);
    }
    return 0;
}

static int read_all(struct wh_job_message *m, const cJSON *json, struct wh_error *err)
{
    if (!cJSON_IsObject(json))
        return wh_fail(err, WH_E_PARSE, "no JSON object");
    read_identity(m, json);
    if (check_identity(m, err) < 0 || read_variables(m, json, err) < 0 || read_masks(m, json, err) < 0 ||
        read_endpoints(m, json, err) < 0 || read_contexts(m, json, err) < 0 ||
        read_strv(json, "fileTable", &m->file_table, err) < 0 ||
        read_strv(json, "dependencies", &m->dependencies, err) < 0 ||
        read_token_list(json, "environmentVariables", &m->environment, &m->nenvironment, err) < 0 ||
        read_token_list(json, "defaults", &m->defaults, &m->ndefaults, err) < 0)
        return -1;
    if (wh_message_token(json, "jobContainer", "jobContainer", &m->job_container, err) < 0 ||
        wh_message_token(json, "jobServiceContainers", "jobServiceContainers", &m->job_services, err) < 0 ||
        wh_message_token(json, "jobOutputs", "jobOutputs", &m->job_outputs, err) < 0 ||
        wh_message_token(json, "snapshot", "snapshot", &m->snapshot, err) < 0)
        return -1;
    return read_environment(m, json, err) < 0 ? -1 : wh_message_read_steps(m, json, err);
}

struct wh_job_message *wh_message_from_json(const cJSON *json, struct wh_error *err)
{
    wh_automessage *m = wh_calloc(1, sizeof *m);
    if (read_all(m, json, err) < 0) {
        wh_wrap(err, "job message");
        return NULL;
    }
    return wh_steal(&m);
}

struct wh_job_message *wh_message_parse(const char *text, size_t len, struct wh_error *err)
{
    wh_autojson *json = wh_json_parse(text, len, WH_MAX_MESSAGE_BYTES, "job message", err);
    return json ? wh_message_from_json(json, err) : NULL;
}

/* ---- parts for the readers ---- */

int wh_message_list(const cJSON *json, const char *name, bool object, size_t max, const cJSON **out,
                    struct wh_error *err)
{
    const cJSON *list = wh_json_get(json, name);
    *out = list;
    if (!list)
        return 0;
    if (object ? !cJSON_IsObject(list) : !cJSON_IsArray(list))
        return wh_fail(err, WH_E_PARSE, "%s is no %s", name, object ? "object" : "array");
    int count = cJSON_GetArraySize(list);
    if ((size_t)count > max)
        return wh_fail(err, WH_E_LIMIT, "%s has %d entries, more than the limit of %zu", name, count, max);
    return count;
}

int wh_message_token(const cJSON *json, const char *name, const char *what, struct wh_token **out,
                     struct wh_error *err)
{
    const cJSON *item = wh_json_get(json, name);
    if (!item)
        return 0;
    struct wh_token *t = wh_token_from_json(item, what, err);
    if (!t)
        return -1;
    if (t->type == WH_TOKEN_NULL)
        wh_token_free(t);
    else
        *out = t;
    return 0;
}

bool wh_message_enum(const cJSON *json, const char *name, const char *word, int number)
{
    const cJSON *item = wh_json_get(json, name);
    if (cJSON_IsNumber(item))
        return item->valuedouble == number;
    int64_t n;
    const char *text = cJSON_GetStringValue(item);
    return text && (wh_streq_ci(text, word) || (wh_parse_i64(text, 0, 1000, &n) && n == number));
}

/* ---- freeing ---- */

static void free_tokens(struct wh_token **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        wh_token_free(list[i]);
    free(list);
}

static void free_lists(struct wh_job_message *m)
{
    for (size_t i = 0; i < m->nvariables; i++) {
        free(m->variables[i].name);
        free(m->variables[i].value);
    }
    for (size_t i = 0; i < m->nmasks; i++)
        free(m->masks[i].value);
    for (size_t i = 0; i < m->nendpoints; i++) {
        free(m->endpoints[i].name);
        free(m->endpoints[i].url);
        free(m->endpoints[i].scheme);
        wh_value_unref(m->endpoints[i].parameters);
        wh_value_unref(m->endpoints[i].data);
    }
    for (size_t i = 0; i < m->nsteps; i++)
        wh_step_clear(&m->steps[i]);
    free(m->variables);
    free(m->masks);
    free(m->endpoints);
    free(m->steps);
}

void wh_message_free(struct wh_job_message *m)
{
    if (!m)
        return;
    free_lists(m);
    free(m->message_type);
    free(m->plan_id);
    free(m->plan_type);
    free(m->scope_identifier);
    free(m->timeline_id);
    free(m->job_id);
    free(m->job_display_name);
    free(m->job_name);
    free(m->billing_owner_id);
    wh_value_unref(m->context_data);
    free_tokens(m->environment, m->nenvironment);
    free_tokens(m->defaults, m->ndefaults);
    wh_token_free(m->job_container);
    wh_token_free(m->job_services);
    wh_token_free(m->job_outputs);
    wh_token_free(m->snapshot);
    free(m->environment_name);
    wh_token_free(m->environment_url);
    free(m->workspace_clean);
    wh_strv_free(m->file_table);
    wh_strv_free(m->dependencies);
    free(m);
}

void wh_message_free_ptr(struct wh_job_message **m)
{
    wh_message_free(*m);
}
