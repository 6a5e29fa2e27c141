/* Proxies, back-off, Retry-After, and the WebSocket's opening handshake: rules without a network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/http_internal.h"
#include "net/ws_handshake.h"
#include "wherry/net/backoff.h"

static void expect_proxy(const char *url, char *const *env, const char *wanted)
{
    wh_autofree char *got = wh_http_proxy_for(url, env);
    if (!wh_streq(got, wanted))
        fail_msg("%s: %s instead of %s", url, got ? got : "(none)", wanted ? wanted : "(none)");
}

static void test_proxies(void **state)
{
    (void)state;
    char *env[] = {"http_proxy=lower:3128", "HTTP_PROXY=upper:1", "HTTPS_PROXY=http://user:pw@secure:3129",
                   "no_proxy=corp.example, .intern.example,only.example:8443,10.1.2.3", NULL};
    expect_proxy("http://a.example/x", env, "http://lower:3128");
    expect_proxy("https://a.example/x", env, "http://user:pw@secure:3129");
    expect_proxy("https://corp.example/", env, NULL);
    expect_proxy("https://git.corp.example/", env, NULL);
    expect_proxy("https://notcorp.example/", env, "http://user:pw@secure:3129");
    expect_proxy("https://a.intern.example/", env, NULL);
    expect_proxy("https://intern.example/", env, NULL);
    expect_proxy("https://only.example:8443/", env, NULL);
    expect_proxy("https://only.example/", env, "http://user:pw@secure:3129");
    expect_proxy("http://10.1.2.3/", env, NULL);
    expect_proxy("http://localhost:8080/", env, NULL);
    expect_proxy("http://127.9.9.9/", env, NULL);
    expect_proxy("http://[::1]:80/", env, NULL);
    char *only_http[] = {"http_proxy=p:1", "all_proxy=q:2", NULL};
    expect_proxy("https://a.example/", only_http, NULL); /* each is for its own scheme */
    char *star[] = {"http_proxy=p:1", "no_proxy=*", NULL};
    expect_proxy("http://a.example/", star, NULL);
    char *emptied[] = {"http_proxy=", NULL};
    expect_proxy("http://a.example/", emptied, NULL);
    expect_proxy("not a url", env, NULL);
}

static void test_backoff_grows_to_its_end(void **state)
{
    (void)state;
    struct wh_backoff b = {.min_ms = 1000, .max_ms = 16000};
    uint64_t limits[] = {1000, 2000, 4000, 8000, 16000, 16000, 16000};
    for (size_t i = 0; i < WH_COUNT(limits); i++) {
        uint64_t wait = wh_backoff_next(&b);
        assert_true(wait >= limits[i] / 2 && wait <= limits[i]);
    }
    b.tries = 4000000000u; /* no overflow after years */
    assert_true(wh_backoff_next(&b) <= 16000);
    wh_backoff_reset(&b);
    assert_true(wh_backoff_next(&b) <= 1000);
}

static void test_retry_after(void **state)
{
    (void)state;
    int64_t now = 784111777LL * 1000000000; /* Sun, 06 Nov 1994 08:49:37 GMT */
    assert_int_equal(wh_retry_after_parse("7", now, 60000), 7000);
    assert_int_equal(wh_retry_after_parse("0", now, 60000), 0);
    assert_int_equal(wh_retry_after_parse("61", now, 60000), 60000);
    assert_int_equal(wh_retry_after_parse("99999999999999999999999", now, 60000), 60000);
    assert_int_equal(wh_retry_after_parse("Sun, 06 Nov 1994 08:49:47 GMT", now, 60000), 10000);
    assert_int_equal(wh_retry_after_parse("Sun, 06 Nov 1994 08:49:27 GMT", now, 60000), 0);
    assert_int_equal(wh_retry_after_parse("soon", now, 60000), -1);
    assert_int_equal(wh_retry_after_parse("7s", now, 60000), -1);
    assert_int_equal(wh_retry_after_parse("", now, 60000), -1);
    assert_int_equal(wh_retry_after_parse(NULL, now, 60000), -1);
}

/* Key and answer of RFC 6455 §1.3. */
#define RFC_KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define RFC_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static int check(const char *text, struct wh_error *err)
{
    return wh_ws_answer_check(text, strlen(text), RFC_KEY, err);
}

static void test_handshake_answers(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    const char *good = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n"
                       "sec-websocket-accept: " RFC_ACCEPT "\r\n\r\n";
    wh_autofree char *more = wh_printf("%s\x81", good);
    assert_int_equal(check(good, &err), strlen(good));
    assert_int_equal(check(more, &err), strlen(good)); /* what follows belongs to the frames */
    for (size_t i = 0; i < strlen(good); i++)
        assert_int_equal(wh_ws_answer_check(good, i, RFC_KEY, &err), 0);
    assert_true(check("HTTP/1.1 101 X\r\nSec-WebSocket-Accept: abc\r\n\r\n", &err) < 0);
    assert_int_equal(err.code, WH_E_PROTOCOL);
    assert_true(check("HTTP/1.1 101 X\r\n\r\n", &err) < 0);
    assert_true(check("HTTP/1.1 401 Unauthorized\r\n\r\n", &err) < 0);
    assert_int_equal(err.code, WH_E_DENIED);
    assert_true(check("SSH-2.0-OpenSSH\r\n\r\n", &err) < 0);
    wh_autostr long_head = {0};
    while (long_head.len <= WH_MAX_WS_ANSWER)
        wh_str_add(&long_head, "X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n");
    assert_true(wh_ws_answer_check(long_head.data, long_head.len, RFC_KEY, &err) < 0);
    assert_int_equal(err.code, WH_E_LIMIT);
}

static void test_handshake_request(void **state)
{
    (void)state;
    wh_autostr out = {0};
    wh_autosecret *token = wh_secret_new("abc", 3);
    wh_ws_request_write(&out, "https://u@h.example:8/p/a?q=1#f", RFC_KEY, "wherry/1", token);
    assert_non_null(strstr(out.data, "GET /p/a?q=1 HTTP/1.1\r\nHost: h.example:8\r\n"));
    assert_non_null(strstr(out.data, "\r\nAuthorization: Bearer abc\r\n"));
    wh_str_clear(&out);
    wh_ws_request_write(&out, "http://h", RFC_KEY, "wherry/1", NULL);
    assert_non_null(strstr(out.data, "GET / HTTP/1.1\r\nHost: h\r\n"));
    assert_null(strstr(out.data, "Authorization"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proxies), cmocka_unit_test(test_backoff_grows_to_its_end),
        cmocka_unit_test(test_retry_after), cmocka_unit_test(test_handshake_answers),
        cmocka_unit_test(test_handshake_request)};
    wh_secrets_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
