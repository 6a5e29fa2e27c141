/* Starting `wherry fetcher`: it is the store's owner, has no namespaces of its own, and is told the rest in
 * one frame. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "wherry/actions/fetch.h"
#include "wherry/base/frame.h"
#include "wherry/base/log.h"
#include "wherry/build/launch.h"
#include "wherry/net/child_env.h"
#include "wherry/platform/process.h"

struct wh_fetch_process {
    struct wh_process process;
    uv_poll_t poll;
    wh_fetch_exit_fn on_exit;
    void *arg;
};

static int spawn(struct wh_fetch_process *p, int channel, int launch, uid_t uid, gid_t gid,
                 struct wh_error *err)
{
    char *argv[] = {"wherry", "fetcher", NULL};
    static const char *const more[] = {"WHERRY_NODE_MIRROR", "ACTIONS_RUNNER_ACTION_ARCHIVE_CACHE", NULL};
    wh_autostrv char **env = wh_net_child_env(more);
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.path = "/proc/self/exe";
    o.argv = argv;
    o.env = env;
    o.cwd = "/";
    o.stderr_fd = STDERR_FILENO;
    o.fds[0] = (struct wh_process_fd){.fd = channel, .as = WH_FETCHER_CHANNEL_FD};
    o.fds[1] = (struct wh_process_fd){.fd = launch, .as = WH_FETCHER_LAUNCH_FD};
    o.nfds = 2;
    o.new_group = true;
    o.umask = 077;
    if (geteuid() == 0) {
        o.set_ids = true;
        o.uid = uid;
        o.gid = gid;
    }
    return wh_process_spawn(&o, &p->process, err);
}

static int launch(struct wh_fetch_process *p, const struct wh_fetch_options *options, int channel,
                  struct wh_error *err)
{
    uid_t uid;
    gid_t gid;
    if (wh_build_state_owner(options->state, options->job_uid, options->job_gid, &uid, &gid, err) < 0)
        return -1;
    wh_autoclose int state = open(options->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (state < 0)
        return wh_fail_errno(err, "open the state folder %s", options->state);
    int pair[2];
    if (wh_frame_pair(pair, err) < 0)
        return -1;
    wh_autoclose int near = pair[0];
    int n = spawn(p, channel, pair[1], uid, gid, err);
    (void)close(pair[1]);
    if (n < 0)
        return -1;
    wh_autojson *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "launch");
    cJSON_AddItemReferenceToObject(frame, "facts", (cJSON *)options->facts);
    return wh_frame_send(near, frame, &state, 1, err);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_pidfd(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    struct wh_fetch_process *p = handle->data;
    struct wh_process_exit how = {0};
    if (wh_process_reap(&p->process, &how, NULL) == 0)
        return;
    (void)uv_poll_stop(handle);
    p->on_exit(p, how.signal ? -1 : how.code, how.signal, p->arg);
    uv_close((uv_handle_t *)handle, on_closed);
}

struct wh_fetch_process *wh_fetch_launch(uv_loop_t *loop, const struct wh_fetch_options *options,
                                         int channel_fd, wh_fetch_exit_fn on_exit, void *arg,
                                         struct wh_error *err)
{
    wh_autoclose int channel = channel_fd;
    struct wh_fetch_process *p = wh_calloc(1, sizeof *p);
    p->process = WH_PROCESS_NONE;
    p->on_exit = on_exit;
    p->arg = arg;
    p->poll.data = p;
    if (launch(p, options, channel, err) < 0) {
        wh_process_signal(&p->process, SIGKILL);
        if (p->process.pid > 0)
            (void)wh_process_wait(&p->process, &(struct wh_process_exit){0}, NULL);
        free(p);
        (void)wh_wrap(err, "start the fetcher");
        return NULL;
    }
    uv_poll_init(loop, &p->poll, p->process.pidfd);
    uv_poll_start(&p->poll, UV_READABLE, on_pidfd);
    return p;
}

void wh_fetch_kill(struct wh_fetch_process *p)
{
    wh_process_signal(&p->process, SIGKILL);
}
