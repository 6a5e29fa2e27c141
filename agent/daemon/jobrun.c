/* One job, from its announcement to its end (runner-protocol.md §4, §6, §9.1). What comes after what is in
 * life.c; here what happened becomes an event, and the actions are done. */
#include <stdio.h>
#include <sys/utsname.h>

#include "daemon/actions.h"
#include "wherry/base/clock.h"
#include "wherry/base/digest.h"
#include "wherry/base/log.h"
#include "wherry/github/actions.h"
#include "wherry/github/register.h"

#define CANCEL_LEAST_MS 60000 /* a time-out below this counts as this */
#define CANCEL_MARGIN_MS 15000
#define STOP_MS 30000
#define LOST_MS 60000
#define ACQUIRE_DRAIN_MS 5000
#define COMPLETE_STOPPED_MS 10000 /* for the completion of a killed worker's job while the agent stops */

static const char shutdown_text[] = "The runner has received a shutdown signal. This can happen when the "
                                    "runner service is stopped, or a manually "
                                    "started runner is canceled.";

#define PLACE_WAIT_MS 60000 /* half of the time in which an announced job can be acquired */

/* ---- the end ---- */

static void jobrun_free(struct jobrun *j)
{
    renewal_stop(j);
    wh_later_cancel(&j->start_later);
    wh_later_cancel(&j->kill_later);
    wh_acquire_cancel(&j->acquire);
    worker_drop(j);
    if (!j->leave_kept)
        keep_forget(j);
    cJSON_Delete(j->kept);
    wh_github_job_free(j->service);
    wh_broker_message_clear(&j->job);
    cJSON_Delete(j->message);
    cJSON_Delete(j->scope);
    wh_github_action_facts_free(j->facts);
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

static void on_completed(void *data, struct wh_error *err)
{
    struct jobrun *j = data;
    if (err)
        wh_log_warning("%s: %s", j->display_name, wh_error_text(err));
    keep_forget(j);
    job_event(j, JOB_ON_COMPLETED, err);
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
    wh_github_job_complete(j->service, &completion, on_completed, j);
}

/* The time of whoever was told something is over. */
static void on_given_up(void *data)
{
    job_event(data, JOB_ON_GIVEN_UP, NULL);
}

static void give_up_in(struct jobrun *j, uint64_t ms)
{
    wh_later(&j->kill_later, &j->r->d->loop, wh_wait_ms(ms, ms), on_given_up, j);
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

/* A stop doesn't wait for a service that is away. */
static void hurry_if_stopping(struct jobrun *j)
{
    wh_later_cancel(&j->kill_later);
    if (j->r->d->stopping)
        give_up_in(j, COMPLETE_STOPPED_MS);
}

void job_do_recover(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    hurry_if_stopping(j);
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
    hurry_if_stopping(j);
    complete_ourselves(j, j->recover_as, j->trouble);
}

void jobrun_worker_gone(struct jobrun *j, const struct wh_process_exit *how)
{
    j->died = *how;
    j->died_known = true;
    /* Before RUNNING the worker was only waiting: running it will say that it is gone. */
    job_event(j, j->worker_done ? JOB_ON_WORKER_DONE : JOB_ON_WORKER_DIED, NULL);
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

/* Not ours yet. A service that answers will make it ours in a moment; another one is not waited for. */
void job_do_hurry(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    give_up_in(j, ACQUIRE_DRAIN_MS);
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

/* ---- running ---- */

cJSON *jobrun_runner_object(const struct jobrun *j)
{
    struct utsname uts = {0};
    const struct wh_runner_config *c = j->r->config;
    uname(&uts);
    cJSON *runner = cJSON_CreateObject();
    wh_json_add_string(runner, "name", c->agent_name ? c->agent_name : c->name);
    wh_json_add_string(runner, "version", WH_VERSION);
    wh_json_add_string(runner, "os", "Linux");
    wh_json_add_string(runner, "arch", wh_runner_architecture());
    wh_json_add_string(runner, "group", c->group);
    wh_json_add_string(runner, "machine", uts.nodename);
    wh_json_add_string(runner, "workDir", c->work);
    return runner;
}

static int send_job(struct jobrun *j, struct wh_error *err)
{
    wh_autojson *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "job");
    cJSON_AddItemToObject(frame, "message", wh_steal(&j->message));
    cJSON_AddItemToObject(frame, "runner", jobrun_runner_object(j));
    cJSON *options = cJSON_AddObjectToObject(frame, "options");
    const struct wh_daemon_options *o = j->r->d->options;
    if (o->log_spool)
        wh_json_add_int(options, "logSpoolMiB", (int64_t)(o->log_spool >> 20));
    if (o->log_wait_s >= 0)
        wh_json_add_int(options, "logWaitSeconds", o->log_wait_s);
    return worker_send(j, frame, err);
}

static void start_worker(void *data)
{
    struct jobrun *j = data;
    wh_autoerror err = {0};
    if (worker_start(j, &err)) {
        wh_log_error("%s", wh_error_text(&err));
        j->trouble = wh_printf("The job's worker could not be started: %s", wh_error_text(&err));
    }
}

static enum job_event renewed_event(const struct jobrun *j)
{
    if (j->recovering)
        return JOB_ON_RENEWED_FOUND;
    if (wh_streq(j->cancel_reason, "user"))
        return JOB_ON_RENEWED_CANCELLED;
    if (wh_streq(j->cancel_reason, "shutdown"))
        return JOB_ON_RENEWED_STOPPED;
    return worker_runs(j) ? JOB_ON_RENEWED : JOB_ON_RENEWED_NO_WORKER;
}

void jobrun_first_renewed(struct jobrun *j, bool ok, struct wh_error *err)
{
    wh_autoerror trouble = {0};
    if (ok && j->start_later) {
        wh_later_cancel(&j->start_later);
        start_worker(j);
    }
    enum job_event event = ok ? renewed_event(j) : JOB_ON_NOT_RENEWED;
    if (event == JOB_ON_RENEWED && send_job(j, &trouble)) {
        event = JOB_ON_RENEWED_NO_WORKER;
        err = &trouble;
    }
    job_event(j, event, err);
}

void job_do_run(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    wh_log_info("running job %s (%llu ms after its announcement)", j->display_name,
                (unsigned long long)(wh_mono_ms() - j->announced_ms));
}

/* ---- acquiring ---- */

void jobrun_name(struct jobrun *j, const cJSON *message)
{
    const char *name = wh_json_string(message, "jobDisplayName");
    free(j->display_name);
    j->display_name =
        name && *name ? wh_strndup(name, strnlen(name, 200)) : wh_strdup(wh_github_job_id(j->service));
}

static void acquired(struct jobrun *j, cJSON *message)
{
    wh_autoerror err = {0};
    uint64_t timeout_ms;
    j->message = message;
    j->service = wh_github_job_new(j->r->d->http, message, &err);
    if (!j->service) {
        /* Nothing can be reported without its ids and token: the service ends it when its lock runs out. */
        job_event(j, JOB_ON_UNREADABLE, &err);
        return;
    }
    jobrun_name(j, message);
    keep_acquired(j, message);
    j->scope = builds_scope(message);
    j->facts = wh_github_action_facts(message);
    bool cancelled = runner_take_cancel(j->r, wh_github_job_id(j->service), &timeout_ms);
    job_event(j, JOB_ON_ACQUIRED, NULL);
    if (cancelled)
        jobrun_cancel(j, "user", timeout_ms);
}

void job_do_renew(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    wh_later_cancel(&j->kill_later); /* of a drain: it is ours now */
    renewal_start(j);
}

static void on_acquired(void *data, enum wh_outcome outcome, cJSON **message, struct wh_error *err)
{
    struct jobrun *j = data;
    j->acquire = NULL;
    if (outcome == WH_OUT_OK)
        acquired(j, wh_steal(message));
    else
        job_event(j, outcome == WH_OUT_SKIP ? JOB_ON_NOT_OURS : JOB_ON_NOT_ACQUIRED, err);
}

void job_do_acquire(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    j->acquire = wh_session_acquire(j->r->session, &j->job, on_acquired, j);
}

static void on_acknowledged(void *data, enum wh_outcome outcome, struct wh_error *err)
{
    struct jobrun *j = data;
    if (err)
        wh_log_debug("acknowledge: %s", wh_error_text(err));
    if (outcome == WH_OUT_SKIP && j->r->config->ephemeral)
        job_event(j, JOB_ON_USED_UP, err); /* by somebody else */
    else if (j->r->end_wanted || j->r->drained)
        job_event(j, JOB_ON_UNWANTED, NULL);
    else
        job_event(j, JOB_ON_ACKNOWLEDGED, NULL);
}

void job_do_acknowledge(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    wh_session_acknowledge(j->r->session, &j->job, on_acknowledged, j);
}

static void on_waited(void *data)
{
    job_event(data, JOB_ON_WAITED, NULL);
}

void job_do_wait(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    wh_log_info("a job waits for a place: %u run already (--max-jobs)", j->r->d->places.taken);
    wh_later(&j->kill_later, &j->r->d->loop, wh_wait_ms(PLACE_WAIT_MS, PLACE_WAIT_MS), on_waited, j);
}

void jobrun_begin(struct jobrun *j)
{
    wh_later_cancel(&j->kill_later);
    if (!j->kept)
        keep_announced(j);
    /* While the service answers, the worker starts; it waits for the job's frame. Not before a request is
     * out: the start of a process keeps the loop for milliseconds. */
    wh_later(&j->start_later, &j->r->d->loop, 1, start_worker, j);
    job_event(j, j->job.should_acknowledge ? JOB_ON_BEGIN : JOB_ON_BEGIN_SILENT, NULL);
}

struct jobrun *jobrun_new(struct runner *r, const struct wh_broker_message *job)
{
    struct jobrun *j = wh_calloc(1, sizeof *j);
    j->r = r;
    j->state = JOB_ANNOUNCED;
    j->job.type = job->type;
    j->job.request_id = wh_strdup(job->request_id ? job->request_id : "");
    j->job.run_service_url = wh_strdup(job->run_service_url);
    j->job.billing_owner_id = wh_strdup(job->billing_owner_id);
    j->job.should_acknowledge = job->should_acknowledge;
    wh_guid(j->mark);
    j->display_name = wh_strdup(j->job.request_id);
    j->announced_ms = wh_mono_ms();
    j->worker.process = WH_PROCESS_NONE;
    j->worker.cgroup = WH_JOB_CGROUP_NONE;
    r->job = j;
    return j;
}

void jobrun_start(struct runner *r, const struct wh_broker_message *job)
{
    struct jobrun *j = jobrun_new(r, job);
    if (places_take(j))
        jobrun_begin(j);
    else
        job_event(j, JOB_ON_FULL, NULL);
}
