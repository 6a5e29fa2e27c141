/* What the service is told of a job beside its steps: how commands were used, and annotations of the job
 * itself (runner-protocol.md §4.5). */
#include "worker/job.h"

void wh_telemetry_add(struct wh_job *j, enum wh_telemetry_type type, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    wh_autofree char *text = wh_vprintf(fmt, args);
    va_end(args);
    wh_autofree char *masked = wh_mask_text(j->masker, text);
    for (size_t i = 0; i < j->ntelemetry; i++)
        if (wh_streq(j->telemetry[i].message, masked))
            return;
    if (j->ntelemetry == WH_MAX_TELEMETRY)
        return;
    j->telemetry = wh_reallocarray(j->telemetry, j->ntelemetry + 1, sizeof *j->telemetry);
    j->telemetry[j->ntelemetry++] = (struct wh_telemetry){.type = type, .message = wh_steal(&masked)};
}

void wh_job_annotate(struct wh_job *j, enum wh_annotation_level level, const char *message)
{
    size_t same = 0;
    for (size_t i = 0; i < j->nannotations; i++)
        same += j->annotations[i].level == level;
    if (same >= WH_MAX_ANNOTATIONS)
        return;
    j->annotations = wh_reallocarray(j->annotations, j->nannotations + 1, sizeof *j->annotations);
    j->annotations[j->nannotations++] =
        (struct wh_annotation){.level = level, .message = wh_mask_text(j->masker, message)};
}

/* V1 keeps them at the job's record; the run service takes them where it says so. */
size_t wh_job_annotations_wanted(const struct wh_job *j)
{
    bool v1 = wh_streq_ci(wh_json_string(wh_json_get(j->frame.json, "message"), "messageType"),
                          "PipelineAgentJobRequest");
    bool asked =
        j->message && wh_message_variable_bool(j->message, "actions_send_job_level_annotations", false);
    return v1 || asked ? j->nannotations : 0;
}

void wh_telemetry_clear(struct wh_job *j)
{
    for (size_t i = 0; i < j->ntelemetry; i++)
        free((char *)(uintptr_t)j->telemetry[i].message);
    for (size_t i = 0; i < j->nannotations; i++)
        free((char *)(uintptr_t)j->annotations[i].message);
    free(j->telemetry);
    free(j->annotations);
}
