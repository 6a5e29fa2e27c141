/* Acquiring a job: at the run service, or at a V1 server, unless its announcement was the job already
 * (runner-protocol.md §3.6, §4.1). */
#include "github/session_internal.h"
#include "wherry/base/log.h"
#include "wherry/net/backoff.h"
#include "wherry/net/later.h"

#define ACQUIRE_TRIES 5
#define ACQUIRE_CALL_MS 100000

struct wh_acquire {
    struct wh_session *session;
    cJSON *body;
    char *url; /* of the run service; NULL: the V1 server has the job */
    char *request_id;
    cJSON *message; /* it came with the announcement */
    struct gh_call *call;
    struct gh_tenant_call *v1;
    struct wh_later *later;
    unsigned tries;
    bool last; /* no further try */
    wh_acquire_fn done;
    void *data;
};

static void acquire_free(struct wh_acquire *a)
{
    gh_call_cancel(&a->call);
    gh_tenant_cancel(&a->v1);
    wh_later_cancel(&a->later);
    cJSON_Delete(a->body);
    cJSON_Delete(a->message);
    free(a->url);
    free(a->request_id);
    free(a);
}

void wh_acquire_cancel(struct wh_acquire **acquire)
{
    if (*acquire)
        acquire_free(*acquire);
    *acquire = NULL;
}

bool wh_acquire_end_soon(struct wh_acquire *a)
{
    a->last = true;
    return a->message || gh_call_is_out(a->call) || gh_tenant_is_out(a->v1);
}

static void finish(struct wh_acquire *a, enum wh_outcome outcome, cJSON *message, struct wh_error *err)
{
    wh_acquire_fn done = a->done;
    void *data = a->data;
    wh_autojson *owned = message;
    const char *job_id = message ? wh_json_string(message, "jobId") : NULL;
    if (job_id) {
        free(a->session->acquired_job);
        a->session->acquired_job = wh_strdup(job_id);
    }
    acquire_free(a);
    done(data, outcome, &owned, err);
}

/* The body's own code counts where the service speaks for itself. */
static int refusal(const struct wh_acquire *a, const struct gh_answer *answer)
{
    int status = answer->status;
    if (!a->url)
        return gh_v1_outcome(answer) == WH_OUT_SKIP ? 404 : status;
    if (wh_streq(wh_json_string(answer->json, "source"), "actions-run-service"))
        status = (int)wh_json_int(answer->json, "statusCode", status);
    return status;
}

static void acquire_send(void *data);

static void on_acquired(void *data, struct gh_answer *answer)
{
    struct wh_acquire *a = data;
    wh_autoerror err = {0};
    a->call = NULL;
    a->v1 = NULL;
    if (!answer->err && answer->json) {
        finish(a, WH_OUT_OK, wh_steal(&answer->json), NULL);
        return;
    }
    if (answer->err) {
        wh_error_move(&err, answer->err);
    } else {
        /* The job is ours by now: the same answer would come again as a conflict. Say what it was. */
        wh_autojson *none = wh_http_response_json(answer->http, &err);
        if (none) /* cannot be: it would have been parsed before */
            wh_fail(&err, WH_E_PROTOCOL, "the job message cannot be read");
    }
    wh_wrap(&err, "acquire the job");
    int status = answer->err || answer->status >= 300 ? refusal(a, answer) : 0;
    if (status == 404 || status == 409 || status == 422) {
        finish(a, WH_OUT_SKIP, NULL, &err);
        return;
    }
    if (++a->tries < ACQUIRE_TRIES && !a->last) {
        wh_log_warning("%s; trying again", wh_error_text(&err));
        wh_later(&a->later, wh_http_client_loop(a->session->http), wh_wait_ms(5000, 15000), acquire_send, a);
        return;
    }
    finish(a, answer->outcome == WH_OUT_DENIED ? WH_OUT_DENIED : WH_OUT_TRANSIENT, NULL, &err);
}

static void acquire_from_v1(struct wh_acquire *a)
{
    struct gh_tenant_request r = {.resource = WH_RESOURCE_JOB_MESSAGE,
                                  .method = "GET",
                                  .values = (struct wh_route_value[]){{"messageId", a->request_id}, {0}},
                                  .timeout_ms = ACQUIRE_CALL_MS,
                                  .urgent = true,
                                  .max_body = WH_MAX_JOB_MESSAGE_BYTES};
    a->v1 = gh_tenant_start(a->session->tenant, &r, on_acquired, a);
}

static void dispatched(struct wh_session *s, const char *request_id);

/* The V1 server keeps the message until it is deleted: not before its taker has it safe. */
static void acquire_here(void *data)
{
    struct wh_acquire *a = data;
    struct wh_session *s = a->session;
    wh_autofree char *request_id = wh_strdup(a->request_id);
    finish(a, WH_OUT_OK, wh_steal(&a->message), NULL);
    dispatched(s, request_id);
}

static void acquire_nowhere(void *data)
{
    wh_autoerror err = {0};
    wh_fail(&err, WH_E_PROTOCOL, "acquire the job: its announcement names no run service");
    finish(data, WH_OUT_SKIP, NULL, &err);
}

static void acquire_send(void *data)
{
    struct wh_acquire *a = data;
    if (!a->url) {
        acquire_from_v1(a);
        return;
    }
    struct gh_call_options o = {.http = a->session->http,
                                .method = "POST",
                                .url = a->url,
                                .body = a->body,
                                .source = a->session->tokens,
                                .timeout_ms = ACQUIRE_CALL_MS,
                                .max_body = WH_MAX_JOB_MESSAGE_BYTES};
    a->call = gh_call_start(&o, on_acquired, a);
}

static void acquire_begin(struct wh_acquire *a)
{
    uv_loop_t *loop = wh_http_client_loop(a->session->http);
    if (a->message)
        wh_later(&a->later, loop, 0, acquire_here, a);
    else if (!a->url && !a->session->tenant)
        wh_later(&a->later, loop, 0, acquire_nowhere, a);
    else
        acquire_send(a);
}

/* Dealt with: a V1 server must not announce it again, and if it does all the same, that goes too. */
static void dispatched(struct wh_session *s, const char *request_id)
{
    if (s->announced_id && wh_streq_ci(s->announced_request, request_id))
        gh_v1_delete_message(s, s->announced_id);
    free(s->dispatched_request);
    s->dispatched_request = wh_strdup(request_id);
}

struct wh_acquire *wh_session_acquire(struct wh_session *s, const struct wh_broker_message *job,
                                      wh_acquire_fn done, void *data)
{
    struct wh_acquire *a = wh_calloc(1, sizeof *a);
    a->session = s;
    a->done = done;
    a->data = data;
    a->request_id = wh_strdup(job->request_id);
    a->url = job->run_service_url ? gh_url(job->run_service_url, "acquirejob") : NULL;
    if (s->announced_job && wh_streq_ci(s->announced_request, job->request_id))
        a->message = wh_steal(&s->announced_job);
    a->body = cJSON_CreateObject();
    wh_json_add_string(a->body, "jobMessageId", job->request_id);
    wh_json_add_string(a->body, "runnerOS", "Linux");
    wh_json_add_string(a->body, "billingOwnerId", job->billing_owner_id);
    if (!a->message)
        dispatched(s, job->request_id);
    acquire_begin(a);
    return a;
}
