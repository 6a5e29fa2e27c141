/* Layer trees: one directory tree per layer, used as an overlayfs lowerdir as it is (whiteouts in overlay's
 * form), at layers/<id>/. A tree is made in ingest/, and becomes a layer by one rename. Ids are never used
 * twice. */
#ifndef WH_STORE_LAYER_H
#define WH_STORE_LAYER_H

#include "wherry/store/store.h"

struct wh_tree; /* a layer's tree in the making; one thread at a time */

struct wh_tree *wh_tree_begin(struct wh_store *s, struct wh_error *err);
int wh_tree_fd(
    const struct wh_tree *t); /* O_RDONLY|O_DIRECTORY descriptor of the (empty, 0755) tree; borrowed */
const char *wh_tree_path(const struct wh_tree *t); /* absolute; borrowed */
/* An empty folder beside the tree, on the same file system: overlayfs's workdir. Removed by commit and abort.
 * Borrowed. */
const char *wh_tree_work(const struct wh_tree *t);

struct wh_layer_info {
    const struct wh_digest *diffid;  /* NULL: not known yet (wh_layer_set_diffid later) */
    const struct wh_digest *chainid; /* set: the tree is right only on top of this chain's parents; NULL: it
                                        stands for its diffID alone */
    int64_t size; /* bytes, for the quota until the store has counted by itself; -1: not known */
};
/* The tree becomes a layer; the id (> 0) or -1. The tree is freed in every case. Nothing may write to it any
 * more: umount what was mounted on it first. The layer is leased by the handle. */
int64_t wh_tree_commit(struct wh_tree *t, const struct wh_layer_info *info, struct wh_error *err);
void wh_tree_abort(struct wh_tree *t); /* NULL is fine */
void wh_tree_abort_ptr(struct wh_tree **t);
#define wh_autotree __attribute__((cleanup(wh_tree_abort_ptr))) struct wh_tree

/* "<state>/layers/<id>"; no look-up. */
char *wh_layer_path(const struct wh_store *s, int64_t layer);
/* O_RDONLY|O_DIRECTORY descriptor, owned by the caller; WH_E_NOT_FOUND if it is gone. */
int wh_layer_open(struct wh_store *s, int64_t layer, struct wh_error *err);
int wh_layer_layers_fd(
    const struct wh_store *s); /* of layers/ itself, for short relative lowerdir names; borrowed */

int wh_layer_set_diffid(struct wh_store *s, int64_t layer, const struct wh_digest *diffid,
                        struct wh_error *err);
/* 1 with *out, 0 if not known (or no such layer). */
int wh_layer_diffid(struct wh_store *s, int64_t layer, struct wh_digest *out, struct wh_error *err);
/* The layer (leased), or 0 if there is none. By diffID: only trees that stand for their diffID alone. */
int64_t wh_layer_by_diffid(struct wh_store *s, const struct wh_digest *diffid, struct wh_error *err);
int64_t wh_layer_by_chainid(struct wh_store *s, const struct wh_digest *chainid, struct wh_error *err);

/* ---- digests of a layer's files: those that are known, so that a later layer can share their bytes and what
 * they were compressed to ---- */
#define WH_MAX_LAYER_FILES ((size_t)64 << 20) /* bytes of a layer's list; a longer one isn't kept */
struct wh_layer_files; /* path (relative to the tree) -> SHA-256 of the file's bytes; one thread */
struct wh_layer_files *wh_layer_files_new(void);
void wh_layer_files_clear(struct wh_layer_files *f);
void wh_layer_files_free(struct wh_layer_files *f); /* NULL is fine */
void wh_layer_files_free_ptr(struct wh_layer_files **f);
#define wh_autolayerfiles __attribute__((cleanup(wh_layer_files_free_ptr))) struct wh_layer_files
void wh_layer_files_put(struct wh_layer_files *f, const char *path, const struct wh_digest *digest);
void wh_layer_files_drop(struct wh_layer_files *f, const char *path);
/* Borrowed until the next put or drop; NULL: not known. */
const struct wh_digest *wh_layer_files_get(const struct wh_layer_files *f, const char *path);
/* The digests must be those of the tree's bytes: segments of blobs are found by them. They go with the layer.
 */
int wh_layer_files_save(struct wh_store *s, int64_t layer, const struct wh_layer_files *f,
                        struct wh_error *err);
/* Owned by the caller; NULL where nothing is known of that layer. */
struct wh_layer_files *wh_layer_files_load(struct wh_store *s, int64_t layer);

/* ---- diffID <-> compressed blob ---- */
struct wh_layer_blob {
    struct wh_digest digest;
    uint64_t size;
    char format[8]; /* "gzip", "zstd", "none" */
    int level;      /* the compressor's level; -1 for a blob that was pulled */
};
int wh_layer_blob_add(struct wh_store *s, const struct wh_digest *diffid, const struct wh_layer_blob *blob,
                      struct wh_error *err);
/* 1 with a blob (leased) that is in the store, 0 if there is none. format NULL: any (pulled ones first);
 * level -2: any. */
int wh_layer_blob(struct wh_store *s, const struct wh_digest *diffid, const char *format, int level,
                  struct wh_layer_blob *out, struct wh_error *err);
/* The diffID of a blob: 1 with *out, 0 if not known. The blob itself may be gone: a layer whose tree is here
 * needs none. */
int wh_layer_blob_diffid(struct wh_store *s, const struct wh_digest *blob, struct wh_digest *out,
                         struct wh_error *err);

/* WH_E_BUSY while another process leases it; not there: fine. */
int wh_layer_delete(struct wh_store *s, int64_t layer, struct wh_error *err);

#endif
