/* Calls to a V1 server's resources. */
#include "github/tenant.h"

#include <utlist.h>

#include "github/location_internal.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/net/backoff.h"
#include "wherry/net/later.h"

#define CONNECT_CALL_MS 60000
#define CONNECT_VERSION "1.0"
#define CONNECT_PAUSE_MAX_MS 3200 /* of a job's server, which may be new to all (§4.2) */

struct gh_tenant_call {
    struct gh_tenant *tenant;
    enum wh_resource resource;
    struct gh_call_options o;
    struct wh_route_value *values, *query; /* owned copies */
    char *method;
    cJSON *body;
    void *octets;
    bool urgent;
    gh_answer_fn done;
    void *data;
    struct gh_call *call; /* once it is out */
    struct wh_later *later;
    struct wh_error failure; /* of asking for the routes */
    int failed_status;
    enum wh_outcome failed_outcome;
    struct gh_tenant_call *next, *prev;
};

struct gh_tenant {
    struct wh_http_client *http;
    char *base;
    struct wh_secret *token;
    struct wh_token_source *source;
    struct wh_locations *locations; /* NULL: not known (yet) */
    bool follow;
    /* asking for them */
    struct gh_call *asking;
    struct wh_later *ask_later;
    struct wh_backoff backoff;
    bool options;                 /* the older way to ask */
    struct gh_tenant_call *calls; /* all: those that wait, and those that are out */
    uint64_t quiet_until_ms;      /* monotonic: the server asked for a pause */
};

struct gh_tenant *gh_tenant_new(struct wh_http_client *http, const char *base, const struct wh_secret *token,
                                struct wh_token_source *source)
{
    struct gh_tenant *t = wh_calloc(1, sizeof *t);
    t->http = http;
    t->base = wh_strdup(base);
    if (token)
        t->token = wh_secret_new(wh_secret_text(token), wh_secret_len(token));
    t->source = source;
    return t;
}

static void values_free(struct wh_route_value *values)
{
    for (struct wh_route_value *v = values; v && v->name; v++) {
        free((char *)v->name);
        free((char *)v->value);
    }
    free(values);
}

static struct wh_route_value *values_copy(const struct wh_route_value *values)
{
    size_t count = 0;
    if (!values)
        return NULL;
    while (values[count].name)
        count++;
    struct wh_route_value *copy = wh_calloc(count + 1, sizeof *copy);
    for (size_t i = 0; i < count; i++)
        copy[i] = (struct wh_route_value){wh_strdup(values[i].name), wh_strdup(values[i].value)};
    return copy;
}

static void call_release(struct gh_tenant_call *c)
{
    wh_later_cancel(&c->later);
    gh_call_cancel(&c->call);
    wh_error_clear(&c->failure);
    values_free(c->values);
    values_free(c->query);
    cJSON_Delete(c->body);
    free(c->octets);
    free(c->method);
    free(c);
}

static void call_free(struct gh_tenant_call *c)
{
    DL_DELETE(c->tenant->calls, c);
    call_release(c);
}

bool gh_tenant_is_out(const struct gh_tenant_call *c)
{
    return c && gh_call_is_out(c->call);
}

void gh_tenant_cancel(struct gh_tenant_call **call)
{
    if (*call)
        call_free(*call);
    *call = NULL;
}

void gh_tenant_free(struct gh_tenant *t)
{
    if (!t)
        return;
    struct gh_tenant_call *c;
    while ((c = t->calls)) {
        DL_DELETE(t->calls, c);
        call_release(c);
    }
    gh_call_cancel(&t->asking);
    wh_later_cancel(&t->ask_later);
    wh_locations_free(t->locations);
    wh_secret_free(t->token);
    free(t->base);
    free(t);
}

void gh_tenant_forget(struct gh_tenant *t)
{
    wh_locations_free(t->locations);
    t->locations = NULL;
}

void gh_tenant_follow_redirects(struct gh_tenant *t, bool follow)
{
    t->follow = follow;
}

/* ---- a call ---- */

static void finish(struct gh_tenant_call *c, struct gh_answer *answer)
{
    gh_answer_fn done = c->done;
    void *data = c->data;
    c->call = NULL; /* it goes by itself after its callback */
    call_free(c);
    done(data, answer);
}

static void note_pause(struct gh_tenant *t, const struct gh_answer *answer)
{
    const char *text = answer->http ? wh_http_response_header(answer->http, "X-RateLimit-Delay") : NULL;
    char *end = NULL;
    double seconds = text ? strtod(text, &end) : 0;
    if (!text || end == text || !(seconds > 0))
        return;
    uint64_t ms = seconds * 1000 > GH_MAX_RATE_DELAY_MS ? GH_MAX_RATE_DELAY_MS : (uint64_t)(seconds * 1000);
    wh_log_debug("%s asks for a pause of %llu ms", t->base, (unsigned long long)ms);
    t->quiet_until_ms = wh_mono_ms() + wh_wait_ms(ms, ms);
}

static void on_answer(void *data, struct gh_answer *answer)
{
    struct gh_tenant_call *c = data;
    note_pause(c->tenant, answer);
    finish(c, answer);
}

static void call_send(void *data)
{
    struct gh_tenant_call *c = data;
    struct gh_tenant *t = c->tenant;
    wh_autoerror err = {0};
    wh_autoroute route = {0};
    if (wh_locations_route(t->locations, c->resource, c->values, &route, &err)) {
        struct gh_answer answer = {.outcome = WH_OUT_TRANSIENT, .err = &err};
        finish(c, &answer);
        return;
    }
    for (const struct wh_route_value *q = c->query; q && q->name; q++)
        if (q->value)
            wh_route_query(&route, q->name, q->value);
    c->o.url = route.url;
    c->o.api_version = route.version;
    c->call = gh_call_start(&c->o, on_answer, c);
}

static void call_ready(void *data);

static void call_queue(struct gh_tenant_call *c)
{
    struct gh_tenant *t = c->tenant;
    uint64_t now = wh_mono_ms();
    uint64_t wait = !c->urgent && t->quiet_until_ms > now ? t->quiet_until_ms - now : 0;
    wh_later(&c->later, wh_http_client_loop(t->http), wait, call_ready, c);
}

/* ---- where things are ---- */

static void ask(void *data);

static void call_failed(void *data)
{
    struct gh_tenant_call *c = data;
    wh_autoerror err = {0};
    wh_error_move(&err, &c->failure);
    struct gh_answer answer = {.status = c->failed_status, .outcome = c->failed_outcome, .err = &err};
    finish(c, &answer);
}

/* Each of those that wait hears it from the loop: what one does about it can't harm the others. */
static void all_failed(struct gh_tenant *t, const struct gh_answer *answer)
{
    struct gh_tenant_call *c;
    DL_FOREACH(t->calls, c)
    {
        if (c->call || c->later)
            continue;
        wh_fail(&c->failure, answer->err->code, "ask the service where its resources are: %s",
                wh_error_text(answer->err));
        c->failed_status = answer->status;
        c->failed_outcome = answer->outcome == WH_OUT_OK ? WH_OUT_TRANSIENT : answer->outcome;
        wh_later(&c->later, wh_http_client_loop(t->http), 0, call_failed, c);
    }
}

static void on_locations(void *data, struct gh_answer *answer)
{
    struct gh_tenant *t = data;
    struct gh_tenant_call *c;
    wh_autoerror err = {0};
    t->asking = NULL;
    struct wh_locations *l =
        !answer->err && answer->json ? gh_locations_read(answer->json, t->base, &err) : NULL;
    if (l) {
        wh_locations_free(t->locations);
        t->locations = l;
        DL_FOREACH(t->calls, c)
        if (!c->call && !c->later)
            call_queue(c);
        return;
    }
    int status = answer->status;
    bool refused = status == 401 || status == 403 || (answer->err && answer->outcome != WH_OUT_OK && !status);
    bool answered = status >= 200 && status <= 499 && status != 429;
    if (answered && !refused && !t->options) {
        t->options = true;
        wh_later(&t->ask_later, wh_http_client_loop(t->http), 0, ask, t);
        return;
    }
    if (!answered && !refused && t->backoff.tries + 1 < GH_CONNECT_TRIES) {
        wh_later(&t->ask_later, wh_http_client_loop(t->http), wh_backoff_next(&t->backoff), ask, t);
        return;
    }
    if (!answer->err) {
        if (!err.code)
            wh_fail(&err, WH_E_PROTOCOL, "%s answers with something that is not JSON", t->base);
        answer->err = &err;
    }
    all_failed(t, answer);
}

static void ask(void *data)
{
    struct gh_tenant *t = data;
    wh_autofree char *url = gh_url(t->base, t->options ? GH_OPTIONS : GH_CONNECTION_DATA);
    struct gh_call_options o = {.http = t->http,
                                .method = t->options ? "OPTIONS" : "GET",
                                .url = url,
                                .api_version = CONNECT_VERSION,
                                .token = t->token,
                                .source = t->source,
                                .timeout_ms = CONNECT_CALL_MS,
                                .max_body = WH_MAX_CONNECTION_DATA};
    t->asking = gh_call_start(&o, on_locations, t);
}

static void ask_first(struct gh_tenant *t)
{
    if (t->asking || t->ask_later)
        return;
    t->options = false;
    t->backoff = (struct wh_backoff){.min_ms = GH_CONNECT_PAUSE_MS, .max_ms = CONNECT_PAUSE_MAX_MS};
    ask(t);
}

static void call_ready(void *data)
{
    struct gh_tenant_call *c = data;
    if (c->tenant->locations)
        call_send(c);
    else
        ask_first(c->tenant);
}

struct gh_tenant_call *gh_tenant_start(struct gh_tenant *t, const struct gh_tenant_request *request,
                                       gh_answer_fn done, void *data)
{
    struct gh_tenant_call *c = wh_calloc(1, sizeof *c);
    c->tenant = t;
    c->resource = request->resource;
    c->values = values_copy(request->values);
    c->query = values_copy(request->query);
    c->method = wh_strdup(request->method);
    c->body = request->body ? cJSON_Duplicate(request->body, true) : NULL;
    c->urgent = request->urgent;
    c->done = done;
    c->data = data;
    c->o = (struct gh_call_options){.http = t->http,
                                    .method = c->method,
                                    .body = c->body,
                                    .octets = request->octets,
                                    .redirect_once = t->follow,
                                    .token = t->token,
                                    .source = t->source,
                                    .timeout_ms = request->timeout_ms,
                                    .tries = request->tries,
                                    .fresh = request->fresh,
                                    .max_body = request->max_body};
    if (request->octets.data) {
        c->octets = wh_malloc(request->octets.len + 1);
        memcpy(c->octets, request->octets.data, request->octets.len);
        c->o.octets.data = c->octets;
    }
    DL_APPEND(t->calls, c);
    call_queue(c);
    return c;
}
