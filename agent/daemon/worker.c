/* The worker process of a job: start, frames, end. */
#include <errno.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/github/register.h"

#define WORKER_CONTROL_FD 3
#define FRAMES_PER_TURN 64

#define MAX_RESULT 20 /* of what a worker calls its job's result */

extern char **environ;

static void handle_closed(uv_handle_t *handle)
{
    free(handle);
}

static void drop_poll(uv_poll_t **poll)
{
    if (*poll) {
        uv_poll_stop(*poll);
        uv_close((uv_handle_t *)*poll, handle_closed);
    }
    *poll = NULL;
}

bool worker_runs(const struct jobrun *j)
{
    return j->worker.process.pid > 0;
}

void worker_kill(struct jobrun *j)
{
    if (worker_runs(j)) {
        j->killed = true;
        wh_process_signal(&j->worker.process, SIGKILL);
    }
}

static void drop_conn(struct worker *w)
{
    drop_poll(&w->frame_poll);
    wh_frame_conn_free(w->conn);
    w->conn = NULL;
}

void worker_drop(struct jobrun *j)
{
    drop_conn(&j->worker);
    drop_poll(&j->worker.exit_poll);
    if (worker_runs(j)) {
        wh_process_signal(&j->worker.process, SIGKILL);
        wh_process_forget(&j->worker.process);
    }
    wh_job_cgroup_destroy(&j->worker.cgroup); /* and whatever the job left in it */
    j->worker.process = WH_PROCESS_NONE;
}

/* ---- frames ---- */

static void on_state(struct jobrun *j, const cJSON *frame)
{
    const char *step = wh_json_string(frame, "step");
    free(j->step);
    j->step = step ? wh_strndup(step, strnlen(step, 200)) : NULL;
    j->step_number = (int)wh_json_int(frame, "number", 0);
    daemon_changed(j->r->d);
}

static void on_frame(struct jobrun *j, struct wh_frame *frame)
{
    const char *type = wh_json_string(frame->json, "type");
    if (wh_streq(type, "state")) {
        on_state(j, frame->json);
    } else if (wh_streq(type, "build") && frame->nfds == 1) {
        int channel = wh_steal_fd(&frame->fds[0]);
        frame->nfds = 0;
        builds_launch(j, channel);
    } else if (wh_streq(type, "completion") && frame->nfds == 1) {
        keep_completion(j, frame->fds[0]);
    } else if (wh_streq(type, "fetch") && frame->nfds == 1) {
        int channel = wh_steal_fd(&frame->fds[0]);
        frame->nfds = 0;
        fetches_launch(j, channel);
    } else if (wh_streq(type, "own") && frame->nfds == 1) {
        own_give_back(j, wh_steal_fd(&frame->fds[0]));
    } else if (wh_streq(type, "done")) {
        const char *result = wh_json_string(frame->json, "result");
        j->worker_done = true;
        j->done_accepted = wh_json_bool(frame->json, "completed", true);
        if (j->done_accepted && !wh_github_job_ends_by_request(j->service))
            keep_forget(j);
        free(j->result);
        j->result = wh_strndup(result ? result : "", strnlen(result ? result : "", MAX_RESULT));
        wh_log_info("job %s: %s", j->display_name, *j->result ? j->result : "ended");
    } else {
        wh_log_debug("the worker sent a frame that is not known: %.40s", type ? type : "(no type)");
    }
}

/* Some of what waits: a worker that floods us must not keep the loop from the other jobs. */
static int take_frames(struct jobrun *j, struct wh_error *err)
{
    int code = 1;
    for (int i = 0; i < FRAMES_PER_TURN && code == 1; i++) {
        wh_autoframe frame = {0};
        code = wh_frame_conn_recv(j->worker.conn, &frame, err);
        if (code == 1)
            on_frame(j, &frame);
    }
    return code;
}

static void watch_frames(struct worker *w);

static void take_poll(struct jobrun *j, int status, int events)
{
    struct worker *w = &j->worker;
    wh_autoerror err = {0};
    if (status == 0 && (events & UV_WRITABLE) && wh_frame_conn_flush(w->conn, &err)) {
        drop_conn(w); /* its exit tells the rest */
        return;
    }
    int code = take_frames(j, &err);
    if (code < 0) {
        if (code != -2)
            wh_log_warning("the worker's line: %s", wh_error_text(&err));
        drop_conn(w);
        return;
    }
    watch_frames(w);
}

static void on_frame_poll(uv_poll_t *poll, int status, int events)
{
    struct jobrun *j = poll->data;
    const char *before = wh_log_enter(j->r->name);
    take_poll(j, status, events);
    (void)wh_log_enter(before);
}

static void watch_frames(struct worker *w)
{
    int events = UV_READABLE | (wh_frame_conn_wants_write(w->conn) ? UV_WRITABLE : 0);
    uv_poll_start(w->frame_poll, events, on_frame_poll);
}

int worker_send(struct jobrun *j, const cJSON *frame, struct wh_error *err)
{
    return worker_send_fds(j, frame, NULL, 0, err);
}

int worker_send_fds(struct jobrun *j, const cJSON *frame, const int *fds, size_t nfds, struct wh_error *err)
{
    if (!j->worker.conn)
        return wh_fail(err, WH_E_FAILED, "the worker is gone");
    if (wh_frame_conn_send(j->worker.conn, frame, fds, nfds, err) < 0)
        return wh_wrap(err, "send to the worker");
    watch_frames(&j->worker);
    return 0;
}

/* ---- the end ---- */

static void worker_ended(struct jobrun *j)
{
    struct wh_process_exit how = {0};
    int code = wh_process_reap(&j->worker.process, &how, NULL);
    if (code == 0)
        return;
    /* What it said before it ended still lies in the socket, and what a process says that it left the socket
     * to: hence not until the end. */
    if (j->worker.conn)
        (void)take_frames(j, NULL);
    j->worker.process = WH_PROCESS_NONE;
    worker_drop(j);
    jobrun_worker_gone(j, &how);
}

static void on_exit_poll(uv_poll_t *poll, int status, int events)
{
    struct jobrun *j = poll->data;
    (void)status;
    (void)events;
    const char *before = wh_log_enter(j->r->name);
    worker_ended(j);
    (void)wh_log_enter(before);
}

/* ---- start ---- */

/* The agent's variables go on to the job, as those of GitHub's runner do; its own settings and tokens don't.
 */
static char **worker_env(const struct jobrun *j)
{
    const struct wh_user *user = &j->r->user.user;
    char **env = NULL;
    for (char **entry = environ; *entry; entry++)
        if (!wh_starts_with(*entry, "ACTIONS_RUNNER_INPUT_") && !wh_starts_with(*entry, "WHERRY_STATE=") &&
            !wh_starts_with(*entry, "CREDENTIALS_DIRECTORY=") && !wh_starts_with(*entry, "NOTIFY_SOCKET=") &&
            !wh_starts_with(*entry, "LISTEN_"))
            wh_strv_add(&env, *entry);
    if (j->r->user.change) {
        bool home = user->home && strcmp(user->home, "/") != 0 && access(user->home, X_OK) == 0;
        wh_env_set(&env, "HOME", home ? user->home : j->r->config->work);
        wh_env_set(&env, "USER", user->name);
        wh_env_set(&env, "LOGNAME", user->name);
        wh_env_set(&env, "XDG_RUNTIME_DIR", NULL);
        wh_env_set(&env, "XDG_STATE_HOME", NULL);
        wh_env_set(&env, "XDG_CONFIG_HOME", NULL);
        wh_env_set(&env, "XDG_CACHE_HOME", NULL);
    }
    wh_env_set(&env, WH_JOB_MARK, j->mark);
    wh_env_set(&env, WH_LOG_NAME_ENV, j->r->name);
    if (!wh_env_get(env, "PATH"))
        wh_env_set(&env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    return env;
}

static int spawn(struct jobrun *j, int control, struct wh_error *err)
{
    const struct job_user *user = &j->r->user;
    char *argv[] = {"wherry", "worker", NULL};
    wh_autostrv char **env = worker_env(j);
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.path = "/proc/self/exe"; /* needs no way to the file for the job's user */
    o.argv = argv;
    o.env = env;
    o.cwd = j->r->config->work;
    o.stdout_fd = o.stderr_fd = STDERR_FILENO;
    o.fds[0] = (struct wh_process_fd){.fd = control, .as = WORKER_CONTROL_FD};
    o.nfds = 1;
    o.new_session = true;
    o.umask = 022;
    if (user->change) {
        o.set_ids = true;
        o.uid = user->user.uid;
        o.gid = user->user.gid;
        o.groups = user->user.groups;
        o.ngroups = user->user.ngroups;
    }
    if (wh_job_cgroup_create(user->change ? user->user.uid : geteuid(),
                             user->change ? user->user.gid : getegid(), &j->worker.cgroup))
        o.cgroups[o.ncgroups++] = j->worker.cgroup.fd;
    return wh_process_spawn(&o, &j->worker.process, err);
}

static int start_polls(struct jobrun *j)
{
    struct worker *w = &j->worker;
    w->exit_poll = wh_calloc(1, sizeof *w->exit_poll);
    w->frame_poll = wh_calloc(1, sizeof *w->frame_poll);
    w->exit_poll->data = w->frame_poll->data = j;
    uv_poll_init(&j->r->d->loop, w->exit_poll, w->process.pidfd);
    uv_poll_init(&j->r->d->loop, w->frame_poll, wh_frame_conn_fd(w->conn));
    return uv_poll_start(w->exit_poll, UV_READABLE, on_exit_poll);
}

int worker_start(struct jobrun *j, struct wh_error *err)
{
    int pair[2];
    j->worker.process = WH_PROCESS_NONE;
    if (job_user_prepare_work(&j->r->user, j->r->config->work, err) || wh_frame_pair(pair, err))
        return -1;
    int code = spawn(j, pair[1], err);
    close(pair[1]);
    if (code < 0) {
        wh_job_cgroup_destroy(&j->worker.cgroup);
        close(pair[0]);
        return wh_wrap(err, "start the worker");
    }
    j->worker.conn = wh_frame_conn_new(pair[0]);
    wh_frame_conn_limit(j->worker.conn, WH_MAX_WORKER_FRAME);
    j->worker.started_ms = wh_mono_ms();
    if (start_polls(j)) {
        worker_drop(j);
        return wh_fail(err, WH_E_FAILED, "watch the worker");
    }
    watch_frames(&j->worker);
    return 0;
}
