/* The lock of a job at a V1 server: it is renewed with the listener's token, and tells the runner's present
 * name (runner-protocol.md §4.4). */
#include "github/job_internal.h"
#include "github/session_internal.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define RENEW_CALL_MS 60000
#define RENEW_CALL_TROUBLED_MS                                                                               \
    30000 /* after a failure, until one succeeds: several fit into the lock's rest */
#define MAX_NUMBER 24

/* Somebody renamed the runner on GitHub. */
static void adopt_name(struct wh_session *s, const char *name)
{
    if (!name || !*name || strlen(name) > WH_MAX_ID_CHARS || wh_streq(name, s->agent_name))
        return;
    wh_log_info("this runner is called \"%s\" now", name);
    free(s->agent_name);
    s->agent_name = wh_strdup(name);
}

const char *wh_session_agent_name(const struct wh_session *s)
{
    return s->agent_name;
}

static void on_renewed(void *data, struct gh_answer *answer)
{
    struct wh_session *s = data;
    int64_t locked_until = 0;
    int status = answer->status;
    s->renew.v1 = NULL;
    s->renew.troubled = answer->err != NULL;
    if (answer->err && gh_v1_outcome(answer) == WH_OUT_SKIP)
        status = 404; /* whatever status the server has for it: the lock is gone */
    const char *text = wh_json_string(answer->json, "lockedUntil");
    if (!text || !wh_time_parse_iso(text, &locked_until) || locked_until < 0)
        locked_until = 0;
    if (!answer->err)
        adopt_name(s, wh_json_string(wh_json_get(answer->json, "reservedAgent"), "name"));
    s->renew.done(s->renew.data, status, locked_until, answer->err);
}

static void no_server(void *data)
{
    struct wh_session *s = data;
    wh_autoerror err = {0};
    wh_fail(&err, WH_E_UNSUPPORTED,
            "this runner's file names no server (serverUrl) that holds such a job's lock");
    s->renew.done(s->renew.data, 404, 0, &err);
}

static void renew_v1(struct wh_session *s, int64_t request_id)
{
    char pool[MAX_NUMBER], request[MAX_NUMBER];
    wh_autojson *body = cJSON_CreateObject();
    snprintf(pool, sizeof pool, "%lld", (long long)s->config->group_id);
    snprintf(request, sizeof request, "%lld", (long long)request_id);
    wh_json_add_int(body, "requestId", request_id);
    struct gh_tenant_request r = {
        .resource = WH_RESOURCE_JOBREQUESTS,
        .method = "PATCH",
        .values = (struct wh_route_value[]){{"poolId", pool}, {"requestId", request}, {0}},
        .query = (struct wh_route_value[]){{"lockToken", GH_ZERO_GUID}, {0}},
        .body = body,
        .timeout_ms = s->renew.troubled ? RENEW_CALL_TROUBLED_MS : RENEW_CALL_MS,
        .urgent = true};
    s->renew.v1 = gh_tenant_start(s->tenant, &r, on_renewed, s);
}

void wh_session_renew(struct wh_session *s, struct wh_github_job *job, wh_github_renewed_fn done, void *data)
{
    if (!job->tenant) {
        wh_github_job_renew(job, done, data);
        return;
    }
    wh_session_renew_cancel(s);
    s->renew.done = done;
    s->renew.data = data;
    if (s->tenant)
        renew_v1(s, job->request_id);
    else
        wh_later(&s->renew.later, wh_http_client_loop(s->http), 0, no_server, s);
}

void wh_session_renew_cancel(struct wh_session *s)
{
    gh_tenant_cancel(&s->renew.v1);
    wh_later_cancel(&s->renew.later);
}
