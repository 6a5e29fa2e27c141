/* Errors, strings, readers, numbers, environments. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wherry/base/str.h"

static void errors_keep_cause_and_context(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    errno = ENOSPC;
    assert_int_equal(wh_fail_errno(&err, "write %s", "x"), -1);
    assert_int_equal(err.code, WH_E_NO_SPACE);
    wh_wrap(&err, "layer %d", 7);
    assert_string_equal(wh_error_text(&err), "layer 7: write x: No space left on device");
    assert_int_equal(err.sys_errno, ENOSPC);
    assert_int_equal(wh_fail(NULL, WH_E_FAILED, "nobody listens"), -1);
    wh_autoerror moved = {0};
    wh_error_move(&moved, &err);
    assert_null(err.message);
    assert_int_equal(moved.code, WH_E_NO_SPACE);
}

static void string_grows_and_shrinks(void **state)
{
    (void)state;
    wh_autostr s = {0};
    assert_string_equal(wh_str_text(&s), "");
    for (int i = 0; i < 1000; i++)
        wh_str_addf(&s, "%d,", i);
    assert_int_equal(s.len, 3890);
    wh_str_consume(&s, 2);
    assert_memory_equal(s.data, "1,2,", 4);
    wh_str_truncate(&s, 3);
    assert_string_equal(s.data, "1,2");
}

static void reader_stays_in_bounds(void **state)
{
    (void)state;
    struct wh_reader r = wh_reader_of("ab\ncd", 5);
    struct wh_view v;
    assert_int_equal(wh_reader_peek_at(&r, 4), 'd');
    assert_int_equal(wh_reader_peek_at(&r, 5), -1);
    assert_int_equal(wh_reader_peek_at(&r, SIZE_MAX), -1);
    assert_false(wh_reader_take_text(&r, "abx"));
    assert_true(wh_reader_line(&r, &v));
    assert_true(wh_view_eq(v, "ab"));
    assert_false(wh_reader_bytes(&r, 3, &v));
    assert_true(wh_reader_bytes(&r, 2, &v));
    assert_int_equal(wh_reader_next(&r), -1);
    assert_false(wh_reader_line(&r, &v));
}

static void utf8_is_repaired(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {{"h\xc3\xa9llo", "h\xc3\xa9llo"},
                 {"\xff"
                  "a",
                  "\xef\xbf\xbd"
                  "a"},
                 {"a\xc3", "a\xef\xbf\xbd"},
                 {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
                 {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* overlong */
                 {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}};
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autostr s = {0};
        wh_str_add_utf8(&s, cases[i].in, strlen(cases[i].in));
        assert_string_equal(wh_str_text(&s), cases[i].out);
        assert_true(wh_utf8_valid(s.data, s.len));
    }
}

static void numbers_have_limits(void **state)
{
    (void)state;
    uint64_t u;
    int64_t i;
    assert_true(wh_parse_u64("18446744073709551615", UINT64_MAX, &u));
    assert_false(wh_parse_u64("18446744073709551616", UINT64_MAX, &u));
    assert_false(wh_parse_u64("", UINT64_MAX, &u));
    assert_false(wh_parse_u64(" 1", UINT64_MAX, &u));
    assert_false(wh_parse_u64("11", 10, &u));
    assert_true(wh_parse_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &i));
    assert_true(i == INT64_MIN);
    assert_false(wh_parse_i64("9223372036854775808", INT64_MIN, INT64_MAX, &i));
    assert_false(wh_parse_i64("--1", INT64_MIN, INT64_MAX, &i));
}

static void sizes_are_read(void **state)
{
    (void)state;
    uint64_t u;
    assert_true(wh_parse_size("64k", &u) && u == 65536);
    assert_true(wh_parse_size("10MiB", &u) && u == 10485760);
    assert_true(wh_parse_size("2g", &u) && u == (uint64_t)2 << 30);
    assert_true(wh_parse_size("12b", &u) && u == 12);
    assert_false(wh_parse_size("k", &u));
    assert_false(wh_parse_size("1x", &u));
    assert_false(wh_parse_size("18446744073709551615k", &u));
    wh_autofree char *a = wh_format_size(999), *b = wh_format_size(12345678), *c = wh_format_size(999999);
    assert_string_equal(a, "999 B");
    assert_string_equal(b, "12.3 MB");
    assert_string_equal(c, "1.00 MB");
}

static void vectors_and_environments(void **state)
{
    (void)state;
    wh_autostrv char **v = NULL;
    for (int i = 0; i < 100; i++)
        wh_strv_take(&v, wh_printf("%d", i));
    assert_int_equal(wh_strv_len(v), 100);
    assert_string_equal(v[99], "99");
    wh_autostrv char **parts = wh_strv_split("a,,b", ',');
    assert_int_equal(wh_strv_len(parts), 3);
    wh_autofree char *joined = wh_strv_join(parts, "-");
    assert_string_equal(joined, "a--b");
    wh_autostrv char **env = NULL;
    wh_env_set(&env, "A", "1");
    wh_env_set(&env, "AB", "2");
    wh_env_set(&env, "A", "3");
    assert_string_equal(wh_env_get(env, "A"), "3");
    wh_env_set(&env, "A", NULL);
    assert_null(wh_env_get(env, "A"));
    assert_string_equal(wh_env_get(env, "AB"), "2");
    wh_autostrv char **copy = wh_strv_dup(v);
    assert_int_equal(wh_strv_len(copy), 100);
}

static void suggestions(void **state)
{
    (void)state;
    const char *const names[] = {"build", "cache", "register", NULL};
    assert_string_equal(wh_did_you_mean("Build", names), "build");
    assert_string_equal(wh_did_you_mean("registre", names), "register");
    assert_null(wh_did_you_mean("frobnicate", names));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_keep_cause_and_context), cmocka_unit_test(string_grows_and_shrinks),
        cmocka_unit_test(reader_stays_in_bounds),        cmocka_unit_test(utf8_is_repaired),
        cmocka_unit_test(numbers_have_limits),           cmocka_unit_test(sizes_are_read),
        cmocka_unit_test(vectors_and_environments),      cmocka_unit_test(suggestions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
