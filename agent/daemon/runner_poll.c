/* A runner's long poll (runner-protocol.md §3.2): by which status, and what its answers mean. */
#include "daemon/actions.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define POLL_ERRORS_SHORT 5 /* waits; from then on twice as long */
#define POLL_ERRORS_TO_NEW_SESSION 10
#define EARLY_MS 1000       /* an empty answer before this: the service does not hold polls */
#define POLL_HELD_MS 100000 /* our own limit of a poll */

/* Only a runner that would take a job now is Online: the service then gives jobs to others. */
static bool is_busy(const struct runner *r)
{
    return r->job || r->end_wanted || r->drained || places_full(r->d);
}

void runner_drop_poll(struct runner *r)
{
    wh_session_poll_abort(r->session);
    r->polling = false;
}

/* Nobody answered at all: the network's trouble, in which the session lives on. */
static bool no_answer(const struct wh_error *err)
{
    return err && (err->code == WH_E_NETWORK || err->code == WH_E_TIMEOUT);
}

static enum runner_event poll_event(struct runner *r, enum wh_outcome outcome, const struct wh_error *err)
{
    uint64_t took = wh_mono_ms() - r->poll_started_ms;
    if (outcome == WH_OUT_EMPTY && took < POLL_HELD_MS - EARLY_MS)
        r->contact_ns = wh_now_ns();
    if (outcome == WH_OUT_EMPTY) {
        r->errors = r->denials = r->sessions_refused = 0;
        r->clock_bad_since_ms = 0;
        r->fresh_connection = false;
        return took < EARLY_MS ? ON_EMPTY_EARLY : ON_EMPTY;
    }
    enum runner_event event = runner_event_of(r, outcome);
    if (event == ON_FAILED || event == ON_CLOCK) {
        r->errors++;
        r->fresh_connection = true;
    }
    /* A new session after hours without a network would find the old one in its way. */
    bool often = r->errors >= POLL_ERRORS_TO_NEW_SESSION && !no_answer(err);
    return event == ON_FAILED && often ? ON_FAILED_OFTEN : event;
}

static void on_polled(void *data, enum wh_outcome outcome, const struct wh_broker_message *message,
                      struct wh_error *err)
{
    struct runner *r = data;
    r->polling = false;
    if (outcome == WH_OUT_OK) {
        r->contact_ns = wh_now_ns();
        r->errors = r->denials = r->sessions_refused = 0;
        r->clock_bad_since_ms = 0;
        r->fresh_connection = false;
        runner_handle(r, message);
    } else {
        struct runner_cause cause = {.err = err};
        runner_event(r, poll_event(r, outcome, err), &cause);
    }
}

/* What a poll brought in whose place another one had come. */
static void on_late_message(void *data, const struct wh_broker_message *message)
{
    struct runner *r = data;
    const char *before = wh_log_enter(r->name);
    wh_log_debug("a message came in a poll that was being left");
    runner_handle(r, message);
    (void)wh_log_enter(before);
}

void runner_leave_poll(struct runner *r)
{
    wh_session_poll_leave(r->session, on_late_message, r);
    r->polling = false;
}

void do_poll(struct runner *r, const struct runner_cause *cause)
{
    (void)cause;
    if (r->polling && r->polled_busy == is_busy(r))
        return; /* one is under way already */
    if ((r->end_wanted || r->drained) && !r->job) {
        runner_end_soon(r);
        return;
    }
    if (!r->job && !wh_streq(r->session_version, runner_version(r))) {
        runner_event(r, ON_NEW_VERSION, NULL);
        return;
    }
    wh_later_cancel(&r->later);
    runner_leave_poll(r);
    r->poll_started_ms = wh_mono_ms();
    r->polling = true;
    r->polled_busy = is_busy(r);
    wh_session_poll(r->session, r->polled_busy, r->fresh_connection, on_polled, r);
}

static void on_waited(void *data)
{
    runner_event(data, ON_WAITED, NULL);
}

void runner_poll_in(struct runner *r, uint64_t ms)
{
    if (r->state != RUNNER_LISTENING)
        return;
    if ((r->end_wanted || r->drained) && !r->job)
        runner_end_soon(r);
    else
        wh_later(&r->later, &r->d->loop, ms, on_waited, r);
}

void runner_poll_now(struct runner *r)
{
    runner_poll_in(r, 0);
}

void do_poll_later(struct runner *r, const struct runner_cause *cause)
{
    (void)cause; /* a service that does not hold polls must not be stormed */
    runner_poll_in(r, wh_wait_ms(POLL_RETRY_MIN_MS, POLL_RETRY_MAX_MS));
}

void do_poll_after_error(struct runner *r, const struct runner_cause *cause)
{
    runner_say_trouble(r, cause->err, "trying again");
    if (r->errors <= POLL_ERRORS_SHORT || no_answer(cause->err))
        runner_poll_in(r, wh_wait_ms(POLL_RETRY_MIN_MS, POLL_RETRY_MAX_MS));
    else
        runner_poll_in(r, wh_wait_ms(POLL_RETRY_MAX_MS, 2 * POLL_RETRY_MAX_MS));
}

static void on_status(void *data)
{
    runner_event(data, ON_STATUS, NULL);
}

void runner_status_changed(struct runner *r, uint64_t ms)
{
    /* One that waits before its next try will say it then. */
    if (r->state == RUNNER_LISTENING && r->polling && r->polled_busy != is_busy(r))
        wh_later(&r->later, &r->d->loop, ms, on_status, r);
}
