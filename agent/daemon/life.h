/* The lives of a runner and of its job as two tables (runner-protocol.md §9.1): in this state, on this event,
 * do that and be in that state. life.c is the only place that changes a state; docs/protocol.md shows the
 * same rows, and tests/unit/daemon/test_life.c holds the two together. What happens in a state that no row
 * names for an event is: nothing. */
#ifndef WH_DAEMON_LIFE_H
#define WH_DAEMON_LIFE_H

#include <stddef.h>

struct runner;
struct jobrun;
struct wh_error;
struct wh_broker_message;

/* ---- a runner: its session and its long poll ---- */

#define WH_RUNNER_STATES(X)                                                                                  \
    X(CONFIGURED, "configured") /* its files are read, its lock is held */                                   \
    X(STARTING, "starting")     /* deletes what a killed agent left at the service */                        \
    X(CONNECTING, "connecting") /* wants a token and a session */                                            \
    X(LISTENING, "listening")   /* has a session and polls */                                                \
    X(LEAVING, "leaving")       /* deletes the session, to be drained */                                     \
    X(DRAINED, "drained")       /* has no session until it is told to resume */                              \
    X(ENDING, "ending")         /* deletes the session, for good */                                          \
    /* From here on it is over. */                                                                           \
    X(STOPPED, "stopped")       /* as asked */                                                               \
    X(REMOVED, "removed")       /* the registration is gone, and so are our files */                         \
    X(REFUSED, "refused")       /* the service does not take its credentials, or the clock */                \
    X(DEPRECATED, "deprecated") /* nor the version */                                                        \
    X(TAKEN, "taken")           /* another agent has its session */                                          \
    X(UNUSABLE, "unusable")     /* its files can't be used, or another agent holds its lock */

enum runner_state {
#define WH_RUNNER_STATE(name, text) RUNNER_##name,
    WH_RUNNER_STATES(WH_RUNNER_STATE)
#undef WH_RUNNER_STATE
        RUNNER_STATES,
    RUNNER_AS_ENDED = RUNNER_STATES /* in the table: the state that runner_end() was given */
};

#define WH_RUNNER_EVENTS(X)                                                                                  \
    X(BEGIN, "start")                                                                                        \
    X(BEGIN_LEFTOVER, "start, a session is noted")                                                           \
    X(LEFTOVER_GONE, "noted session deleted, or not")                                                        \
    X(MADE, "session made")                                                                                  \
    X(NOT_MADE, "no session made")                                                                           \
    X(CLASH, "409")                                                                                          \
    X(CLASH_LAST, "409, the eighth")                                                                         \
    X(DENIED, "refused")                                                                                     \
    X(DENIED_AGAIN, "refused again")                                                                         \
    X(GONE, "runner not found")                                                                              \
    X(TOLD_TO_END, "deprovisioned")                                                                          \
    X(TOO_OLD, "version refused")                                                                            \
    X(TOO_OLD_LAST, "version refused, none newer")                                                           \
    X(CLOCK, "clock wrong")                                                                                  \
    X(CLOCK_LAST, "clock wrong for 30 min")                                                                  \
    X(FAILED, "call failed")                                                                                 \
    X(FAILED_OFTEN, "call failed, the tenth")                                                                \
    X(INVALID, "session invalid")                                                                            \
    X(INVALID_LAST, "session invalid, `skipSessionRecover`")                                                 \
    X(INVALID_AGAIN, "session invalid again")                                                                \
    X(WAITED, "wait over")                                                                                   \
    X(EMPTY, "empty answer")                                                                                 \
    X(EMPTY_EARLY, "empty answer within a second")                                                           \
    X(JOB, "job announced")                                                                                  \
    X(JOB_UNWANTED, "job announced, has one or is to end")                                                   \
    X(CANCEL, "JobCancellation")                                                                             \
    X(SHUTDOWN, "RunnerShutdown")                                                                            \
    X(MIGRATION, "BrokerMigration")                                                                          \
    X(TOKEN_REFRESH, "ForceTokenRefresh")                                                                    \
    X(CONFIG, "RunnerRefreshConfig")                                                                         \
    X(SETTINGS_BAD, "no session by the service's settings")                                                  \
    X(REFRESH, "AgentRefresh, RunnerRefresh")                                                                \
    X(OTHER, "other message")                                                                                \
    X(NEW_VERSION, "newer version known, no job")                                                            \
    X(STATUS, "busy or free meanwhile")                                                                      \
    X(DRAIN, "drain, no job")                                                                                \
    X(RESUME, "resume")                                                                                      \
    X(DELETED, "session deleted, or not")                                                                    \
    X(DELETED_RESUMED, "session deleted, and resumed")                                                       \
    X(OPENED, "files read, lock held")                                                                       \
    X(END, "to end, no job")

enum runner_event {
#define WH_RUNNER_EVENT(name, text) ON_##name,
    WH_RUNNER_EVENTS(WH_RUNNER_EVENT)
#undef WH_RUNNER_EVENT
        RUNNER_EVENTS
};

/* What comes with an event; borrowed. */
struct runner_cause {
    struct wh_error *err;                    /* of a call that failed */
    const struct wh_broker_message *message; /* of a poll */
};

/* Looks the event up, changes the state, then acts. The last thing that its caller does with the runner. */
void runner_event(struct runner *r, enum runner_event event, const struct runner_cause *cause);
const char *runner_state_name(enum runner_state state);

/* ---- a job of it ---- */

#define WH_JOB_STATES(X)                                                                                     \
    X(ANNOUNCED, "announced")                                                                                \
    X(WAITING, "waiting")             /* for a place: --max-jobs are running */                              \
    X(ACKNOWLEDGING, "acknowledging") /* meanwhile the worker's process starts */                            \
    X(ACQUIRING, "acquiring")         /* wants the job message */                                            \
    X(RENEWING, "first renewal")      /* of the lock: from here on the job is ours */                        \
    X(RUNNING, "running")                                                                                    \
    X(CANCELLING, "cancelling") /* the worker ends the steps */                                              \
    X(LOST, "lost")             /* so does it, and nobody is told of the result */                           \
    X(RECOVERING, "recovering") /* a second worker hands in what the first one left */                       \
    X(COMPLETING, "completing") /* the agent completes it: the worker can't */                               \
    X(CLEANING, "cleaning up")  /* worker, builders and all else of the job end */

enum job_state {
#define WH_JOB_STATE(name, text) JOB_##name,
    WH_JOB_STATES(WH_JOB_STATE)
#undef WH_JOB_STATE
        JOB_STATES
};

#define WH_JOB_EVENTS(X)                                                                                     \
    X(BEGIN, "place free")                                                                                   \
    X(BEGIN_SILENT, "place free, no acknowledgement wanted")                                                 \
    X(FOUND, "found at the agent's start")                                                                   \
    X(FULL, "no place free")                                                                                 \
    X(WAITED, "waited for 60 s")                                                                             \
    X(ACKNOWLEDGED, "acknowledged, or not")                                                                  \
    X(USED_UP, "unknown to the broker, the runner is ephemeral")                                             \
    X(UNWANTED, "the runner is to end")                                                                      \
    X(ACQUIRED, "job message")                                                                               \
    X(UNREADABLE, "job message without ids or token")                                                        \
    X(NOT_OURS, "404, 409, 422")                                                                             \
    X(NOT_ACQUIRED, "five failures")                                                                         \
    X(RENEWED, "renewed")                                                                                    \
    X(RENEWED_FOUND, "renewed, of before the restart")                                                       \
    X(RENEWED_CANCELLED, "renewed, cancelled meanwhile")                                                     \
    X(RENEWED_STOPPED, "renewed, the agent stops")                                                           \
    X(RENEWED_NO_WORKER, "renewed, no worker")                                                               \
    X(NO_WORKER, "no second worker")                                                                         \
    X(NOT_RENEWED, "404, or six failures")                                                                   \
    X(LOCK_LOST, "404, or 5 min past the lock's end")                                                        \
    X(CANCEL, "cancelled by the user")                                                                       \
    X(STOP, "the agent stops")                                                                               \
    X(DRAIN, "the agent drains")                                                                             \
    X(GIVEN_UP, "time over")                                                                                 \
    X(WORKER_DONE, "worker ended, job complete")                                                             \
    X(WORKER_DONE_OPEN, "worker ended, V1 request open")                                                     \
    X(WORKER_DIED, "worker ended before")                                                                    \
    X(COMPLETED, "completed, or not")                                                                        \
    X(CLEAN, "nothing of it runs")

enum job_event {
#define WH_JOB_EVENT(name, text) JOB_ON_##name,
    WH_JOB_EVENTS(WH_JOB_EVENT)
#undef WH_JOB_EVENT
        JOB_EVENTS
};

/* The same for a job, which may be freed by it. err: the cause, or NULL. */
void job_event(struct jobrun *j, enum job_event event, struct wh_error *err);
const char *job_state_name(enum job_state state);

/* ---- the tables as text, for the test ---- */
enum life { LIFE_OF_RUNNER, LIFE_OF_JOB };
struct life_row {
    const char *state, *event, *does, *next;
};
/* The n-th row of a table: 0 past the end. */
int life_row(enum life life, size_t n, struct life_row *out);

#endif
