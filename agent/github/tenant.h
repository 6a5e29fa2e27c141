/* A V1 server ("tenant") on the loop: calls to its resources by name. It learns where they are by itself
 * before the first call (runner-protocol.md §1.5) and holds to the pauses that the server asks for (§0.2,
 * X-RateLimit-Delay). */
#ifndef WH_GITHUB_TENANT_H
#define WH_GITHUB_TENANT_H

#include "github/call.h"
#include "wherry/github/location.h"

#define GH_MAX_RATE_DELAY_MS 60000 /* a longer X-RateLimit-Delay is cut to this */

struct gh_tenant;
struct gh_tenant_call;

/* base is the server's URL. Who asks is either of token (copied: the job's) and source (borrowed: the
 * listener's). */
struct gh_tenant *gh_tenant_new(struct wh_http_client *http, const char *base, const struct wh_secret *token,
                                struct wh_token_source *source);
void gh_tenant_free(struct gh_tenant *t); /* calls under way end without callbacks; NULL is fine */
/* The next call asks anew where things are: a new session, another server behind the same name. */
void gh_tenant_forget(struct gh_tenant *t);
/* One redirect is followed on calls (job variable Actions.EnableHttpRedirects); never by default. */
void gh_tenant_follow_redirects(struct gh_tenant *t, bool follow);

struct gh_tenant_request {
    enum wh_resource resource;
    const char *method;
    const struct wh_route_value *values; /* of the route; NULL: none */
    const struct wh_route_value *query;  /* NULL: none */
    const cJSON *body;                   /* JSON, or */
    struct gh_octets octets;             /* raw bytes, or neither */
    unsigned timeout_ms, tries;          /* as of a call */
    bool fresh;
    bool urgent; /* goes out in a pause that the server asked for, too */
    size_t max_body;
};
/* Everything is read (copied) within the call, save a descriptor of octets. done comes once, never from
 * within; the call is gone after it. Where the routes cannot be had, the answer has status 0 or that of
 * connectionData, with err; where this server does not have the resource: status 0 and WH_E_UNSUPPORTED. */
struct gh_tenant_call *gh_tenant_start(struct gh_tenant *t, const struct gh_tenant_request *request,
                                       gh_answer_fn done, void *data);
bool gh_tenant_is_out(const struct gh_tenant_call *call); /* the server may be at it; false on NULL */
void gh_tenant_cancel(struct gh_tenant_call **call);      /* without callback; harmless on NULL */

/* What an error of V1 means (§0.3, §3.4). Only for answers with err. */
enum wh_outcome gh_v1_outcome(const struct gh_answer *answer);

#endif
