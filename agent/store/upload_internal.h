/* An upload's bytes, between upload.c, upload_log.c and upload_commit.c. */
#ifndef WH_STORE_UPLOAD_INTERNAL_H
#define WH_STORE_UPLOAD_INTERNAL_H

#include <stdatomic.h>

#include "store/cache_internal.h"

/* Bytes [offset, offset + length) of the data file that were received whole. */
struct upload_extent {
    uint64_t offset, length;
    char *id; /* of a block; NULL: a range, whose offset is the entry's own */
};

struct wh_upload {
    struct wh_store *s;
    int64_t id;
    int folder, data, log;
    struct upload_extent *extents; /* in the order of their end */
    size_t nextents, room;
    size_t active;
    uint64_t end;           /* where the next block goes */
    _Atomic uint64_t ready; /* bytes from the file's start that were received without a hole */
    _Atomic bool restart;   /* bytes that may have been hashed changed since */
    struct wh_sha256 *hash; /* the thread's that follows or arranges */
    uint64_t hashed;
    _Atomic uint64_t seen;       /* as `hashed`, for others */
    struct upload_extent *order; /* what _arrange() makes of it; ids owned by extents */
    size_t norder;
    bool complete;
    uint64_t size;
    struct wh_digest digest;
};

struct wh_upload_part {
    struct wh_upload *u;
    char *id;
    uint64_t offset;
    int64_t length; /* -1: not known */
    uint64_t written;
};

/* ---- upload_log.c ---- */
int upload_log_read(struct wh_upload *u, struct wh_error *err);
int upload_log_extent(struct wh_upload *u, const struct upload_extent *e, struct wh_error *err);
int upload_log_drop(struct wh_upload *u, uint64_t offset, struct wh_error *err);
/* After _arrange(): what is there now, and that it is complete. */
int upload_log_rewrite(struct wh_upload *u, struct wh_error *err);

/* ---- upload.c ---- */
void upload_forget(struct wh_upload *u);
void upload_add(struct wh_upload *u, struct upload_extent e); /* owns e.id; replaces one of the same id */
void upload_ready(struct wh_upload *u);                       /* counts `ready` anew */

#endif
