/* A layer of the store as a blob of the store: made once, then kept (design.md, "The builder" items 2 to 4
 * and 7). */
#ifndef WH_OCI_BLOB_H
#define WH_OCI_BLOB_H

#include "wherry/oci/layer.h"
#include "wherry/oci/registry.h"
#include "wherry/store/blob.h"
#include "wherry/store/layer.h"

/* Compressed segments that the store remembers of earlier blobs. */
struct wh_blob_segments;
/* file_digest as in struct wh_segment_cache; data is handed to it. */
struct wh_blob_segments *wh_blob_segments_new(struct wh_store *store,
                                              bool (*file_digest)(void *data, const char *path,
                                                                  const struct stat *st,
                                                                  struct wh_digest *out),
                                              void *data);
const struct wh_segment_cache *wh_blob_segments_cache(struct wh_blob_segments *s); /* borrowed */
/* Files what was written under the finished blob. */
int wh_blob_segments_save(struct wh_blob_segments *s, const struct wh_digest *blob, struct wh_error *err);
void wh_blob_segments_free(struct wh_blob_segments *s); /* NULL is fine */
void wh_blob_segments_free_ptr(struct wh_blob_segments **s);
#define wh_autosegments __attribute__((cleanup(wh_blob_segments_free_ptr))) struct wh_blob_segments

/* Where a blob goes at once, while it is still being compressed. */
struct wh_blob_push {
    struct wh_registry *registry;
    const struct wh_ref *repository;
    struct wh_blob_stream *stream; /* out: set if an upload was begun: wh_registry_stream_finish() or _abort()
                                      it; NULL if the blob was there */
};

/* The blob of a layer tree in the form that options name: the store's if it has one, else written now, hashed
 * once, filed under its diffID. push may be NULL. */
int wh_oci_layer_blob(struct wh_store *store, int64_t layer, const struct wh_layer_options *options,
                      struct wh_blob_push *push, struct wh_layer_blob *out, struct wh_digest *diff_id,
                      struct wh_error *err);

/* A blob of the store in another compression: the same tar, so the same diffID, which is verified. Filed
 * under it. */
int wh_oci_recompress(struct wh_store *store, const struct wh_digest *from, const struct wh_digest *diff_id,
                      const struct wh_layer_options *options, struct wh_layer_blob *out,
                      struct wh_error *err);

#endif
