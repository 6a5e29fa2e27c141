/* A runner's side of its server: session, long poll, acknowledge, and acquiring a job (runner-protocol.md §3,
 * §4.1). The server is the broker (V2) or a V1 server, as the runner's file says; which of them a message
 * came from, that V1 encrypts its messages and wants them deleted, and that it may send a poll to the broker,
 * stays in here. Asynchronous on the HTTP client's loop; no callback comes from within a call. How long to
 * wait between tries and when to give up is the caller's (the daemon's state machine); here an outcome says
 * what happened. */
#ifndef WH_GITHUB_SESSION_H
#define WH_GITHUB_SESSION_H

#include "wherry/config/runner.h"
#include "wherry/github/credentials.h"
#include "wherry/github/job.h"
#include "wherry/github/outcome.h"
#include "wherry/net/http.h"

#define WH_MAX_JOB_MESSAGE_BYTES ((size_t)16 << 20) /* of an acquired job */
#define WH_MAX_MESSAGE_BYTES                                                                                 \
    ((size_t)24 << 20) /* of a poll's answer, which may hold such a job in base64                            \
                        */
#define WH_MAX_ID_CHARS 256

/* ---- messages ---- */
enum wh_broker_message_type {
    WH_MESSAGE_JOB,           /* RunnerJobRequest: announces a job; PipelineAgentJobRequest: is one */
    WH_MESSAGE_CANCEL,        /* JobCancellation */
    WH_MESSAGE_REFRESH,       /* AgentRefresh, RunnerRefresh: GitHub's own binary should update */
    WH_MESSAGE_SHUTDOWN,      /* RunnerShutdown */
    WH_MESSAGE_MIGRATION,     /* BrokerMigration */
    WH_MESSAGE_TOKEN_REFRESH, /* ForceTokenRefresh */
    WH_MESSAGE_CONFIG,        /* RunnerRefreshConfig: see migrated.h */
    WH_MESSAGE_OTHER
};
struct wh_broker_message {
    enum wh_broker_message_type type;
    char *type_text;
    char *id;                /* messageId as text; "" where absent */
    char *request_id;        /* JOB; jobId where the message is the job */
    bool is_job;             /* JOB: the message is the job itself */
    char *run_service_url;   /* JOB; NULL if absent */
    char *billing_owner_id;  /* JOB; NULL if absent */
    bool should_acknowledge; /* JOB */
    char *job_id;            /* CANCEL */
    uint64_t timeout_ms;     /* CANCEL; 0 if absent */
    char *reason;            /* SHUTDOWN; may be NULL */
    char *broker_url;        /* MIGRATION */
    cJSON *job;              /* JOB that is one: its message; kept by the session until it is acquired */
    char *qualified_id;      /* CONFIG: "a/b/c/<agentId>" */
    char *config_type;       /* ... "runner", "credentials" */
    char *service_type;      /* ... "pipelines", "runner-admin" */
};
/* Parses a poll's answer. */
int wh_broker_message_parse(const char *text, size_t len, struct wh_broker_message *out,
                            struct wh_error *err);
void wh_broker_message_clear(struct wh_broker_message *m);
#define wh_autobrokermessage __attribute__((cleanup(wh_broker_message_clear))) struct wh_broker_message

/* ---- the session ---- */
struct wh_session;
/* config and key are borrowed and outlive it; version is copied. owner: "box1 (PID: 812)". */
struct wh_session *wh_session_new(struct wh_http_client *http, const struct wh_runner_config *config,
                                  const struct wh_rsa_key *key, const char *version, const char *owner);
/* Ends calls under way without callbacks. */
void wh_session_free(struct wh_session *s);
void wh_session_set_version(struct wh_session *s, const char *version);
/* This runner takes one job: after that a V1 server keeps what is for another one (a cancellation whose job
 * is not this one's stays there, as an announcement does). */
void wh_session_one_job(struct wh_session *s);
bool wh_session_is_open(const struct wh_session *s);
const char *wh_session_id(const struct wh_session *s); /* NULL if none */

/* err is NULL where outcome is OK or EMPTY. */
typedef void (*wh_session_fn)(void *data, enum wh_outcome outcome, struct wh_error *err);
void wh_session_create(struct wh_session *s, wh_session_fn done, void *data);
/* Forgets the session, and deletes it at the service: best effort, at most 5 s; done may be NULL (the call
 * then goes on for as long as s lives). */
void wh_session_delete(struct wh_session *s, wh_session_fn done, void *data);
/* A left-over session of an earlier process, by its id. */
void wh_session_delete_id(struct wh_session *s, const char *id, wh_session_fn done, void *data);
/* No session any more (it was refused). */
void wh_session_forget(struct wh_session *s);

/* One long poll. message is set where outcome is OK (borrowed for the callback). */
typedef void (*wh_poll_fn)(void *data, enum wh_outcome outcome, const struct wh_broker_message *message,
                           struct wh_error *err);
void wh_session_poll(struct wh_session *s, bool busy, bool fresh_connection, wh_poll_fn done, void *data);
void wh_session_poll_abort(struct wh_session *s); /* without a callback */
/* Another poll is to follow at once, by another status. A broker may be answering this one just now, and a
 * job that it hands out it does not keep: so a poll as Online is left to end by itself (the service ends it
 * when it sees the next), and a message that it brings all the same goes to `late`, until the session is over
 * or forgotten. One as Busy is aborted. */
typedef void (*wh_late_message_fn)(void *data, const struct wh_broker_message *message);
#define WH_MAX_LEFT_POLLS 4 /* of a session: a further one ends the oldest */
void wh_session_poll_leave(struct wh_session *s, wh_late_message_fn late, void *data);
/* BrokerMigration of a broker: polls go there from now on. (Those of a V1 server stay within the session.) */
void wh_session_migrate(struct wh_session *s, const char *broker_url);
/* ForceTokenRefresh. */
void wh_session_drop_token(struct wh_session *s);

/* At most 5 s, one try. */
void wh_session_acknowledge(struct wh_session *s, const struct wh_broker_message *job, wh_session_fn done,
                            void *data);

/* The job message (may be taken by setting *message to NULL), or SKIP, TRANSIENT (after 5 tries), DENIED.
 * From here on the announcement is dealt with: a V1 server does not send it again. */
typedef void (*wh_acquire_fn)(void *data, enum wh_outcome outcome, cJSON **message, struct wh_error *err);
struct wh_acquire;
struct wh_acquire *wh_session_acquire(struct wh_session *s, const struct wh_broker_message *job,
                                      wh_acquire_fn done, void *data);
/* The job's lock, one try, wherever its kind of job has it: the run service, or (V1) this runner's server. */
void wh_session_renew(struct wh_session *s, struct wh_github_job *job, wh_github_renewed_fn done, void *data);
void wh_session_renew_cancel(struct wh_session *s); /* of V1; before job or data go. Without a callback */
/* Ends the request of a job of which wh_github_job_ends_by_request() says so, after all else of it was told.
 * Tried again for 15 minutes, as completions are; a request that the server knows no more is ended. */
void wh_session_end_request(struct wh_session *s, struct wh_github_job *job, enum wh_task_result result,
                            wh_github_done_fn done, void *data);
void wh_session_end_request_cancel(struct wh_session *s); /* without a callback */
/* As the service calls this runner now: a renewal may have told another name than the file's. Borrowed. */
const char *wh_session_agent_name(const struct wh_session *s);

void wh_acquire_cancel(struct wh_acquire **acquire); /* without a callback; harmless on NULL */
/* No try after the one under way. False: none is out, so that no answer can make the job ours. */
bool wh_acquire_end_soon(struct wh_acquire *acquire);

#endif
