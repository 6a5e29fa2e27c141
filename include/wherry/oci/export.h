/* Exporters: push, OCI layout, docker archive, local files and tar (builder.md §6 table). Everything written
 * is deterministic: sorted members, 0:0, mtime 0 or the source date. */
#ifndef WH_OCI_EXPORT_H
#define WH_OCI_EXPORT_H

#include "wherry/oci/layer.h"
#include "wherry/oci/registry.h"

/* Where blobs that are to be exported come from: a descriptor to read the blob from 0 on (owned by the caller
 * of open), or negative. */
struct wh_blob_provider {
    void *data;
    int (*open)(void *data, const struct wh_digest *digest, struct wh_error *err);
    /* A repository path of `host` that is known to hold the blob, to mount it from there; NULL if none. Owned
     * by the caller. May be NULL. */
    char *(*mount_from)(void *data, const char *host, const struct wh_digest *digest);
};

/* One finished image: bytes that are in memory, layers that the provider has. */
struct wh_export_image {
    struct wh_platform platform;
    struct wh_descriptor manifest; /* size, digest, type of manifest_bytes */
    struct wh_str manifest_bytes;
    struct wh_descriptor config;
    struct wh_str config_bytes;
    struct wh_descriptor *layers; /* owned; base first */
    size_t nlayers;
};
void wh_export_image_clear(struct wh_export_image *image);
/* Makes both documents: config (its diff_ids and history complete) and manifest with the layers. docker:
 * Docker's media types. annotations (object or NULL) go into the manifest. */
int wh_export_image_build(const cJSON *config, const struct wh_descriptor *layers, size_t nlayers,
                          bool docker, const cJSON *annotations, struct wh_export_image *out,
                          struct wh_error *err);

struct wh_export_set {
    struct wh_export_image *images; /* owned by the caller */
    size_t nimages;                 /* several (or index): an index over them is the result */
    bool index;
    bool docker;                    /* Docker's types for the index */
    const cJSON *index_annotations; /* or NULL */
    const cJSON
        *root_annotations; /* of the descriptor that an archive's index.json has of the root; or NULL */
    char *const
        *names; /* references, NULL-terminated; normalised by the exporter; may be NULL for archives */
    const char *created; /* RFC 3339, for the archive's annotation; or NULL */
};
/* The root of the set: the manifest, or the index (whose bytes are added to bytes). */
int wh_export_root(const struct wh_export_set *set, struct wh_descriptor *root, struct wh_str *bytes,
                   struct wh_error *err);

struct wh_push_stats {
    uint64_t uploaded_bytes;             /* of blob bodies */
    unsigned uploaded, mounted, existed; /* blobs */
};
struct wh_push_options {
    bool by_digest;    /* no tag is written */
    unsigned parallel; /* 0: WH_REGISTRY_TRANSFERS */
    /* "pushing layer sha256:...", "pushing manifest for NAME"; started and done as BuildKit names them; any
     * thread; or NULL. */
    void (*progress)(void *data, const char *text, const struct wh_digest *digest, uint64_t size, bool done);
    void *progress_data;
};
/* Pushes the set under every name: blobs in parallel, then configs, manifests, index, tags last. */
int wh_export_push(const struct wh_export_set *set, const struct wh_blob_provider *blobs,
                   struct wh_registry *registry, const struct wh_push_options *options,
                   struct wh_push_stats *stats, struct wh_error *err);

/* OCI layout into a directory (made if absent; blobs that are there stay; index.json is replaced last) and as
 * a tar to a sink. docker: manifest.json is added (docker load; one platform only). */
int wh_export_oci_dir(const struct wh_export_set *set, const struct wh_blob_provider *blobs, int dirfd,
                      struct wh_error *err);
int wh_export_archive(const struct wh_export_set *set, const struct wh_blob_provider *blobs, bool docker,
                      wh_layer_sink_fn sink, void *data, struct wh_error *err);

/* The root file system's files into a directory: rootfs is a merged view (a mounted overlay or one tree).
 * Owners are kept where the process may set them, epoch caps mtimes (WH_LAYER_NO_EPOCH: none). */
int wh_export_local(int rootfs, int dest, int64_t epoch, struct wh_error *err);
/* The same as one tar: wh_tree_write_tar() of layer.h. */

#endif
