/* The agent's loop: runners, signals, reloading, the version, the end. */
#include "daemon/daemon.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/github/register.h"
#include "wherry/platform/cgroup.h"
#include "wherry/platform/userns.h"

#define VERSION_EVERY_MS ((uint64_t)WH_RUNNER_VERSION_DAY_S * 1000)
#define VERSION_LATELY_MS ((uint64_t)10 * 60 * 1000) /* many runners may want to know at once */
#define VERSION_TRY_MS ((uint64_t)60 * 60 * 1000)    /* after a failure */
#define TRIM_MS 1000
#define LEAST_PLACES 4
#define MAX_PLACES 10000
#define KEPT_CONNECTIONS 4 /* beside that of each runner's poll */

/* ---- the version that we name ---- */

static void learn_later(void *data)
{
    daemon_learn_version(data);
}

static void on_version(void *data, const char *version, struct wh_error *err)
{
    struct daemon *d = data;
    d->version_query = NULL;
    if (version) {
        wh_log_debug("newest official runner version: %s", version);
        free(d->version);
        bool fresh;
        d->version = wh_runner_version_cached(d->options->state, &fresh);
    } else {
        wh_log_debug("%s", wh_error_text(err));
    }
    wh_later(&d->version_later, &d->loop, version ? VERSION_EVERY_MS : VERSION_TRY_MS, learn_later, d);
}

void daemon_learn_version(struct daemon *d)
{
    wh_autogithuburl url = {0};
    const struct wh_runner_config *config = NULL;
    if (d->version_query || (d->version_asked_ms && wh_mono_ms() - d->version_asked_ms < VERSION_LATELY_MS))
        return;
    for (size_t i = 0; i < d->nrunners && !config; i++)
        config = d->runners[i]->config;
    if (!config || wh_github_url_parse(config->url, &url, NULL))
        return;
    d->version_asked_ms = wh_mono_ms();
    const char *before = wh_log_enter(NULL); /* for all runners */
    d->version_query = wh_runner_version_query(d->http, url.api, d->options->state, on_version, d);
    (void)wh_log_enter(before);
}

static void version_load(struct daemon *d, bool *fresh)
{
    free(d->version);
    d->version = wh_runner_version_cached(d->options->state, fresh);
}

static void version_start(struct daemon *d, bool fresh)
{
    if (d->options->version)
        return;
    if (fresh)
        wh_later(&d->version_later, &d->loop, VERSION_EVERY_MS, learn_later, d);
    else
        daemon_learn_version(d);
}

/* ---- small services ---- */

void daemon_changed(struct daemon *d)
{
    notify_changed(d->notify);
}

static void trim(void *data)
{
    (void)data;
    malloc_trim(0);
}

void daemon_trim(struct daemon *d)
{
    if (!d->trim_later && !d->ended)
        wh_later(&d->trim_later, &d->loop, TRIM_MS, trim, d);
}

/* ---- the end ---- */

static void close_rest(struct daemon *d)
{
    d->ended = true;
    control_stop(d->control);
    cleaner_free(d->cleaner);
    d->control = NULL;
    d->cleaner = NULL;
    wh_later_cancel(&d->trim_later);
    wh_later_cancel(&d->reload_later);
    wake_stop(d->wake);
    d->wake = NULL;
    uv_close((uv_handle_t *)&d->sigterm, NULL);
    uv_close((uv_handle_t *)&d->sigint, NULL);
    uv_close((uv_handle_t *)&d->sighup, NULL);
}

static bool all_over(const struct daemon *d)
{
    for (size_t i = 0; i < d->nrunners; i++)
        if (!runner_is_over(d->runners[i]))
            return false;
    return true;
}

static void reload_now(void *data);

void daemon_runner_ended(struct daemon *d)
{
    daemon_changed(d);
    for (size_t i = 0; i < d->nrunners && !d->draining; i++)
        if (d->runners[i]->replace && runner_is_over(d->runners[i])) {
            wh_later(&d->reload_later, &d->loop, 0, reload_now, d);
            return;
        }
    if (!d->ended && all_over(d))
        uv_stop(&d->loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct daemon *d = handle->data;
    d->signals++;
    d->draining = true;
    d->stopping = d->signals > 1;
    bool busy = false;
    for (size_t i = 0; i < d->nrunners; i++)
        busy |= d->runners[i]->job != NULL;
    wh_log_info("%s: %s", strsignal(number),
                !busy         ? "ending"
                : d->stopping ? "stopping the running jobs"
                              : "finishing the running jobs, taking no others (a second signal stops them)");
    notify_stopping(d->notify);
    for (size_t i = 0; i < d->nrunners; i++)
        runner_stop(d->runners[i]);
    if (all_over(d) && !d->ended)
        uv_stop(&d->loop); /* such as those whose files could not be used */
}

/* ---- runners: at start, and when told to look again ---- */

static int list_names(const struct daemon *d, char ***names, struct wh_error *err)
{
    if (!d->options->names)
        return wh_runner_list(d->options->state, names, err) < 0 ? -1 : 0;
    for (char *const *name = d->options->names; *name; name++)
        if (!wh_strv_has(*names, *name))
            wh_strv_add(names, *name);
    return 0;
}

static struct runner *find_runner(const struct daemon *d, const char *name)
{
    for (size_t i = 0; i < d->nrunners; i++)
        if (wh_streq(d->runners[i]->name, name))
            return d->runners[i];
    return NULL;
}

static struct runner *add_runner(struct daemon *d, const char *name)
{
    if (d->nrunners == WH_MAX_RUNNERS) {
        wh_log_error("%s: one agent runs at most %d runners", name, WH_MAX_RUNNERS);
        return NULL;
    }
    d->runners = wh_realloc(d->runners, (d->nrunners + 1) * sizeof(struct runner *));
    d->runners[d->nrunners] = runner_new(d, name, d->nrunners);
    wh_http_client_max_idle(d->http, (unsigned)d->nrunners + KEPT_CONNECTIONS);
    return d->runners[d->nrunners++];
}

static int open_runners(struct daemon *d, struct wh_error *err)
{
    wh_autostrv char **names = NULL;
    if (list_names(d, &names, err))
        return -1;
    if (wh_strv_len(names) == 0)
        return wh_fail(err, WH_E_NOT_FOUND, "no runner is registered in %s: `wherry register` comes first",
                       d->options->state);
    for (char **name = names; name && *name; name++)
        (void)add_runner(d, *name);
    return 0;
}

/* Those that are gone end when their job is over; those that are over or changed begin anew; new ones begin.
 */
static void look_again(struct daemon *d, char **names)
{
    for (size_t i = 0; i < d->nrunners; i++)
        if (!wh_strv_has(names, d->runners[i]->name))
            runner_withdraw(d->runners[i]);
    for (char **name = names; name && *name; name++) {
        struct runner *r = find_runner(d, *name);
        if (!r) {
            r = add_runner(d, *name);
            if (r)
                runner_start(r);
        } else if (runner_is_over(r)) {
            size_t slot = r->slot;
            runner_free(r);
            d->runners[slot] = runner_new(d, *name, slot);
            runner_start(d->runners[slot]);
        } else {
            runner_compare(r);
        }
    }
}

static void reload_now(void *data)
{
    struct daemon *d = data;
    wh_autoerror err = {0};
    wh_autostrv char **names = NULL;
    if (list_names(d, &names, &err)) {
        wh_log_error("reload: %s; the runners stay as they are", wh_error_text(&err));
        return;
    }
    look_again(d, names);
    wh_log_info("reloaded: %zu runners", wh_strv_len(names));
    if (all_over(d))
        uv_stop(&d->loop);
}

void daemon_reload(struct daemon *d)
{
    if (d->draining)
        return;
    notify_reloading(d->notify);
    reload_now(d);
    notify_ready(d->notify);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    (void)number;
    daemon_reload(handle->data);
}

static void start_signal(struct daemon *d, uv_signal_t *handle, int number, uv_signal_cb fn)
{
    uv_signal_init(&d->loop, handle);
    handle->data = d;
    uv_signal_start(handle, fn, number);
}

/* ---- how it ended ---- */

static int first_trouble(const struct daemon *d, struct wh_error *err)
{
    for (size_t i = 0; i < d->nrunners; i++) {
        struct runner *r = d->runners[i];
        int code = runner_exit_code(r);
        if (code == WH_RUN_DONE)
            continue;
        if (r->exit_error.code != WH_OK)
            wh_error_move(err, &r->exit_error);
        else
            wh_fail(err, WH_E_FAILED, "%s ended with code %d", r->name, code);
        return code;
    }
    return WH_RUN_DONE;
}

/* An idle agent should stay small: one arena, and freed memory goes back. */
static void tune_memory(void)
{
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    mallopt(M_TRIM_THRESHOLD, 128 * 1024);
}

static unsigned places_limit(const struct wh_daemon_options *o)
{
    if (o->max_jobs >= 0)
        return (unsigned)WH_MIN(o->max_jobs, MAX_PLACES);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    return (unsigned)WH_MAX(cpus, LEAST_PLACES);
}

static void start_serve(struct daemon *d)
{
    wh_autoerror err = {0};
    const struct wh_daemon_options *o = d->options;
    struct wh_serve_options options = {.state = o->state,
                                       .job_uid = WH_NO_ID,
                                       .job_gid = WH_NO_ID,
                                       .artifacts = (enum wh_serve_artifacts)o->artifacts,
                                       .repository_max = o->cache_repository_max};
    if (o->cache_github)
        return;
    d->serve = wh_serve_new(&d->loop, &options, &err);
    if (!d->serve)
        wh_log_error("jobs use GitHub's own cache: %s", wh_error_text(&err));
}

static int run(struct daemon *d, struct wh_error *err)
{
    wh_autoerror trouble = {0};
    bool fresh;
    version_load(d, &fresh);
    d->places.limit = places_limit(d->options);
    if (open_runners(d, err))
        return WH_RUN_TERMINAL;
    if (all_over(d)) /* none can be used */
        return first_trouble(d, err);
    version_start(d, fresh);
    d->cleaner = cleaner_new(d);
    start_serve(d);
    cleaner_leftovers(d->cleaner);
    d->wake = wake_start(d);
    d->control = control_start(d, &trouble);
    if (!d->control)
        wh_log_warning("`wherry status` won't work: %s", wh_error_text(&trouble));
    start_signal(d, &d->sigterm, SIGTERM, on_signal);
    start_signal(d, &d->sigint, SIGINT, on_signal);
    start_signal(d, &d->sighup, SIGHUP, on_hangup);
    for (size_t i = 0; i < d->nrunners; i++)
        runner_start(d->runners[i]);
    notify_ready(d->notify);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    cleaner_finish(d->cleaner);
    close_rest(d);
    return first_trouble(d, err);
}

int wh_daemon_run(const struct wh_daemon_options *options, struct wh_error *err)
{
    struct daemon d = {.options = options, .started_ms = wh_mono_ms()};
    struct wh_http_options http = {.ca_file = options->ca_file, .max_idle = KEPT_CONNECTIONS};
    wh_autoerror ignored = {0};
    tune_memory();
    signal(SIGPIPE, SIG_IGN);
    if (wh_cgroup_delegate_self(&ignored) < 0)
        wh_log_debug("%s", wh_error_text(&ignored));
    uv_loop_init(&d.loop);
    d.notify = notify_new(&d);
    d.http = wh_http_client_new(&d.loop, &http);
    int code = run(&d, err);
    d.ended = true;
    wh_later_cancel(&d.version_later);
    wh_runner_version_query_cancel(&d.version_query);
    for (size_t i = 0; i < d.nrunners; i++)
        runner_free(d.runners[i]);
    free(d.runners);
    wh_http_client_free(d.http);
    wh_serve_free(d.serve);
    notify_free(d.notify);
    d.notify = NULL;
    uv_run(&d.loop, UV_RUN_DEFAULT);
    uv_loop_close(&d.loop);
    free(d.version);
    return code;
}
