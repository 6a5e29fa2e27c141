/* The child's side of a start. With a shared memory (spawn) only async-signal-safe calls are allowed here: no
 * allocation, no locks, and identity changes by raw system call, since glibc's would change the parent's
 * other threads. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process_internal.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

int wh_child_prepare(struct wh_child_setup *s, const struct wh_process_options *o, struct wh_error *err)
{
    if (o->nfds > WH_MAX_PROCESS_FDS || o->ncgroups > WH_MAX_PROCESS_CGROUPS)
        return wh_fail(err, WH_E_LIMIT, "start of a process: too many descriptors or cgroups");
    for (size_t i = 0; i < o->nfds; i++)
        if (o->fds[i].as < 3 || o->fds[i].as >= 3 + WH_MAX_PROCESS_FDS)
            return wh_fail(err, WH_E_ARGUMENT, "start of a process: descriptor %d is out of range",
                           o->fds[i].as);
    *s = (struct wh_child_setup){.o = o, .null_fd = -1, .entered = SIZE_MAX};
    s->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (s->null_fd < 0)
        return wh_fail_errno(err, "open /dev/null");
    return 0;
}

static int failed(struct wh_child_setup *s, const char *what)
{
    s->error = errno;
    s->failed = what;
    return -1;
}

static int write_text(int dir, const char *path, const char *text)
{
    int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = write(fd, text, strlen(text));
    int saved = errno;
    close(fd);
    errno = saved;
    return n < 0 ? -1 : 0;
}

/* Moves every descriptor that the child gets to a number above all wanted ones first, so that no move
 * overwrites the source of another; then to its place. */
static int place_fds(struct wh_child_setup *s)
{
    const struct wh_process_options *o = s->o;
    int given[3 + WH_MAX_PROCESS_FDS];
    int wanted[3 + WH_MAX_PROCESS_FDS] = {0, 1, 2};
    size_t n = 3;
    given[0] = o->stdin_fd < 0 ? s->null_fd : o->stdin_fd;
    given[1] = o->stdout_fd < 0 ? s->null_fd : o->stdout_fd;
    given[2] = o->stderr_fd < 0 ? s->null_fd : o->stderr_fd;
    for (size_t i = 0; i < o->nfds; i++, n++) {
        given[n] = o->fds[i].fd;
        wanted[n] = o->fds[i].as;
    }
    for (size_t i = 0; i < n; i++)
        if ((given[i] = fcntl(given[i], F_DUPFD_CLOEXEC, 3 + WH_MAX_PROCESS_FDS)) < 0)
            return failed(s, "duplicate a descriptor");
    for (size_t i = 0; i < n; i++)
        if (dup2(given[i], wanted[i]) < 0)
            return failed(s, "place a descriptor");
    /* Descriptors that were opened without close-on-exec by somebody else are not the child's either. */
    bool keep[3 + WH_MAX_PROCESS_FDS] = {false};
    for (size_t i = 0; i < n; i++)
        keep[wanted[i]] = true;
    for (int fd = 3; fd < 3 + WH_MAX_PROCESS_FDS; fd++)
        if (!keep[fd])
            fcntl(fd, F_SETFD, FD_CLOEXEC);
    syscall(SYS_close_range, 3U + WH_MAX_PROCESS_FDS, ~0U, CLOSE_RANGE_CLOEXEC);
    return 0;
}

static int set_identity(struct wh_child_setup *s)
{
    const struct wh_process_options *o = s->o;
    if (!o->set_ids)
        return 0;
    if (syscall(SYS_setgroups, o->ngroups, o->groups) < 0)
        return failed(s, "set the supplementary groups");
    if (syscall(SYS_setresgid, o->gid, o->gid, o->gid) < 0)
        return failed(s, "set the group");
    if (syscall(SYS_setresuid, o->uid, o->uid, o->uid) < 0)
        return failed(s, "set the user");
    if (o->uid == 0)
        return 0;
    /* Ambient and inheritable sets would survive an exec. */
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    if (syscall(SYS_capset, &header, none) < 0)
        return failed(s, "drop the capabilities");
    return 0;
}

static void reset_signals(struct wh_child_setup *s)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int signal = 1; signal < _NSIG; signal++)
        if (signal != SIGKILL && signal != SIGSTOP)
            sigaction(signal, &action, NULL); /* fails for glibc's own two: these are not ignored anyway */
    sigprocmask(SIG_SETMASK, &s->mask, NULL);
}

__attribute__((no_sanitize_address)) int wh_child_apply(struct wh_child_setup *s)
{
    const struct wh_process_options *o = s->o;
    if (o->new_session) {
        if (setsid() < 0)
            return failed(s, "make a session");
    } else if (o->new_group && setpgid(0, 0) < 0) {
        return failed(s, "make a process group");
    }
    for (size_t i = 0; i < o->ncgroups; i++)
        if (i != s->entered && write_text(o->cgroups[i], "cgroup.procs", "0") < 0)
            return failed(s, "enter the cgroup");
    if (o->umask >= 0)
        umask((mode_t)o->umask);
    if (place_fds(s) < 0 || set_identity(s) < 0)
        return -1;
    /* After the change of identity: the folder must be the child's to enter. */
    if (o->cwd && chdir(o->cwd) < 0)
        return failed(s, "enter the working directory");
    /* A change of identity clears it, so it comes last. */
    if (o->death_signal && prctl(PR_SET_PDEATHSIG, o->death_signal, 0, 0, 0) < 0)
        return failed(s, "set the death signal");
    reset_signals(s);
    return 0;
}
