/* Images in the store: references to manifests and configs, layers fetched only when somebody asks
 * (builder.md §3.3, §9 "Lazy base"; design.md "The builder" item 5). Blocking; every call may come from any
 * thread. */
#ifndef WH_OCI_PULL_H
#define WH_OCI_PULL_H

#include "wherry/oci/layer.h"
#include "wherry/oci/registry.h"

struct wh_store; /* wherry/store */

/* What pulls of one build share. Store and registry are the caller's and outlive it. What is found or fetched
 * is leased by the store's handle. */
struct wh_oci;
struct wh_oci_options {
    const char *scope; /* text that tells who may share what a registry answered about names and digests */
    /* One line for the step's log ("resolve docker.io/library/debian:12: asking the registry"); any thread;
     * or NULL. */
    void (*notice)(void *data, const char *line);
    /* Bytes of a blob that were fetched so far, of total; for progress; any thread; or NULL. id: the digest's
     * text. */
    void (*progress)(void *data, const char *id, uint64_t done, uint64_t total);
    void *data;
    const bool *cancel;
};
struct wh_oci *wh_oci_new(struct wh_store *store, struct wh_registry *registry,
                          const struct wh_oci_options *options);
void wh_oci_free(struct wh_oci *oci);

enum wh_resolve_mode {
    WH_RESOLVE_DEFAULT, /* a digest: the store first; a tag: the registry, and if it can't be reached what the
                           store knows of the tag */
    WH_RESOLVE_PULL,    /* a tag: the registry alone */
    WH_RESOLVE_LOCAL    /* what the store knows first */
};

struct wh_oci_layer {
    struct wh_descriptor descriptor; /* of the blob in the registry */
    struct wh_digest diff_id, chain_id;
};
struct wh_oci_image {
    struct wh_ref ref;             /* as asked */
    struct wh_digest resolved;     /* what the tag or digest named: an index or a manifest */
    struct wh_descriptor manifest; /* of the chosen platform */
    struct wh_str manifest_bytes;
    struct wh_platform platform; /* of the config */
    cJSON *config;               /* owned */
    struct wh_descriptor config_descriptor;
    struct wh_oci_layer *layers; /* base first */
    size_t nlayers;
};
void wh_oci_image_free(struct wh_oci_image *image);

/* Resolves to a manifest and its config; both are in the store afterwards. No layer is fetched. A reference
 * with a digest that the store has needs no network. The caller frees *out. */
int wh_oci_resolve(struct wh_oci *oci, const struct wh_ref *ref, const struct wh_platform *platform,
                   enum wh_resolve_mode mode, struct wh_oci_image **out, struct wh_error *err);

/* The blob of layer n (or the config: n == image->nlayers) is in the store afterwards. Threads that ask for
 * one blob wait for one download. */
int wh_oci_layer_ensure_blob(struct wh_oci *oci, const struct wh_oci_image *image, size_t n,
                             struct wh_error *err);
/* Layers 0..n-1 are unpacked as trees of the store afterwards, in parallel, while their downloads run. ids[i]
 * is the store's layer id; ids has room for n. */
int wh_oci_ensure_trees(struct wh_oci *oci, const struct wh_oci_image *image, size_t n, int64_t *ids,
                        struct wh_error *err);
/* One layer and those that it stands on as far as it needs them. */
int wh_oci_layer_ensure_tree(struct wh_oci *oci, const struct wh_oci_image *image, size_t n, int64_t *id,
                             struct wh_error *err);

#endif
