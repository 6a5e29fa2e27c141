/* Control groups of a build: bounds on processes, memory and devices, a sure way to kill, and the count of
 * OOM kills. Works on cgroup v2 (delegated, or as root) and on v1 (each of pids, memory, devices that is
 * mounted). */
#ifndef WH_PLATFORM_CGROUP_H
#define WH_PLATFORM_CGROUP_H

#include <sys/types.h>

#include "wherry/base/err.h"

#define WH_CGROUP_PIDS_DEFAULT 16384u /* processes and threads of one build */

struct wh_build_cgroup_limits {
    uint64_t pids_max;   /* 0: WH_CGROUP_PIDS_DEFAULT */
    uint64_t memory_max; /* bytes; 0: none */
};

/* The groups of one build. On v2: PARENT/wherry-build-ID with a leaf `builder` and, made later by the builder
 * itself, one leaf a RUN. On v1: PARENT/wherry-build-ID in each hierarchy. Members are read-only for others.
 */
struct wh_build_cgroup {
    int v2;      /* directory of the build's v2 group; -1: none could be made */
    int v2_leaf; /* its leaf for the builder process, to clone into; -1 */
    int v1_pids; /* directories of v1 groups; -1 where not mounted or not allowed */
    int v1_memory;
    int v1_devices;
    int parents[4]; /* where `name` was made; for removal */
    char name[64];
};
#define WH_BUILD_CGROUP_NONE                                                                                 \
    {                                                                                                        \
        -1, -1, -1, -1, -1, {-1, -1, -1, -1}, ""                                                             \
    }

/* Makes the groups and hands the v2 one to owner:group (the builder's root). Fails only when running as root
 * and nothing could be made, since then nothing would bound the build; for an ordinary user an empty set is
 * fine. */
int wh_build_cgroup_create(const struct wh_build_cgroup_limits *limits, uid_t owner, gid_t group,
                           struct wh_build_cgroup *out, struct wh_error *err);
/* Puts a process into the v1 groups (and into v2_leaf too if with_v2: where clone3 could not). */
int wh_build_cgroup_enter(const struct wh_build_cgroup *g, pid_t pid, bool with_v2, struct wh_error *err);
/* Removes the groups (they must be empty) and closes all descriptors. */
void wh_build_cgroup_destroy(struct wh_build_cgroup *g);
/* Removes the groups of builds whose launcher is dead, below the caller's own (each creation does that too).
 * What ran in them ended with the builder's pid namespace. */
void wh_build_cgroup_sweep(void);
/* Closes the descriptors only. */
void wh_build_cgroup_close(struct wh_build_cgroup *g);

/* For an agent that lives in a delegated v2 group (systemd's Delegate=yes): moves this process to the leaf
 * `agent`, so that the group may hand controllers to its children. 1: done; 0: nothing to do. Call once,
 * before other processes start. */
int wh_cgroup_delegate_self(struct wh_error *err);

/* A leaf for one RUN below v2 (a directory descriptor), with the controllers that v2 has. Returns a directory
 * descriptor. */
int wh_cgroup_leaf_create(int v2, const char *name, struct wh_error *err);
void wh_cgroup_leaf_destroy(int v2, const char *name, int leaf); /* kills what is left in it; closes leaf */
/* How many processes the kernel killed for want of memory there; -1 unknown. Either descriptor may be -1. */
int64_t wh_cgroup_oom_kills(int v2_dir, int v1_memory_dir);

#endif
