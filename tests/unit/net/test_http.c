/* The HTTP client against a real server on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wherry/base/digest.h"
#include "wherry/net/http.h"

static struct wh_http_client *private_client;
static unsigned port, other_port;
static pid_t server;
static int server_input;

static char *url(const char *path)
{
    return wh_printf("http://127.0.0.1:%u%s", port, path);
}

static struct wh_http *request(const char *method, const char *path)
{
    wh_autofree char *full = url(path);
    return wh_http_new(private_client, method, full);
}

static void do_ok(struct wh_http *r, int status)
{
    wh_autoerror err = {0};
    if (wh_http_do(r, &err))
        fail_msg("%s", wh_error_text(&err));
    assert_int_equal(wh_http_status(r), status);
}

static void test_json_and_headers(void **state)
{
    (void)state;
    wh_autohttp *r = request("POST", "/echo?secret=1");
    wh_autojson *body = cJSON_Parse("{\"a\":1}");
    wh_autosecret *token = wh_secret_new("t0ken", 5);
    wh_http_body_json(r, body);
    wh_http_bearer(r, token);
    wh_http_header(r, "X-Empty", "");
    wh_http_header(r, "X-Evil", "a\r\nX-Injected: 1");
    do_ok(r, 200);
    wh_autojson *json = wh_http_response_json(r, NULL);
    assert_non_null(json);
    assert_string_equal(wh_json_string(json, "method"), "POST");
    const cJSON *headers = wh_json_get(json, "headers");
    assert_string_equal(wh_json_string(headers, "authorization"), "Bearer t0ken");
    assert_string_equal(wh_json_string(headers, "content-type"), "application/json; charset=utf-8");
    assert_string_equal(wh_json_string(headers, "x-empty"), "");
    assert_null(wh_json_get(headers, "x-evil"));
    assert_null(wh_json_get(headers, "x-injected"));
    assert_null(wh_json_get(headers, "expect"));
    assert_string_equal(wh_http_response_header(r, "x-TWICE"), "one");
    assert_string_equal(wh_http_response_header_at(r, "X-Twice", 1), "two");
    assert_null(wh_http_response_header_at(r, "X-Twice", 2));
    assert_null(strstr(wh_http_label(r), "secret"));
}

static void test_empty_post_and_head(void **state)
{
    (void)state;
    wh_autohttp *r = request("POST", "/echo");
    do_ok(r, 200);
    wh_autojson *json = wh_http_response_json(r, NULL);
    assert_string_equal(wh_json_string(wh_json_get(json, "headers"), "content-length"), "0");
    assert_null(wh_json_get(wh_json_get(json, "headers"), "content-type"));
    wh_autohttp *head = request("HEAD", "/big");
    do_ok(head, 200);
    assert_string_equal(wh_http_response_header(head, "content-length"), "8388608");
    wh_autohttp *del = request("DELETE", "/echo");
    do_ok(del, 200);
    wh_autojson *deleted = wh_http_response_json(del, NULL);
    assert_string_equal(wh_json_string(deleted, "method"), "DELETE");
}

static void test_errors_are_sentences(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autohttp *r = request("GET", "/missing?sig=SECRET");
    do_ok(r, 404);
    assert_true(wh_http_check(r, &err) < 0);
    wh_autofree char *wanted = wh_printf(
        "GET http://127.0.0.1:%u/missing answered 404 Not Found: no such thing (request id AB:12)", port);
    assert_string_equal(wh_error_text(&err), wanted);
    assert_int_equal(err.code, WH_E_NOT_FOUND);
    wh_autohttp *html = request("GET", "/html");
    do_ok(html, 503);
    assert_int_equal(wh_http_retry_after(html, 60000), 7000);
    assert_true(wh_http_check(html, &err) < 0);
    assert_null(strstr(wh_error_text(&err), "<html>"));
    assert_null(wh_http_response_json(html, &err));
    assert_int_equal(err.code, WH_E_PROTOCOL);
}

static void expect_failure(const char *method, const char *path, enum wh_error_code code, const char *part)
{
    wh_autoerror err = {0};
    wh_autohttp *r = request(method, path);
    wh_http_timeouts(r, 700, 500, 0);
    assert_true(wh_http_do(r, &err) < 0);
    assert_int_equal(err.code, code);
    if (!strstr(wh_error_text(&err), part))
        fail_msg("\"%s\" lacks \"%s\"", wh_error_text(&err), part);
}

static void test_failures(void **state)
{
    (void)state;
    expect_failure("GET", "/hang", WH_E_TIMEOUT, "timed out");
    expect_failure("GET", "/cut", WH_E_NETWORK, "cut off");
    expect_failure("GET", "/close", WH_E_NETWORK, "without an answer");
    wh_autoerror err = {0};
    wh_autohttp *refused = wh_http_new(private_client, "GET", "http://127.0.0.1:1/x");
    assert_true(wh_http_do(refused, &err) < 0);
    assert_non_null(strstr(wh_error_text(&err), "cannot connect: Connection refused"));
    wh_autohttp *scheme = wh_http_new(private_client, "GET", "file:///etc/passwd");
    assert_true(wh_http_do(scheme, &err) < 0);
    assert_int_equal(err.code, WH_E_ARGUMENT);
    wh_autohttp *name = wh_http_new(private_client, "GET", "http://no-such-host.invalid/x");
    assert_true(wh_http_do(name, &err) < 0);
    assert_non_null(strstr(wh_error_text(&err), "host name not found"));
}

static void test_body_limit(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autohttp *at = request("GET", "/big");
    wh_http_max_body(at, 8388608);
    do_ok(at, 200);
    wh_autohttp *past = request("GET", "/big");
    wh_http_max_body(past, 8388607);
    assert_true(wh_http_do(past, &err) < 0);
    assert_int_equal(err.code, WH_E_LIMIT);
}

static void test_stall(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autohttp *r = request("GET", "/slow");
    wh_http_timeouts(r, 0, 0, 1000);
    assert_true(wh_http_do(r, &err) < 0);
    assert_int_equal(err.code, WH_E_TIMEOUT);
    assert_non_null(strstr(wh_error_text(&err), "no byte moved"));
}

static void test_body_fd(void **state)
{
    (void)state;
    char name[] = "/tmp/wherry-test-XXXXXX";
    wh_autoclose int fd = mkstemp(name);
    unlink(name);
    size_t size = 5 << 20;
    wh_autofree char *data = wh_malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * 31 >> 3);
    assert_int_equal(write(fd, data, size), size);
    wh_autohttp *r = request("PUT", "/echo");
    wh_http_body_fd(r, fd, 1000, size - 2000);
    do_ok(r, 200);
    struct wh_digest digest;
    char text[WH_DIGEST_TEXT];
    wh_digest_of(data + 1000, size - 2000, &digest);
    wh_autojson *json = wh_http_response_json(r, NULL);
    assert_string_equal(wh_json_string(json, "sha256"), wh_digest_text(&digest, text) + strlen("sha256:"));
    assert_int_equal(wh_http_sent_bytes(r), size - 2000);
    /* A file that is shorter than promised. */
    wh_autoerror err = {0};
    wh_autohttp *shortened = request("PUT", "/echo");
    wh_http_body_fd(shortened, fd, 0, size + 1);
    assert_true(wh_http_do(shortened, &err) < 0);
    assert_non_null(strstr(wh_error_text(&err), "ends too early"));
}

struct producer {
    pthread_mutex_t lock;
    struct wh_http *r;
    struct wh_str ready;
    bool ended;
    unsigned pauses;
};

static ssize_t pull(void *data, char *buf, size_t cap)
{
    struct producer *p = data;
    pthread_mutex_lock(&p->lock);
    size_t n = WH_MIN(cap, p->ready.len);
    if (n)
        memcpy(buf, p->ready.data, n);
    wh_str_consume(&p->ready, n);
    ssize_t result = n ? (ssize_t)n : p->ended ? 0 : WH_HTTP_PAUSE;
    p->pauses += result == WH_HTTP_PAUSE;
    pthread_mutex_unlock(&p->lock);
    return result;
}

static void *produce(void *data)
{
    struct producer *p = data;
    for (int i = 0; i < 20; i++) {
        usleep(5000);
        pthread_mutex_lock(&p->lock);
        for (int k = 0; k < 1000; k++)
            wh_str_addf(&p->ready, "%d.%d;", i, k);
        p->ended = i == 19;
        pthread_mutex_unlock(&p->lock);
        wh_http_resume(p->r);
    }
    return NULL;
}

static void test_pull_with_pauses(void **state)
{
    (void)state;
    wh_autohttp *r = request("PUT", "/echo");
    struct producer p = {.r = r};
    pthread_t thread;
    pthread_mutex_init(&p.lock, NULL);
    wh_http_body_pull(r, pull, &p, WH_HTTP_UNKNOWN_LENGTH);
    pthread_create(&thread, NULL, produce, &p);
    do_ok(r, 200);
    pthread_join(thread, NULL);
    wh_autostr all = {0};
    for (int i = 0; i < 20; i++)
        for (int k = 0; k < 1000; k++)
            wh_str_addf(&all, "%d.%d;", i, k);
    struct wh_digest digest;
    char text[WH_DIGEST_TEXT];
    wh_digest_of(all.data, all.len, &digest);
    wh_autojson *json = wh_http_response_json(r, NULL);
    assert_string_equal(wh_json_string(json, "sha256"), wh_digest_text(&digest, text) + strlen("sha256:"));
    assert_true(p.pauses > 3);
    wh_str_free(&p.ready);
}

struct consumer {
    struct wh_http *r;
    size_t got;
    unsigned calls;
    int status;
};

static void *resume_later(void *data)
{
    usleep(20000);
    wh_http_resume(data);
    return NULL;
}

static ssize_t take(void *data, const char *bytes, size_t len)
{
    struct consumer *c = data;
    c->status = wh_http_status(c->r);
    if (c->calls++ == 2) {
        pthread_t thread;
        pthread_create(&thread, NULL, resume_later, c->r);
        pthread_detach(thread);
        return WH_HTTP_PAUSE;
    }
    for (size_t i = 0; i < len; i++)
        assert_int_equal((unsigned char)bytes[i], (c->got + i) % 256);
    c->got += len;
    return 0;
}

static ssize_t refuse(void *data, const char *bytes, size_t len)
{
    (void)data;
    (void)bytes;
    (void)len;
    return WH_HTTP_ABORT;
}

static void test_sink(void **state)
{
    (void)state;
    wh_autohttp *r = request("GET", "/big");
    struct consumer c = {.r = r};
    wh_http_sink(r, take, &c);
    do_ok(r, 200);
    assert_int_equal(c.got, 8388608);
    assert_int_equal(c.status, 200);
    wh_autoerror err = {0};
    wh_autohttp *aborted = request("GET", "/big");
    wh_http_sink(aborted, refuse, NULL);
    assert_true(wh_http_do(aborted, &err) < 0);
    assert_int_equal(err.code, WH_E_CANCELED);
    wh_autohttp *missing = request("GET", "/missing");
    wh_http_sink(missing, refuse, NULL);
    do_ok(missing, 404);
    assert_true(wh_http_response_body(missing).len > 0);
}

static void test_redirects(void **state)
{
    (void)state;
    wh_autosecret *token = wh_secret_new("t0ken", 5);
    wh_autohttp *none = request("GET", "/same");
    do_ok(none, 302);
    wh_autohttp *same = request("GET", "/same");
    wh_http_redirects(same, WH_HTTP_REDIRECT_FOLLOW);
    wh_http_bearer(same, token);
    do_ok(same, 200);
    wh_autojson *kept = wh_http_response_json(same, NULL);
    assert_string_equal(wh_json_string(wh_json_get(kept, "headers"), "authorization"), "Bearer t0ken");
    wh_autohttp *other = request("PUT", "/redirect");
    wh_http_body(other, "hello", 5);
    wh_http_redirects(other, WH_HTTP_REDIRECT_FOLLOW);
    wh_http_bearer(other, token);
    do_ok(other, 200);
    wh_autojson *dropped = wh_http_response_json(other, NULL);
    assert_null(wh_json_get(wh_json_get(dropped, "headers"), "authorization"));
    assert_string_equal(wh_json_string(dropped, "method"), "PUT");
    assert_int_equal(wh_json_int(dropped, "length", 0), 5);
    wh_autofree char *there = wh_printf("http://127.0.0.1:%u/echo", other_port);
    assert_string_equal(wh_http_effective_url(other), there);
}

static void *cancel_later(void *data)
{
    usleep(50000);
    wh_http_cancel(data);
    return NULL;
}

static void test_cancel(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autohttp *r = request("GET", "/hang");
    pthread_t thread;
    pthread_create(&thread, NULL, cancel_later, r);
    assert_true(wh_http_do(r, &err) < 0);
    pthread_join(thread, NULL);
    assert_int_equal(err.code, WH_E_CANCELED);
}

static void *many(void *data)
{
    (void)data;
    for (int i = 0; i < 25; i++) {
        wh_autohttp *r = request("POST", "/echo");
        wh_http_body(r, "x", 1);
        if (wh_http_do(r, NULL) || wh_http_status(r) != 200)
            return (void *)1;
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[8];
    for (size_t i = 0; i < WH_COUNT(threads); i++)
        pthread_create(&threads[i], NULL, many, NULL);
    for (size_t i = 0; i < WH_COUNT(threads); i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
}

/* ---- asynchronous, on a loop of the test ---- */

struct async {
    struct wh_http_client *client;
    struct wh_http *second;
    int done;
    int status[3];
    enum wh_error_code code;
};

static void on_third(struct wh_http *r, struct wh_error *err, void *data)
{
    struct async *a = data;
    a->code = err ? err->code : WH_OK;
    a->done++;
    wh_http_free(r);
}

static void on_second(struct wh_http *r, struct wh_error *err, void *data)
{
    struct async *a = data;
    assert_null(err);
    a->status[a->done++] = wh_http_status(r);
    wh_http_free(r);
    wh_autofree char *full = url("/hang");
    wh_http_start(wh_http_new(a->client, "GET", full), on_third, a);
    wh_http_client_free(a->client); /* ends it */
}

static void on_first(struct wh_http *r, struct wh_error *err, void *data)
{
    struct async *a = data;
    assert_null(err);
    a->status[a->done++] = wh_http_status(r);
    wh_http_free(r);
    wh_autofree char *full = url("/missing");
    wh_http_start(wh_http_new(a->client, "GET", full), on_second, a);
    struct wh_http *dropped = wh_http_new(a->client, "GET", full);
    wh_http_start(dropped, on_second, a);
    wh_http_free(dropped); /* no callback */
}

static void test_async(void **state)
{
    (void)state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct async a = {.client = wh_http_client_new(&loop, NULL)};
    wh_autofree char *full = url("/echo");
    wh_http_start(wh_http_new(a.client, "GET", full), on_first, &a);
    assert_int_equal(a.done, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(a.done, 3);
    assert_int_equal(a.status[0], 200);
    assert_int_equal(a.status[1], 404);
    assert_int_equal(a.code, WH_E_CANCELED);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static int start_server(void **state)
{
    (void)state;
    int in[2], out[2];
    if (pipe(in) || pipe(out))
        return -1;
    server = fork();
    if (server == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        execl("/usr/bin/python3", "python3", WH_TEST_DATA "/http_server.py", (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    server_input = in[1];
    char line[64] = "";
    if (read(out[0], line, sizeof line - 1) <= 0 || sscanf(line, "%u %u", &port, &other_port) != 2)
        return -1;
    close(out[0]);
    private_client = wh_http_client_new_private(NULL, NULL);
    return private_client ? 0 : -1;
}

static int stop_server(void **state)
{
    (void)state;
    wh_http_client_free(private_client);
    close(server_input);
    waitpid(server, NULL, 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_json_and_headers),
                                       cmocka_unit_test(test_empty_post_and_head),
                                       cmocka_unit_test(test_errors_are_sentences),
                                       cmocka_unit_test(test_failures),
                                       cmocka_unit_test(test_body_limit),
                                       cmocka_unit_test(test_stall),
                                       cmocka_unit_test(test_body_fd),
                                       cmocka_unit_test(test_pull_with_pauses),
                                       cmocka_unit_test(test_sink),
                                       cmocka_unit_test(test_redirects),
                                       cmocka_unit_test(test_cancel),
                                       cmocka_unit_test(test_threads),
                                       cmocka_unit_test(test_async)};
    unsetenv("http_proxy");
    wh_secrets_init();
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
