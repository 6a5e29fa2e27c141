/* Files and folders. Paths that come from outside are resolved below a root descriptor by wh_open_in_root(),
 * never as text. */
#ifndef WH_BASE_FS_H
#define WH_BASE_FS_H

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "wherry/base/str.h"

char *wh_path_join(const char *a, const char *b); /* b absolute: b alone */
/* The whole file, at most max bytes (more is WH_E_LIMIT). Adds to out. dirfd may be AT_FDCWD. */
int wh_read_file(int dirfd, const char *path, size_t max, struct wh_str *out, struct wh_error *err);
int wh_read_fd(int fd, size_t max, const char *what, struct wh_str *out, struct wh_error *err);
/* Writes beside, fsyncs, renames, fsyncs the folder: after it, either the old or the new content is there. */
int wh_write_file(int dirfd, const char *path, const void *data, size_t len, mode_t mode,
                  struct wh_error *err);
/* The same without the flushes: whole or not at all for every reader, but it may be gone after a power loss.
 * For what is a job's own, which ends with the machine too: a flush waits for all that others write. */
int wh_write_file_quick(int dirfd, const char *path, const void *data, size_t len, mode_t mode,
                        struct wh_error *err);
int wh_write_all(int fd, const void *data, size_t len,
                 struct wh_error *err); /* retries EINTR and short writes */
int wh_mkdir_p(const char *path, mode_t mode, struct wh_error *err);
/* Removes a tree without following links or crossing to another file system; a missing path is fine. Folders
 * without write or search permission are opened up on the way. */
int wh_remove_tree(int dirfd, const char *path, struct wh_error *err);
int wh_remove_contents(int dirfd, const char *path, struct wh_error *err); /* the folder itself stays */
/* What lies below the folder (which may be O_PATH) becomes the user's, on its file system, links themselves
 * and not what they mean. linked: files with several names, too: one of them may be a stranger's. What can't
 * be given stays as it is. */
int wh_give_tree(int folder, uid_t uid, gid_t gid, bool linked, struct wh_error *err);
/* openat2 with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS (and RESOLVE_NO_XDEV if no_xdev). Returns the
 * descriptor. */
int wh_open_in_root(int root, const char *path, int flags, mode_t mode, bool no_xdev, struct wh_error *err);
int wh_fsync_dir(int dirfd, const char *path, struct wh_error *err);
/* Where the program itself lies (/proc/self/exe), for starting further processes of it. Owned by the caller.
 */
char *wh_self_path(void);
/* --state DIR, else WHERRY_STATE, else /var/lib/wherry for root, else $XDG_STATE_HOME/wherry
 * (~/.local/state/wherry). Always absolute. Owned by the caller. */
char *wh_state_dir(const char *option);

#endif
