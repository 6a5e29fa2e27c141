/* Starting a child: an exec with shared memory until then (spawn), or a fork that goes on in this program. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process_internal.h"
#include "wherry/base/str.h"
#include "wherry/platform/clone.h"

#define SPAWN_STACK ((size_t)64 << 10)
#define CGROUP2_MAGIC 0x63677270UL

extern char **environ;

__attribute__((no_sanitize_address)) static int spawn_child(void *data)
{
    struct wh_child_setup *s = data;
    const struct wh_process_options *o = s->o;
    if (wh_child_apply(s) == 0) {
        execve(o->path, o->argv, o->env ? o->env : environ);
        s->error = errno;
        s->failed = "start the program";
    }
    _exit(127);
}

/* ENOENT of an exec can also mean the interpreter of a script; users see the path either way. */
static int start_error(const struct wh_child_setup *s, struct wh_error *err)
{
    const struct wh_process_options *o = s->o;
    errno = s->error;
    const char *path = o->path ? o->path : "a child";
    if (o->cwd)
        return wh_fail_errno(err, "start %s in %s: %s", path, o->cwd, s->failed);
    return wh_fail_errno(err, "start %s: %s", path, s->failed);
}

/* By the parent, after the exec: a child that is not dumpable yet (our workers are not) can't open its own
 * file. */
static void set_oom_score(const struct wh_process_options *o, pid_t pid)
{
    if (!o->set_oom_score)
        return;
    wh_autofree char *path = wh_printf("/proc/%d/oom_score_adj", (int)pid);
    wh_autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        dprintf(fd, "%d", o->oom_score_adj);
}

/* A process that enters a group later waits for all processors to pass a quiet point, for 5 to 20 ms; one
 * that is born there waits for nothing. Only v2 groups can do that, and only from Linux 5.7 on. */
static pid_t spawn_in_group(struct wh_child_setup *s, char *stack, int *pidfd)
{
    const struct wh_process_options *o = s->o;
    struct statfs fs;
    size_t group = 0;
    while (group < o->ncgroups &&
           (fstatfs(o->cgroups[group], &fs) < 0 || (unsigned long)fs.f_type != CGROUP2_MAGIC))
        group++;
    if (group >= o->ncgroups)
        return -1;
    s->entered = group;
    pid_t pid = wh_clone3_vfork(o->cgroups[group], pidfd, stack, SPAWN_STACK, spawn_child, s);
    if (pid < 0)
        s->entered = SIZE_MAX;
    return pid;
}

int wh_process_spawn(const struct wh_process_options *options, struct wh_process *out, struct wh_error *err)
{
    *out = WH_PROCESS_NONE;
    struct wh_child_setup s;
    if (wh_child_prepare(&s, options, err) < 0)
        return -1;
    char *stack =
        mmap(NULL, SPAWN_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) {
        close(s.null_fd);
        return wh_fail_errno(err, "start %s: memory for a stack", options->path);
    }
    /* No handler of ours may run in the child while the memory is shared. */
    sigset_t all;
    sigfillset(&all);
    sigset_t old;
    pthread_sigmask(SIG_SETMASK, &all, &old);
    sigemptyset(&s.mask);
    int pidfd = -1;
    pid_t pid = spawn_in_group(&s, stack, &pidfd);
    if (pid < 0)
        pid = clone(spawn_child, stack + SPAWN_STACK, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &s,
                    &pidfd);
    int clone_errno = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    munmap(stack, SPAWN_STACK);
    close(s.null_fd);
    if (pid < 0) {
        errno = clone_errno;
        return wh_fail_errno(err, "start %s: new process", options->path);
    }
    if (s.failed) {
        waitpid(pid, NULL, 0);
        close(pidfd);
        return start_error(&s, err);
    }
    *out = (struct wh_process){.pid = pid, .pidfd = pidfd};
    set_oom_score(options, pid);
    return 0;
}

/* The forked child tells by this pipe that it stands (end of file) or what failed. */
struct fork_report {
    int error;
    const char *failed; /* same program: the constant has the same address */
};

/* Above 2, only what was given stays open: the parent's sockets and files would otherwise live as long as the
 * child. */
static void close_others(const struct wh_process_options *o)
{
    bool keep[3 + WH_MAX_PROCESS_FDS] = {false};
    for (size_t i = 0; i < o->nfds; i++)
        keep[o->fds[i].as] = true;
    for (int fd = 3; fd < 3 + WH_MAX_PROCESS_FDS; fd++)
        if (!keep[fd])
            close(fd);
    syscall(SYS_close_range, 3U + WH_MAX_PROCESS_FDS, ~0U, 0U);
}

_Noreturn static void fork_child(struct wh_child_setup *s, int report, int (*run)(void *), void *data)
{
    const struct wh_process_options *o = s->o;
    sigset_t none;
    sigemptyset(&none);
    s->mask = none;
    if (wh_child_apply(s) < 0) {
        struct fork_report r = {s->error, s->failed};
        ssize_t n = write(report, &r, sizeof r);
        _exit(n == (ssize_t)sizeof r ? 127 : 126);
    }
    close_others(o); /* ends the report pipe too */
    if (o->env)
        environ = wh_strv_dup(o->env);
    if (o->argv && o->argv[0])
        prctl(PR_SET_NAME, o->argv[0], 0, 0, 0);
    int code = run(data);
    fflush(NULL);
    _exit(code);
}

int wh_process_fork(const struct wh_process_options *options, int (*run)(void *data), void *data,
                    struct wh_process *out, struct wh_error *err)
{
    *out = WH_PROCESS_NONE;
    wh_autoclose int report_read = -1;
    wh_autoclose int report_write = -1;
    int ends[2];
    if (wh_pipe(ends, false, err) < 0)
        return -1;
    report_read = ends[0];
    /* Out of the way of the numbers that the child's descriptors are moved to. */
    report_write = fcntl(ends[1], F_DUPFD_CLOEXEC, 3 + WH_MAX_PROCESS_FDS);
    close(ends[1]);
    if (report_write < 0)
        return wh_fail_errno(err, "new process: pipe");
    struct wh_child_setup s;
    if (wh_child_prepare(&s, options, err) < 0)
        return -1;
    fflush(NULL); /* nothing that waits in stdio may be written twice */
    sigset_t all;
    sigfillset(&all);
    sigset_t old;
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pid_t pid = fork();
    if (pid == 0)
        fork_child(&s, report_write, run, data);
    int fork_errno = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    close(s.null_fd);
    if (pid < 0) {
        errno = fork_errno;
        return wh_fail_errno(err, "new process");
    }
    close(wh_steal_fd(&report_write));
    struct fork_report r;
    ssize_t n;
    do
        n = read(report_read, &r, sizeof r);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof r) {
        waitpid(pid, NULL, 0);
        s.error = r.error;
        s.failed = r.failed;
        return start_error(&s, err);
    }
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        int saved = errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        errno = saved;
        return wh_fail_errno(err, "new process: pidfd");
    }
    fcntl(pidfd, F_SETFD, FD_CLOEXEC);
    *out = (struct wh_process){.pid = pid, .pidfd = pidfd};
    return 0;
}
