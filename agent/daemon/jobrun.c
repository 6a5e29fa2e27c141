/* One job, from its announcement to its end (runner-protocol.md §4, §6, §9.1). */
#include <stdio.h>
#include <sys/utsname.h>

#include "daemon/daemon.h"
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
    cJSON_Delete(j->message);
    cJSON_Delete(j->scope);
    wh_github_action_facts_free(j->facts);
    free(j->request_id);
    free(j->display_name);
    free(j->step);
    free(j->trouble);
    free(j);
}

void jobrun_check_end(struct jobrun *j)
{
    if (j->state != JOB_ENDING || worker_runs(j) || builds_any(j))
        return;
    struct runner *r = j->r;
    bool taken = j->service != NULL;
    if (taken)
        job_user_kill_left(&r->user, j->mark);
    jobrun_free(j);
    runner_job_ended(r, taken);
}

void jobrun_end(struct jobrun *j)
{
    j->state = JOB_ENDING;
    renewal_stop(j);
    wh_later_cancel(&j->start_later);
    wh_later_cancel(&j->kill_later);
    builds_kill(j);
    if (worker_runs(j))
        worker_kill(j); /* its exit comes back here */
    else
        jobrun_check_end(j);
}

/* ---- completing a job whose worker can't ---- */

static void on_completed(void *data, struct wh_error *err)
{
    struct jobrun *j = data;
    if (err)
        wh_log_warning("%s: %s", j->display_name, wh_error_text(err));
    keep_forget(j);
    jobrun_end(j);
}

static void complete_ourselves(struct jobrun *j, enum wh_task_result conclusion, const char *why)
{
    struct wh_annotation annotation = {.level = WH_ANNOTATION_FAILURE, .message = why};
    struct wh_github_completion completion = {.conclusion = conclusion};
    if (why) {
        completion.annotations = &annotation;
        completion.nannotations = 1;
    }
    j->state = JOB_COMPLETING;
    wh_log_info("%s: job %s: %s%s%s", j->r->config->name, j->display_name, wh_task_result_text(conclusion),
                why ? ": " : "", why ? why : "");
    wh_github_job_complete(j->service, &completion, on_completed, j);
}

/* A stop doesn't wait for a service that is away. */
static void give_up(void *data)
{
    struct jobrun *j = data;
    wh_log_warning(
        "job %s: the service could not be told of its end: the next start of the agent tries again",
        j->display_name);
    j->leave_kept = true;
    jobrun_end(j);
}

static char *worker_end_text(const struct jobrun *j, const struct wh_process_exit *how)
{
    if (wh_streq(j->cancel_reason, "user"))
        return NULL;
    if (wh_streq(j->cancel_reason, "shutdown"))
        return wh_strdup(shutdown_text);
    if (how->signal)
        return wh_printf("The job's worker was ended by signal %d (%s) before the job was complete.",
                         how->signal, strsignal(how->signal));
    return wh_printf("The job's worker ended with code %d before the job was complete.", how->code);
}

/* It died in the middle of its job. */
static void worker_died(struct jobrun *j, const struct wh_process_exit *how)
{
    wh_autofree char *why = worker_end_text(j, how);
    enum wh_task_result conclusion = why ? WH_TASK_FAILED : WH_TASK_CANCELED;
    bool again = j->recovering; /* what we knew before this one counts */
    if (!recover_worker(j, conclusion, why)) {
        if (j->recovering)
            complete_ourselves(j, j->recover_as, again ? j->trouble : why);
        else
            complete_ourselves(j, conclusion, why);
    }
    if (j->r->d->stopping)
        wh_later(&j->kill_later, &j->r->d->loop, wh_wait_ms(COMPLETE_STOPPED_MS, COMPLETE_STOPPED_MS),
                 give_up, j);
}

void jobrun_worker_gone(struct jobrun *j, const struct wh_process_exit *how)
{
    wh_later_cancel(&j->kill_later);
    if (j->state == JOB_ENDING) {
        jobrun_check_end(j);
        return;
    }
    bool lost = wh_streq(j->cancel_reason, "lost");
    if (j->state == JOB_RUNNING && !j->worker_done && !lost)
        worker_died(j, how);
    else if (j->state == JOB_RUNNING)
        jobrun_end(j);
    /* Before that state the worker was only waiting: running it will say that it is gone. */
}

/* ---- cancellation ---- */

static void kill_now(void *data)
{
    struct jobrun *j = data;
    wh_log_warning("job %s did not end in time after its cancellation: killing its worker", j->display_name);
    worker_kill(j);
    builds_kill(j);
}

static uint64_t cancel_limit(const struct jobrun *j)
{
    if (wh_streq(j->cancel_reason, "shutdown"))
        return STOP_MS;
    if (wh_streq(j->cancel_reason, "lost"))
        return LOST_MS;
    return WH_MAX(j->cancel_timeout_ms, (uint64_t)CANCEL_LEAST_MS) - CANCEL_MARGIN_MS;
}

static void tell_worker(struct jobrun *j)
{
    uint64_t limit = cancel_limit(j);
    wh_autojson *frame = cJSON_CreateObject();
    wh_autoerror err = {0};
    wh_json_add_string(frame, "type", "cancel");
    wh_json_add_string(frame, "reason", j->cancel_reason);
    wh_json_add_int(frame, "graceMs", (int64_t)limit);
    if (worker_send(j, frame, &err))
        wh_log_warning("%s", wh_error_text(&err));
    wh_later(&j->kill_later, &j->r->d->loop, wh_wait_ms(limit, limit), kill_now, j);
}

static void stop_unstarted(struct jobrun *j)
{
    if (j->state == JOB_ACQUIRING) {
        wh_acquire_cancel(&j->acquire);
        jobrun_end(j);
    } else if (j->state == JOB_FIRST_RENEW || j->state == JOB_COMPLETING) {
        wh_later(&j->kill_later, &j->r->d->loop, wh_wait_ms(STOP_MS, STOP_MS), give_up, j);
    }
}

static void acquire_over(void *data)
{
    struct jobrun *j = data;
    if (j->state != JOB_ACQUIRING)
        return;
    wh_log_info("the run service does not answer: leaving the job to others");
    wh_acquire_cancel(&j->acquire);
    jobrun_end(j);
}

void jobrun_drain(struct jobrun *j)
{
    /* Not ours yet. A service that answers will make it ours in a moment; another one is not waited for. */
    if (j->state == JOB_ACKNOWLEDGING || j->state == JOB_ACQUIRING)
        wh_later(&j->kill_later, &j->r->d->loop, wh_wait_ms(ACQUIRE_DRAIN_MS, ACQUIRE_DRAIN_MS), acquire_over,
                 j);
}

void jobrun_cancel(struct jobrun *j, const char *reason, uint64_t timeout_ms)
{
    /* A repeat changes nothing, so that it can't put the kill off; a shutdown or a loss is harder than a
     * user's wish. */
    if (j->cancel_reason && (wh_streq(reason, "user") || wh_streq(j->cancel_reason, reason)))
        return;
    j->cancel_reason = reason;
    j->cancel_timeout_ms = timeout_ms;
    wh_log_info("job %s is being cancelled (%s)", j->display_name, reason);
    if (j->state == JOB_RUNNING)
        tell_worker(j);
    else if (wh_streq(reason, "shutdown"))
        stop_unstarted(j);
}

void jobrun_lost(struct jobrun *j, const char *why)
{
    if (j->state != JOB_RUNNING || j->worker_done)
        return; /* the completion is out: a job that is gone is what it should be */
    wh_log_error("job %s is lost: %s", j->display_name, why);
    jobrun_cancel(j, "lost", 0);
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

void jobrun_first_renewed(struct jobrun *j, bool ok, struct wh_error *err)
{
    wh_autoerror trouble = {0};
    if (ok && j->start_later) {
        wh_later_cancel(&j->start_later);
        start_worker(j);
    }
    if (!ok) {
        wh_log_error("job %s is given up: %s", j->display_name, wh_error_text(err));
        jobrun_end(j);
        return;
    }
    if (j->recovering) {
        j->state = JOB_RUNNING;
        if (worker_start(j, &trouble) || recover_send(j, &trouble)) {
            wh_log_error("%s", wh_error_text(&trouble));
            complete_ourselves(j, j->recover_as, j->trouble);
        }
        return;
    }
    if (wh_streq(j->cancel_reason, "user")) {
        complete_ourselves(j, WH_TASK_CANCELED, NULL);
        return;
    }
    if (wh_streq(j->cancel_reason, "shutdown")) {
        complete_ourselves(j, WH_TASK_FAILED, shutdown_text);
        return;
    }
    if (!worker_runs(j)) {
        complete_ourselves(j, WH_TASK_FAILED,
                           j->trouble ? j->trouble : "The job's worker could not be started.");
        return;
    }
    if (send_job(j, &trouble)) {
        complete_ourselves(j, WH_TASK_FAILED, wh_error_text(&trouble));
        return;
    }
    j->state = JOB_RUNNING;
    wh_log_info("%s: running job %s (%llu ms after its announcement)", j->r->config->name, j->display_name,
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
        wh_log_error("%s", wh_error_text(&err));
        jobrun_end(j);
        return;
    }
    jobrun_name(j, message);
    keep_acquired(j, message);
    j->scope = builds_scope(message);
    j->facts = wh_github_action_facts(message);
    if (runner_take_cancel(j->r, wh_github_job_id(j->service), &timeout_ms))
        jobrun_cancel(j, "user", timeout_ms);
    j->state = JOB_FIRST_RENEW;
    wh_later_cancel(&j->kill_later); /* of a drain: it is ours now */
    renewal_start(j);
}

static void on_acquired(void *data, enum wh_outcome outcome, cJSON **message, struct wh_error *err)
{
    struct jobrun *j = data;
    j->acquire = NULL;
    if (outcome == WH_OUT_OK) {
        acquired(j, wh_steal(message));
        return;
    }
    if (outcome == WH_OUT_SKIP) {
        wh_log_info("a job is not for us any more: %s", wh_error_text(err));
    } else {
        wh_log_error("a job is given up: %s", wh_error_text(err));
        runner_forget_request(j->r, j->request_id);
    }
    jobrun_end(j);
}

struct announcement {
    struct jobrun *j;
    struct wh_broker_message job;
};

void jobrun_acquire(struct jobrun *j, const struct wh_broker_message *job)
{
    /* While the service answers, the worker starts; it waits for the job's frame. Not before a request is
     * out: the start of a process keeps the loop for milliseconds. */
    if (!worker_runs(j) && !j->start_later)
        wh_later(&j->start_later, &j->r->d->loop, 1, start_worker, j);
    j->state = JOB_ACQUIRING;
    j->acquire = wh_session_acquire(j->r->session, job, on_acquired, j);
}

static void on_acknowledged(void *data, enum wh_outcome outcome, struct wh_error *err)
{
    struct announcement *a = data;
    struct jobrun *j = a->j;
    if (err)
        wh_log_debug("acknowledge: %s", wh_error_text(err));
    if (outcome == WH_OUT_SKIP && j->r->config->ephemeral) {
        j->r->removed = true; /* AcknowledgeJobNotFound: this runner was used up by somebody else */
        runner_end(j->r, WH_RUN_DONE, NULL);
        jobrun_end(j);
    } else if (j->r->end_wanted) {
        jobrun_end(j); /* told to stop meanwhile: others take it */
    } else {
        jobrun_acquire(j, &a->job);
    }
    wh_broker_message_clear(&a->job);
    free(a);
}

struct jobrun *jobrun_new(struct runner *r, const char *request_id)
{
    struct jobrun *j = wh_calloc(1, sizeof *j);
    j->r = r;
    j->request_id = wh_strdup(request_id ? request_id : "");
    wh_guid(j->mark);
    j->display_name = wh_strdup(j->request_id);
    j->announced_ms = wh_mono_ms();
    j->worker.process = WH_PROCESS_NONE;
    j->worker.cgroup = WH_JOB_CGROUP_NONE;
    r->job = j;
    return j;
}

void jobrun_start(struct runner *r, const struct wh_broker_message *job)
{
    struct jobrun *j = jobrun_new(r, job->request_id);
    keep_announced(j, job);
    if (!job->should_acknowledge) {
        jobrun_acquire(j, job);
        return;
    }
    wh_later(&j->start_later, &r->d->loop, 1, start_worker, j);
    struct announcement *a = wh_calloc(1, sizeof *a);
    a->j = j;
    a->job.type = job->type;
    a->job.request_id = wh_strdup(job->request_id);
    a->job.run_service_url = wh_strdup(job->run_service_url);
    a->job.billing_owner_id = wh_strdup(job->billing_owner_id);
    j->state = JOB_ACKNOWLEDGING;
    wh_session_acknowledge(r->session, job, on_acknowledged, a);
}
