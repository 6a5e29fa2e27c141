/* Cache mounts (RUN --mount=type=cache): directories that live from build to build, mounts/<scope>/<id>/
 * (builder.md §3.3). */
#ifndef WH_STORE_MOUNT_H
#define WH_STORE_MOUNT_H

#include "wherry/store/store.h"

enum wh_sharing { WH_SHARING_SHARED, WH_SHARING_PRIVATE, WH_SHARING_LOCKED };

struct wh_cache_mount; /* held by a lock that the kernel ends with the process */

/* Acquires the directory of (scope, id): shared ones together with other shared users, locked ones alone
 * (waits), private ones alone (a further directory if all are busy). `scopes` as for records: the directory
 * is scopes[0]'s; if it is new and a later scope has one (a pull request's base), it starts as a copy of
 * that. fresh: what was there is dropped first (no-cache), unless others are using it. cancel (may be NULL)
 * is asked while waiting: true ends the wait with WH_E_CANCELED. */
struct wh_cache_mount *wh_cache_mount_acquire(struct wh_store *s, const char *const *scopes, size_t nscopes,
                                              const char *id, enum wh_sharing sharing, bool fresh,
                                              bool (*cancel)(void *), void *arg, struct wh_error *err);
const char *wh_cache_mount_path(const struct wh_cache_mount *m); /* absolute; borrowed */
bool wh_cache_mount_new(
    const struct wh_cache_mount *m); /* made by this call: its mode and owner are the caller's to set */
/* NULL is fine. */
void wh_cache_mount_release(struct wh_cache_mount *m);

#endif
