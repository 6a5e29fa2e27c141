/* Expressions: the table of cases in expressions.txt, limits, the trace, conditions. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wherry/base/fs.h"
#include "wherry/job/expr.h"
#include "wherry/job/template.h"

/* ---- the table ---- */

static char *unescape(struct wh_view v)
{
    wh_autostr out = {0};
    for (size_t i = 0; i < v.len; i++) {
        char c = v.data[i];
        if (c == '\\' && i + 1 < v.len) {
            c = v.data[++i];
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        wh_str_addc(&out, c);
    }
    return wh_str_steal(&out);
}

/* Plain JSON; env is a dictionary with exact keys, as on Linux. */
static struct wh_value *contexts_of(struct wh_view v)
{
    if (wh_view_eq(v, "-"))
        return wh_value_object();
    wh_autojson *json = wh_json_parse(v.data, v.len, 1 << 20, "contexts", NULL);
    assert_non_null(json);
    struct wh_value *contexts = wh_value_from_json(json, NULL);
    const cJSON *env = wh_json_get(json, "env"), *item;
    if (env) {
        wh_autovalue *exact = wh_value_object_case_sensitive();
        cJSON_ArrayForEach(item, env) wh_object_set_text(exact, item->string, item->valuestring);
        wh_object_set(contexts, "env", exact);
    }
    return contexts;
}

/* The result in the table's words. */
static char *shown(const struct wh_value *v, const struct wh_error *err)
{
    wh_autostr out = {0};
    if (!v)
        return wh_printf("error %s", wh_error_text(err));
    switch (wh_value_kind(v)) {
    case WH_NULL:
        return wh_strdup("null");
    case WH_BOOL:
        return wh_strdup(wh_value_as_bool(v) ? "true" : "false");
    case WH_NUMBER:
        wh_str_add(&out, "number ");
        wh_number_add(&out, wh_value_as_number(v));
        return wh_str_steal(&out);
    default:
        break;
    }
    wh_autojson *json = wh_value_to_json(v);
    wh_autofree char *text = cJSON_PrintUnformatted(json);
    const char *kind = wh_value_kind(v) == WH_STRING  ? "string"
                       : wh_value_kind(v) == WH_ARRAY ? "array"
                                                      : "object";
    return wh_printf("%s %s", kind, text);
}

static bool is_expected(const char *expected, const char *got)
{
    const char *dots = "…";
    if (wh_starts_with(expected, "error ") && wh_ends_with(expected, dots))
        return strncmp(expected, got, strlen(expected) - strlen(dots)) == 0;
    return wh_streq(expected, got);
}

static bool check_case(unsigned number, struct wh_view line)
{
    struct wh_view expression, contexts, expected;
    if (!wh_view_split(line, '\t', &expression, &expected) ||
        !wh_view_split(expected, '\t', &contexts, &expected)) {
        print_error("expressions.txt:%u: three columns are expected\n", number);
        return false;
    }
    wh_autofree char *text = unescape(expression);
    wh_autofree char *wanted = wh_view_dup(expected);
    wh_autovalue *context_values = contexts_of(contexts);
    struct wh_eval env = {.contexts = context_values};
    wh_autoerror err = {0};
    wh_autovalue *v = wh_expr_eval_text(text, wh_place_allows(WH_PLACE_ANY), &env, &err);
    wh_autofree char *got = shown(v, &err);
    if (is_expected(wanted, got))
        return true;
    print_error("expressions.txt:%u: %s\n  expected %s\n  got      %s\n", number, text, wanted, got);
    return false;
}

static void test_table(void **state)
{
    (void)state;
    wh_autostr text = {0};
    wh_autoerror err = {0};
    assert_int_equal(wh_read_file(AT_FDCWD, WH_TEST_DATA "/expressions.txt", 1 << 20, &text, &err), 0);
    struct wh_reader r = wh_reader_of(text.data, text.len);
    struct wh_view line;
    unsigned number = 0, cases = 0, bad = 0;
    while (wh_reader_line(&r, &line)) {
        number++;
        if (line.len == 0 || line.data[0] == '#')
            continue;
        cases++;
        bad += !check_case(number, line);
    }
    assert_true(cases >= 600);
    assert_int_equal(bad, 0);
}

/* ---- limits ---- */

static char *error_of(const char *text)
{
    wh_autovalue *contexts = wh_value_object();
    struct wh_eval env = {.contexts = contexts};
    wh_autoerror err = {0};
    wh_autovalue *v = wh_expr_eval_text(text, wh_place_allows(WH_PLACE_ANY), &env, &err);
    return v ? NULL : wh_strdup(wh_error_text(&err));
}

static char *repeat(const char *before, const char *middle, const char *after, size_t n)
{
    wh_autostr s = {0};
    for (size_t i = 0; i < n; i++)
        wh_str_add(&s, before);
    wh_str_add(&s, middle);
    for (size_t i = 0; i < n; i++)
        wh_str_add(&s, after);
    return wh_str_steal(&s);
}

static void test_length(void **state)
{
    (void)state;
    wh_autofree char *at = repeat("a", "", "", WH_MAX_EXPR_LENGTH - 2);
    wh_autofree char *fits = wh_printf("'%s'", at);
    wh_autofree char *past = wh_printf("'%sa'", at);
    assert_null(error_of(fits));
    wh_autofree char *error = error_of(past);
    assert_string_equal(error, "Exceeded max expression length 21000");
    /* Units are UTF-16's: a letter of two bytes counts once, one beyond U+FFFF twice. */
    wh_autofree char *wide = repeat("é", "", "", WH_MAX_EXPR_LENGTH - 2);
    wh_autofree char *wide_fits = wh_printf("'%s'", wide);
    assert_null(error_of(wide_fits));
    wh_autofree char *pairs = repeat("😀", "", "", WH_MAX_EXPR_LENGTH / 2);
    wh_autofree char *pairs_past = wh_printf("'%s'", pairs);
    wh_autofree char *pairs_error = error_of(pairs_past);
    assert_string_equal(pairs_error, "Exceeded max expression length 21000");
}

static void test_depth(void **state)
{
    (void)state;
    wh_autofree char *fits = repeat("!", "1", "", WH_MAX_EXPR_DEPTH - 1);
    wh_autofree char *past = repeat("!", "1", "", WH_MAX_EXPR_DEPTH);
    assert_null(error_of(fits));
    wh_autofree char *error = error_of(past);
    assert_string_equal(error, "Exceeded max expression depth 50");
    /* Parentheses make no depth, nor do long chains of one logical operator. */
    wh_autofree char *groups = repeat("(", "1", ")", 10000);
    assert_null(error_of(groups));
    wh_autofree char *chain = repeat("1 && ", "1", "", 4000);
    assert_null(error_of(chain));
    wh_autofree char *properties = repeat("", "github", ".a", 9000);
    wh_autofree char *properties_error = error_of(properties);
    assert_string_equal(properties_error, "Exceeded max expression depth 50");
}

static void test_memory(void **state)
{
    (void)state;
    /* Each level of nesting multiplies the text by ten. */
    const char *inner = "'0123456789'";
    wh_autofree char *text = wh_strdup(inner);
    for (int i = 0; i < 7; i++) {
        char *next = wh_printf("format('{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}', %s)", text);
        free(text);
        text = next;
    }
    wh_autofree char *error = error_of(text);
    assert_non_null(error);
    assert_true(wh_starts_with(
        error,
        "The maximum allowed memory size was exceeded while evaluating the following expression: format("));
    wh_autofree char *json = repeat("toJSON(", "'\"\"\"\"\"\"\"\"\"\"\"\"'", ")", 40);
    wh_autofree char *json_error = error_of(json);
    assert_non_null(json_error);
    assert_non_null(strstr(json_error, "maximum allowed memory size"));
}

/* A string costs 26 bytes and twice its length (§2.6): so long a one is just within WH_MAX_EXPR_MEMORY, with
 * what its name and its object cost. */
static void test_memory_at_the_limit(void **state)
{
    (void)state;
    size_t fits = (WH_MAX_EXPR_MEMORY - 26) / 2 - 100;
    for (size_t past = 0; past <= 1; past++) {
        wh_autofree char *value = repeat("x", "", "", fits + past * 101);
        wh_autovalue *contexts = wh_value_object();
        struct wh_value *github = wh_value_object();
        wh_object_set_text(github, "x", value);
        wh_object_set_take(contexts, "github", github);
        struct wh_eval env = {.contexts = contexts};
        wh_autoerror err = {0};
        wh_autovalue *v = wh_expr_eval_text("github.x", wh_place_allows(WH_PLACE_ANY), &env, &err);
        assert_int_equal(v != NULL, !past);
    }
}

static void test_nested_json(void **state)
{
    (void)state;
    wh_autofree char *fits_json = repeat("[", "", "]", WH_MAX_VALUE_DEPTH);
    wh_autofree char *past_json = repeat("[", "", "]", WH_MAX_VALUE_DEPTH + 1);
    wh_autofree char *fits = wh_printf("fromJSON('%s')", fits_json);
    wh_autofree char *past = wh_printf("fromJSON('%s')", past_json);
    assert_null(error_of(fits));
    wh_autofree char *error = error_of(past);
    assert_true(wh_starts_with(error, "The reader's MaxDepth of 64 has been exceeded. Path '[0][0]"));
}

/* ---- places ---- */

static bool parses(const char *text, enum wh_place place)
{
    wh_autoexpr *e = wh_expr_parse(text, strlen(text), wh_place_allows(place), NULL);
    return e != NULL;
}

static void test_places(void **state)
{
    (void)state;
    assert_true(parses("always() && env.X && hashFiles('a')", WH_PLACE_STEP_IF));
    assert_false(parses("secrets.X", WH_PLACE_STEP_IF));
    assert_true(parses("secrets.X", WH_PLACE_STEP));
    assert_false(parses("always()", WH_PLACE_STEP));
    assert_true(parses("needs.a.result && failure()", WH_PLACE_JOB_IF));
    assert_false(parses("matrix.x", WH_PLACE_JOB_IF));
    assert_false(parses("env.X", WH_PLACE_JOB_ENV));
    assert_true(parses("secrets.X", WH_PLACE_JOB_ENV));
    assert_true(parses("steps.a.outputs.b", WH_PLACE_JOB_OUTPUTS));
    assert_false(parses("hashFiles('a')", WH_PLACE_JOB_OUTPUTS));
    assert_false(parses("secrets.X", WH_PLACE_COMPOSITE_STEP));
    assert_false(parses("vars.X", WH_PLACE_COMPOSITE_STEP));
    assert_true(parses("vars.X", WH_PLACE_COMPOSITE_IF));
    assert_true(parses("inputs.x", WH_PLACE_ACTION_ARGS));
    assert_false(parses("github.x", WH_PLACE_ACTION_ARGS));
    assert_false(parses("jobs.a", WH_PLACE_STEP));
}

/* ---- what an expression names ---- */

static void note_use(void *arg, const struct wh_expr_use *use)
{
    struct wh_str *out = arg;
    wh_str_addf(out, "%zu:%.*s%s", use->name.at, (int)use->name.name.len, use->name.name.data,
                use->function ? "()" : "");
    for (size_t i = 0; i < use->nparts; i++)
        wh_str_addf(out, ".%.*s@%zu", (int)use->parts[i].name.len, use->parts[i].name.data, use->parts[i].at);
    wh_str_addf(out, "%s ", !use->known ? "?" : !use->allowed ? "!" : "");
}

static void check_uses(const char *text, const char *expected)
{
    wh_autostr out = {0};
    wh_autoerror err = {0};
    size_t stopped = 0;
    bool status = false;
    if (wh_expr_visit(text, strlen(text), wh_place_allows(WH_PLACE_STEP_IF), note_use, &out, &status,
                      &stopped, &err) < 0)
        wh_str_addf(&out, "stopped at %zu ", stopped);
    if (status)
        wh_str_add(&out, "status ");
    assert_string_equal(wh_str_text(&out), expected);
}

static void test_uses(void **state)
{
    (void)state;
    check_uses("", "");
    check_uses("github.ref", "0:github.ref@7 ");
    check_uses("steps['a b'].outputs.x && always()", "0:steps.a b@6.outputs@13.x@21 26:always() status ");
    check_uses("secrets.X || nosuch.y || nosuch()", "0:secrets.X@8! 13:nosuch.y@20? 25:nosuch()? ");
    /* What is computed, and what stands behind it, names nothing; what it is computed from does. */
    check_uses("github[env.X].y", "0:github 7:env.X@11 ");
    check_uses("needs.*.result", "0:needs ");
    check_uses("github.event[0].x", "0:github.event@7 ");
    check_uses("fromJSON(env.A).b.c", "0:fromJSON() 9:env.A@13 ");
    check_uses("(github).x", "1:github.x@9 ");
    check_uses("format('{0}', matrix.v)", "0:format() 14:matrix.v@21 ");
    check_uses("a b", "stopped at 2 ");
    check_uses("github.ref ==", "stopped at 11 ");
    /* WH_MAX_EXPR_PARTS of them are told. */
    check_uses("github.a.b.c.d.e.f.g.h", "0:github.a@7.b@9.c@11.d@13.e@15.f@17.g@19.h@21 ");
    check_uses("github.a.b.c.d.e.f.g.h.i", "0:github.a@7.b@9.c@11.d@13.e@15.f@17.g@19.h@21 ");
}

/* ---- conditions ---- */

static void check_condition(const char *text, const char *expected)
{
    wh_autoerror err = {0};
    wh_autofree char *got = wh_condition_from_text(text, wh_place_allows(WH_PLACE_STEP_IF), &err);
    assert_string_equal(got ? got : wh_error_text(&err), expected);
}

static void test_condition_text(void **state)
{
    (void)state;
    check_condition("", "success()");
    check_condition("  ", "success()");
    check_condition("github.ref == 'x'", "success() && (github.ref == 'x')");
    check_condition("${{ github.ref == 'x' }}", "success() && (github.ref == 'x')");
    check_condition("  always()  ", "always()");
    check_condition("${{ failure() }}", "failure()");
    check_condition("!cancelled()", "!cancelled()");
    check_condition("github.ref == '${{ x }}' || true",
                    "Unrecognized named-value: 'x'. Located at position 1 within expression: x");
    check_condition("${{ github.a }} == 'b'", "success() && (format('{0} == ''b''', github.a))");
    check_condition("${{ 'text' }}", "success() && ('text')");
    check_condition("contains(github.ref, 'always()')", "success() && (contains(github.ref, 'always()'))");
    check_condition(
        "secrets.X == ''",
        "Unrecognized named-value: 'secrets'. Located at position 1 within expression: secrets.X == ''");
}

struct job {
    bool failed;
};

static bool status(void *arg, enum wh_status_function which)
{
    const struct job *job = arg;
    return which == WH_STATUS_ALWAYS || (which == WH_STATUS_SUCCESS && !job->failed) ||
           (which == WH_STATUS_FAILURE && job->failed);
}

static int condition(const char *text, bool failed)
{
    wh_autovalue *contexts = wh_value_object();
    struct job job = {failed};
    struct wh_eval env = {.contexts = contexts, .status = status, .status_arg = &job};
    wh_autoerror err = {0};
    return wh_condition_eval(text, wh_place_allows(WH_PLACE_STEP_IF), &env, &err);
}

static void test_condition_eval(void **state)
{
    (void)state;
    assert_int_equal(condition("", false), 1);
    assert_int_equal(condition(NULL, false), 1);
    assert_int_equal(condition("", true), 0);
    assert_int_equal(condition("success() && (true)", true), 0);
    assert_int_equal(condition("always()", true), 1);
    assert_int_equal(condition("failure()", true), 1);
    assert_int_equal(condition("'false'", false), 1); /* text is truthy */
    assert_int_equal(condition("github.x", false), 0);
    assert_int_equal(condition("fromJSON('')", false), -1);
    assert_int_equal(condition("(", false), -1);
}

static void test_uses_status(void **state)
{
    (void)state;
    wh_autoexpr *with = wh_expr_parse("!(1 == 2 && Always())", 21, wh_place_allows(WH_PLACE_ANY), NULL);
    wh_autoexpr *without = wh_expr_parse("'always()'", 10, wh_place_allows(WH_PLACE_ANY), NULL);
    assert_true(wh_expr_uses_status(with));
    assert_false(wh_expr_uses_status(without));
}

/* ---- trace ---- */

static void collect(void *arg, const char *line)
{
    struct wh_str *out = arg;
    wh_str_add(out, line);
    wh_str_addc(out, '\n');
}

static void check_trace(const char *text, const char *expected)
{
    wh_autovalue *contexts = wh_value_object();
    wh_autovalue *github = wh_value_object();
    wh_object_set_text(github, "ref", "it's");
    wh_object_set(contexts, "github", github);
    wh_autostr lines = {0};
    struct wh_eval env = {.contexts = contexts, .trace = collect, .trace_arg = &lines};
    wh_autoerror err = {0};
    wh_autovalue *v = wh_expr_eval_text(text, wh_place_allows(WH_PLACE_ANY), &env, &err);
    assert_non_null(v);
    assert_string_equal(wh_str_text(&lines), expected);
}

static void test_trace(void **state)
{
    (void)state;
    check_trace("github.ref=='x'", "Evaluating: (github.ref == 'x')\n"
                                   "Evaluating Equal:\n"
                                   "..Evaluating Index:\n"
                                   "....Evaluating github:\n"
                                   "....=> Object\n"
                                   "....Evaluating String:\n"
                                   "....=> 'ref'\n"
                                   "..=> 'it''s'\n"
                                   "..Evaluating String:\n"
                                   "..=> 'x'\n"
                                   "=> false\n"
                                   "Expanded: ('it''s' == 'x')\n"
                                   "Result: false\n");
    check_trace("success() && (contains('a', 'b') || 1)",
                "Evaluating: (success() && (contains('a', 'b') || 1))\n"
                "Evaluating And:\n"
                "..Evaluating success:\n"
                "..=> true\n"
                "..Evaluating Or:\n"
                "....Evaluating contains:\n"
                "......Evaluating String:\n"
                "......=> 'a'\n"
                "......Evaluating String:\n"
                "......=> 'b'\n"
                "....=> false\n"
                "....Evaluating Number:\n"
                "....=> 1\n"
                "..=> 1\n"
                "=> 1\n"
                "Expanded: (true && (contains('a', 'b') || 1))\n"
                "Result: 1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_memory_at_the_limit),
        cmocka_unit_test(test_uses),
        cmocka_unit_test(test_nested_json),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_condition_text),
        cmocka_unit_test(test_condition_eval),
        cmocka_unit_test(test_uses_status),
        cmocka_unit_test(test_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
