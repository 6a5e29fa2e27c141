/* How a job ends: by its worker, by the agent in its place, by a cancellation, or left to others
 * (runner-protocol.md §4.5, §6). */
#include "daemon/actions.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/github/actions.h"

#define CANCEL_LEAST_MS 60000 /* a time-out below this counts as this */
#define CANCEL_MARGIN_MS 15000
#define STOP_MS 30000
#define LOST_MS 60000
#define COMPLETE_STOPPED_MS 10000 /* for the completion of a killed worker's job while the agent stops */

static const char shutdown_text[] = "The runner has received a shutdown signal. This can happen when the "
                                    "runner service is stopped, or a manually "
                                    "started runner is canceled.";

/* ---- the end ---- */

static void jobrun_free(struct jobrun *j)
{
    renewal_stop(j);
    wh_serve_job_end(j->r->d->serve, j->mark);
    wh_later_cancel(&j->start_later);
    wh_later_cancel(&j->kill_later);
    wh_acquire_cancel(&j->acquire);
    wh_session_end_request_cancel(j->r->session);
    worker_drop(j);
    if (!j->leave_kept)
        keep_forget(j);
    cJSON_Delete(j->kept);
    wh_github_job_free(j->service);
    wh_broker_message_clear(&j->job);
    cJSON_Delete(j->message);
    cJSON_Delete(j->scope);
    wh_github_action_facts_free(j->facts);
    cJSON_Delete(j->services);
    free(j->display_name);
    free(j->step);
    free(j->result);
    free(j->trouble);
    free(j);
}

bool jobrun_is_ours(const struct jobrun *j)
{
    return j->service != NULL;
}

void jobrun_check_end(struct jobrun *j)
{
    if (j->state == JOB_CLEANING && !worker_runs(j) && !builds_any(j))
        job_event(j, JOB_ON_CLEAN, NULL);
}

void job_do_end(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    struct runner *r = j->r;
    wh_autofree char *name = wh_steal(&j->display_name);
    wh_autofree char *result = wh_steal(&j->result);
    bool ours = jobrun_is_ours(j);
    if (ours)
        job_user_kill_left(&r->user, j->mark);
    r->job = NULL;
    r->served_ms = wh_mono_ms(); /* the place goes to whoever has gone without for longest */
    places_leave(j);
    jobrun_free(j);
    runner_job_ended(r, name, !ours ? NULL : result ? result : "lost");
}

void job_do_clean(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    renewal_stop(j);
    wh_later_cancel(&j->start_later);
    wh_later_cancel(&j->kill_later);
    wh_acquire_cancel(&j->acquire);
    builds_kill(j);
    if (worker_runs(j))
        worker_kill(j); /* its exit comes back here */
    else
        jobrun_check_end(j);
}

void job_do_leave(struct jobrun *j, struct wh_error *err)
{
    wh_log_error("job %s is given up: %s", j->display_name, err ? wh_error_text(err) : "no answer");
    job_do_clean(j, NULL);
}

void job_do_leave_kept(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    wh_log_warning(
        "job %s: the service could not be told of its end: the next start of the agent tries again",
        j->display_name);
    j->leave_kept = true;
    job_do_clean(j, NULL);
}

void job_do_leave_silently(struct jobrun *j, struct wh_error *err)
{
    if (err)
        wh_log_info("a job is not for us any more: %s", wh_error_text(err));
    else
        wh_log_info("leaving a job to others");
    job_do_clean(j, NULL);
}

/* It may be announced to us again, and then we may take it. */
void job_do_leave_for_retry(struct jobrun *j, struct wh_error *err)
{
    if (err)
        wh_log_error("a job is given up: %s", wh_error_text(err));
    else if (j->acquire)
        wh_log_info("the run service does not answer: leaving the job to others");
    else
        wh_log_info("no place for a job within a minute (--max-jobs): leaving it to others");
    runner_forget_request(j->r, j->job.request_id);
    job_do_clean(j, NULL);
}

void job_do_use_up(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    runner_end(j->r, RUNNER_REMOVED, NULL);
    job_do_clean(j, NULL);
}

/* ---- completing a job whose worker can't ---- */

/* The time of whoever was told something is over. */
static void on_given_up(void *data)
{
    job_event(data, JOB_ON_GIVEN_UP, NULL);
}

static void give_up_in(struct jobrun *j, uint64_t ms)
{
    wh_later(&j->kill_later, &j->r->d->loop, wh_wait_ms(ms, ms), on_given_up, j);
}

/* A stop doesn't wait for a service that is away. */
void jobrun_hurry_if_stopping(struct jobrun *j)
{
    wh_later_cancel(&j->kill_later);
    if (j->r->d->stopping)
        give_up_in(j, COMPLETE_STOPPED_MS);
}

static void on_completed(void *data, struct wh_error *err)
{
    struct jobrun *j = data;
    if (err)
        wh_log_warning("%s: %s", j->display_name, wh_error_text(err));
    keep_forget(j);
    job_event(j, JOB_ON_COMPLETED, err);
}

static void end_request(struct jobrun *j, enum wh_task_result result)
{
    wh_session_end_request(j->r->session, j->service, result, on_completed, j);
}

/* All else of the job was told by its worker. */
void job_do_end_request(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    jobrun_hurry_if_stopping(j);
    end_request(j, wh_task_result_parse(j->result));
}

/* With an old plan of V1 the request is still open. */
static void on_told(void *data, struct wh_error *err)
{
    struct jobrun *j = data;
    if (!wh_github_job_ends_by_request(j->service)) {
        on_completed(j, err);
        return;
    }
    if (err)
        wh_log_warning("%s: %s", j->display_name, wh_error_text(err));
    end_request(j, wh_task_result_parse(j->result));
}

static void complete_ourselves(struct jobrun *j, enum wh_task_result conclusion, const char *why)
{
    struct wh_annotation annotation = {.level = WH_ANNOTATION_FAILURE, .message = why};
    struct wh_github_completion completion = {.conclusion = conclusion};
    if (why) {
        completion.annotations = &annotation;
        completion.nannotations = 1;
    }
    free(j->result);
    j->result = wh_strdup(wh_task_result_text(conclusion));
    wh_log_info("job %s: %s%s%s", j->display_name, j->result, why ? ": " : "", why ? why : "");
    wh_github_job_complete(j->service, &completion, on_told, j);
}

void job_do_complete_canceled(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    complete_ourselves(j, WH_TASK_CANCELED, NULL);
}

void job_do_complete_stopped(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    complete_ourselves(j, WH_TASK_FAILED, shutdown_text);
}

void job_do_complete_failed(struct jobrun *j, struct wh_error *err)
{
    complete_ourselves(j, WH_TASK_FAILED,
                       err          ? wh_error_text(err)
                       : j->trouble ? j->trouble
                                    : "The job's worker could not be started.");
}

static char *worker_end_text(const struct jobrun *j)
{
    if (wh_streq(j->cancel_reason, "user"))
        return NULL;
    if (wh_streq(j->cancel_reason, "shutdown"))
        return wh_strdup(shutdown_text);
    if (j->died.signal)
        return wh_printf("The job's worker was ended by signal %d (%s) before the job was complete.",
                         j->died.signal, strsignal(j->died.signal));
    return wh_printf("The job's worker ended with code %d before the job was complete.", j->died.code);
}

void job_do_recover(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    jobrun_hurry_if_stopping(j);
    if (!j->trouble && j->died_known) {
        j->trouble = worker_end_text(j);
        j->recover_as = j->trouble ? WH_TASK_FAILED : WH_TASK_CANCELED;
    }
    if (!recover_worker(j))
        job_event(j, JOB_ON_NO_WORKER, NULL);
}

void job_do_complete_recovered(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    jobrun_hurry_if_stopping(j);
    complete_ourselves(j, j->recover_as, j->trouble);
}

void jobrun_worker_gone(struct jobrun *j, const struct wh_process_exit *how)
{
    j->died = *how;
    j->died_known = true;
    /* Before RUNNING the worker was only waiting: running it will say that it is gone. */
    bool open = j->worker_done && wh_github_job_ends_by_request(j->service);
    job_event(j,
              open             ? JOB_ON_WORKER_DONE_OPEN
              : j->worker_done ? JOB_ON_WORKER_DONE
                               : JOB_ON_WORKER_DIED,
              NULL);
}

/* ---- cancellation ---- */

static uint64_t cancel_limit(const struct jobrun *j)
{
    if (wh_streq(j->cancel_reason, "shutdown"))
        return STOP_MS;
    if (wh_streq(j->cancel_reason, "lost"))
        return LOST_MS;
    return WH_MAX(j->cancel_timeout_ms, (uint64_t)CANCEL_LEAST_MS) - CANCEL_MARGIN_MS;
}

void job_do_tell_worker(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    uint64_t limit = cancel_limit(j);
    wh_autojson *frame = cJSON_CreateObject();
    wh_autoerror trouble = {0};
    wh_json_add_string(frame, "type", "cancel");
    wh_json_add_string(frame, "reason", j->cancel_reason);
    wh_json_add_int(frame, "graceMs", (int64_t)limit);
    if (worker_send(j, frame, &trouble))
        wh_log_warning("%s", wh_error_text(&trouble));
    give_up_in(j, limit);
}

void job_do_kill(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    wh_log_warning("job %s did not end in time after its cancellation: killing its worker", j->display_name);
    worker_kill(j);
    builds_kill(j);
}

void job_do_lose(struct jobrun *j, struct wh_error *err)
{
    wh_log_error("job %s is lost: %s", j->display_name, err ? wh_error_text(err) : "its lock is gone");
    j->cancel_reason = "lost";
    free(j->result);
    j->result = wh_strdup("lost");
    job_do_tell_worker(j, NULL);
}

void job_do_note_cancel(struct jobrun *j, struct wh_error *err)
{
    (void)j, (void)err; /* cancel_reason is set */
}

void job_do_note_stop(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    give_up_in(j, STOP_MS);
}

/* Not ours yet. An answer under way may make it ours, and then it must not be left "in progress" until its
 * lock runs out; where the service cannot even be asked there is nothing to wait for. */
void job_do_hurry(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    if (wh_acquire_end_soon(j->acquire))
        give_up_in(j, STOP_MS);
    else
        job_event(j, JOB_ON_GIVEN_UP, NULL);
}

void jobrun_drain(struct jobrun *j)
{
    job_event(j, JOB_ON_DRAIN, NULL);
}

void jobrun_cancel(struct jobrun *j, const char *reason, uint64_t timeout_ms)
{
    /* A repeat changes nothing, so that it can't put the kill off; a shutdown is harder than a user's wish.
     */
    if (j->cancel_reason && (wh_streq(reason, "user") || wh_streq(j->cancel_reason, reason)))
        return;
    j->cancel_reason = reason;
    j->cancel_timeout_ms = timeout_ms;
    wh_log_info("job %s is being cancelled (%s)", j->display_name, reason);
    job_event(j, wh_streq(reason, "user") ? JOB_ON_CANCEL : JOB_ON_STOP, NULL);
}

void jobrun_lost(struct jobrun *j, const char *why)
{
    wh_autoerror err = {0};
    if (j->worker_done)
        return; /* the completion is out: a job that is gone is what it should be */
    wh_fail(&err, WH_E_FAILED, "%s", why);
    job_event(j, JOB_ON_LOCK_LOST, &err);
}
