/* The registry client against a registry that misbehaves on request (tests/e2e/support/registry_faults.py).
 */
#include "helpers.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "wherry/base/clock.h"
#include "wherry/oci/registry.h"

static FILE *server_out;
static int server_in = -1;
static pid_t server_pid;
static unsigned port, other_port;
static struct wh_http_client *http_client;
static struct wh_str notices;

static int start_server(void **state)
{
    int in[2], out[2];
    wh_secrets_init();
    if (make_temp(state) < 0 || pipe(in) < 0 || pipe(out) < 0)
        return -1;
    server_pid = fork();
    if (server_pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        execl("/usr/bin/python3", "python3", WH_TEST_DATA "/../../e2e/support/registry_faults.py", NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    server_in = in[1];
    server_out = fdopen(out[0], "r");
    unsetenv("http_proxy");
    unsetenv("HTTP_PROXY");
    if (fscanf(server_out, "%u %u", &port, &other_port) != 2)
        return -1;
    http_client = wh_http_client_new_private(NULL, NULL);
    return http_client ? 0 : -1;
}

static int stop_server(void **state)
{
    wh_http_client_free(http_client);
    close(server_in);
    fclose(server_out);
    waitpid(server_pid, NULL, 0);
    wh_str_free(&notices);
    return drop_temp(state);
}

static void control(const char *json)
{
    wh_autofree char *url = wh_printf("http://127.0.0.1:%u/_control", port);
    wh_autohttp *http = wh_http_new(http_client, "POST", url);
    wh_http_body(http, json, strlen(json));
    assert_int_equal(wh_http_do(http, NULL), 0);
    assert_int_equal(wh_http_status(http), 200);
}

static cJSON *server_log(void)
{
    wh_autofree char *url = wh_printf("http://127.0.0.1:%u/_log", port);
    wh_autohttp *http = wh_http_new(http_client, "GET", url);
    assert_int_equal(wh_http_do(http, NULL), 0);
    return wh_http_response_json(http, NULL);
}

/* How many requests of a method had this in their path. */
static int requests(const char *method, const char *path)
{
    wh_autojson *log = server_log();
    int n = 0;
    for (const cJSON *entry = log->child; entry; entry = entry->next)
        n += wh_streq(wh_json_string(entry, "method"), method) && strstr(wh_json_string(entry, "path"), path);
    return n;
}

static void keep_notice(void *data, const char *line)
{
    (void)data;
    wh_str_addf(&notices, "%s\n", line);
}

static int give(void *data, const char *host, struct wh_credential *out, struct wh_error *err)
{
    const char *password = data;
    (void)host;
    (void)err;
    *out = (struct wh_credential){0};
    if (!password)
        return 0;
    if (wh_streq(password, "refresh")) {
        out->identity = wh_secret_new(password, strlen(password));
        return 0;
    }
    out->user = wh_strdup("u");
    out->password = wh_secret_new(password, strlen(password));
    return 0;
}

static struct wh_registry *client(const char *password)
{
    struct wh_registry_options o = {.credential = give,
                                    .credential_data = (void *)(uintptr_t)password,
                                    .notice = keep_notice,
                                    .retry_base_ms = 20};
    wh_str_clear(&notices);
    return wh_registry_new(http_client, &o, NULL);
}

static void free_client(struct wh_registry **r)
{
    wh_registry_free(*r);
}
#define autoclient __attribute__((cleanup(free_client))) struct wh_registry

static void name(struct wh_ref *ref, const char *path)
{
    wh_autofree char *text = wh_printf("127.0.0.1:%u/%s", port, path);
    assert_int_equal(wh_ref_parse(text, ref, NULL), 0);
}

static struct wh_descriptor describe(const void *data, size_t len, const char *type)
{
    struct wh_descriptor d = {0};
    struct wh_digest digest;
    wh_digest_of(data, len, &digest);
    wh_descriptor_set(&d, type, &digest, (int64_t)len);
    return d;
}

#define CONFIG                                                                                               \
    "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}"

/* Pushes bytes as a blob, reads them back. */
static void push_and_pull(struct wh_registry *r, const char *repository, const char *data, size_t len)
{
    wh_autoref ref = {0};
    wh_autoerror err = {0};
    wh_autostr back = {0};
    struct wh_blob_source source = {.fd = -1, .bytes = data};
    struct wh_descriptor d = describe(data, len, "application/octet-stream");
    enum wh_push_how how;
    name(&ref, repository);
    if (wh_registry_blob_put(r, &ref, &d, &source, NULL, &how, &err) < 0 ||
        wh_registry_blob_get(r, &ref, &d, to_buffer, &back, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    assert_int_equal(how, WH_PUSH_UPLOADED);
    assert_int_equal(back.len, len);
    assert_memory_equal(back.data, data, len);
    wh_descriptor_clear(&d);
}

static char *noise(size_t len)
{
    char *data = wh_malloc(len);
    uint64_t x = wh_mono_ns() | 1;
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        data[i] = (char)x;
    }
    return data;
}

static void test_round_trip(void **state)
{
    (void)state;
    autoclient *r = client(NULL);
    wh_autofree char *data = noise(9 << 20);
    control("{\"reset\": true}");
    push_and_pull(r, "a/b", data, 9 << 20);
    push_and_pull(r, "a/small", "x", 1);
    uint64_t received, sent;
    wh_registry_traffic(r, &received, &sent);
    assert_int_equal(received, (9 << 20) + 1);
    assert_int_equal(sent, (9 << 20) + 1);
}

static void test_manifest(void **state)
{
    (void)state;
    autoclient *r = client(NULL);
    wh_autoref ref = {0}, pinned = {0};
    wh_autostr body = {0}, again = {0};
    wh_automanifest m = {.media_type = wh_strdup(WH_MEDIA_DOCKER_MANIFEST)};
    struct wh_descriptor config = describe(CONFIG, strlen(CONFIG), WH_MEDIA_DOCKER_CONFIG), d, got = {0},
                         head = {0};
    wh_descriptor_copy(&m.config, &config);
    wh_autofree char *text = wh_manifest_print(&m);
    d = describe(text, strlen(text), m.media_type);
    control("{\"reset\": true}");
    name(&ref, "a/image:tag");
    assert_int_equal(wh_registry_manifest_put(r, &ref, &d, text, NULL), 0);
    assert_int_equal(wh_registry_manifest_get(r, &ref, NULL, &got, &body, NULL), 0);
    assert_string_equal(body.data, text);
    assert_string_equal(got.media_type, WH_MEDIA_DOCKER_MANIFEST);
    assert_true(wh_digest_eq(&got.digest, &d.digest));
    assert_int_equal(wh_registry_manifest_head(r, &ref, &head, NULL), 0);
    assert_true(wh_digest_eq(&head.digest, &d.digest));
    assert_int_equal(head.size, d.size);
    assert_int_equal(requests("GET", "/manifests/"), 1);
    /* A registry that knows no HEAD. */
    control("{\"faults\": [{\"method\": \"HEAD\", \"status\": 405}]}");
    assert_int_equal(wh_registry_manifest_head(r, &ref, &head, NULL), 0);
    assert_int_equal(requests("GET", "/manifests/"), 2);
    /* Bytes that are not those of the digest. */
    wh_ref_copy(&pinned, &ref);
    pinned.has_digest = true;
    pinned.digest = d.digest;
    control("{\"faults\": [{\"method\": \"GET\", \"path\": \"manifests\", \"flip\": true, \"count\": 2}]}");
    wh_autoerror err = {0}, err2 = {0};
    assert_int_equal(wh_registry_manifest_get(r, &pinned, NULL, &got, &again, &err), -1);
    assert_int_equal(err.code, WH_E_DIGEST);
    assert_non_null(strstr(wh_error_text(&err), "a/image"));
    assert_int_equal(wh_registry_manifest_get(r, &ref, NULL, &got, &again, &err2), -1);
    assert_int_equal(err2.code, WH_E_DIGEST);
    wh_descriptor_clear(&config);
    wh_descriptor_clear(&d);
    wh_descriptor_clear(&got);
    wh_descriptor_clear(&head);
}

/* What a refusal says to the user, by status. */
static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *fault;
        enum wh_error_code code;
        const char *says[3];
    } cases[] = {
        {"\"status\": 401, \"body\": \"{}\"", WH_E_DENIED, {"log in first", "a/image", "status 401"}},
        {"\"status\": 403, \"body\": \"{\\\"errors\\\":[{\\\"code\\\":\\\"DENIED\\\",\\\"message\\\":\\\"no "
         "rights\\\"}]}\"",
         WH_E_DENIED,
         {"DENIED: no rights", "lack the right", ""}},
        {"\"status\": 404", WH_E_NOT_FOUND, {"manifest nothing", "check the name and the tag", ""}},
        {"\"status\": 429, \"count\": 99", WH_E_HTTP, {"too many requests", "status 429", ""}},
        {"\"status\": 500, \"count\": 99", WH_E_HTTP, {"trouble of its own", "status 500", ""}},
        {"\"status\": 200, \"body\": \"<html>sign in\", \"headers\": {\"Content-Type\": \"text/html\"}",
         WH_E_PROTOCOL,
         {"web page", "proxy or a login page", ""}},
        {"\"status\": 502, \"count\": 99, \"body\": \"<html>bad gateway\"",
         WH_E_PROTOCOL,
         {"web page (status 502)", "", ""}},
        {"\"status\": 200, \"body\": \"not json\", \"headers\": {\"Content-Type\": \"application/json\"}",
         WH_E_PARSE,
         {"manifest", "a/image", ""}},
        {"\"drop\": true, \"count\": 99", WH_E_NETWORK, {"registry 127.0.0.1", "", ""}},
    };
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        autoclient *r = client(NULL);
        wh_autoref ref = {0};
        wh_autostr body = {0};
        wh_autoerror err = {0};
        struct wh_descriptor got = {0};
        wh_autofree char *json =
            wh_printf("{\"reset\": true, \"faults\": [{\"path\": \"/v2/\", %s}]}", cases[i].fault);
        control(json);
        name(&ref, "a/image:nothing");
        assert_int_equal(wh_registry_manifest_get(r, &ref, NULL, &got, &body, &err), -1);
        if (err.code != cases[i].code)
            fail_msg("case %zu: code %s: %s", i, wh_error_code_text(err.code), wh_error_text(&err));
        for (int s = 0; s < 3; s++)
            if (!strstr(wh_error_text(&err), cases[i].says[s]))
                fail_msg("case %zu: \"%s\" lacks \"%s\"", i, wh_error_text(&err), cases[i].says[s]);
    }
}

static void test_retries(void **state)
{
    (void)state;
    autoclient *r = client(NULL);
    wh_autoref ref = {0};
    struct wh_descriptor d = describe("abc", 3, "t");
    name(&ref, "a/retries");
    control("{\"reset\": true, \"faults\": [{\"path\": \"/v2/\", \"status\": 503}, {\"path\": \"/v2/\", "
            "\"drop\": true},"
            " {\"path\": \"/v2/\", \"status\": 429, \"headers\": {\"Retry-After\": \"1\"}}]}");
    uint64_t start = wh_mono_ms();
    assert_int_equal(wh_registry_blob_exists(r, &ref, &d.digest, NULL), 0);
    assert_true(wh_mono_ms() - start >= 1000);
    assert_int_equal(requests("HEAD", "/blobs/"), 4);
    assert_non_null(strstr(wh_str_text(&notices), "trying again in"));
    wh_descriptor_clear(&d);
}

/* ---- blobs that break on their way ---- */

static void test_broken_blobs(void **state)
{
    (void)state;
    const size_t len = 3 << 20;
    wh_autofree char *data = noise(len);
    wh_autoref ref = {0};
    struct wh_blob_source source = {.fd = -1, .bytes = data};
    struct wh_descriptor d = describe(data, len, "t"), shorter = describe(data, len, "t");
    static const struct {
        const char *fault;
        enum wh_error_code code; /* WH_OK: it must succeed */
        const char *says;
    } cases[] = {
        {"\"cut\": 1000000", WH_OK, ""},
        {"\"cut\": 700000, \"count\": 4", WH_OK, ""},
        {"\"cut\": 0, \"count\": 3", WH_OK, ""},
        {"\"cut\": 0, \"count\": 99", WH_E_NETWORK, "/blobs/sha256:"},
        {"\"flip\": true", WH_E_DIGEST, "have the digest"},
        {"\"status\": 200, \"body\": \"<html>\", \"headers\": {\"Content-Type\": \"text/html; "
         "charset=utf-8\"}",
         WH_E_PROTOCOL, "web page"},
        {"\"status\": 404", WH_E_NOT_FOUND, "status 404"},
        {"\"status\": 500, \"count\": 2", WH_OK, ""},
        {"\"status\": 200, \"body\": \"short\"", WH_E_DIGEST, "it sent 5 bytes, but the blob\'s size is"},
        {"\"redirect\": true", WH_OK, ""},
    };
    name(&ref, "a/broken");
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        autoclient *r = client("p");
        wh_autostr back = {0};
        wh_autoerror err = {0};
        control("{\"reset\": true, \"forget\": true, \"auth\": \"basic\"}");
        assert_int_equal(wh_registry_blob_put(r, &ref, &d, &source, NULL, NULL, NULL), 0);
        wh_autofree char *json =
            wh_printf("{\"faults\": [{\"method\": \"GET\", \"path\": \"/blobs/\", %s}]}", cases[i].fault);
        control(json);
        int got = wh_registry_blob_get(r, &ref, &d, to_buffer, &back, &err);
        if (cases[i].code == WH_OK) {
            if (got < 0)
                fail_msg("case %zu: %s", i, wh_error_text(&err));
            assert_int_equal(back.len, len);
            assert_memory_equal(back.data, data, len);
        } else if (got >= 0 || err.code != cases[i].code || !strstr(wh_error_text(&err), cases[i].says)) {
            fail_msg("case %zu: %d, %s: %s", i, got, wh_error_code_text(err.code), wh_error_text(&err));
        }
    }
    /* More bytes than the descriptor says. */
    autoclient *r = client("p");
    wh_autostr back = {0};
    wh_autoerror err = {0};
    shorter.size--;
    control("{\"faults\": []}");
    assert_int_equal(wh_registry_blob_get(r, &ref, &shorter, to_buffer, &back, &err), -1);
    assert_int_equal(err.code, WH_E_DIGEST);
    /* Broken connections were gone on with by Range, and credentials never went to the other host. */
    wh_descriptor_clear(&d);
    wh_descriptor_clear(&shorter);
}

static void test_resume_and_redirect_headers(void **state)
{
    (void)state;
    autoclient *r = client("p");
    wh_autofree char *data = noise(2 << 20);
    wh_autoref ref = {0};
    wh_autostr back = {0}, more = {0};
    struct wh_blob_source source = {.fd = -1, .bytes = data};
    struct wh_descriptor d = describe(data, 2 << 20, "t");
    name(&ref, "a/resume");
    control("{\"reset\": true, \"auth\": \"basic\"}");
    assert_int_equal(wh_registry_blob_put(r, &ref, &d, &source, NULL, NULL, NULL), 0);
    control("{\"log\": [], \"faults\": [{\"method\": \"GET\", \"path\": \"/blobs/\", \"cut\": 1000000}, "
            "{\"method\": \"GET\", \"path\": "
            "\"/blobs/\", \"redirect\": true}]}");
    assert_int_equal(wh_registry_blob_get(r, &ref, &d, to_buffer, &back, NULL), 0);
    wh_autojson *log = server_log();
    bool ranged = false, cdn = false;
    for (const cJSON *entry = log->child; entry; entry = entry->next) {
        ranged = ranged || wh_streq(wh_json_string(entry, "range"), "bytes=1000000-");
        if (!wh_json_bool(entry, "cdn", false))
            continue;
        cdn = true;
        assert_string_equal(wh_json_string(entry, "authorization"), "");
    }
    assert_true(ranged && cdn);
    /* A server that answers a range with the whole. */
    control("{\"faults\": [{\"method\": \"GET\", \"path\": \"/blobs/\", \"cut\": 1000000}, {\"method\": "
            "\"GET\", \"path\": \"/blobs/\", "
            "\"norange\": true}]}");
    assert_int_equal(wh_registry_blob_get(r, &ref, &d, to_buffer, &more, NULL), 0);
    assert_memory_equal(more.data, data, 2 << 20);
    wh_descriptor_clear(&d);
}

/* ---- uploads ---- */

static void test_uploads(void **state)
{
    (void)state;
    const size_t len = 40 << 20;
    wh_autofree char *data = noise(len);
    static const char *const faults[] = {
        "",
        "{\"method\": \"POST\", \"status\": 503}",
        "{\"method\": \"PUT\", \"status\": 500}",
        "{\"method\": \"PUT\", \"drop\": true}",
        "{\"method\": \"PUT\", \"drop\": true, \"count\": 4}",
        "{\"method\": \"PUT\", \"status\": 405}",
        "{\"method\": \"PUT\", \"status\": 405}, {\"method\": \"PATCH\", \"drop\": true}",
        "{\"method\": \"PUT\", \"status\": 405}, {\"method\": \"PATCH\", \"status\": 416}",
        "{\"method\": \"PUT\", \"status\": 413}, {\"method\": \"PATCH\", \"status\": 502}, {\"method\": "
        "\"PATCH\", \"drop\": true}",
    };
    for (size_t i = 0; i < WH_COUNT(faults); i++) {
        autoclient *r = client(NULL);
        wh_autofree char *json =
            wh_printf("{\"reset\": true, \"forget\": true, \"faults\": [%s]}", faults[i]);
        control(json);
        push_and_pull(r, "a/upload", data, len);
        assert_int_equal(requests("PATCH", "") > 0, i >= 4);
    }
}

static void test_mount(void **state)
{
    (void)state;
    autoclient *r = client(NULL);
    wh_autoref from = {0}, to = {0};
    struct wh_blob_source source = {.fd = -1, .bytes = "mounted"};
    struct wh_descriptor d = describe("mounted", 7, "t");
    enum wh_push_how how;
    control("{\"reset\": true, \"forget\": true}");
    name(&from, "a/from");
    name(&to, "b/to");
    assert_int_equal(wh_registry_blob_put(r, &from, &d, &source, "c/unknown", &how, NULL), 0);
    assert_int_equal(how, WH_PUSH_UPLOADED);
    assert_int_equal(wh_registry_blob_put(r, &to, &d, &source, "a/from", &how, NULL), 0);
    assert_int_equal(how, WH_PUSH_MOUNTED);
    assert_int_equal(wh_registry_blob_put(r, &to, &d, &source, "a/from", &how, NULL), 0);
    assert_int_equal(how, WH_PUSH_EXISTS);
    wh_descriptor_clear(&d);
}

/* An upload that follows a growing file; the registry may refuse it half-way. */
static void stream(const char *faults, bool falls_back)
{
    autoclient *r = client(NULL);
    const size_t len = 5 << 20;
    wh_autofree char *data = noise(len), *path = temp_path("growing");
    wh_autofree char *json = wh_printf("{\"reset\": true, \"forget\": true, \"faults\": [%s]}", faults);
    wh_autoref ref = {0};
    wh_autoerror err = {0};
    wh_autostr back = {0};
    struct wh_descriptor d = describe(data, len, "t");
    enum wh_push_how how;
    control(json);
    name(&ref, "a/stream");
    wh_autoclose int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct wh_blob_stream *s = wh_registry_stream_begin(r, &ref, fd, NULL);
    for (size_t done = 0; done < len; done += 1 << 20) {
        assert_int_equal(wh_write_all(fd, data + done, 1 << 20, NULL), 0);
        wh_registry_stream_grow(s, done + (1 << 20));
        usleep(3000);
    }
    if (wh_registry_stream_finish(s, &d, &how, &err) < 0 ||
        wh_registry_blob_get(r, &ref, &d, to_buffer, &back, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    assert_memory_equal(back.data, data, len);
    assert_int_equal(strstr(wh_str_text(&notices), "uploading the whole blob anew") != NULL, falls_back);
    wh_descriptor_clear(&d);
}

static void test_streams(void **state)
{
    (void)state;
    stream("", false);
    stream("{\"method\": \"PATCH\", \"status\": 411}", true);
    stream("{\"method\": \"PATCH\", \"drop\": true}", true);
    stream("{\"method\": \"POST\", \"status\": 503}", false);
    autoclient *r = client(NULL);
    wh_autoref ref = {0};
    wh_autofree char *path = temp_path("aborted");
    wh_autoclose int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    name(&ref, "a/aborted");
    wh_registry_stream_abort(wh_registry_stream_begin(r, &ref, fd, NULL));
}

/* ---- authentication ---- */

static void test_auth(void **state)
{
    (void)state;
    static const struct {
        const char *auth, *password;
        const char *says; /* NULL: it works */
    } cases[] = {
        {"basic", "p", NULL},
        {"bearer", "p", NULL},
        {"bearer", "refresh", NULL},
        {"basic", "wrong", "the credentials were refused"},
        {"bearer", "wrong", "refused the credentials of u"},
        {"basic", NULL, "log in first"},
        {"bearer", NULL, "token server refused"},
    };
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        autoclient *r = client(cases[i].password);
        wh_autofree char *json =
            wh_printf("{\"reset\": true, \"forget\": true, \"auth\": \"%s\"}", cases[i].auth);
        control(json);
        if (!cases[i].says) {
            push_and_pull(r, "a/auth", "content", 7);
            continue;
        }
        wh_autoref ref = {0};
        wh_autoerror err = {0};
        struct wh_blob_source source = {.fd = -1, .bytes = "content"};
        struct wh_descriptor d = describe("content", 7, "t");
        name(&ref, "a/auth");
        assert_int_equal(wh_registry_blob_put(r, &ref, &d, &source, NULL, NULL, &err), -1);
        if (err.code != WH_E_DENIED || !strstr(wh_error_text(&err), cases[i].says))
            fail_msg("case %zu: %s", i, wh_error_text(&err));
        wh_descriptor_clear(&d);
    }
}

/* A token serves all requests of its scope, and one that was revoked is replaced. */
static void test_tokens_are_kept(void **state)
{
    (void)state;
    autoclient *r = client("p");
    control("{\"reset\": true, \"forget\": true, \"auth\": \"bearer\"}");
    push_and_pull(r, "a/tokens", "1", 1);
    push_and_pull(r, "a/tokens", "2", 1);
    assert_int_equal(requests("GET", "/token?"), 2); /* pull,push and pull */
    control("{\"tokens\": {}}");
    push_and_pull(r, "a/tokens", "3", 1);
    assert_int_equal(requests("GET", "/token?"), 4);
}

static void test_check_login(void **state)
{
    (void)state;
    autoclient *r = client(NULL);
    wh_autofree char *host = wh_printf("127.0.0.1:%u", port);
    wh_autosecret *good = wh_secret_new("p", 1), *bad = wh_secret_new("x", 1);
    static const char *const kinds[] = {"basic", "bearer"};
    for (size_t i = 0; i < WH_COUNT(kinds); i++) {
        wh_autoerror err = {0};
        wh_autofree char *json = wh_printf("{\"reset\": true, \"auth\": \"%s\"}", kinds[i]);
        control(json);
        assert_int_equal(wh_registry_check_login(r, host, "u", good, NULL), 0);
        assert_int_equal(wh_registry_check_login(r, host, "u", bad, &err), -1);
        assert_int_equal(err.code, WH_E_DENIED);
    }
}

/* Many threads meet the first challenge at once. */
static void *many(void *data)
{
    struct wh_registry *r = data;
    wh_autoref ref = {0};
    struct wh_descriptor d = describe("x", 1, "t");
    name(&ref, "a/many");
    intptr_t result = wh_registry_blob_exists(r, &ref, &d.digest, NULL);
    wh_descriptor_clear(&d);
    return (void *)result;
}

static void test_threads(void **state)
{
    (void)state;
    static const char *const kinds[] = {"basic", "bearer"};
    for (size_t i = 0; i < WH_COUNT(kinds); i++) {
        autoclient *r = client("p");
        pthread_t threads[12];
        wh_autofree char *json = wh_printf("{\"reset\": true, \"forget\": true, \"auth\": \"%s\"}", kinds[i]);
        control(json);
        for (size_t t = 0; t < WH_COUNT(threads); t++)
            assert_int_equal(pthread_create(&threads[t], NULL, many, r), 0);
        for (size_t t = 0; t < WH_COUNT(threads); t++) {
            void *result;
            pthread_join(threads[t], &result);
            assert_int_equal((intptr_t)result, 0);
        }
    }
}

static void test_mirrors(void **state)
{
    (void)state;
    wh_autofree char *mirror = wh_printf("example.test=127.0.0.1:%u", port);
    char *mirrors[] = {mirror, NULL};
    struct wh_registry_options o = {.mirrors = mirrors, .retry_base_ms = 10};
    autoclient *r = wh_registry_new(http_client, &o, NULL);
    autoclient *direct = client(NULL);
    wh_autoref ref = {0}, at_mirror = {0};
    wh_autostr back = {0};
    struct wh_blob_source source = {.fd = -1, .bytes = "mirrored"};
    struct wh_descriptor d = describe("mirrored", 8, "t");
    control("{\"reset\": true}");
    name(&at_mirror, "o/r");
    assert_int_equal(wh_registry_blob_put(direct, &at_mirror, &d, &source, NULL, NULL, NULL), 0);
    assert_int_equal(wh_ref_parse("example.test/o/r", &ref, NULL), 0);
    assert_int_equal(wh_registry_blob_get(r, &ref, &d, to_buffer, &back, NULL), 0);
    assert_int_equal(requests("GET", "?ns=example.test"), 1);
    wh_descriptor_clear(&d);
}

static void test_cancel(void **state)
{
    (void)state;
    static bool cancel;
    struct wh_registry_options o = {.cancel = &cancel, .retry_base_ms = 60000};
    autoclient *r = wh_registry_new(http_client, &o, NULL);
    wh_autoref ref = {0};
    wh_autoerror err = {0};
    struct wh_digest digest = {{0}};
    control("{\"reset\": true}");
    name(&ref, "a/cancel");
    cancel = true;
    assert_int_equal(wh_registry_blob_exists(r, &ref, &digest, &err), -1);
    assert_int_equal(err.code, WH_E_CANCELED);
    cancel = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_refusals),        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_broken_blobs),    cmocka_unit_test(test_resume_and_redirect_headers),
        cmocka_unit_test(test_uploads),         cmocka_unit_test(test_mount),
        cmocka_unit_test(test_streams),         cmocka_unit_test(test_auth),
        cmocka_unit_test(test_tokens_are_kept), cmocka_unit_test(test_check_login),
        cmocka_unit_test(test_threads),         cmocka_unit_test(test_mirrors),
        cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
