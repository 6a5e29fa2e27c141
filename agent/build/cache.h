/* Caches that other machines made, and those made for them (cache-from and cache-to). Private to
 * agent/build/. */
#ifndef WH_BUILD_CACHE_H
#define WH_BUILD_CACHE_H

#include "build/output.h"

#include "wherry/oci/cache.h"

/* One cache-from or cache-to: "type=registry,ref=...". */
struct cache_spec {
    char **attrs;     /* owned */
    const char *type; /* borrowed from attrs, or static */
    const char *ref;  /* borrowed; of type registry */
};
/* 0, or negative for what is not understood. A bare reference is type=registry. */
int cache_spec_read(const char *text, struct cache_spec *out, struct wh_error *err);
void cache_spec_clear(struct cache_spec *spec);

/* ---- cache_import.c ---- */
/* Reads the documents of all cache-from of type registry; no layer moves. What can't be read is a warning.
 * Before any other thread. */
void cache_import(struct build *b);
void cache_import_clear(struct build *b);
/* 1: a cache knows the step's layer. */
int cache_find(const struct build *b, const struct wh_digest *key, struct layer *out);
/* The layer's blob (layer->image and nth name it) is in the store afterwards, filed under its diffID. */
int cache_fetch(struct build *b, const struct layer *layer, struct wh_error *err);
/* The blob in its form there; NULL if it is not an imported layer. Borrowed. */
const struct wh_oci_layer *cache_layer(const struct layer *layer);

/* ---- cache_export.c ---- */
/* Refuses what can't be exported, before anything is built. */
int cache_export_check(struct build *b, struct wh_error *err);
/* All cache-to of type registry. */
int cache_export(struct build *b, struct wh_error *err);
/* The inline cache of an image whose layers (base first) have these digests, as base64; NULL: none is asked
 * for. Owned by the caller. */
char *cache_inline(const struct build *b, const struct wh_descriptor *layers, size_t n);

#endif
