/* Entries of the Actions cache and artifacts (docs/store.md, "Cache entries"): rows that name a blob, and
 * uploads on their way to become one. An upload's bytes lie in uploads/, beside a short log of what was
 * received, so that it outlives the process: a client goes on where it was.
 *
 * Look-ups and rows are thread-safe, as the handle is. A struct wh_upload belongs to one thread, but for the
 * calls that say otherwise. */
#ifndef WH_STORE_CACHE_H
#define WH_STORE_CACHE_H

#include "wherry/store/store.h"

#define WH_MAX_CACHE_NAME 4096 /* bytes of a repository, scope, version or key in the index */
#define WH_MAX_UPLOAD_PARTS 50000
#define WH_MAX_UPLOAD_ID 96 /* base64 text of a block's id: 64 bytes give 88 */
#define WH_MAX_UPLOAD_LOG ((size_t)32 << 20)
#define WH_MAX_UPLOAD_BYTES (INT64_C(1) << 46)

enum wh_cache_kind { WH_CACHE_ENTRY = 1, WH_CACHE_ARTIFACT = 2 };

/* What an entry is called. Artifacts: scope is the run's backend id, version "", key the name. */
struct wh_cache_name {
    enum wh_cache_kind kind;
    const char *repository, *scope, *version, *key; /* borrowed; compared as bytes */
};

struct wh_cache_entry {
    int64_t id, seq; /* seq: order of commits; grows */
    char *scope, *version, *key;
    char *job;  /* who made it: the service's id of the job; artifacts: its backend id */
    char *mime; /* may be NULL */
    struct wh_digest digest;
    uint64_t size;
    int64_t created, expires; /* ns; expires 0: never */
};
void wh_cache_entry_clear(struct wh_cache_entry *e);
#define wh_autocacheentry __attribute__((cleanup(wh_cache_entry_clear))) struct wh_cache_entry

/* Makes the tables where they are missing, and removes what no upload owns. Once for each start of a service.
 */
int wh_cache_prepare(struct wh_store *s, struct wh_error *err);

/* ---- look-ups: 1 with *out, 0 none ---- */
int wh_cache_find(struct wh_store *s, const struct wh_cache_name *name, struct wh_cache_entry *out,
                  struct wh_error *err);
/* The newest whose key begins with name->key. */
int wh_cache_find_prefix(struct wh_store *s, const struct wh_cache_name *name, struct wh_cache_entry *out,
                         struct wh_error *err);
int wh_cache_find_id(struct wh_store *s, int64_t id, struct wh_cache_entry *out, char **repository,
                     struct wh_error *err);
/* Entries of a repository and scope whose key begins with name->key, newest first (any version where
 * name->version is NULL); a non-zero return of each ends it and is returned. */
int wh_cache_list(struct wh_store *s, const struct wh_cache_name *name, size_t max,
                  int (*each)(void *arg, const struct wh_cache_entry *e), void *arg, struct wh_error *err);
/* These were used now: they stay longer. */
int wh_cache_touch(struct wh_store *s, const int64_t *ids, size_t n, struct wh_error *err);
/* 1: it was there. The blob goes with the last entry that names it, unless something else leased it. */
int wh_cache_delete(struct wh_store *s, int64_t id, struct wh_error *err);

/* ---- bounds ---- */
/* Drops entries of a repository until they take at most max bytes: least recently used first, and those of
 * pull requests before all others while they hold more than half. The number dropped. */
int64_t wh_cache_evict(struct wh_store *s, const char *repository, uint64_t max, struct wh_error *err);
/* Entries not used since (ns), and artifacts that have expired. The number dropped. */
int64_t wh_cache_expire(struct wh_store *s, int64_t unused_since, struct wh_error *err);
/* Of an index of BuildKit's ("index-NAME#n"): generations older than the newest two and than `before` (ns).
 */
int64_t wh_cache_drop_generations(struct wh_store *s, const struct wh_cache_name *prefix, int64_t before,
                                  struct wh_error *err);

/* ---- uploads ---- */
/* Reserves the name: the upload's id (> 0, below 2^53), which will be the entry's. WH_E_EXISTS: it is taken,
 * by an entry or another upload. mime may be NULL; expires 0: never. */
int64_t wh_upload_reserve(struct wh_store *s, const struct wh_cache_name *name, const char *job,
                          const char *mime, int64_t expires, struct wh_error *err);
struct wh_upload_row {
    int64_t id;
    enum wh_cache_kind kind;
    char *repository, *scope, *version, *key, *job, *mime;
    int64_t created, expires;
};
void wh_upload_row_clear(struct wh_upload_row *r);
#define wh_autouploadrow __attribute__((cleanup(wh_upload_row_clear))) struct wh_upload_row
/* 1 with *out, 0 none. By id, or by name. */
int wh_upload_find(struct wh_store *s, int64_t id, struct wh_upload_row *out, struct wh_error *err);
int wh_upload_find_name(struct wh_store *s, const struct wh_cache_name *name, struct wh_upload_row *out,
                        struct wh_error *err);
/* Ids of uploads: of a job, or (job NULL) all. Owned by the caller; *n of them. */
int64_t *wh_upload_ids(struct wh_store *s, const char *job, size_t *n, struct wh_error *err);
/* Frees the name and removes the bytes. Not there: fine. */
int wh_upload_drop(struct wh_store *s, int64_t id, struct wh_error *err);
/* ns of the last byte, or of the reservation; 0: no such upload. */
int64_t wh_upload_last(struct wh_store *s, int64_t id, struct wh_error *err);
int wh_upload_set_mime(struct wh_store *s, int64_t id, const char *mime, struct wh_error *err);

/* Its bytes: what was received before (by a process that is gone, too) is known. */
struct wh_upload;
struct wh_upload *wh_upload_open(struct wh_store *s, int64_t id, struct wh_error *err);
void wh_upload_close(struct wh_upload *u); /* not while wh_upload_follow() or _arrange() runs */

/* A part on its way in: either a block with an id, at a place of its own, or a range at a place that the
 * client names (NULL id). Nobody sees it before wh_upload_part_end(). */
struct wh_upload_part;
struct wh_upload_part *wh_upload_block(struct wh_upload *u, const char *id, uint64_t length,
                                       struct wh_error *err);
/* WH_E_EXISTS: it covers a part of an other range. length -1: not known before its end. */
struct wh_upload_part *wh_upload_range(struct wh_upload *u, uint64_t offset, int64_t length,
                                       struct wh_error *err);
int wh_upload_part_write(struct wh_upload_part *p, const void *data, size_t len, struct wh_error *err);
/* WH_E_LIMIT where it is shorter than was said. The part is freed in every case. */
int wh_upload_part_end(struct wh_upload_part *p, struct wh_error *err);
void wh_upload_part_abort(struct wh_upload_part *p); /* NULL is fine */
size_t wh_upload_active(const struct wh_upload *u);  /* parts under way */
void wh_upload_reset(struct wh_upload *u); /* forgets all that was received; nothing may be under way */

/* On a thread of its own choice: hashes what lies there in order and was not hashed yet. One at a time, and
 * never together with _arrange(). */
void wh_upload_follow(struct wh_upload *u);
/* Bytes that a follow could hash now. */
uint64_t wh_upload_unfollowed(const struct wh_upload *u);

/* The order of the blocks: WH_E_NOT_FOUND names one that is not there. After it, wh_upload_arrange() on any
 * thread puts the bytes in that order and finishes the digest; then they are complete. ids NULL: ranges, by
 * their offsets, which must cover size bytes without a hole (WH_E_LIMIT). */
int wh_upload_order(struct wh_upload *u, char *const *ids, size_t n, int64_t size, struct wh_error *err);
int wh_upload_arrange(struct wh_upload *u, struct wh_error *err);
/* True once it is complete: its size and digest. */
bool wh_upload_complete(const struct wh_upload *u, uint64_t *size, struct wh_digest *digest);

/* The entry: fsync, link, rows, all or nothing. Any thread; nothing may be under way. The upload is gone
 * after success (close it all the same). charge: whom the disk use counts for. */
int wh_upload_commit(struct wh_upload *u, const char *charge, struct wh_error *err);

#endif
