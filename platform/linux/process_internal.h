/* Shared by process*.c: what a new child does to itself before it becomes something else. */
#ifndef WH_PLATFORM_LINUX_PROCESS_INTERNAL_H
#define WH_PLATFORM_LINUX_PROCESS_INTERNAL_H

#include "wherry/platform/process.h"

/* Filled in by the parent, so that the child allocates nothing. */
struct wh_child_setup {
    const struct wh_process_options *o;
    sigset_t mask;      /* to restore */
    int null_fd;        /* /dev/null */
    size_t entered;     /* number of the cgroup that it is born in; none: ncgroups or more */
    int error;          /* out: errno */
    const char *failed; /* out: what failed, a constant */
};

/* Opens /dev/null and checks the options. */
int wh_child_prepare(struct wh_child_setup *s, const struct wh_process_options *o, struct wh_error *err);
/* Runs in the child: session, cgroups, oom score, folder, descriptors, identity, signals. 0, or -1 with
 * error/failed set. */
int wh_child_apply(struct wh_child_setup *s);

#endif
