/* The lock of a job: first renew, then each minute until the job is over (runner-protocol.md §4.4). */
#include "daemon/daemon.h"

#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define RENEW_EVERY_MS 60000
#define FIRST_RENEW_TRIES 6
#define LOCK_DEFAULT_NS ((int64_t)600 * 1000000000) /* where the service names no end */
#define LOCK_MOST_MS ((uint64_t)15 * 60 * 1000)     /* a whole lock and its grace */
#define LOCK_LEAST_NS ((int64_t)60 * 1000000000)
#define LOCK_GRACE_MS ((uint64_t)300 * 1000)

static void renew(void *data);

static void again(struct jobrun *j, uint64_t min_ms, uint64_t max_ms)
{
    wh_later(&j->renewal.later, &j->r->d->loop, wh_wait_ms(min_ms, max_ms), renew, j);
}

/* A V1 renewal may have told that somebody renamed the runner on GitHub. */
static void adopt_name(const struct runner *r)
{
    struct wh_runner_config *c = r->config, *registered = runner_registered(r);
    const char *name = wh_session_agent_name(r->session);
    wh_autoerror err = {0};
    if (wh_streq(name, c->agent_name ? c->agent_name : c->name))
        return;
    free(c->agent_name);
    c->agent_name = wh_strdup(name);
    if (registered != c) {
        free(registered->agent_name);
        registered->agent_name = wh_strdup(name);
    }
    if (wh_runner_config_save(r->d->options->state, registered, &err))
        wh_log_warning("keep its new name: %s", wh_error_text(&err));
}

/* The service names the end by its own clock; it is kept by one that nobody sets. (Asleep, that clock stands:
 * after it, the service's 404 says what the lock is worth.) */
static void hold_until(struct jobrun *j, int64_t until_ns)
{
    int64_t service_ns = wh_now_ns() + wh_http_client_clock_skew(j->r->d->http) * 1000000000;
    int64_t left_ns = until_ns ? WH_MAX(until_ns - service_ns, LOCK_LEAST_NS) : LOCK_DEFAULT_NS;
    j->renewal.locked_until_ns = wh_now_ns() + left_ns; /* for people */
    j->renewal.lost_at_ms = wh_mono_ms() + (uint64_t)left_ns / 1000000 + LOCK_GRACE_MS;
}

static void renewed(struct jobrun *j, int64_t locked_until_ns)
{
    adopt_name(j->r);
    if (j->renewal.errors)
        wh_log_info("the job's lock is renewed again");
    j->renewal.errors = 0;
    hold_until(j, locked_until_ns);
    again(j, RENEW_EVERY_MS, RENEW_EVERY_MS);
    if (j->state == JOB_RENEWING)
        jobrun_first_renewed(j, true, NULL);
}

static void first_failed(struct jobrun *j, int status, struct wh_error *err)
{
    /* A job of before a restart is ours as long as its lock may hold: the network may come up later than we.
     */
    bool patient = j->recovering && wh_mono_ms() - j->renewal.started_ms < LOCK_MOST_MS;
    if (status == 404 || (j->renewal.errors >= FIRST_RENEW_TRIES && !patient)) {
        renewal_stop(j);
        jobrun_first_renewed(j, false, err);
        return;
    }
    wh_log_warning("first renew: %s; trying again", wh_error_text(err));
    again(j, 1000, 10000);
}

static void on_renewed(void *data, int status, int64_t locked_until_ns, struct wh_error *err)
{
    struct jobrun *j = data;
    if (j->renewal.stopped)
        return;
    if (!err) {
        renewed(j, locked_until_ns);
        return;
    }
    j->renewal.errors++;
    if (j->state == JOB_RENEWING) {
        first_failed(j, status, err);
        return;
    }
    bool expired = wh_mono_ms() > j->renewal.lost_at_ms;
    if (status == 404 || expired) {
        renewal_stop(j);
        jobrun_lost(j, status == 404 ? "the service does not know the job any more"
                                     : "the job's lock ran out: the service could not be reached");
        return;
    }
    wh_log_warning("renew the job's lock: %s; trying again", wh_error_text(err));
    if (j->renewal.errors <= 5)
        again(j, 5000, 15000);
    else
        again(j, 15000, 30000);
}

static void renew(void *data)
{
    struct jobrun *j = data;
    wh_session_renew(j->r->session, j->service, on_renewed, j);
}

void renewal_start(struct jobrun *j)
{
    j->renewal.started_ms = wh_mono_ms();
    hold_until(j, 0);
    renew(j);
}

void renewal_stop(struct jobrun *j)
{
    j->renewal.stopped = true;
    wh_session_renew_cancel(j->r->session);
    wh_later_cancel(&j->renewal.later);
}
