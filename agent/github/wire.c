/* The service's words for results and steps. */
#include "github/wire.h"

#include "wherry/base/clock.h"
#include "wherry/job/logtext.h"

static const char *const results[] = {"succeeded", "succeededWithIssues", "failed", "canceled", "skipped",
                                      "abandoned"};

const char *wh_task_result_text(enum wh_task_result result)
{
    return result >= 0 && (size_t)result < WH_COUNT(results) ? results[result] : NULL;
}

enum wh_task_result wh_task_result_parse(const char *text)
{
    if (wh_streq_ci(text, "cancelled"))
        return WH_TASK_CANCELED;
    if (wh_streq_ci(text, "success"))
        return WH_TASK_SUCCEEDED;
    if (wh_streq_ci(text, "failure"))
        return WH_TASK_FAILED;
    for (size_t i = 0; i < WH_COUNT(results); i++)
        if (wh_streq_ci(text, results[i]))
            return (enum wh_task_result)i;
    return WH_TASK_NONE;
}

static void add_text(cJSON *object, const char *name, const char *value)
{
    if (value && *value)
        wh_json_add_string(object, name, value);
}

static void add_number(cJSON *object, const char *name, int64_t value)
{
    if (value > 0)
        wh_json_add_int(object, name, value);
}

static char *cut_message(const char *text)
{
    return wh_strndup(text, wh_utf16_prefix(text, strlen(text), WH_MAX_ANNOTATION_MESSAGE));
}

static cJSON *annotation(const struct wh_annotation *a, int step_number)
{
    static const char *const levels[] = {"notice", "warning", "failure"};
    cJSON *json = cJSON_CreateObject();
    wh_autofree char *message = cut_message(a->message && *a->message ? a->message : "(no message)");
    wh_json_add_string(json, "level", levels[a->level]);
    wh_json_add_string(json, "message", message);
    add_text(json, "title", a->title);
    add_text(json, "path", a->path);
    /* A place in the log is better than none. */
    bool in_log = (!a->path || !*a->path) && a->start_line == 0;
    int64_t start = in_log ? a->log_line : a->start_line;
    add_number(json, "startLine", start);
    add_number(json, "endLine", a->end_line && !in_log ? a->end_line : start);
    add_number(json, "startColumn", a->start_column);
    add_number(json, "endColumn", a->end_column);
    add_number(json, "stepNumber", step_number);
    return json;
}

cJSON *gh_annotations(const struct wh_annotation *annotations, size_t count, int step_number)
{
    cJSON *list = cJSON_CreateArray();
    unsigned used[3] = {0};
    for (size_t i = 0; i < count; i++)
        if (used[annotations[i].level]++ < WH_MAX_ANNOTATIONS)
            cJSON_AddItemToArray(list, annotation(&annotations[i], step_number));
    return list;
}

static void add_time(cJSON *object, const char *name, int64_t ns, int digits)
{
    char buf[40];
    if (ns)
        wh_json_add_string(object, name, wh_time_iso(ns, digits, buf));
    else
        cJSON_AddNullToObject(object, name);
}

static void add_background(cJSON *json, const struct wh_step_record *step)
{
    if (step->background)
        cJSON_AddBoolToObject(json, "is_background", true);
    add_text(json, "background_control_type", step->control);
    if (!step->control_ids)
        return;
    cJSON *list = cJSON_AddArrayToObject(json, "background_control_step_ids");
    wh_autostrv char **ids = wh_strv_split(step->control_ids, ',');
    for (size_t i = 0; ids[i]; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(ids[i]));
}

cJSON *gh_step_result(const struct wh_step_record *step)
{
    cJSON *json = cJSON_CreateObject();
    const char *conclusion = wh_task_result_text(step->conclusion);
    int64_t started =
        step->started_ns ? step->started_ns : step->completed_ns; /* skipped: no moment of its own */
    wh_json_add_string(json, "external_id", step->id);
    wh_json_add_int(json, "number", step->number);
    wh_json_add_string(json, "name", step->name && *step->name ? step->name : "(unnamed)");
    add_text(json, "action_name", step->action_name);
    add_text(json, "ref", step->ref);
    add_text(json, "type", step->type);
    wh_json_add_string(json, "status", "completed");
    if (conclusion)
        wh_json_add_string(json, "conclusion", conclusion);
    else
        cJSON_AddNullToObject(json, "conclusion");
    add_time(json, "started_at", started, 7);
    add_time(json, "completed_at", step->completed_ns, 7);
    cJSON_AddItemToObject(json, "annotations",
                          gh_annotations(step->annotations, step->nannotations, step->number));
    add_background(json, step);
    return json;
}

/* The results service has numbers of its own. */
static int update_status(enum wh_step_status status)
{
    static const int numbers[] = {5, 3, 6};
    return numbers[status];
}

static int update_conclusion(const struct wh_step_record *step)
{
    if (step->status != WH_STEP_COMPLETED)
        return 0;
    switch (step->conclusion) {
    case WH_TASK_SUCCEEDED:
    case WH_TASK_SUCCEEDED_WITH_ISSUES:
        return 2;
    case WH_TASK_FAILED:
        return 3;
    case WH_TASK_CANCELED:
        return 4;
    case WH_TASK_SKIPPED:
        return 7;
    default:
        return 0;
    }
}

cJSON *gh_step_update(const struct wh_step_record *step)
{
    cJSON *json = cJSON_CreateObject();
    bool pending = step->status == WH_STEP_PENDING, completed = step->status == WH_STEP_COMPLETED;
    wh_json_add_string(json, "external_id", step->id);
    wh_json_add_int(json, "number", step->number);
    wh_json_add_string(json, "name", step->name && *step->name ? step->name : "(unnamed)");
    wh_json_add_int(json, "status", update_status(step->status));
    add_time(json, "started_at", pending ? 0 : step->started_ns, 3);
    add_time(json, "completed_at", completed ? step->completed_ns : 0, 3);
    wh_json_add_int(json, "conclusion", update_conclusion(step));
    add_background(json, step);
    add_text(json, "parallel_group_id", step->parallel_group);
    return json;
}

static void add_telemetry(cJSON *body, const struct wh_github_completion *completion)
{
    static const char *const types[] = {"General", "ActionCommand", "ConnectivityCheck"};
    if (completion->ntelemetry == 0)
        return;
    cJSON *list = cJSON_AddArrayToObject(body, "telemetry");
    for (size_t i = 0; i < WH_MIN(completion->ntelemetry, WH_MAX_TELEMETRY); i++) {
        cJSON *item = cJSON_CreateObject();
        wh_json_add_string(item, "message", completion->telemetry[i].message);
        wh_json_add_string(item, "type", types[completion->telemetry[i].type]);
        cJSON_AddItemToArray(list, item);
    }
}

cJSON *gh_completion_body(const char *plan_id, const char *job_id, const char *billing_owner_id,
                          const struct wh_github_completion *completion)
{
    cJSON *body = cJSON_CreateObject();
    const char *conclusion = wh_task_result_text(completion->conclusion);
    wh_json_add_string(body, "planId", plan_id);
    wh_json_add_string(body, "jobId", job_id);
    wh_json_add_string(body, "conclusion", conclusion ? conclusion : "failed");
    cJSON *outputs = cJSON_AddObjectToObject(body, "outputs");
    for (size_t i = 0; i < completion->noutputs; i++) {
        cJSON *output = cJSON_AddObjectToObject(outputs, completion->outputs[i].name);
        wh_json_add_string(output, "value", completion->outputs[i].value);
    }
    cJSON *steps = cJSON_AddArrayToObject(body, "stepResults");
    for (size_t i = 0; i < completion->nsteps; i++)
        cJSON_AddItemToArray(steps, gh_step_result(&completion->steps[i]));
    cJSON_AddItemToObject(body, "annotations",
                          gh_annotations(completion->annotations, completion->nannotations, 0));
    add_telemetry(body, completion);
    add_text(body, "environmentUrl", completion->environment_url);
    add_text(body, "billingOwnerId", billing_owner_id);
    return body;
}

cJSON *wh_github_completejob_body(const struct wh_github_completion *completion)
{
    return gh_completion_body(NULL, NULL, NULL, completion);
}
