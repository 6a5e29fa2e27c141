/* Starting a builder: what the agent, `wherry build` and `wherry exec` do when a build channel arrives. The
 * builder is this same binary (`wherry builder`) in a user, mount, pid, ipc and uts namespace and in cgroups
 * of its own. */
#ifndef WH_BUILD_LAUNCH_H
#define WH_BUILD_LAUNCH_H

#include <cjson/cJSON.h>
#include <sys/types.h>
#include <uv.h>

#include "wherry/base/err.h"

struct wh_build_launch_options {
    const char *state; /* absolute path of the state folder; made if missing, and given to the range's first
                          uid if root */
    uid_t job_uid; /* whose files the builder may read; 0 or WH_NO_ID: nobody's (root's own builds idmap the
                      context) */
    gid_t job_gid;
    const cJSON *scope;   /* the trust scope; NULL: the local scope of command line builds. Copied */
    const cJSON *options; /* what else the builder is told; NULL. Copied. No secrets. Of ours: "runtime"
                             (crun, runc or a path) */
    uint64_t pids_max;    /* 0: WH_CGROUP_PIDS_DEFAULT */
    uint64_t memory_max;  /* bytes; 0: no limit of its own */
};

struct wh_build_process;
/* Called once, on the loop, after every process of the build is gone. exit_code is -1 if a signal ended it. p
 * is freed after it. */
typedef void (*wh_build_exit_fn)(struct wh_build_process *p, int exit_code, int signal, void *arg);

/* Nothing here waits. For an ordinary user the start goes on when the loop turns (newuidmap): where that
 * fails, on_exit comes. channel_fd is the builder's end of the build channel: taken over (closed here) in
 * every case. Call from the thread that runs the loop, which must live as long as the builder (the builder
 * dies with it). */
struct wh_build_process *wh_build_launch(uv_loop_t *loop, const struct wh_build_launch_options *options,
                                         int channel_fd, wh_build_exit_fn on_exit, void *arg,
                                         struct wh_error *err);
/* In on_exit: why it ended before it had begun (it is in the log too); NULL: it had. Borrowed from p. */
const char *wh_build_failure(const struct wh_build_process *p);
pid_t wh_build_process_pid(const struct wh_build_process *p);
/* A directory as the builder may read it (for builds by root of root's own files): an idmapped clone where
 * the kernel can, else a plain duplicate. Returns a new descriptor. */
int wh_build_share_dir(const struct wh_build_process *p, int dirfd, struct wh_error *err);
/* Makes the state folder as a builder would find it, and tells whose it is: for other helpers of ours that
 * write into it. */
int wh_build_state_owner(const char *state, uid_t job_uid, gid_t job_gid, uid_t *uid, gid_t *gid,
                         struct wh_error *err);
/* SIGKILL to all of it; on_exit still comes. */
void wh_build_kill(struct wh_build_process *p);

#endif
