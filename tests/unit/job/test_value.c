/* Values: objects, coercions at their edges, ContextData, event.json. What expressions show is in test_expr.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wherry/job/value.h"

static void test_object_keys(void **state)
{
    (void)state;
    wh_autovalue *o = wh_value_object();
    wh_object_set_text(o, "Name", "1");
    wh_object_set_text(o, "NAME", "2");
    assert_int_equal(wh_value_count(o), 1);
    assert_string_equal(wh_object_key_at(o, 0), "Name"); /* the first spelling stays */
    assert_string_equal(wh_value_text(wh_object_get(o, "name")), "2");
    wh_object_set_text(o, "ÄRGER", "3");
    assert_string_equal(wh_value_text(wh_object_get(o, "ärger")), "3");
    assert_null(wh_object_get(o, "other"));
    assert_false(wh_object_has(o, "other"));
}

static void test_object_case_sensitive(void **state)
{
    (void)state;
    wh_autovalue *o = wh_value_object_case_sensitive();
    wh_object_set_text(o, "Path", "1");
    wh_object_set_text(o, "PATH", "2");
    assert_int_equal(wh_value_count(o), 2);
    assert_string_equal(wh_value_text(wh_object_get(o, "Path")), "1");
    assert_null(wh_object_get(o, "path"));
}

/* Past the size from which objects have an index, with removals between. */
static void test_object_many(void **state)
{
    (void)state;
    wh_autovalue *o = wh_value_object();
    char key[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "Key%d", i);
        wh_object_set_take(o, key, wh_value_number(i));
    }
    for (int i = 0; i < 1000; i += 3) {
        snprintf(key, sizeof key, "KEY%d", i);
        wh_object_remove(o, key);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "kEY%d", i);
        const struct wh_value *v = wh_object_get(o, key);
        assert_int_equal(v != NULL, i % 3 != 0);
        assert_true(!v || wh_value_as_number(v) == i);
    }
    assert_string_equal(wh_object_key_at(o, 0), "Key1");
    wh_object_remove(o, "absent");
    assert_int_equal(wh_value_count(o), 666);
}

static void test_sharing(void **state)
{
    (void)state;
    wh_autovalue *a = wh_value_array();
    wh_autovalue *s = wh_value_string("x");
    wh_array_add(a, s);
    wh_array_add(a, NULL);
    wh_autovalue *copy = wh_value_copy_shallow(a);
    assert_ptr_equal(wh_array_at(copy, 0), s);
    wh_array_add(copy, s);
    assert_int_equal(wh_value_count(a), 2);
    assert_true(wh_value_is_null(wh_array_at(a, 1)));
    assert_null(wh_array_at(a, 2));
    assert_true(wh_value_is_null(NULL));
}

static void test_strings(void **state)
{
    (void)state;
    wh_autovalue *bad = wh_value_stringn("a\xff"
                                         "b",
                                         3);
    assert_string_equal(wh_value_text(bad), "a\xEF\xBF\xBD"
                                            "b");
    struct wh_str s = {0};
    wh_str_add(&s, "taken");
    wh_autovalue *taken = wh_value_string_take(&s);
    assert_string_equal(wh_value_text(taken), "taken");
    wh_autovalue *null = wh_value_string(NULL);
    assert_true(wh_value_is_null(null));
}

static void check_number(const char *text, double expected)
{
    double n = wh_number_parse(text, strlen(text));
    assert_true(isnan(expected) ? isnan(n) : n == expected);
}

static void test_number_parse(void **state)
{
    (void)state;
    check_number("", 0);
    check_number(" \t\n\xC2\xA0", 0);
    check_number("\xE2\x80\x83"
                 "12 ",
                 12);
    check_number("+.5", 0.5);
    check_number("5.", 5);
    check_number(".", NAN);
    check_number("+", NAN);
    check_number("1e+2", 100);
    check_number("1e", NAN);
    check_number("1e+", NAN);
    check_number("infinity", INFINITY);
    check_number("-INFINITY", -INFINITY);
    check_number("inf", NAN);
    check_number("nan", NAN);
    check_number("0x", NAN);
    check_number("0xg", NAN);
    check_number("0x00000000000000000001", 1);
    check_number("0o8", NAN);
    check_number("1_000", NAN);
    check_number("0b1", NAN);
    check_number("1e400", INFINITY);
    check_number("1111111111111111111111111111111111111111111111111111111111111111111111",
                 1.1111111111111111e69);
}

static void test_compare(void **state)
{
    (void)state;
    assert_true(wh_text_compare_ci(wh_view_of("abc"), wh_view_of("ABD")) < 0);
    assert_int_equal(wh_text_compare_ci(wh_view_of("ÉTÉ"), wh_view_of("été")), 0);
    assert_true(wh_text_compare_ci(wh_view_of("a"), wh_view_of("")) > 0);
    assert_true(wh_text_compare_ci(wh_view_of("\xF0\x9F\x98\x80"), wh_view_of("\xEF\xA8\x8E")) < 0);
    assert_false(wh_text_equal_ci(wh_view_of("ab"), wh_view_of("abc")));
}

static struct wh_value *context_data(const char *text, struct wh_error *err)
{
    wh_autojson *json = wh_json_parse(text, strlen(text), 1 << 20, "test", NULL);
    assert_non_null(json);
    return wh_value_from_context_data(json, "contextData.x", err);
}

static void check_context_data(const char *text, const char *expected)
{
    wh_autoerror err = {0};
    wh_autovalue *v = context_data(text, &err);
    wh_autojson *plain = v ? wh_value_to_json(v) : NULL;
    wh_autofree char *got = v ? cJSON_PrintUnformatted(plain) : wh_strdup(wh_error_text(&err));
    assert_string_equal(got, expected);
}

static void test_context_data(void **state)
{
    (void)state;
    check_context_data("null", "null");
    check_context_data("\"a\"", "\"a\"");
    check_context_data("true", "true");
    check_context_data("1.5", "1.5");
    check_context_data("{}", "\"\"");
    check_context_data("{\"s\":\"x\"}", "\"x\"");
    check_context_data("{\"t\":0,\"s\":\"x\"}", "\"x\"");
    check_context_data("{\"t\":1}", "[]");
    check_context_data("{\"t\":1,\"a\":[1,{\"t\":3,\"b\":true},null]}", "[1,true,null]");
    check_context_data("{\"t\":2}", "{}");
    check_context_data("{\"T\":2,\"D\":[{\"K\":\"a\",\"V\":1},{\"k\":\"A\",\"v\":2}]}", "{\"a\":2}");
    check_context_data("{\"t\":5,\"d\":[{\"k\":\"a\",\"v\":1},{\"k\":\"A\",\"v\":2}]}", "{\"a\":1,\"A\":2}");
    check_context_data("{\"t\":3}", "false");
    check_context_data("{\"t\":4,\"n\":2}", "2");
    check_context_data("{\"t\":2,\"d\":[{\"k\":\"a\"}]}", "{\"a\":null}");
    check_context_data("{\"t\":9}", "contextData.x: type 9 of a value is unknown");
    check_context_data("[1]", "contextData.x: a bare array stands where a value is due");
    check_context_data("{\"t\":2,\"d\":7}", "contextData.x: d of a value of type 2 is no array");
    check_context_data("{\"t\":2,\"d\":[{\"v\":1}]}",
                       "contextData.x: a member of a dictionary has no text k");
}

static void test_context_data_back(void **state)
{
    (void)state;
    const char *text =
        "{\"t\":2,\"d\":[{\"k\":\"a\",\"v\":{\"t\":1,\"a\":[1,\"b\",null]}},{\"k\":\"e\",\"v\":{\"t\":5}}]}";
    wh_autovalue *v = context_data(text, NULL);
    wh_autojson *back = wh_value_to_context_data(v);
    wh_autofree char *printed = cJSON_PrintUnformatted(back);
    assert_string_equal(printed, text);
}

static char *list_of(const char *item, size_t n)
{
    wh_autostr s = {0};
    for (size_t i = 0; i < n; i++)
        wh_str_addf(&s, "%s%s", i ? "," : "[", item);
    wh_str_addc(&s, ']');
    return wh_str_steal(&s);
}

static void test_limits(void **state)
{
    (void)state;
    wh_autofree char *fits = list_of("1", WH_MAX_VALUE_ITEMS - 1); /* the array itself is one */
    wh_autofree char *past = list_of("1", WH_MAX_VALUE_ITEMS);
    wh_autovalue *v = wh_value_parse_json(fits, strlen(fits), NULL);
    assert_int_equal(wh_value_count(v), WH_MAX_VALUE_ITEMS - 1);
    wh_autoerror err = {0};
    assert_null(wh_value_parse_json(past, strlen(past), &err));
    assert_int_equal(err.code, WH_E_LIMIT);
    wh_autofree char *data = wh_printf("{\"t\":1,\"a\":%s}", past);
    wh_autojson *json = wh_json_parse(data, strlen(data), 1 << 24, "test", NULL);
    wh_autoerror data_err = {0};
    assert_null(wh_value_from_context_data(json, "contextData.x", &data_err));
    assert_string_equal(wh_error_text(&data_err), "contextData.x: more than 1000000 values");
}

static void test_event_json(void **state)
{
    (void)state;
    wh_autojson *json =
        cJSON_Parse("{\"id\":12345678901234567,\"n\":0.1,\"e\":[],\"u\":\"\\u2028\",\"big\":1e300,\"m\":-3}");
    wh_autovalue *v = wh_value_from_json(json, NULL);
    wh_autostr out = {0}, short_out = {0};
    wh_value_add_event_json(&out, v);
    assert_string_equal(wh_str_text(&out), "{\n  \"id\": 12345678901234568,\n  \"n\": 0.1,\n  \"e\": [],\n"
                                           "  \"u\": \"\\u2028\",\n  \"big\": 1E+300,\n  \"m\": -3\n}");
    wh_value_add_json(&short_out, wh_object_get(v, "id"));
    assert_string_equal(wh_str_text(&short_out), "1.23456789012346E+16");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_object_keys),  cmocka_unit_test(test_object_case_sensitive),
        cmocka_unit_test(test_object_many),  cmocka_unit_test(test_sharing),
        cmocka_unit_test(test_strings),      cmocka_unit_test(test_number_parse),
        cmocka_unit_test(test_compare),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_context_data), cmocka_unit_test(test_context_data_back),
        cmocka_unit_test(test_event_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
