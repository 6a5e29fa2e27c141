/* What a COPY from a context writes, for later layers and exports. Private to agent/build/. One thread. */
#ifndef WH_BUILD_COPIED_H
#define WH_BUILD_COPIED_H

#include "build/solve.h"

struct copied;
/* previous: the layer that this instruction made before, leased; 0: none. */
struct copied *copied_new(struct wh_store *store, int64_t previous);
void copied_free(struct copied *c); /* NULL is fine */

/* Paths are canonical ones of the new layer. */
/* Something is about to be written there: what was known of it is not true any more. */
void copied_replace(struct copied *c, const char *path);
void copied_note(struct copied *c, const char *path, const struct wh_digest *digest);
/* Files were written that nobody tells of. */
void copied_unknown(struct copied *c);
/* True: the layer before has this file, with these bytes and want's mode, owner, size and time. An empty file
 * with these attributes is to be made now; copied_finish() gives it its bytes. */
bool copied_twin(struct copied *c, const char *path, const struct wh_digest *digest, const struct stat *want);

/* tree: the layer's own, when nothing is mounted on it any more. */
int copied_finish(struct copied *c, int tree, struct wh_error *err);
/* Files what is known with the finished layer. */
int copied_save(const struct copied *c, int64_t layer, struct wh_error *err);

/* ---- hasher.c: a digest of what is copied, made by a thread of its own beside the writes ---- */
struct hasher;
struct hasher *hasher_new(void);    /* NULL: no thread could be had */
void hasher_free(struct hasher *h); /* NULL is fine */
/* Waits until what was given before is hashed, then gives more; data must stay until the next call. */
void hasher_give(struct hasher *h, struct wh_sha256 *hash, const void *data, size_t len);
void hasher_wait(struct hasher *h);

#endif
