/* Starting `wherry builder`: namespaces, ids, cgroups, and the frame that tells it what it is for. */
#include "wherry/build/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "build/launch_maps.h"
#include "launch_internal.h"
#include "launch_requests.h"
#include "wherry/base/frame.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "wherry/build/setup.h"
#include "wherry/platform/cgroup.h"
#include "wherry/platform/clone.h"

#define NAMESPACES ((uint64_t)(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS))

struct wh_build_process {
    pid_t pid; /* 0: reaped */
    int pidfd;
    int launch; /* our end; its closing tells the builder that we are gone */
    struct wh_build_cgroup cgroup;
    int bounded; /* an eventfd, written when the process is in its groups */
    bool entering;
    bool ended; /* while it was being put there */
    struct wh_error enter_error;
    struct wh_launch_maps *maps; /* an ordinary user's are being written */
    cJSON *frame;                /* what it is told after that, */
    int state;                   /* with this; -1: its path will do */
    struct wh_error failure;
    uv_work_t enter;
    uv_poll_t poll;
    struct launch_requests *requests; /* NULL: none are taken */
    wh_build_exit_fn on_exit;
    void *arg;
};

/* What the builder inherits of our environment: no secret is passed by it, and nothing of the user's. */
static const char *const kept_env[] = {
    "http_proxy",     "HTTP_PROXY",   "https_proxy",   "HTTPS_PROXY",  "no_proxy",      "NO_PROXY",
    "all_proxy",      "ALL_PROXY",    "WHERRY_LOG",    "TZ",           "SSL_CERT_FILE", "SSL_CERT_DIR",
    "JOURNAL_STREAM", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS",
};

static char **builder_env(void)
{
    char **env = NULL;
    wh_env_set(&env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    wh_env_set(&env, "LANG", "C.UTF-8");
    wh_env_set(&env, WH_LOG_NAME_ENV, wh_log_name());
    for (size_t i = 0; i < WH_COUNT(kept_env); i++) {
        const char *value = getenv(kept_env[i]);
        if (value)
            wh_env_set(&env, kept_env[i], value);
    }
    return env;
}

/* ---- the child, between clone3 and exec: plain system calls only ---- */

static _Noreturn void child(int self, int channel, int launch, char *const *argv, char *const *env)
{
    static const char failed[] = "wherry: the builder could not be started\n";
    int null = open("/dev/null", O_RDWR);
    sigset_t none;
    (void)sigemptyset(&none);
    if (wh_child_keep_caps() == 0 && null >= 0 && dup2(null, 0) == 0 && dup2(2, 1) == 1 &&
        sigprocmask(SIG_SETMASK, &none, NULL) == 0) {
        /* The program is the last one: exec by descriptor, since /proc may be another namespace's. */
        const int fds[] = {channel, launch, self};
        if (wh_child_place_fds(fds, WH_COUNT(fds), WH_BUILDER_CHANNEL_FD) == 0) {
            int program = WH_BUILDER_CHANNEL_FD + 2;
            (void)fcntl(program, F_SETFD, FD_CLOEXEC);
            (void)execveat(program, "", argv, env, AT_EMPTY_PATH);
        }
    }
    (void)!write(2, failed, sizeof failed - 1);
    _exit(127);
}

/* What the child needs, made before the clone. */
struct program {
    int self;
    int channel;
    int launch;
    char **env;
    char *argv[3];
};

/* The kernel refuses user namespaces in a chroot. So a helper leaves it, in a mount namespace of its own, and
 * makes the builder from there, as a child of ours. Returns its pid; negative with errno. */
static pid_t clone_out_of_chroot(struct wh_build_process *p, const struct program *program)
{
    wh_autoclose int answer = -1;
    int ends[2];
    int helper_fd = -1;
    pid_t pid = -1;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    answer = ends[0];
    pid_t helper = wh_clone3(CLONE_NEWNS, -1, &helper_fd);
    if (helper == 0) {
        if (wh_child_leave_chroot() == 0)
            pid = wh_clone3(NAMESPACES | CLONE_PARENT, p->cgroup.v2_leaf, &helper_fd);
        if (pid == 0)
            child(program->self, program->channel, program->launch, program->argv, program->env);
        _exit(write(ends[1], &pid, sizeof pid) == sizeof pid ? 0 : 1);
    }
    (void)close(ends[1]);
    if (helper < 0)
        return -1;
    (void)close(helper_fd);
    bool known = read(answer, &pid, sizeof pid) == sizeof pid && pid > 0;
    while (waitpid(helper, NULL, 0) < 0 && errno == EINTR)
        ;
    if (known)
        p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    errno = EPERM;
    return known ? pid : -1;
}

static int start(struct wh_build_process *p, int channel, int launch, struct wh_error *err)
{
    wh_autoclose int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (self < 0)
        return wh_fail_errno(err, "open this program");
    char name[] = "wherry";
    char command[] = "builder";
    wh_autostrv char **env = builder_env();
    const struct program program = {self, channel, launch, env, {name, command, NULL}};
    pid_t pid = wh_clone3(NAMESPACES, p->cgroup.v2_leaf, &p->pidfd);
    if (pid == 0)
        child(self, channel, launch, program.argv, env);
    if (pid < 0 && errno == EPERM && geteuid() == 0)
        pid = clone_out_of_chroot(p, &program);
    if (pid < 0)
        return wh_fail_errno(err, "start the builder in namespaces of its own (user, mount, pid, ipc, uts)%s",
                             errno == ENOSPC || errno == EPERM ? "; is user.max_user_namespaces or "
                                                                 "kernel.unprivileged_userns_clone 0?"
                                                               : "");
    p->pid = pid;
    return p->pidfd < 0 ? wh_fail_errno(err, "watch the builder") : 0;
}

/* ---- the launcher's half of the hand-shake ---- */

static void add_fd(cJSON *names, int *fds, size_t *n, const char *name, int fd)
{
    if (fd < 0)
        return;
    cJSON_AddItemToArray(names, cJSON_CreateString(name));
    fds[(*n)++] = fd;
}

/* How registries are asked, by the settings (`registries:`) or their variables. */
static void add_registries(cJSON *options)
{
    static const struct {
        const char *variable, *name;
    } texts[] = {{"WHERRY_REGISTRY_MIRRORS", "mirrors"},
                 {"WHERRY_REGISTRY_INSECURE", "insecure"},
                 {"WHERRY_REGISTRY_CA", "ca"}};
    for (size_t i = 0; i < WH_COUNT(texts); i++) {
        const char *text = getenv(texts[i].variable);
        if (text && text[0])
            wh_json_add_string(options, texts[i].name, text);
    }
}

/* The builder's one frame, whose descriptors are added when it is sent. */
static cJSON *launch_frame(const struct wh_build_launch_options *options, bool state_rides)
{
    cJSON *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", WH_LAUNCH_TYPE);
    wh_json_add_string(frame, "state", state_rides ? WH_BUILD_STATE_POINT : options->state);
    if (options->scope)
        cJSON_AddItemToObject(frame, "scope", cJSON_Duplicate(options->scope, true));
    cJSON *more = options->options ? cJSON_Duplicate(options->options, true) : cJSON_CreateObject();
    add_registries(more);
    cJSON_AddItemToObject(frame, "options", more);
    return frame;
}

static int send_launch(struct wh_build_process *p, struct wh_error *err)
{
    int fds[4];
    size_t n = 0;
    cJSON *names = cJSON_AddArrayToObject(p->frame, "fds");
    add_fd(names, fds, &n, WH_LAUNCH_FD_CGROUP_V2, p->cgroup.v2);
    add_fd(names, fds, &n, WH_LAUNCH_FD_CGROUP_MEMORY, p->cgroup.v1_memory);
    add_fd(names, fds, &n, WH_LAUNCH_FD_STATE, p->state);
    add_fd(names, fds, &n, WH_LAUNCH_FD_BOUNDED, p->bounded);
    int sent = wh_frame_send(p->launch, p->frame, fds, n, err);
    wh_close_fd(&p->state);
    return sent;
}

/* It ends without having begun: on_exit tells, and wh_build_failure() why. */
static void fail_start(struct wh_build_process *p, struct wh_error *err)
{
    (void)wh_wrap(err, "start the builder");
    wh_log_error("%s", wh_error_text(err));
    wh_error_move(&p->failure, err);
    wh_build_kill(p);
}

static void on_maps(void *data, struct wh_error *err)
{
    struct wh_build_process *p = data;
    wh_autoerror failed = {0};
    if (err)
        wh_error_move(&failed, err);
    if (failed.code != WH_OK || send_launch(p, &failed) < 0)
        fail_start(p, &failed);
}

/* ---- its end ---- */

static void free_process(struct wh_build_process *p)
{
    if (p->pid > 0) {
        (void)kill(p->pid, SIGKILL); /* not reaped yet, so the number is still its */
        while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (p->pidfd >= 0)
        (void)close(p->pidfd);
    if (p->launch >= 0)
        (void)close(p->launch);
    if (p->bounded >= 0)
        (void)close(p->bounded);
    wh_launch_maps_stop(&p->maps);
    wh_close_fd(&p->state);
    cJSON_Delete(p->frame);
    wh_error_clear(&p->enter_error);
    wh_error_clear(&p->failure);
    wh_build_cgroup_destroy(&p->cgroup);
    free(p);
}

static void on_requests_closed(void *arg)
{
    free_process(arg);
}

static void on_closed(uv_handle_t *handle)
{
    struct wh_build_process *p = handle->data;
    launch_requests_stop(wh_steal(&p->requests), on_requests_closed, p);
}

/* Its pid namespace ended with it, so every process of the build is gone by now. */
static void reap(struct wh_build_process *p)
{
    int ended = 0;
    pid_t pid = waitpid(p->pid, &ended, WNOHANG);
    if (pid == 0)
        return;
    p->pid = 0;
    wh_launch_maps_stop(&p->maps);
    (void)uv_poll_stop(&p->poll);
    bool exited = pid > 0 && WIFEXITED(ended);
    p->on_exit(p, exited ? WEXITSTATUS(ended) : -1, pid > 0 && WIFSIGNALED(ended) ? WTERMSIG(ended) : 0,
               p->arg);
    uv_close((uv_handle_t *)&p->poll, on_closed);
}

static void on_pidfd(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    struct wh_build_process *p = handle->data;
    if (p->entering) {
        /* Its number is being written into groups: it must stay its own until then. */
        p->ended = true;
        (void)uv_poll_stop(handle);
        return;
    }
    reap(p);
}

/* ---- cgroup v1: the kernel takes milliseconds to move a process, and the builder needn't wait for it before
 * its first RUN ---- */

static void enter_groups(uv_work_t *work)
{
    struct wh_build_process *p = work->data;
    const uint64_t one = 1;
    if (wh_build_cgroup_enter(&p->cgroup, p->pid, false, &p->enter_error) == 0 &&
        write(p->bounded, &one, sizeof one) != sizeof one)
        (void)wh_fail_errno(&p->enter_error, "tell the builder that it is bounded");
}

static void on_entered(uv_work_t *work, int status)
{
    (void)status;
    struct wh_build_process *p = work->data;
    p->entering = false;
    if (p->ended) {
        reap(p);
    } else if (p->enter_error.code != WH_OK) {
        wh_log_error("builder: %s", wh_error_text(&p->enter_error));
        wh_build_kill(p);
    }
}

static int bound(struct wh_build_process *p, uv_loop_t *loop, struct wh_error *err)
{
    const uint64_t one = 1;
    if (p->cgroup.v1_pids < 0 && p->cgroup.v1_memory < 0 && p->cgroup.v1_devices < 0)
        return write(p->bounded, &one, sizeof one) == sizeof one
                   ? 0
                   : wh_fail_errno(err, "tell the builder that it is bounded");
    int failed = uv_queue_work(loop, &p->enter, enter_groups, on_entered);
    if (failed != 0)
        return wh_fail(err, WH_E_FAILED, "bound the builder: %s", uv_strerror(failed));
    p->entering = true;
    return 0;
}

/* ---- public ---- */

static int launch(struct wh_build_process *p, const struct wh_build_launch_options *options, int channel,
                  struct wh_userns_map *map, struct wh_error *err)
{
    if (wh_userns_map_choose(options->job_uid, options->job_gid, map, err) < 0 ||
        wh_build_state_prepare(options->state, map, &p->state, err) < 0)
        return -1;
    p->frame = launch_frame(options, p->state >= 0);
    const struct wh_build_cgroup_limits limits = {options->pids_max, options->memory_max};
    if (wh_build_cgroup_create(&limits, map->root_uid, map->root_gid, &p->cgroup, err) < 0)
        return -1;
    int pair[2];
    p->bounded = eventfd(0, EFD_CLOEXEC);
    if (p->bounded < 0)
        return wh_fail_errno(err, "make an event descriptor");
    if (wh_frame_pair(pair, err) < 0)
        return -1;
    p->launch = pair[0];
    int started = start(p, channel, pair[1], err);
    (void)close(pair[1]);
    if (started < 0 || geteuid() != 0)
        return started; /* an ordinary user's maps take their time */
    return wh_userns_write_maps(p->pid, map, err) < 0 ? -1 : send_launch(p, err);
}

struct wh_build_process *wh_build_launch(uv_loop_t *loop, const struct wh_build_launch_options *options,
                                         int channel_fd, wh_build_exit_fn on_exit, void *arg,
                                         struct wh_error *err)
{
    wh_autoclose int channel = channel_fd;
    struct wh_build_process *p = wh_calloc(1, sizeof *p);
    struct wh_userns_map map;
    p->pidfd = p->launch = p->bounded = p->state = -1;
    p->cgroup = (struct wh_build_cgroup)WH_BUILD_CGROUP_NONE;
    p->on_exit = on_exit;
    p->arg = arg;
    p->poll.data = p->enter.data = p;
    if (launch(p, options, channel, &map, err) < 0) {
        free_process(p);
        (void)wh_wrap(err, "start the builder");
        return NULL;
    }
    int failed = uv_poll_init(loop, &p->poll, p->pidfd);
    if (failed != 0) {
        (void)wh_fail(err, WH_E_FAILED, "watch the builder: %s", uv_strerror(failed));
        free_process(p);
        return NULL;
    }
    /* The thread of bound() uses p: nothing may fail after it. */
    failed = uv_poll_start(&p->poll, UV_READABLE, on_pidfd);
    if (failed != 0)
        (void)wh_fail(err, WH_E_FAILED, "watch the builder: %s", uv_strerror(failed));
    else
        p->requests = launch_requests_start(loop, p->launch, geteuid() != 0, err);
    if (!p->requests || bound(p, loop, err) < 0) {
        uv_close((uv_handle_t *)&p->poll, on_closed);
        return NULL;
    }
    if (geteuid() != 0)
        wh_launch_maps_start(&p->maps, loop, p->pid, p->launch, &map, on_maps, p);
    return p;
}

const char *wh_build_failure(const struct wh_build_process *p)
{
    return p->failure.code == WH_OK ? NULL : wh_error_text(&p->failure);
}

pid_t wh_build_process_pid(const struct wh_build_process *p)
{
    return p->pid;
}

int wh_build_share_dir(const struct wh_build_process *p, int dirfd, struct wh_error *err)
{
    if (geteuid() == 0) {
        char path[64];
        (void)snprintf(path, sizeof path, "/proc/%d/ns/user", (int)p->pid);
        wh_autoclose int userns = open(path, O_RDONLY | O_CLOEXEC);
        wh_autoerror why = {0};
        int clone = userns < 0 ? wh_fail_errno(&why, "open %s", path) : wh_idmap_clone(dirfd, userns, &why);
        if (clone >= 0)
            return clone;
        wh_log_debug("builder: %s; it reads the folder by what others may read", wh_error_text(&why));
    }
    int copy = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
    return copy < 0 ? wh_fail_errno(err, "duplicate the folder") : copy;
}

void wh_build_kill(struct wh_build_process *p)
{
    if (p->pid > 0)
        (void)kill(p->pid, SIGKILL);
}
