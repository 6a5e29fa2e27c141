/* Blocking calls, with patience for what passes. */
#include "github/rest.h"

#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/net/backoff.h"

#define REST_TRIES 3
#define REST_CALL_MS 60000
/* A limit that ends sooner is waited for; else the user hears when to come back. */
#define REST_PATIENCE_S 60

void gh_rest_answer_clear(struct gh_rest_answer *answer)
{
    gh_json_wipe(answer->json);
    cJSON_Delete(answer->json);
    memset(answer, 0, sizeof *answer);
}

void gh_json_wipe(cJSON *json)
{
    for (cJSON *item = json; item; item = item->next) {
        if (item->valuestring)
            wh_wipe(item->valuestring, strlen(item->valuestring));
        gh_json_wipe(item->child); /* as deep as wh_json_parse() lets in */
    }
}

struct wh_secret *gh_take_secret(cJSON *object, const char *name)
{
    const cJSON *item = wh_json_get(object, name);
    if (!cJSON_IsString(item) || !*item->valuestring || strpbrk(item->valuestring, "\r\n"))
        return NULL;
    struct wh_secret *secret = wh_secret_new(item->valuestring, strlen(item->valuestring));
    wh_wipe(item->valuestring, strlen(item->valuestring));
    return secret;
}

static struct wh_http *plain_request(struct wh_http_client *http, const struct gh_rest_call *call)
{
    struct wh_http *r = wh_http_new(http, call->method, call->url);
    wh_http_header(r, "Accept", "application/vnd.github+json, application/json");
    if (call->auth == GH_AUTH_BEARER)
        wh_http_bearer(r, call->secret);
    else if (call->auth == GH_AUTH_REMOTE)
        wh_http_secret_header(r, "Authorization", "RemoteAuth ", call->secret);
    if (call->body)
        wh_http_body_json(r, call->body);
    wh_http_redirects(r, WH_HTTP_REDIRECT_SAME_HOST);
    return r;
}

static struct wh_http *request_of(struct wh_http_client *http, const struct gh_rest_call *call)
{
    struct wh_http *r = call->route
                            ? wh_route_request(http, call->method, call->route, call->secret, call->body)
                            : plain_request(http, call);
    wh_http_timeouts(r, REST_CALL_MS, 0, 0);
    /* On a kept connection that ends without an answer, the request would be sent again below us; but whether
     * a runner may have been made by then is what we must know. */
    if (call->purpose == GH_FOR_REGISTER || call->purpose == GH_FOR_JIT)
        wh_http_fresh_connection(r);
    return r;
}

static int refuse(const struct wh_http *r, const struct gh_facts *facts, const struct gh_rest_call *call,
                  struct wh_error *err)
{
    wh_autoerror plain = {0};
    enum gh_refusal refusal = gh_refusal_of(facts, call->purpose);
    wh_http_check(r, &plain);
    wh_autofree char *sentence = gh_refusal_sentence(refusal, facts, call, wh_now_ns() / 1000000000);
    enum wh_error_code code = refusal == GH_REFUSED_NAME_TAKEN ? WH_E_EXISTS : plain.code;
    return wh_fail(err, code ? code : WH_E_HTTP, "%s (%s)", sentence, wh_error_text(&plain));
}

/* Milliseconds to wait before the next try; 0: there is none. */
static uint64_t wait_of(const struct gh_facts *facts, unsigned try)
{
    if (try >= REST_TRIES)
        return 0;
    if (facts->status == 0)
        return wh_wait_ms(1000, 5000);
    bool limited = gh_refusal_of(facts, GH_FOR_TENANT_REGISTER) == GH_REFUSED_RATE_LIMIT;
    if (!limited && facts->status != 408 && facts->status < 500)
        return 0;
    int64_t after = facts->retry_after_s;
    if (after < 0 && limited && facts->limit_reset_s)
        after = WH_MAX(facts->limit_reset_s - wh_now_ns() / 1000000000, 0) + 1;
    if (after > REST_PATIENCE_S)
        return 0;
    uint64_t ms = after > 0 ? (uint64_t)after * 1000 : 0;
    return ms ? wh_wait_ms(ms, ms + 1000) : wh_wait_ms(1000, 5000);
}

static int take_answer(const struct wh_http *r, const struct gh_rest_call *call, struct gh_rest_answer *out,
                       struct wh_error *err)
{
    if (wh_http_response_body(r).len == 0)
        return 0;
    if ((out->json = wh_http_response_json(r, err)))
        return 0;
    wh_autofree char *host = wh_strdup(call->scope ? call->scope->host : "the server");
    return wh_wrap(err, "%s does not answer as GitHub does (a proxy or a login page may stand before it)",
                   host);
}

int gh_rest(struct wh_http_client *http, const struct gh_rest_call *call, struct gh_rest_answer *out,
            struct wh_error *err)
{
    memset(out, 0, sizeof *out);
    for (unsigned try = 1;; try++) {
        wh_autoerror why = {0};
        gh_autofacts facts = {.retry_after_s = -1};
        wh_autohttp *r = request_of(http, call);
        int code = wh_http_do(r, &why);
        out->status = code ? 0 : wh_http_status(r);
        if (code == 0 && out->status >= 200 && out->status <= 299)
            return take_answer(r, call, out, err);
        if (code == 0) {
            gh_facts_read(r, &facts);
            refuse(r, &facts, call, &why);
        } else if (why.code != WH_E_NETWORK && why.code != WH_E_TIMEOUT) {
            return wh_error_move(err, &why); /* over a limit: no better the next time */
        }
        uint64_t wait = wait_of(&facts, try);
        if (wait == 0)
            return wh_error_move(err, &why);
        if (out->status == 0 || out->status >= 500)
            out->lost = true;
        wh_log_warning("%s; trying again", wh_error_text(&why));
        wh_sleep_ms(wait);
    }
}
