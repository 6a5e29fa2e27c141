/* Private to platform/linux: cgroup folders and files. */
#ifndef WH_PLATFORM_CGROUP_INTERNAL_H
#define WH_PLATFORM_CGROUP_INTERNAL_H

#include "wherry/base/str.h"

#define WH_CGROUP_AGENT_LEAF "agent" /* the agent's own, below the group that was delegated to it */

/* The folder of this process' own group in a v1 controller's hierarchy, or in v2 (controller NULL). Owned;
 * NULL: not mounted. */
char *wh_cgroup_own_dir(const char *controller);
/* Writes a short text into a control file; -1 with errno. */
int wh_cgroup_write(int dir, const char *file, const char *text);
/* Reads a control file of at most 64 KiB; false if there is none. */
bool wh_cgroup_read(int dir, const char *file, struct wh_str *out);

#endif
