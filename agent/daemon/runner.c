/* One runner identity: session and long poll (runner-protocol.md §3.1, §3.2, §9.1). What comes after what is
 * in life.c; here an answer of the service becomes an event, and the actions are done. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "daemon/actions.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"

#define SESSION_RETRY_MIN_MS 25000
#define SESSION_RETRY_MAX_MS 35000
#define CONFLICT_TRIES 8
#define CLOCK_PATIENCE_MS ((uint64_t)30 * 60 * 1000)
#define SKIP_MAX_MS 60000
#define END_CREATING_MS 5000
#define NEW_VERSION_MIN_MS 1000
#define NEW_VERSION_MAX_MS 3000

bool runner_is_over(const struct runner *r)
{
    return r->state >= RUNNER_STOPPED;
}

void runner_say_error(struct runner *r, const struct wh_error *err)
{
    wh_log_error("%s", wh_error_text(err));
    free(r->error);
    r->error = wh_strdup(wh_error_text(err));
    r->error_ns = wh_now_ns();
}

void runner_say_trouble(struct runner *r, const struct wh_error *err, const char *then)
{
    if (!err)
        return;
    wh_log_warning("%s; %s", wh_error_text(err), then);
    free(r->error);
    r->error = wh_strdup(wh_error_text(err));
    r->error_ns = wh_now_ns();
}

/* ---- the end ---- */

static void on_waited(void *data)
{
    runner_event(data, ON_WAITED, NULL);
}

void runner_again_in(struct runner *r, uint64_t min_ms, uint64_t max_ms)
{
    wh_later(&r->later, &r->d->loop, wh_wait_ms(min_ms, max_ms), on_waited, r);
}

static void end_or_drain(void *data)
{
    struct runner *r = data;
    if (r->job)
        return; /* it comes back here when it is over */
    if (r->end_wanted)
        runner_event(r, ON_END, NULL);
    else if (r->drained)
        runner_event(r, ON_DRAIN, NULL);
}

/* Not from within whoever calls: it may be a callback of what the end takes away. */
void runner_end_soon(struct runner *r)
{
    if (!r->job && !runner_is_over(r) && r->state != RUNNER_ENDING)
        wh_later(&r->later, &r->d->loop, 0, end_or_drain, r);
}

void runner_end(struct runner *r, enum runner_state state, const struct wh_error *err)
{
    if (!r->end_wanted) {
        r->end_wanted = true;
        r->end_state = state;
        if (err)
            wh_fail(&r->exit_error, err->code, "%s: %s", r->name, wh_error_text(err));
        daemon_changed(r->d);
    }
    if (r->job && r->state == RUNNER_LISTENING && !r->polling && !r->later)
        runner_poll_in(r, wh_wait_ms(POLL_RETRY_MAX_MS, 2 * POLL_RETRY_MAX_MS)); /* for cancellations */
    runner_end_soon(r);
}

static void end_by(struct runner *r, enum runner_state state, struct wh_error *err)
{
    if (err)
        runner_say_error(r, err);
    runner_end(r, state, err);
}

void do_be_removed(struct runner *r, const struct runner_cause *cause)
{
    end_by(r, RUNNER_REMOVED, cause->err);
}

void do_be_stopped(struct runner *r, const struct runner_cause *cause)
{
    if (cause->err)
        wh_log_info("the service ends this runner: %s", wh_error_text(cause->err));
    runner_end(r, RUNNER_STOPPED, NULL);
}

void do_be_refused(struct runner *r, const struct runner_cause *cause)
{
    (void)wh_wrap(cause->err, "the service refuses this runner's credentials");
    end_by(r, RUNNER_REFUSED, cause->err);
}

/* The service ends the session of a runner that is to take no more jobs. */
void do_be_dismissed(struct runner *r, const struct runner_cause *cause)
{
    (void)wh_wrap(cause->err, "the service ended the session, and this runner's settings "
                              "(skipSessionRecover) say that it makes no other");
    wh_session_forget(r->session);
    end_by(r, RUNNER_REFUSED, cause->err);
}

void do_give_up_clock(struct runner *r, const struct runner_cause *cause)
{
    (void)wh_wrap(cause->err, "this machine's clock is wrong for the service");
    end_by(r, RUNNER_REFUSED, cause->err);
}

void do_be_deprecated(struct runner *r, const struct runner_cause *cause)
{
    (void)wh_wrap(cause->err, "the service refuses runner version %s%s", runner_version(r),
                  runner_named_version(r)
                      ? " (named by --runner-version: `auto` takes the newest official release)"
                      : ", the newest that is known (name another by --runner-version)");
    end_by(r, RUNNER_DEPRECATED, cause->err);
}

void do_be_taken(struct runner *r, const struct runner_cause *cause)
{
    (void)wh_wrap(cause->err, "another agent has this runner's session");
    end_by(r, RUNNER_TAKEN, cause->err);
}

int runner_exit_code(const struct runner *r)
{
    const char *opt_in = getenv("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE");
    switch (r->state) {
    case RUNNER_REFUSED:
        return WH_RUN_TERMINAL;
    case RUNNER_DEPRECATED:
        return opt_in && *opt_in ? WH_RUN_DEPRECATED : WH_RUN_TERMINAL;
    case RUNNER_TAKEN:
        return WH_RUN_CONFLICT;
    case RUNNER_UNUSABLE:
        return r->exit_error.code == WH_E_BUSY ? WH_RUN_CONFLICT : WH_RUN_TERMINAL;
    default:
        return WH_RUN_DONE;
    }
}

static void on_session_deleted(void *data, enum wh_outcome outcome, struct wh_error *err)
{
    (void)outcome;
    struct runner *r = data;
    if (err)
        wh_log_debug("delete the session: %s", wh_error_text(err));
    runner_event(r, r->drained ? ON_DELETED : ON_DELETED_RESUMED, NULL);
}

void do_delete_session(struct runner *r, const struct runner_cause *cause)
{
    (void)cause;
    wh_later_cancel(&r->later);
    if (wh_session_is_open(r->session) && r->end_state != RUNNER_REMOVED && !r->keep_session)
        wh_session_delete(r->session, on_session_deleted, r);
    else
        on_session_deleted(r, WH_OUT_OK, NULL);
}

void do_leave_now(struct runner *r, const struct runner_cause *cause)
{
    r->creating = false;
    do_delete_session(r, cause);
}

/* A session that is just being made would stay behind and be a conflict for minutes. */
void do_leave(struct runner *r, const struct runner_cause *cause)
{
    wh_later_cancel(&r->later);
    runner_drop_poll(r);
    if (r->creating)
        runner_again_in(r, END_CREATING_MS, END_CREATING_MS);
    else
        do_delete_session(r, cause);
}

void do_end(struct runner *r, const struct runner_cause *cause)
{
    do_leave(r, cause);
}

void do_rest(struct runner *r, const struct runner_cause *cause)
{
    (void)cause;
    wh_later_cancel(&r->later);
    runner_note_session(r, NULL);
    wh_log_info("drained: takes no jobs until `wherry resume`");
    if (r->end_wanted)
        runner_end_soon(r);
}

void do_settle(struct runner *r, const struct runner_cause *cause)
{
    (void)cause;
    wh_autoerror err = {0};
    wh_later_cancel(&r->later);
    if (!r->keep_session)
        runner_note_session(r, NULL);
    if (r->state == RUNNER_REMOVED) {
        wh_log_info("the registration is gone; deleting its files here");
        if (wh_runner_config_delete(r->d->options->state, r->name, &err))
            wh_log_warning("%s", wh_error_text(&err));
    }
    daemon_runner_ended(r->d);
}

void runner_stop(struct runner *r)
{
    const char *before = wh_log_enter(r->name);
    if (r->job && r->d->stopping)
        jobrun_cancel(r->job, "shutdown", 0);
    else if (r->job)
        jobrun_drain(r->job);
    runner_end(r, RUNNER_STOPPED, NULL);
    (void)wh_log_enter(before);
}

void runner_withdraw(struct runner *r)
{
    const char *before = wh_log_enter(r->name);
    if (!r->end_wanted && !runner_is_over(r))
        wh_log_info("is not registered here any more: ends when its job, if any, is over");
    runner_end(r, RUNNER_STOPPED, NULL);
    if (r->state == RUNNER_UNUSABLE)
        wh_later_cancel(&r->later);
    (void)wh_log_enter(before);
}

static bool same_registration(const struct wh_runner_config *a, const struct wh_runner_config *b)
{
    return a->id == b->id && wh_streq(a->url, b->url) && wh_streq(a->client_id, b->client_id) &&
           wh_streq(a->server_url, b->server_url) && wh_streq(a->authorization_url, b->authorization_url) &&
           wh_streq(a->work, b->work) && wh_streq(a->version, b->version) &&
           wh_streq(a->job_user, b->job_user) && a->ephemeral == b->ephemeral && a->use_v2 == b->use_v2;
}

void runner_compare(struct runner *r)
{
    const char *before = wh_log_enter(r->name);
    wh_autoerror err = {0};
    wh_autorunner *now = wh_runner_config_load(r->d->options->state, r->name, &err);
    if (!now) {
        runner_say_error(r, &err); /* it goes on with what it has */
    } else if (r->config && !same_registration(runner_registered(r), now) && !r->end_wanted) {
        wh_log_info("was registered anew: begins anew when its job, if any, is over");
        r->replace = true;
        runner_end(r, RUNNER_STOPPED, NULL);
    }
    (void)wh_log_enter(before);
}

void runner_drain(struct runner *r)
{
    const char *before = wh_log_enter(r->name);
    if (!r->drained && !r->end_wanted && !runner_is_over(r)) {
        wh_log_info("draining: finishes its job, if any, and takes no other");
        r->drained = true;
        if (r->job)
            jobrun_drain(r->job);
        runner_end_soon(r);
    }
    (void)wh_log_enter(before);
}

void runner_resume(struct runner *r)
{
    const char *before = wh_log_enter(r->name);
    if (r->drained) {
        wh_log_info("takes jobs again");
        r->drained = false;
        runner_event(r, ON_RESUME, NULL);
    }
    (void)wh_log_enter(before);
}

/* ---- what the service answered, as an event ---- */

static bool newer_version_may_do(const struct runner *r)
{
    return !runner_named_version(r) && !r->tried_newest_version;
}

enum runner_event runner_event_of(struct runner *r, enum wh_outcome outcome)
{
    if (outcome != WH_OUT_CLOCK)
        r->clock_bad_since_ms = 0;
    switch (outcome) {
    case WH_OUT_REMOVED:
        return ON_GONE;
    case WH_OUT_SHUTDOWN:
        return ON_TOLD_TO_END;
    case WH_OUT_TOO_OLD:
        return newer_version_may_do(r) ? ON_TOO_OLD : ON_TOO_OLD_LAST;
    case WH_OUT_CLOCK:
        if (!r->clock_bad_since_ms)
            r->clock_bad_since_ms = wh_mono_ms();
        return wh_mono_ms() - r->clock_bad_since_ms > CLOCK_PATIENCE_MS ? ON_CLOCK_LAST : ON_CLOCK;
    case WH_OUT_DENIED:
        /* Once more with a new token and session: a service in trouble refuses too. */
        return r->denials++ > 0 ? ON_DENIED_AGAIN : ON_DENIED;
    case WH_OUT_CONFLICT:
        return ++r->conflicts >= CONFLICT_TRIES ? ON_CLASH_LAST : ON_CLASH;
    case WH_OUT_SESSION_INVALID:
        /* (One that we gave up ourselves, over a key that did not fit, is not open any more.) */
        if (r->config->skip_session_recover && wh_session_is_open(r->session))
            return ON_INVALID_LAST;
        return r->sessions_refused++ > 0 ? ON_INVALID_AGAIN : ON_INVALID;
    default:
        return ON_FAILED;
    }
}

/* ---- session ---- */

/* A session that may still live is deleted: it would be a conflict. */
static void leave_session(struct runner *r)
{
    runner_drop_poll(r);
    if (wh_session_is_open(r->session))
        wh_session_delete(r->session, NULL, NULL);
    wh_session_forget(r->session);
}

static void on_created(void *data, enum wh_outcome outcome, struct wh_error *err)
{
    struct runner *r = data;
    struct runner_cause cause = {.err = err};
    bool asked = r->creating;
    r->creating = false;
    if (r->state != RUNNER_CONNECTING)
        /* It is to leave, or to end, and waited for this. */
        runner_event(r, asked && outcome == WH_OUT_OK ? ON_MADE : ON_NOT_MADE, &cause);
    else
        runner_event(r,
                     outcome == WH_OUT_OK ? ON_MADE : runner_settings_failed(r, runner_event_of(r, outcome)),
                     &cause);
}

void do_connect(struct runner *r, const struct runner_cause *cause)
{
    (void)cause;
    if ((r->end_wanted || r->drained) && !r->job) {
        runner_end_soon(r);
        return;
    }
    r->creating = true;
    free(r->session_version);
    r->session_version = wh_strdup(runner_version(r));
    wh_session_set_version(r->session, r->session_version);
    wh_session_create(r->session, on_created, r);
}

void do_connect_later(struct runner *r, const struct runner_cause *cause)
{
    runner_say_trouble(r, cause->err, "trying again in half a minute");
    runner_again_in(r, SESSION_RETRY_MIN_MS, SESSION_RETRY_MAX_MS);
}

void do_connect_with_new_token(struct runner *r, const struct runner_cause *cause)
{
    wh_session_drop_token(r->session);
    do_connect_later(r, cause);
}

void do_reconnect(struct runner *r, const struct runner_cause *cause)
{
    wh_log_info("the session is over; making a new one");
    runner_drop_poll(r);
    wh_session_forget(r->session);
    do_connect(r, cause);
}

void do_reconnect_later(struct runner *r, const struct runner_cause *cause)
{
    runner_say_trouble(r, cause->err, "making a new session in half a minute");
    r->errors = 0;
    leave_session(r);
    runner_again_in(r, POLL_RETRY_MIN_MS, POLL_RETRY_MAX_MS);
}

/* By a version that became known since. It must be deleted by then. */
void do_reconnect_by_version(struct runner *r, const struct runner_cause *cause)
{
    (void)cause;
    wh_log_info("naming runner version %s from now on", runner_version(r));
    leave_session(r);
    runner_again_in(r, NEW_VERSION_MIN_MS, NEW_VERSION_MAX_MS);
}

void do_reconnect_with_new_token(struct runner *r, const struct runner_cause *cause)
{
    do_reconnect_later(r, cause);
    wh_session_drop_token(r->session);
}

/* A refused version: the newest official one may do, unless the user named one. */
void do_try_newer(struct runner *r, const struct runner_cause *cause)
{
    (void)wh_wrap(cause->err, "the service refuses runner version %s", runner_version(r));
    runner_say_trouble(r, cause->err, "asking for the newest");
    r->tried_newest_version = true;
    daemon_learn_version(r->d);
    leave_session(r);
    runner_again_in(r, SESSION_RETRY_MIN_MS, SESSION_RETRY_MAX_MS);
}

void do_listen(struct runner *r, const struct runner_cause *cause)
{
    (void)cause;
    r->conflicts = r->errors = 0;
    r->contact_ns = wh_now_ns();
    runner_note_session(r, wh_session_id(r->session));
    daemon_trim(r->d); /* reading the certificates took a megabyte for a moment */
    wh_log_info("listening for jobs of %s", r->config->url);
    runner_poll_now(r);
}

/* ---- start ---- */

static void on_leftover_deleted(void *data, enum wh_outcome outcome, struct wh_error *err)
{
    (void)outcome;
    if (err)
        wh_log_debug("delete the left-over session: %s", wh_error_text(err));
    runner_event(data, ON_LEFTOVER_GONE, NULL);
}

void do_delete_leftover(struct runner *r, const struct runner_cause *cause)
{
    (void)cause;
    wh_autofree char *leftover = runner_noted_session(r);
    wh_session_delete_id(r->session, leftover ? leftover : "", on_leftover_deleted, r);
}

void do_begin(struct runner *r, const struct runner_cause *cause)
{
    (void)cause;
    wh_autofree char *leftover = runner_noted_session(r);
    recover_start(r);
    runner_event(r, leftover ? ON_BEGIN_LEFTOVER : ON_BEGIN, NULL);
}

void runner_start(struct runner *r)
{
    const char *before = wh_log_enter(r->name);
    if (r->state == RUNNER_CONFIGURED)
        do_begin(r, NULL);
    (void)wh_log_enter(before);
}

/* ---- jobs ---- */

void runner_job_ended(struct runner *r, const char *name, const char *result)
{
    uint64_t wait = 0;
    daemon_trim(r->d);
    daemon_changed(r->d);
    if (result) {
        runner_counts_add(r, name, result);
        cleaner_job_ended(r->d->cleaner);
        r->skips = 0;
    } else if (r->skips++ > 0) {
        wait = WH_MIN((uint64_t)1000 << WH_MIN(r->skips - 2, 6U), (uint64_t)SKIP_MAX_MS);
    }
    if (result && r->config->ephemeral)
        runner_end(r, RUNNER_REMOVED, NULL); /* the service deletes the registration itself */
    else if (result && r->d->options->once)
        runner_end(r, RUNNER_STOPPED, NULL);
    else if (r->end_wanted || r->drained)
        runner_end_soon(r);
    else if (wait == 0 && !r->later)
        runner_status_changed(r, 0); /* the poll under way says Busy */
    else if (wait && r->state == RUNNER_LISTENING) {
        runner_leave_poll(r);
        runner_poll_in(r, wh_wait_ms(wait, wait));
    }
}
