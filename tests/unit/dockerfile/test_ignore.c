/* Ignore files from the table in ignore.txt, the walk against the single question, file syntax, globs,
 * limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wherry/base/fs.h"
#include "wherry/dockerfile/ignore.h"

static struct wh_ignore *parse(const char *text, struct wh_error *err)
{
    struct wh_ignore *ig = NULL;
    return wh_ignore_parse(text, strlen(text), ".dockerignore", &ig, err) < 0 ? NULL : ig;
}

/* The answer of a walk from the root down to path. */
static enum wh_ignore_answer walk(const struct wh_ignore *ig, const char *path, bool is_dir)
{
    struct wh_ignore_state parent = {0}, mine = {0};
    enum wh_ignore_answer a = WH_IGNORE_INCLUDED;
    for (const char *at = path; at;) {
        const char *slash = strchr(at, '/');
        wh_autofree char *part = slash ? wh_strndup(path, (size_t)(slash - path)) : wh_strdup(path);
        a = wh_ignore_walk(ig, &parent, part, slash || is_dir, &mine);
        wh_ignore_state_clear(&parent);
        parent = mine;
        mine = (struct wh_ignore_state){0};
        at = slash ? slash + 1 : NULL;
    }
    wh_ignore_state_clear(&parent);
    return a;
}

static int check(const struct wh_ignore *ig, int number, char *line, const char *patterns)
{
    char *path = line + 2;
    size_t len = strlen(path);
    bool is_dir = path[len - 1] == '/';
    if (is_dir)
        path[len - 1] = '\0';
    enum wh_ignore_answer want = line[0] == '+'   ? WH_IGNORE_INCLUDED
                                 : line[0] == '-' ? WH_IGNORE_EXCLUDED
                                                  : WH_IGNORE_EXCLUDED_LOOK;
    enum wh_ignore_answer one = wh_ignore_match(ig, path, is_dir), walked = walk(ig, path, is_dir);
    if (one == want && walked == want)
        return 0;
    fprintf(stderr, "ignore.txt:%d: `%s` with `%s`: match %d, walk %d, wanted %d\n", number, path, patterns,
            one, walked, want);
    return 1;
}

static void table(void **state)
{
    (void)state;
    wh_autostr text = {0};
    assert_int_equal(wh_read_file(AT_FDCWD, WH_TEST_DATA "/ignore.txt", 1 << 20, &text, NULL), 0);
    wh_autostrv char **lines = wh_strv_split(wh_str_text(&text), '\n');
    struct wh_ignore *ig = NULL;
    wh_autoerror err = {0};
    const char *patterns = "";
    int bad = 0, groups = 0, cases = 0;
    for (int i = 0; lines[i]; i++) {
        if (lines[i][0] == '#' || lines[i][0] == '\0')
            continue;
        if (lines[i][0] == '=') {
            wh_autofree char *file = wh_strdup(lines[i] + 2);
            for (char *p = file; *p; p++)
                *p = *p == ' ' ? '\n' : *p;
            wh_ignore_free(ig);
            wh_error_clear(&err);
            patterns = lines[i] + 2;
            ig = parse(file, &err);
            groups++;
        } else if (lines[i][0] == '!') {
            assert_null(ig);
            assert_non_null(strstr(wh_error_text(&err), lines[i] + 2));
            assert_true(wh_starts_with(wh_error_text(&err), ".dockerignore:1: "));
        } else {
            if (!ig)
                fail_msg("ignore.txt:%d: %s", i + 1, wh_error_text(&err));
            bad += check(ig, i + 1, lines[i], patterns);
            cases++;
        }
    }
    wh_ignore_free(ig);
    assert_int_equal(bad, 0);
    assert_true(groups >= 50 && cases >= 120);
}

static void file_syntax(void **state)
{
    (void)state;
    struct wh_ignore *ig = parse("\xef\xbb\xbf# comment\n\n  a  \r\n!  b \r\n #c\nlast", NULL);
    assert_non_null(ig);
    assert_int_equal(wh_ignore_match(ig, "a", false), WH_IGNORE_EXCLUDED);
    assert_int_equal(wh_ignore_match(ig, "b", false), WH_IGNORE_INCLUDED);
    assert_int_equal(wh_ignore_match(ig, "#c", false),
                     WH_IGNORE_EXCLUDED); /* only column 0 makes a comment */
    assert_int_equal(wh_ignore_match(ig, "# comment", false), WH_IGNORE_INCLUDED);
    assert_int_equal(wh_ignore_match(ig, "last", false), WH_IGNORE_EXCLUDED);
    assert_false(wh_ignore_is_empty(ig));
    wh_ignore_free(ig);
    ig = parse("# nothing\n\n", NULL);
    assert_true(wh_ignore_is_empty(ig));
    assert_int_equal(wh_ignore_match(ig, "a", true), WH_IGNORE_INCLUDED);
    wh_ignore_free(ig);
    assert_true(wh_ignore_is_empty(NULL));
}

static void limits(void **state)
{
    (void)state;
    wh_autostr text = {0};
    wh_autoerror err = {0};
    for (int i = 0; i < WH_MAX_IGNORE_PATTERNS; i++)
        wh_str_addf(&text, "p%d\n", i);
    struct wh_ignore *ig = parse(wh_str_text(&text), NULL);
    assert_non_null(ig);
    assert_int_equal(wh_ignore_match(ig, "p65535", false), WH_IGNORE_EXCLUDED);
    wh_ignore_free(ig);
    wh_str_add(&text, "more\n");
    assert_null(parse(wh_str_text(&text), &err));
    assert_int_equal(err.code, WH_E_LIMIT);
    wh_error_clear(&err);
    wh_str_clear(&text);
    for (size_t i = 0; i <= WH_MAX_PATTERN_BYTES; i++)
        wh_str_addc(&text, 'x');
    assert_null(parse(wh_str_text(&text), &err));
    assert_int_equal(err.code, WH_E_LIMIT);
    assert_true(wh_ignore_parse("a\0b", 3, "x", &ig, NULL) < 0);
}

/* Many stars against a long path: work must stay items times bytes. */
static void many_stars(void **state)
{
    (void)state;
    wh_autostr pattern = {0}, path = {0};
    for (int i = 0; i < 500; i++)
        wh_str_add(&pattern, "**/*a*");
    wh_str_add(&pattern, "b");
    for (int i = 0; i < 4000; i++)
        wh_str_addc(&path, 'a');
    struct wh_ignore *ig = parse(wh_str_text(&pattern), NULL);
    assert_non_null(ig);
    assert_int_equal(wh_ignore_match(ig, wh_str_text(&path), false), WH_IGNORE_INCLUDED);
    wh_ignore_free(ig);
}

static bool glob(const char *pattern, bool deep, const char *path)
{
    struct wh_glob *g = NULL;
    assert_int_equal(wh_glob_compile(pattern, deep, &g, NULL), 0);
    bool hit = wh_glob_match(g, path);
    wh_glob_free(g);
    return hit;
}

static void globs(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path;
        bool deep, hit;
    } cases[] = {{"abc", "abc", false, true},
                 {"*", "abc", false, true},
                 {"*c", "abc", false, true},
                 {"a*", "abc", false, true},
                 {"a*", "ab/c", false, false},
                 {"a*/b", "abc/b", false, true},
                 {"a*/b", "a/c/b", false, false},
                 {"a*b*c*/f", "axbxc/f", false, true},
                 {"a*b?c*x", "abxbbxdbxebxczzx", false, true},
                 {"a*b?c*x", "abxbbxdbxebxczzy", false, false},
                 {"ab[c]", "abc", false, true},
                 {"ab[b-d]", "abc", false, true},
                 {"ab[e-g]", "abc", false, false},
                 {"ab[^c]", "abc", false, false},
                 {"ab[^e-g]", "abc", false, true},
                 {"ab[!c]", "abc", false, true},
                 {"ab[!c]", "abd", false, false},
                 {"a\\*b", "a*b", false, true},
                 {"a\\*b", "ab", false, false},
                 {"a?b",
                  "a\xe2\x98\xba"
                  "b",
                  false, true},
                 {"a[^a]b", "a/b", false, false},
                 {"[a-\xce\xb6]*", "\xce\xb1", false, true},
                 {"a?b", "a/b", false, false},
                 {"[\\-]", "-", false, true},
                 {"[x\\-]", "x", false, true},
                 {"**", "a/b", false, false},
                 {"**", "a/b", true, true},
                 {"a/**/c", "a/b/b/c", true, true},
                 {"*x", "xxx", false, true},
                 {"", "", false, true}};
    for (size_t i = 0; i < WH_COUNT(cases); i++)
        if (glob(cases[i].pattern, cases[i].deep, cases[i].path) != cases[i].hit)
            fail_msg("%s on %s", cases[i].pattern, cases[i].path);
    static const char *const bad[] = {"[]a]", "[-]",  "[x-]", "[-x]", "[",
                                      "[^",   "[^bc", "a[",   "a\\",  "[a-b-c]"};
    for (size_t i = 0; i < WH_COUNT(bad); i++) {
        struct wh_glob *g;
        wh_autoerror err = {0};
        if (wh_glob_compile(bad[i], false, &g, &err) == 0)
            fail_msg("%s was taken", bad[i]);
        assert_true(wh_starts_with(wh_error_text(&err), "syntax error in pattern"));
    }
}

static void prefixes(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"a/b/*.c", "a/b"}, {"*.c", ""},     {"a/b", "a"},  {"a", ""},
                                           {"a*/b", ""},       {"a/b?/c", "a"}, {"/a/*", "/a"}};
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autofree char *got = wh_glob_literal_prefix(cases[i][0]);
        assert_string_equal(got, cases[i][1]);
    }
    assert_true(wh_glob_has_wildcard("a[b"));
    assert_false(wh_glob_has_wildcard("a.b/c"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(table),  cmocka_unit_test(file_syntax),
                                       cmocka_unit_test(limits), cmocka_unit_test(many_stars),
                                       cmocka_unit_test(globs),  cmocka_unit_test(prefixes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
