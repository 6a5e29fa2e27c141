/* Matrices: rows, names, include and exclude. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wherry/workflow/matrix.h"

/* Rows as compact JSON with their names: `{"os":"a"}=a`. */
static char *rows_of(const char *json, struct wh_error *err)
{
    wh_autovalue *matrix = wh_value_parse_json(json, strlen(json), err);
    assert_non_null(matrix);
    struct wh_matrix m;
    wh_autostr out = {0};
    int n = wh_matrix_expand(matrix, &m, err);
    for (size_t i = 0; n == 0 && i < m.nrows; i++) {
        wh_autojson *row = wh_value_to_json(m.rows[i].values);
        wh_autofree char *text = wh_json_print(row);
        wh_str_addf(&out, "%s%s=%s", i ? " " : "", text, m.rows[i].suffix);
    }
    wh_matrix_clear(&m);
    return n < 0 ? NULL : wh_str_steal(&out);
}

struct matrix_case {
    const char *matrix, *rows;
};

static void test_rows(void **state)
{
    (void)state;
    static const struct matrix_case cases[] = {
        /* The last key is the fastest. */
        {"{a: [1, 2], b: ['x', 'y']}",
         "{\"a\":1,\"b\":\"x\"}=1, x {\"a\":1,\"b\":\"y\"}=1, y {\"a\":2,\"b\":\"x\"}=2, x "
         "{\"a\":2,\"b\":\"y\"}=2, y"},
        /* Partly given, in another case, of another type. */
        {"{a: [1, 2], b: ['x', 'y'], exclude: [{B: 'X', a: '1'}]}",
         "{\"a\":1,\"b\":\"y\"}=1, y {\"a\":2,\"b\":\"x\"}=2, x {\"a\":2,\"b\":\"y\"}=2, y"},
        {"{a: [1, 2], exclude: [{a: 1}, {a: 2}]}", ""},
        {"{a: [{n: 1, m: 2}, {n: 3}], exclude: [{a: {n: 3}}]}", "{\"a\":{\"n\":1,\"m\":2}}=1, 2"},
        {"{a: [[1, 2], [3]], exclude: [{a: [3]}]}", "{\"a\":[1,2]}=1, 2"},
        {"{a: [null, '', true, false, 1.50]}",
         "{\"a\":null}= {\"a\":\"\"}= {\"a\":true}=true {\"a\":false}=false {\"a\":1.5}=1.5"},
        /* An extra key goes to each row that fits; names don't change. */
        {"{a: [1, 2], include: [{x: 'all'}, {a: 2, x: 'two'}]}",
         "{\"a\":1,\"x\":\"all\"}=1 {\"a\":2,\"x\":\"two\"}=2"},
        /* What fits nowhere is a row of its own; filters come first in it. */
        {"{a: [1], include: [{x: 'new', a: 9}]}", "{\"a\":1}=1 {\"a\":9,\"x\":\"new\"}=9, new"},
        /* A row that was excluded can't be extended: it comes back. */
        {"{a: [1, 2], exclude: [{a: 2}], include: [{a: 2, x: 'y'}]}",
         "{\"a\":1}=1 {\"a\":2,\"x\":\"y\"}=2, y"},
        {"{include: [{a: 1}, {a: 2, b: 3}]}", "{\"a\":1}=1 {\"a\":2,\"b\":3}=2, 3"},
        {"{include: [{a: 1}], exclude: []}", "{\"a\":1}=1"},
        /* GitHub's own example. */
        {"{fruit: ['apple', 'pear'], animal: ['cat', 'dog'], include: [{color: 'green'}, {color: 'pink', "
         "animal: 'cat'}, {fruit: 'apple', shape: 'circle'}, {fruit: 'banana'}, {fruit: 'banana', animal: "
         "'cat'}]}",
         "{\"fruit\":\"apple\",\"animal\":\"cat\",\"color\":\"pink\",\"shape\":\"circle\"}=apple, cat "
         "{\"fruit\":\"apple\",\"animal\":\"dog\",\"color\":\"green\",\"shape\":\"circle\"}=apple, dog "
         "{\"fruit\":\"pear\",\"animal\":\"cat\",\"color\":\"pink\"}=pear, cat "
         "{\"fruit\":\"pear\",\"animal\":\"dog\",\"color\":\"green\"}=pear, dog "
         "{\"fruit\":\"banana\"}=banana {\"fruit\":\"banana\",\"animal\":\"cat\"}=banana, cat"},
    };
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autoerror err = {0};
        wh_autofree char *rows = rows_of(cases[i].matrix, &err);
        if (!rows)
            fail_msg("%s: %s", cases[i].matrix, wh_error_text(&err));
        assert_string_equal(rows, cases[i].rows);
    }
}

static void test_errors(void **state)
{
    (void)state;
    static const struct matrix_case cases[] = {
        {"[]", "Expected a mapping"},
        {"{}", "Matrix must define at least one vector"},
        {"{include: []}", "Matrix must define at least one vector"},
        {"{a: []}", "Matrix vector 'a' does not contain any values"},
        {"{a: 1}", "Expected a sequence"},
        {"{a: [1], include: 1}", "Expected a sequence"},
        {"{a: [1], include: [1]}", "Expected a mapping"},
        {"{a: [1], include: [{}]}", "Matrix include mapping does not contain any values"},
        {"{a: [1], exclude: [{}]}", "Matrix exclude filter must not be empty"},
        {"{a: [1], exclude: [{b: 1}]}", "Matrix exclude key 'b' does not match any key within the matrix"},
    };
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autoerror err = {0};
        wh_autofree char *rows = rows_of(cases[i].matrix, &err);
        if (rows || !strstr(wh_error_text(&err), cases[i].rows))
            fail_msg("%s: %s", cases[i].matrix, rows ? rows : wh_error_text(&err));
    }
}

/* {a: [0 ... n-1], ...} */
static int expand_square(unsigned a, unsigned b, size_t *rows, struct wh_error *err)
{
    wh_autostr json = {0};
    wh_str_add(&json, "{a: [0");
    for (unsigned i = 1; i < a; i++)
        wh_str_addf(&json, ",%u", i);
    wh_str_add(&json, "], b: [0");
    for (unsigned i = 1; i < b; i++)
        wh_str_addf(&json, ",%u", i);
    wh_str_add(&json, "]}");
    wh_autovalue *matrix = wh_value_parse_json(wh_str_text(&json), json.len, err);
    struct wh_matrix m;
    int n = wh_matrix_expand(matrix, &m, err);
    *rows = m.nrows;
    wh_matrix_clear(&m);
    return n;
}

static void test_limits(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    size_t rows = 0;
    assert_int_equal(expand_square(16, 16, &rows, &err), 0);
    assert_int_equal(rows, WH_MAX_MATRIX_ROWS);
    assert_int_equal(expand_square(257, 1, &rows, &err), -1);
    assert_non_null(strstr(wh_error_text(&err), "more than 256 jobs"));
    wh_autoerror more = {0};
    assert_int_equal(expand_square(1001, 1000, &rows, &more), -1);
    assert_non_null(strstr(wh_error_text(&more), "more than 1000000 combinations"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests_name("matrix", tests, NULL, NULL);
}
