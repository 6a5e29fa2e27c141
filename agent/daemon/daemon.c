/* The agent's loop: runners, signals, the version, the end. */
#include "daemon/daemon.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>

#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/github/register.h"
#include "wherry/platform/cgroup.h"

#define VERSION_EVERY_MS ((uint64_t)WH_RUNNER_VERSION_DAY_S * 1000)

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
    wh_later(&d->version_later, &d->loop, VERSION_EVERY_MS, learn_later, d);
}

void daemon_learn_version(struct daemon *d)
{
    wh_autogithuburl url = {0};
    if (d->version_query || d->nrunners == 0 || wh_github_url_parse(d->runners[0]->config->url, &url, NULL))
        return;
    d->version_query = wh_runner_version_query(d->http, url.api, d->options->state, on_version, d);
}

static void version_start(struct daemon *d)
{
    bool fresh;
    free(d->version);
    d->version = wh_runner_version_cached(d->options->state, &fresh);
    if (d->options->version)
        return;
    if (fresh)
        wh_later(&d->version_later, &d->loop, VERSION_EVERY_MS, learn_later, d);
    else
        daemon_learn_version(d);
}

/* ---- the end ---- */

static void close_rest(struct daemon *d)
{
    d->ended = true;
    status_stop(d->status);
    cleaner_free(d->cleaner);
    wake_stop(d->wake);
    d->status = NULL;
    uv_close((uv_handle_t *)&d->sigterm, NULL);
    uv_close((uv_handle_t *)&d->sigint, NULL);
}

void daemon_runner_ended(struct daemon *d)
{
    for (size_t i = 0; i < d->nrunners; i++)
        if (d->runners[i]->state != RUNNER_ENDED)
            return;
    if (!d->ended)
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
    for (size_t i = 0; i < d->nrunners; i++)
        runner_drain(d->runners[i]);
}

/* ---- start ---- */

static int open_runners(struct daemon *d, struct wh_error *err)
{
    wh_autostrv char **all = NULL;
    char *const *names = d->options->names;
    if (!names) {
        if (wh_runner_list(d->options->state, &all, err) < 0)
            return -1;
        names = all;
    }
    size_t count = wh_strv_len(names);
    if (count == 0)
        return wh_fail(err, WH_E_NOT_FOUND, "no runner is registered in %s: `wherry register` comes first",
                       d->options->state);
    d->runners = wh_calloc(count, sizeof(struct runner *));
    for (size_t i = 0; i < count; i++) {
        struct runner *r = runner_open(d, names[i], i, err);
        if (!r)
            return wh_wrap(err, "runner \"%s\"", names[i]);
        d->runners[d->nrunners++] = r;
    }
    return 0;
}

static void start_signal(struct daemon *d, uv_signal_t *handle, int number)
{
    uv_signal_init(&d->loop, handle);
    handle->data = d;
    uv_signal_start(handle, on_signal, number);
}

static int first_trouble(const struct daemon *d, struct wh_error *err)
{
    for (size_t i = 0; i < d->nrunners; i++) {
        struct runner *r = d->runners[i];
        if (r->exit_code == WH_RUN_DONE)
            continue;
        int code = r->exit_code;
        if (r->exit_error.code != WH_OK)
            wh_error_move(err, &r->exit_error);
        else
            wh_fail(err, WH_E_FAILED, "%s ended with code %d", r->config->name, code);
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

static int run(struct daemon *d, struct wh_error *err)
{
    wh_autoerror trouble = {0};
    version_start(d);
    if (open_runners(d, err))
        return WH_RUN_TERMINAL;
    version_start(d); /* now that a runner says whose API to ask */
    d->cleaner = cleaner_new(d);
    d->wake = wake_start(d);
    d->status = status_start(d, &trouble);
    if (!d->status)
        wh_log_warning("`wherry status` won't work: %s", wh_error_text(&trouble));
    start_signal(d, &d->sigterm, SIGTERM);
    start_signal(d, &d->sigint, SIGINT);
    for (size_t i = 0; i < d->nrunners; i++)
        runner_start(d->runners[i]);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    close_rest(d);
    return first_trouble(d, err);
}

int wh_daemon_run(const struct wh_daemon_options *options, struct wh_error *err)
{
    struct daemon d = {.options = options};
    struct wh_http_options http = {.ca_file = options->ca_file, .max_idle = 4};
    wh_autoerror ignored = {0};
    tune_memory();
    signal(SIGPIPE, SIG_IGN);
    if (wh_cgroup_delegate_self(&ignored) < 0)
        wh_log_debug("%s", wh_error_text(&ignored));
    uv_loop_init(&d.loop);
    d.http = wh_http_client_new(&d.loop, &http);
    int code = run(&d, err);
    wh_later_cancel(&d.version_later);
    wh_runner_version_query_cancel(&d.version_query);
    for (size_t i = 0; i < d.nrunners; i++)
        runner_free(d.runners[i]);
    free(d.runners);
    wh_http_client_free(d.http);
    uv_run(&d.loop, UV_RUN_DEFAULT);
    uv_loop_close(&d.loop);
    free(d.version);
    return code;
}
