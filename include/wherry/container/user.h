/* USER of a RUN or a --chown: names looked up in the root file system's own passwd and group (builder.md §4
 * "User", §1.4). */
#ifndef WH_CONTAINER_USER_H
#define WH_CONTAINER_USER_H

#include <sys/types.h>

#include "wherry/base/err.h"

#define WH_MAX_PASSWD_BYTES ((size_t)4 << 20)
#define WH_MAX_RUN_GROUPS 256

struct wh_run_user {
    uid_t uid;
    gid_t gid;
    gid_t groups[WH_MAX_RUN_GROUPS]; /* supplementary ones, gid first */
    size_t ngroups;
    char home[1024]; /* of the first passwd line with this uid; "/" if none */
};

/* text: "", "name", "uid", "name:group", "uid:gid"... as in USER. root_fd: the root file system. Errors have
 * BuildKit's sentences ("unable to find user alice: no matching entries in passwd file"). */
int wh_run_user_resolve(int root_fd, const char *text, struct wh_run_user *out, struct wh_error *err);

/* For --chown and WORKDIR: an unknown user gives 0:0, an unknown group the user's gid, and *unknown is set to
 * true (the caller warns). Numbers are taken as they are (gid = uid if absent). root_fd -1: an empty root,
 * where names fail with "invalid user index: -1". */
int wh_run_owner_resolve(int root_fd, const char *text, uid_t *uid, gid_t *gid, bool *unknown,
                         struct wh_error *err);

#endif
