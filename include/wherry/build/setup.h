/* What `wherry builder` does before the solver starts: takes on its ids, makes its mount namespace private,
 * sets up its run folder and cgroups, and reads what the launcher told it. */
#ifndef WH_BUILD_SETUP_H
#define WH_BUILD_SETUP_H

#include <cjson/cJSON.h>

#include "wherry/base/err.h"

#define WH_BUILDER_CHANNEL_FD 3 /* the build channel */
#define WH_BUILDER_LAUNCH_FD                                                                                 \
    4 /* the launcher: one frame, then silence; end of file means that it is gone                            \
       */

struct wh_builder_env {
    int channel;          /* owned */
    char *state;          /* owned: the state folder, as the builder reaches it */
    char *run_dir;        /* owned: a tmpfs that nobody else sees, 0700 */
    cJSON *scope;         /* owned: the trust scope; NULL: local */
    cJSON *options;       /* owned; NULL: none */
    int launcher;         /* owned: readable at end of file when the launcher is gone */
    int bounded;          /* owned: readable once this process is in its groups; RUN waits for it */
    int cgroup_v2;        /* owned; -1 */
    int cgroup_v1_memory; /* owned; -1 */
};

/* Blocks until the launcher has written the maps. Call it first in the process, while it has one thread.
 * wh_container_run() may be called after it: what that needs (runtime, seccomp profile) is made ready by the
 * first RUN. */
int wh_builder_setup(struct wh_builder_env *out, struct wh_error *err);

void wh_builder_env_clear(struct wh_builder_env *env);

/* In agent/build/: the solver's half. Returns the process' exit code. */
int wh_builder_main(struct wh_builder_env *env);

#endif
