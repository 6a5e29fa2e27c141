/* Step records in our own files: the spool's journal. */
#include "github/wire.h"

#define MAX_KEPT_ANNOTATIONS (3 * WH_MAX_ANNOTATIONS)

cJSON *gh_annotation_json(const struct wh_annotation *a)
{
    cJSON *json = cJSON_CreateObject();
    wh_json_add_int(json, "level", a->level);
    wh_json_add_string(json, "message", a->message);
    wh_json_add_string(json, "title", a->title);
    wh_json_add_string(json, "path", a->path);
    wh_json_add_int(json, "startLine", a->start_line);
    wh_json_add_int(json, "endLine", a->end_line);
    wh_json_add_int(json, "startColumn", a->start_column);
    wh_json_add_int(json, "endColumn", a->end_column);
    wh_json_add_int(json, "logLine", a->log_line);
    return json;
}

cJSON *wh_step_record_json(const struct wh_step_record *r)
{
    cJSON *json = cJSON_CreateObject();
    wh_json_add_string(json, "id", r->id);
    wh_json_add_int(json, "number", r->number);
    wh_json_add_string(json, "name", r->name);
    wh_json_add_string(json, "refName", r->ref_name);
    wh_json_add_string(json, "action", r->action_name);
    wh_json_add_string(json, "ref", r->ref);
    wh_json_add_string(json, "type", r->type);
    wh_json_add_int(json, "status", r->status);
    wh_json_add_int(json, "conclusion", r->conclusion);
    wh_json_add_int(json, "started", r->started_ns);
    wh_json_add_int(json, "completed", r->completed_ns);
    if (r->background)
        cJSON_AddBoolToObject(json, "background", true);
    wh_json_add_string(json, "control", r->control);
    wh_json_add_string(json, "controlIds", r->control_ids);
    wh_json_add_string(json, "parallelGroup", r->parallel_group);
    if (r->nannotations == 0)
        return json;
    cJSON *list = cJSON_AddArrayToObject(json, "annotations");
    for (size_t i = 0; i < r->nannotations; i++)
        cJSON_AddItemToArray(list, gh_annotation_json(&r->annotations[i]));
    return json;
}

static int number_in(const cJSON *json, const char *name, int low, int high, int otherwise)
{
    int64_t value = wh_json_int(json, name, otherwise);
    return value >= low && value <= high ? (int)value : otherwise;
}

struct wh_annotation gh_annotation_read(const cJSON *json)
{
    return (struct wh_annotation){
        .level = (enum wh_annotation_level)number_in(json, "level", 0, WH_ANNOTATION_FAILURE, 0),
        .message = wh_strdup(wh_json_string(json, "message")),
        .title = wh_strdup(wh_json_string(json, "title")),
        .path = wh_strdup(wh_json_string(json, "path")),
        .start_line = wh_json_int(json, "startLine", 0),
        .end_line = wh_json_int(json, "endLine", 0),
        .start_column = wh_json_int(json, "startColumn", 0),
        .end_column = wh_json_int(json, "endColumn", 0),
        .log_line = wh_json_int(json, "logLine", 0)};
}

struct wh_step_record *wh_step_record_read(const cJSON *json)
{
    const char *id = wh_json_string(json, "id");
    if (!id || strlen(id) != 36)
        return NULL;
    struct wh_step_record *r = wh_calloc(1, sizeof *r);
    r->id = wh_strdup(id);
    r->number = number_in(json, "number", 1, 1 << 30, 1);
    r->name = wh_strdup(wh_json_string(json, "name"));
    r->ref_name = wh_strdup(wh_json_string(json, "refName"));
    r->action_name = wh_strdup(wh_json_string(json, "action"));
    r->ref = wh_strdup(wh_json_string(json, "ref"));
    r->type = wh_strdup(wh_json_string(json, "type"));
    r->status = (enum wh_step_status)number_in(json, "status", 0, WH_STEP_COMPLETED, 0);
    r->conclusion = (enum wh_task_result)number_in(json, "conclusion", WH_TASK_NONE, WH_TASK_ABANDONED, -1);
    r->started_ns = wh_json_int(json, "started", 0);
    r->completed_ns = wh_json_int(json, "completed", 0);
    r->background = wh_json_bool(json, "background", false);
    r->control = wh_strdup(wh_json_string(json, "control"));
    r->control_ids = wh_strdup(wh_json_string(json, "controlIds"));
    r->parallel_group = wh_strdup(wh_json_string(json, "parallelGroup"));
    const cJSON *list = wh_json_get(json, "annotations"), *item;
    int count = WH_MIN(cJSON_GetArraySize(list), MAX_KEPT_ANNOTATIONS);
    struct wh_annotation *annotations = count ? wh_calloc((size_t)count, sizeof *annotations) : NULL;
    cJSON_ArrayForEach(item, list)
    {
        if (r->nannotations < (size_t)count)
            annotations[r->nannotations++] = gh_annotation_read(item);
    }
    r->annotations = annotations;
    return r;
}

static void drop(const char *text)
{
    free((void *)(uintptr_t)text);
}

void wh_step_record_free(struct wh_step_record *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->nannotations; i++) {
        drop(r->annotations[i].message);
        drop(r->annotations[i].title);
        drop(r->annotations[i].path);
    }
    free((void *)(uintptr_t)r->annotations);
    drop(r->id);
    drop(r->name);
    drop(r->ref_name);
    drop(r->action_name);
    drop(r->ref);
    drop(r->type);
    drop(r->control);
    drop(r->control_ids);
    drop(r->parallel_group);
    free(r);
}
