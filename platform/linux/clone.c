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

/* The C library's clone() knows no cgroups and its clone3() is its own, so the child's first instructions are
 * ours: it begins on the new stack, where nothing may be returned to. */
#if defined(__x86_64__) && defined(__LP64__)
static long clone3_call(struct clone_args *args, int (*body)(void *), void *data)
{
    register int (*fn)(void *) __asm__("r8") = body;
    register void *arg __asm__("r9") = data;
    long result = SYS_clone3;
    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xorl %%ebp, %%ebp\n\t"
                     "movq %%r9, %%rdi\n\t"
                     "callq *%%r8\n\t"
                     "movl %%eax, %%edi\n\t"
                     "movl %[exit], %%eax\n\t"
                     "syscall\n\t"
                     "hlt\n"
                     "1:"
                     : "+a"(result)
                     : "D"(args), "S"(sizeof *args), "r"(fn), "r"(arg), [exit] "i"(SYS_exit)
                     : "rcx", "r11", "cc", "memory");
    return result;
}
#elif defined(__aarch64__) && defined(__LP64__)
static long clone3_call(struct clone_args *args, int (*body)(void *), void *data)
{
    register long x0 __asm__("x0") = (long)args;
    register long x1 __asm__("x1") = sizeof *args;
    register long x8 __asm__("x8") = SYS_clone3;
    register int (*fn)(void *) __asm__("x9") = body;
    register void *arg __asm__("x10") = data;
    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x30, xzr\n\t"
                     "mov x0, x10\n\t"
                     "blr x9\n\t"
                     "mov x8, %[exit]\n\t"
                     "svc #0\n\t"
                     "brk #0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x1), "r"(x8), "r"(fn), "r"(arg), [exit] "i"(SYS_exit)
                     : "cc", "memory");
    return x0;
}
#else
static long clone3_call(struct clone_args *args, int (*body)(void *), void *data)
{
    (void)args, (void)body, (void)data;
    return -ENOSYS;
}
#endif

pid_t wh_clone3_vfork(int cgroup, int *pidfd, void *stack, size_t stack_size, int (*body)(void *data),
                      void *data)
{
    struct clone_args args = {
        .flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_INTO_CGROUP,
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
        .stack = (uint64_t)(uintptr_t)stack,
        .stack_size = stack_size,
        .cgroup = (uint64_t)cgroup,
    };
    long pid = clone3_call(&args, body, data);
    if (pid >= 0)
        return (pid_t)pid;
    errno = (int)-pid;
    return -1;
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
