/* A completion in our own files: kept until the service has accepted it. The file may have been written by a
 * process of the job's user: what is odd in it is left out, never trusted. */
#include "github/wire.h"

#define MAX_KEPT_STEPS 5000
#define MAX_KEPT_OUTPUTS 5000
#define MAX_KEPT_ANNOTATIONS ((size_t)3 * WH_MAX_ANNOTATIONS)

cJSON *wh_github_completion_json(const struct wh_github_completion *c)
{
    cJSON *json = cJSON_CreateObject();
    wh_json_add_string(json, "conclusion", wh_task_result_text(c->conclusion));
    cJSON *outputs = cJSON_AddObjectToObject(json, "outputs");
    for (size_t i = 0; i < c->noutputs; i++)
        wh_json_add_string(outputs, c->outputs[i].name, c->outputs[i].value);
    cJSON *steps = cJSON_AddArrayToObject(json, "steps");
    for (size_t i = 0; i < c->nsteps; i++)
        cJSON_AddItemToArray(steps, wh_step_record_json(&c->steps[i]));
    cJSON *annotations = cJSON_AddArrayToObject(json, "annotations");
    for (size_t i = 0; i < c->nannotations; i++)
        cJSON_AddItemToArray(annotations, gh_annotation_json(&c->annotations[i]));
    wh_json_add_string(json, "environmentUrl", c->environment_url);
    return json;
}

static void read_outputs(const cJSON *object, struct wh_github_completion *out)
{
    struct wh_github_output *all = NULL;
    const cJSON *item;
    cJSON_ArrayForEach(item, object)
    {
        if (!item->string || !cJSON_IsString(item) || out->noutputs >= MAX_KEPT_OUTPUTS)
            continue;
        all = wh_reallocarray(all, out->noutputs + 1, sizeof *all);
        all[out->noutputs++] =
            (struct wh_github_output){.name = wh_strdup(item->string), .value = wh_strdup(item->valuestring)};
    }
    out->outputs = all;
}

void wh_github_completion_add_step(struct wh_github_completion *c, struct wh_step_record *step)
{
    struct wh_step_record *all = wh_reallocarray((void *)(uintptr_t)c->steps, c->nsteps + 1, sizeof *all);
    all[c->nsteps++] = *step;
    c->steps = all;
    free(step); /* its texts live on */
}

static void read_steps(const cJSON *list, struct wh_github_completion *out)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        struct wh_step_record *step = out->nsteps < MAX_KEPT_STEPS ? wh_step_record_read(item) : NULL;
        if (step)
            wh_github_completion_add_step(out, step);
    }
}

static void read_annotations(const cJSON *list, struct wh_github_completion *out)
{
    struct wh_annotation *all = NULL;
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (out->nannotations >= MAX_KEPT_ANNOTATIONS)
            break;
        all = wh_reallocarray(all, out->nannotations + 1, sizeof *all);
        all[out->nannotations++] = gh_annotation_read(item);
    }
    out->annotations = all;
}

int wh_github_completion_read(const cJSON *json, struct wh_github_completion *out, struct wh_error *err)
{
    *out =
        (struct wh_github_completion){.conclusion = wh_task_result_parse(wh_json_string(json, "conclusion"))};
    if (out->conclusion == WH_TASK_NONE)
        return wh_fail(err, WH_E_CORRUPT, "the kept completion has no conclusion");
    read_outputs(wh_json_get(json, "outputs"), out);
    read_steps(wh_json_get(json, "steps"), out);
    read_annotations(wh_json_get(json, "annotations"), out);
    out->environment_url = wh_strdup(wh_json_string(json, "environmentUrl"));
    return 0;
}

static void drop(const void *owned)
{
    free((void *)(uintptr_t)owned);
}

void wh_github_completion_clear(struct wh_github_completion *c)
{
    for (size_t i = 0; i < c->nsteps; i++) {
        struct wh_step_record *step = wh_malloc(sizeof *step);
        *step = c->steps[i];
        wh_step_record_free(step);
    }
    for (size_t i = 0; i < c->noutputs; i++) {
        drop(c->outputs[i].name);
        drop(c->outputs[i].value);
    }
    for (size_t i = 0; i < c->nannotations; i++) {
        drop(c->annotations[i].message);
        drop(c->annotations[i].title);
        drop(c->annotations[i].path);
    }
    drop(c->steps);
    drop(c->outputs);
    drop(c->annotations);
    drop(c->environment_url);
    *c = (struct wh_github_completion){0};
}
