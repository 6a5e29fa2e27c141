/* V1's words for records, issues and the end of a job (runner-protocol.md §4.6, §4.7). */
#include "github/plan_internal.h"
#include "github/wire.h"
#include "wherry/base/clock.h"
#include "wherry/job/logtext.h"

static void add_time(cJSON *json, const char *name, int64_t ns)
{
    char buf[40];
    if (ns > 0)
        wh_json_add_string(json, name, wh_time_iso(ns, 7, buf));
    else
        cJSON_AddNullToObject(json, name);
}

static void add_number_text(cJSON *json, const char *name, int64_t value)
{
    char buf[24];
    if (value <= 0)
        return;
    snprintf(buf, sizeof buf, "%lld", (long long)value);
    wh_json_add_string(json, name, buf);
}

static void add_text(cJSON *json, const char *name, const char *value)
{
    if (value && *value)
        wh_json_add_string(json, name, value);
}

static cJSON *issue(const struct wh_annotation *a, int step_number)
{
    static const char *const types[] = {"notice", "warning", "error"};
    cJSON *json = cJSON_CreateObject();
    const char *message = a->message ? a->message : "";
    wh_autofree char *cut =
        wh_strndup(message, wh_utf16_prefix(message, strlen(message), WH_MAX_ANNOTATION_MESSAGE));
    wh_json_add_string(json, "type", types[a->level]);
    wh_json_add_string(json, "message", cut);
    cJSON *data = cJSON_AddObjectToObject(json, "data");
    add_number_text(data, "stepNumber", step_number);
    add_number_text(data, "logFileLineNumber", a->log_line);
    add_text(data, "file", a->path);
    add_text(data, "title", a->title);
    add_number_text(data, "line", a->start_line);
    add_number_text(data, "endLine", a->end_line);
    add_number_text(data, "col", a->start_column);
    add_number_text(data, "endColumn", a->end_column);
    return json;
}

static void add_issues(cJSON *json, const struct wh_annotation *annotations, size_t count, int step_number)
{
    unsigned used[3] = {0};
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < count; i++)
        if (used[annotations[i].level]++ < WH_MAX_ANNOTATIONS)
            cJSON_AddItemToArray(list, issue(&annotations[i], step_number));
    wh_json_add_int(json, "errorCount", WH_MIN(used[WH_ANNOTATION_FAILURE], WH_MAX_ANNOTATIONS));
    wh_json_add_int(json, "warningCount", WH_MIN(used[WH_ANNOTATION_WARNING], WH_MAX_ANNOTATIONS));
    wh_json_add_int(json, "noticeCount", WH_MIN(used[WH_ANNOTATION_NOTICE], WH_MAX_ANNOTATIONS));
    if (cJSON_GetArraySize(list) > 0)
        cJSON_AddItemToObject(json, "issues", list);
    else
        cJSON_Delete(list);
}

static void add_state(cJSON *json, enum wh_step_status status, enum wh_task_result result)
{
    static const char *const states[] = {"pending", "inProgress", "completed"};
    const char *text = wh_task_result_text(result);
    wh_json_add_int(json, "percentComplete", status == WH_STEP_COMPLETED ? 100 : 0);
    wh_json_add_string(json, "state", states[status]);
    if (status == WH_STEP_COMPLETED)
        wh_json_add_string(json, "result", text ? text : "failed");
}

static void add_log(cJSON *json, int64_t log)
{
    if (log > 0)
        wh_json_add_int(cJSON_AddObjectToObject(json, "log"), "id", log);
}

cJSON *gh_plan_step(const struct wh_github_job *job, const struct wh_step_record *step, const char *worker,
                    int64_t log)
{
    cJSON *json = cJSON_CreateObject();
    bool completed = step->status == WH_STEP_COMPLETED;
    int64_t started = step->started_ns ? step->started_ns : step->completed_ns;
    wh_json_add_string(json, "id", step->id);
    wh_json_add_string(json, "parentId", job->id);
    wh_json_add_string(json, "type", "Task");
    wh_json_add_string(json, "name", step->name && *step->name ? step->name : "(unnamed)");
    add_text(json, "refName", step->ref_name);
    wh_json_add_int(json, "order", step->number);
    add_time(json, "startTime", step->status == WH_STEP_PENDING ? 0 : started);
    add_time(json, "finishTime", completed ? step->completed_ns : 0);
    add_state(json, step->status, step->conclusion);
    add_text(json, "workerName", worker);
    wh_json_add_int(json, "attempt", 1);
    add_issues(json, step->annotations, step->nannotations, step->number);
    add_log(json, log);
    return json;
}

cJSON *gh_plan_job(const struct wh_github_job *job, const char *worker, int64_t started_ns,
                   const struct wh_github_completion *completion, int64_t log)
{
    cJSON *json = cJSON_CreateObject();
    wh_json_add_string(json, "id", job->id);
    wh_json_add_string(json, "type", "Job");
    add_text(json, "name", job->display_name);
    add_text(json, "refName", job->job_name);
    add_time(json, "startTime", started_ns);
    add_time(json, "finishTime", completion ? wh_now_ns() : 0);
    add_state(json, completion ? WH_STEP_COMPLETED : WH_STEP_IN_PROGRESS,
              completion ? completion->conclusion : WH_TASK_NONE);
    add_text(json, "workerName", worker);
    wh_json_add_int(json, "attempt", 1);
    wh_json_add_string(json, "agentPlatform", "Linux");
    if (completion)
        add_issues(json, completion->annotations, completion->nannotations, 0);
    add_log(json, log);
    return json;
}

static cJSON *telemetry_list(const struct wh_github_completion *completion)
{
    static const char *const types[] = {"general", "actionCommand", "connectivityCheck"};
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < WH_MIN(completion->ntelemetry, WH_MAX_TELEMETRY); i++) {
        cJSON *item = cJSON_CreateObject();
        wh_json_add_string(item, "message", completion->telemetry[i].message);
        wh_json_add_string(item, "type", types[completion->telemetry[i].type]);
        cJSON_AddItemToArray(list, item);
    }
    return list;
}

#define MAX_TOLD_ISSUES 3  /* errors and warnings of a step */
#define MAX_TOLD_CHARS 256 /* UTF-16 units of each */
#define NS_A_SECOND 1000000000

static cJSON *told_issues(const struct wh_step_record *step)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < step->nannotations && cJSON_GetArraySize(list) < MAX_TOLD_ISSUES; i++) {
        const struct wh_annotation *a = &step->annotations[i];
        if (a->level == WH_ANNOTATION_NOTICE || !a->message || !*a->message)
            continue;
        size_t len = wh_utf16_prefix(a->message, strlen(a->message), MAX_TOLD_CHARS);
        wh_autofree char *cut = wh_strndup(a->message, len);
        cJSON_AddItemToArray(list, cJSON_CreateString(cut));
    }
    return list;
}

/* What the service counts actions by. */
static cJSON *step_telemetry(const struct wh_step_record *step)
{
    cJSON *json = cJSON_CreateObject();
    const char *result = wh_task_result_text(step->conclusion);
    add_text(json, "action", step->action_name);
    add_text(json, "ref", step->ref);
    add_text(json, "type", step->type);
    wh_json_add_string(json, "stepId", step->id);
    add_text(json, "stepContextName", step->ref_name);
    add_text(json, "result", result);
    cJSON_AddItemToObject(json, "errorMessages", told_issues(step));
    if (step->started_ns && step->completed_ns >= step->started_ns) {
        int64_t took = step->completed_ns - step->started_ns;
        wh_json_add_int(json, "executionTimeInSeconds", (took + NS_A_SECOND - 1) / NS_A_SECOND);
        add_time(json, "startTime", step->started_ns);
        add_time(json, "finishTime", step->completed_ns);
    }
    return json;
}

static cJSON *steps_telemetry(const struct wh_github_completion *completion)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < completion->nsteps; i++)
        if (completion->steps[i].type && *completion->steps[i].type)
            cJSON_AddItemToArray(list, step_telemetry(&completion->steps[i]));
    return list;
}

cJSON *gh_plan_event(const struct wh_github_job *job, const struct wh_github_completion *completion)
{
    cJSON *json = cJSON_CreateObject();
    const char *result = wh_task_result_text(completion->conclusion);
    wh_json_add_string(json, "name", "JobCompleted");
    wh_json_add_string(json, "jobId", job->id);
    wh_json_add_int(json, "requestId", job->request_id);
    wh_json_add_string(json, "result", result ? result : "failed");
    cJSON *outputs = cJSON_AddObjectToObject(json, "outputs");
    for (size_t i = 0; i < completion->noutputs; i++) {
        cJSON *output = cJSON_AddObjectToObject(outputs, completion->outputs[i].name);
        wh_json_add_string(output, "value", completion->outputs[i].value);
    }
    if (job->environment_name) {
        cJSON *environment = cJSON_AddObjectToObject(json, "actionsEnvironment");
        wh_json_add_string(environment, "name", job->environment_name);
        wh_json_add_string(environment, "url", completion->environment_url);
    }
    cJSON_AddItemToObject(json, "actionsStepsTelemetry", steps_telemetry(completion));
    cJSON_AddItemToObject(json, "jobTelemetry", telemetry_list(completion));
    return json;
}
