/* The life of a child after its start: waiting, signals, and short programs that are run to their end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wherry/base/str.h"
#include "wherry/platform/process.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static int wait_for(struct wh_process *process, int flags, struct wh_process_exit *out, struct wh_error *err)
{
    siginfo_t info = {0};
    int n;
    do
        n = waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | flags);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return wh_fail_errno(err, "wait for process %d", (int)process->pid);
    if (info.si_pid == 0)
        return 0;
    bool exited = info.si_code == CLD_EXITED;
    *out = (struct wh_process_exit){.code = exited ? info.si_status : 128 + info.si_status,
                                    .signal = exited ? 0 : info.si_status};
    wh_process_forget(process);
    return 1;
}

int wh_process_wait(struct wh_process *process, struct wh_process_exit *out, struct wh_error *err)
{
    return wait_for(process, 0, out, err) < 0 ? -1 : 0;
}

int wh_process_reap(struct wh_process *process, struct wh_process_exit *out, struct wh_error *err)
{
    return wait_for(process, WNOHANG, out, err);
}

void wh_process_signal(const struct wh_process *process, int signal)
{
    if (process->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, process->pidfd, signal, NULL, 0);
}

void wh_process_signal_group(const struct wh_process *process, int signal)
{
    /* The group's number can't go to a stranger while its leader is not waited for. */
    if (process->pid > 0 && process->pidfd >= 0)
        kill(-process->pid, signal);
}

void wh_process_forget(struct wh_process *process)
{
    if (process->pidfd >= 0)
        close(process->pidfd);
    *process = WH_PROCESS_NONE;
}

int wh_pipe(int ends[2], bool nonblocking_read, struct wh_error *err)
{
    if (pipe2(ends, O_CLOEXEC) < 0)
        return wh_fail_errno(err, "make a pipe");
    if (nonblocking_read)
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return 0;
}

/* Reads once; false at the end. */
static bool drain(int fd, size_t max, struct wh_str *into)
{
    char buffer[16384];
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    if (n == 0)
        return false;
    if (into && into->len < max)
        wh_str_addn(into, buffer, WH_MIN((size_t)n, max - into->len));
    return true;
}

static void drain_both(int out_fd, int err_fd, size_t max, struct wh_str *out, struct wh_str *errors)
{
    struct pollfd fds[2] = {{.fd = out_fd, .events = POLLIN}, {.fd = err_fd, .events = POLLIN}};
    struct wh_str *into[2] = {out, errors};
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        if (poll(fds, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            return;
        }
        for (int i = 0; i < 2; i++)
            if (fds[i].fd >= 0 && fds[i].revents != 0 && !drain(fds[i].fd, max, into[i]))
                fds[i].fd = -1;
    }
}

int wh_process_run(const struct wh_process_options *options, size_t max, struct wh_str *out,
                   struct wh_str *errors, struct wh_error *err)
{
    wh_autoclose int out_read = -1;
    wh_autoclose int err_read = -1;
    wh_autoclose int out_write = -1;
    wh_autoclose int err_write = -1;
    struct wh_process_options o = *options;
    int ends[2];
    if (out) {
        if (wh_pipe(ends, false, err) < 0)
            return -1;
        out_read = ends[0];
        out_write = o.stdout_fd = ends[1];
    }
    if (errors) {
        if (wh_pipe(ends, false, err) < 0)
            return -1;
        err_read = ends[0];
        err_write = o.stderr_fd = ends[1];
    }
    struct wh_process process;
    if (wh_process_spawn(&o, &process, err) < 0)
        return -1;
    if (out)
        close(wh_steal_fd(&out_write));
    if (errors)
        close(wh_steal_fd(&err_write));
    drain_both(out_read, err_read, max, out, errors);
    struct wh_process_exit ended = {0};
    if (wh_process_wait(&process, &ended, err) < 0)
        return -1;
    return ended.code;
}
