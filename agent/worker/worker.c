/* The life of a worker: receive, set up, run, complete. */
#include "wherry/worker/worker.h"

#include <signal.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "wherry/github/spool.h"
#include "wherry/net/later.h"
#include "worker/job.h"

/* Where logs wait for their upload: <work>/_diag/spool/<job>. Not in _temp, which is emptied; and another
 * process finds it there, if this one dies. */
static char *spool_folder(struct wh_job *j, const cJSON *message, struct wh_error *err)
{
    const char *work = wh_json_string(j->runner, "workDir");
    const char *id = wh_json_string(message, "jobId");
    if (!id || strlen(id) != strspn(id, "0123456789abcdefABCDEF-") || strlen(id) != 36) {
        wh_fail(err, WH_E_PROTOCOL, "the job message's jobId is no GUID");
        return NULL;
    }
    wh_autofree char *parent = wh_printf("%s/" WH_SPOOL_FOLDER, work && work[0] == '/' ? work : "/tmp");
    if (wh_mkdir_p(parent, 0700, err) < 0)
        return NULL;
    /* A runner has one job at a time: what lies there of others was given up. */
    if (!j->recovers && wh_remove_contents(AT_FDCWD, parent, err) < 0)
        return NULL;
    return wh_path_join(parent, id);
}

static int open_sink(struct wh_job *j, const cJSON *message, struct wh_error *err)
{
    if (j->local) {
        j->sink = wh_sink_local(STDOUT_FILENO, j->frame.nfds > 0 ? wh_steal_fd(&j->frame.fds[0]) : -1,
                                wh_streq(wh_json_string(j->options, "localLines"), "tagged"));
        return 0;
    }
    wh_autofree char *spool = spool_folder(j, message, err);
    int64_t mib = wh_json_int(j->options, "logSpoolMiB", 0);
    struct wh_sink_place place = {.spool = spool,
                                  .spool_bytes = mib > 0 ? (uint64_t)WH_MIN(mib, (int64_t)1 << 30) << 20 : 0,
                                  .runner_name = wh_json_string(j->runner, "name"),
                                  .resume = j->recovers};
    j->sink = spool ? wh_sink_service(&j->loop, message, &place, err) : NULL;
    return j->sink ? 0 : -1;
}

/* A message that can't be read still ends as a failed job with the reason, not as one that hangs. */
static void fail_unreadable(struct wh_job *j, struct wh_error *err)
{
    struct wh_timeline *record = wh_job_record(j, NULL, "Set up job", j->next_number++);
    record->type = "runner";
    wh_job_start_record(j, record);
    wh_say_error(j, "%s", wh_error_text(err));
    wh_job_complete_record(j, record, WH_TASK_FAILED);
    j->result = WH_TASK_FAILED;
}

#define ANNOUNCE_MS 1000u

struct announcement {
    bool done;
};

static void on_announced(void *data, struct wh_error *err)
{
    (void)err; /* it is sent again with the next change */
    ((struct announcement *)data)->done = true;
}

static void wake(uv_timer_t *timer)
{
    ((struct announcement *)timer->data)->done = true;
}

/* The service gives no id token to a job that it doesn't show as in progress yet: where steps may ask for
 * one, the first states go before the first step, for at most a second. */
static void announce(struct wh_job *j)
{
    /* Static: an answer that comes late still finds it. */
    static struct announcement a;
    static uv_timer_t timer;
    if (j->local || !wh_message_endpoint_data(j->message, "GenerateIdTokenUrl"))
        return;
    uv_timer_init(&j->loop, &timer);
    timer.data = &a;
    wh_timer_start(&timer, wake, ANNOUNCE_MS, 0);
    j->sink->ops->flush(j->sink, on_announced, &a);
    while (!a.done)
        wh_job_turn(j);
    uv_close((uv_handle_t *)&timer, NULL);
}

static void run_job(struct wh_job *j, const cJSON *message)
{
    wh_autoerror err = {0};
    j->message = wh_message_from_json(message, &err);
    /* Nothing may be written before all secrets are known: a job whose masks don't fit fails. */
    if (!j->message || wh_masker_add_message(j->masker, j->message, &err) < 0) {
        fail_unreadable(j, &err);
        return;
    }
    if (wh_setup(j) < 0)
        return;
    announce(j);
    wh_steps_run(j);
    wh_finish(j);
}

/* ---- completion ---- */

struct completion {
    bool done;
    bool accepted;
};

static void on_completed(void *data, struct wh_error *err)
{
    struct completion *c = data;
    c->done = true;
    c->accepted = err == NULL;
    if (err)
        wh_log_error("the job's completion was not accepted: %s", wh_error_text(err));
}

static void clean_up(struct wh_job *j)
{
    wh_autoerror err = {0};
    if (j->dirs.temp && wh_dirs_empty_temp(j, &err) < 0)
        wh_log_warning("%s", wh_error_text(&err));
}

bool wh_job_hand_in(struct wh_job *j, const struct wh_github_completion *completion)
{
    struct completion c = {0};
    j->sink->ops->finish(j->sink, completion, on_completed, &c);
    wh_job_turn_now(j);
    if (!j->recovers)
        clean_up(j); /* while the service takes what is left */
    while (!c.done)
        wh_job_turn(j);
    return c.accepted;
}

static bool complete(struct wh_job *j)
{
    struct wh_step_record *steps = wh_calloc(j->ncompleted + 1, sizeof *steps);
    for (size_t i = 0; i < j->ncompleted; i++)
        steps[i] = wh_timeline_view(j->completed[i]);
    struct wh_github_completion completion = {.conclusion = j->result,
                                              .outputs = j->outputs,
                                              .noutputs = j->noutputs,
                                              .steps = steps,
                                              .nsteps = j->ncompleted,
                                              .environment_url = j->environment_url,
                                              .annotations = j->annotations,
                                              .nannotations = wh_job_annotations_wanted(j),
                                              .telemetry = j->telemetry,
                                              .ntelemetry = j->ntelemetry};
    if (!j->local)
        wh_job_keep_completion(j, &completion);
    bool accepted = wh_job_hand_in(j, &completion);
    free(steps);
    return accepted;
}

void wh_job_say_done(struct wh_job *j, bool accepted)
{
    wh_autojson *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "done");
    wh_json_add_string(frame, "result", wh_task_result_text(j->result));
    cJSON_AddBoolToObject(frame, "completed", accepted);
    wh_job_send(j, frame, NULL, 0);
    while (!j->agent_gone && wh_frame_conn_wants_write(j->agent))
        wh_job_turn(j);
}

static void job_clear(struct wh_job *j)
{
    for (size_t i = 0; i < j->npres; i++)
        wh_run_free(j->pres[i]);
    for (size_t i = 0; i < j->nmains; i++)
        wh_run_free(j->mains[i]);
    for (size_t i = 0; i < j->nposts; i++)
        wh_run_free(j->posts[i]);
    for (size_t i = 0; i < j->nrecords; i++) {
        wh_timeline_clear(j->records[i]);
        free(j->records[i]);
    }
    for (size_t i = 0; i < j->noutputs; i++) {
        free((char *)j->outputs[i].name);
        free((char *)j->outputs[i].value);
    }
    for (size_t i = 0; i < j->ncgroups; i++)
        close(j->cgroups[i]);
    free(j->cgroups);
    wh_containers_free(j);
    for (size_t i = 0; i < j->nforeigns; i++)
        wh_foreign_free(j->foreigns[i]);
    free(j->foreigns);
    free(j->node_version);
    free(j->pres);
    free(j->mains);
    free(j->backgrounds);
    cJSON_Delete(j->action_map);
    free(j->posts);
    free(j->records);
    free(j->completed);
    free(j->outputs);
    free(j->environment_url);
    free(j->default_shell);
    free(j->default_directory);
    wh_strv_free(j->base_env);
    wh_strv_free(j->prepends);
    wh_telemetry_clear(j);
    wh_diagnostics_clear(j);
    wh_matchers_clear(j);
    wh_value_unref(j->contexts);
    wh_value_unref(j->env);
    wh_masker_free(j->masker);
    wh_message_free(j->message);
    wh_dirs_clear(&j->dirs);
    wh_frame_clear(&j->frame);
}

int wh_worker_main(int control)
{
    struct wh_job j = {
        .next_number = 1, .engine_channel = -1, .engine_listener = -1, .result = WH_TASK_SUCCEEDED};
    wh_autoerror err = {0};
    signal(SIGPIPE, SIG_IGN);
    j.masker = wh_masker_new();
    int code = 1;
    const cJSON *message = NULL;
    if (wh_job_open(&j, control, &err) == 0 && wh_job_receive(&j, &err) == 0) {
        message = wh_json_get(j.frame.json, "message");
        if (!message)
            wh_fail(&err, WH_E_PROTOCOL, "the job frame has no message");
        else if (open_sink(&j, message, &err) == 0) {
            if (j.recovers) {
                wh_job_recover(&j);
            } else {
                run_job(&j, message);
                wh_job_say_done(&j, complete(&j));
            }
            code = 100 + (int)j.result;
        }
    }
    if (code == 1)
        wh_log_error("worker: %s", wh_error_text(&err));
    if (j.sink)
        j.sink->ops->free(j.sink);
    wh_job_close(&j);
    job_clear(&j);
    return code;
}
