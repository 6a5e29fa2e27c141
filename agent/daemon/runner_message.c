/* What a runner does with the broker's messages (runner-protocol.md §3.6). */
#include "daemon/actions.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define CANCEL_MEMORY_MS 60000
#define CANCEL_PAUSE_MIN_MS 1000
#define CANCEL_PAUSE_MAX_MS 10000
#define REPEAT_MIN_MS 1000 /* before a poll that may bring the same message again */
#define REPEAT_MAX_MS 2000

/* ---- jobs ---- */

static bool knows_request(const struct runner *r, const char *request_id)
{
    for (size_t i = 0; i < WH_MAX_KNOWN_REQUESTS; i++)
        if (r->requests[i] && wh_streq(r->requests[i], request_id))
            return true;
    return false;
}

bool runner_know_request(struct runner *r, const char *request_id)
{
    if (knows_request(r, request_id))
        return true;
    free(r->requests[r->next_request]);
    r->requests[r->next_request] = wh_strdup(request_id);
    r->next_request = (r->next_request + 1) % WH_MAX_KNOWN_REQUESTS;
    return false;
}

void runner_forget_request(struct runner *r, const char *request_id)
{
    for (size_t i = 0; i < WH_MAX_KNOWN_REQUESTS; i++)
        if (wh_streq(r->requests[i], request_id)) {
            free(r->requests[i]);
            r->requests[i] = NULL;
        }
}

void do_take_job(struct runner *r, const struct runner_cause *cause)
{
    const struct wh_broker_message *m = cause->message;
    if (runner_know_request(r, m->request_id)) {
        wh_log_debug("announced again: %s", m->request_id);
        runner_poll_in(r, wh_wait_ms(REPEAT_MIN_MS, REPEAT_MAX_MS));
        return;
    }
    jobrun_start(r, m);
    runner_poll_now(r); /* as Busy: a cancellation comes this way */
}

void do_leave_job(struct runner *r, const struct runner_cause *cause)
{
    if (r->job && knows_request(r, cause->message->request_id))
        wh_log_debug("announced again: %s", cause->message->request_id);
    else
        wh_log_info("not taking another job now");
    runner_poll_in(r, wh_wait_ms(REPEAT_MIN_MS, REPEAT_MAX_MS));
}

/* ---- cancellations ---- */

static void remember_cancel(struct runner *r, const char *job_id, uint64_t timeout_ms)
{
    struct known_cancel *c = &r->cancels[r->next_cancel];
    free(c->job_id);
    c->job_id = wh_strdup(job_id);
    c->at_ms = wh_mono_ms();
    c->timeout_ms = timeout_ms;
    r->next_cancel = (r->next_cancel + 1) % WH_MAX_KNOWN_CANCELS;
}

bool runner_take_cancel(struct runner *r, const char *job_id, uint64_t *timeout_ms)
{
    for (size_t i = 0; i < WH_MAX_KNOWN_CANCELS; i++) {
        const struct known_cancel *c = &r->cancels[i];
        if (wh_streq_ci(c->job_id, job_id) && c->job_id && wh_mono_ms() - c->at_ms < CANCEL_MEMORY_MS) {
            *timeout_ms = c->timeout_ms;
            return true;
        }
    }
    return false;
}

void do_cancel(struct runner *r, const struct runner_cause *cause)
{
    const struct wh_broker_message *m = cause->message;
    struct jobrun *j = r->job;
    if (j && j->service && wh_streq_ci(wh_github_job_id(j->service), m->job_id))
        jobrun_cancel(j, "user", m->timeout_ms);
    else
        remember_cancel(r, m->job_id, m->timeout_ms);
    /* The broker repeats it on every poll until the job is over. */
    if (!wh_streq_ci(r->last_cancel, m->job_id)) {
        free(r->last_cancel);
        r->last_cancel = wh_strdup(m->job_id);
        r->cancel_pause_ms = CANCEL_PAUSE_MIN_MS;
        runner_poll_now(r);
        return;
    }
    runner_poll_in(r, wh_wait_ms(r->cancel_pause_ms, r->cancel_pause_ms));
    r->cancel_pause_ms = WH_MIN(r->cancel_pause_ms * 2, (uint64_t)CANCEL_PAUSE_MAX_MS);
}

/* ---- the others ---- */

void do_shut_down(struct runner *r, const struct runner_cause *cause)
{
    const char *reason = cause->message->reason;
    wh_log_info("the service asks this runner to end%s%s", reason ? ": " : "", reason ? reason : "");
    r->keep_session = true;
    runner_end(r, RUNNER_STOPPED, NULL);
}

void do_migrate(struct runner *r, const struct runner_cause *cause)
{
    wh_log_info("the broker is now %s", cause->message->broker_url);
    wh_session_migrate(r->session, cause->message->broker_url);
    runner_leave_poll(r); /* if one is under way, it is at the former */
    runner_poll_now(r);
}

void do_refresh_token(struct runner *r, const struct runner_cause *cause)
{
    (void)cause;
    wh_session_drop_token(r->session);
    runner_poll_now(r);
}

void do_learn_version(struct runner *r, const struct runner_cause *cause)
{
    wh_log_debug("%s is for GitHub's own binary", cause->message->type_text);
    daemon_learn_version(r->d);
    runner_poll_in(r, wh_wait_ms(REPEAT_MIN_MS, REPEAT_MAX_MS));
}

void do_pass_over(struct runner *r, const struct runner_cause *cause)
{
    wh_log_info("a message of type %.60s is not known and passed over", cause->message->type_text);
    runner_poll_in(r, wh_wait_ms(REPEAT_MIN_MS, REPEAT_MAX_MS));
}

void runner_handle(struct runner *r, const struct wh_broker_message *m)
{
    static const enum runner_event events[] = {[WH_MESSAGE_JOB] = ON_JOB,
                                               [WH_MESSAGE_CANCEL] = ON_CANCEL,
                                               [WH_MESSAGE_REFRESH] = ON_REFRESH,
                                               [WH_MESSAGE_SHUTDOWN] = ON_SHUTDOWN,
                                               [WH_MESSAGE_MIGRATION] = ON_MIGRATION,
                                               [WH_MESSAGE_TOKEN_REFRESH] = ON_TOKEN_REFRESH,
                                               [WH_MESSAGE_CONFIG] = ON_CONFIG,
                                               [WH_MESSAGE_OTHER] = ON_OTHER};
    struct runner_cause cause = {.message = m};
    enum runner_event event = (size_t)m->type < WH_COUNT(events) ? events[m->type] : ON_OTHER;
    if (event == ON_JOB && (r->job || r->end_wanted || r->drained || r->d->draining))
        event = ON_JOB_UNWANTED;
    runner_event(r, event, &cause);
}
