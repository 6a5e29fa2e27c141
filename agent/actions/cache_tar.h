/* Tar headers with all of a file's time (pax, as `tar --posix` has it): OCI's layers have whole seconds. */
#ifndef WH_ACTIONS_CACHE_TAR_H
#define WH_ACTIONS_CACHE_TAR_H

#include <sys/stat.h>

#include "wherry/base/str.h"

#define WH_TAR_BLOCK 512

/* Adds the blocks before a member's content. link: the target of a symbolic link, or (hard) of a hard one.
 * Returns how many bytes of content follow. */
uint64_t cache_tar_header(struct wh_str *out, const char *name, const struct stat *st, const char *link,
                          bool hard);

#endif
