/* JSON limits and lenient reading; clock, digest and base64 forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wherry/base/clock.h"
#include "wherry/base/digest.h"
#include "wherry/base/json.h"

static enum wh_error_code parse_code(const char *text, size_t len, size_t max)
{
    wh_autoerror err = {0};
    wh_autojson *json = wh_json_parse(text, len, max, "t", &err);
    return json ? WH_OK : err.code;
}

static void bad_texts_are_refused(void **state)
{
    (void)state;
    assert_int_equal(parse_code("{\"a\":1}", 7, 7), WH_OK);
    assert_int_equal(parse_code("{\"a\":1}", 7, 6), WH_E_LIMIT);
    assert_int_equal(parse_code("\xef\xbb\xbf{}", 5, 100), WH_OK);
    assert_int_equal(parse_code("{} x", 4, 100), WH_E_PARSE);
    assert_int_equal(parse_code("{\"a\":", 5, 100), WH_E_PARSE);
    assert_int_equal(parse_code("", 0, 100), WH_E_PARSE);
    assert_int_equal(parse_code("{\0}", 3, 100), WH_E_PARSE);
}

static void depth_is_limited(void **state)
{
    (void)state;
    for (size_t depth = WH_MAX_JSON_DEPTH; depth <= WH_MAX_JSON_DEPTH + 1; depth++) {
        wh_autostr s = {0};
        for (size_t i = 0; i < depth; i++)
            wh_str_addc(&s, '[');
        for (size_t i = 0; i < depth; i++)
            wh_str_addc(&s, ']');
        assert_int_equal(parse_code(s.data, s.len, 1000), depth <= WH_MAX_JSON_DEPTH ? WH_OK : WH_E_LIMIT);
    }
    assert_int_equal(parse_code("\"[[[\\\"[[\"", 9, 100), WH_OK);
}

static void members_are_read_leniently(void **state)
{
    (void)state;
    const char *text =
        "{\"AgentId\":\"4711\",\"on\":\"True\",\"n\":null,\"big\":9007199254740991,\"b\":true}";
    wh_autojson *json = wh_json_parse(text, strlen(text), 1000, "t", NULL);
    assert_int_equal(wh_json_int(json, "agentId", -1), 4711);
    assert_true(wh_json_bool(json, "ON", false));
    assert_null(wh_json_get(json, "n"));
    assert_int_equal(wh_json_int(json, "missing", -5), -5);
    wh_autofree char *b = wh_json_text(json, "b"), *big = wh_json_text(json, "big");
    assert_string_equal(b, "true");
    assert_string_equal(big, "9007199254740991");
    wh_autoerror err = {0};
    assert_null(wh_json_need_string(json, "url", "answer", &err));
    assert_string_equal(wh_error_text(&err), "answer: field url is missing");
}

static void numbers_print_exactly(void **state)
{
    (void)state;
    wh_autojson *json = cJSON_CreateObject();
    wh_json_add_int(json, "a", 9223372036854775807);
    wh_json_add_int(json, "b", -1);
    cJSON *c = cJSON_AddObjectToObject(json, "c");
    wh_json_add_string(c, "k", "v");
    cJSON_AddArrayToObject(json, "d");
    wh_autofree char *compact = wh_json_print(json), *indented = wh_json_print_indented(json);
    assert_string_equal(compact, "{\"a\":9223372036854775807,\"b\":-1,\"c\":{\"k\":\"v\"},\"d\":[]}");
    assert_string_equal(
        indented,
        "{\n  \"a\": 9223372036854775807,\n  \"b\": -1,\n  \"c\": {\n    \"k\": \"v\"\n  },\n  \"d\": []\n}");
}

static void times_round_trip(void **state)
{
    (void)state;
    char buf[40];
    int64_t ns;
    assert_true(wh_time_parse_iso("2026-11-24T13:05:09.1234567Z", &ns));
    assert_string_equal(wh_time_iso(ns, 7, buf), "2026-11-24T13:05:09.1234567Z");
    assert_string_equal(wh_time_iso(ns, 3, buf), "2026-11-24T13:05:09.123Z");
    assert_true(wh_time_parse_iso("2026-11-24T14:05:09+01:00", &ns));
    assert_string_equal(wh_time_iso(ns, 0, buf), "2026-11-24T13:05:09Z");
    assert_true(wh_time_parse_iso("1969-12-31T23:59:59.5", &ns));
    assert_int_equal(ns, -500000000);
    assert_string_equal(wh_time_iso(ns, 3, buf), "1969-12-31T23:59:59.500Z");
    static const char *const bad[] = {"",
                                      "2026-13-01T00:00:00Z",
                                      "2026-11-24",
                                      "2026-11-24T13:05:09.Z",
                                      "2026-11-24T13:05:09.1234567890Z",
                                      "2026-11-24T13:05:09Zx",
                                      "9999999-1-1T0:0:0Z"};
    for (size_t i = 0; i < WH_COUNT(bad); i++)
        assert_false(wh_time_parse_iso(bad[i], &ns));
    assert_true(wh_time_parse_http("Sun, 06 Nov 1994 08:49:37 GMT", &ns));
    assert_int_equal(ns / 1000000000, 784111777);
}

static void digests_and_base64(void **state)
{
    (void)state;
    struct wh_digest d, e;
    char text[WH_DIGEST_TEXT];
    wh_digest_of("abc", 3, &d);
    assert_string_equal(wh_digest_text(&d, text),
                        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(wh_digest_parse(text, &e, NULL), 0);
    assert_true(wh_digest_eq(&d, &e));
    text[10] = 'G';
    assert_int_equal(wh_digest_parse(text, &e, NULL), -1);
    assert_int_equal(wh_digest_parse("sha256:", &e, NULL), -1);
    wh_autosha256 *h = wh_sha256_new();
    for (int again = 0; again < 2; again++) {
        wh_sha256_update(h, "a", 1);
        wh_sha256_update(h, "bc", 2);
        wh_sha256_final(h, &e);
        assert_true(wh_digest_eq(&d, &e));
    }
    wh_autostr out = {0};
    assert_true(wh_unbase64("_-8=", 4, &out));
    assert_memory_equal(out.data, "\xff\xef", 2);
    assert_true(wh_unbase64("", 0, &out));
    assert_false(wh_unbase64("a b=", 4, &out));
    wh_autofree char *url = wh_base64url("\xff\xef", 2), *std = wh_base64("\xff\xef", 2);
    assert_string_equal(url, "_-8");
    assert_string_equal(std, "/+8=");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_texts_are_refused),      cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(members_are_read_leniently), cmocka_unit_test(numbers_print_exactly),
        cmocka_unit_test(times_round_trip),           cmocka_unit_test(digests_and_base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
