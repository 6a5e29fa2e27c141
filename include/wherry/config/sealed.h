/* Secrets of a runner at rest: files in <state>/runners/<name>, 0600, closed by libsodium's secretbox with
 * the key of this machine (<state>/runners/machine.key, made once). A copy of such a file is worth nothing
 * without that key. */
#ifndef WH_CONFIG_SEALED_H
#define WH_CONFIG_SEALED_H

#include "wherry/base/secret.h"

/* Seals data into the file, which is there whole after it or not at all; after a power loss too if lasting
 * (then two flushes of the disk are waited for). The machine's key is made if there is none. dir: the
 * runner's folder (wh_runner_dir_open()). */
int wh_sealed_write(int dir, const char *file, const void *data, size_t len, bool lasting,
                    struct wh_error *err);
/* Opens it; adds to out, which the caller wipes (wh_str_wipe()). WH_E_NOT_FOUND: there is no such file;
 * WH_E_DENIED: it is not ours alone; WH_E_CORRUPT: not sealed by this machine; WH_E_LIMIT: longer than max.
 */
int wh_sealed_read(int dir, const char *file, size_t max, struct wh_str *out, struct wh_error *err);

#endif
