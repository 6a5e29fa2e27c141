/* A worker that finishes what another one left: its completion as it was, if it came that far; else the job
 * ends as the agent says, with the steps as they are known and the reason as an annotation. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "worker/job.h"

#define MAX_COMPLETION ((size_t)16 << 20)

/* ---- keeping: what the agent gets before it is sent to the service ---- */

void wh_job_keep_completion(struct wh_job *j, const struct wh_github_completion *completion)
{
    wh_autoerror err = {0};
    wh_autojson *json = wh_github_completion_json(completion);
    wh_autofree char *text = wh_json_print(json);
    wh_autojson *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "completion");
    wh_autoclose int fd = memfd_create("completion", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || wh_write_all(fd, text, strlen(text), &err) ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)) {
        wh_log_warning("keep the completion: %s", err.code ? wh_error_text(&err) : strerror(errno));
        return;
    }
    wh_job_send(j, frame, &fd, 1);
}

/* ---- finishing ---- */

static bool read_kept(int fd, struct wh_github_completion *out)
{
    wh_autoerror err = {0};
    wh_autostr text = {0};
    wh_autojson *json = NULL;
    if (wh_read_fd(fd, MAX_COMPLETION, "the kept completion", &text, &err) == 0)
        json = wh_json_parse(text.data, text.len, MAX_COMPLETION, "the kept completion", &err);
    if (json && wh_github_completion_read(json, out, &err) == 0)
        return true;
    wh_log_warning("%s", wh_error_text(&err));
    return false;
}

/* It died before it had told of anything: a job shows at least the step that failed. */
static void add_first_step(struct wh_job *j, struct wh_github_completion *out, const char *why)
{
    struct wh_timeline *r = wh_job_record(j, NULL, "Set up job", 1);
    r->type = "runner";
    wh_job_start_record(j, r);
    wh_say_error(j, "%s", why ? why : "The operation was canceled.");
    wh_job_complete_record(j, r, out->conclusion);
    struct wh_step_record view = wh_timeline_view(r);
    wh_autojson *json = wh_step_record_json(&view);
    wh_github_completion_add_step(out, wh_step_record_read(json));
}

/* A job that came to no result. */
static void made_up(struct wh_job *j, struct wh_github_completion *out)
{
    const char *reason = wh_json_string(j->frame.json, "reason");
    enum wh_task_result conclusion = wh_task_result_parse(wh_json_string(j->frame.json, "conclusion"));
    *out =
        (struct wh_github_completion){.conclusion = conclusion == WH_TASK_NONE ? WH_TASK_FAILED : conclusion};
    out->steps = wh_sink_service_end_steps(j->sink, out->conclusion, reason, &out->nsteps);
    if (out->nsteps == 0)
        add_first_step(j, out, reason);
    if (!reason)
        return;
    struct wh_annotation *a = wh_calloc(1, sizeof *a);
    *a = (struct wh_annotation){.level = WH_ANNOTATION_FAILURE, .message = wh_strdup(reason)};
    out->annotations = a;
    out->nannotations = 1;
}

static void clean_up(const struct wh_job *j)
{
    wh_autoerror err = {0};
    const char *work = wh_json_string(j->runner, "workDir");
    wh_autofree char *temp = work ? wh_path_join(work, "_temp") : NULL;
    if (temp && access(temp, F_OK) == 0 && wh_remove_contents(AT_FDCWD, temp, &err))
        wh_log_warning("%s", wh_error_text(&err));
}

void wh_job_recover(struct wh_job *j)
{
    struct wh_github_completion completion = {0};
    bool kept = j->frame.nfds == 1 && read_kept(j->frame.fds[0], &completion);
    if (!kept)
        made_up(j, &completion);
    j->result = completion.conclusion;
    wh_log_info("finishing a job that was cut off: %s%s", wh_task_result_text(j->result),
                kept ? " (its own result)" : "");
    clean_up(j);
    bool accepted = wh_job_hand_in(j, &completion);
    wh_job_say_done(j, accepted);
    wh_github_completion_clear(&completion);
}
