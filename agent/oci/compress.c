/* Compressors. ISA-L's igzip where the CPU has what it is written for: about fifteen times as fast as zlib's
 * level 6. */
#include "oci/compress.h"

#include <libdeflate.h>
#include <stdio.h>
#include <zstd.h>
#if defined(__x86_64__) || defined(__aarch64__)
#define HAVE_ISAL 1
#include <isa-l.h>
#endif

#define DEFAULT_IGZIP_LEVEL 1
#define DEFAULT_DEFLATE_LEVEL 1
#define DEFAULT_ZSTD_LEVEL 3
#define MAX_ZSTD_LEVEL 19
#define MAX_GZIP_LEVEL 9
#define IGZIP_LEVELS 3 /* gzip levels up to this one are igzip's; better ones are libdeflate's */

struct oci_compressor {
    struct oci_method method;
#ifdef HAVE_ISAL
    struct isal_zstream igzip;
    void *level_buf;
#endif
    struct libdeflate_compressor *deflate;
    ZSTD_CCtx *zstd;
};

static bool cpu_has_igzip(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
    return true;
#else
    return false;
#endif
}

static void choose_gzip(int level, struct oci_method *out)
{
#ifdef HAVE_ISAL
    if (level <= IGZIP_LEVELS && cpu_has_igzip()) {
        out->engine = OCI_ENGINE_IGZIP;
        out->level = level ? level : DEFAULT_IGZIP_LEVEL;
        snprintf(out->version, sizeof(out->version), "igzip-%d.%d.%d", ISAL_MAJOR_VERSION, ISAL_MINOR_VERSION,
                 ISAL_PATCH_VERSION);
        return;
    }
#endif
    out->engine = OCI_ENGINE_LIBDEFLATE;
    out->level = level ? level : DEFAULT_DEFLATE_LEVEL;
    snprintf(out->version, sizeof(out->version), "libdeflate-%s", LIBDEFLATE_VERSION_STRING);
}

int oci_method_choose(enum wh_compression compression, int level, struct oci_method *out,
                      struct wh_error *err)
{
    int max = compression == WH_COMPRESS_ZSTD ? MAX_ZSTD_LEVEL : MAX_GZIP_LEVEL;
    *out = (struct oci_method){.engine = OCI_ENGINE_COPY};
    if (level < 0 || level > max)
        return wh_fail(err, WH_E_ARGUMENT, "compression level %d: %s takes 0 (its default) to %d", level,
                       wh_compression_text(compression), max);
    if (compression == WH_COMPRESS_GZIP) {
        choose_gzip(level, out);
    } else if (compression == WH_COMPRESS_ZSTD) {
        out->engine = OCI_ENGINE_ZSTD;
        out->level = level ? level : DEFAULT_ZSTD_LEVEL;
        snprintf(out->version, sizeof(out->version), "zstd-%s", ZSTD_versionString());
    }
    return 0;
}

#ifdef HAVE_ISAL
static size_t igzip_level_size(int level)
{
    return level == 1 ? ISAL_DEF_LVL1_DEFAULT : level == 2 ? ISAL_DEF_LVL2_DEFAULT : ISAL_DEF_LVL3_DEFAULT;
}
#endif

struct oci_compressor *oci_compressor_new(const struct oci_method *method)
{
    struct oci_compressor *c = wh_calloc(1, sizeof(*c));
    c->method = *method;
#ifdef HAVE_ISAL
    if (method->engine == OCI_ENGINE_IGZIP)
        c->level_buf = wh_malloc(igzip_level_size(method->level));
#endif
    if (method->engine == OCI_ENGINE_LIBDEFLATE)
        c->deflate = libdeflate_alloc_compressor(method->level);
    if (method->engine == OCI_ENGINE_ZSTD)
        c->zstd = ZSTD_createCCtx();
    return c;
}

void oci_compressor_free(struct oci_compressor *c)
{
    if (!c)
        return;
#ifdef HAVE_ISAL
    free(c->level_buf);
#endif
    if (c->deflate)
        libdeflate_free_compressor(c->deflate);
    ZSTD_freeCCtx(c->zstd);
    free(c);
}

size_t oci_compress_bound(const struct oci_method *method, size_t n)
{
    switch (method->engine) {
    case OCI_ENGINE_ZSTD:
        return ZSTD_compressBound(n);
    case OCI_ENGINE_LIBDEFLATE:
        return libdeflate_gzip_compress_bound(NULL, n);
    case OCI_ENGINE_IGZIP:
        return n + n / 256 + 4096; /* stored blocks of at most 64 KiB, header, trailer */
    default:
        return n;
    }
}

#ifdef HAVE_ISAL
static size_t igzip(struct oci_compressor *c, const void *in, size_t n, void *out, size_t cap,
                    struct wh_error *err)
{
    struct isal_zstream *z = &c->igzip;
    isal_deflate_init(z);
    z->level = (uint32_t)c->method.level;
    z->level_buf = c->level_buf;
    z->level_buf_size = (uint32_t)igzip_level_size(c->method.level);
    z->gzip_flag = IGZIP_GZIP;
    z->end_of_stream = 1;
    z->flush = NO_FLUSH;
    z->next_in = (uint8_t *)(uintptr_t)in;
    z->avail_in = (uint32_t)n;
    z->next_out = out;
    z->avail_out = (uint32_t)cap;
    int code = isal_deflate(z);
    if (code != COMP_OK || z->avail_in != 0 || z->internal_state.state != ZSTATE_END) {
        wh_fail(err, WH_E_FAILED, "igzip failed (code %d)", code);
        return 0;
    }
    return z->total_out;
}
#endif

size_t oci_compress(struct oci_compressor *c, const void *in, size_t n, void *out, size_t cap,
                    struct wh_error *err)
{
    size_t len = 0;
    switch (c->method.engine) {
#ifdef HAVE_ISAL
    case OCI_ENGINE_IGZIP:
        return igzip(c, in, n, out, cap, err);
#endif
    case OCI_ENGINE_LIBDEFLATE:
        len = c->deflate ? libdeflate_gzip_compress(c->deflate, in, n, out, cap) : 0;
        break;
    case OCI_ENGINE_ZSTD:
        len = c->zstd ? ZSTD_compressCCtx(c->zstd, out, cap, in, n, c->method.level) : 0;
        if (ZSTD_isError(len))
            len = 0;
        break;
    default:
        memcpy(out, in, n);
        return n;
    }
    if (len == 0)
        wh_fail(err, WH_E_FAILED, "the %s compressor failed on %zu bytes", c->method.version, n);
    return len;
}
