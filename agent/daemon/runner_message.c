/* What a runner does with the broker's messages (runner-protocol.md §3.6). */
#include "daemon/daemon.h"

#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define CANCEL_MEMORY_MS 60000
#define CANCEL_PAUSE_MIN_MS 1000
#define CANCEL_PAUSE_MAX_MS 10000

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

static void on_job(struct runner *r, const struct wh_broker_message *m)
{
    if (r->job && knows_request(r, m->request_id)) {
        wh_log_debug("%s: announced again: %s", r->config->name, m->request_id);
        runner_poll_in(r, wh_wait_ms(1000, 2000));
        return;
    }
    if (r->job || r->end_wanted || r->d->draining) {
        /* Neither acknowledged nor acquired: the service gives it to another runner. */
        wh_log_info("%s: not taking another job now", r->config->name);
        runner_poll_in(r, wh_wait_ms(1000, 2000));
        return;
    }
    if (runner_know_request(r, m->request_id)) {
        wh_log_debug("%s: announced again: %s", r->config->name, m->request_id);
        runner_poll_in(r, wh_wait_ms(1000, 2000));
        return;
    }
    jobrun_start(r, m);
    runner_poll_now(r); /* as Busy: a cancellation comes this way */
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

static void on_cancel(struct runner *r, const struct wh_broker_message *m)
{
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

/* ---- all ---- */

void runner_handle(struct runner *r, const struct wh_broker_message *m)
{
    switch (m->type) {
    case WH_MESSAGE_JOB:
        on_job(r, m);
        return;
    case WH_MESSAGE_CANCEL:
        on_cancel(r, m);
        return;
    case WH_MESSAGE_SHUTDOWN:
        wh_log_info("%s: the service asks this runner to end%s%s", r->config->name, m->reason ? ": " : "",
                    m->reason ? m->reason : "");
        r->keep_session = true;
        runner_end(r, WH_RUN_DONE, NULL);
        return;
    case WH_MESSAGE_MIGRATION:
        wh_log_info("%s: the broker is now %s", r->config->name, m->broker_url);
        wh_session_migrate(r->session, m->broker_url);
        runner_poll_now(r);
        return;
    case WH_MESSAGE_TOKEN_REFRESH:
        wh_session_drop_token(r->session);
        runner_poll_now(r);
        return;
    case WH_MESSAGE_REFRESH:
        wh_log_debug("%s: %s is for GitHub's own binary", r->config->name, m->type_text);
        daemon_learn_version(r->d);
        runner_poll_in(r, wh_wait_ms(1000, 2000));
        return;
    case WH_MESSAGE_OTHER:
        wh_log_info("%s: a message of type %.60s is not known and passed over", r->config->name,
                    m->type_text);
        runner_poll_in(r, wh_wait_ms(1000, 2000));
        return;
    }
}
