/* A layer blob -> a tree in overlay form, within limits, verified while it is read. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <unistd.h>

#include "oci/member.h"
#include "oci/pump.h"
#include "wherry/oci/layer.h"

/* What libarchive reads from. */
struct reader {
    struct oci_pump *pump;
    struct wh_sha256 *hash;
    uint64_t tar_size;
    uint64_t max_tar, max_ratio, ratio_free;
    const bool *cancel;
    struct wh_error error; /* why a read failed */
};

static bool canceled(const bool *cancel)
{
    return cancel && __atomic_load_n(cancel, __ATOMIC_RELAXED);
}

static int check_bomb(struct reader *r, struct wh_error *err)
{
    if (r->tar_size > r->max_tar)
        return wh_fail(err, WH_E_LIMIT, "the layer unpacks to more than %llu bytes",
                       (unsigned long long)r->max_tar);
    if (r->tar_size <= r->ratio_free)
        return 0;
    uint64_t packed = oci_pump_packed(r->pump);
    if (r->tar_size / r->max_ratio > packed)
        return wh_fail(
            err, WH_E_LIMIT,
            "the layer unpacks to more than %llu times its size: this looks like a decompression bomb",
            (unsigned long long)r->max_ratio);
    return 0;
}

static ssize_t read_piece(struct reader *r, const void **data)
{
    *data = NULL;
    ssize_t n = canceled(r->cancel) ? wh_fail(&r->error, WH_E_CANCELED, "the unpacking was canceled")
                                    : oci_pump_next(r->pump, data, &r->error);
    if (n <= 0)
        return n;
    r->tar_size += (uint64_t)n;
    if (check_bomb(r, &r->error) < 0)
        return -1;
    if (r->hash)
        wh_sha256_update(r->hash, *data, (size_t)n);
    return n;
}

static la_ssize_t archive_reads(struct archive *a, void *data, const void **buffer)
{
    struct reader *r = data;
    ssize_t n = read_piece(r, buffer);
    if (n < 0)
        archive_set_error(a, EIO, "%s", wh_error_text(&r->error));
    return n < 0 ? -1 : n;
}

/* The reader's own error says more than what libarchive makes of it. */
static int reader_error(struct reader *r, struct archive *a, struct wh_error *err)
{
    if (r->error.code != WH_OK)
        return wh_error_move(err, &r->error);
    const char *text = archive_error_string(a);
    return wh_fail(err, WH_E_PARSE, "%s", text ? text : "the tar stream is damaged");
}

static int unpack_members(struct reader *r, struct archive *a, struct oci_members *m, uint64_t max_entries,
                          uint64_t *entries, struct wh_error *err)
{
    struct archive_entry *entry;
    for (;;) {
        int code = archive_read_next_header(a, &entry);
        if (code == ARCHIVE_EOF)
            return oci_members_finish(m, err);
        if (code != ARCHIVE_OK && code != ARCHIVE_WARN)
            return reader_error(r, a, err);
        if (++*entries > max_entries)
            return wh_fail(err, WH_E_LIMIT,
                           "member \"%.200s\" is one more than the %llu that a layer may have",
                           archive_entry_pathname(entry), (unsigned long long)max_entries);
        struct wh_error why = {0};
        if (oci_member_unpack(m, a, entry, &why) == 0)
            continue;
        if (r->error.code == WH_OK)
            return wh_error_move(err, &why);
        wh_error_clear(&why);
        wh_error_move(err, &r->error);
        return wh_wrap(err, "member \"%.200s\"", archive_entry_pathname(entry));
    }
}

/* What follows the archive's end belongs to the digests all the same. */
static int drain(struct reader *r, struct wh_error *err)
{
    const void *data;
    ssize_t n;
    while ((n = read_piece(r, &data)) > 0)
        ;
    return n < 0 ? wh_error_move(err, &r->error) : 0;
}

/* Names are bytes. In the C locale libarchive hands them on as they are (in UTF-8 ones it would normalise
 * them). */
static locale_t enter_c_locale(locale_t *made)
{
    *made = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return *made ? uselocale(*made) : (locale_t)0;
}

static void leave_c_locale(locale_t made, locale_t before)
{
    if (!made)
        return;
    uselocale(before);
    freelocale(made);
}

static struct archive *open_archive(struct reader *r, struct wh_error *err)
{
    struct archive *a = archive_read_new();
    if (a)
        archive_read_support_format_tar(a);
    if (a)
        archive_read_support_format_empty(a);
    if (!a || archive_read_open(a, r, NULL, archive_reads, NULL) != ARCHIVE_OK) {
        if (a)
            reader_error(r, a, err);
        else
            wh_fail(err, WH_E_FAILED, "libarchive can't be used");
        archive_read_free(a);
        return NULL;
    }
    return a;
}

static int read_archive(struct reader *r, struct oci_members *m, uint64_t max_entries, uint64_t *entries,
                        struct wh_error *err)
{
    locale_t made, before = enter_c_locale(&made);
    struct archive *a = open_archive(r, err);
    int failed = a ? unpack_members(r, a, m, max_entries, entries, err) : -1;
    archive_read_free(a);
    leave_c_locale(made, before);
    if (failed == 0)
        failed = drain(r, err);
    return failed;
}

/* ---- verification ---- */

static int check_digest(const char *what, const struct wh_digest *have, const struct wh_digest *want,
                        struct wh_error *err)
{
    char is[WH_DIGEST_TEXT], should[WH_DIGEST_TEXT];
    if (!want || wh_digest_eq(have, want))
        return 0;
    return wh_fail(err, WH_E_DIGEST, "the %s is %s, but should be %s: the data was damaged or changed", what,
                   wh_digest_text(have, is), wh_digest_text(want, should));
}

static int verify(const struct wh_unpack_options *o, const struct wh_unpack_result *r, struct wh_error *err)
{
    if (o->size >= 0 && r->size != (uint64_t)o->size)
        return wh_fail(err, WH_E_DIGEST, "the layer has %llu bytes, but should have %lld",
                       (unsigned long long)r->size, (long long)o->size);
    if (check_digest("layer's digest", &r->digest, o->digest, err) < 0)
        return -1;
    return check_digest("layer's diffID", &r->diff_id, o->diff_id, err);
}

/* A damaged blob may break the tar before its digest is known: the digest's error says more, so the rest is
 * read for it. */
static int explain(struct oci_inflate *f, const struct wh_unpack_options *o, struct wh_error *err)
{
    char scratch[16384];
    struct wh_digest digest;
    wh_autoerror ignored = {0};
    if (!o->digest || !err || err->code != WH_E_PARSE)
        return -1;
    while (oci_inflate_skip(f, scratch, sizeof(scratch), &ignored) > 0)
        ;
    if (ignored.code != WH_OK || (o->size >= 0 && oci_inflate_packed(f) != (uint64_t)o->size))
        return -1;
    oci_inflate_digest(f, &digest);
    if (!wh_digest_eq(&digest, o->digest)) {
        wh_error_clear(err);
        check_digest("layer's digest", &digest, o->digest, err);
    }
    return -1;
}

static struct reader reader_for(struct oci_pump *pump, const struct wh_unpack_options *o)
{
    return (struct reader){
        .pump = pump,
        .hash = wh_sha256_new(),
        .max_tar = o->limits.tar ? o->limits.tar : WH_MAX_LAYER_TAR,
        .max_ratio = o->limits.ratio ? o->limits.ratio : WH_MAX_LAYER_RATIO,
        .ratio_free = o->limits.ratio_free ? o->limits.ratio_free : WH_LAYER_RATIO_FREE,
        .cancel = o->cancel,
    };
}

static int unpack_with(struct oci_inflate *inflate, struct oci_pump *pump, int root,
                       const struct wh_unpack_options *o, struct wh_unpack_result *out, struct wh_error *err)
{
    struct reader r = reader_for(pump, o);
    struct oci_members m = {
        .merged = oci_merged_new(root, true, o->lowers, o->lowers_data),
        .root = root,
        .layer = true,
        .uid = -1,
        .gid = -1,
        .max_bytes = r.max_tar,
        .warn = o->warn,
        .warn_data = o->warn_data,
    };
    int failed = read_archive(&r, &m, o->limits.entries ? o->limits.entries : WH_MAX_LAYER_ENTRIES,
                              &out->entries, err);
    out->used_lowers = oci_merged_used_lowers(m.merged);
    out->tar_size = r.tar_size;
    if (failed == 0) {
        wh_sha256_final(r.hash, &out->diff_id);
        out->size = oci_inflate_packed(inflate);
        oci_inflate_digest(inflate, &out->digest);
        failed = verify(o, out, err);
    }
    oci_members_clear(&m);
    oci_merged_free(m.merged);
    wh_sha256_free(r.hash);
    wh_error_clear(&r.error);
    return failed;
}

int wh_layer_unpack(wh_layer_source_fn source, void *data, int root, const struct wh_unpack_options *options,
                    struct wh_unpack_result *out, struct wh_error *err)
{
    struct wh_unpack_result result = {0};
    struct oci_inflate *inflate = oci_inflate_new(source, data, false);
    struct oci_pump *pump = oci_pump_new(inflate, options->cancel, err);
    int failed = pump ? unpack_with(inflate, pump, root, options, &result, err) : -1;
    oci_pump_free(pump);
    if (failed < 0 && pump)
        explain(inflate, options, err);
    oci_inflate_free(inflate);
    if (failed < 0)
        return wh_wrap(err, "unpack layer");
    *out = result;
    return 0;
}

static ssize_t read_fd(void *data, void *buf, size_t cap, struct wh_error *err)
{
    const int *fd = data;
    for (;;) {
        ssize_t n = read(*fd, buf, cap);
        if (n >= 0)
            return n;
        if (errno != EINTR)
            return wh_fail_errno(err, "read the layer's blob");
    }
}

int wh_layer_unpack_fd(int fd, int root, const struct wh_unpack_options *options,
                       struct wh_unpack_result *out, struct wh_error *err)
{
    return wh_layer_unpack(read_fd, &fd, root, options, out, err);
}
