/* Private to the start of a builder: what the launcher and the builder's set-up share. */
#ifndef WH_BUILD_LAUNCH_INTERNAL_H
#define WH_BUILD_LAUNCH_INTERNAL_H

#include "wherry/platform/userns.h"

#define WH_BUILD_RUN_FOLDER "run" /* below the state folder: where each builder mounts its private tmpfs */
#define WH_BUILD_STATE_POINT                                                                                 \
    "/run/wherry" /* where the state folder appears to a builder that could not reach it */

/* The launcher's one frame: {"type":"launch","state":...,"scope":...,"options":...,"fds":["cgroup-v2",...]};
 * "fds" names the descriptors that ride on it. */
#define WH_LAUNCH_TYPE "launch"
#define WH_LAUNCH_FD_CGROUP_V2 "cgroup-v2"
#define WH_LAUNCH_FD_CGROUP_MEMORY "cgroup-v1-memory"
#define WH_LAUNCH_FD_STATE "state"
#define WH_LAUNCH_FD_BOUNDED "bounded" /* an eventfd: readable once the builder is in its groups */

/* Makes the folder and its run folder. As root: gives it to the map's first ids; one that has another range's
 * owner already changes the map to that range. *detached: a clone of its mount, where the builder can't walk
 * down to it; else -1. */
int wh_build_state_prepare(const char *state, struct wh_userns_map *map, int *detached, struct wh_error *err);

#endif
