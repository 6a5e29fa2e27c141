/* A blob's bytes -> the tar stream: none, gzip (any number of members) or zstd (any number of frames), hashed
 * on the way in. */
#ifndef OCI_INFLATE_H
#define OCI_INFLATE_H

#include "wherry/oci/layer.h"

enum oci_format { OCI_FORMAT_NONE, OCI_FORMAT_GZIP, OCI_FORMAT_ZSTD };

struct oci_inflate;
/* The format is found from the first bytes. portable: zlib even where ISA-L is there (for tests). */
struct oci_inflate *oci_inflate_new(wh_layer_source_fn source, void *data, bool portable);
void oci_inflate_free(struct oci_inflate *f);
/* Up to cap bytes; 0 at the end of a whole stream; negative: error (source's, or damaged data). */
ssize_t oci_inflate_read(struct oci_inflate *f, void *buf, size_t cap, struct wh_error *err);
enum oci_format oci_inflate_format(const struct oci_inflate *f); /* after the first read */
uint64_t oci_inflate_packed(const struct oci_inflate *f);        /* bytes taken from the source so far */
/* Takes bytes from the source without decoding them, for the digest. 0: the end. */
ssize_t oci_inflate_skip(struct oci_inflate *f, void *buf, size_t cap, struct wh_error *err);
/* After the end: the digest of all bytes of the source. */
void oci_inflate_digest(struct oci_inflate *f, struct wh_digest *out);

#endif
