/* clone3 and what the child does with plain system calls before its exec. */
#include "wherry/platform/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_PLACED 8

pid_t wh_clone3(uint64_t flags, int cgroup, int *pidfd)
{
    struct clone_args args = {
        .flags = flags | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD, /* then it is the caller's own */
    };
    if (cgroup >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup;
    }
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

int wh_child_place_fds(const int *from, size_t n, int first)
{
    if (n > MAX_PLACED)
        return -1;
    /* First out of the way of each other, then to their places. */
    int high[MAX_PLACED];
    for (size_t i = 0; i < n; i++)
        if ((high[i] = fcntl(from[i], F_DUPFD, first + MAX_PLACED)) < 0)
            return -1;
    for (size_t i = 0; i < n; i++)
        if (dup2(high[i], first + (int)i) < 0)
            return -1;
    return (int)syscall(SYS_close_range, (unsigned)first + (unsigned)n, ~0U, 0);
}

int wh_child_keep_caps(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0)
        return -1;
    data[0].inheritable = data[0].permitted;
    data[1].inheritable = data[1].permitted;
    if (syscall(SYS_capset, &header, data) < 0)
        return -1;
    for (unsigned cap = 0; cap < 64; cap++)
        if (data[cap / 32].permitted & (1U << (cap % 32)))
            (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
    return 0;
}
