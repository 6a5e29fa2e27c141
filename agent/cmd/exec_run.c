/* The agent's part in a local run: starts the worker, passes interrupts on as cancels, starts builders. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>

#include "cmd/exec.h"
#include "wherry/actions/fetch.h"
#include "wherry/base/clock.h"
#include "wherry/base/frame.h"
#include "wherry/base/log.h"
#include "wherry/build/launch.h"
#include "wherry/github/actions.h"
#include "wherry/net/later.h"

#define KILL_AFTER_MS 60000u /* after a cancel, as the service's own grace is */

struct exec {
    const struct wh_exec_job *job;
    uv_loop_t loop;
    struct wh_process worker;
    struct wh_job_cgroup cgroup;
    struct wh_frame_conn *conn;
    uv_poll_t conn_poll, exit_poll;
    uv_signal_t interrupt, terminate;
    uv_timer_t timeout, kill_timer;
    char *result; /* of the done frame; owned */
    struct wh_process_exit ended;
    bool gone;
    bool canceled;
    unsigned builds;
    uint64_t started;
};

static void send_frame(struct exec *x, const cJSON *frame, int fd);

static void on_kill(uv_timer_t *timer)
{
    struct exec *x = timer->data;
    wh_log_warning("the worker does not end: it is killed");
    wh_process_signal_group(&x->worker, SIGKILL);
}

static void cancel(struct exec *x)
{
    if (x->canceled) { /* asked twice: at once */
        wh_process_signal_group(&x->worker, SIGKILL);
        return;
    }
    x->canceled = true;
    wh_autojson *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "cancel");
    wh_json_add_string(frame, "reason", "user");
    wh_json_add_int(frame, "graceMs", KILL_AFTER_MS);
    send_frame(x, frame, -1);
    wh_timer_start(&x->kill_timer, on_kill, KILL_AFTER_MS, 0);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    (void)signum;
    cancel(handle->data);
}

static void on_timeout(uv_timer_t *timer)
{
    struct exec *x = timer->data;
    fprintf(stderr, "wherry: the job has run for %u minutes, its time is over\n", x->job->timeout_minutes);
    if (!x->canceled)
        cancel(x);
}

/* ---- builds ---- */

static void on_build_exit(struct wh_build_process *p, int exit_code, int signum, void *arg)
{
    (void)p;
    struct exec *x = arg;
    x->builds--;
    wh_log_debug("a builder ended with code %d, signal %d", exit_code, signum);
}

static void start_build(struct exec *x, struct wh_frame *frame)
{
    if (frame->nfds != 1)
        return;
    int channel = wh_steal_fd(&frame->fds[0]);
    const struct wh_user *user = x->job->user;
    struct wh_build_launch_options options = {.state = x->job->state,
                                              .job_uid = user ? user->uid : getuid(),
                                              .job_gid = user ? user->gid : getgid()};
    wh_autoerror err = {0};
    /* The channel is closed where it fails, and the client says that the build could not start; why is told
     * here. */
    if (wh_build_launch(&x->loop, &options, channel, on_build_exit, x, &err))
        x->builds++;
    else
        fprintf(stderr, "wherry: the builder can't start: %s\n", wh_error_text(&err));
}

/* ---- actions that are not built in ---- */

static void on_fetch_exit(struct wh_fetch_process *p, int exit_code, int signum, void *arg)
{
    (void)p;
    struct exec *x = arg;
    x->builds--;
    wh_log_debug("a fetcher ended with code %d, signal %d", exit_code, signum);
}

static void start_fetch(struct exec *x, struct wh_frame *frame)
{
    if (frame->nfds != 1)
        return;
    int channel = wh_steal_fd(&frame->fds[0]);
    const struct wh_user *user = x->job->user;
    cJSON *facts = wh_github_action_facts(wh_json_get(x->job->frame, "message"));
    struct wh_fetch_options options = {.state = x->job->state,
                                       .job_uid = user ? user->uid : getuid(),
                                       .job_gid = user ? user->gid : getgid(),
                                       .facts = facts};
    wh_autoerror err = {0};
    if (wh_fetch_launch(&x->loop, &options, channel, on_fetch_exit, x, &err))
        x->builds++;
    else
        fprintf(stderr, "wherry: %s\n", wh_error_text(&err));
    wh_github_action_facts_free(facts);
}

/* ---- the worker ---- */

static void on_readable(uv_poll_t *handle, int status, int events);

static void watch(struct exec *x)
{
    int events = UV_READABLE | (wh_frame_conn_wants_write(x->conn) ? UV_WRITABLE : 0);
    uv_poll_start(&x->conn_poll, events, on_readable);
}

/* fd: goes with it; -1: none. */
static void send_frame(struct exec *x, const cJSON *frame, int fd)
{
    wh_autoerror err = {0};
    if (wh_frame_conn_send(x->conn, frame, &fd, fd >= 0, &err) < 0)
        wh_log_debug("to the worker: %s", wh_error_text(&err));
    else
        watch(x);
}

static void handle_frame(struct exec *x, struct wh_frame *frame)
{
    const char *type = wh_json_string(frame->json, "type");
    if (wh_streq(type, "build")) {
        start_build(x, frame);
    } else if (wh_streq(type, "fetch")) {
        start_fetch(x, frame);
    } else if (wh_streq(type, "done")) {
        free(x->result);
        x->result = wh_strdup(wh_json_string(frame->json, "result"));
    } else if (wh_streq(type, "state") && wh_streq(wh_json_string(frame->json, "phase"), "completed")) {
        wh_log_debug("step %lld %s: %s", (long long)wh_json_int(frame->json, "number", 0),
                     wh_json_string(frame->json, "conclusion"), wh_json_string(frame->json, "step"));
    }
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct exec *x = handle->data;
    wh_autoerror err = {0};
    if (status == 0 && (events & UV_WRITABLE))
        (void)wh_frame_conn_flush(x->conn, NULL);
    for (;;) {
        wh_autoframe frame = {0};
        int n = status < 0 ? -1 : wh_frame_conn_recv(x->conn, &frame, &err);
        if (n < 0) {
            uv_poll_stop(handle);
            return;
        }
        if (n == 0)
            break;
        handle_frame(x, &frame);
    }
    watch(x);
}

static void on_worker_exit(uv_poll_t *handle, int status, int events)
{
    struct exec *x = handle->data;
    uv_poll_stop(handle);
    /* Its last frames may still wait in the socket. */
    on_readable(&x->conn_poll, status, events & ~UV_WRITABLE);
    if (wh_process_reap(&x->worker, &x->ended, NULL) == 0) {
        uv_poll_start(handle, UV_READABLE, on_worker_exit);
        return;
    }
    x->gone = true;
}

static int start_worker(struct exec *x, struct wh_error *err)
{
    int pair[2];
    if (wh_frame_pair(pair, err) < 0)
        return -1;
    char *argv[] = {"wherry", "worker", NULL};
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.path = x->job->self;
    options.argv = argv;
    options.env = x->job->env;
    options.stdout_fd = STDOUT_FILENO;
    options.stderr_fd = STDERR_FILENO;
    options.fds[options.nfds++] = (struct wh_process_fd){.fd = pair[1], .as = 3};
    options.new_group = true; /* a terminal's interrupt comes to us alone */
    options.death_signal = SIGKILL;
    options.cwd = "/";
    if (x->job->user) {
        options.set_ids = true;
        options.uid = x->job->user->uid;
        options.gid = x->job->user->gid;
        options.groups = x->job->user->groups;
        options.ngroups = x->job->user->ngroups;
    }
    if (wh_job_cgroup_create(x->job->user ? x->job->user->uid : geteuid(),
                             x->job->user ? x->job->user->gid : getegid(), &x->cgroup))
        options.cgroups[options.ncgroups++] = x->cgroup.fd;
    int n = wh_process_spawn(&options, &x->worker, err);
    close(pair[1]);
    x->conn = wh_frame_conn_new(pair[0]);
    wh_frame_conn_limit(x->conn, WH_MAX_WORKER_FRAME);
    return n;
}

static void watch_all(struct exec *x)
{
    uv_poll_init(&x->loop, &x->conn_poll, wh_frame_conn_fd(x->conn));
    uv_poll_init(&x->loop, &x->exit_poll, x->worker.pidfd);
    uv_signal_init(&x->loop, &x->interrupt);
    uv_signal_init(&x->loop, &x->terminate);
    uv_timer_init(&x->loop, &x->timeout);
    uv_timer_init(&x->loop, &x->kill_timer);
    x->conn_poll.data = x->exit_poll.data = x->interrupt.data = x->terminate.data = x;
    x->timeout.data = x->kill_timer.data = x;
    uv_poll_start(&x->exit_poll, UV_READABLE, on_worker_exit);
    uv_signal_start(&x->interrupt, on_signal, SIGINT);
    uv_signal_start(&x->terminate, on_signal, SIGTERM);
    if (x->job->timeout_minutes > 0)
        wh_timer_start(&x->timeout, on_timeout, (uint64_t)x->job->timeout_minutes * 60000, 0);
    watch(x);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static int report(const struct exec *x)
{
    char took[32];
    wh_duration_text(wh_mono_ns() - x->started, took);
    if (!x->result) {
        fprintf(stderr, "wherry: the worker of job '%s' ended without a result (%s %d)\n", x->job->display,
                x->ended.signal ? "signal" : "exit code", x->ended.signal ? x->ended.signal : x->ended.code);
        return 1;
    }
    if (!x->job->quiet)
        fprintf(stderr, "wherry: job '%s' %s in %s\n", x->job->display, x->result, took);
    return wh_streq(x->result, "succeeded") ? 0 : 1;
}

int wh_exec_run(const struct wh_exec_job *job)
{
    struct exec x = {
        .job = job, .worker = WH_PROCESS_NONE, .cgroup = WH_JOB_CGROUP_NONE, .started = wh_mono_ns()};
    wh_autoerror err = {0};
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&x.loop);
    if (start_worker(&x, &err) < 0) {
        fprintf(stderr, "wherry exec: %s\n", wh_error_text(&err));
        wh_job_cgroup_destroy(&x.cgroup);
        wh_frame_conn_free(x.conn);
        uv_loop_close(&x.loop);
        return 1;
    }
    watch_all(&x);
    send_frame(&x, job->frame, job->result);
    while (!x.gone || x.builds > 0)
        uv_run(&x.loop, UV_RUN_ONCE);
    wh_job_cgroup_destroy(&x.cgroup);
    uv_walk(&x.loop, close_handle, NULL);
    uv_run(&x.loop, UV_RUN_DEFAULT);
    uv_loop_close(&x.loop);
    wh_frame_conn_free(x.conn);
    int code = report(&x);
    free(x.result);
    return code;
}
