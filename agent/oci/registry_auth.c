/* Tokens: who we are to a registry, for which scopes (builder.md §7 Auth). */
#include <stdio.h>

#include "oci/oci.h"
#include "oci/registry_internal.h"
#include "wherry/base/clock.h"

#define DEFAULT_TOKEN_SECONDS 60
#define MAX_TOKEN_SECONDS 86400
#define CLIENT_ID "wherry"

static void drop_tokens(struct oci_host *host)
{
    while (host->tokens) {
        struct oci_token *token = host->tokens;
        host->tokens = token->next;
        free(token->scope);
        wh_secret_free(token->token);
        free(token);
    }
}

void oci_host_clear(struct oci_host *host)
{
    drop_tokens(host);
    free(host->name);
    wh_credential_clear(&host->credential);
    wh_challenge_clear(&host->challenge);
}

/* The name that credentials are filed under. */
static const char *credential_name(const struct oci_host *host)
{
    return wh_streq(host->name, "registry-1.docker.io") ? "docker.io" : host->name;
}

static int load_credential(struct wh_registry *r, struct oci_host *host, struct wh_error *err)
{
    if (host->asked_credential)
        return 0;
    if (r->options.credential &&
        r->options.credential(r->options.credential_data, credential_name(host), &host->credential, err) < 0)
        return -1;
    host->asked_credential = true;
    return 0;
}

static int compare_texts(const void *a, const void *b)
{
    const char *const *left = a, *const *right = b;
    return strcmp(*left, *right);
}

/* The call's scopes as one text. */
static char *scope_text(const struct oci_call *call)
{
    const char *sorted[OCI_MAX_SCOPES];
    wh_autostr text = {0};
    memcpy(sorted, call->scopes, call->nscopes * sizeof(sorted[0]));
    if (call->nscopes > 1)
        qsort(sorted, call->nscopes, sizeof(sorted[0]), compare_texts);
    for (size_t i = 0; i < call->nscopes; i++)
        wh_str_addf(&text, "%s%s", i ? " " : "", sorted[i]);
    return wh_str_steal(&text);
}

static struct oci_token *find_token(struct oci_host *host, const char *scope)
{
    for (struct oci_token *token = host->tokens; token; token = token->next)
        if (wh_streq(token->scope, scope) && wh_mono_ms() < token->renew_ms)
            return token;
    return NULL;
}

/* ---- asking for a token ---- */

static void add_query(struct wh_str *out, const char *name, const char *value)
{
    if (!value || !value[0])
        return;
    wh_autofree char *escaped = oci_url_escape(value);
    wh_str_addf(out, "%s%s=%s", out->len ? "&" : "", name, escaped);
}

static struct wh_http *token_by_get(struct wh_registry *r, struct oci_host *host, const char *scope)
{
    wh_autostr query = {0};
    const struct wh_challenge *c = &host->challenge;
    add_query(&query, "account", host->credential.user);
    wh_autostrv char **scopes = wh_strv_split(scope, ' ');
    for (char **one = scopes; one && *one; one++)
        add_query(&query, "scope", *one);
    add_query(&query, "service", c->service);
    wh_autofree char *url =
        wh_printf("%s%s%s", c->realm, strchr(c->realm, '?') ? "&" : "?", wh_str_text(&query));
    struct wh_http *http = oci_http_new(r, host, "GET", url);
    if (host->credential.user && host->credential.password)
        wh_http_basic(http, host->credential.user, host->credential.password);
    return http;
}

static struct wh_http *token_by_post(struct wh_registry *r, struct oci_host *host, const char *scope)
{
    const struct wh_credential *c = &host->credential;
    struct wh_str form = {0};
    wh_str_reserve(&form, 16384); /* so that growing leaves no copy of the secret behind */
    add_query(&form, "grant_type", c->identity ? "refresh_token" : "password");
    add_query(&form, "service", host->challenge.service);
    add_query(&form, "client_id", CLIENT_ID);
    add_query(&form, "access_type", "offline");
    add_query(&form, "scope", scope);
    if (c->identity) {
        add_query(&form, "refresh_token", wh_secret_text(c->identity));
    } else {
        add_query(&form, "username", c->user);
        add_query(&form, "password", wh_secret_text(c->password));
    }
    struct wh_http *http = oci_http_new(r, host, "POST", host->challenge.realm);
    wh_http_header(http, "Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
    wh_http_body(http, form.data, form.len);
    wh_str_wipe(&form);
    return http;
}

static int keep_token(struct oci_host *host, const char *scope, const struct wh_http *http,
                      struct wh_error *err)
{
    struct wh_view body = wh_http_response_body(http);
    wh_autojson *json =
        wh_json_parse(body.data, body.len, WH_MAX_TOKEN_BYTES, "the token server's answer", err);
    if (!json)
        return -1;
    const char *text = oci_text(json, "token");
    if (!text || !text[0])
        text = oci_text(json, "access_token");
    if (!text || !text[0] || strpbrk(text, "\r\n"))
        return wh_fail(err, WH_E_PROTOCOL, "the token server's answer holds no token");
    int64_t seconds = wh_json_int(json, "expires_in", DEFAULT_TOKEN_SECONDS);
    if (seconds < DEFAULT_TOKEN_SECONDS)
        seconds = DEFAULT_TOKEN_SECONDS;
    if (seconds > MAX_TOKEN_SECONDS)
        seconds = MAX_TOKEN_SECONDS;
    struct oci_token *token = wh_calloc(1, sizeof(*token));
    token->scope = wh_strdup(scope);
    token->token = wh_secret_new(text, strlen(text));
    token->renew_ms = wh_mono_ms() + (uint64_t)seconds * 900; /* at nine tenths of its life */
    token->next = host->tokens;
    host->tokens = token;
    return 0;
}

/* A token server may be another host, but a password never goes to one by plain HTTP, except on this machine.
 */
static int check_realm(struct wh_registry *r, const struct oci_host *host, struct wh_error *err)
{
    const char *realm = host->challenge.realm;
    if (wh_starts_with_ci(realm, "https://"))
        return 0;
    if (!wh_starts_with_ci(realm, "http://"))
        return wh_fail(err, WH_E_PROTOCOL, "its token server \"%.200s\" is no URL", realm);
    size_t len = strcspn(realm + 7, "/?");
    wh_autofree char *name = wh_strndup(realm + 7, len);
    bool known = wh_host_is_loopback(name) || (r->plain_http && wh_strv_has(r->plain_http, name));
    if (known || (!host->credential.user && !host->credential.identity))
        return 0;
    return wh_fail(err, WH_E_DENIED, "its token server %s wants the password by plain HTTP; it was not sent",
                   name);
}

static int send_for_token(struct wh_registry *r, struct oci_host *host, const char *scope, bool post,
                          struct wh_http **out, struct wh_error *err)
{
    for (unsigned n = 1;; n++) {
        wh_autoerror why = {0};
        wh_autohttp *http = post ? token_by_post(r, host, scope) : token_by_get(r, host, scope);
        wh_http_max_body(http, WH_MAX_TOKEN_BYTES);
        wh_http_header(http, "Accept", "application/json");
        int failed = wh_http_do(http, &why);
        bool transient = failed < 0 ? why.code == WH_E_NETWORK || why.code == WH_E_TIMEOUT
                                    : oci_status_is_transient(wh_http_status(http));
        if (!transient || n == WH_REGISTRY_TRIES) {
            if (failed < 0)
                return wh_error_move(err, &why);
            *out = wh_steal(&http);
            return 0;
        }
        if (oci_registry_sleep(r, oci_retry_delay(r, host, failed < 0 ? NULL : http, n), err) < 0)
            return -1;
    }
}

static int fetch_token(struct wh_registry *r, struct oci_host *host, const char *scope, struct wh_error *err)
{
    const struct wh_credential *c = &host->credential;
    bool post = c->identity != NULL;
    wh_autohttp *http = NULL;
    if (check_realm(r, host, err) < 0 || send_for_token(r, host, scope, post, &http, err) < 0)
        return -1;
    int status = wh_http_status(http);
    if (!post && c->user && (status == 404 || status == 405)) {
        wh_http_free(wh_steal(&http));
        if (send_for_token(r, host, scope, true, &http, err) < 0)
            return -1;
        status = wh_http_status(http);
    }
    if (status == 401 || status == 403)
        return wh_fail(err, WH_E_DENIED,
                       "its token server refused %s%s (status %d): log in anew (docker/login-action)",
                       c->user ? "the credentials of " : "the request", c->user ? c->user : "", status);
    if (wh_http_check(http, err) < 0)
        return -1;
    return keep_token(host, scope, http, err);
}

/* ---- on requests ---- */

/* Whether a URL lies on the host itself: credentials go nowhere else. */
static bool on_host(const struct oci_call *call)
{
    if (!call->url)
        return true;
    const char *from = strstr(call->url, "://");
    if (!from)
        return false;
    bool tls = wh_starts_with_ci(call->url, "https://");
    from += 3;
    size_t len = strcspn(from, "/?#");
    return (tls || call->host->plain) && len == strlen(call->host->name) &&
           wh_strcmp_ci(from, call->host->name, len) == 0;
}

static int apply(struct wh_registry *r, const struct oci_call *call, struct wh_http *http,
                 struct wh_error *err)
{
    struct oci_host *host = call->host;
    if (!host->basic && !host->challenge.realm)
        return 0;
    if (load_credential(r, host, err) < 0)
        return -1;
    if (host->basic) {
        if (!host->credential.user || !host->credential.password)
            return 0;
        wh_http_basic(http, host->credential.user, host->credential.password);
        return 1;
    }
    if (host->credential.registry) {
        wh_http_bearer(http, host->credential.registry);
        return 1;
    }
    wh_autofree char *scope = scope_text(call);
    struct oci_token *token = find_token(host, scope);
    if (!token) {
        if (fetch_token(r, host, scope, err) < 0)
            return -1;
        token = find_token(host, scope);
    }
    if (!token)
        return 0;
    wh_http_bearer(http, token->token);
    return 1;
}

int oci_auth_apply(struct wh_registry *r, const struct oci_call *call, struct wh_http *http,
                   struct wh_error *err)
{
    if (!on_host(call))
        return 0;
    pthread_mutex_lock(&r->auth);
    int had = apply(r, call, http, err);
    pthread_mutex_unlock(&r->auth);
    return had;
}

static int learn(struct wh_registry *r, struct oci_host *host, const char *header, bool had,
                 struct wh_error *err)
{
    struct wh_challenge c;
    if (wh_challenge_parse(header, &c, err) < 0)
        return -1;
    bool basic = !c.bearer;
    wh_challenge_clear(&host->challenge);
    host->basic = basic;
    if (basic)
        wh_challenge_clear(&c);
    else
        host->challenge = c;
    if (load_credential(r, host, err) < 0)
        return -1;
    if (basic)
        return !had && host->credential.user ? 1 : 0;
    /* A token that was refused is asked for anew once. A ready one can't be. */
    drop_tokens(host);
    return had && host->credential.registry ? 0 : 1;
}

int oci_auth_learn(struct wh_registry *r, const struct oci_call *call, const struct wh_http *http, bool had,
                   struct wh_error *err)
{
    const char *header = wh_http_response_header(http, "WWW-Authenticate");
    if (!header || !on_host(call))
        return 0;
    wh_autostr all = {0};
    for (size_t n = 0; (header = wh_http_response_header_at(http, "WWW-Authenticate", n)); n++)
        wh_str_addf(&all, "%s%s", n ? ", " : "", header);
    pthread_mutex_lock(&r->auth);
    int again = learn(r, call->host, wh_str_text(&all), had, err);
    pthread_mutex_unlock(&r->auth);
    return again;
}

bool wh_registry_is_anonymous(struct wh_registry *r, const char *name)
{
    struct oci_host *host = oci_host(r, wh_streq(name, "docker.io") ? "registry-1.docker.io" : name);
    pthread_mutex_lock(&r->auth);
    const struct wh_credential *c = &host->credential;
    bool anonymous = !c->user && !c->identity && !c->registry;
    pthread_mutex_unlock(&r->auth);
    return anonymous;
}
