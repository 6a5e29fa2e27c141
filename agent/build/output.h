/* What is asked for, read before anything is built: a wrong attribute must not cost a build. Private to
 * agent/build/. */
#ifndef WH_BUILD_OUTPUT_H
#define WH_BUILD_OUTPUT_H

#include "build/solve.h"

struct output {
    const struct wh_build_output *asked; /* borrowed from the request */
    bool image;                          /* needs the image's documents and blobs */
    bool push, by_digest;
    enum wh_compression compression;
    int level;
    bool docker;        /* Docker's media types */
    char **names;       /* owned: normalised references */
    cJSON *annotations; /* owned: of the manifest; NULL */
};

/* Fills b->outputs. */
int outputs_prepare(struct build *b, struct wh_error *err);
void outputs_clear(struct build *b);

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
