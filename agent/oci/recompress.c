/* A layer blob in another compression. One thread: it happens once a base layer, when somebody asks for it by
 * force-compression. */
#include <stdio.h>
#include <unistd.h>

#include "oci/inflate.h"
#include "oci/segment.h"
#include "wherry/base/fs.h"
#include "wherry/oci/blob.h"

struct recompress {
    const struct wh_layer_options *options;
    struct oci_method method;
    struct oci_compressor *compressor;
    struct oci_inflate *inflate;
    struct wh_blob_writer *to;
    struct wh_sha256 *tar;
    char *raw, *packed;
    size_t cap;
};

static ssize_t read_fd(void *data, void *buf, size_t cap, struct wh_error *err)
{
    ssize_t n = read(*(int *)data, buf, cap);
    return n < 0 ? wh_fail_errno(err, "read the layer") : n;
}

/* The next piece of the tar, as large as a segment unless the tar ends. */
static ssize_t fill(struct recompress *r, struct wh_error *err)
{
    size_t len = 0;
    while (len < OCI_SEGMENT_TARGET) {
        ssize_t n = oci_inflate_read(r->inflate, r->raw + len, OCI_SEGMENT_TARGET - len, err);
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

static int copy(struct recompress *r, struct wh_error *err)
{
    uint64_t total = 0;
    for (;;) {
        ssize_t n = fill(r, err);
        if (n <= 0)
            return (int)n;
        total += (uint64_t)n;
        if (total > WH_MAX_LAYER_TAR)
            return wh_fail(err, WH_E_LIMIT, "the layer unpacks to more than %llu bytes",
                           (unsigned long long)WH_MAX_LAYER_TAR);
        if (r->options->cancel && __atomic_load_n(r->options->cancel, __ATOMIC_RELAXED))
            return wh_fail(err, WH_E_CANCELED, "canceled");
        wh_sha256_update(r->tar, r->raw, (size_t)n);
        size_t packed = oci_compress(r->compressor, r->raw, (size_t)n, r->packed, r->cap, err);
        if (packed == 0 || wh_blob_write(r->to, r->packed, packed, err) < 0)
            return -1;
    }
}

static int check(struct recompress *r, const struct wh_digest *diff_id, struct wh_error *err)
{
    struct wh_digest is;
    char want[WH_DIGEST_TEXT];
    wh_sha256_final(r->tar, &is);
    return wh_digest_eq(&is, diff_id)
               ? 0
               : wh_fail(err, WH_E_DIGEST, "the layer's tar is not that of its diffID %s",
                         wh_digest_text(diff_id, want));
}

int wh_oci_recompress(struct wh_store *store, const struct wh_digest *from, const struct wh_digest *diff_id,
                      const struct wh_layer_options *options, struct wh_layer_blob *out, struct wh_error *err)
{
    struct recompress r = {.options = options};
    if (oci_method_choose(options->compression, options->level, &r.method, err) < 0)
        return -1;
    wh_autoclose int fd = wh_blob_open(store, from, NULL, err);
    wh_autoblob *to = fd < 0 ? NULL : wh_blob_begin(store, WH_BLOB_LATER, err);
    wh_autosha256 *tar = wh_sha256_new();
    if (!to)
        return -1;
    r.to = to;
    r.tar = tar;
    r.cap = oci_compress_bound(&r.method, OCI_SEGMENT_TARGET);
    wh_autofree char *raw = wh_malloc(OCI_SEGMENT_TARGET), *packed = wh_malloc(r.cap);
    r.raw = raw;
    r.packed = packed;
    r.compressor = oci_compressor_new(&r.method);
    r.inflate = oci_inflate_new(read_fd, &fd, false);
    int status = copy(&r, err);
    if (status == 0)
        status = check(&r, diff_id, err);
    oci_inflate_free(r.inflate);
    oci_compressor_free(r.compressor);
    if (status < 0)
        return wh_wrap(err, "compress a base layer anew");
    if (wh_blob_commit(wh_steal(&to), WH_BLOB_ANY, &out->digest, &out->size, err) < 0)
        return -1;
    out->level = options->level;
    (void)snprintf(out->format, sizeof(out->format), "%s",
                   options->compression == WH_COMPRESS_NONE ? "none"
                                                            : wh_compression_text(options->compression));
    return wh_layer_blob_add(store, diff_id, out, err);
}
