/* One segment of a tar stream -> one gzip member or zstd frame. A compressor is used by one thread at a time.
 */
#ifndef OCI_COMPRESS_H
#define OCI_COMPRESS_H

#include "wherry/oci/image.h"

enum oci_engine { OCI_ENGINE_COPY, OCI_ENGINE_IGZIP, OCI_ENGINE_LIBDEFLATE, OCI_ENGINE_ZSTD };

struct oci_method {
    enum oci_engine engine;
    int level;        /* the engine's own */
    char version[64]; /* of the engine; part of a segment's key, since its bytes may change with it */
};
/* Which engine makes this compression and level (0: default) on this CPU. */
int oci_method_choose(enum wh_compression compression, int level, struct oci_method *out,
                      struct wh_error *err);

struct oci_compressor;
struct oci_compressor *oci_compressor_new(const struct oci_method *method);
void oci_compressor_free(struct oci_compressor *c);
/* The most that n bytes can become. */
size_t oci_compress_bound(const struct oci_method *method, size_t n);
/* out holds at least oci_compress_bound() bytes. Returns the length, or 0 with err. */
size_t oci_compress(struct oci_compressor *c, const void *in, size_t n, void *out, size_t cap,
                    struct wh_error *err);

#endif
