/* Ranges and block lists, at their limits and one past them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cachesvc/internal.h"

static void test_content_ranges(void **state)
{
    (void)state;
    uint64_t start, end;
    assert_true(svc_content_range("bytes 0-0/*", &start, &end));
    assert_int_equal(end, 0);
    assert_true(svc_content_range("bytes 5-9223372036854775807/10", &start, &end));
    assert_int_equal(start, 5);
    static const char *const bad[] = {
        "",          "bytes",      "bytes 1-0/*",  "bytes -1-2/*", "bytes 0-9223372036854775808/*",
        "bytes 0-1", "bytes 0-1/", "bytes 0-1/*x", "bytes=0-1/*",  " bytes 0-1/*"};
    for (size_t i = 0; i < WH_COUNT(bad); i++)
        assert_false(svc_content_range(bad[i], &start, &end));
    assert_false(svc_content_range(NULL, &start, &end));
}

static void test_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t size;
        enum svc_range is;
        uint64_t start, end;
    } cases[] = {
        {"bytes=0-", 10, RANGE_PART, 0, 9},
        {"bytes=9-", 10, RANGE_PART, 9, 9},
        {"bytes=10-", 10, RANGE_OUTSIDE, 0, 0},
        {"bytes=0-0", 1, RANGE_PART, 0, 0},
        {"bytes=0-99", 10, RANGE_PART, 0, 9},
        {"bytes=-3", 10, RANGE_PART, 7, 9},
        {"bytes=-30", 10, RANGE_PART, 0, 9},
        {"bytes=-0", 10, RANGE_OUTSIDE, 0, 0},
        {"bytes=0-", 0, RANGE_OUTSIDE, 0, 0},
        {"bytes=3-2", 10, RANGE_NONE, 0, 0},
        {"bytes=1-2,3-4", 10, RANGE_NONE, 0, 0},
        {"bytes=", 10, RANGE_NONE, 0, 0},
        {NULL, 10, RANGE_NONE, 0, 0},
    };
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        uint64_t start = 0, end = 0;
        assert_int_equal(svc_range(cases[i].text, cases[i].size, &start, &end), cases[i].is);
        if (cases[i].is != RANGE_PART)
            continue;
        assert_int_equal(start, cases[i].start);
        assert_int_equal(end, cases[i].end);
    }
}

static void test_block_ids(void **state)
{
    (void)state;
    char bytes[WH_MAX_CACHE_BLOCK_ID + 1] = {0};
    wh_autofree char *most = wh_base64(bytes, WH_MAX_CACHE_BLOCK_ID);
    wh_autofree char *more = wh_base64(bytes, sizeof(bytes));
    assert_true(svc_block_id_ok(most));
    assert_false(svc_block_id_ok(more));
    assert_false(svc_block_id_ok(""));
    assert_false(svc_block_id_ok("a*b="));
}

static char **list_of(size_t n, size_t *got)
{
    wh_autostr xml = {0};
    wh_str_add(&xml, "<BlockList>");
    for (size_t i = 0; i < n; i++)
        wh_str_add(&xml, "<Latest>YQ==</Latest>");
    wh_str_add(&xml, "</BlockList>");
    return svc_block_list(xml.data, xml.len, got);
}

static void test_block_lists(void **state)
{
    (void)state;
    size_t n = 1;
    wh_autostrv char **none = list_of(0, &n);
    assert_non_null(none);
    assert_int_equal(n, 0);
    wh_autostrv char **most = list_of(WH_MAX_CACHE_BLOCKS, &n);
    assert_non_null(most);
    assert_int_equal(n, WH_MAX_CACHE_BLOCKS);
    assert_null(list_of(WH_MAX_CACHE_BLOCKS + 1, &n));
    assert_null(svc_block_list("", 0, &n));
}

static void test_protobuf(void **state)
{
    (void)state;
    static const struct field fields[] = {{"key", 2, 's'}, {"more", 3, 'S'}, {"size", 4, 'i'}};
    wh_autoerror err = {0};
    /* key "k", an unknown submessage, more "a" and "b", size 300 */
    static const char bytes[] = "\x12\x01k\x0a\x02\x08\x07\x1a\x01"
                                "a\x1a\x01"
                                "b\x20\xac\x02";
    wh_autojson *json = svc_protobuf_read(bytes, sizeof(bytes) - 1, fields, WH_COUNT(fields), &err);
    assert_non_null(json);
    assert_string_equal(wh_json_string(json, "key"), "k");
    assert_int_equal(cJSON_GetArraySize(wh_json_get(json, "more")), 2);
    assert_int_equal(wh_json_int(json, "size", 0), 300);
    for (size_t cut = 1; cut < sizeof(bytes) - 1; cut++) {
        wh_autoerror why = {0};
        wh_autojson *part = svc_protobuf_read(bytes, cut, fields, WH_COUNT(fields), &why);
        assert_true(part || why.code == WH_E_PARSE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_content_ranges), cmocka_unit_test(test_ranges),
                                       cmocka_unit_test(test_block_ids), cmocka_unit_test(test_block_lists),
                                       cmocka_unit_test(test_protobuf)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
