/* Build caches in registries and layouts, in BuildKit's format (builder.md §3.4): a manifest whose config
 * lists records (what a step's key is) and the layers that they made. The keys are wherry's own, marked as
 * such: BuildKit reads the document and finds none of its own in it, and the reverse. */
#ifndef WH_OCI_CACHE_H
#define WH_OCI_CACHE_H

#include "wherry/oci/image.h"

#define WH_MEDIA_CACHE_CONFIG "application/vnd.buildkit.cacheconfig.v0"
#define WH_CACHE_INLINE "moby.buildkit.cache.v0" /* member of an image's config: base64 of the document */
#define WH_MAX_CACHE_DOCUMENT ((size_t)1 << 20)  /* manifest and config, as BuildKit bounds them */
#define WH_MAX_CACHE_RECORDS 65536
#define WH_ANNOTATION_DIFFID "containerd.io/uncompressed"
#define WH_ANNOTATION_CREATED "buildkit/createdat"

struct wh_cache_record {
    struct wh_digest id;   /* wh_cache_record_id() of the step's key */
    struct wh_digest blob; /* of the layer that the step made */
    int64_t created;       /* ns; 0: not told */
};
struct wh_cache {
    struct wh_cache_record *records; /* owned; those with a layer of their own */
    size_t n;
};
void wh_cache_clear(struct wh_cache *c);

/* What stands for a key of wherry's in a record. */
void wh_cache_record_id(const struct wh_digest *key, struct wh_digest *out);
/* Reads a cache config. layers (NULL: the document's own list) are the blobs that records count from 0: an
 * image's, for an inline cache. Records without exactly one layer are passed over. */
int wh_cache_parse(const void *data, size_t len, const struct wh_digest *layers, size_t nlayers,
                   struct wh_cache *out, struct wh_error *err);
/* The document of these records, compact; each distinct blob becomes a layer on the one before. numbers
 * (NULL: by first use) gives each record's layer instead, and no layers are listed: an inline cache. Owned by
 * the caller. */
char *wh_cache_print(const struct wh_cache *c, const size_t *numbers);

#endif
