/* Expansion of variables, from the table in variables.txt, and its limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wherry/base/fs.h"
#include "wherry/dockerfile/expand.h"

static char *const env[] = {
    "A=apple", "E=",         "P=/usr/local/bin", "S=two words", "N=app.tar.gz", "STAR=a*b",
    "Q=a\"b",  "DEEP=x/y/z", "U=gr\xc3\xbcn",    "1=one",       "BRACE=a}b",    "DOT=a.b.c",
    NULL};

static int expand(char mode, const char *word, char **out, struct wh_error *err)
{
    if (mode == 'W') {
        wh_autostrv char **words = NULL;
        if (wh_df_expand_words(word, env, '\\', &words, NULL, err) < 0)
            return -1;
        *out = wh_strv_join(words, ",");
        return 0;
    }
    enum wh_df_expand_mode how = mode == 'R'   ? WH_DF_EXPAND_RAW
                                 : mode == 'H' ? WH_DF_EXPAND_HEREDOC
                                               : WH_DF_EXPAND;
    return wh_df_expand(word, env, mode == 'B' ? '`' : '\\', how, out, NULL, err);
}

static int check(int number, char *line)
{
    char *word = line + 2, *want = strrchr(word, '|');
    assert_non_null(want);
    *want++ = '\0';
    wh_autofree char *got = NULL;
    wh_autoerror err = {0};
    int r = expand(line[0], word, &got, &err);
    bool ok = want[0] == '!' ? r < 0 && strstr(wh_error_text(&err), want + 1) &&
                                   wh_starts_with(wh_error_text(&err), "failed to process \"")
                             : r == 0 && strcmp(got, want) == 0;
    if (!ok)
        fprintf(stderr, "variables.txt:%d: `%s` gave `%s`, not `%s`\n", number, word,
                r < 0 ? wh_error_text(&err) : got, want);
    return ok ? 0 : 1;
}

static void table(void **state)
{
    (void)state;
    wh_autostr text = {0};
    assert_int_equal(wh_read_file(AT_FDCWD, WH_TEST_DATA "/variables.txt", 1 << 20, &text, NULL), 0);
    wh_autostrv char **lines = wh_strv_split(wh_str_text(&text), '\n');
    int bad = 0, cases = 0;
    for (int i = 0; lines[i]; i++) {
        if (lines[i][0] == '#' || lines[i][0] == '\0')
            continue;
        bad += check(i + 1, lines[i]);
        cases++;
    }
    assert_int_equal(bad, 0);
    assert_true(cases >= 150);
}

static void reports_names(void **state)
{
    (void)state;
    struct wh_df_expansion seen = {0};
    wh_autofree char *out = NULL;
    assert_int_equal(wh_df_expand("$A ${NONE:-x} $A $OTHER", env, '\\', WH_DF_EXPAND, &out, &seen, NULL), 0);
    assert_string_equal(out, "apple x apple ");
    assert_int_equal(wh_strv_len(seen.used), 1);
    assert_string_equal(seen.used[0], "A");
    assert_int_equal(wh_strv_len(seen.unset), 2);
    assert_true(wh_strv_has(seen.unset, "NONE") && wh_strv_has(seen.unset, "OTHER"));
    wh_df_expansion_clear(&seen);
}

static char *nested(int levels)
{
    wh_autostr s = {0};
    for (int i = 0; i < levels; i++)
        wh_str_add(&s, "${x:-");
    wh_str_add(&s, "y");
    for (int i = 0; i < levels; i++)
        wh_str_add(&s, "}");
    return wh_str_steal(&s);
}

static void depth_limit(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autofree char *fits = nested(WH_MAX_EXPANSION_DEPTH), *past = nested(WH_MAX_EXPANSION_DEPTH + 1),
                     *out = NULL;
    assert_int_equal(wh_df_expand(fits, NULL, '\\', WH_DF_EXPAND, &out, NULL, NULL), 0);
    assert_string_equal(out, "y");
    assert_true(wh_df_expand(past, NULL, '\\', WH_DF_EXPAND, &out, NULL, &err) < 0);
    assert_int_equal(err.code, WH_E_LIMIT);
}

/* A doubling value must not eat the memory. */
static void size_limit(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autofree char *big = wh_malloc(1 << 20), *out = NULL;
    memset(big, 'x', (1 << 20) - 1);
    big[(1 << 20) - 1] = '\0';
    wh_autofree char *pair = wh_printf("B=%s", big);
    char *const one[] = {pair, NULL};
    assert_int_equal(wh_df_expand("$B$B$B", one, '\\', WH_DF_EXPAND, &out, NULL, NULL), 0);
    wh_autofree char *many = NULL;
    assert_true(wh_df_expand("$B$B$B$B$B", one, '\\', WH_DF_EXPAND, &many, NULL, &err) < 0);
    assert_int_equal(err.code, WH_E_LIMIT);
}

/* Patterns that make a backtracking matcher explode. */
static void pattern_cost(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autofree char *value = wh_malloc(70000), *out = NULL;
    memset(value, 'a', 69999);
    memcpy(value, "V=", 2);
    value[69999] = '\0';
    char *const one[] = {value, NULL};
    assert_int_equal(wh_df_expand("${V%a*a*a*a*a*a*b}", one, '\\', WH_DF_EXPAND, &out, NULL, NULL), 0);
    assert_int_equal(strlen(out), 69997);
    wh_autofree char *never = NULL;
    assert_true(wh_df_expand("${V//*a*a*a*a*b/x}", one, '\\', WH_DF_EXPAND, &never, NULL, &err) < 0);
    assert_int_equal(err.code, WH_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(table), cmocka_unit_test(reports_names),
                                       cmocka_unit_test(depth_limit), cmocka_unit_test(size_limit),
                                       cmocka_unit_test(pattern_cost)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
