/* A runner's session at the broker: create, delete, long poll, acknowledge (runner-protocol.md §3). */
#include "wherry/github/session.h"

#include <stdio.h>
#include <sys/utsname.h>

#include "github/call.h"
#include "github/session_internal.h"
#include "wherry/github/register.h"

#define ZERO_GUID "00000000-0000-0000-0000-000000000000"
#define POLL_CALL_MS 100000
#define ACK_CALL_MS 5000
#define DELETE_CALL_MS 5000
#define CREATE_CALL_MS 60000

struct wh_session *wh_session_new(struct wh_http_client *http, const struct wh_runner_config *config,
                                  const struct wh_rsa_key *key, const char *version, const char *owner)
{
    struct wh_session *s = wh_calloc(1, sizeof *s);
    s->http = http;
    s->config = config;
    s->version = wh_strdup(version);
    s->owner = wh_strdup(owner);
    s->tokens = wh_token_source_new(http, key, config->ps256, config->client_id, config->authorization_url);
    return s;
}

void wh_session_free(struct wh_session *s)
{
    if (!s)
        return;
    gh_call_cancel(&s->create.call);
    gh_call_cancel(&s->remove.call);
    gh_call_cancel(&s->ack.call);
    gh_call_cancel(&s->poll_call);
    wh_token_source_free(s->tokens);
    free(s->version);
    free(s->owner);
    free(s->id);
    free(s->migrated_url);
    free(s);
}

void wh_session_set_version(struct wh_session *s, const char *version)
{
    free(s->version);
    s->version = wh_strdup(version);
}

bool wh_session_is_open(const struct wh_session *s)
{
    return s->id != NULL;
}

const char *wh_session_id(const struct wh_session *s)
{
    return s->id;
}

void wh_session_forget(struct wh_session *s)
{
    free(s->id);
    s->id = NULL;
    free(s->migrated_url);
    s->migrated_url = NULL;
}

void wh_session_migrate(struct wh_session *s, const char *broker_url)
{
    free(s->migrated_url);
    s->migrated_url = wh_strdup(broker_url);
}

void wh_session_drop_token(struct wh_session *s)
{
    wh_token_drop(s->tokens);
}

static const char *broker(const struct wh_session *s)
{
    return s->migrated_url ? s->migrated_url : s->config->server_url_v2;
}

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

static void finish(struct gh_session_op *op, enum wh_outcome outcome, struct wh_error *err)
{
    wh_session_fn done = op->done;
    op->call = NULL;
    op->done = NULL;
    if (done)
        done(op->data, outcome, err);
}

/* ---- create ---- */

static cJSON *session_body(const struct wh_session *s)
{
    struct utsname uts = {0};
    uname(&uts);
    wh_autofree char *os = wh_printf("%s %s", uts.sysname, uts.release);
    cJSON *body = cJSON_CreateObject();
    wh_json_add_string(body, "sessionId", ZERO_GUID);
    wh_json_add_string(body, "ownerName", s->owner);
    cJSON *agent = cJSON_AddObjectToObject(body, "agent");
    wh_json_add_int(agent, "id", s->config->id);
    wh_json_add_string(agent, "name", s->config->name);
    wh_json_add_string(agent, "version", s->version);
    wh_json_add_string(agent, "osDescription", os);
    cJSON_AddBoolToObject(agent, "ephemeral", s->config->ephemeral);
    wh_json_add_int(agent, "status", 0);
    cJSON_AddNullToObject(agent, "provisioningState");
    cJSON_AddBoolToObject(body, "useFipsEncryption", false);
    return body;
}

static void on_created(void *data, struct gh_answer *answer)
{
    struct wh_session *s = data;
    if (answer->err) {
        enum wh_outcome outcome = gh_broker_outcome(answer);
        if (answer->status == 409)
            outcome = WH_OUT_CONFLICT;
        if (outcome == WH_OUT_SESSION_INVALID || outcome == WH_OUT_SKIP)
            outcome = WH_OUT_TRANSIENT;
        wh_wrap(answer->err, "create a session");
        finish(&s->create, outcome, answer->err);
        return;
    }
    wh_autofree char *id = wh_json_text(answer->json, "sessionId");
    if (!id || !*id || strlen(id) > WH_MAX_ID_CHARS) {
        wh_autoerror err = {0};
        wh_fail(&err, WH_E_PROTOCOL, "create a session: the answer has no sessionId");
        finish(&s->create, WH_OUT_TRANSIENT, &err);
        return;
    }
    wh_session_forget(s);
    s->id = wh_steal(&id);
    finish(&s->create, WH_OUT_OK, NULL);
}

void wh_session_create(struct wh_session *s, wh_session_fn done, void *data)
{
    wh_autojson *body = session_body(s);
    wh_autofree char *url = gh_url(s->config->server_url_v2, "session");
    struct gh_call_options o = {.http = s->http,
                                .method = "POST",
                                .url = url,
                                .body = body,
                                .source = s->tokens,
                                .timeout_ms = CREATE_CALL_MS};
    gh_call_cancel(&s->create.call);
    s->create.done = done;
    s->create.data = data;
    s->create.call = gh_call_start(&o, on_created, s);
}

/* ---- delete ---- */

static void on_deleted(void *data, struct gh_answer *answer)
{
    struct wh_session *s = data;
    finish(&s->remove, answer->err ? gh_broker_outcome(answer) : WH_OUT_OK, answer->err);
}

void wh_session_delete_id(struct wh_session *s, const char *id, wh_session_fn done, void *data)
{
    wh_autostr url = {0};
    wh_autofree char *base = gh_url(s->config->server_url_v2, "session");
    wh_str_add(&url, base);
    gh_query_add(&url, "sessionId", id);
    struct gh_call_options o = {.http = s->http,
                                .method = "DELETE",
                                .url = url.data,
                                .source = s->tokens,
                                .timeout_ms = DELETE_CALL_MS};
    gh_call_cancel(&s->remove.call);
    s->remove.done = done;
    s->remove.data = data;
    s->remove.call = gh_call_start(&o, on_deleted, s);
}

void wh_session_delete(struct wh_session *s, wh_session_fn done, void *data)
{
    wh_autofree char *id = wh_strdup(s->id ? s->id : "");
    wh_session_forget(s);
    wh_session_delete_id(s, id, done, data);
}

/* ---- poll ---- */

static void add_identity(const struct wh_session *s, struct wh_str *url, bool busy)
{
    gh_query_add(url, "sessionId", s->id ? s->id : "");
    gh_query_add(url, "status", busy ? "Busy" : "Online");
    gh_query_add(url, "runnerVersion", s->version);
    gh_query_add(url, "os", "Linux");
    gh_query_add(url, "architecture", wh_runner_architecture());
}

static void poll_done(struct wh_session *s, enum wh_outcome outcome, const struct wh_broker_message *message,
                      struct wh_error *err)
{
    wh_poll_fn done = s->poll_done;
    s->poll_done = NULL;
    if (done)
        done(s->poll_data, outcome, message, err);
}

static void on_polled(void *data, struct gh_answer *answer)
{
    struct wh_session *s = data;
    wh_autoerror err = {0};
    s->poll_call = NULL;
    if (answer->err) {
        enum wh_outcome outcome = gh_broker_outcome(answer);
        if (answer->err->code == WH_E_TIMEOUT)
            poll_done(s, WH_OUT_EMPTY, NULL, NULL);
        else
            poll_done(s, outcome, NULL, answer->err);
        return;
    }
    struct wh_view body = wh_http_response_body(answer->http);
    struct wh_view trimmed = wh_view_trim(body);
    if (answer->status != 200 || trimmed.len == 0 || wh_view_eq(trimmed, "null")) {
        poll_done(s, WH_OUT_EMPTY, NULL, NULL);
        return;
    }
    wh_autobrokermessage message = {0};
    if (wh_broker_message_parse(body.data, body.len, &message, &err))
        poll_done(s, WH_OUT_TRANSIENT, NULL, &err);
    else
        poll_done(s, WH_OUT_OK, &message, NULL);
}

void wh_session_poll(struct wh_session *s, bool busy, bool fresh_connection, wh_poll_fn done, void *data)
{
    wh_autostr url = {0};
    wh_autofree char *base = gh_url(broker(s), "message");
    wh_str_add(&url, base);
    add_identity(s, &url, busy);
    gh_query_add(&url, "disableUpdate", "true");
    struct gh_call_options o = {.http = s->http,
                                .method = "GET",
                                .url = url.data,
                                .source = s->tokens,
                                .timeout_ms = POLL_CALL_MS,
                                .fresh = fresh_connection,
                                .max_body = WH_MAX_MESSAGE_BYTES};
    gh_call_cancel(&s->poll_call);
    s->poll_done = done;
    s->poll_data = data;
    s->poll_call = gh_call_start(&o, on_polled, s);
}

void wh_session_poll_abort(struct wh_session *s)
{
    gh_call_cancel(&s->poll_call);
    s->poll_done = NULL;
}

/* ---- acknowledge ---- */

static void on_acknowledged(void *data, struct gh_answer *answer)
{
    struct wh_session *s = data;
    finish(&s->ack, answer->err ? gh_broker_outcome(answer) : WH_OUT_OK, answer->err);
}

void wh_session_acknowledge(struct wh_session *s, const struct wh_broker_message *job, wh_session_fn done,
                            void *data)
{
    wh_autostr url = {0};
    wh_autofree char *base = gh_url(broker(s), "acknowledge");
    wh_str_add(&url, base);
    add_identity(s, &url, false);
    wh_autojson *body = cJSON_CreateObject();
    wh_json_add_string(body, "runnerRequestId", job->request_id);
    struct gh_call_options o = {.http = s->http,
                                .method = "POST",
                                .url = url.data,
                                .body = body,
                                .source = s->tokens,
                                .timeout_ms = ACK_CALL_MS};
    gh_call_cancel(&s->ack.call);
    s->ack.done = done;
    s->ack.data = data;
    s->ack.call = gh_call_start(&o, on_acknowledged, s);
}
