/* The steps of a job message (job-execution.md §1). */
#include "message_impl.h"

/* How an enum member shows in an error: its word or number. Owned. */
static char *shown(const cJSON *json, const char *name)
{
    char *text = wh_json_text(json, name);
    return text ? text : wh_strdup("(none)");
}

static int read_repository(struct wh_step_reference *r, const cJSON *json, struct wh_error *err)
{
    r->type = WH_REFERENCE_REPOSITORY;
    r->name = wh_json_text(json, "name");
    r->ref = wh_json_text(json, "ref");
    r->repository_type = wh_json_text(json, "repositoryType");
    r->path = wh_json_text(json, "path");
    if (!r->path)
        r->path = wh_strdup("");
    bool self = wh_streq_ci(r->repository_type, "self") || wh_streq_ci(r->repository_type, "selfRepository");
    if (!self && (!r->name || !*r->name))
        return wh_fail(err, WH_E_PARSE, "reference.name is missing");
    return 0;
}

static int read_reference(struct wh_step_reference *r, const cJSON *step, struct wh_error *err)
{
    const cJSON *json = wh_json_get(step, "reference");
    if (!cJSON_IsObject(json))
        return wh_fail(err, WH_E_PARSE, "reference is missing");
    if (wh_message_enum(json, "type", "script", WH_REFERENCE_SCRIPT)) {
        r->type = WH_REFERENCE_SCRIPT;
        return 0;
    }
    if (wh_message_enum(json, "type", "containerRegistry", WH_REFERENCE_CONTAINER)) {
        r->type = WH_REFERENCE_CONTAINER;
        r->image = wh_json_text(json, "image");
        return r->image && *r->image ? 0 : wh_fail(err, WH_E_PARSE, "reference.image is missing");
    }
    if (wh_message_enum(json, "type", "repository", WH_REFERENCE_REPOSITORY))
        return read_repository(r, json, err);
    wh_autofree char *type = shown(json, "type");
    return wh_fail(err, WH_E_PARSE,
                   "reference.type '%s' is unknown (repository, containerRegistry or script is expected)",
                   type);
}

/* A step that controls background steps: what it is, and which ones it means. */
static int read_control(struct wh_step *s, const cJSON *json, struct wh_error *err)
{
    static const char *const kinds[] = {"wait", "wait-all", "cancel"};
    const cJSON *list, *item;
    s->control = wh_json_text(json, "controlType");
    bool known = false;
    for (size_t i = 0; i < WH_COUNT(kinds); i++)
        known = known || wh_streq(s->control, kinds[i]);
    if (!known) {
        wh_autofree char *control = shown(json, "controlType");
        return wh_fail(err, WH_E_PARSE, "controlType '%s' is unknown (wait, wait-all or cancel is expected)",
                       control);
    }
    if (wh_message_list(json, "stepIds", false, WH_MAX_MESSAGE_STEPS, &list, err) < 0)
        return -1;
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsString(item))
            return wh_fail(err, WH_E_PARSE, "stepIds holds something that is no text");
        wh_strv_add(&s->step_ids, item->valuestring);
    }
    s->reference.type = WH_REFERENCE_SCRIPT; /* it has none */
    if (!s->name)
        s->name = wh_strdup(s->control);
    s->context_name = wh_strdup(s->name);
    free(s->condition);
    s->condition = wh_strdup("always()");
    return wh_message_token(json, "displayNameToken", "displayNameToken", &s->display_name_token, err);
}

/* 1: a step that controls others; 0: an action or a script. */
static int read_kind(struct wh_step *s, const cJSON *json, struct wh_error *err)
{
    s->background = wh_json_bool(json, "background", false);
    s->parallel_group = wh_json_text(json, "parallelGroupId");
    if (wh_message_enum(json, "type", "backgroundStepControl", 5))
        return read_control(s, json, err) < 0 ? -1 : 1;
    if (wh_json_get(json, "type") && !wh_message_enum(json, "type", "action", 4)) {
        wh_autofree char *type = shown(json, "type");
        return wh_fail(err, WH_E_PARSE, "type '%s' is unknown (action is expected)", type);
    }
    return 0;
}

static int read_mapping(const cJSON *json, const char *name, struct wh_token **out, struct wh_error *err)
{
    if (wh_message_token(json, name, name, out, err) < 0)
        return -1;
    if (*out && (*out)->type != WH_TOKEN_MAPPING && (*out)->type != WH_TOKEN_EXPRESSION)
        return wh_fail(err, WH_E_PARSE, "%s is no mapping", name);
    return 0;
}

static int read_step(struct wh_step *s, const cJSON *json, struct wh_error *err)
{
    if (!cJSON_IsObject(json))
        return wh_fail(err, WH_E_PARSE, "is no object");
    s->name = wh_json_text(json, "name");
    int kind = read_kind(s, json, err);
    if (kind < 0)
        return -1;
    s->id = wh_json_text(json, "id");
    if (!s->id || !*s->id)
        return wh_fail(err, WH_E_PARSE, "id is missing");
    s->display_name = wh_json_text(json, "displayName");
    if (kind == 1)
        return 0;
    s->context_name = wh_json_text(json, "contextName");
    s->condition = wh_json_text(json, "condition");
    if (!s->condition)
        s->condition = wh_strdup("");
    s->enabled = wh_json_bool(json, "enabled", true);
    if (read_reference(&s->reference, json, err) < 0 || read_mapping(json, "inputs", &s->inputs, err) < 0 ||
        read_mapping(json, "environment", &s->environment, err) < 0)
        return -1;
    if (wh_message_token(json, "displayNameToken", "displayNameToken", &s->display_name_token, err) < 0 ||
        wh_message_token(json, "continueOnError", "continueOnError", &s->continue_on_error, err) < 0)
        return -1;
    return wh_message_token(json, "timeoutInMinutes", "timeoutInMinutes", &s->timeout_minutes, err);
}

int wh_message_read_steps(struct wh_job_message *m, const cJSON *json, struct wh_error *err)
{
    const cJSON *list, *item;
    int count = wh_message_list(json, "steps", false, WH_MAX_MESSAGE_STEPS, &list, err);
    if (count < 0)
        return -1;
    m->steps = wh_calloc((size_t)count + 1, sizeof *m->steps);
    cJSON_ArrayForEach(item, list)
    {
        struct wh_step *s = &m->steps[m->nsteps++];
        if (read_step(s, item, err) < 0)
            return s->name ? wh_wrap(err, "steps[%zu] ('%s')", m->nsteps - 1, s->name)
                           : wh_wrap(err, "steps[%zu]", m->nsteps - 1);
    }
    return 0;
}
