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

#define PLACE_WAIT_MS 60000 /* half of the time in which an announced job can be acquired */

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
    if (j->services)
        cJSON_AddItemToObject(options, "services", wh_steal(&j->services));
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

static cJSON *services_of(struct jobrun *j, const cJSON *message)
{
    wh_autoerror err = {0};
    if (!j->r->d->serve)
        return NULL;
    cJSON *services = wh_serve_job(j->r->d->serve, j->mark, message, NULL, &err);
    if (!services)
        wh_log_warning("job %s uses GitHub's own cache: %s", j->display_name, wh_error_text(&err));
    return services;
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
    j->services = services_of(j, message);
    bool cancelled = runner_take_cancel(j->r, wh_github_job_id(j->service), &timeout_ms);
    job_event(j, JOB_ON_ACQUIRED, NULL);
    if (cancelled)
        jobrun_cancel(j, "user", timeout_ms);
}

void job_do_renew(struct jobrun *j, struct wh_error *err)
{
    (void)err;
    jobrun_hurry_if_stopping(j); /* or else takes the limit of a drain away: it is ours now */
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
    if (!j->kept && !j->job.is_job) /* such a message comes again until it is deleted */
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
    j->job.is_job = job->is_job;
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
