/* References and platforms: the grammar, normalisation, and which image serves which machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wherry/oci/reference.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void check(const char *text, const char *full, const char *familiar)
{
    wh_autoref ref = {0};
    wh_autoerror err = {0};
    if (wh_ref_parse(text, &ref, &err) < 0)
        fail_msg("%s: %s", text, wh_error_text(&err));
    wh_autofree char *got = wh_ref_text(&ref);
    assert_string_equal(got, full);
    wh_autofree char *short_form = wh_ref_familiar(&ref);
    assert_string_equal(short_form, familiar);
    wh_autoref again = {0};
    assert_int_equal(wh_ref_parse(full, &again, NULL), 0);
    assert_true(wh_ref_same_repository(&ref, &again));
}

static void test_normalises(void **state)
{
    (void)state;
    check("alpine", "docker.io/library/alpine:latest", "alpine:latest");
    check("alpine:3.19", "docker.io/library/alpine:3.19", "alpine:3.19");
    check("me/tool", "docker.io/me/tool:latest", "me/tool:latest");
    check("index.docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest");
    check("docker.io/library/alpine", "docker.io/library/alpine:latest", "alpine:latest");
    check("localhost/x", "localhost/x:latest", "localhost/x:latest");
    check("localhost:5000/a/b:1", "localhost:5000/a/b:1", "localhost:5000/a/b:1");
    check("ghcr.io/o/r:v1@sha256:" HEX64, "ghcr.io/o/r:v1@sha256:" HEX64, "ghcr.io/o/r:v1@sha256:" HEX64);
    check("alpine@sha256:" HEX64, "docker.io/library/alpine@sha256:" HEX64, "alpine@sha256:" HEX64);
    check("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest");
    check("Host/x", "Host/x:latest", "Host/x:latest");
    check("a--b/c__d.e", "docker.io/a--b/c__d.e:latest", "a--b/c__d.e:latest");
}

static void refuse(const char *text, const char *why)
{
    wh_autoref ref = {0};
    wh_autoerror err = {0};
    if (wh_ref_parse(text, &ref, &err) >= 0)
        fail_msg("%s was accepted", text);
    if (!strstr(wh_error_text(&err), why))
        fail_msg("%s: \"%s\" lacks \"%s\"", text, wh_error_text(&err), why);
    assert_null(ref.host);
}

static void test_refuses(void **state)
{
    (void)state;
    refuse("", "empty");
    refuse("Alpine", "lower case");
    refuse("a/B", "lower case");
    refuse(HEX64, "64 hexadecimal");
    refuse("a:", "tag");
    refuse("a:-x", "tag");
    refuse("a@sha256:12", "sha256:");
    refuse("a@md5:" HEX64, "sha256:");
    refuse("a..b", "components");
    refuse("a/../b", "components");
    refuse("a___b", "components");
    refuse("-a", "components");
    refuse("a/", "components");
    refuse("/a", "components");
    refuse("ho_st.x/a", "host");
    refuse("host.:5000/a", "host");
    refuse("host:port/a", "host");
    refuse("[::zz]/a", "host");
    refuse(":tag", "missing");
    refuse("a b", "components");
}

static void test_limits(void **state)
{
    (void)state;
    char text[600];
    memset(text, 'a', sizeof(text));
    memcpy(text, "h.io/", 5);
    text[WH_MAX_REF_NAME] = '\0';
    wh_autoref ref = {0};
    assert_int_equal(wh_ref_parse(text, &ref, NULL), 0);
    text[WH_MAX_REF_NAME] = 'a';
    text[WH_MAX_REF_NAME + 1] = '\0';
    refuse(text, "255");
    memset(text, 'a', sizeof(text));
    text[1] = ':';
    text[2 + WH_MAX_REF_TAG] = '\0';
    wh_autoref tagged = {0};
    assert_int_equal(wh_ref_parse(text, &tagged, NULL), 0);
    text[2 + WH_MAX_REF_TAG] = 'a';
    text[3 + WH_MAX_REF_TAG] = '\0';
    refuse(text, "tag");
}

static void test_loopback(void **state)
{
    (void)state;
    assert_true(wh_host_is_loopback("localhost:5000"));
    assert_true(wh_host_is_loopback("127.0.0.1"));
    assert_true(wh_host_is_loopback("127.8.9.10:80"));
    assert_true(wh_host_is_loopback("[::1]:5000"));
    assert_false(wh_host_is_loopback("localhost.evil.example"));
    assert_false(wh_host_is_loopback("127.0.0.1.evil.example"));
    assert_false(wh_host_is_loopback("128.0.0.1"));
}

static void platform_is(const char *text, const char *expected)
{
    struct wh_platform p;
    char buf[100];
    assert_int_equal(wh_platform_parse(text, &p, NULL), 0);
    assert_string_equal(wh_platform_text(&p, buf), expected);
}

static void test_platforms(void **state)
{
    (void)state;
    struct wh_platform p;
    platform_is("linux/x86_64", "linux/amd64");
    platform_is("linux/aarch64", "linux/arm64");
    platform_is("linux/arm64/v8", "linux/arm64");
    platform_is("linux/armhf", "linux/arm/v7");
    platform_is("linux/armel", "linux/arm/v6");
    platform_is("linux/arm", "linux/arm/v7");
    platform_is("Linux/ARM/V6", "linux/arm/v6");
    platform_is("arm64", "linux/arm64");
    platform_is("linux/amd64/v3", "linux/amd64/v3");
    assert_int_equal(wh_platform_parse("linux/amd64/v1/x", &p, NULL), -1);
    assert_int_equal(wh_platform_parse("", &p, NULL), -1);
    assert_int_equal(wh_platform_parse("linux//v7", &p, NULL), -1);
}

static int rank(const char *want, const char *have)
{
    struct wh_platform w, h;
    assert_int_equal(wh_platform_parse(want, &w, NULL), 0);
    assert_int_equal(wh_platform_parse(have, &h, NULL), 0);
    return wh_platform_rank(&w, &h);
}

static void test_ranks(void **state)
{
    (void)state;
    assert_int_equal(rank("linux/amd64", "linux/amd64"), 0);
    assert_true(rank("linux/amd64", "linux/386") > rank("linux/amd64/v3", "linux/amd64"));
    assert_true(rank("linux/amd64", "linux/amd64/v2") < 0);
    assert_true(rank("linux/amd64/v3", "linux/amd64/v2") < rank("linux/amd64/v3", "linux/amd64"));
    assert_true(rank("linux/arm64", "linux/arm/v7") > 0);
    assert_true(rank("linux/arm64", "linux/arm/v7") < rank("linux/arm64", "linux/arm/v6"));
    assert_true(rank("linux/arm/v6", "linux/arm/v7") < 0);
    assert_true(rank("linux/arm/v7", "linux/arm/v5") > rank("linux/arm/v7", "linux/arm/v6"));
    assert_true(rank("linux/386", "linux/amd64") < 0);
    assert_true(rank("linux/amd64", "windows/amd64") < 0);
    assert_true(rank("linux/s390x", "linux/s390x") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normalises), cmocka_unit_test(test_refuses),   cmocka_unit_test(test_limits),
        cmocka_unit_test(test_loopback),   cmocka_unit_test(test_platforms), cmocka_unit_test(test_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
