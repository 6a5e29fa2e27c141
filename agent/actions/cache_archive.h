/* Archives of actions/cache: tar as `tar --posix -P -C WORKSPACE` makes it, compressed by zstd or gzip. */
#ifndef WH_ACTIONS_CACHE_ARCHIVE_H
#define WH_ACTIONS_CACHE_ARCHIVE_H

#include "wherry/job/glob.h"

#define WH_MAX_CACHE_MEMBERS UINT64_C(10000000) /* of one archive */

/* What exists of the paths, relative to the workspace, each with all that is below it (a folder that is named
 * brings its content, whatever is excluded in it: so does the original). Owned; NULL with err, or without
 * any. */
char **cache_paths(const char *workspace, const struct wh_globs *globs, struct wh_error *err);
int cache_archive_write(int fd, const char *workspace, char *const *paths, bool zstd, uint64_t *size,
                        struct wh_error *err);
/* Unpacks. A member must lie at or below one of the folders before the patterns' first wildcard: an archive
 * that wants to write elsewhere is refused whole. */
int cache_archive_read(int fd, const char *workspace, const struct wh_globs *allowed, struct wh_error *err);

#endif
