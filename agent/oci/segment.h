/* A tree -> the tar stream, cut into segments at places that depend on paths and sizes alone, so that a
 * change moves only the cuts beside it (design.md, "The builder" item 7). */
#ifndef OCI_SEGMENT_H
#define OCI_SEGMENT_H

#include "oci/compress.h"
#include "oci/walk.h"
#include "wherry/oci/layer.h"

#define OCI_SEGMENT_TARGET ((size_t)1 << 20) /* expected size, and the step at which big files are cut */
#define OCI_SEGMENT_CAP ((size_t)2 << 20)    /* no segment begins a further member beyond it */

struct oci_segment {
    struct wh_str raw; /* tar bytes; its memory is used again and again */
    bool has_key;
    struct wh_digest key;
};

struct oci_stream;
struct oci_stream *oci_stream_new(int root, bool overlay, const struct wh_layer_options *options,
                                  const struct oci_method *method, struct wh_error *err);
void oci_stream_free(struct oci_stream *s);
/* Fills seg with the next bytes. 1: filled; 0: the stream had ended before; negative: error. One thread at a
 * time. */
int oci_stream_next(struct oci_stream *s, struct oci_segment *seg, struct wh_error *err);
uint64_t oci_stream_members(const struct oci_stream *s);

#endif
