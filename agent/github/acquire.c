/* Acquiring a job at the run service (runner-protocol.md §4.1). */
#include "github/session_internal.h"
#include "wherry/base/log.h"
#include "wherry/net/backoff.h"
#include "wherry/net/later.h"

#define ACQUIRE_TRIES 5
#define ACQUIRE_CALL_MS 100000

struct wh_acquire {
    struct wh_session *session;
    cJSON *body;
    char *url;
    struct gh_call *call;
    struct wh_later *later;
    unsigned tries;
    wh_acquire_fn done;
    void *data;
};

static void acquire_free(struct wh_acquire *a)
{
    gh_call_cancel(&a->call);
    wh_later_cancel(&a->later);
    cJSON_Delete(a->body);
    free(a->url);
    free(a);
}

void wh_acquire_cancel(struct wh_acquire **acquire)
{
    if (*acquire)
        acquire_free(*acquire);
    *acquire = NULL;
}

static void finish(struct wh_acquire *a, enum wh_outcome outcome, cJSON *message, struct wh_error *err)
{
    wh_acquire_fn done = a->done;
    void *data = a->data;
    wh_autojson *owned = message;
    acquire_free(a);
    done(data, outcome, &owned, err);
}

/* The body's own code counts where the service speaks for itself. */
static int refusal(const struct gh_answer *answer)
{
    int status = answer->status;
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
    int status = answer->err || answer->status >= 300 ? refusal(answer) : 0;
    if (status == 404 || status == 409 || status == 422) {
        finish(a, WH_OUT_SKIP, NULL, &err);
        return;
    }
    if (++a->tries < ACQUIRE_TRIES) {
        wh_log_warning("%s; trying again", wh_error_text(&err));
        wh_later(&a->later, wh_http_client_loop(a->session->http), wh_wait_ms(5000, 15000), acquire_send, a);
        return;
    }
    finish(a, answer->outcome == WH_OUT_DENIED ? WH_OUT_DENIED : WH_OUT_TRANSIENT, NULL, &err);
}

static void acquire_send(void *data)
{
    struct wh_acquire *a = data;
    struct gh_call_options o = {.http = a->session->http,
                                .method = "POST",
                                .url = a->url,
                                .body = a->body,
                                .source = a->session->tokens,
                                .timeout_ms = ACQUIRE_CALL_MS,
                                .max_body = WH_MAX_JOB_MESSAGE_BYTES};
    a->call = gh_call_start(&o, on_acquired, a);
}

struct wh_acquire *wh_session_acquire(struct wh_session *s, const struct wh_broker_message *job,
                                      wh_acquire_fn done, void *data)
{
    struct wh_acquire *a = wh_calloc(1, sizeof *a);
    a->session = s;
    a->done = done;
    a->data = data;
    a->url = gh_url(job->run_service_url ? job->run_service_url : s->config->server_url_v2, "acquirejob");
    a->body = cJSON_CreateObject();
    wh_json_add_string(a->body, "jobMessageId", job->request_id);
    wh_json_add_string(a->body, "runnerOS", "Linux");
    wh_json_add_string(a->body, "billingOwnerId", job->billing_owner_id);
    acquire_send(a);
    return a;
}
