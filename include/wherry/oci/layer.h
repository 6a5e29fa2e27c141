/* Layers: a directory tree in overlayfs form <-> a tar stream in OCI form (builder.md §5 Tar and Compression,
 * §8; design.md "The builder" items 2 to 7).
 *
 * Trees are as the store keeps them: a deleted name is a character device 0:0, an opaque directory has the
 * xattr user.overlay.opaque = "y" (trusted.overlay.opaque is read too). They are read and written by
 * descriptor, in the caller's user namespace. All calls here block: they belong on a thread of their own. */
#ifndef WH_OCI_LAYER_H
#define WH_OCI_LAYER_H

#include <sys/stat.h>
#include <sys/types.h>

#include "wherry/base/digest.h"
#include "wherry/oci/image.h"

#define WH_LAYER_NO_EPOCH INT64_MIN

/* ---- writing ---- */

/* What is known of compressed segments of earlier blobs. The bytes of a segment depend on its key alone
 * (headers, file digests, compression, level and the compressor's version are in it). Called from several
 * threads. Every member may be NULL. */
struct wh_segment_place {
    uint64_t offset, len; /* of the compressed bytes in their blob */
    uint32_t check;       /* CRC-32 of them: a blob that the disk damaged must not spread */
};
struct wh_segment_cache {
    void *data;
    /* The SHA-256 of a regular file's content if it is known without reading it. True if known. path is
     * relative to the tree. */
    bool (*file_digest)(void *data, const char *path, const struct stat *st, struct wh_digest *out);
    /* 1: the segment's compressed bytes lie at that place of *fd (which the caller closes); 0: not known. */
    int (*lookup)(void *data, const struct wh_digest *key, int *fd, struct wh_segment_place *place);
    /* A segment was written: its place in the blob that is being made. Called in the order of the stream. */
    void (*remember)(void *data, const struct wh_digest *key, const struct wh_segment_place *place);
};

struct wh_layer_options {
    enum wh_compression compression;
    int level; /* 0: the default (gzip: ISA-L's level 1; zstd: 3). gzip 1-3 fast, 4-9 small; zstd 1-19 */
    unsigned threads; /* 0: all cores. The bytes don't depend on it */
    int64_t epoch;    /* seconds; later mtimes are cut to it; WH_LAYER_NO_EPOCH: none */
    const struct wh_segment_cache *segments; /* or NULL */
    /* Or NULL: is fed with the blob's bytes and left open, so that a store need not hash them once more;
     * result.digest is then not set. */
    struct wh_sha256 *blob_hash;
    const bool *cancel; /* or NULL; polled (atomically) between segments */
    /* Called, in order and from one thread at a time, after each piece of the blob went to the sink; total is
     * the bytes so far. A reader of the same file can begin an upload with it. Or NULL. */
    void (*progress)(void *data, uint64_t total);
    void *progress_data;
};
#define WH_LAYER_OPTIONS_INIT                                                                                \
    {                                                                                                        \
        .compression = WH_COMPRESS_GZIP, .epoch = WH_LAYER_NO_EPOCH                                          \
    }

struct wh_layer_result {
    struct wh_digest diff_id;  /* of the tar stream */
    uint64_t tar_size;         /* bytes */
    struct wh_digest digest;   /* of the blob */
    uint64_t size;             /* bytes */
    uint64_t files;            /* members written */
    uint64_t segments, reused; /* of the compressed stream */
};

/* Takes the blob's bytes in order. Returns 0 or negative with err. Called from one thread at a time. */
typedef int (*wh_layer_sink_fn)(void *data, const void *bytes, size_t len, struct wh_error *err);
/* Writes the tree below dirfd as a layer blob. sink NULL: only the digests are made. */
int wh_layer_write(int dirfd, const struct wh_layer_options *options, wh_layer_sink_fn sink, void *data,
                   struct wh_layer_result *out, struct wh_error *err);

/* The same for plain files, as the tar exporter has them: overlay marks mean nothing here, character devices
 * are devices and names that begin with .wh. are files. */
int wh_tree_write_tar(int dirfd, const struct wh_layer_options *options, wh_layer_sink_fn sink, void *data,
                      struct wh_layer_result *out, struct wh_error *err);

/* ---- reading ---- */

/* Limits against bombs. Errors name the member. */
#define WH_MAX_LAYER_ENTRIES ((uint64_t)8 << 20)
#define WH_MAX_LAYER_TAR ((uint64_t)512 << 30) /* bytes of the unpacked stream */
#define WH_MAX_LAYER_RATIO                                                                                   \
    1100 /* unpacked to packed, beyond WH_LAYER_RATIO_FREE (deflate's own bound is 1032) */
#define WH_LAYER_RATIO_FREE                                                                                  \
    ((uint64_t)4 << 30) /* honest layers hold files of zeros, which zstd makes tiny                          \
                         */
#define WH_MAX_LAYER_PATH 4096
#define WH_MAX_LAYER_DEPTH 512                /* components of a path */
#define WH_MAX_LAYER_XATTRS ((size_t)1 << 20) /* bytes, of one member */

struct wh_unpack_limits { /* 0: the limit above */
    uint64_t entries, tar, ratio, ratio_free;
};

/* How a blob is compressed is told by its first bytes. */
struct wh_unpack_options {
    const struct wh_digest *digest;  /* of the blob; NULL: not verified */
    int64_t size;                    /* of the blob; negative: not known */
    const struct wh_digest *diff_id; /* NULL: not verified */
    struct wh_unpack_limits limits;
    /* The trees below, newest first, asked for only if a member needs them (a parent that the tar leaves out,
     * a hard link to a lower file). May block until these are ready. The descriptors stay the callback's.
     * NULL: there are none. */
    int (*lowers)(void *data, const int **fds, size_t *n, struct wh_error *err);
    void *lowers_data;
    void (*warn)(void *data, const char *line); /* a skipped device node, a dropped xattr; or NULL */
    void *warn_data;
    const bool *cancel; /* or NULL */
};
struct wh_unpack_result {
    struct wh_digest digest, diff_id;
    uint64_t size, tar_size; /* bytes packed and unpacked */
    uint64_t entries;
    bool used_lowers; /* the tree belongs to a chainID, not to the diffID alone (design.md, builder item 5) */
};

/* Gives the blob's next bytes: up to cap bytes into buf; 0 at the end; may block while a download runs. */
typedef ssize_t (*wh_layer_source_fn)(void *data, void *buf, size_t cap, struct wh_error *err);
/* Unpacks a layer blob into the empty directory root, in overlayfs form, and verifies it. On failure the
 * directory holds a part: the caller drops it. */
int wh_layer_unpack(wh_layer_source_fn source, void *data, int root, const struct wh_unpack_options *options,
                    struct wh_unpack_result *out, struct wh_error *err);
/* The same from a descriptor that is read from its current place on. */
int wh_layer_unpack_fd(int fd, int root, const struct wh_unpack_options *options,
                       struct wh_unpack_result *out, struct wh_error *err);
/* ADD of a local archive: a tar in any of gzip, bzip2, xz, zstd or bare, below root/dest (resolved in root);
 * .wh. names are plain files; uid and gid override those of the members if not negative. */
struct wh_archive_options {
    int64_t uid, gid; /* -1: as in the archive */
    const bool *cancel;
    void (*warn)(void *data, const char *line);
    void *warn_data;
};
int wh_archive_unpack_fd(int fd, int dest, const struct wh_archive_options *options, struct wh_error *err);
/* True if the first bytes are those of an archive that ADD unpacks. The descriptor's position stays. */
bool wh_archive_is(int fd);

#endif
