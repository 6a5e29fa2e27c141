/* The broker's side of a session (V2): create, delete, long poll, acknowledge (runner-protocol.md §3). */
#include <utlist.h>

#include "github/session_internal.h"

#define POLL_CALL_MS 100000
#define ACK_CALL_MS 5000

/* ---- what an error of the broker means (§3.4) ---- */

enum wh_outcome gh_broker_outcome(const struct gh_answer *answer)
{
    if (!answer->status)
        return answer->outcome;
    const char *kind = NULL;
    if (wh_streq(wh_json_string(answer->json, "source"), "actions-broker-listener"))
        kind = wh_json_string(answer->json, "errorKind");
    const char *message = wh_json_string(answer->json, "errorMessage");
    if (wh_streq_ci(kind, "RunnerNotFound") || wh_streq_ci(kind, "TaskAgentNotFoundException"))
        return WH_OUT_REMOVED;
    if (wh_streq_ci(kind, "RunnerVersionTooOld"))
        return WH_OUT_TOO_OLD;
    if (wh_streq_ci(kind, "RunnerSessionInvalid"))
        return WH_OUT_SESSION_INVALID;
    if (wh_streq_ci(kind, "HostedRunnerDeprovisioned"))
        return WH_OUT_SHUTDOWN;
    if (wh_streq_ci(kind, "AcknowledgeJobNotFound"))
        return WH_OUT_SKIP;
    if (answer->status == 403 && message && strcasestr(message, "deprecated"))
        return WH_OUT_TOO_OLD;
    if (answer->status == 401 || answer->status == 403)
        return WH_OUT_DENIED;
    return WH_OUT_TRANSIENT;
}

/* ---- create, delete ---- */

static void on_created(void *data, struct gh_answer *answer)
{
    struct wh_session *s = data;
    wh_autoerror err = {0};
    if (answer->err) {
        enum wh_outcome outcome = gh_broker_outcome(answer);
        if (answer->status == 409)
            outcome = WH_OUT_CONFLICT;
        if (outcome == WH_OUT_SESSION_INVALID || outcome == WH_OUT_SKIP)
            outcome = WH_OUT_TRANSIENT;
        gh_session_wrap_refusal(outcome, answer->err);
        gh_op_end(&s->create, outcome, answer->err);
    } else if (gh_session_take_id(s, answer->json)) {
        gh_op_end(&s->create, WH_OUT_OK, NULL);
    } else {
        wh_autojson *none = answer->json ? NULL : wh_http_response_json(answer->http, &err);
        if (!none && err.code == WH_OK)
            wh_fail(&err, WH_E_PROTOCOL, "the answer has no sessionId");
        wh_wrap(&err, "create a session");
        gh_op_end(&s->create, WH_OUT_TRANSIENT, &err);
    }
}

void gh_broker_create(struct wh_session *s)
{
    wh_autojson *body = gh_session_body(s);
    wh_autofree char *url = gh_url(s->config->server_url_v2, "session");
    struct gh_call_options o = {.http = s->http,
                                .method = "POST",
                                .url = url,
                                .body = body,
                                .source = s->tokens,
                                .timeout_ms = GH_CREATE_CALL_MS};
    s->create.call = gh_call_start(&o, on_created, s);
}

static void on_deleted(void *data, struct gh_answer *answer)
{
    struct wh_session *s = data;
    gh_op_end(&s->remove, answer->err ? gh_broker_outcome(answer) : WH_OUT_OK, answer->err);
}

void gh_broker_delete(struct wh_session *s, const char *id)
{
    wh_autostr url = {0};
    wh_autofree char *base = gh_url(s->config->server_url_v2, "session");
    wh_str_add(&url, base);
    gh_query_add(&url, "sessionId", id);
    struct gh_call_options o = {.http = s->http,
                                .method = "DELETE",
                                .url = url.data,
                                .source = s->tokens,
                                .timeout_ms = GH_DELETE_CALL_MS};
    s->remove.call = gh_call_start(&o, on_deleted, s);
}

/* ---- poll ---- */

static void poll_failed(struct wh_session *s, struct gh_answer *answer)
{
    enum wh_outcome outcome = gh_broker_outcome(answer);
    if (answer->err->code == WH_E_TIMEOUT) {
        gh_poll_end(s, WH_OUT_EMPTY, NULL, NULL);
    } else if (s->start_at_broker && outcome == WH_OUT_SESSION_INVALID) {
        /* The V1 server named the broker with the session, but the broker does not know it: its own word
         * counts. */
        s->start_at_broker = false;
        gh_v1_poll(s);
    } else {
        /* Back to the V1 server, which may have another opinion by now. */
        s->start_at_broker = false;
        gh_poll_end(s, outcome, NULL, answer->err);
    }
}

static void poll_free(struct gh_broker_poll *p)
{
    gh_call_cancel(&p->call);
    free(p);
}

static void release(struct gh_broker_poll *p)
{
    if (p->left)
        DL_DELETE(p->session->left, p);
    poll_free(p);
}

void gh_broker_poll_cancel(struct gh_broker_poll **poll)
{
    if (*poll)
        release(*poll);
    *poll = NULL;
}

void gh_broker_polls_cancel(struct wh_session *s)
{
    struct gh_broker_poll *p;
    while ((p = s->left)) {
        DL_DELETE(s->left, p);
        poll_free(p);
    }
}

void gh_broker_polls_leave(struct wh_session *s)
{
    struct gh_broker_poll *p;
    int count;
    if (!s->poll.broker)
        return;
    DL_COUNT(s->left, p, count);
    if (count >= WH_MAX_LEFT_POLLS)
        release(s->left);
    p = wh_steal(&s->poll.broker);
    p->left = true;
    DL_APPEND(s->left, p);
}

/* Empty, as a rule; errors are the next poll's to find. */
static void on_left_polled(struct wh_session *s, const struct gh_answer *answer)
{
    struct wh_broker_message message;
    if (answer->err || answer->status != 200)
        return;
    struct wh_view body = wh_http_response_body(answer->http);
    if (wh_broker_message_parse(body.data, body.len, &message, NULL) == 0)
        gh_poll_late(s, &message);
}

static void on_polled(void *data, struct gh_answer *answer)
{
    struct gh_broker_poll *p = data;
    struct wh_session *s = p->session;
    wh_autoerror err = {0};
    bool left = p->left;
    p->call = NULL;
    if (!left)
        s->poll.broker = NULL;
    release(p);
    if (left) {
        on_left_polled(s, answer);
        return;
    }
    if (answer->err) {
        poll_failed(s, answer);
        return;
    }
    struct wh_view body = wh_http_response_body(answer->http);
    struct wh_view trimmed = wh_view_trim(body);
    if (answer->status != 200 || trimmed.len == 0 || wh_view_eq(trimmed, "null")) {
        gh_poll_end(s, WH_OUT_EMPTY, NULL, NULL);
        return;
    }
    struct wh_broker_message message = {0};
    if (wh_broker_message_parse(body.data, body.len, &message, &err))
        gh_poll_end(s, WH_OUT_TRANSIENT, NULL, &err);
    else
        gh_poll_message(s, &message, false);
}

void gh_broker_poll(struct wh_session *s, const char *base)
{
    wh_autostr url = {0};
    wh_autofree char *message = gh_url(base, "message");
    wh_str_add(&url, message);
    gh_session_add_identity(s, &url, s->poll.busy);
    gh_query_add(&url, "disableUpdate", "true");
    struct gh_call_options o = {.http = s->http,
                                .method = "GET",
                                .url = url.data,
                                .source = s->tokens,
                                .timeout_ms = POLL_CALL_MS,
                                .fresh = s->poll.fresh,
                                .max_body = WH_MAX_MESSAGE_BYTES};
    struct gh_broker_poll *p = wh_calloc(1, sizeof *p);
    p->session = s;
    p->call = gh_call_start(&o, on_polled, p);
    s->poll.broker = p;
}

/* ---- acknowledge ---- */

static void on_acknowledged(void *data, struct gh_answer *answer)
{
    struct wh_session *s = data;
    gh_op_end(&s->ack, answer->err ? gh_broker_outcome(answer) : WH_OUT_OK, answer->err);
}

void gh_broker_acknowledge(struct wh_session *s, const char *base, const char *request_id)
{
    wh_autostr url = {0};
    wh_autofree char *path = gh_url(base, "acknowledge");
    wh_str_add(&url, path);
    gh_session_add_identity(s, &url, false);
    wh_autojson *body = cJSON_CreateObject();
    wh_json_add_string(body, "runnerRequestId", request_id);
    struct gh_call_options o = {.http = s->http,
                                .method = "POST",
                                .url = url.data,
                                .body = body,
                                .source = s->tokens,
                                .timeout_ms = ACK_CALL_MS};
    s->ack.call = gh_call_start(&o, on_acknowledged, s);
}
