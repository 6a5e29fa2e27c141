/* A further process in a container that runs already. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "internal.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/json.h"
#include "wherry/platform/process.h"

#define START_MS 20000u /* how long an exec waits for its container to be there */
#define START_TURN_MS 2
#define ASKED_MS 5000u /* how long a process may take to be there, once somebody wants its end */
#define PID_WAIT_MS 20 /* between looks for the pid file of a process that is just being started */

static char **exec_argv(const struct wh_bundle *b, const char *process, const char *pid)
{
    char **argv = NULL;
    const char *slash = strrchr(b->box, '/');
    wh_strv_add(&argv, b->container->runtime);
    wh_strv_take(&argv, wh_printf("--root=%s/state", b->box));
    if (b->container->is_crun)
        wh_strv_add(&argv, "--cgroup-manager=disabled");
    wh_strv_add(&argv, "exec");
    wh_strv_take(&argv, wh_printf("--process=%s", process));
    wh_strv_take(&argv, wh_printf("--pid-file=%s", pid));
    wh_strv_add(&argv, slash ? slash + 1 : b->box);
    return argv;
}

/* In a file, since a command line shows it to everybody. */
static int write_process(const struct wh_bundle *b, const char *path, struct wh_error *err)
{
    wh_autojson *process = wh_bundle_process(b);
    wh_autofree char *text = wh_json_print(process);
    wh_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return wh_fail_errno(err, "make %s", path);
    return wh_write_all(fd, text, strlen(text), err);
}

static pid_t pid_of(const char *path)
{
    wh_autostr text = {0};
    uint64_t pid;
    if (wh_read_file(AT_FDCWD, path, 32, &text, NULL) < 0)
        return 0;
    wh_autofree char *trimmed = wh_view_dup(wh_view_trim(wh_view_of(wh_str_text(&text))));
    return wh_parse_u64(trimmed, INT32_MAX, &pid) && pid > 1 ? (pid_t)pid : 0;
}

static void kill_all(const struct wh_process *runtime, const char *pid_path)
{
    pid_t pid = pid_of(pid_path);
    if (pid > 0)
        (void)kill(pid, SIGKILL);
    else
        wh_process_signal(runtime, SIGKILL);
}

static int wait_for(struct wh_process *runtime, const struct wh_exec_io *io, const char *pid_path, int *code,
                    struct wh_error *err)
{
    struct wh_process_exit how;
    int control = io->control;
    uint64_t asked = 0; /* since when somebody waits for the process to be there */
    for (;;) {
        struct pollfd fds[] = {{runtime->pidfd, POLLIN, 0}, {control, POLLIN, 0}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return wh_fail_errno(err, "wait for a process in a container");
        if (fds[0].revents)
            break;
        if (!fds[1].revents)
            continue;
        pid_t pid = pid_of(pid_path);
        if (pid == 0) {
            (void)poll(NULL, 0, PID_WAIT_MS);
            asked = asked ? asked : wh_machine_ms();
            pid = pid_of(pid_path);
            if (pid == 0 && wh_machine_ms() - asked < ASKED_MS)
                continue; /* it is not started yet: what was asked waits in the socket */
        }
        if (pid == 0) { /* nor will it be: the container died as this one began */
            kill_all(runtime, pid_path);
            control = -1;
            continue;
        }
        if (io->on_control(io->arg, pid) < 0) {
            kill_all(runtime, pid_path);
            control = -1;
        }
    }
    if (wh_process_wait(runtime, &how, err) < 0)
        return -1;
    *code = how.code;
    return 0;
}

/* The container's folder is known a moment before the runtime has made the container. */
static int wait_started(const struct wh_bundle *b, struct wh_error *err)
{
    const char *slash = strrchr(b->box, '/');
    wh_autofree char *pid = wh_path_join(b->box, "pid");
    wh_autofree char *status = wh_printf("%s/state/%s/%s", b->box, slash ? slash + 1 : b->box,
                                         b->container->is_crun ? "status" : "state.json");
    uint64_t deadline = wh_machine_ms() + START_MS;
    while (access(pid, F_OK) < 0 || access(status, F_OK) < 0) {
        if (access(b->box, F_OK) < 0 || wh_machine_ms() > deadline)
            return wh_fail(err, WH_E_FAILED, "the container is not running");
        (void)poll(NULL, 0, START_TURN_MS);
    }
    return 0;
}

int wh_container_exec(const char *box, const struct wh_run_spec *spec, const struct wh_exec_io *io, int *code,
                      struct wh_error *err)
{
    static atomic_uint counter;
    struct wh_bundle b = {.spec = spec,
                          .container = wh_container_ready(err),
                          .box = (char *)box /* borrowed: not cleaned here */};
    if (!b.container || wh_run_user_resolve(spec->rootfs->fd, spec->user, &b.user, err) < 0)
        return -1;
    if (wait_started(&b, err) < 0)
        return -1;
    unsigned number = atomic_fetch_add(&counter, 1);
    wh_autofree char *process = wh_printf("%s/exec-%u.json", box, number);
    wh_autofree char *pid = wh_printf("%s/exec-%u.pid", box, number);
    if (write_process(&b, process, err) < 0)
        return -1;
    wh_autostrv char **argv = exec_argv(&b, process, pid);
    char *env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    struct wh_process runtime = WH_PROCESS_NONE;
    options.path = argv[0];
    options.argv = argv;
    options.env = env;
    options.stdin_fd = io->fds[0];
    options.stdout_fd = io->fds[1];
    options.stderr_fd = io->fds[2];
    int n = wh_process_spawn(&options, &runtime, err);
    if (n == 0)
        n = wait_for(&runtime, io, pid, code, err);
    (void)unlink(process);
    (void)unlink(pid);
    return n;
}
