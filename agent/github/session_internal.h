/* A session, as the files of this room see it. */
#ifndef WH_GITHUB_SESSION_INTERNAL_H
#define WH_GITHUB_SESSION_INTERNAL_H

#include "github/call.h"
#include "github/tenant.h"
#include "github/v1_crypt.h"
#include "wherry/github/session.h"
#include "wherry/net/backoff.h"
#include "wherry/net/later.h"

#define GH_ZERO_GUID "00000000-0000-0000-0000-000000000000"
#define GH_CREATE_CALL_MS 60000
#define GH_DELETE_CALL_MS 5000

struct gh_session_op {
    struct wh_session *session;
    struct gh_call *call;      /* at the broker, or */
    struct gh_tenant_call *v1; /* at the V1 server */
    struct wh_later *later;    /* nothing is to be asked */
    wh_session_fn done;
    void *data;
};

/* One GET of a broker's message. */
struct gh_broker_poll {
    struct wh_session *session;
    struct gh_call *call;
    bool left; /* another poll took its place; among the session's left ones by next/prev */
    struct gh_broker_poll *next, *prev;
};

struct gh_poll {
    struct gh_broker_poll *broker;
    struct gh_tenant_call *v1;
    struct wh_later *later; /* before the next call of the same poll */
    bool busy, fresh;
    wh_poll_fn done;
    void *data;
};

struct wh_session {
    struct wh_http_client *http;
    const struct wh_runner_config *config;
    const struct wh_rsa_key *key;
    char *version, *owner;
    char *agent_name; /* as the service calls this runner now */
    struct wh_token_source *tokens;
    struct gh_tenant *tenant; /* NULL where the runner's file names no V1 server */
    char *id;
    char *migrated_url; /* the broker to talk to, where a message or the session's answer named another */
    struct gh_session_op create, remove, ack;
    struct gh_poll poll;
    struct gh_broker_poll *left; /* the oldest first */
    wh_late_message_fn late;     /* what these bring */
    void *late_data;
    struct {
        struct gh_tenant_call *v1;
        struct wh_later *later;
        bool troubled; /* the last one failed */
        wh_github_renewed_fn done;
        void *data;
    } renew; /* of a V1 job's lock */
    struct {
        struct gh_tenant_call *v1;
        struct wh_later *later;
        struct wh_backoff backoff;
        uint64_t since_ms;
        int64_t request_id;
        cJSON *body;
        wh_github_done_fn done;
        void *data;
    } end; /* of a V1 job's request */
    /* V1 */
    struct gh_session_key message_key;
    char *last_message_id;
    bool start_at_broker; /* the session's answer said so: polls need not ask the V1 server first */
    unsigned empties;     /* polls without a message ... */
    uint64_t empties_since_ms;
    char *announced_id, *announced_request; /* messageId and request of the job that was handed on last */
    char *dispatched_request;               /* ... of the one that was acquired last */
    cJSON *announced_job;                   /* its message, where it came as one */
    bool one_job;                           /* no other is taken after that */
    char *acquired_job;                     /* jobId of the last one; NULL: none yet */
};

static inline bool gh_session_is_v1(const struct wh_session *s)
{
    return !s->config->use_v2;
}

/* ---- session.c ---- */
cJSON *gh_session_body(const struct wh_session *s);
/* Context for the error of a session that was not made. */
void gh_session_wrap_refusal(enum wh_outcome outcome, struct wh_error *err);
/* Takes a session's id from an answer; false: there is none. */
bool gh_session_take_id(struct wh_session *s, const cJSON *answer);
void gh_op_begin(struct gh_session_op *op, struct wh_session *s, wh_session_fn done, void *data);
void gh_op_end(struct gh_session_op *op, enum wh_outcome outcome, struct wh_error *err);
/* OK without asking anybody; from the loop. */
void gh_op_end_later(struct gh_session_op *op);
void gh_poll_end(struct wh_session *s, enum wh_outcome outcome, const struct wh_broker_message *message,
                 struct wh_error *err);
/* What a poll brought: handed on, or dealt with here and the poll goes on. Clears message. */
void gh_poll_message(struct wh_session *s, struct wh_broker_message *message, bool from_v1);
/* The same of a poll that was left. */
void gh_poll_late(struct wh_session *s, struct wh_broker_message *message);
/* "sessionId=", "status=", ... */
void gh_session_add_identity(const struct wh_session *s, struct wh_str *url, bool busy);

/* ---- broker.c: V2 ---- */
enum wh_outcome gh_broker_outcome(const struct gh_answer *answer);
void gh_broker_create(struct wh_session *s);
void gh_broker_delete(struct wh_session *s, const char *id);
void gh_broker_poll(struct wh_session *s, const char *base);
void gh_broker_poll_cancel(struct gh_broker_poll **poll); /* harmless on NULL */
void gh_broker_polls_leave(struct wh_session *s);         /* the one under way, if any */
void gh_broker_polls_cancel(struct wh_session *s);        /* those that were left */
void gh_broker_acknowledge(struct wh_session *s, const char *base, const char *request_id);

/* ---- v1_session.c ---- */
void gh_v1_create(struct wh_session *s);
void gh_v1_delete(struct wh_session *s, const char *id);
void gh_v1_poll(struct wh_session *s);
void gh_v1_delete_message(struct wh_session *s, const char *message_id);

/* ---- broker_message.c ---- */
/* As wh_broker_message_parse(), but what was read before an error stays in out (whose id is to be deleted).
 */
int gh_message_read(const char *text, size_t len, const struct gh_session_key *key,
                    struct wh_broker_message *out, struct wh_error *err);

#endif
