/* YAML as workflow files use it: the core schema, positions, anchors, limits. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "wherry/base/yaml.h"

struct scalar_case {
    const char *yaml;
    enum wh_yaml_type type;
    double number; /* of a bool: 0 or 1 */
    const char *text;
};

static void test_core_schema(void **state)
{
    (void)state;
    static const struct scalar_case cases[] = {
        {"true", WH_YAML_BOOL, 1, "true"},
        {"False", WH_YAML_BOOL, 0, "False"},
        {"TRUE", WH_YAML_BOOL, 1, "TRUE"},
        {"tRue", WH_YAML_STRING, 0, "tRue"},
        {"yes", WH_YAML_STRING, 0, "yes"},
        {"on", WH_YAML_STRING, 0, "on"},
        {"off", WH_YAML_STRING, 0, "off"},
        {"null", WH_YAML_NULL, 0, "null"},
        {"~", WH_YAML_NULL, 0, "~"},
        {"'true'", WH_YAML_STRING, 0, "true"},
        {"\"1\"", WH_YAML_STRING, 0, "1"},
        {"1", WH_YAML_NUMBER, 1, "1"},
        {"010", WH_YAML_NUMBER, 10, "010"},
        {"-12", WH_YAML_NUMBER, -12, "-12"},
        {"+3", WH_YAML_NUMBER, 3, "+3"},
        {"0x10", WH_YAML_NUMBER, 16, "0x10"},
        {"0xFFFFFFFF", WH_YAML_NUMBER, -1, "0xFFFFFFFF"},
        {"0o17", WH_YAML_NUMBER, 15, "0o17"},
        {"-0x1", WH_YAML_STRING, 0, "-0x1"},
        {"0x", WH_YAML_STRING, 0, "0x"},
        {"1.10", WH_YAML_NUMBER, 1.1, "1.10"},
        {".5", WH_YAML_NUMBER, 0.5, ".5"},
        {"1.", WH_YAML_NUMBER, 1, "1."},
        {"1e3", WH_YAML_NUMBER, 1000, "1e3"},
        {"1e", WH_YAML_STRING, 0, "1e"},
        {"1.2.3", WH_YAML_STRING, 0, "1.2.3"},
        {"-.inf", WH_YAML_NUMBER, -INFINITY, "-.inf"},
        {"2026-11-24", WH_YAML_STRING, 0, "2026-11-24"},
        {"!!str 5", WH_YAML_STRING, 0, "5"},
        {"!!int 7", WH_YAML_NUMBER, 7, "7"},
        {"!!bool true", WH_YAML_BOOL, 1, "true"},
        {"|\n  a\n  b", WH_YAML_STRING, 0, "a\nb\n"},
        {"1_000", WH_YAML_STRING, 0, "1_000"},
        {".", WH_YAML_STRING, 0, "."},
    };
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autofree char *text = wh_printf("k: %s\n", cases[i].yaml);
        wh_autoyaml doc = {0};
        wh_autoerror err = {0};
        if (wh_yaml_parse(text, strlen(text), "t.yml", &doc, &err) < 0)
            fail_msg("%s: %s", cases[i].yaml, wh_error_text(&err));
        const struct wh_yaml *node = wh_yaml_get(doc.root, "K");
        struct wh_yaml_value value;
        assert_true(wh_yaml_value(node, &value));
        if (value.type != cases[i].type)
            fail_msg("%s has type %d", cases[i].yaml, value.type);
        if (value.type == WH_YAML_BOOL)
            assert_int_equal(value.boolean, cases[i].number != 0);
        if (value.type == WH_YAML_NUMBER)
            assert_true(value.number == cases[i].number);
        assert_string_equal(node->text, cases[i].text);
    }
}

static void test_bad_tags(void **state)
{
    (void)state;
    static const char *const cases[] = {"k: !!int x", "k: !!bool yes", "k: !!binary aGk=", "k: !own x"};
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autoyaml doc = {0};
        wh_autoerror err = {0};
        struct wh_yaml_value value;
        if (wh_yaml_parse(cases[i], strlen(cases[i]), "t.yml", &doc, &err) == 0)
            assert_false(wh_yaml_value(wh_yaml_get(doc.root, "k"), &value));
    }
}

static void test_positions(void **state)
{
    (void)state;
    static const char text[] = "a: 1\nb:\n  - x\n  - y: {z: 2}\n";
    wh_autoyaml doc = {0};
    wh_autoerror err = {0};
    assert_int_equal(wh_yaml_parse(text, strlen(text), "t.yml", &doc, &err), 0);
    const struct wh_yaml *b = wh_yaml_get(doc.root, "b");
    assert_int_equal(b->items[0]->line, 3);
    assert_int_equal(b->items[0]->col, 5);
    const struct wh_yaml *z = wh_yaml_get(wh_yaml_get(b->items[1], "y"), "z");
    assert_int_equal(z->line, 4);
    assert_int_equal(z->col, 12);
}

static void test_syntax_errors_have_a_place(void **state)
{
    (void)state;
    static const char *const cases[] = {"a: [1, 2\nb: 3\n", "a: 'x\n",       "a: b: c\n",
                                        "\tx: 1\n",         "a: *nowhere\n", "%bad\n---\n- }"};
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autoyaml doc = {0};
        wh_autoerror err = {0};
        if (wh_yaml_parse(cases[i], strlen(cases[i]), "ci.yml", &doc, &err) == 0)
            fail_msg("accepted: %s", cases[i]);
        assert_int_equal(err.code, WH_E_PARSE);
        assert_non_null(strstr(wh_error_text(&err), "ci.yml"));
        assert_null(doc.root);
    }
}

static void test_anchors(void **state)
{
    (void)state;
    static const char text[] = "a: &x {n: 1}\nb: *x\nc: &x 2\nd: *x\n";
    wh_autoyaml doc = {0};
    wh_autoerror err = {0};
    assert_int_equal(wh_yaml_parse(text, strlen(text), "t.yml", &doc, &err), 0);
    assert_string_equal(wh_yaml_get(wh_yaml_get(doc.root, "b"), "n")->text, "1");
    assert_string_equal(wh_yaml_get(doc.root, "d")->text, "2"); /* the latest of the name */
}

static void test_anchor_in_itself(void **state)
{
    (void)state;
    static const char text[] = "a: &x\n  b: *x\n";
    wh_autoyaml doc = {0};
    wh_autoerror err = {0};
    assert_true(wh_yaml_parse(text, strlen(text), "t.yml", &doc, &err) < 0);
}

static void nested(struct wh_str *out, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        wh_str_addc(out, '[');
    for (unsigned i = 0; i < depth; i++)
        wh_str_addc(out, ']');
}

static void test_limits(void **state)
{
    (void)state;
    wh_autoyaml doc = {0};
    wh_autoerror err = {0};
    wh_autostr text = {0};
    nested(&text, WH_MAX_YAML_DEPTH);
    assert_int_equal(wh_yaml_parse(text.data, text.len, "t.yml", &doc, &err), 0);
    wh_yaml_doc_free(&doc);
    wh_str_clear(&text);
    nested(&text, WH_MAX_YAML_DEPTH + 1);
    assert_true(wh_yaml_parse(text.data, text.len, "t.yml", &doc, &err) < 0);
    wh_error_clear(&err);
    wh_str_clear(&text);
    wh_str_add(&text, "[");
    for (unsigned i = 0; i < WH_MAX_YAML_NODES; i++)
        wh_str_add(&text, "1,");
    wh_str_add(&text, "]");
    assert_true(wh_yaml_parse(text.data, text.len, "t.yml", &doc, &err) < 0);
    assert_int_equal(err.code, WH_E_LIMIT);
    wh_error_clear(&err);
    wh_str_reserve(&text, WH_MAX_YAML_BYTES + 1);
    while (text.len <= WH_MAX_YAML_BYTES)
        wh_str_addc(&text, '#');
    assert_true(wh_yaml_parse(text.data, text.len, "t.yml", &doc, &err) < 0);
    assert_int_equal(err.code, WH_E_LIMIT);
}

static void test_not_text(void **state)
{
    (void)state;
    wh_autoyaml doc = {0};
    wh_autoerror err = {0};
    assert_true(wh_yaml_parse("a: \xff\n", 5, "t.yml", &doc, &err) < 0);
    wh_error_clear(&err);
    assert_true(wh_yaml_parse("a: \0b\n", 6, "t.yml", &doc, &err) < 0);
    wh_error_clear(&err);
    assert_int_equal(wh_yaml_parse("", 0, "t.yml", &doc, &err), 0);
    assert_null(doc.root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core_schema), cmocka_unit_test(test_bad_tags),
        cmocka_unit_test(test_positions),   cmocka_unit_test(test_syntax_errors_have_a_place),
        cmocka_unit_test(test_anchors),     cmocka_unit_test(test_anchor_in_itself),
        cmocka_unit_test(test_limits),      cmocka_unit_test(test_not_text)};
    return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
