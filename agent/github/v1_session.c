/* A V1 server's side of a session: create with its key, delete, long poll, deletion of messages
 * (runner-protocol.md §3). */
#include "github/session_internal.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/github/register.h"
#include "wherry/net/backoff.h"

#define POLL_CALL_MS 60000
#define DELETE_MESSAGE_MS 30000
/* More empty answers than this within half an hour: the service is not right, and is not to be stormed. */
#define MAX_EMPTIES 50
#define EMPTIES_MS ((uint64_t)30 * 60 * 1000)
#define MAX_NUMBER 24

struct pool {
    char id[MAX_NUMBER];
};

static struct pool pool_of(const struct wh_session *s)
{
    struct pool pool;
    snprintf(pool.id, sizeof pool.id, "%lld", (long long)s->config->group_id);
    return pool;
}

/* ---- create ---- */

static const char *migration_of(const cJSON *answer)
{
    const char *url = wh_json_string(wh_json_get(answer, "brokerMigrationMessage"), "brokerBaseUrl");
    return url && (wh_starts_with_ci(url, "https://") || wh_starts_with_ci(url, "http://")) ? url : NULL;
}

static int take_session(struct wh_session *s, const cJSON *answer, struct wh_error *err)
{
    struct gh_session_key key;
    if (gh_session_key_read(wh_json_get(answer, "encryptionKey"),
                            wh_json_bool(answer, "useFipsEncryption", false), s->key, &key, err))
        return -1;
    if (!gh_session_take_id(s, answer)) {
        gh_session_key_wipe(&key);
        return wh_fail(err, WH_E_PROTOCOL, "the answer has no sessionId");
    }
    s->message_key = key;
    gh_session_key_wipe(&key);
    if (migration_of(answer)) {
        wh_log_debug("the session is also at %s", migration_of(answer));
        s->migrated_url = wh_strdup(migration_of(answer));
        s->start_at_broker = true;
    }
    return 0;
}

static void on_created(void *data, struct gh_answer *answer)
{
    struct wh_session *s = data;
    wh_autoerror err = {0};
    s->create.v1 = NULL;
    if (answer->err) {
        enum wh_outcome outcome = gh_v1_outcome(answer);
        if (answer->status == 409)
            outcome = WH_OUT_CONFLICT;
        else if (outcome == WH_OUT_REMOVED)
            outcome = WH_OUT_DENIED; /* our word against theirs: the files stay (§3.4) */
        else if (outcome == WH_OUT_SESSION_INVALID || outcome == WH_OUT_SKIP)
            outcome = WH_OUT_TRANSIENT;
        gh_session_wrap_refusal(outcome, answer->err);
        gh_op_end(&s->create, outcome, answer->err);
    } else if (take_session(s, answer->json, &err)) {
        /* A session that we cannot read lives on, and would be a conflict: away with it. */
        wh_autofree char *id = wh_json_text(answer->json, "sessionId");
        if (id && *id && strlen(id) <= WH_MAX_ID_CHARS)
            wh_session_delete_id(s, id, NULL, NULL);
        wh_wrap(&err, "create a session");
        gh_op_end(&s->create, WH_OUT_TRANSIENT, &err);
    } else {
        gh_op_end(&s->create, WH_OUT_OK, NULL);
    }
}

void gh_v1_create(struct wh_session *s)
{
    wh_autojson *body = gh_session_body(s);
    struct pool pool = pool_of(s);
    struct gh_tenant_request r = {.resource = WH_RESOURCE_SESSIONS,
                                  .method = "POST",
                                  .values = (struct wh_route_value[]){{"poolId", pool.id}, {0}},
                                  .body = body,
                                  .timeout_ms = GH_CREATE_CALL_MS,
                                  .urgent = true};
    gh_tenant_forget(s->tenant); /* a new session: where things are may be new too */
    s->create.v1 = gh_tenant_start(s->tenant, &r, on_created, s);
}

/* ---- delete ---- */

static void on_deleted(void *data, struct gh_answer *answer)
{
    struct wh_session *s = data;
    s->remove.v1 = NULL;
    gh_op_end(&s->remove, answer->err ? gh_v1_outcome(answer) : WH_OUT_OK, answer->err);
}

void gh_v1_delete(struct wh_session *s, const char *id)
{
    struct pool pool = pool_of(s);
    struct gh_tenant_request r = {.resource = WH_RESOURCE_SESSIONS,
                                  .method = "DELETE",
                                  .values =
                                      (struct wh_route_value[]){{"poolId", pool.id}, {"sessionId", id}, {0}},
                                  .timeout_ms = GH_DELETE_CALL_MS,
                                  .urgent = true};
    s->remove.v1 = gh_tenant_start(s->tenant, &r, on_deleted, s);
}

/* ---- messages ---- */

static void on_message_deleted(void *data, struct gh_answer *answer)
{
    (void)data;
    if (answer->err)
        wh_log_debug("delete a message: %s", wh_error_text(answer->err));
}

void gh_v1_delete_message(struct wh_session *s, const char *message_id)
{
    struct pool pool = pool_of(s);
    if (!s->id || !*message_id)
        return;
    struct gh_tenant_request r = {
        .resource = WH_RESOURCE_MESSAGE,
        .method = "DELETE",
        .values = (struct wh_route_value[]){{"poolId", pool.id}, {"messageId", message_id}, {0}},
        .query = (struct wh_route_value[]){{"sessionId", s->id}, {0}},
        .timeout_ms = DELETE_MESSAGE_MS,
        .urgent = true};
    gh_tenant_start(s->tenant, &r, on_message_deleted, NULL);
}

static void poll_empty(struct wh_session *s)
{
    uint64_t now = wh_mono_ms();
    if (s->empties++ == 0 || now - s->empties_since_ms > EMPTIES_MS) {
        s->empties = 1;
        s->empties_since_ms = now;
    }
    gh_poll_end(s, WH_OUT_EMPTY, NULL, NULL);
}

static void on_left(void *data, enum wh_outcome outcome, struct wh_error *err)
{
    struct wh_session *s = data;
    wh_autoerror why = {0};
    (void)outcome, (void)err;
    wh_fail(&why, WH_E_PROTOCOL, "a message could not be read with the session's key");
    gh_poll_end(s, WH_OUT_SESSION_INVALID, NULL, &why);
}

/* The message goes: it would come again for ever. If the session has a key, that is not the service's any
 * more: the session goes too, before a new one is asked for. */
static void unreadable(struct wh_session *s, const struct wh_broker_message *m, struct wh_error *err)
{
    gh_v1_delete_message(s, m->id);
    if (!s->message_key.set) {
        gh_poll_end(s, WH_OUT_TRANSIENT, NULL, err);
        return;
    }
    wh_log_warning("%s", wh_error_text(err));
    wh_session_delete(s, on_left, s);
}

static void poll_message(struct wh_session *s, struct wh_view body)
{
    struct wh_broker_message m = {0};
    wh_autoerror err = {0};
    if (gh_message_read(body.data, body.len, &s->message_key, &m, &err)) {
        if (m.id)
            unreadable(s, &m, &err);
        else
            gh_poll_end(s, WH_OUT_TRANSIENT, NULL, &err);
        wh_broker_message_clear(&m);
        return;
    }
    if (m.type != WH_MESSAGE_MIGRATION) {
        gh_poll_message(s, &m, true);
        return;
    }
    /* For this poll: the V1 server says so again with the next one. */
    wh_session_migrate(s, m.broker_url);
    gh_broker_poll(s, s->migrated_url);
    wh_broker_message_clear(&m);
}

static void on_polled(void *data, struct gh_answer *answer)
{
    struct wh_session *s = data;
    s->poll.v1 = NULL;
    if (answer->err && answer->err->code == WH_E_TIMEOUT) {
        poll_empty(s);
        return;
    }
    if (answer->err) {
        gh_poll_end(s, gh_v1_outcome(answer), NULL, answer->err);
        return;
    }
    struct wh_view body = wh_http_response_body(answer->http);
    struct wh_view trimmed = wh_view_trim(body);
    if (trimmed.len == 0 || wh_view_eq(trimmed, "null"))
        poll_empty(s);
    else
        poll_message(s, body);
}

static void poll_send(void *data)
{
    struct wh_session *s = data;
    struct pool pool = pool_of(s);
    struct wh_route_value query[] = {{"sessionId", s->id ? s->id : ""},
                                     {"lastMessageId", s->last_message_id ? s->last_message_id : NULL},
                                     {"status", s->poll.busy ? "Busy" : "Online"},
                                     {"runnerVersion", s->version},
                                     {"os", "Linux"},
                                     {"architecture", wh_runner_architecture()},
                                     {"disableUpdate", "true"},
                                     {0}};
    struct gh_tenant_request r = {.resource = WH_RESOURCE_MESSAGES,
                                  .method = "GET",
                                  .values = (struct wh_route_value[]){{"poolId", pool.id}, {0}},
                                  .query = query,
                                  .timeout_ms = POLL_CALL_MS,
                                  .fresh = s->poll.fresh,
                                  .urgent = s->poll.busy, /* cancellations come this way */
                                  .max_body = WH_MAX_MESSAGE_BYTES};
    s->poll.v1 = gh_tenant_start(s->tenant, &r, on_polled, s);
}

void gh_v1_poll(struct wh_session *s)
{
    bool storm = s->empties > MAX_EMPTIES && wh_mono_ms() - s->empties_since_ms <= EMPTIES_MS;
    uint64_t wait = storm ? wh_wait_ms(15000, 30000) : 0;
    if (wait)
        wh_later(&s->poll.later, wh_http_client_loop(s->http), wait, poll_send, s);
    else
        poll_send(s);
}
