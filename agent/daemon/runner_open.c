/* Opening and closing a runner: its files, its lock, its job user. */
#include <unistd.h>

#include "daemon/actions.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define REOPEN_MS 60000

/* By --runner-version here or when it was registered; NULL: "auto". */
const char *runner_named_version(const struct runner *r)
{
    const char *named = r->d->options->version ? r->d->options->version : r->config->version;
    return wh_streq(named, "auto") ? NULL : named;
}

const char *runner_version(const struct runner *r)
{
    const char *named = runner_named_version(r);
    return named ? named : r->d->version;
}

static void close_files(struct runner *r)
{
    wh_refresh_cancel(&r->refresh);
    wh_session_free(r->session);
    wh_rsa_key_free(r->key);
    wh_runner_config_free(r->config);
    wh_runner_config_free(r->registered);
    job_user_clear(&r->user);
    if (r->lock_fd >= 0)
        close(r->lock_fd);
    r->session = NULL;
    if (r->work_fd >= 0)
        close(r->work_fd);
    r->key = NULL;
    r->config = r->registered = NULL;
    r->lock_fd = r->work_fd = -1;
}

static int open_files(struct runner *r, struct wh_error *err)
{
    const struct wh_daemon_options *o = r->d->options;
    r->config = wh_runner_config_load(o->state, r->name, err);
    if (!r->config || runner_lock(r, err) || !(r->key = wh_credentials_load(o->state, r->name, err)))
        return -1;
    if (job_user_choose(o->job_user ? o->job_user : r->config->job_user, r->slot, r->config->work, &r->user,
                        err))
        return -1;
    if (job_user_prepare_work(&r->user, r->config->work, err) || runner_lock_work(r, err))
        return -1;
    runner_take_settings(r);
    runner_open_session(r);
    runner_counts_load(r);
    return 0;
}

/* Said once, not each minute. */
static void unusable(struct runner *r, struct wh_error *err)
{
    close_files(r);
    if (!wh_streq(r->error, wh_error_text(err)))
        runner_say_error(r, err);
    wh_error_clear(&r->exit_error);
    wh_fail(&r->exit_error, err->code, "%s: %s", r->name, wh_error_text(err));
    runner_again_in(r, REOPEN_MS, REOPEN_MS + REOPEN_MS / 10);
}

struct runner *runner_new(struct daemon *d, const char *name, size_t slot)
{
    struct runner *r = wh_calloc(1, sizeof *r);
    wh_autoerror err = {0};
    r->user.lock = -1;
    r->d = d;
    r->name = wh_strdup(name);
    r->slot = slot;
    r->lock_fd = r->work_fd = -1;
    r->state = RUNNER_CONFIGURED;
    r->since_ms = wh_mono_ms();
    const char *before = wh_log_enter(r->name);
    if (open_files(r, &err)) {
        r->state = RUNNER_UNUSABLE;
        unusable(r, &err);
    }
    (void)wh_log_enter(before);
    return r;
}

void runner_free(struct runner *r)
{
    if (!r)
        return;
    wh_later_cancel(&r->later);
    close_files(r);
    for (size_t i = 0; i < WH_MAX_KNOWN_REQUESTS; i++)
        free(r->requests[i]);
    for (size_t i = 0; i < WH_MAX_KNOWN_CANCELS; i++)
        free(r->cancels[i].job_id);
    free(r->last_cancel);
    free(r->error);
    free(r->session_version);
    free(r->counts.last_job);
    free(r->counts.last_result);
    wh_error_clear(&r->exit_error);
    free(r->name);
    free(r);
}

void do_open(struct runner *r, const struct runner_cause *cause)
{
    (void)cause;
    wh_autoerror err = {0};
    if (r->end_wanted)
        return;
    if (open_files(r, &err)) {
        unusable(r, &err);
        return;
    }
    wh_log_info("its files can be used now");
    wh_error_clear(&r->exit_error);
    runner_event(r, ON_OPENED, NULL);
}
