/* Decompression: each format, by ISA-L and by zlib, in pieces of every size; damage is told. */
#include "helpers.h"

#include <libdeflate.h>
#include <zstd.h>

#include "oci/inflate.h"

#define LEN ((size_t)700000)

static char *plain;

static int start(void **state)
{
    (void)state;
    plain = wh_malloc(LEN);
    for (size_t i = 0; i < LEN; i++)
        plain[i] = (char)((i * i >> 9) ^ (i % 251));
    return 0;
}

static int stop(void **state)
{
    (void)state;
    free(plain);
    return 0;
}

/* Members or frames of `step` bytes each, one after the other. */
static void pack(struct wh_str *out, bool zstd, size_t step)
{
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(6);
    wh_autofree char *piece = wh_malloc(2 * step + 1024);
    for (size_t at = 0; at < LEN; at += step) {
        size_t n = WH_MIN(step, LEN - at);
        size_t len = zstd ? ZSTD_compress(piece, 2 * step + 1024, plain + at, n, 3)
                          : libdeflate_gzip_compress(c, plain + at, n, piece, 2 * step + 1024);
        assert_true(len > 0 && !(zstd && ZSTD_isError(len)));
        wh_str_addn(out, piece, len);
    }
    libdeflate_free_compressor(c);
}

static int inflate_all(const struct wh_str *packed, size_t in_step, size_t out_step, bool portable,
                       struct wh_str *out, struct wh_digest *digest, struct wh_error *err)
{
    struct bytes_source source = {packed->data, packed->len, 0, in_step};
    struct oci_inflate *f = oci_inflate_new(from_bytes, &source, portable);
    wh_autofree char *buf = wh_malloc(out_step);
    ssize_t n;
    while ((n = oci_inflate_read(f, buf, out_step, err)) > 0)
        wh_str_addn(out, buf, (size_t)n);
    if (n == 0 && digest) {
        assert_int_equal(oci_inflate_packed(f), packed->len);
        oci_inflate_digest(f, digest);
    }
    oci_inflate_free(f);
    return (int)n;
}

static void test_formats(void **state)
{
    (void)state;
    static const size_t steps[] = {1000, 65536, LEN};
    static const size_t ins[] = {1, 7, 4096, 0};
    for (int kind = 0; kind < 2; kind++)
        for (size_t s = 0; s < WH_COUNT(steps); s++)
            for (size_t i = 0; i < WH_COUNT(ins); i++)
                for (int portable = 0; portable < 2; portable++) {
                    wh_autostr packed = {0}, out = {0};
                    wh_autoerror err = {0};
                    struct wh_digest digest, expected;
                    pack(&packed, kind == 1, steps[s]);
                    if (inflate_all(&packed, ins[i], i == 2 ? 333 : 131072, portable, &out, &digest, &err) <
                        0)
                        fail_msg("%d %zu %zu: %s", kind, s, i, wh_error_text(&err));
                    assert_int_equal(out.len, LEN);
                    assert_memory_equal(out.data, plain, LEN);
                    wh_digest_of(packed.data, packed.len, &expected);
                    assert_true(wh_digest_eq(&digest, &expected));
                }
}

static void test_plain(void **state)
{
    (void)state;
    wh_autostr packed = {0}, out = {0}, empty = {0}, nothing = {0};
    wh_str_addn(&packed, plain, LEN);
    assert_int_equal(inflate_all(&packed, 100, 1000, false, &out, NULL, NULL), 0);
    assert_int_equal(out.len, LEN);
    wh_str_addn(&empty, "", 0);
    assert_int_equal(inflate_all(&empty, 0, 1000, false, &nothing, NULL, NULL), 0);
    assert_int_equal(nothing.len, 0);
}

static void refuse(struct wh_str *packed, bool portable, const char *says)
{
    wh_autostr out = {0};
    wh_autoerror err = {0};
    assert_true(inflate_all(packed, 0, 131072, portable, &out, NULL, &err) < 0);
    assert_int_equal(err.code, WH_E_PARSE);
    if (!strstr(wh_error_text(&err), says))
        fail_msg("\"%s\" lacks \"%s\"", wh_error_text(&err), says);
}

static void test_damage(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++)
        for (int portable = 0; portable < 2; portable++) {
            wh_autostr packed = {0}, cut = {0}, tail = {0};
            pack(&packed, kind == 1, 100000);
            wh_str_addn(&cut, packed.data, packed.len - 3);
            refuse(&cut, portable, "ends in the middle");
            wh_str_addn(&tail, packed.data, packed.len);
            wh_str_add(&tail, "garbage behind it");
            refuse(&tail, portable, kind ? "zstd" : "gzip");
            if (kind == 0) { /* the checksum in a trailer */
                packed.data[packed.len - 6] ^= 1;
                refuse(&packed, portable, "damaged");
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
