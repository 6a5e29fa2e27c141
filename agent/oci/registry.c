/* The registry client object: hosts, gates, one request with its retries (builder.md §7 Transport, Errors).
 */
#include "oci/registry_internal.h"

#include <stdio.h>
#include <time.h>

#include "oci/oci.h"
#include "wherry/base/clock.h"

#define DEFAULT_RETRY_BASE_MS 1000
#define SLEEP_STEP_MS 50

/* ---- the object ---- */

struct wh_registry *wh_registry_new(struct wh_http_client *client, const struct wh_registry_options *options,
                                    struct wh_error *err)
{
    static const struct wh_registry_options none;
    const struct wh_registry_options *o = options ? options : &none;
    struct wh_http_client *own = NULL;
    if (!client || o->ca_file) {
        struct wh_http_options http = {.ca_file = o->ca_file};
        own = wh_http_client_new_private(&http, err);
        if (!own)
            return NULL;
    }
    struct wh_registry *r = wh_calloc(1, sizeof(*r));
    r->options = *o;
    r->plain_http = wh_strv_dup(o->plain_http);
    r->insecure = wh_strv_dup(o->insecure);
    r->mirrors = wh_strv_dup(o->mirrors);
    r->ca_file = wh_strdup(o->ca_file);
    r->own = own;
    r->client = own ? own : client;
    if (r->options.retry_base_ms == 0)
        r->options.retry_base_ms = DEFAULT_RETRY_BASE_MS;
    pthread_mutex_init(&r->lock, NULL);
    pthread_mutex_init(&r->auth, NULL);
    pthread_cond_init(&r->changed, NULL);
    return r;
}

void wh_registry_free(struct wh_registry *r)
{
    if (!r)
        return;
    while (r->hosts) {
        struct oci_host *host = r->hosts;
        r->hosts = host->next;
        oci_host_clear(host);
        free(host);
    }
    wh_http_client_free(r->own);
    wh_http_client_free(r->insecure_client);
    wh_strv_free(r->plain_http);
    wh_strv_free(r->insecure);
    wh_strv_free(r->mirrors);
    free(r->ca_file);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->auth);
    pthread_cond_destroy(&r->changed);
    free(r);
}

static bool listed(char *const *list, const char *name)
{
    return list && wh_strv_has(list, name);
}

struct oci_host *oci_host(struct wh_registry *r, const char *name)
{
    pthread_mutex_lock(&r->lock);
    struct oci_host *host = r->hosts;
    while (host && !wh_streq(host->name, name))
        host = host->next;
    if (!host) {
        host = wh_calloc(1, sizeof(*host));
        host->name = wh_strdup(name);
        host->plain = wh_host_is_loopback(name) || listed(r->plain_http, name);
        host->insecure = listed(r->insecure, name);
        host->next = r->hosts;
        r->hosts = host;
    }
    pthread_mutex_unlock(&r->lock);
    return host;
}

bool oci_registry_canceled(const struct wh_registry *r)
{
    return r->options.cancel && __atomic_load_n(r->options.cancel, __ATOMIC_RELAXED);
}

void oci_registry_notice(struct wh_registry *r, const char *fmt, ...)
{
    va_list args;
    if (!r->options.notice)
        return;
    va_start(args, fmt);
    wh_autofree char *line = wh_vprintf(fmt, args);
    va_end(args);
    r->options.notice(r->options.notice_data, line);
}

int oci_registry_sleep(struct wh_registry *r, uint64_t ms, struct wh_error *err)
{
    uint64_t end = wh_mono_ms() + ms;
    for (uint64_t now; (now = wh_mono_ms()) < end;) {
        if (oci_registry_canceled(r))
            return wh_fail(err, WH_E_CANCELED, "canceled");
        uint64_t step = WH_MIN(end - now, (uint64_t)SLEEP_STEP_MS);
        wh_sleep_ms(step);
    }
    return 0;
}

static struct wh_http_client *client_for(struct wh_registry *r, const struct oci_host *host)
{
    if (!host->insecure || host->plain)
        return r->client;
    pthread_mutex_lock(&r->lock);
    if (!r->insecure_client) {
        struct wh_http_options http = {.ca_file = r->ca_file, .insecure = true};
        r->insecure_client = wh_http_client_new_private(&http, NULL);
    }
    struct wh_http_client *client = r->insecure_client ? r->insecure_client : r->client;
    pthread_mutex_unlock(&r->lock);
    return client;
}

struct wh_http *oci_http_new(struct wh_registry *r, const struct oci_host *host, const char *method,
                             const char *url)
{
    return wh_http_new(client_for(r, host), method, url);
}

void oci_transfer_begin(struct wh_registry *r, struct oci_host *host)
{
    pthread_mutex_lock(&r->lock);
    while (host->transfers >= WH_REGISTRY_TRANSFERS)
        pthread_cond_wait(&r->changed, &r->lock);
    host->transfers++;
    pthread_mutex_unlock(&r->lock);
}

void oci_transfer_end(struct wh_registry *r, struct oci_host *host, uint64_t received, uint64_t sent)
{
    pthread_mutex_lock(&r->lock);
    host->transfers--;
    r->received += received;
    r->sent += sent;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

void wh_registry_traffic(const struct wh_registry *registry, uint64_t *received, uint64_t *sent)
{
    struct wh_registry *r = (struct wh_registry *)(uintptr_t)registry;
    pthread_mutex_lock(&r->lock);
    *received = r->received;
    *sent = r->sent;
    pthread_mutex_unlock(&r->lock);
}

char *oci_scope(const char *repository, const char *actions)
{
    return wh_printf("repository:%s:%s", repository, actions);
}

char *oci_url_escape(const char *text)
{
    wh_autostr out = {0};
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c);
        if (plain)
            wh_str_addc(&out, (char)c);
        else
            wh_str_addf(&out, "%%%02X", c);
    }
    return wh_str_steal(&out);
}

/* ---- retries ---- */

bool oci_status_is_transient(int status)
{
    return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

uint64_t oci_retry_delay(struct wh_registry *r, struct oci_host *host, const struct wh_http *http, unsigned n)
{
    uint64_t base = (uint64_t)r->options.retry_base_ms << (n > 6 ? 6 : n - 1);
    uint64_t delay = wh_jitter(base / 2, base + base / 2);
    int64_t asked = http ? wh_http_retry_after(http, WH_MAX_REGISTRY_WAIT_MS) : -1;
    if (asked >= 0) {
        delay = (uint64_t)asked + wh_jitter(0, base / 2);
        /* It asked for rest: the other threads hold back too. */
        pthread_mutex_lock(&r->lock);
        host->gate_ms = WH_MAX(host->gate_ms, wh_mono_ms() + (uint64_t)asked);
        pthread_mutex_unlock(&r->lock);
    }
    return delay;
}

static int wait_at_gate(struct wh_registry *r, struct oci_host *host, struct wh_error *err)
{
    pthread_mutex_lock(&r->lock);
    uint64_t gate = host->gate_ms, now = wh_mono_ms();
    pthread_mutex_unlock(&r->lock);
    return gate > now ? oci_registry_sleep(r, gate - now, err) : 0;
}

/* The first of several questions to a host goes alone: its answer says how to authenticate, which the others
 * needn't learn by a refusal of their own. True for the one that is first. */
static bool meet(struct wh_registry *r, const struct oci_call *call)
{
    struct oci_host *host = call->host;
    if (!wh_streq(call->method, "HEAD")) /* a body would keep the others waiting */
        return false;
    pthread_mutex_lock(&r->lock);
    while (host->meeting)
        pthread_cond_wait(&r->changed, &r->lock);
    bool first = !host->met;
    host->meeting = first;
    pthread_mutex_unlock(&r->lock);
    return first;
}

static void met(struct wh_registry *r, struct oci_host *host)
{
    pthread_mutex_lock(&r->lock);
    host->met = true;
    host->meeting = false;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static bool error_is_transient(const struct wh_error *err)
{
    return err->code == WH_E_NETWORK || err->code == WH_E_TIMEOUT;
}

static struct wh_http *build(struct wh_registry *r, const struct oci_call *call)
{
    wh_autofree char *url = call->url ? wh_strdup(call->url)
                                      : wh_printf("%s://%s%s", call->host->plain ? "http" : "https",
                                                  call->host->name, call->path);
    struct wh_http *http = oci_http_new(r, call->host, call->method, url);
    if (call->accept)
        wh_http_header(http, "Accept", call->accept);
    if (!call->no_redirect)
        wh_http_redirects(http, WH_HTTP_REDIRECT_FOLLOW);
    if (call->max_body)
        wh_http_max_body(http, call->max_body);
    if (call->prepare)
        call->prepare(http, call->data);
    return http;
}

/* One request with what is known of the authentication. 1: its refusal told what is worth another one. */
static int ask(struct wh_registry *r, const struct oci_call *call, bool learns, struct wh_http **out,
               struct wh_error *err)
{
    if (wait_at_gate(r, call->host, err) < 0)
        return -1;
    wh_autohttp *http = build(r, call);
    int had = oci_auth_apply(r, call, http, err);
    int failed = had < 0 ? -1 : wh_http_do(http, err);
    if (call->finish)
        call->finish(call->data);
    if (failed < 0)
        return -1;
    if (learns && wh_http_status(http) == 401) {
        int again = oci_auth_learn(r, call, http, had > 0, err);
        if (again != 0)
            return again;
    }
    *out = wh_steal(&http);
    return 0;
}

/* An insecure host that has no TLS is asked by plain HTTP from then on; one that answered by TLS is not. */
static bool go_plain(struct wh_registry *r, struct oci_host *host)
{
    pthread_mutex_lock(&r->lock);
    bool goes = host->insecure && !host->plain && !host->answered;
    if (goes)
        host->plain = true;
    pthread_mutex_unlock(&r->lock);
    return goes;
}

static void answered(struct wh_registry *r, struct oci_host *host)
{
    pthread_mutex_lock(&r->lock);
    host->answered = true;
    pthread_mutex_unlock(&r->lock);
}

/* One attempt; a 401 is answered once. */
static int attempt(struct wh_registry *r, const struct oci_call *call, struct wh_http **out,
                   struct wh_error *err)
{
    bool first = meet(r, call);
    int again = ask(r, call, true, out, err);
    if (again < 0 && !call->url && !oci_registry_canceled(r) && go_plain(r, call->host)) {
        wh_error_clear(err);
        again = ask(r, call, true, out, err);
    }
    if (again >= 0)
        answered(r, call->host);
    if (first)
        met(r, call->host);
    return again > 0 ? ask(r, call, false, out, err) : again;
}

int oci_call(struct wh_registry *r, const struct oci_call *call, struct wh_http **out, struct wh_error *err)
{
    for (unsigned n = 1;; n++) {
        wh_autoerror why = {0};
        wh_autohttp *http = NULL;
        if (oci_registry_canceled(r))
            return wh_fail(err, WH_E_CANCELED, "canceled");
        int failed = attempt(r, call, &http, &why);
        bool transient =
            failed < 0 ? error_is_transient(&why) : oci_status_is_transient(wh_http_status(http));
        if (!transient || call->no_retry || n == WH_REGISTRY_TRIES) {
            if (failed < 0) {
                wh_error_move(err, &why);
                return wh_wrap(err, "registry %s", call->host->name);
            }
            *out = wh_steal(&http);
            return 0;
        }
        uint64_t delay = oci_retry_delay(r, call->host, http, n);
        if (failed < 0)
            oci_registry_notice(r, "%s: %s; trying again in %.1f s", call->host->name, wh_error_text(&why),
                                (double)delay / 1e3);
        else
            oci_registry_notice(r, "%s answered %d; trying again in %.1f s", wh_http_label(http),
                                wh_http_status(http), (double)delay / 1e3);
        if (oci_registry_sleep(r, delay, err) < 0)
            return -1;
    }
}

/* ---- what an answer means to the user ---- */

static bool is_web_page(const struct wh_http *http)
{
    const char *type = wh_http_response_header(http, "Content-Type");
    struct wh_view body = wh_view_trim(wh_http_response_body(http));
    return (type && wh_starts_with_ci(type, "text/html")) || (body.len > 0 && body.data[0] == '<');
}

/* "MANIFEST_UNKNOWN: manifest unknown" of {"errors":[{"code":..,"message":..}]}; owned; NULL if it says
 * nothing. */
static char *server_says(const struct wh_http *http)
{
    struct wh_view body = wh_http_response_body(http);
    if (body.len == 0 || body.len > OCI_MAX_ERROR_BODY)
        return NULL;
    wh_autojson *json = wh_json_parse(body.data, body.len, OCI_MAX_ERROR_BODY, "answer", NULL);
    const cJSON *errors = oci_member(json, "errors");
    const cJSON *first = cJSON_IsArray(errors) ? errors->child : NULL;
    const char *code = oci_text(first, "code"), *message = oci_text(first, "message");
    if (!message)
        message = oci_text(json, "message");
    if (!code && !message)
        return NULL;
    wh_autofree char *text =
        wh_printf("%s%s%s", code ? code : "", code && message ? ": " : "", message ? message : "");
    return wh_strndup(text, WH_MIN(strlen(text), (size_t)300));
}

static const char *advice(const struct oci_host *host, int status, bool has_user)
{
    (void)host;
    switch (status) {
    case 401:
        return has_user ? "; the credentials were refused: log in anew (docker/login-action)"
                        : "; log in first (docker/login-action), or check the name: private and missing "
                          "repositories look alike";
    case 403:
        return "; the credentials lack the right to do this: check the token's scopes and the repository's "
               "settings";
    case 404:
        return "; check the name and the tag";
    case 413:
        return "; a proxy in front of the registry limits the size of uploads";
    case 429:
        return "; too many requests: log in for a higher limit, or try later";
    default:
        return status >= 500 ? "; the registry has trouble of its own: try later" : "";
    }
}

int oci_call_refused(struct wh_registry *r, const struct oci_call *call, struct wh_http *http,
                     struct wh_error *err)
{
    int status = wh_http_status(http);
    enum wh_error_code code = status == 401 || status == 403 ? WH_E_DENIED
                              : status == 404                ? WH_E_NOT_FOUND
                                                             : WH_E_HTTP;
    wh_autofree char *subject = call->repository ? wh_printf("%s/%s", call->host->name, call->repository)
                                                 : wh_strdup(call->host->name);
    (void)r;
    if (is_web_page(http))
        return wh_fail(err, code == WH_E_HTTP ? WH_E_PROTOCOL : code,
                       "registry %s: %s: it answered with a web page (status %d), not as a registry: check "
                       "the host's name, and whether "
                       "a proxy or a login page is in between",
                       subject, call->what, status);
    wh_autofree char *said = server_says(http);
    bool has_user =
        call->host->credential.user || call->host->credential.identity || call->host->credential.registry;
    return wh_fail(err, code, "registry %s: %s: status %d%s%s%s", subject, call->what, status,
                   said ? ", " : "", said ? said : "", advice(call->host, status, has_user));
}
