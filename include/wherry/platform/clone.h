/* clone3(2): a child in new namespaces, or straight in a cgroup (entering one later costs milliseconds: the
 * kernel waits for all CPUs). For programs and steps use platform/process.h. */
#ifndef WH_PLATFORM_CLONE_H
#define WH_PLATFORM_CLONE_H

#include <sys/types.h>

#include "wherry/base/err.h"

/* Returns the pid to the parent (with a close-on-exec *pidfd), 0 to the child, -1 with errno. flags are
 * CLONE_NEW...; cgroup is the directory of a v2 group or -1. With CLONE_PARENT the child is the caller's
 * sibling. The child has default signal dispositions. It is a copy of one thread of a process with many:
 * until exec it may only make plain system calls. */
pid_t wh_clone3(uint64_t flags, int cgroup, int *pidfd);

/* A child that shares the caller's memory, and stops the caller, until its exec or exit: body(data) runs on
 * the given stack (16-byte aligned), makes plain system calls only, and may leave words in data. Straight in
 * the v2 group `cgroup`. -1 with ENOSYS where this machine's code is not known here. */
pid_t wh_clone3_vfork(int cgroup, int *pidfd, void *stack, size_t stack_size, int (*body)(void *data),
                      void *data);

/* In such a child: gives each descriptor of from[] the number first, first + 1... and closes all others
 * above 2. n is at most 8. */
int wh_child_place_fds(const int *from, size_t n, int first);

/* In a child that has all capabilities of a new user namespace in which it has no id yet: keeps them over
 * exec. */
int wh_child_keep_caps(void);

/* In a child of a root process, in a mount namespace of its own: makes its root that of the namespace. */
int wh_child_leave_chroot(void);

#endif
