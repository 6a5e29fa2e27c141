/* Building and freeing requests. */
#include "net/http_internal.h"

#include <string.h>

#include "wherry/base/digest.h"
#include "wherry/base/log.h"

/* "POST https://host:port/path": no user, no query, which may sign a URL. */
static char *label_of(const char *method, const char *url)
{
    const char *rest = strstr(url, "://");
    size_t scheme = rest ? (size_t)(rest - url) + 3 : 0;
    size_t end = scheme + strcspn(url + scheme, "?#");
    size_t host = scheme;
    size_t host_end = scheme + strcspn(url + scheme, "/?#");
    for (size_t i = scheme; i < host_end; i++)
        if (url[i] == '@')
            host = i + 1;
    return wh_printf("%s %.*s%.*s", method, (int)scheme, url, (int)(end - host), url + host);
}

struct wh_http *wh_http_new(struct wh_http_client *client, const char *method, const char *url)
{
    struct wh_http *r = wh_calloc(1, sizeof *r);
    r->client = client;
    r->about = wh_log_name();
    r->method = wh_strdup(method ? method : "GET");
    r->url = wh_strdup(url);
    r->label = label_of(r->method, url);
    r->body_fd = -1;
    r->max_body = WH_HTTP_DEFAULT_BODY;
    return r;
}

static void wipe_headers(struct curl_slist *list)
{
    for (; list; list = list->next)
        wh_wipe(list->data, strlen(list->data));
}

static void drop_body(struct wh_http *r)
{
    if (r->body)
        wh_wipe(r->body, r->body_len);
    free(r->body);
    r->body = NULL;
    r->body_len = 0;
    r->body_kind = WH_BODY_NONE;
}

void wh_http_destroy(struct wh_http *r)
{
    if (r->easy)
        curl_easy_cleanup(r->easy);
    wipe_headers(r->headers);
    curl_slist_free_all(r->headers);
    drop_body(r);
    wh_http_answer_reset(r);
    free(r->answer);
    if (r->collected.data)
        wh_wipe(r->collected.data, r->collected.len); /* tokens come in bodies */
    wh_str_free(&r->collected);
    wh_error_clear(&r->error);
    free(r->method);
    free(r->url);
    free(r->label);
    free(r->effective_url);
    free(r);
}

void wh_http_free(struct wh_http *r)
{
    if (!r)
        return;
    if (r->state == WH_HTTP_BUILT || r->state == WH_HTTP_DONE) {
        if (r->connect_only && r->easy && r->client->in_curl > 0) {
            r->zombie = true; /* its connection still is in the multi handle */
            wh_http_client_wake(r->client);
            return;
        }
        wh_http_client_drop(r);
        wh_http_destroy(r);
        return;
    }
    r->done = NULL;
    if (r->client->in_curl > 0) {
        r->zombie = true;
        wh_http_client_wake(r->client);
        return;
    }
    wh_http_client_drop(r);
    wh_http_destroy(r);
}

void wh_http_free_ptr(struct wh_http **r)
{
    wh_http_free(*r);
    *r = NULL;
}

static void add_header(struct wh_http *r, const char *name, const char *prefix, const char *value)
{
    if (wh_streq_ci(name, "Content-Type"))
        r->has_content_type = true;
    /* Bytes that would end the line are a caller's bug with foreign text: they never reach the wire. */
    if (strpbrk(name, "\r\n:") || strpbrk(prefix, "\r\n") || strpbrk(value, "\r\n")) {
        wh_log_warning("%s: header %.40s has a line break and is left out", r->label, name);
        return;
    }
    bool empty = !*prefix && !*value;
    char *line = empty ? wh_printf("%s;", name) : wh_printf("%s: %s%s", name, prefix, value);
    r->headers = curl_slist_append(r->headers, line);
    wh_wipe(line, strlen(line));
    free(line);
}

void wh_http_header(struct wh_http *r, const char *name, const char *value)
{
    add_header(r, name, "", value);
}

void wh_http_secret_header(struct wh_http *r, const char *name, const char *prefix,
                           const struct wh_secret *secret)
{
    add_header(r, name, prefix, wh_secret_text(secret));
}

void wh_http_bearer(struct wh_http *r, const struct wh_secret *token)
{
    wh_http_secret_header(r, "Authorization", "Bearer ", token);
}

void wh_http_basic(struct wh_http *r, const char *user, const struct wh_secret *password)
{
    struct wh_str pair = {0};
    wh_str_addf(&pair, "%s:", user);
    wh_str_addn(&pair, wh_secret_text(password), wh_secret_len(password));
    char *encoded = wh_base64(pair.data, pair.len);
    add_header(r, "Authorization", "Basic ", encoded);
    wh_wipe(encoded, strlen(encoded));
    free(encoded);
    wh_str_wipe(&pair);
}

void wh_http_body(struct wh_http *r, const void *data, size_t len)
{
    drop_body(r);
    r->body_kind = WH_BODY_MEMORY;
    r->body = wh_malloc(len + 1);
    if (len)
        memcpy(r->body, data, len);
    r->body[len] = '\0';
    r->body_len = len;
}

void wh_http_body_json(struct wh_http *r, const cJSON *json)
{
    char *text = wh_json_print(json);
    size_t len = strlen(text);
    drop_body(r);
    r->body_kind = WH_BODY_MEMORY;
    r->body = text;
    r->body_len = len;
    if (!r->has_content_type)
        wh_http_header(r, "Content-Type", "application/json; charset=utf-8");
}

void wh_http_body_fd(struct wh_http *r, int fd, off_t offset, uint64_t len)
{
    drop_body(r);
    r->body_kind = WH_BODY_FD;
    r->read = NULL;
    r->body_fd = fd;
    r->body_offset = offset;
    r->body_len = len;
}

void wh_http_body_read(struct wh_http *r, wh_http_read_fn read, void *data, uint64_t len)
{
    wh_http_body_fd(r, -1, 0, len);
    r->read = read;
    r->read_data = data;
}

void wh_http_body_pull(struct wh_http *r, wh_http_pull_fn pull, void *data, int64_t len)
{
    drop_body(r);
    r->body_kind = WH_BODY_PULL;
    r->pull = pull;
    r->pull_data = data;
    r->pull_len = len;
}

void wh_http_sink(struct wh_http *r, wh_http_sink_fn sink, void *data)
{
    r->sink = sink;
    r->sink_data = data;
}

void wh_http_max_body(struct wh_http *r, size_t bytes)
{
    r->max_body = bytes;
}

void wh_http_timeouts(struct wh_http *r, unsigned total, unsigned connect, unsigned stall)
{
    r->total_ms = total;
    r->connect_ms = connect;
    r->stall_ms = stall;
}

void wh_http_redirects(struct wh_http *r, enum wh_http_redirect policy)
{
    r->redirect = policy;
}

void wh_http_fresh_connection(struct wh_http *r)
{
    r->fresh = true;
}

const char *wh_http_label(const struct wh_http *r)
{
    return r->label;
}

void wh_http_start(struct wh_http *r, wh_http_done_fn done, void *data)
{
    r->done = done;
    r->done_data = data;
    wh_http_client_queue(r);
}

int wh_http_do(struct wh_http *r, struct wh_error *err)
{
    struct wh_http_client *client = r->client;
    uv_cond_t cond;
    if (uv_cond_init(&cond))
        return wh_fail(err, WH_E_FAILED, "%s: cannot make a condition variable", r->label);
    r->waiter = &cond;
    wh_http_client_queue(r);
    uv_mutex_lock(&client->lock);
    while (!r->finished)
        uv_cond_wait(&cond, &client->lock);
    uv_mutex_unlock(&client->lock);
    r->waiter = NULL;
    uv_cond_destroy(&cond);
    if (r->error.code != WH_OK)
        return wh_error_move(err, &r->error);
    return 0;
}

void wh_http_resume(struct wh_http *r)
{
    atomic_store(&r->want_resume, true);
    wh_http_client_wake(r->client);
}

void wh_http_cancel(struct wh_http *r)
{
    atomic_store(&r->want_cancel, true);
    wh_http_client_wake(r->client);
}
