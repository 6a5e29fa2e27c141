/* A runner's session, at the broker or at a V1 server (runner-protocol.md §3): what is common to both. */
#include "wherry/github/session.h"

#include <stdio.h>
#include <sys/utsname.h>

#include "github/session_internal.h"
#include "wherry/base/log.h"
#include "wherry/github/register.h"
#include "wherry/net/backoff.h"

struct wh_session *wh_session_new(struct wh_http_client *http, const struct wh_runner_config *config,
                                  const struct wh_rsa_key *key, const char *version, const char *owner)
{
    struct wh_session *s = wh_calloc(1, sizeof *s);
    s->http = http;
    s->config = config;
    s->key = key;
    s->version = wh_strdup(version);
    s->owner = wh_strdup(owner);
    s->agent_name = wh_strdup(config->agent_name ? config->agent_name : config->name);
    s->tokens = wh_token_source_new(http, key, config);
    if (config->server_url && *config->server_url)
        s->tenant = gh_tenant_new(http, config->server_url, NULL, s->tokens);
    return s;
}

static void op_cancel(struct gh_session_op *op)
{
    gh_call_cancel(&op->call);
    gh_tenant_cancel(&op->v1);
    wh_later_cancel(&op->later);
}

void wh_session_free(struct wh_session *s)
{
    if (!s)
        return;
    op_cancel(&s->create);
    op_cancel(&s->remove);
    op_cancel(&s->ack);
    wh_session_poll_abort(s);
    wh_session_renew_cancel(s);
    wh_session_end_request_cancel(s);
    wh_session_forget(s);
    gh_tenant_free(s->tenant);
    wh_token_source_free(s->tokens);
    cJSON_Delete(s->announced_job);
    free(s->announced_id);
    free(s->announced_request);
    free(s->dispatched_request);
    free(s->acquired_job);
    free(s->version);
    free(s->owner);
    free(s->agent_name);
    free(s);
}

void wh_session_set_version(struct wh_session *s, const char *version)
{
    free(s->version);
    s->version = wh_strdup(version);
}

void wh_session_one_job(struct wh_session *s)
{
    s->one_job = true;
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
    gh_broker_polls_cancel(s);
    free(s->id);
    s->id = NULL;
    free(s->migrated_url);
    s->migrated_url = NULL;
    free(s->last_message_id);
    s->last_message_id = NULL;
    s->start_at_broker = false;
    s->empties = 0;
    gh_session_key_wipe(&s->message_key);
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

/* NULL: none is known. */
static const char *broker(const struct wh_session *s)
{
    const char *url = s->migrated_url ? s->migrated_url : s->config->server_url_v2;
    return url && *url ? url : NULL;
}

/* ---- operations ---- */

void gh_op_begin(struct gh_session_op *op, struct wh_session *s, wh_session_fn done, void *data)
{
    op_cancel(op);
    op->session = s;
    op->done = done;
    op->data = data;
}

void gh_op_end(struct gh_session_op *op, enum wh_outcome outcome, struct wh_error *err)
{
    wh_session_fn done = op->done;
    op->call = NULL;
    op->v1 = NULL;
    op->done = NULL;
    if (done)
        done(op->data, outcome, err);
}

static void nothing_asked(void *data)
{
    gh_op_end(data, WH_OUT_OK, NULL);
}

void gh_op_end_later(struct gh_session_op *op)
{
    wh_later(&op->later, wh_http_client_loop(op->session->http), 0, nothing_asked, op);
}

/* ---- create, delete, acknowledge ---- */

cJSON *gh_session_body(const struct wh_session *s)
{
    struct utsname uts = {0};
    uname(&uts);
    wh_autofree char *os = wh_printf("%s %s", uts.sysname, uts.release);
    cJSON *body = cJSON_CreateObject();
    wh_json_add_string(body, "sessionId", GH_ZERO_GUID);
    wh_json_add_string(body, "ownerName", s->owner);
    cJSON *agent = cJSON_AddObjectToObject(body, "agent");
    wh_json_add_int(agent, "id", s->config->id);
    wh_json_add_string(agent, "name", s->agent_name);
    wh_json_add_string(agent, "version", s->version);
    wh_json_add_string(agent, "osDescription", os);
    cJSON_AddBoolToObject(agent, "ephemeral", s->config->ephemeral);
    wh_json_add_int(agent, "status", 0);
    cJSON_AddNullToObject(agent, "provisioningState");
    cJSON_AddBoolToObject(body, "useFipsEncryption", false);
    return body;
}

void gh_session_wrap_refusal(enum wh_outcome outcome, struct wh_error *err)
{
    if (outcome == WH_OUT_CONFLICT)
        wh_wrap(err, "another process serves as this runner, or did so until a moment ago");
    wh_wrap(err, "create a session");
}

bool gh_session_take_id(struct wh_session *s, const cJSON *answer)
{
    wh_autofree char *id = wh_json_text(answer, "sessionId");
    if (!id || !*id || strlen(id) > WH_MAX_ID_CHARS)
        return false;
    wh_session_forget(s);
    s->id = wh_steal(&id);
    return true;
}

void wh_session_create(struct wh_session *s, wh_session_fn done, void *data)
{
    gh_op_begin(&s->create, s, done, data);
    if (gh_session_is_v1(s))
        gh_v1_create(s);
    else
        gh_broker_create(s);
}

void wh_session_delete_id(struct wh_session *s, const char *id, wh_session_fn done, void *data)
{
    gh_op_begin(&s->remove, s, done, data);
    if (gh_session_is_v1(s))
        gh_v1_delete(s, id);
    else
        gh_broker_delete(s, id);
}

void wh_session_delete(struct wh_session *s, wh_session_fn done, void *data)
{
    wh_autofree char *id = wh_strdup(s->id ? s->id : "");
    wh_session_forget(s);
    wh_session_delete_id(s, id, done, data);
}

void wh_session_acknowledge(struct wh_session *s, const struct wh_broker_message *job, wh_session_fn done,
                            void *data)
{
    gh_op_begin(&s->ack, s, done, data);
    if (broker(s))
        gh_broker_acknowledge(s, broker(s), job->request_id);
    else
        gh_op_end_later(&s->ack); /* only a broker takes it */
}

/* ---- poll ---- */

void gh_session_add_identity(const struct wh_session *s, struct wh_str *url, bool busy)
{
    gh_query_add(url, "sessionId", s->id ? s->id : "");
    gh_query_add(url, "status", busy ? "Busy" : "Online");
    gh_query_add(url, "runnerVersion", s->version);
    gh_query_add(url, "os", "Linux");
    gh_query_add(url, "architecture", wh_runner_architecture());
}

void gh_poll_end(struct wh_session *s, enum wh_outcome outcome, const struct wh_broker_message *message,
                 struct wh_error *err)
{
    wh_poll_fn done = s->poll.done;
    s->poll.done = NULL;
    if (done)
        done(s->poll.data, outcome, message, err);
}

static void poll_begin(void *data)
{
    struct wh_session *s = data;
    if (!gh_session_is_v1(s))
        gh_broker_poll(s, broker(s));
    else if (s->start_at_broker && s->migrated_url)
        gh_broker_poll(s, s->migrated_url);
    else
        gh_v1_poll(s);
}

void wh_session_poll(struct wh_session *s, bool busy, bool fresh_connection, wh_poll_fn done, void *data)
{
    wh_session_poll_abort(s);
    s->poll.busy = busy;
    s->poll.fresh = fresh_connection;
    s->poll.done = done;
    s->poll.data = data;
    poll_begin(s);
}

void wh_session_poll_abort(struct wh_session *s)
{
    gh_broker_poll_cancel(&s->poll.broker);
    gh_tenant_cancel(&s->poll.v1);
    wh_later_cancel(&s->poll.later);
    s->poll.done = NULL;
}

void wh_session_poll_leave(struct wh_session *s, wh_late_message_fn late, void *data)
{
    s->late = late;
    s->late_data = data;
    if (!s->poll.busy) /* no job comes in another one */
        gh_broker_polls_leave(s);
    wh_session_poll_abort(s); /* a V1 server sends again what was not deleted */
}

/* ---- what a poll brought ---- */

/* A V1 server sends a message until it is deleted: at once, but for a job (when it is acquired; one that is
 * left to others stays), and for a shutdown, which the next start may hear again. */
static bool delete_now(const struct wh_session *s, const struct wh_broker_message *m)
{
    if (m->type == WH_MESSAGE_SHUTDOWN)
        return false;
    if (m->type == WH_MESSAGE_CANCEL && s->one_job && s->acquired_job)
        return wh_streq_ci(s->acquired_job, m->job_id);
    if (m->type == WH_MESSAGE_JOB)
        return s->dispatched_request && wh_streq_ci(s->dispatched_request, m->request_id);
    return true;
}

static void note_announced(struct wh_session *s, struct wh_broker_message *m, bool from_v1)
{
    free(s->announced_id);
    free(s->announced_request);
    cJSON_Delete(s->announced_job);
    s->announced_id = from_v1 ? wh_strdup(m->id) : NULL;
    s->announced_request = wh_strdup(m->request_id);
    s->announced_job = wh_steal(&m->job);
}

static bool stays_here(const struct wh_broker_message *m)
{
    return wh_starts_with_ci(m->type_text, "Hosted");
}

static void take_message(struct wh_session *s, struct wh_broker_message *m, bool from_v1)
{
    if (gh_session_is_v1(s) && *m->id) {
        free(s->last_message_id);
        s->last_message_id = wh_strdup(m->id);
    }
    s->empties = 0;
    if (from_v1 && delete_now(s, m))
        gh_v1_delete_message(s, m->id);
    if (m->type == WH_MESSAGE_JOB)
        note_announced(s, m, from_v1);
}

void gh_poll_late(struct wh_session *s, struct wh_broker_message *m)
{
    take_message(s, m, false);
    if (!stays_here(m))
        s->late(s->late_data, m);
    wh_broker_message_clear(m);
}

void gh_poll_message(struct wh_session *s, struct wh_broker_message *m, bool from_v1)
{
    take_message(s, m, from_v1);
    if (stays_here(m)) {
        wh_log_debug("a message of type %.60s is not for this program", m->type_text);
        wh_later(&s->poll.later, wh_http_client_loop(s->http), wh_wait_ms(1000, 2000), poll_begin, s);
    } else {
        gh_poll_end(s, WH_OUT_OK, m, NULL);
    }
    wh_broker_message_clear(m);
}
