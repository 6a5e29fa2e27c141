/* Documents of build caches: what is read of them, and their bounds. */
#include "helpers.h"

#include "wherry/oci/cache.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void test_read_and_print(void **state)
{
    (void)state;
    struct wh_cache c;
    struct wh_digest a;
    static const char text[] =
        "{\"layers\":[{\"blob\":\"" A "\",\"parent\":-1},{\"blob\":\"" B "\"}],"
        "\"records\":[{\"digest\":\"" A "\"},"
        "{\"layers\":[{\"layer\":1,\"createdAt\":\"2026-01-01T00:00:00Z\"}],\"digest\":\"" B "\"},"
        "{\"layers\":[{\"layer\":0,\"createdAt\":\"no time\"}],\"digest\":\"" A "\"},"
        "{\"layers\":[{\"layer\":2}],\"digest\":\"" A "\"},"
        "{\"layers\":[{\"layer\":0},{\"layer\":1}],\"digest\":\"" A "\"}]}";
    assert_int_equal(wh_cache_parse(text, strlen(text), NULL, 0, &c, NULL), 0);
    assert_int_equal(c.n, 2);
    assert_int_equal(wh_digest_parse(A, &a, NULL), 0);
    assert_true(wh_digest_eq(&c.records[1].blob, &a));
    assert_int_equal(c.records[0].created, (int64_t)1767225600 * 1000000000);
    assert_int_equal(c.records[1].created, 0);
    wh_autofree char *again = wh_cache_print(&c, NULL);
    assert_non_null(strstr(again, "\"layers\":[{\"blob\":\"" B "\",\"parent\":-1},{\"blob\":\"" A "\"}]"));
    const size_t numbers[] = {4, 5};
    wh_autofree char *inside = wh_cache_print(&c, numbers);
    assert_non_null(strstr(inside, "{\"records\":[{\"layers\":[{\"layer\":4,"));
    wh_cache_clear(&c);
}

static void test_bad(void **state)
{
    (void)state;
    struct wh_cache c;
    wh_autoerror err = {0};
    assert_int_equal(wh_cache_parse("{}", 2, NULL, 0, &c, NULL), 0);
    wh_cache_clear(&c);
    assert_true(wh_cache_parse("{\"layers\":[{}]}", 15, NULL, 0, &c, &err) < 0);
    assert_string_equal(wh_error_text(&err), "layer 0 of the cache has no digest");
    wh_cache_clear(&c);
    wh_autostr big = {0};
    wh_str_add(&big, "{\"records\":[");
    for (int i = 0; i <= WH_MAX_CACHE_RECORDS; i++)
        wh_str_add(&big, i ? ",1" : "1");
    wh_str_add(&big, "]}");
    wh_error_clear(&err);
    assert_true(wh_cache_parse(big.data, big.len, NULL, 0, &c, &err) < 0);
    assert_non_null(strstr(wh_error_text(&err), "more than 65536 records"));
    wh_cache_clear(&c);
    wh_autofree char *large = wh_calloc(1, WH_MAX_CACHE_DOCUMENT + 2);
    memset(large, ' ', WH_MAX_CACHE_DOCUMENT + 1);
    assert_true(wh_cache_parse(large, WH_MAX_CACHE_DOCUMENT + 1, NULL, 0, &c, NULL) < 0);
    wh_cache_clear(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_read_and_print), cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
