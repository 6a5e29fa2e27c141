/* One runner identity: session and long poll, and what to do when they fail (runner-protocol.md §3.1, §3.2,
 * §9.1). */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"

#define SESSION_RETRY_MIN_MS 25000
#define SESSION_RETRY_MAX_MS 35000
#define CONFLICT_TRIES 8
#define CLOCK_PATIENCE_MS ((uint64_t)30 * 60 * 1000)
#define POLL_ERRORS_TO_NEW_SESSION 10
#define SKIP_MAX_MS 60000
#define END_CREATING_MS 5000
#define SESSION_FILE "session"

/* ---- opening ---- */

static int take_lock(struct runner *r, struct wh_error *err)
{
    wh_autoclose int dir = wh_runner_dir_open(r->d->options->state, r->config->name, false, err);
    if (dir < 0)
        return -1;
    r->lock_fd = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (r->lock_fd < 0)
        return wh_fail_errno(err, "the lock of runner %s", r->config->name);
    if (flock(r->lock_fd, LOCK_EX | LOCK_NB))
        return wh_fail(err, WH_E_BUSY, "another agent runs \"%s\" on this machine already", r->config->name);
    return 0;
}

static const char *version_of(const struct runner *r)
{
    if (r->d->options->version)
        return r->d->options->version;
    return r->config->version ? r->config->version : r->d->version;
}

static int runner_setup(struct runner *r, const char *name, struct wh_error *err)
{
    const struct wh_daemon_options *o = r->d->options;
    char host[256] = "localhost";
    r->config = wh_runner_config_load(o->state, name, err);
    if (!r->config || take_lock(r, err) || !(r->key = wh_credentials_load(o->state, name, err)))
        return -1;
    if (job_user_choose(o->job_user ? o->job_user : r->config->job_user, r->slot, r->config->work, &r->user,
                        err))
        return -1;
    if (job_user_prepare_work(&r->user, r->config->work, err))
        return -1;
    gethostname(host, sizeof host - 1);
    wh_autofree char *owner = wh_printf("%s (PID: %d)", host, (int)getpid());
    r->session = wh_session_new(r->d->http, r->config, r->key, version_of(r), owner);
    return 0;
}

struct runner *runner_open(struct daemon *d, const char *name, size_t slot, struct wh_error *err)
{
    struct runner *r = wh_calloc(1, sizeof *r);
    r->user.lock = -1;
    r->d = d;
    r->slot = slot;
    r->lock_fd = -1;
    if (runner_setup(r, name, err)) {
        runner_free(r);
        return NULL;
    }
    return r;
}

void runner_free(struct runner *r)
{
    if (!r)
        return;
    wh_later_cancel(&r->later);
    wh_session_free(r->session);
    wh_rsa_key_free(r->key);
    wh_runner_config_free(r->config);
    job_user_clear(&r->user);
    for (size_t i = 0; i < WH_MAX_KNOWN_REQUESTS; i++)
        free(r->requests[i]);
    for (size_t i = 0; i < WH_MAX_KNOWN_CANCELS; i++)
        free(r->cancels[i].job_id);
    free(r->last_cancel);
    wh_error_clear(&r->exit_error);
    if (r->lock_fd >= 0)
        close(r->lock_fd);
    free(r);
}

const char *runner_state_text(const struct runner *r)
{
    static const char *const texts[] = {"starting", "connecting", "listening", "ending", "ended"};
    if (r->job && r->state == RUNNER_LISTENING)
        return "busy";
    return texts[r->state];
}

/* ---- the session's id on disk: an agent that was killed leaves a session, which would be a conflict for
 * minutes. No fsync: losing it costs only that wait. ---- */

static int session_dir(const struct runner *r)
{
    return wh_runner_dir_open(r->d->options->state, r->config->name, false, NULL);
}

static void note_session(const struct runner *r, const char *id)
{
    wh_autoclose int dir = session_dir(r);
    if (dir < 0)
        return;
    if (!id) {
        unlinkat(dir, SESSION_FILE, 0);
        return;
    }
    wh_autoclose int fd =
        openat(dir, SESSION_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0)
        (void)!write(fd, id, strlen(id));
}

static char *noted_session(const struct runner *r)
{
    wh_autoclose int dir = session_dir(r);
    wh_autostr text = {0};
    if (dir < 0 || wh_read_file(dir, SESSION_FILE, WH_MAX_ID_CHARS, &text, NULL) < 0 || text.len == 0)
        return NULL;
    return wh_view_dup(wh_view_trim((struct wh_view){.data = text.data, .len = text.len}));
}

/* ---- the end ---- */

static void ended(struct runner *r)
{
    wh_autoerror err = {0};
    r->state = RUNNER_ENDED;
    if (!r->keep_session)
        note_session(r, NULL);
    if (r->removed) {
        wh_log_info("%s: the registration is gone; deleting its files here", r->config->name);
        if (wh_runner_config_delete(r->d->options->state, r->config->name, &err))
            wh_log_warning("%s", wh_error_text(&err));
    }
    daemon_runner_ended(r->d);
}

static void on_session_deleted(void *data, enum wh_outcome outcome, struct wh_error *err)
{
    (void)outcome;
    struct runner *r = data;
    if (err)
        wh_log_debug("delete the session: %s", wh_error_text(err));
    ended(r);
}

static void delete_or_end(void *data)
{
    struct runner *r = data;
    r->creating = false;
    if (wh_session_is_open(r->session) && !r->removed && !r->keep_session)
        wh_session_delete(r->session, on_session_deleted, r);
    else
        ended(r);
}

static void end_now(struct runner *r)
{
    r->state = RUNNER_ENDING;
    wh_later_cancel(&r->later);
    wh_session_poll_abort(r->session);
    /* A session that is just being made would stay behind and be a conflict for minutes. */
    if (r->creating)
        wh_later(&r->later, &r->d->loop, END_CREATING_MS, delete_or_end, r);
    else
        delete_or_end(r);
}

static void end_later(void *data)
{
    struct runner *r = data;
    if (r->job || r->state >= RUNNER_ENDING)
        return;
    end_now(r);
}

void runner_end(struct runner *r, int exit_code, const struct wh_error *err)
{
    if (!r->end_wanted) {
        r->end_wanted = true;
        r->exit_code = exit_code;
        if (err)
            wh_fail(&r->exit_error, err->code, "%s: %s", r->config->name, wh_error_text(err));
    }
    if (!r->job && r->state < RUNNER_ENDING)
        wh_later(&r->later, &r->d->loop, 0, end_later, r); /* not from within whoever calls */
}

void runner_drain(struct runner *r)
{
    if (r->job && r->d->stopping)
        jobrun_cancel(r->job, "shutdown", 0);
    else if (r->job)
        jobrun_drain(r->job);
    runner_end(r, WH_RUN_DONE, NULL);
}

/* ---- session ---- */

static void create(void *data);

static void create_in(struct runner *r, uint64_t min_ms, uint64_t max_ms)
{
    r->state = RUNNER_CREATING;
    wh_later(&r->later, &r->d->loop, wh_wait_ms(min_ms, max_ms), create, r);
}

/* A session that may still live is deleted first: it would be a conflict. */
static void leave_session(struct runner *r)
{
    if (wh_session_is_open(r->session))
        wh_session_delete(r->session, NULL, NULL);
}

/* A refused version: the newest official one may do, unless the user named one. */
static bool try_newer_version(struct runner *r)
{
    bool ours = !r->d->options->version && !r->config->version;
    if (!ours || r->tried_newest_version)
        return false;
    r->tried_newest_version = true;
    daemon_learn_version(r->d);
    return true;
}

static void too_old(struct runner *r, struct wh_error *err)
{
    const char *opt_in = getenv("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE");
    if (try_newer_version(r)) {
        wh_log_warning("%s: %s; asking for the newest version", r->config->name, wh_error_text(err));
        leave_session(r);
        create_in(r, SESSION_RETRY_MIN_MS, SESSION_RETRY_MAX_MS);
        return;
    }
    wh_wrap(err, "the service refuses runner version %s (name another with --runner-version)", version_of(r));
    runner_end(r, opt_in && *opt_in ? WH_RUN_DEPRECATED : WH_RUN_TERMINAL, err);
}

/* True if the outcome has the same answer wherever it comes: an end, or a wait for the clock. */
static bool common_outcome(struct runner *r, enum wh_outcome outcome, struct wh_error *err)
{
    if (outcome != WH_OUT_CLOCK)
        r->clock_bad_since_ms = 0;
    switch (outcome) {
    case WH_OUT_REMOVED:
        wh_log_error("%s: %s", r->config->name, wh_error_text(err));
        r->removed = true;
        runner_end(r, WH_RUN_DONE, NULL);
        return true;
    case WH_OUT_SHUTDOWN:
        wh_log_info("%s: the service ends this runner: %s", r->config->name, wh_error_text(err));
        runner_end(r, WH_RUN_DONE, NULL);
        return true;
    case WH_OUT_TOO_OLD:
        too_old(r, err);
        return true;
    case WH_OUT_CLOCK:
        if (!r->clock_bad_since_ms)
            r->clock_bad_since_ms = wh_mono_ms();
        wh_log_error("%s: this machine's clock is wrong for the service: %s", r->config->name,
                     wh_error_text(err));
        if (wh_mono_ms() - r->clock_bad_since_ms > CLOCK_PATIENCE_MS) {
            runner_end(r, WH_RUN_TERMINAL, err);
            return true;
        }
        return false;
    case WH_OUT_DENIED:
        /* Once more with a new token and session: a service in trouble refuses too. */
        if (r->denials++ > 0) {
            wh_wrap(err, "the service refuses this runner's credentials");
            runner_end(r, WH_RUN_TERMINAL, err);
            return true;
        }
        wh_session_drop_token(r->session);
        return false;
    default:
        return false;
    }
}

static void on_created(void *data, enum wh_outcome outcome, struct wh_error *err)
{
    struct runner *r = data;
    bool asked = r->creating;
    r->creating = false;
    if (r->state == RUNNER_ENDING && asked) {
        wh_later(&r->later, &r->d->loop, 0, delete_or_end, r);
        return;
    }
    if (r->state != RUNNER_CREATING)
        return;
    if (outcome == WH_OUT_OK) {
        r->state = RUNNER_LISTENING;
        r->conflicts = r->errors = 0;
        note_session(r, wh_session_id(r->session));
        malloc_trim(0); /* reading the certificates took a megabyte for a moment */
        wh_log_info("%s: listening for jobs of %s", r->config->name, r->config->url);
        runner_poll_now(r);
        return;
    }
    if (common_outcome(r, outcome, err))
        return;
    if (outcome == WH_OUT_CONFLICT && ++r->conflicts >= CONFLICT_TRIES) {
        runner_end(r, WH_RUN_CONFLICT, err);
        return;
    }
    wh_log_warning("%s: %s; trying again in half a minute", r->config->name, wh_error_text(err));
    create_in(r, SESSION_RETRY_MIN_MS, SESSION_RETRY_MAX_MS);
}

static void create(void *data)
{
    struct runner *r = data;
    if (r->end_wanted && !r->job) {
        end_now(r);
        return;
    }
    r->state = RUNNER_CREATING;
    r->creating = true;
    wh_session_set_version(r->session, version_of(r));
    wh_session_create(r->session, on_created, r);
}

static void on_leftover_deleted(void *data, enum wh_outcome outcome, struct wh_error *err)
{
    (void)outcome;
    struct runner *r = data;
    if (err)
        wh_log_debug("delete the left-over session: %s", wh_error_text(err));
    if (r->state == RUNNER_STARTING)
        create(r);
}

void runner_start(struct runner *r)
{
    wh_autofree char *leftover = noted_session(r);
    r->state = RUNNER_STARTING;
    recover_start(r);
    if (leftover && *leftover)
        wh_session_delete_id(r->session, leftover, on_leftover_deleted, r);
    else
        create(r);
}

/* ---- polling ---- */

static void new_session(struct runner *r, bool at_once)
{
    wh_session_forget(r->session);
    if (at_once)
        create(r);
    else
        create_in(r, 15000, 30000);
}

static void poll_failed(struct runner *r, enum wh_outcome outcome, struct wh_error *err)
{
    if (outcome == WH_OUT_SESSION_INVALID) {
        wh_log_info("%s: the session is over; making a new one", r->config->name);
        new_session(r, r->sessions_refused++ == 0);
        return;
    }
    if (common_outcome(r, outcome, err)) {
        /* With a job under way the end waits for it, and cancellations are still wanted. */
        if (r->job && r->state == RUNNER_LISTENING)
            runner_poll_in(r, wh_wait_ms(30000, 60000));
        return;
    }
    r->errors++;
    r->fresh_connection = true;
    wh_log_warning("%s: %s", r->config->name, wh_error_text(err));
    if (outcome == WH_OUT_DENIED || r->errors >= POLL_ERRORS_TO_NEW_SESSION) {
        r->errors = 0;
        leave_session(r);
        new_session(r, false);
        return;
    }
    if (r->errors <= 5)
        runner_poll_in(r, wh_wait_ms(15000, 30000));
    else
        runner_poll_in(r, wh_wait_ms(30000, 60000));
}

static void on_polled(void *data, enum wh_outcome outcome, const struct wh_broker_message *message,
                      struct wh_error *err)
{
    struct runner *r = data;
    if (r->state != RUNNER_LISTENING)
        return;
    if (outcome != WH_OUT_OK && outcome != WH_OUT_EMPTY) {
        poll_failed(r, outcome, err);
        return;
    }
    r->errors = r->denials = r->sessions_refused = 0;
    r->clock_bad_since_ms = 0;
    r->fresh_connection = false;
    if (outcome == WH_OUT_OK)
        runner_handle(r, message);
    else if (wh_mono_ms() - r->poll_started_ms < 1000)
        runner_poll_in(r,
                       wh_wait_ms(15000, 30000)); /* a service that does not hold polls must not be stormed */
    else
        runner_poll_now(r);
}

static void poll(void *data)
{
    struct runner *r = data;
    if (r->state != RUNNER_LISTENING || (r->end_wanted && !r->job))
        return;
    r->poll_started_ms = wh_mono_ms();
    wh_session_poll(r->session, r->job != NULL, r->fresh_connection, on_polled, r);
}

void runner_poll_in(struct runner *r, uint64_t ms)
{
    if (r->state == RUNNER_LISTENING && !(r->end_wanted && !r->job))
        wh_later(&r->later, &r->d->loop, ms, poll, r);
}

void runner_poll_now(struct runner *r)
{
    runner_poll_in(r, 0);
}

/* ---- jobs ---- */

void runner_job_ended(struct runner *r, bool taken)
{
    uint64_t wait = 0;
    r->job = NULL;
    malloc_trim(0);
    if (taken) {
        cleaner_job_ended(r->d->cleaner);
        r->jobs_done++;
        r->skips = 0;
    } else if (r->skips++ > 0) {
        wait = WH_MIN((uint64_t)1000 << WH_MIN(r->skips - 2, 6U), (uint64_t)SKIP_MAX_MS);
    }
    if (taken && r->config->ephemeral) {
        r->removed = true; /* the service deletes the registration itself */
        runner_end(r, WH_RUN_DONE, NULL);
    } else if (taken && r->d->options->once) {
        runner_end(r, WH_RUN_DONE, NULL);
    } else if (r->end_wanted) {
        runner_end(r, r->exit_code, NULL);
    } else if (r->state == RUNNER_LISTENING) {
        wh_session_poll_abort(r->session); /* the poll under way says Busy */
        runner_poll_in(r, wait ? wh_wait_ms(wait, wait) : 0);
    }
}
