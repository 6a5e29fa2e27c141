/* The lists of Docker's actions (actions.md §1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actions/lists.h"

static void check(const char *text, enum wh_list_mode mode, const char *want)
{
    wh_autostrv char **items = wh_input_list(text, mode);
    wh_autofree char *got = wh_strv_join(items, "|");
    assert_string_equal(got, want);
}

static void csv(void **state)
{
    (void)state;
    check("", WH_LIST_CSV, "");
    check("a,b\nc", WH_LIST_CSV, "a|b|c");
    check(" a , b \r\n\n c ", WH_LIST_CSV, "a|b|c");
    check("\"a,b\"", WH_LIST_CSV, "a|b");
    check("\"a,b\",c", WH_LIST_CSV, "a,b|c");
    check("acme/api:edge, acme/api:1", WH_LIST_CSV, "acme/api:edge|acme/api:1");
}

static void line(void **state)
{
    (void)state;
    check("A=1\nB=2,3\n", WH_LIST_LINE, "A=1|B=2,3");
    check("\"C=q\",r", WH_LIST_LINE, "C=q,r");
    check("A={\"a\":\"b,c\"}", WH_LIST_LINE, "A={\"a\":\"b,c\"}");
    check("\"pip=[global]\nindex=1\"\nx=y", WH_LIST_LINE, "pip=[global]\nindex=1|x=y");
    check("\"say \"\"hi\"\"\"", WH_LIST_LINE, "say \"hi\"");
    check("\"a\"b", WH_LIST_LINE, "\"a\"b");
}

static void raw(void **state)
{
    (void)state;
    check("type=docker,\"dest=a,b\"", WH_LIST_RAW, "type=docker,\"dest=a,b\"");
    check("out\ntype=local,dest=x", WH_LIST_RAW, "out|type=local,dest=x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(csv), cmocka_unit_test(line), cmocka_unit_test(raw)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
