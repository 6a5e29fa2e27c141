/* Blobs: immutable files named by the SHA-256 of their bytes, under blobs/sha256/ab/cdef...: compressed
 * layers, configs, manifests, cache entries. Every byte is hashed on its way in, by the store or by a running
 * hash that the commit itself finishes. */
#ifndef WH_STORE_BLOB_H
#define WH_STORE_BLOB_H

#include "wherry/store/store.h"

#define WH_BLOB_LATER                                                                                        \
    1u /* no fsync now: durable with the next wh_store_flush(), like a tree. For what can be made anew. */

struct wh_blob_writer; /* one thread at a time */

/* What the bytes must be; a mismatch is WH_E_DIGEST and nothing is kept. */
struct wh_blob_expect {
    const struct wh_digest *digest; /* NULL: any */
    int64_t size;                   /* -1: any */
};
#define WH_BLOB_ANY ((struct wh_blob_expect){NULL, -1})

struct wh_blob_writer *wh_blob_begin(struct wh_store *s, unsigned flags, struct wh_error *err);
/* Writes and hashes. */
int wh_blob_write(struct wh_blob_writer *w, const void *data, size_t len, struct wh_error *err);
uint64_t wh_blob_written(const struct wh_blob_writer *w); /* by wh_blob_write() so far */
/* The file itself (read and write, empty, borrowed), for pwrite() from several threads, copy_file_range() and
 * the like. After this call wh_blob_commit() reads the file once more to hash it; wh_blob_commit_hashed()
 * doesn't. */
int wh_blob_fd(struct wh_blob_writer *w);
/* Verifies, makes durable, moves into place, writes the row. The writer is freed in every case. 0, with the
 * digest in *out and the size in *size (both may be NULL). The blob is leased by the handle. A blob that was
 * there already is fine. */
int wh_blob_commit(struct wh_blob_writer *w, struct wh_blob_expect expect, struct wh_digest *out,
                   uint64_t *size, struct wh_error *err);
/* For bytes written through wh_blob_fd() that the caller hashed while they passed: `hash` was fed exactly the
 * file's bytes, `hashed` of them, in order, and is not yet final. The file's size must equal `hashed`. */
int wh_blob_commit_hashed(struct wh_blob_writer *w, struct wh_sha256 *hash, uint64_t hashed,
                          struct wh_blob_expect expect, struct wh_digest *out, uint64_t *size,
                          struct wh_error *err);
void wh_blob_abort(struct wh_blob_writer *w); /* drops what was written; NULL is fine */
void wh_blob_abort_ptr(struct wh_blob_writer **w);
#define wh_autoblob __attribute__((cleanup(wh_blob_abort_ptr))) struct wh_blob_writer

/* A small blob in one call; nothing is written if it is there already. */
int wh_blob_put(struct wh_store *s, const void *data, size_t len, unsigned flags, struct wh_digest *out,
                struct wh_error *err);

/* 1: there, with its size; 0: not. */
int wh_blob_has(struct wh_store *s, const struct wh_digest *digest, uint64_t *size, struct wh_error *err);
/* A read-only descriptor (the caller closes it) or -1; WH_E_NOT_FOUND if it isn't there. The bytes stay
 * readable even if the blob is collected meanwhile. */
int wh_blob_open(struct wh_store *s, const struct wh_digest *digest, uint64_t *size, struct wh_error *err);
/* The whole of a blob of at most max bytes. Adds to out. */
int wh_blob_read(struct wh_store *s, const struct wh_digest *digest, size_t max, struct wh_str *out,
                 struct wh_error *err);
/* Where the file lies ("<state>/blobs/sha256/ab/cdef..."), there or not. */
char *wh_blob_path(struct wh_store *s, const struct wh_digest *digest);
/* WH_E_BUSY while another process leases it; not there: fine. */
int wh_blob_delete(struct wh_store *s, const struct wh_digest *digest, struct wh_error *err);

/* Which repository of a registry was seen to hold a blob, for cross-repository mounts. */
int wh_blob_seen_at(struct wh_store *s, const struct wh_digest *digest, const char *registry,
                    const char *repository, struct wh_error *err);
/* A repository of that registry that holds it, most recently seen first and `except` left out; NULL if none
 * is known. */
char *wh_blob_seen_where(struct wh_store *s, const struct wh_digest *digest, const char *registry,
                         const char *except);

/* ---- compressed segments (design.md, "why it can be fast" 7) ---- */
/* Bytes [offset, offset+length) of a blob are one whole gzip member or zstd frame whose content `key` names.
 */
struct wh_segment {
    struct wh_digest
        key; /* over format, level, compressor version, tar headers and file digests of the segment */
    struct wh_digest blob;
    uint64_t offset, length;
    uint64_t raw;   /* uncompressed bytes; 0: not told */
    uint32_t check; /* CRC-32 of the compressed bytes */
};
int wh_segments_add(struct wh_store *s, const struct wh_segment *list, size_t n, struct wh_error *err);
/* Fills blob, offset, length, raw of those whose key is known; length 0 marks a miss. Returns the number of
 * hits. */
int wh_segments_find(struct wh_store *s, struct wh_segment *list, size_t n, struct wh_error *err);

#endif
