/* The request of a job at a V1 server, by the listener's token: its lock, which tells the runner's present
 * name (runner-protocol.md §4.4), and with old plans its end (§4.6). */
#include "github/job_internal.h"
#include "github/session_internal.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define END_FOR_MS ((uint64_t)15 * 60 * 1000)
#define END_PAUSE_MIN_MS 2000
#define END_PAUSE_MAX_MS 20000
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

static struct gh_tenant_call *patch(struct wh_session *s, int64_t request_id, const cJSON *body,
                                    bool troubled, gh_answer_fn done)
{
    char pool[MAX_NUMBER], request[MAX_NUMBER];
    snprintf(pool, sizeof pool, "%lld", (long long)s->config->group_id);
    snprintf(request, sizeof request, "%lld", (long long)request_id);
    struct gh_tenant_request r = {
        .resource = WH_RESOURCE_JOBREQUESTS,
        .method = "PATCH",
        .values = (struct wh_route_value[]){{"poolId", pool}, {"requestId", request}, {0}},
        .query = (struct wh_route_value[]){{"lockToken", GH_ZERO_GUID}, {0}},
        .body = body,
        .timeout_ms = troubled ? RENEW_CALL_TROUBLED_MS : RENEW_CALL_MS,
        .fresh = troubled, /* whatever held up the last one */
        .urgent = true};
    return gh_tenant_start(s->tenant, &r, done, s);
}

static void renew_v1(struct wh_session *s, int64_t request_id)
{
    wh_autojson *body = cJSON_CreateObject();
    wh_json_add_int(body, "requestId", request_id);
    s->renew.v1 = patch(s, request_id, body, s->renew.troubled, on_renewed);
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

/* ---- the end ---- */

void wh_session_end_request_cancel(struct wh_session *s)
{
    gh_tenant_cancel(&s->end.v1);
    wh_later_cancel(&s->end.later);
    cJSON_Delete(s->end.body);
    s->end.body = NULL;
    s->end.done = NULL;
}

static void end_finish(struct wh_session *s, struct wh_error *err)
{
    wh_github_done_fn done = s->end.done;
    wh_session_end_request_cancel(s);
    if (done)
        done(s->end.data, err);
}

static void end_send(void *data);

static void on_ended(void *data, struct gh_answer *answer)
{
    struct wh_session *s = data;
    s->end.v1 = NULL;
    if (!answer->err || gh_v1_outcome(answer) == WH_OUT_SKIP || answer->status == 404) {
        end_finish(s, NULL); /* what the server does not know (any more) is over */
        return;
    }
    bool final = answer->status >= 400 && answer->status <= 499 && answer->status != 401 &&
                 answer->status != 408 && answer->status != 429;
    if (!final && wh_mono_ms() - s->end.since_ms < END_FOR_MS) {
        wh_log_warning("ending the job's request: %s; trying again", wh_error_text(answer->err));
        wh_later(&s->end.later, wh_http_client_loop(s->http), wh_backoff_next(&s->end.backoff), end_send, s);
        return;
    }
    wh_wrap(answer->err, "end the job's request");
    end_finish(s, answer->err);
}

static void end_send(void *data)
{
    struct wh_session *s = data;
    s->end.v1 = patch(s, s->end.request_id, s->end.body, s->end.backoff.tries > 0, on_ended);
}

static void end_nowhere(void *data)
{
    wh_autoerror err = {0};
    wh_fail(&err, WH_E_UNSUPPORTED,
            "this runner's file names no server (serverUrl) that such a job's request could be ended at");
    end_finish(data, &err);
}

void wh_session_end_request(struct wh_session *s, struct wh_github_job *job, enum wh_task_result result,
                            wh_github_done_fn done, void *data)
{
    char now[40];
    const char *text = wh_task_result_text(result);
    wh_session_end_request_cancel(s);
    s->end.done = done;
    s->end.data = data;
    s->end.request_id = job->request_id;
    s->end.since_ms = wh_mono_ms();
    s->end.backoff = (struct wh_backoff){.min_ms = END_PAUSE_MIN_MS, .max_ms = END_PAUSE_MAX_MS};
    s->end.body = cJSON_CreateObject();
    wh_json_add_int(s->end.body, "requestId", job->request_id);
    wh_json_add_string(s->end.body, "finishTime", wh_time_iso(wh_now_ns(), 7, now));
    wh_json_add_string(s->end.body, "result", text ? text : "failed");
    wh_later(&s->end.later, wh_http_client_loop(s->http), 0, s->tenant ? end_send : end_nowhere, s);
}
