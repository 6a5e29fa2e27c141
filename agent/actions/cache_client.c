#include "actions/cache_client.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "wherry/actions/action.h"
#include "wherry/base/clock.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"

#define ATTEMPTS 5
#define FIRST_WAIT_MS 3000
#define MAX_ANSWER ((size_t)16 << 20)
#define STALL_MS 60000u
#define MAX_TOKEN ((size_t)64 << 10)

struct cache_client {
    struct wh_http_client *http;
    char *origin; /* of ACTIONS_RESULTS_URL: its path doesn't count */
    struct wh_secret *token;
};

static char *origin_of(const char *url)
{
    const char *host = strstr(url, "://");
    size_t len = host ? (size_t)(host + 3 - url) + strcspn(host + 3, "/?#") : 0;
    return len ? wh_strndup(url, len) : NULL;
}

struct cache_client *cache_client_new(struct wh_error *err)
{
    const char *token = wh_action_env("ACTIONS_RUNTIME_TOKEN");
    wh_autofree char *origin = origin_of(wh_action_env("ACTIONS_RESULTS_URL"));
    if (!token[0]) {
        wh_fail(err, WH_E_FAILED, "Unable to get the ACTIONS_RUNTIME_TOKEN env variable");
        return NULL;
    }
    if (!origin) {
        wh_fail(err, WH_E_FAILED, "Unable to get the ACTIONS_RESULTS_URL env variable");
        return NULL;
    }
    struct wh_http_client *http = wh_http_client_new_private(NULL, err);
    if (!http)
        return NULL;
    struct cache_client *c = wh_calloc(1, sizeof(*c));
    *c = (struct cache_client){http, wh_steal(&origin), wh_secret_new(token, strlen(token))};
    return c;
}

void cache_client_free(struct cache_client *c)
{
    if (!c)
        return;
    wh_http_client_free(c->http);
    wh_secret_free(c->token);
    free(c->origin);
    free(c);
}

void cache_client_free_ptr(struct cache_client **c)
{
    cache_client_free(*c);
    *c = NULL;
}

/* ---- calls ---- */

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } known[] = {{400, "Bad Request"},       {401, "Unauthorized"},
                 {403, "Forbidden"},         {404, "Not Found"},
                 {409, "Conflict"},          {413, "Payload Too Large"},
                 {429, "Too Many Requests"}, {500, "Internal Server Error"},
                 {502, "Bad Gateway"},       {503, "Service Unavailable"},
                 {504, "Gateway Timeout"}};
    for (size_t i = 0; i < WH_COUNT(known); i++)
        if (known[i].status == status)
            return known[i].text;
    return "";
}

/* 1: worth another try. */
static int judge(const struct wh_http *r, cJSON **answer, struct wh_error *err)
{
    int status = wh_http_status(r);
    struct wh_view body = wh_http_response_body(r);
    wh_autojson *json = wh_json_parse(body.data, body.len, MAX_ANSWER, "the answer", NULL);
    if (status >= 200 && status < 300 && cJSON_IsObject(json)) {
        *answer = wh_steal(&json);
        return 0;
    }
    const char *msg = wh_json_string(json, "msg");
    bool again = status >= 500 || (status >= 200 && status < 300) || !json;
    wh_fail(err, WH_E_HTTP, "%sFailed request: (%d) %s%s%s",
            again ? "" : "Received non-retryable error: ", status, reason(status), msg ? ": " : "",
            msg ? msg : "");
    return again ? 1 : -1;
}

static int call_once(struct cache_client *c, const char *url, const cJSON *request, cJSON **answer,
                     int *status, struct wh_error *err)
{
    wh_autohttp *r = wh_http_new(c->http, "POST", url);
    wh_http_bearer(r, c->token);
    wh_http_body_json(r, request);
    wh_http_max_body(r, MAX_ANSWER);
    if (wh_http_do(r, err) < 0)
        return -1;
    *status = wh_http_status(r);
    return judge(r, answer, err);
}

cJSON *cache_call(struct cache_client *c, const char *service, const char *method, cJSON *request,
                  int *status, struct wh_error *err)
{
    wh_autojson *owned = request;
    wh_autofree char *url =
        wh_printf("%s/twirp/github.actions.results.api.v1.%s/%s", c->origin, service, method);
    int last = 0;
    uint64_t wait = FIRST_WAIT_MS;
    for (int attempt = 1;; attempt++) {
        wh_autoerror why = {0};
        cJSON *answer = NULL;
        int rc = call_once(c, url, owned, &answer, &last, &why);
        if (status)
            *status = last;
        if (rc == 0)
            return answer;
        if (rc < 0 || attempt == ATTEMPTS || wh_action_canceled()) {
            if (rc > 0)
                (void)wh_wrap(&why, "Failed to make request after %d attempts", attempt);
            (void)wh_wrap(&why, "Failed to %s", method);
            wh_error_move(err, &why);
            return NULL;
        }
        wh_action_print("Attempt %d of %d failed with error: %s. Retrying request in %llu ms...", attempt,
                        ATTEMPTS, wh_error_text(&why), (unsigned long long)wait);
        wh_sleep_ms(wait);
        wait = wh_jitter(wait * 3 / 2, wait * 9 / 4);
    }
}

/* ---- blobs ---- */

static int put(struct cache_client *c, const char *url, int fd, uint64_t from, uint64_t len, const char *body,
               const char *type, struct wh_error *err)
{
    wh_autohttp *r = wh_http_new(c->http, "PUT", url);
    wh_http_header(r, "x-ms-version", "2024-11-04");
    if (!strstr(url, "comp=block"))
        wh_http_header(r, "x-ms-blob-type", "BlockBlob");
    if (type)
        wh_http_header(r, "x-ms-blob-content-type", type);
    if (body)
        wh_http_body(r, body, len);
    else
        wh_http_body_fd(r, fd, (off_t)from, len);
    wh_http_timeouts(r, 0, 0, STALL_MS);
    return wh_http_do(r, err) < 0 ? -1 : wh_http_check(r, err);
}

static int put_blocks(struct cache_client *c, const char *url, int fd, uint64_t size, const char *type,
                      struct wh_error *err)
{
    const char *join = strchr(url, '?') ? "&" : "?";
    wh_autostr list = {0};
    wh_str_add(&list, "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    for (uint64_t at = 0, n = 0; at < size; at += WH_CACHE_BLOCK_BYTES, n++) {
        char name[49];
        (void)snprintf(name, sizeof(name), "%048llu", (unsigned long long)n);
        wh_autofree char *id = wh_base64(name, 48); /* 64 characters, none of them special */
        wh_autofree char *block = wh_printf("%s%scomp=block&blockid=%s", url, join, id);
        if (put(c, block, fd, at, WH_MIN(WH_CACHE_BLOCK_BYTES, size - at), NULL, NULL, err) < 0)
            return -1;
        wh_str_addf(&list, "<Latest>%s</Latest>", id);
    }
    wh_str_add(&list, "</BlockList>");
    wh_autofree char *commit = wh_printf("%s%scomp=blocklist", url, join);
    return put(c, commit, -1, 0, list.len, list.data, type, err);
}

int cache_upload(struct cache_client *c, const char *url, int fd, uint64_t size, const char *type,
                 struct wh_error *err)
{
    if (size <= WH_CACHE_WHOLE_BYTES)
        return put(c, url, fd, 0, size, NULL, type, err);
    return put_blocks(c, url, fd, size, type, err);
}

struct sink {
    int fd;
    uint64_t at;
    struct wh_error err;
};

static ssize_t take(void *data, const char *bytes, size_t len)
{
    struct sink *s = data;
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(s->fd, bytes + done, len - done, (off_t)(s->at + done));
        if (n < 0) {
            wh_fail_errno(&s->err, "write what is downloaded");
            return WH_HTTP_ABORT;
        }
        done += (size_t)n;
    }
    s->at += len;
    return 0;
}

int cache_download(struct cache_client *c, const char *url, int fd, uint64_t *size, char **type,
                   char **disposition, struct wh_error *err)
{
    struct sink s = {.fd = fd};
    wh_autohttp *r = wh_http_new(c->http, "GET", url);
    wh_http_sink(r, take, &s);
    wh_http_timeouts(r, 0, 0, STALL_MS);
    int rc = wh_http_do(r, err);
    if (rc < 0 && s.err.code != WH_OK)
        return wh_error_move(err, &s.err);
    if (rc < 0 || wh_http_check(r, err) < 0)
        return -1;
    if (size)
        *size = s.at;
    if (type)
        *type = wh_strdup(wh_http_response_header(r, "Content-Type"));
    if (disposition)
        *disposition = wh_strdup(wh_http_response_header(r, "Content-Disposition"));
    return 0;
}

/* ---- small things ---- */

int cache_backend_ids(char **run, char **job, struct wh_error *err)
{
    const char *token = wh_action_env("ACTIONS_RUNTIME_TOKEN");
    const char *dot = strchr(token, '.');
    const char *end = dot ? strchr(dot + 1, '.') : NULL;
    wh_autostr text = {0};
    if (!end || !wh_unbase64(dot + 1, (size_t)(end - dot - 1), &text))
        return wh_fail(err, WH_E_PARSE, "Failed to get backend IDs: the runtime token is no JWT");
    wh_autojson *claims = wh_json_parse(wh_str_text(&text), text.len, MAX_TOKEN, "the runtime token", NULL);
    const char *scp = wh_json_string(claims, "scp");
    wh_autostrv char **words = scp ? wh_strv_split(scp, ' ') : NULL;
    for (size_t i = 0; words && words[i]; i++) {
        wh_autostrv char **parts = wh_strv_split(words[i], ':');
        if (wh_strv_len(parts) == 3 && wh_streq(parts[0], "Actions.Results")) {
            *run = wh_strdup(parts[1]);
            *job = wh_strdup(parts[2]);
            return 0;
        }
    }
    return wh_fail(err, WH_E_PARSE, "Failed to get backend IDs: the token's scp does not name them");
}

bool cache_is_ghes(void)
{
    const char *url = wh_action_env("GITHUB_SERVER_URL");
    const char *host = strstr(url, "://");
    if (!host)
        return false;
    host += 3;
    wh_autofree char *name = wh_strndup(host, strcspn(host, ":/?#"));
    wh_ascii_lower(name);
    return !wh_streq(name, "github.com") && !wh_ends_with(name, ".ghe.com") &&
           !wh_ends_with(name, ".localhost");
}

int cache_temporary(struct wh_error *err)
{
    const char *folder = wh_action_env("RUNNER_TEMP");
    int fd = open(folder[0] ? folder : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) { /* a file system without nameless files */
        wh_autofree char *path = wh_printf("%s/wherry-archive-XXXXXX", folder[0] ? folder : "/tmp");
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
            (void)unlink(path);
    }
    return fd < 0 ? wh_fail_errno(err, "make a temporary file in %s", folder) : fd;
}
