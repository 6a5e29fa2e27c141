/* The image model: descriptors, manifests, indexes and configs of OCI and Docker (builder.md §5 Config and
 * History, §6).
 *
 * A digest is of bytes: what was read from a registry is kept as it came and never written anew. What is
 * built here is printed once, in BuildKit's order and with its escapes, and kept as bytes from then on. */
#ifndef WH_OCI_IMAGE_H
#define WH_OCI_IMAGE_H

#include "wherry/base/json.h"
#include "wherry/oci/reference.h"

#define WH_MAX_MANIFEST_BYTES ((size_t)4 << 20) /* manifests and indexes */
#define WH_MAX_CONFIG_BYTES ((size_t)8 << 20)
#define WH_MAX_MANIFEST_LAYERS 4096
#define WH_MAX_INDEX_MANIFESTS 4096
#define WH_MAX_HISTORY 16384

#define WH_MEDIA_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define WH_MEDIA_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define WH_MEDIA_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define WH_MEDIA_OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define WH_MEDIA_OCI_EMPTY "application/vnd.oci.empty.v1+json"
#define WH_MEDIA_DOCKER_INDEX "application/vnd.docker.distribution.manifest.list.v2+json"
#define WH_MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define WH_MEDIA_DOCKER_CONFIG "application/vnd.docker.container.image.v1+json"
#define WH_MEDIA_DOCKER_LAYER "application/vnd.docker.image.rootfs.diff.tar"
#define WH_MEDIA_DOCKER_FOREIGN_LAYER "application/vnd.docker.image.rootfs.foreign.diff.tar"

enum wh_compression { WH_COMPRESS_NONE, WH_COMPRESS_GZIP, WH_COMPRESS_ZSTD };
/* "uncompressed", "gzip", "zstd". */
const char *wh_compression_text(enum wh_compression c);
bool wh_compression_parse(const char *text, enum wh_compression *out);
/* The layer's media type, OCI's or Docker's; static. */
const char *wh_layer_media_type(enum wh_compression c, bool docker);
/* The compression that a layer's media type tells; negative with WH_E_UNSUPPORTED for what is no image layer.
 */
int wh_layer_media_compression(const char *media_type, enum wh_compression *out, struct wh_error *err);

struct wh_descriptor {
    char *media_type; /* owned */
    struct wh_digest digest;
    int64_t size;       /* bytes */
    cJSON *annotations; /* owned object or NULL */
    cJSON *extra; /* owned object of members that are not named here (urls, data, artifactType) or NULL */
    bool has_platform;
    struct wh_platform platform; /* normalised */
    cJSON *platform_json;        /* owned; as it was read, or NULL */
};
void wh_descriptor_clear(struct wh_descriptor *d);
void wh_descriptor_copy(struct wh_descriptor *to, const struct wh_descriptor *from);
void wh_descriptor_set(struct wh_descriptor *d, const char *media_type, const struct wh_digest *digest,
                       int64_t size);
/* Reads one descriptor object; what ("layer 3 of manifest sha256:..") goes into errors. */
int wh_descriptor_parse(const cJSON *json, const char *what, struct wh_descriptor *out, struct wh_error *err);
cJSON *
wh_descriptor_json(const struct wh_descriptor *d); /* members in BuildKit's order; owned by the caller */

/* ---- manifest and index ---- */
struct wh_manifest {
    char *media_type;    /* owned */
    char *artifact_type; /* owned or NULL */
    struct wh_descriptor config;
    struct wh_descriptor *layers; /* owned */
    size_t nlayers;
    cJSON *annotations; /* owned or NULL */
    cJSON *subject;     /* owned or NULL */
};
struct wh_index {
    char *media_type;
    char *artifact_type;
    struct wh_descriptor *manifests;
    size_t nmanifests;
    cJSON *annotations;
};
void wh_manifest_clear(struct wh_manifest *m);
void wh_index_clear(struct wh_index *i);
#define wh_automanifest __attribute__((cleanup(wh_manifest_clear))) struct wh_manifest
#define wh_autoindex __attribute__((cleanup(wh_index_clear))) struct wh_index

enum wh_manifest_kind { WH_KIND_MANIFEST, WH_KIND_INDEX };
/* Which of the two the bytes are: by media_type (an answer's Content-Type, may be NULL or parameterised), by
 * the document's own mediaType, else by its members. Schema 1 is WH_E_UNSUPPORTED. */
int wh_manifest_kind(const void *data, size_t len, const char *media_type, enum wh_manifest_kind *out,
                     struct wh_error *err);
int wh_manifest_parse(const void *data, size_t len, struct wh_manifest *out, struct wh_error *err);
int wh_index_parse(const void *data, size_t len, struct wh_index *out, struct wh_error *err);
/* The exact bytes as BuildKit prints them (indented by two; "layers": null without layers). Owned by the
 * caller. */
char *wh_manifest_print(const struct wh_manifest *m);
char *wh_index_print(const struct wh_index *i);
void wh_manifest_add_layer(struct wh_manifest *m, const struct wh_descriptor *layer); /* copies */
void wh_index_add(struct wh_index *i, const struct wh_descriptor *manifest);          /* copies */
/* The entry that serves the platform best (unknown/unknown is skipped), or NULL with an error that lists what
 * there is. */
const struct wh_descriptor *wh_index_choose(const struct wh_index *i, const struct wh_platform *want,
                                            struct wh_error *err);

/* ---- config: the JSON document itself is the model; unknown members pass through ---- */
/* Parses and checks the members that others rely on: config object or null, rootfs.diff_ids digests, history
 * array of objects, architecture and os strings. The caller frees by cJSON_Delete(). */
cJSON *wh_image_config_parse(const void *data, size_t len, struct wh_error *err);
/* What FROM scratch starts from: architecture, os, Env PATH, WorkingDir "/". */
cJSON *wh_image_config_new(const struct wh_platform *platform);
/* BuildKit's bytes: compact, top-level members sorted, those of `config` in the fixed order of §5, empty ones
 * left out, maps sorted, <>& escaped. An image without layers prints "created":null and "diff_ids":null.
 * Owned by the caller. */
char *wh_image_config_print(const cJSON *config);
/* The object `config` inside (made if it is absent or null). Borrowed. */
cJSON *wh_image_config_section(cJSON *config);
int wh_image_config_platform(const cJSON *config, struct wh_platform *out, struct wh_error *err);
/* The diffIDs, base first. *out is owned by the caller (free()). Returns the count. */
int wh_image_config_diff_ids(const cJSON *config, struct wh_digest **out, struct wh_error *err);
void wh_image_config_add_diff_id(cJSON *config, const struct wh_digest *diff_id);
/* Appends a history entry. created: RFC 3339, NULL leaves it out; comment NULL: "buildkit.dockerfile.v0". */
void wh_image_config_add_history(cJSON *config, const char *created, const char *created_by,
                                 const char *comment, bool empty_layer);
void wh_image_config_set_created(cJSON *config, const char *created); /* NULL: null */
/* How many history entries are not empty_layer; equals the layers of a sound image. */
size_t wh_image_config_history_layers(const cJSON *config);

/* chainID of diff_ids[0..n): n >= 1. */
void wh_chain_id(const struct wh_digest *diff_ids, size_t n, struct wh_digest *out);

/* ---- JSON as Go's encoding/json prints it: <>& and U+2028/9 escaped, UTF-8 kept, member order as it is in
 * the tree ---- */
char *wh_go_json(const cJSON *json);          /* compact */
char *wh_go_json_indented(const cJSON *json); /* two spaces */
void wh_json_sort_members(cJSON *object);     /* by name, bytewise, not below */

#endif
