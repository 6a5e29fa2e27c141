/* Between the files of the cache service's half of the store. */
#ifndef WH_STORE_CACHE_INTERNAL_H
#define WH_STORE_CACHE_INTERNAL_H

#include "store/internal.h"
#include "wherry/store/cache.h"

#define STORE_UPLOADS "uploads"

int store_uploads_folder(struct wh_store *s, struct wh_error *err); /* a descriptor */
void store_upload_name(int64_t id, const char *kind, char out[48]); /* "12.data", "12.log", "12.new" */
void store_upload_unlink(int folder, int64_t id);
/* Inside a transaction: the blob of an entry that goes, if no other entry names it and nobody leases it. 1:
 * its row is gone, and its file may follow by store_blob_unlink() after the commit. */
int store_cache_unrow(struct wh_store *s, int64_t id, struct wh_digest *digest, struct wh_error *err);

#endif
