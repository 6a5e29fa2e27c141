/* Decompression of layer blobs. */
#include "oci/inflate.h"

#include <zlib.h>
#include <zstd.h>
#if defined(__x86_64__) || defined(__aarch64__)
#define HAVE_ISAL 1
#include <isa-l.h>
#endif

#define INPUT_SIZE ((size_t)256 << 10)

struct oci_inflate {
    wh_layer_source_fn source;
    void *source_data;
    struct wh_sha256 *hash;
    uint64_t packed;
    enum oci_format format;
    bool portable, started, source_ended;
    bool between; /* no member or frame is open: the stream may end here */
    unsigned char *in;
    size_t in_pos, in_len;
#ifdef HAVE_ISAL
    struct inflate_state *igzip;
#endif
    z_stream zlib;
    bool zlib_ready;
    ZSTD_DStream *zstd;
};

struct oci_inflate *oci_inflate_new(wh_layer_source_fn source, void *data, bool portable)
{
    struct oci_inflate *f = wh_calloc(1, sizeof(*f));
    f->source = source;
    f->source_data = data;
    f->portable = portable;
    f->hash = wh_sha256_new();
    f->in = wh_malloc(INPUT_SIZE);
    f->between = true;
    return f;
}

void oci_inflate_free(struct oci_inflate *f)
{
    if (!f)
        return;
#ifdef HAVE_ISAL
    free(f->igzip);
#endif
    if (f->zlib_ready)
        inflateEnd(&f->zlib);
    ZSTD_freeDStream(f->zstd);
    wh_sha256_free(f->hash);
    free(f->in);
    free(f);
}

enum oci_format oci_inflate_format(const struct oci_inflate *f)
{
    return f->format;
}

uint64_t oci_inflate_packed(const struct oci_inflate *f)
{
    return f->packed;
}

void oci_inflate_digest(struct oci_inflate *f, struct wh_digest *out)
{
    wh_sha256_final(f->hash, out);
}

ssize_t oci_inflate_skip(struct oci_inflate *f, void *buf, size_t cap, struct wh_error *err)
{
    ssize_t n = f->source_ended ? 0 : f->source(f->source_data, buf, cap, err);
    if (n > 0) {
        wh_sha256_update(f->hash, buf, (size_t)n);
        f->packed += (uint64_t)n;
    }
    return n;
}

/* Adds bytes behind those that are left. 0: the source ended. */
static int refill(struct oci_inflate *f, struct wh_error *err)
{
    if (f->source_ended)
        return 0;
    if (f->in_pos > 0) {
        memmove(f->in, f->in + f->in_pos, f->in_len - f->in_pos);
        f->in_len -= f->in_pos;
        f->in_pos = 0;
    }
    ssize_t n = f->source(f->source_data, f->in + f->in_len, INPUT_SIZE - f->in_len, err);
    if (n < 0)
        return -1;
    if (n == 0) {
        f->source_ended = true;
        return 0;
    }
    wh_sha256_update(f->hash, f->in + f->in_len, (size_t)n);
    f->packed += (uint64_t)n;
    f->in_len += (size_t)n;
    return 1;
}

static void start_gzip(struct oci_inflate *f)
{
#ifdef HAVE_ISAL
    if (!f->portable) {
        f->igzip = wh_calloc(1, sizeof(*f->igzip));
        return;
    }
#endif
    f->zlib_ready = inflateInit2(&f->zlib, 16 + MAX_WBITS) == Z_OK;
}

static int start(struct oci_inflate *f, struct wh_error *err)
{
    static const unsigned char zstd_magic[4] = {0x28, 0xb5, 0x2f, 0xfd};
    int n = 1;
    while (f->in_len < 4 && n > 0)
        n = refill(f, err);
    if (n < 0)
        return -1;
    f->started = true;
    bool skippable = f->in_len >= 4 && (f->in[0] & 0xf0) == 0x50 && f->in[1] == 0x2a && f->in[2] == 0x4d &&
                     f->in[3] == 0x18;
    if (f->in_len >= 2 && f->in[0] == 0x1f && f->in[1] == 0x8b) {
        f->format = OCI_FORMAT_GZIP;
        start_gzip(f);
    } else if (f->in_len >= 4 && (memcmp(f->in, zstd_magic, 4) == 0 || skippable)) {
        f->format = OCI_FORMAT_ZSTD;
        f->zstd = ZSTD_createDStream();
        ZSTD_initDStream(f->zstd);
    }
    return 0;
}

static ssize_t read_plain(struct oci_inflate *f, void *buf, size_t cap)
{
    size_t n = WH_MIN(cap, f->in_len - f->in_pos);
    memcpy(buf, f->in + f->in_pos, n);
    f->in_pos += n;
    return (ssize_t)n;
}

static ssize_t damaged(const char *format, int code, struct wh_error *err)
{
    return wh_fail(err, WH_E_PARSE, "the %s data is damaged (code %d)", format, code);
}

#ifdef HAVE_ISAL
static ssize_t read_igzip(struct oci_inflate *f, void *buf, size_t cap, struct wh_error *err)
{
    struct inflate_state *z = f->igzip;
    if (f->between) {
        isal_inflate_init(z);
        z->crc_flag = ISAL_GZIP;
        f->between = false;
    }
    z->next_in = f->in + f->in_pos;
    z->avail_in = (uint32_t)(f->in_len - f->in_pos);
    z->next_out = buf;
    z->avail_out = (uint32_t)cap;
    int code = isal_inflate(z);
    f->in_pos = f->in_len - z->avail_in;
    if (code != ISAL_DECOMP_OK && code != ISAL_END_INPUT)
        return damaged("gzip", code, err);
    if (z->block_state == ISAL_BLOCK_FINISH)
        f->between = true;
    return (ssize_t)(cap - z->avail_out);
}
#endif

static ssize_t read_zlib(struct oci_inflate *f, void *buf, size_t cap, struct wh_error *err)
{
    z_stream *z = &f->zlib;
    if (!f->zlib_ready)
        return damaged("gzip", Z_MEM_ERROR, err);
    if (f->between) {
        inflateReset(z);
        f->between = false;
    }
    z->next_in = f->in + f->in_pos;
    z->avail_in = (uInt)(f->in_len - f->in_pos);
    z->next_out = buf;
    z->avail_out = (uInt)cap;
    int code = inflate(z, Z_NO_FLUSH);
    f->in_pos = f->in_len - z->avail_in;
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
        return damaged("gzip", code, err);
    if (code == Z_STREAM_END)
        f->between = true;
    return (ssize_t)(cap - z->avail_out);
}

static ssize_t read_zstd(struct oci_inflate *f, void *buf, size_t cap, struct wh_error *err)
{
    ZSTD_inBuffer in = {f->in + f->in_pos, f->in_len - f->in_pos, 0};
    ZSTD_outBuffer out = {buf, cap, 0};
    size_t code = ZSTD_decompressStream(f->zstd, &out, &in);
    if (ZSTD_isError(code))
        return wh_fail(err, WH_E_PARSE, "the zstd data is damaged: %s", ZSTD_getErrorName(code));
    f->in_pos += in.pos;
    f->between = code == 0;
    return (ssize_t)out.pos;
}

static ssize_t decode(struct oci_inflate *f, void *buf, size_t cap, struct wh_error *err)
{
    if (f->format == OCI_FORMAT_NONE)
        return read_plain(f, buf, cap);
    if (f->format == OCI_FORMAT_ZSTD)
        return read_zstd(f, buf, cap, err);
#ifdef HAVE_ISAL
    if (f->igzip)
        return read_igzip(f, buf, cap, err);
#endif
    return read_zlib(f, buf, cap, err);
}

ssize_t oci_inflate_read(struct oci_inflate *f, void *buf, size_t cap, struct wh_error *err)
{
    if (!f->started && start(f, err) < 0)
        return -1;
    for (;;) {
        /* A decoder may hold output back without more input, so it is asked before the source. */
        if (f->in_pos < f->in_len || !f->between) {
            size_t before = f->in_pos;
            ssize_t n = decode(f, buf, cap, err);
            if (n != 0)
                return n;
            if (f->in_pos != before && f->in_pos < f->in_len)
                continue;
        }
        int more = refill(f, err);
        if (more < 0)
            return -1;
        if (more > 0)
            continue;
        if (f->in_pos < f->in_len && f->between)
            continue;
        if (!f->between)
            return wh_fail(err, WH_E_PARSE, "the compressed data ends in the middle");
        return 0;
    }
}
