/* How the text of a custom shell becomes arguments: the rules of .NET's process start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "worker/job.h"

struct split_case {
    const char *text;
    const char *joined; /* by '|' */
};

static void test_split(void **state)
{
    (void)state;
    static const struct split_case cases[] = {
        {"a b  c", "a|b|c"},
        {"  a\tb ", "a|b"},
        {"\"a b\" c", "a b|c"},
        {"a\"b c\"d", "ab cd"},
        {"'a b'", "'a|b'"},
        {"\\\"a", "\"a"},
        {"a\\b", "a\\b"},
        {"\"a\\\\\" b", "a\\|b"},
        {"\"a \"\"b\"\" c\"", "a \"b\" c"},
        {"\"\" x", "|x"},
        {"-command \". '/tmp/x.ps1'\"", "-command|. '/tmp/x.ps1'"},
    };
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autostrv char **parts = wh_split_arguments(cases[i].text);
        wh_autofree char *joined = wh_strv_join(parts, "|");
        assert_string_equal(joined, cases[i].joined);
    }
    assert_null(wh_split_arguments(""));
    assert_null(wh_split_arguments("   "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_split)};
    return cmocka_run_group_tests_name("arguments", tests, NULL, NULL);
}
