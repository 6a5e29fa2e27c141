/* The masker: forms of secrets, merging, regular expressions, many masks, and a slow second opinion on random
 * texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wherry/base/clock.h"
#include "wherry/job/mask.h"

static struct wh_masker *masker_of(const char *const *values)
{
    struct wh_masker *m = wh_masker_new();
    for (; *values; values++)
        assert_int_equal(wh_masker_add(m, *values, strlen(*values), NULL), 0);
    return m;
}

static void check_with(struct wh_masker *m, const char *text, const char *expected)
{
    wh_autofree char *got = wh_mask_text(m, text);
    assert_string_equal(got, expected);
}

static void check(const char *value, const char *text, const char *expected)
{
    struct wh_masker *m = masker_of((const char *const[]){value, NULL});
    check_with(m, text, expected);
    wh_masker_free(m);
}

static void test_plain(void **state)
{
    (void)state;
    check("secret", "a secret and secretsecret", "a *** and ***");
    check("secret", "Secret SECRET", "Secret SECRET");
    check("secret", "", "");
    check("secret", "secret", "***");
    check("secret", "secre", "secre");
    check("x", "axbxx", "a***b***");
    check("", "anything", "anything");
    check("aa", "aaa baab", "*** b***b"); /* overlapping */
    check("ünï", "x ünï", "x ***");
}

static void test_merge(void **state)
{
    (void)state;
    struct wh_masker *m = masker_of((const char *const[]){"abc", "cde", "xyz", "b", NULL});
    check_with(m, "abcde", "***");  /* overlap */
    check_with(m, "abcxyz", "***"); /* touch */
    check_with(m, "abc xyz", "*** ***");
    check_with(m, "abd", "a***d");
    check_with(m, "cdabcde", "cd***");
    wh_masker_free(m);
}

static void test_base64(void **state)
{
    (void)state;
    check("Password123!", "OlBhc3N3b3JkMTIzIQ==", "OlBh***");
    check("Password123!", "YTpQYXNzd29yZDEyMyE=", "YTpQ***");
    check("Password123!", "UGFzc3dvcmQxMjMh", "***");
    check("ab", "YWI= Yg==", "*** ***");
    check("a", "YQ==", "***");
}

static void test_forms(void **state)
{
    (void)state;
    check("a\"b", "a\\\"b", "***");
    check("it's", "it''s", "***");
    check("a\nb\tc\\", "a\\nb\\tc\\\\", "***");
    check("p@ss w/ü", "p%40ss%20w%2F%C3%BC", "***");
    check("a<b>&'\"", "a&lt;b&gt;&amp;&apos;&quot;", "***");
    check("\"quoted value\"", "x quoted value y", "x *** y");
    check("\"short1\"", "short1", "short1"); /* 8 units: too short to lose its quotes */
    check("\"short12\"", "short12", "***");
    check("first&second&third-part", "first&second& and third-part", "*** and ***");
    check("first&+second", "first&+ and econd- second", "*** and econd- second");
    check("first&+secondly", "x econdly", "x ***");
    /* As a shell that colours the part at an ampersand prints them. */
    check("key1=a&key2=b&key3=c", "key1=a&key2=b&<key3=c>", "***<***>");
    check("key1=a&+key2=b&+key3=c", "key1=a&+<k>ey2=b&+key3=c", "***<k>***");
    check("key1=a&key2=b&+", "key1=a&key2=b&+<>", "***<>");
    check("ab&cdefgh", "ab& cdefgh", "ab& ***");
    check("ab&cdefg", "cdefg", "cdefg");
}

static void test_secret_lines(void **state)
{
    (void)state;
    struct wh_masker *m = wh_masker_new();
    assert_int_equal(wh_masker_add_secret(m, "  line one \r\n\r\n  line two\n", NULL), 0);
    check_with(m, "line one", "***");
    check_with(m, "got line two!", "got ***!");
    check_with(m, "\r\n", "\r\n");
    wh_masker_free(m);
}

static void test_add_command(void **state)
{
    (void)state;
    struct wh_masker *m = wh_masker_new();
    bool blank;
    assert_int_equal(wh_masker_add_command(m, " \t\n", &blank, NULL), 0);
    assert_true(blank);
    check_with(m, "a b", "a b");
    assert_int_equal(wh_masker_add_command(m, " padded ", &blank, NULL), 0);
    assert_false(blank);
    check_with(m, "x padded y", "x***y");
    check_with(m, "padded", "***");
    wh_masker_free(m);
}

static void test_regex(void **state)
{
    (void)state;
    struct wh_masker *m = wh_masker_new();
    wh_autoerror err = {0};
    assert_int_equal(wh_masker_add_regex(m, "tok_[0-9]+", &err), 0);
    check_with(m, "a tok_123 b tok_", "a *** b tok_");
    check_with(m, "tok_[0-9]+", "***");                      /* the pattern's own text is a value too */
    assert_int_equal(wh_masker_add_regex(m, "b*", &err), 0); /* empty matches mask nothing */
    check_with(m, "xbbx", "x***x");
    assert_int_equal(wh_masker_add_regex(m, "(unclosed", &err), -1);
    assert_int_equal(err.code, WH_E_PARSE);
    check_with(m, "(unclosed", "***");
    wh_masker_free(m);
}

/* A pattern that explodes must not hang, nor let text through. */
static void test_regex_limit(void **state)
{
    (void)state;
    struct wh_masker *m = wh_masker_new();
    assert_int_equal(wh_masker_add_regex(m, "(a+)+$", NULL), 0);
    uint64_t start = wh_mono_ms();
    check_with(m, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "***");
    assert_true(wh_mono_ms() - start < 5000);
    wh_masker_free(m);
}

static void test_no_copy(void **state)
{
    (void)state;
    struct wh_masker *m = masker_of((const char *const[]){"secret", NULL});
    wh_autostr out = {0};
    wh_str_add(&out, "untouched");
    assert_false(wh_mask(m, "nothing here", 12, &out));
    assert_string_equal(wh_str_text(&out), "untouched");
    assert_true(wh_mask(m, "a secret", 8, &out));
    assert_string_equal(wh_str_text(&out), "a ***");
    wh_masker_free(m);
}

/* Masks that come one by one between lines, each of which must hold at once. */
static void test_many(void **state)
{
    (void)state;
    struct wh_masker *m = wh_masker_new();
    char text[64], expected[64];
    uint64_t start = wh_mono_ms();
    for (int i = 0; i < 3000; i++) {
        snprintf(text, sizeof text, "value-%d-of-many", i * 7919);
        assert_int_equal(wh_masker_add(m, text, strlen(text), NULL), 0);
        check_with(m, text, "***");
    }
    for (int i = 0; i < 3000; i += 100) {
        snprintf(text, sizeof text, "<value-%d-of-many>", i * 7919);
        check_with(m, text, "<***>");
        snprintf(expected, sizeof expected, "<value-%d-of-some>", i * 7919);
        check_with(m, expected, expected);
    }
    assert_true(wh_mono_ms() - start < 30000);
    wh_masker_free(m);
}

static void test_limits(void **state)
{
    (void)state;
    struct wh_masker *m = wh_masker_new();
    wh_autoerror err = {0};
    size_t len = WH_MAX_MASK_BYTES / 16;
    wh_autofree char *value = wh_malloc(len);
    int added = 0;
    for (; added < 16; added++) { /* each with its forms takes some six times its length */
        memset(value, 'a' + added, len);
        if (wh_masker_add(m, value, len, &err) < 0)
            break;
    }
    assert_in_range(added, 2, 8);
    assert_int_equal(err.code, WH_E_LIMIT);
    wh_masker_free(m);

    m = wh_masker_new();
    for (unsigned i = 0; i < WH_MAX_MASK_REGEXES; i++) {
        wh_autofree char *pattern = wh_printf("a%u.", i);
        assert_int_equal(wh_masker_add_regex(m, pattern, NULL), 0);
    }
    wh_autoerror past = {0};
    assert_int_equal(wh_masker_add_regex(m, "one.more", &past), -1);
    assert_int_equal(past.code, WH_E_LIMIT);
    wh_masker_free(m);
}

/* ---- a second opinion: each place by hand ---- */

static void naive(char *const *values, const char *text, struct wh_str *out)
{
    size_t len = strlen(text);
    wh_autofree char *hit = wh_calloc(1, len + 1);
    for (; *values; values++) {
        size_t n = strlen(*values);
        for (size_t i = 0; i + n <= len; i++) {
            if (memcmp(text + i, *values, n) == 0)
                memset(hit + i, 1, n);
        }
    }
    for (size_t i = 0; i < len; i++) {
        if (!hit[i])
            wh_str_addc(out, text[i]);
        else if (i == 0 || !hit[i - 1])
            wh_str_add(out, "***");
    }
}

static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed >> 16;
}

/* Values of two letters have few derived forms in a text of these letters: base64 and the like hold others.
 */
static void test_random(void **state)
{
    (void)state;
    unsigned seed = 42;
    for (int round = 0; round < 300; round++) {
        wh_autostrv char **values = NULL;
        struct wh_masker *m = wh_masker_new();
        unsigned count = 1 + next_random(&seed) % 12;
        for (unsigned i = 0; i < count; i++) {
            char value[12] = "";
            unsigned n = 2 + next_random(&seed) % 8;
            for (unsigned k = 0; k < n; k++)
                value[k] = "~._"[next_random(&seed) % 3];
            wh_strv_add(&values, value);
            wh_masker_add(m, value, n, NULL);
            if (i % 4 == 0)
                check_with(m, value, "***"); /* builds in between, so that there are several automata */
        }
        char text[200] = "";
        for (unsigned k = 0; k < sizeof text - 1; k++)
            text[k] = "~._"[next_random(&seed) % 3];
        wh_autostr expected = {0};
        naive(values, text, &expected);
        check_with(m, text, wh_str_text(&expected));
        wh_masker_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain), cmocka_unit_test(test_merge),        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_forms), cmocka_unit_test(test_secret_lines), cmocka_unit_test(test_add_command),
        cmocka_unit_test(test_regex), cmocka_unit_test(test_regex_limit),  cmocka_unit_test(test_no_copy),
        cmocka_unit_test(test_many),  cmocka_unit_test(test_limits),       cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
