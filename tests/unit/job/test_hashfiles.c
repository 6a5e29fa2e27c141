/* hashFiles: globs, which files are taken and in which order. Expected hashes are made by hand from the
 * files' contents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <unistd.h>

#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "wherry/job/expr.h"
#include "wherry/job/glob.h"

static char *root;

static void put(const char *path, const char *content)
{
    wh_autofree char *full = wh_path_join(root, path);
    wh_autofree char *dir = wh_strdup(full);
    *strrchr(dir, '/') = '\0';
    assert_int_equal(wh_mkdir_p(dir, 0755, NULL), 0);
    assert_int_equal(wh_write_file(AT_FDCWD, full, content, strlen(content), 0644, NULL), 0);
}

static void link_to(const char *path, const char *target)
{
    wh_autofree char *full = wh_path_join(root, path);
    assert_int_equal(symlink(target, full), 0);
}

static int set_up(void **state)
{
    (void)state;
    char template[] = "/tmp/wherry-hash-XXXXXX";
    root = wh_strdup(mkdtemp(template));
    put("package-lock.json", "top");
    put("a/package-lock.json", "a");
    put("a/b/package-lock.json", "ab");
    put("a/b/c.txt", "c");
    put("a/.hidden", "hidden");
    put("a-b.txt", "dash");
    put("we [ird]*.txt", "weird");
    put("src/one.c", "one");
    put("src/two.h", "two");
    link_to("link-to-file", "a/b/c.txt");
    link_to("link-to-dir", "a");
    link_to("src/broken", "nowhere");
    link_to("a/loop", "..");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(wh_remove_tree(AT_FDCWD, root, NULL), 0);
    free(root);
    return 0;
}

/* The hash of the contents, each hashed by itself, in that order; "" for none. */
static char *hash_of(const char *const *contents)
{
    wh_autosha256 *total = wh_sha256_new();
    struct wh_digest d;
    if (!*contents)
        return wh_strdup("");
    for (; *contents; contents++) {
        wh_digest_of(*contents, strlen(*contents), &d);
        wh_sha256_update(total, d.bytes, sizeof d.bytes);
    }
    wh_sha256_final(total, &d);
    return wh_hex(d.bytes, sizeof d.bytes);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__})

static void check(const char *patterns, bool follow, const char *const *contents)
{
    wh_autofree char *expected = hash_of(contents);
    wh_autoerror err = {0};
    wh_autofree char *got = wh_hash_files(root, patterns, follow, &err);
    if (!got)
        fail_msg("%s: %s", patterns, wh_error_text(&err));
    if (!wh_streq(got, expected))
        fail_msg("%s: %s is not %s", patterns, got, expected);
}

static void test_which(void **state)
{
    (void)state;
    check("package-lock.json", false, LIST("top", NULL));
    check("./package-lock.json", false, LIST("top", NULL));
    check("**/package-lock.json", false, LIST("ab", "a", "top", NULL)); /* depth first: a/b before a/p… */
    check("*/package-lock.json", false, LIST("a", NULL));
    check("nothing", false, LIST(NULL));
    check("nothing/**", false, LIST(NULL));
    check("", false, LIST(NULL));
    check("# comment\n\n  \n", false, LIST(NULL));
    check("src/*.c", false, LIST("one", NULL));
    check("src/*.?", false, LIST("one", "two", NULL));
    check("src/[no]*", false, LIST("one", NULL));
    check("src/[!o]*.h", false, LIST("two", NULL));
    check("a/b", false, LIST("c", "ab", NULL)); /* what is below a match matches */
    check("a/b/", false, LIST("c", "ab", NULL));
    check("a/b/c.txt/", false, LIST(NULL)); /* a slash at the end: folders only */
    check("a/.h*", false, LIST("hidden", NULL));
    check("A/b/c.txt", false, LIST(NULL)); /* case matters */
    check("we \\[ird\\]\\*.txt", false, LIST("weird", NULL));
    check("we [[]ird]*", false, LIST("weird", NULL));
    check("{a,b}", false, LIST(NULL)); /* braces are characters */
}

static void test_several(void **state)
{
    (void)state;
    check("src/one.c\na/b/c.txt", false, LIST("one", "c", NULL)); /* the order of the patterns */
    check("a/b/c.txt\nsrc/one.c", false, LIST("c", "one", NULL));
    check("a/**\na/b/c.txt", false, LIST("hidden", "c", "ab", "a", NULL)); /* each file once */
    check("a/b/c.txt\n**/c.txt", false, LIST("c", NULL));
    check("src/*\n!src/broken\n!**/*.c", false, LIST("two", NULL));
    check("src/*.?\n!src\nsrc/one.c", false, LIST("one", NULL)); /* the last word wins */
    check("!src/one.c", false, LIST(NULL));
    check("!!src/one.c", false, LIST("one", NULL));
}

static void test_links(void **state)
{
    (void)state;
    check("link-to-file", false, LIST("c", NULL));
    check("link-to-dir/**/c.txt", false, LIST(NULL));
    check("link-to-dir", false, LIST(NULL)); /* a folder, not entered */
    check("link-to-dir/b/c.txt", true, LIST("c", NULL));
    check("link-to-dir/b/*", true, LIST("c", "ab", NULL));
    check("src/*.c\nsrc/broken", true, LIST("one", NULL));
    check("a/**/c.txt", true, LIST("c", NULL)); /* a/loop is entered, a/loop/a is a cycle */
}

static char *error_of(const char *patterns)
{
    wh_autoerror err = {0};
    assert_null(wh_hash_files(root, patterns, false, &err));
    return wh_strdup(wh_error_text(&err));
}

static void test_errors(void **state)
{
    (void)state;
    wh_autofree char *up = error_of("../x");
    assert_string_equal(up, "Invalid pattern '../x'. Relative pathing '.' and '..' is not allowed.");
    wh_autofree char *dot = error_of("a/./b");
    assert_string_equal(dot, "Invalid pattern 'a/./b'. Relative pathing '.' and '..' is not allowed.");
    wh_autofree char *empty = error_of("!");
    assert_string_equal(empty, "pattern cannot be empty");
    wh_autofree char *broken = error_of("src/*");
    assert_non_null(strstr(broken, "src/broken"));
}

static void test_limits(void **state)
{
    (void)state;
    wh_autostr deep = {0}, many = {0};
    for (int i = 0; i < WH_MAX_GLOB_SEGMENTS - 1; i++)
        wh_str_add(&deep, "/x");
    wh_autoerror err = {0};
    wh_autofree char *fits = wh_hash_files(root, wh_str_text(&deep), false, &err);
    assert_string_equal(fits, "");
    wh_str_add(&deep, "/x");
    assert_null(wh_hash_files(root, wh_str_text(&deep), false, &err));
    assert_int_equal(err.code, WH_E_LIMIT);
    for (int i = 0; i < WH_MAX_GLOB_PATTERNS; i++)
        wh_str_addf(&many, "none-%d\n", i);
    wh_autofree char *most = wh_hash_files(root, wh_str_text(&many), false, NULL);
    assert_string_equal(most, "");
    wh_str_add(&many, "one-more");
    wh_autofree char *error = error_of(wh_str_text(&many));
    assert_string_equal(error, "more than 1000 patterns");
}

static void test_outside(void **state)
{
    (void)state;
    check("/etc/passwd", false, LIST(NULL));
    check("/*/passwd", false, LIST(NULL));
    wh_autofree char *absolute = wh_printf("%s/src/one.c", root);
    check(absolute, false, LIST("one", NULL));
}

static void test_in_expression(void **state)
{
    (void)state;
    wh_autovalue *contexts = wh_value_object();
    struct wh_eval env = {.contexts = contexts, .workspace = root};
    wh_autoerror err = {0};
    wh_autovalue *v = wh_expr_eval_text("hashFiles('src/*.c', 'a/b/c.txt\n# x')",
                                        wh_place_allows(WH_PLACE_STEP), &env, &err);
    wh_autofree char *expected = hash_of(LIST("one", "c", NULL));
    assert_string_equal(wh_value_text(v), expected);
    assert_null(wh_expr_eval_text("hashFiles('it''s', '..')", wh_place_allows(WH_PLACE_STEP), &env, &err));
    wh_autofree char *start = wh_printf(
        "hashFiles('it''s, ..') failed. Fail to hash files under directory '%s': Invalid pattern '..'", root);
    assert_true(wh_starts_with(wh_error_text(&err), start));
    assert_null(wh_expr_eval_text("hashFiles('--other', 'a')", wh_place_allows(WH_PLACE_STEP), &env, &err));
    assert_true(wh_starts_with(wh_error_text(&err), "Invalid glob option --other"));
    wh_autovalue *follow = wh_expr_eval_text("hashFiles('--Follow-Symbolic-Links', 'link-to-dir/b/c.txt')",
                                             wh_place_allows(WH_PLACE_STEP), &env, &err);
    wh_autofree char *c = hash_of(LIST("c", NULL));
    assert_string_equal(wh_value_text(follow), c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which),         cmocka_unit_test(test_several), cmocka_unit_test(test_links),
        cmocka_unit_test(test_errors),        cmocka_unit_test(test_limits),  cmocka_unit_test(test_outside),
        cmocka_unit_test(test_in_expression),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
