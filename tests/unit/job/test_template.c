/* Template tokens: the wire, text with ${{ }}, evaluation and its errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wherry/job/template.h"

static struct wh_token *token_of(const char *text, struct wh_error *err)
{
    wh_autojson *json = wh_json_parse(text, strlen(text), 1 << 20, "test", NULL);
    assert_non_null(json);
    return wh_token_from_json(json, "inputs", err);
}

/* ---- the wire ---- */

static void check_wire(const char *text, const char *expected)
{
    wh_autoerror err = {0};
    wh_autotoken *t = token_of(text, &err);
    wh_autojson *json = t ? wh_token_to_json(t) : NULL;
    wh_autofree char *got = t ? cJSON_PrintUnformatted(json) : wh_strdup(wh_error_text(&err));
    assert_string_equal(got, expected);
}

static void test_wire(void **state)
{
    (void)state;
    check_wire("\"a\"", "\"a\"");
    check_wire("null", "null");
    check_wire("true", "true");
    check_wire("2.5", "2.5");
    check_wire("{\"lit\":\"x\"}", "\"x\"");
    check_wire("{\"type\":0,\"line\":3,\"col\":4,\"lit\":\"x\"}",
               "{\"type\":0,\"line\":3,\"col\":4,\"lit\":\"x\"}");
    check_wire("{\"type\":1}", "{\"type\":1,\"seq\":[]}");
    check_wire("{\"Type\":2,\"Map\":[{\"Key\":\"a\",\"Value\":1},{\"key\":\"a\",\"value\":{\"type\":7}}]}",
               "{\"type\":2,\"map\":[{\"key\":\"a\",\"value\":1},{\"key\":\"a\",\"value\":null}]}");
    check_wire("{\"type\":3,\"file\":1,\"line\":2,\"col\":3,\"expr\":\"github.ref\"}",
               "{\"type\":3,\"file\":1,\"line\":2,\"col\":3,\"expr\":\"github.ref\"}");
    check_wire("{\"type\":4,\"directive\":\"insert\"}", "{\"type\":4,\"directive\":\"insert\"}");
    check_wire("{\"type\":5,\"bool\":true}", "true");
    check_wire("{\"type\":6}", "0");
    check_wire("{\"type\":8}", "inputs: type 8 of a template token is unknown");
    check_wire("[1]", "inputs: an array stands where a template token is due");
    check_wire("{\"type\":1,\"seq\":{}}", "inputs: seq of a template token is no array");
    check_wire("{\"type\":2,\"map\":[1]}", "inputs: a member of map of a template token is no object");
    check_wire("{\"type\":2,\"map\":[{\"key\":{\"type\":1},\"value\":1}]}",
               "inputs: a key of a template token is a collection");
    check_wire("{\"type\":3,\"expr\":4}", "inputs: the text of a template token is no string");
}

static char *nested(size_t levels)
{
    wh_autostr s = {0};
    for (size_t i = 0; i < levels; i++)
        wh_str_add(&s, "{\"type\":1,\"seq\":[");
    for (size_t i = 0; i < levels; i++)
        wh_str_add(&s, "]}");
    return wh_str_steal(&s);
}

static void test_depth(void **state)
{
    (void)state;
    wh_autofree char *fits = nested(WH_MAX_TEMPLATE_DEPTH);
    wh_autofree char *past = nested(WH_MAX_TEMPLATE_DEPTH + 1);
    wh_autotoken *t = token_of(fits, NULL);
    assert_non_null(t);
    wh_autoerror err = {0};
    assert_null(token_of(past, &err));
    assert_string_equal(wh_error_text(&err), "inputs: Maximum object depth exceeded");
}

/* ---- text with ${{ }} ---- */

static void check_text(const char *text, const char *expected)
{
    wh_autoerror err = {0};
    wh_autotoken *t = wh_template_from_text(text, strlen(text), false, wh_place_allows(WH_PLACE_STEP), &err);
    wh_autofree char *got = !t                               ? wh_printf("error %s", wh_error_text(&err))
                            : t->type == WH_TOKEN_EXPRESSION ? wh_printf("expr %s", t->text)
                                                             : wh_printf("text %s", t->text);
    assert_string_equal(got, expected);
}

static void test_text(void **state)
{
    (void)state;
    check_text("", "text ");
    check_text("plain $ { } }}", "text plain $ { } }}");
    check_text("${{ github.ref }}", "expr github.ref");
    check_text("${{github.ref}}", "expr github.ref");
    check_text("a ${{ github.ref }}", "expr format('a {0}', github.ref)");
    check_text("${{ github.a }}-${{ github.b }}!", "expr format('{0}-{1}!', github.a, github.b)");
    check_text("it's {x} ${{ github.a }}", "expr format('it''s {{x}} {0}', github.a)");
    check_text("${{ '}}' }}", "text }}");
    check_text("${{ 'it''s' }}", "text it's");
    check_text("${{ '${{ literal }}' }}", "text ${{ literal }}");
    check_text("a${{ 'b' }}", "expr format('a{0}', 'b')");
    check_text("${{ format('}}', 1) }}", "expr format('}}', 1)");
    check_text("${{ 'a' == 'b' }}", "expr 'a' == 'b'");
    check_text("${{ x }}", "error Unrecognized named-value: 'x'. Located at position 1 within expression: x");
    check_text("${{ }}", "error An expression was expected");
    check_text("${{}}", "error An expression was expected");
    check_text("${{ github.ref",
               "error The expression is not closed. An unescaped ${{ sequence was found, but the closing "
               "}} sequence was not found.");
    check_text("${{ 'a }}",
               "error The expression is not closed. An unescaped ${{ sequence was found, but the closing }} "
               "sequence was not found.");
    check_text("${{ insert }}", "error The expression directive 'insert' is not supported in this context");
    check_text("a ${{ insert }}", "error The directive 'insert' is not allowed in this context. Directives "
                                  "are not supported for expressions "
                                  "that are embedded within a string. Directives are only supported when the "
                                  "entire value is an expression.");
    check_text("${{ insert a b }}", "error Exactly 0 parameter(s) were expected following the directive "
                                    "'insert'. Actual parameter count: 2");
    check_text("a\n${{ github.a\n}}\nb", "expr format('a\n{0}\nb', github.a)");
}

static void test_text_places(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    assert_null(wh_template_from_text("${{ 1 }}", 8, false, 0, &err));
    assert_string_equal(wh_error_text(&err), "A template expression is not allowed in this context");
    wh_autotoken *key =
        wh_template_from_text("${{ insert }}", 13, true, wh_place_allows(WH_PLACE_STEP), NULL);
    assert_int_equal(key->type, WH_TOKEN_INSERT);
}

/* ---- evaluation ---- */

static struct wh_value *contexts_of(const char *text)
{
    wh_autojson *json = wh_json_parse(text, strlen(text), 1 << 20, "test", NULL);
    assert_non_null(json);
    return wh_value_from_json(json, NULL);
}

#define CONTEXTS                                                                                             \
    "{\"github\":{\"ref\":\"main\",\"n\":5,\"list\":[1,\"b\"],\"map\":{\"x\":\"1\",\"y\":2},\"yes\":true,"   \
    "\"none\":null}}"

static char *table[] = {(char *)"ci.yml", NULL};

static char *as_json(const struct wh_value *v, const struct wh_error *err)
{
    if (!v)
        return wh_strdup(wh_error_text(err));
    wh_autojson *json = wh_value_to_json(v);
    return cJSON_PrintUnformatted(json);
}

enum how { ANY, STRINGS, ENV };

static void check_eval(enum how how, const char *token, const char *expected)
{
    wh_autovalue *contexts = contexts_of(CONTEXTS);
    struct wh_template_env env = {
        .eval = {.contexts = contexts}, .allows = wh_place_allows(WH_PLACE_STEP), .file_table = table};
    wh_autoerror err = {0};
    wh_autotoken *t = token_of(token, NULL);
    wh_autovalue *v =
        how == ANY ? wh_token_eval(t, &env, &err) : wh_token_eval_strings(t, how == ENV, &env, &err);
    wh_autofree char *got = as_json(v, &err);
    wh_strv_free(env.errors);
    assert_string_equal(got, expected);
}

#define EXPR(e) "{\"type\":3,\"file\":1,\"line\":2,\"col\":3,\"expr\":\"" e "\"}"
#define MAP(pairs) "{\"type\":2,\"file\":1,\"line\":1,\"col\":1,\"map\":[" pairs "]}"
#define PAIR(k, v) "{\"key\":\"" k "\",\"value\":" v "}"
#define INSERT(v) "{\"key\":{\"type\":4},\"value\":" v "}"

static void test_eval(void **state)
{
    (void)state;
    check_eval(ANY, "\"a\"", "\"a\"");
    check_eval(ANY, EXPR("github.n"), "5");
    check_eval(ANY, EXPR("github.map"), "{\"x\":\"1\",\"y\":2}");
    check_eval(ANY, "{\"type\":1,\"seq\":[1," EXPR("github.list") "," EXPR("github.ref") "]}",
               "[1,1,\"b\",\"main\"]");
}

static void test_eval_maps(void **state)
{
    (void)state;
    check_eval(ANY, MAP("{\"key\":" EXPR("github.n") ",\"value\":" EXPR("github.yes") "}"), "{\"5\":true}");
    check_eval(ANY, MAP("{\"key\":" EXPR("github.none") ",\"value\":1}"), "{\"\":1}");
    check_eval(ANY, MAP("{\"key\":" EXPR("github.list") ",\"value\":1}"),
               "The template is not valid. ci.yml (Line: 2, Col: 3): Expected a string");
    check_eval(ANY, MAP(PAIR("a", "1") "," INSERT(EXPR("github.map")) "," PAIR("z", "2")),
               "{\"a\":1,\"x\":\"1\",\"y\":2,\"z\":2}");
    check_eval(ANY, MAP(INSERT(MAP(PAIR("b", EXPR("github.n"))))), "{\"b\":5}");
    check_eval(ANY, MAP(INSERT(EXPR("github.ref"))),
               "The template is not valid. ci.yml (Line: 2, Col: 3): Expected a mapping");
    check_eval(ANY, MAP(INSERT("1")), "The template is not valid. Expected a mapping");
    check_eval(ANY, MAP(PAIR("a", "1") "," PAIR("A", "2")),
               "The template is not valid. 'A' is already defined");
    check_eval(ANY, MAP(PAIR("X", "1") "," INSERT(EXPR("github.map"))),
               "The template is not valid. ci.yml (Line: 2, Col: 3): 'x' is already defined");
    check_eval(ENV, MAP(PAIR("a", "\"1\"") "," PAIR("A", "\"2\"")),
               "The template is not valid. 'A' is already defined");
}

static void test_eval_strings(void **state)
{
    (void)state;
    check_eval(STRINGS, "null", "{}");
    check_eval(
        STRINGS,
        MAP(PAIR("a", "true") "," PAIR("b", "1.10") "," PAIR("c", "null") "," PAIR("d", EXPR("github.n"))),
        "{\"a\":\"true\",\"b\":\"1.1\",\"c\":\"\",\"d\":\"5\"}");
    check_eval(STRINGS, EXPR("github.map"), "{\"x\":\"1\",\"y\":\"2\"}");
    check_eval(STRINGS, MAP(INSERT(EXPR("github.map"))), "{\"x\":\"1\",\"y\":\"2\"}");
    check_eval(STRINGS, EXPR("github.ref"),
               "The template is not valid. ci.yml (Line: 2, Col: 3): Unexpected value 'main'");
    check_eval(STRINGS, EXPR("github.list"),
               "The template is not valid. ci.yml (Line: 2, Col: 3): A sequence was not expected");
    check_eval(STRINGS, MAP(PAIR("a", EXPR("github.list"))),
               "The template is not valid. ci.yml (Line: 2, Col: 3): A sequence was not expected");
    check_eval(STRINGS, MAP(PAIR("a", EXPR("github.map"))),
               "The template is not valid. ci.yml (Line: 2, Col: 3): A mapping was not expected");
    check_eval(STRINGS, MAP(PAIR("a", "{\"type\":1}")),
               "The template is not valid. A sequence was not expected");
}

/* All errors of one template come together. */
static void test_eval_errors(void **state)
{
    (void)state;
    check_eval(STRINGS, MAP(PAIR("a", EXPR("fromJSON('')")) "," PAIR("b", EXPR("format('{0}')"))),
               "The template is not valid. ci.yml (Line: 2, Col: 3): Error reading JToken from JsonReader. "
               "Path '', line 0, "
               "position 0.,ci.yml (Line: 2, Col: 3): The following format string references more arguments "
               "than were "
               "supplied: {0}");
    check_eval(ANY, "{\"type\":3,\"expr\":\"foo\"}",
               "The template is not valid. Unrecognized named-value: 'foo'. Located at position 1 within "
               "expression: foo");
    check_eval(ANY, "{\"type\":3,\"line\":7,\"col\":8,\"expr\":\"foo\"}",
               "The template is not valid. (Line: 7, Col: 8): Unrecognized named-value: 'foo'. Located at "
               "position 1 within "
               "expression: foo");
    check_eval(ANY, "{\"type\":3,\"file\":1,\"expr\":\"foo\"}",
               "The template is not valid. ci.yml: Unrecognized named-value: 'foo'. Located at position 1 "
               "within expression: "
               "foo");
    check_eval(
        ANY, "{\"type\":4}",
        "The template is not valid. The expression directive 'insert' is not supported in this context");
}

static void test_error_limits(void **state)
{
    (void)state;
    wh_autovalue *contexts = wh_value_object();
    struct wh_template_env env = {.eval = {.contexts = contexts}, .allows = wh_place_allows(WH_PLACE_STEP)};
    wh_autotoken *map = wh_token_new(WH_TOKEN_MAPPING, 0, 0, 0);
    for (int i = 0; i < WH_MAX_TEMPLATE_ERRORS + 5; i++) {
        wh_autofree char *key = wh_printf("k%d", i);
        wh_token_add_pair(map, wh_token_string(key, strlen(key)), wh_token_expression("foo", 3));
    }
    assert_null(wh_token_eval_strings(map, true, &env, NULL));
    assert_int_equal(wh_strv_len(env.errors), WH_MAX_TEMPLATE_ERRORS);
    char text[1000];
    memset(text, 'x', sizeof text);
    wh_autotoken *large = wh_token_expression(text, sizeof text);
    assert_null(wh_token_eval(large, &env, NULL));
    assert_int_equal(wh_strv_len(env.errors), 1);
    assert_int_equal(strlen(env.errors[0]), 500 + strlen("[...]"));
    wh_strv_free(env.errors);
}

static void check_scalar(const char *token, const char *string, const char *boolean, const char *number)
{
    wh_autovalue *contexts = contexts_of(CONTEXTS);
    struct wh_template_env env = {.eval = {.contexts = contexts}, .allows = wh_place_allows(WH_PLACE_STEP)};
    wh_autotoken *t = token_of(token, NULL);
    wh_autofree char *text = NULL;
    bool set, flag;
    double n;
    wh_autoerror err = {0};
    int r = wh_token_eval_string(t, &env, &text, &err);
    assert_string_equal(r < 0 ? wh_error_text(&err) : text ? text : "(absent)", string);
    wh_error_clear(&err);
    r = wh_token_eval_bool(t, &env, &set, &flag, &err);
    assert_string_equal(r < 0 ? wh_error_text(&err) : !set ? "(absent)" : flag ? "true" : "false", boolean);
    wh_error_clear(&err);
    r = wh_token_eval_number(t, &env, &set, &n, &err);
    wh_autofree char *shown = wh_printf("%g", n);
    assert_string_equal(r < 0 ? wh_error_text(&err) : !set ? "(absent)" : shown, number);
    wh_strv_free(env.errors);
}

static void test_scalars(void **state)
{
    (void)state;
    check_scalar("null", "(absent)", "(absent)", "(absent)");
    check_scalar("true", "true", "true", "The template is not valid. Unexpected value 'true'");
    check_scalar("1.50", "1.5", "The template is not valid. Unexpected value '1.5'", "1.5");
    check_scalar("\"5\"", "5", "The template is not valid. Unexpected value '5'",
                 "The template is not valid. Unexpected value '5'");
    check_scalar("{\"type\":3,\"expr\":\"fromJSON('5')\"}", "5",
                 "The template is not valid. Unexpected value '5'", "5");
    check_scalar("{\"type\":3,\"expr\":\"github.yes\"}", "true", "true",
                 "The template is not valid. Unexpected value 'true'");
    check_scalar("{\"type\":3,\"expr\":\"github.none\"}", "",
                 "The template is not valid. Unexpected value ''",
                 "The template is not valid. Unexpected value ''");
    check_scalar("{\"type\":3,\"expr\":\"github.map\"}",
                 "The template is not valid. A mapping was not expected",
                 "The template is not valid. A mapping was not expected",
                 "The template is not valid. A mapping was not expected");
    check_scalar("{\"type\":1}", "The template is not valid. A sequence was not expected",
                 "The template is not valid. A sequence was not expected",
                 "The template is not valid. A sequence was not expected");
}

static void test_size_limit(void **state)
{
    (void)state;
    wh_autovalue *contexts = wh_value_object();
    struct wh_template_env env = {.eval = {.contexts = contexts}, .allows = wh_place_allows(WH_PLACE_STEP)};
    wh_autotoken *list = wh_token_new(WH_TOKEN_SEQUENCE, 0, 0, 0);
    wh_autofree char *text = wh_malloc(1 << 20);
    memset(text, 'x', 1 << 20);
    for (int i = 0; i < 6; i++)
        wh_token_add_item(list, wh_token_string(text, 1 << 20));
    wh_autoerror err = {0};
    assert_null(wh_token_eval(list, &env, &err));
    assert_string_equal(wh_error_text(&err), "The template is not valid. Maximum object size exceeded");
    wh_strv_free(env.errors);
}

static void test_get_and_copy(void **state)
{
    (void)state;
    wh_autotoken *map =
        token_of(MAP(PAIR("Script", "\"a\"") "," PAIR("n", "{\"type\":1,\"seq\":[1,true]}")), NULL);
    wh_autotoken *copy = wh_token_copy(map);
    assert_string_equal(wh_token_get(copy, "script")->text, "a");
    assert_null(wh_token_get(copy, "shell"));
    assert_null(wh_token_get(NULL, "shell"));
    assert_int_equal(wh_token_get(copy, "N")->count, 2);
    wh_autotoken *e = wh_token_expression("a.b", 3);
    wh_autofree char *shown = wh_token_display(e);
    assert_string_equal(shown, "${{ a.b }}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire),         cmocka_unit_test(test_depth),
        cmocka_unit_test(test_text),         cmocka_unit_test(test_text_places),
        cmocka_unit_test(test_eval),         cmocka_unit_test(test_eval_maps),
        cmocka_unit_test(test_eval_strings), cmocka_unit_test(test_eval_errors),
        cmocka_unit_test(test_error_limits), cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_size_limit),   cmocka_unit_test(test_get_and_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
