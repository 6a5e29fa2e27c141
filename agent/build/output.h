/* What is asked for, read before anything is built: a wrong attribute must not cost a build. Private to
 * agent/build/. */
#ifndef WH_BUILD_OUTPUT_H
#define WH_BUILD_OUTPUT_H

#include "build/solve.h"

enum annotation_level {
    ANNOTATION_MANIFEST,
    ANNOTATION_INDEX,
    ANNOTATION_MANIFEST_DESCRIPTOR,
    ANNOTATION_INDEX_DESCRIPTOR,
    ANNOTATION_LEVELS
};

struct output {
    const struct wh_build_output *asked; /* borrowed from the request */
    bool image;                          /* needs the image's documents and blobs */
    bool push, by_digest, insecure;
    bool index;    /* an index over the manifest (and its attestations) is the result */
    bool force;    /* base layers are compressed like the others */
    bool rewrite;  /* later times in the layers are cut to epoch */
    int64_t epoch; /* seconds: SOURCE_DATE_EPOCH or the attribute; WH_LAYER_NO_EPOCH: none */
    enum wh_compression compression;
    int level;
    bool docker;                           /* Docker's media types */
    char **names;                          /* owned: normalised references */
    cJSON *annotations[ANNOTATION_LEVELS]; /* owned objects or NULL */
};

/* Fills b->outputs. */
int outputs_prepare(struct build *b, struct wh_error *err);
void outputs_clear(struct build *b);

/* ---- export_layers.c: a layer as the output wants it; diffid is that of the image's config ---- */
int export_layer(struct build *b, const struct output *o, struct layer *layer, struct wh_descriptor *out,
                 struct wh_digest *diffid, struct wh_error *err);

/* ---- attest.c: what is told about how the image was made (builder.md §6 Attestations) ---- */
struct wh_export_image;
/* Reads the request's attests; negative for what is not known. */
int attest_prepare(struct build *b, struct wh_error *err);
void attest_clear(struct build *b);
/* Whether the output gets an attestation manifest. */
bool attest_wanted(const struct build *b, const struct output *o);
/* The attestation manifest of an image; its blobs are in the store afterwards. */
int attest_make(struct build *b, struct stage *target, const struct output *o,
                const struct wh_export_image *image, struct wh_export_image *out, struct wh_error *err);
/* sbom.c: an SPDX document of the packages that the root file system's databases name. Owned by the caller.
 */
cJSON *sbom_make(struct build *b, int root, const char *name, struct wh_error *err);

/* ---- blobs.c: layers become blobs while later steps run, and go to the registry while they are compressed
 * ---- */
/* A layer of the target's stack was made or found. */
void blobs_begin(struct build *b, const struct stage *s, const struct layer *layer);
/* Waits for all of them; counts what was uploaded. */
int blobs_finish(struct build *b, struct wh_error *err);
/* The blob in the form that the output names; made now if it is not there. Sets the layer's diffID. */
int blobs_get(struct build *b, const struct output *o, struct layer *layer, struct wh_layer_blob *out,
              struct wh_error *err);

#endif
