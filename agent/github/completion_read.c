/* A completion that was kept as JSON, read again. The file may have been written by a process of the job's
 * user: what is odd in it is left out, never trusted. */
#include "github/wire.h"

#include "wherry/base/clock.h"

#define MAX_KEPT_STEPS 5000
#define MAX_KEPT_OUTPUTS 5000

static char *text(const cJSON *object, const char *name)
{
    return wh_strdup(wh_json_string(object, name));
}

static int64_t time_of(const cJSON *object, const char *name)
{
    int64_t ns;
    const char *iso = wh_json_string(object, name);
    return iso && wh_time_parse_iso(iso, &ns) && ns > 0 ? ns : 0;
}

static enum wh_annotation_level level_of(const char *word)
{
    return wh_streq_ci(word, "notice")    ? WH_ANNOTATION_NOTICE
           : wh_streq_ci(word, "warning") ? WH_ANNOTATION_WARNING
                                          : WH_ANNOTATION_FAILURE;
}

static struct wh_annotation *read_annotations(const cJSON *list, size_t *count)
{
    struct wh_annotation *all = NULL;
    const cJSON *item;
    *count = 0;
    cJSON_ArrayForEach(item, list)
    {
        if (*count >= (size_t)3 * WH_MAX_ANNOTATIONS)
            break;
        all = wh_reallocarray(all, *count + 1, sizeof *all);
        all[(*count)++] = (struct wh_annotation){.level = level_of(wh_json_string(item, "level")),
                                                 .message = text(item, "message"),
                                                 .title = text(item, "title"),
                                                 .path = text(item, "path"),
                                                 .start_line = wh_json_int(item, "startLine", 0),
                                                 .end_line = wh_json_int(item, "endLine", 0),
                                                 .start_column = wh_json_int(item, "startColumn", 0),
                                                 .end_column = wh_json_int(item, "endColumn", 0)};
    }
    return all;
}

static void free_annotations(const struct wh_annotation *all, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free((char *)all[i].message);
        free((char *)all[i].title);
        free((char *)all[i].path);
    }
    free((void *)all);
}

/* A type is one of the program's constants everywhere else: here it is owned like the other texts. */
static void read_step(const cJSON *item, struct wh_step_record *out)
{
    size_t count;
    *out = (struct wh_step_record){.id = text(item, "external_id"),
                                   .number = (int)WH_MIN(wh_json_int(item, "number", 1), (int64_t)1000000),
                                   .name = text(item, "name"),
                                   .action_name = text(item, "action_name"),
                                   .ref = text(item, "ref"),
                                   .type = text(item, "type"),
                                   .status = WH_STEP_COMPLETED,
                                   .conclusion = wh_task_result_parse(wh_json_string(item, "conclusion")),
                                   .started_ns = time_of(item, "started_at"),
                                   .completed_ns = time_of(item, "completed_at")};
    out->annotations = read_annotations(wh_json_get(item, "annotations"), &count);
    out->nannotations = count;
}

static void read_steps(const cJSON *list, struct wh_github_completion *out)
{
    struct wh_step_record *all = NULL;
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const char *id = wh_json_string(item, "external_id");
        if (!id || strlen(id) != 36 || out->nsteps >= MAX_KEPT_STEPS)
            continue;
        all = wh_reallocarray(all, out->nsteps + 1, sizeof *all);
        read_step(item, &all[out->nsteps++]);
    }
    out->steps = all;
}

static void read_outputs(const cJSON *object, struct wh_github_completion *out)
{
    struct wh_github_output *all = NULL;
    const cJSON *item;
    cJSON_ArrayForEach(item, object)
    {
        const char *value = wh_json_string(item, "value");
        if (!item->string || !value || out->noutputs >= MAX_KEPT_OUTPUTS)
            continue;
        all = wh_reallocarray(all, out->noutputs + 1, sizeof *all);
        all[out->noutputs++] =
            (struct wh_github_output){.name = wh_strdup(item->string), .value = wh_strdup(value)};
    }
    out->outputs = all;
}

static void read_telemetry(const cJSON *list, struct wh_github_completion *out)
{
    struct wh_telemetry *all = NULL;
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const char *type = wh_json_string(item, "type");
        if (out->ntelemetry >= WH_MAX_TELEMETRY)
            break;
        all = wh_reallocarray(all, out->ntelemetry + 1, sizeof *all);
        all[out->ntelemetry++] = (struct wh_telemetry){
            .type = wh_streq_ci(type, "ActionCommand") ? WH_TELEMETRY_ACTION_COMMAND : WH_TELEMETRY_GENERAL,
            .message = text(item, "message")};
    }
    out->telemetry = all;
}

cJSON *wh_github_completion_json(const struct wh_github_completion *completion)
{
    return gh_completion_body(NULL, NULL, NULL, completion);
}

int wh_github_completion_read(const cJSON *json, struct wh_github_completion *out, struct wh_error *err)
{
    size_t count;
    *out =
        (struct wh_github_completion){.conclusion = wh_task_result_parse(wh_json_string(json, "conclusion"))};
    if (out->conclusion == WH_TASK_NONE)
        return wh_fail(err, WH_E_CORRUPT, "the kept completion has no conclusion");
    read_outputs(wh_json_get(json, "outputs"), out);
    read_steps(wh_json_get(json, "stepResults"), out);
    out->annotations = read_annotations(wh_json_get(json, "annotations"), &count);
    out->nannotations = count;
    out->environment_url = text(json, "environmentUrl");
    read_telemetry(wh_json_get(json, "telemetry"), out);
    return 0;
}

void wh_github_completion_clear(struct wh_github_completion *c)
{
    for (size_t i = 0; i < c->nsteps; i++) {
        const struct wh_step_record *step = &c->steps[i];
        const char *const texts[] = {step->id,          step->name, step->ref_name,
                                     step->action_name, step->ref,  step->type};
        for (size_t t = 0; t < WH_COUNT(texts); t++)
            free((char *)texts[t]);
        free_annotations(step->annotations, step->nannotations);
    }
    for (size_t i = 0; i < c->noutputs; i++) {
        free((char *)c->outputs[i].name);
        free((char *)c->outputs[i].value);
    }
    for (size_t i = 0; i < c->ntelemetry; i++)
        free((char *)c->telemetry[i].message);
    free((void *)c->telemetry);
    free((void *)c->steps);
    free((void *)c->outputs);
    free_annotations(c->annotations, c->nannotations);
    free((char *)c->environment_url);
    *c = (struct wh_github_completion){0};
}
