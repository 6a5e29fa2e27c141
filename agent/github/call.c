/* One call to the service. */
#include "github/call.h"

#include <curl/curl.h>

#include "github/location_internal.h"
#include "wherry/base/log.h"
#include "wherry/net/backoff.h"
#include "wherry/net/later.h"

#define MAX_RETRY_AFTER_MS 120000

struct gh_call {
    struct gh_call_options o;
    char *method, *url, *body, *version;
    size_t body_len;
    struct wh_secret *token; /* copy of a fixed one */
    gh_answer_fn done;
    void *data;
    struct wh_http *http;
    struct wh_token_wait *wait;
    struct wh_later *later;
    struct wh_backoff backoff;
    bool refreshed, lost;
};

static void call_free(struct gh_call *c)
{
    wh_later_cancel(&c->later);
    if (c->wait)
        wh_token_ask_cancel(c->wait);
    wh_http_free(c->http);
    wh_secret_free(c->token);
    free(c->method);
    free(c->url);
    free(c->body);
    free(c->version);
    free(c);
}

void gh_call_cancel(struct gh_call **call)
{
    if (*call)
        call_free(*call);
    *call = NULL;
}

static void finish(struct gh_call *c, int status, enum wh_outcome outcome, struct wh_error *err)
{
    struct gh_answer answer = {
        .status = status, .outcome = outcome, .lost = c->lost, .http = c->http, .err = err};
    wh_autoerror ignored = {0};
    if (status && wh_http_response_body(c->http).len > 0)
        answer.json = wh_http_response_json(c->http, &ignored);
    c->done(c->data, &answer);
    cJSON_Delete(answer.json);
    call_free(c);
}

static void begin(void *data);

static bool retry(struct gh_call *c, int64_t after_ms, const struct wh_error *err)
{
    if (c->backoff.tries + 1 >= c->o.tries)
        return false;
    uint64_t wait = wh_backoff_next(&c->backoff);
    if (after_ms > 0)
        wait = WH_MAX(wait, wh_wait_ms((uint64_t)after_ms, (uint64_t)after_ms));
    wh_log_debug("%s; next try in %llu ms", wh_error_text(err), (unsigned long long)wait);
    wh_http_free(c->http);
    c->http = NULL;
    wh_later(&c->later, wh_http_client_loop(c->o.http), wait, begin, c);
    return true;
}

/* A web page is no answer of the service: a sign-in page of the network, or a proxy, says 200 to everything.
 */
bool gh_is_page(const struct wh_http *r, struct wh_error *err)
{
    const char *type = wh_http_response_header(r, "Content-Type");
    if (!type || !wh_starts_with_ci(type, "text/html"))
        return false;
    wh_fail(err, WH_E_PROTOCOL,
            "%s answered with a web page, not with the service's JSON: a proxy or a sign-in page of the "
            "network answers "
            "in its place, or the URL is wrong",
            wh_http_label(r));
    return true;
}

static void on_http(struct wh_http *r, struct wh_error *err, void *data)
{
    struct gh_call *c = data;
    if (err) {
        c->lost = true;
        if (err->code != WH_E_NETWORK || !retry(c, 0, err))
            finish(c, 0, WH_OUT_TRANSIENT, err);
        return;
    }
    wh_autoerror refused = {0};
    int status = wh_http_status(r);
    c->lost |= wh_http_repeated(r);
    if (wh_http_check(r, &refused) == 0) {
        if (gh_is_page(r, &refused)) {
            c->lost = true; /* whoever it was that answered: the service may have been asked */
            if (!retry(c, 0, &refused))
                finish(c, 0, WH_OUT_TRANSIENT, &refused);
            return;
        }
        finish(c, status, WH_OUT_OK, NULL);
        return;
    }
    if (status == 401 && c->o.source && !c->refreshed) {
        c->refreshed = true;
        wh_token_drop(c->o.source);
        wh_http_free(c->http);
        c->http = NULL;
        begin(c);
        return;
    }
    if (status >= 502 && status <= 504)
        c->lost = true;
    if ((status == 429 || (status >= 502 && status <= 504)) &&
        retry(c, wh_http_retry_after(r, MAX_RETRY_AFTER_MS), &refused))
        return;
    finish(c, status, WH_OUT_OK, &refused);
}

static void typed_header(struct gh_call *c, const char *name, const char *type)
{
    wh_autofree char *versioned = c->version ? gh_versioned(type, c->version) : NULL;
    wh_http_header(c->http, name, versioned ? versioned : type);
}

static void add_body(struct gh_call *c)
{
    const struct gh_octets *octets = &c->o.octets;
    if (c->o.body) {
        typed_header(c, "Content-Type", "application/json; charset=utf-8");
        wh_http_body(c->http, c->body, c->body_len);
    } else if (c->body) {
        typed_header(c, "Content-Type", "application/octet-stream");
        wh_http_body(c->http, c->body, c->body_len);
    } else if (octets->fd_len) {
        typed_header(c, "Content-Type", "application/octet-stream");
        if (octets->read)
            wh_http_body_read(c->http, octets->read, octets->read_data, octets->fd_len);
        else
            wh_http_body_fd(c->http, octets->fd, octets->offset, octets->fd_len);
    }
}

static void send_with(struct gh_call *c, const struct wh_secret *token)
{
    c->http = wh_http_new(c->o.http, c->method, c->url);
    typed_header(c, "Accept", "application/json");
    if (c->version)
        wh_http_header(c->http, "X-TFS-FedAuthRedirect", "Suppress"); /* a 401, not a page to log in */
    if (token)
        wh_http_bearer(c->http, token);
    add_body(c);
    wh_http_timeouts(c->http, c->o.timeout_ms, 0, 0);
    if (!c->version || c->o.redirect_once)
        wh_http_redirects(c->http, WH_HTTP_REDIRECT_SAME_HOST);
    if (c->o.max_body)
        wh_http_max_body(c->http, c->o.max_body);
    if (c->o.fresh || c->backoff.tries > 0)
        wh_http_fresh_connection(c->http);
    wh_http_start(c->http, on_http, c);
}

static void on_token(void *data, const struct wh_secret *token, enum wh_outcome outcome, struct wh_error *err)
{
    struct gh_call *c = data;
    c->wait = NULL;
    if (err)
        finish(c, 0, outcome, err);
    else
        send_with(c, token);
}

static void begin(void *data)
{
    struct gh_call *c = data;
    if (!c->o.source) {
        send_with(c, c->token);
        return;
    }
    const struct wh_secret *token = wh_token_current(c->o.source);
    if (token)
        send_with(c, token);
    else
        c->wait = wh_token_ask(c->o.source, on_token, c);
}

struct gh_call *gh_call_start(const struct gh_call_options *options, gh_answer_fn done, void *data)
{
    struct gh_call *c = wh_calloc(1, sizeof *c);
    c->o = *options;
    c->method = wh_strdup(options->method);
    c->url = wh_strdup(options->url);
    c->version = wh_strdup(options->api_version);
    if (options->body) {
        c->body = wh_json_print(options->body);
        c->body_len = strlen(c->body);
    } else if (options->octets.data) {
        c->body = wh_malloc(options->octets.len + 1);
        memcpy(c->body, options->octets.data, options->octets.len);
        c->body_len = options->octets.len;
    }
    if (options->token)
        c->token = wh_secret_new(wh_secret_text(options->token), wh_secret_len(options->token));
    c->done = done;
    c->data = data;
    c->backoff = (struct wh_backoff){.min_ms = 1000, .max_ms = 15000};
    begin(c);
    return c;
}

bool gh_call_is_out(const struct gh_call *c)
{
    return c && c->http && wh_http_is_out(c->http);
}

char *gh_url(const char *base, const char *path)
{
    size_t len = strlen(base);
    while (len > 0 && base[len - 1] == '/')
        len--;
    while (*path == '/')
        path++;
    return wh_printf("%.*s/%s", (int)len, base, path);
}

void gh_query_add(struct wh_str *url, const char *name, const char *value)
{
    char *encoded = curl_easy_escape(NULL, value, 0);
    wh_str_addf(url, "%c%s=%s", strchr(wh_str_text(url), '?') ? '&' : '?', name, encoded ? encoded : "");
    curl_free(encoded);
}
