/* The tables. */
#include "daemon/life.h"

#include "daemon/actions.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"

struct runner_row {
    enum runner_state state;
    enum runner_event event;
    const char *does;
    void (*act)(struct runner *r, const struct runner_cause *cause);
    enum runner_state next;
};

/* The state names are long, the table is wide: */
#define ROW(state, event, does, act, next)                                                                   \
    {                                                                                                        \
        RUNNER_##state, ON_##event, does, act, RUNNER_##next                                                 \
    }

/* clang-format off */
static const struct runner_row runner_rows[] = {
    ROW(CONFIGURED, BEGIN,           "asks for a session",                                          do_connect,                  CONNECTING),
    ROW(CONFIGURED, BEGIN_LEFTOVER,  "deletes it (5 s at most): it would be a conflict",            do_delete_leftover,          STARTING),
    ROW(CONFIGURED, DRAIN,           "has none to leave",                                           do_rest,                     DRAINED),
    ROW(CONFIGURED, END,             "settles",                                                     do_settle,                   AS_ENDED),

    ROW(STARTING,   LEFTOVER_GONE,   "asks for a session",                                          do_connect,                  CONNECTING),
    ROW(STARTING,   DRAIN,           "has none to leave",                                           do_rest,                     DRAINED),
    ROW(STARTING,   END,             "settles",                                                     do_settle,                   AS_ENDED),

    ROW(CONNECTING, MADE,            "notes its id on disk, polls",                                 do_listen,                   LISTENING),
    ROW(CONNECTING, CLASH,           "asks again after 25 to 35 s",                                 do_connect_later,            CONNECTING),
    ROW(CONNECTING, CLASH_LAST,      "is to end: taken",                                            do_be_taken,                 CONNECTING),
    ROW(CONNECTING, DENIED,          "asks again after 25 to 35 s, with a new token",               do_connect_with_new_token,   CONNECTING),
    ROW(CONNECTING, DENIED_AGAIN,    "is to end: refused",                                          do_be_refused,               CONNECTING),
    ROW(CONNECTING, GONE,            "is to end: removed",                                          do_be_removed,               CONNECTING),
    ROW(CONNECTING, TOLD_TO_END,     "is to end: stopped",                                          do_be_stopped,               CONNECTING),
    ROW(CONNECTING, TOO_OLD,         "asks for the newest release, then again by its version",      do_try_newer,                CONNECTING),
    ROW(CONNECTING, TOO_OLD_LAST,    "is to end: deprecated",                                       do_be_deprecated,            CONNECTING),
    ROW(CONNECTING, CLOCK,           "asks again after 25 to 35 s",                                 do_connect_later,            CONNECTING),
    ROW(CONNECTING, CLOCK_LAST,      "is to end: refused",                                          do_give_up_clock,            CONNECTING),
    ROW(CONNECTING, FAILED,          "asks again after 25 to 35 s",                                 do_connect_later,            CONNECTING),
    ROW(CONNECTING, SETTINGS_BAD,    "goes back to those of its registration, asks after 1 to 3 s", do_fall_back,               CONNECTING),
    ROW(CONNECTING, WAITED,          "asks for a session",                                          do_connect,                  CONNECTING),
    ROW(CONNECTING, DRAIN,           "waits for a session that is being made (5 s at most)",        do_leave,                    LEAVING),
    ROW(CONNECTING, END,             "waits for a session that is being made (5 s at most)",        do_end,                      ENDING),

    ROW(LISTENING,  EMPTY,           "polls at once",                                               do_poll,                     LISTENING),
    ROW(LISTENING,  EMPTY_EARLY,     "polls after 15 to 30 s",                                      do_poll_later,               LISTENING),
    ROW(LISTENING,  WAITED,          "polls",                                                       do_poll,                     LISTENING),
    ROW(LISTENING,  STATUS,          "polls by the new status; what the last poll brings is taken", do_poll,                     LISTENING),
    ROW(LISTENING,  NEW_VERSION,     "deletes the session, asks for one by it after 1 to 3 s",      do_reconnect_by_version,     CONNECTING),
    ROW(LISTENING,  JOB,             "begins with it, polls as Busy",                               do_take_job,                 LISTENING),
    ROW(LISTENING,  JOB_UNWANTED,    "says nothing, so that another gets it; polls",                do_leave_job,                LISTENING),
    ROW(LISTENING,  CANCEL,          "tells the job, or keeps it for a minute; polls",              do_cancel,                   LISTENING),
    ROW(LISTENING,  SHUTDOWN,        "is to end: stopped, without deleting the session",            do_shut_down,                LISTENING),
    ROW(LISTENING,  MIGRATION,       "polls there from now on",                                     do_migrate,                  LISTENING),
    ROW(LISTENING,  TOKEN_REFRESH,   "drops the token, polls",                                      do_refresh_token,            LISTENING),
    ROW(LISTENING,  REFRESH,         "asks for the newest release; polls",                          do_learn_version,            LISTENING),
    ROW(LISTENING,  CONFIG,          "exchanges that file with the service; polls. If it is to be another one, begins anew when it has no job", do_refresh_config, LISTENING),
    ROW(LISTENING,  OTHER,           "logs it; polls",                                              do_pass_over,                LISTENING),
    ROW(LISTENING,  FAILED,          "polls after 15 to 30 s (from the sixth on 30 to 60 s), on a fresh connection", do_poll_after_error, LISTENING),
    ROW(LISTENING,  FAILED_OFTEN,    "deletes the session, asks for one after 15 to 30 s",          do_reconnect_later,          CONNECTING),
    ROW(LISTENING,  INVALID,         "asks for a session",                                          do_reconnect,                CONNECTING),
    ROW(LISTENING,  INVALID_AGAIN,   "asks for a session after 15 to 30 s",                         do_reconnect_later,          CONNECTING),
    ROW(LISTENING,  INVALID_LAST,    "is to end: refused",                                          do_be_dismissed,             LISTENING),
    ROW(LISTENING,  DENIED,          "deletes the session, asks for one after 15 to 30 s, with a new token", do_reconnect_with_new_token, CONNECTING),
    ROW(LISTENING,  DENIED_AGAIN,    "is to end: refused",                                          do_be_refused,               LISTENING),
    ROW(LISTENING,  GONE,            "is to end: removed",                                          do_be_removed,               LISTENING),
    ROW(LISTENING,  TOLD_TO_END,     "is to end: stopped",                                          do_be_stopped,               LISTENING),
    ROW(LISTENING,  TOO_OLD,         "deletes the session, asks for the newest release, then for a session by its version", do_try_newer, CONNECTING),
    ROW(LISTENING,  TOO_OLD_LAST,    "is to end: deprecated",                                       do_be_deprecated,            LISTENING),
    ROW(LISTENING,  CLOCK,           "polls after 15 to 30 s",                                      do_poll_after_error,         LISTENING),
    ROW(LISTENING,  CLOCK_LAST,      "is to end: refused",                                          do_give_up_clock,            LISTENING),
    ROW(LISTENING,  DRAIN,           "deletes the session (5 s at most)",                           do_leave,                    LEAVING),
    ROW(LISTENING,  END,             "deletes the session (5 s at most)",                           do_end,                      ENDING),

    ROW(LEAVING,    MADE,            "deletes it (5 s at most)",                                    do_delete_session,           LEAVING),
    ROW(LEAVING,    NOT_MADE,        "is as good as deleted",                                       do_leave_now,                LEAVING),
    ROW(LEAVING,    WAITED,          "waits no longer",                                             do_leave_now,                LEAVING),
    ROW(LEAVING,    DELETED,         "waits for a word",                                            do_rest,                     DRAINED),
    ROW(LEAVING,    DELETED_RESUMED, "asks for a session",                                          do_connect,                  CONNECTING),
    ROW(LEAVING,    END,             "goes on with what it does",                                   NULL,                        ENDING),
    ROW(DRAINED,    RESUME,          "asks for a session",                                          do_connect,                  CONNECTING),
    ROW(DRAINED,    END,             "settles",                                                     do_settle,                   AS_ENDED),

    ROW(ENDING,     MADE,            "deletes it (5 s at most)",                                    do_delete_session,           ENDING),
    ROW(ENDING,     NOT_MADE,        "is as good as deleted",                                       do_leave_now,                ENDING),
    ROW(ENDING,     WAITED,          "waits no longer",                                             do_leave_now,                ENDING),
    ROW(ENDING,     DELETED,         "settles: removed ones delete their files",                    do_settle,                   AS_ENDED),
    ROW(ENDING,     DELETED_RESUMED, "settles",                                                     do_settle,                   AS_ENDED),

    ROW(UNUSABLE,   WAITED,          "opens its files again, each minute",                          do_open,                     UNUSABLE),
    ROW(UNUSABLE,   OPENED,          "starts",                                                      do_begin,                    CONFIGURED),
};

struct job_row {
    enum job_state state;
    enum job_event event;
    const char *does;
    void (*act)(struct jobrun *j, struct wh_error *err);
    enum job_state next;
};

#define JOB_ROW(state, event, does, act, next)                                                               \
    {                                                                                                        \
        JOB_##state, JOB_ON_##event, does, act, JOB_##next                                                   \
    }

static const struct job_row job_rows[] = {
    JOB_ROW(ANNOUNCED,     BEGIN,             "tells the broker (5 s at most, one try)",             job_do_acknowledge,       ACKNOWLEDGING),
    JOB_ROW(ANNOUNCED,     BEGIN_SILENT,      "asks the run service for the job message",            job_do_acquire,           ACQUIRING),
    JOB_ROW(ANNOUNCED,     FOUND,             "renews its lock",                                     job_do_renew,             RENEWING),
    JOB_ROW(ANNOUNCED,     UNREADABLE,        "logs it: nobody can be told",                         job_do_leave,             CLEANING),
    JOB_ROW(ANNOUNCED,     FULL,              "keeps quiet; first come, first served",               job_do_wait,              WAITING),

    JOB_ROW(WAITING,       BEGIN,             "tells the broker (5 s at most, one try)",             job_do_acknowledge,       ACKNOWLEDGING),
    JOB_ROW(WAITING,       BEGIN_SILENT,      "asks the run service for the job message",            job_do_acquire,           ACQUIRING),
    JOB_ROW(WAITING,       WAITED,            "leaves it: the service gives it to another",          job_do_leave_for_retry,   CLEANING),
    JOB_ROW(WAITING,       STOP,              "leaves it to others",                                 job_do_leave_silently,    CLEANING),
    JOB_ROW(WAITING,       DRAIN,             "leaves it to others",                                 job_do_leave_silently,    CLEANING),

    JOB_ROW(ACKNOWLEDGING, ACKNOWLEDGED,      "asks the run service for the job message",            job_do_acquire,           ACQUIRING),
    JOB_ROW(ACKNOWLEDGING, USED_UP,           "the runner is to end: removed",                       job_do_use_up,            CLEANING),
    JOB_ROW(ACKNOWLEDGING, UNWANTED,          "leaves it to others",                                 job_do_leave_silently,    CLEANING),

    JOB_ROW(ACQUIRING,     ACQUIRED,          "renews its lock",                                     job_do_renew,             RENEWING),
    JOB_ROW(ACQUIRING,     UNREADABLE,        "logs it: nobody can be told",                         job_do_leave,             CLEANING),
    JOB_ROW(ACQUIRING,     NOT_OURS,          "logs it: another has it",                             job_do_leave_silently,    CLEANING),
    JOB_ROW(ACQUIRING,     NOT_ACQUIRED,      "logs it; may take it when it is announced again",     job_do_leave_for_retry,   CLEANING),
    JOB_ROW(ACQUIRING,     DRAIN,             "waits for an answer under way, for 30 s",             job_do_hurry,             ACQUIRING),
    JOB_ROW(ACQUIRING,     GIVEN_UP,          "leaves it to others",                                 job_do_leave_for_retry,   CLEANING),
    JOB_ROW(ACQUIRING,     STOP,              "waits for an answer under way, for 30 s",             job_do_hurry,             ACQUIRING),

    JOB_ROW(RENEWING,      RENEWED,           "hands the job message to the worker",                 job_do_run,               RUNNING),
    JOB_ROW(RENEWING,      RENEWED_FOUND,     "starts a second worker, for what the first one left", job_do_recover,           RECOVERING),
    JOB_ROW(RENEWING,      RENEWED_CANCELLED, "completes it as canceled",                            job_do_complete_canceled, COMPLETING),
    JOB_ROW(RENEWING,      RENEWED_STOPPED,   "completes it as failed, with the shutdown text",      job_do_complete_stopped,  COMPLETING),
    JOB_ROW(RENEWING,      RENEWED_NO_WORKER, "completes it as failed, with the reason",             job_do_complete_failed,   COMPLETING),
    JOB_ROW(RENEWING,      NOT_RENEWED,       "logs it: abandoned",                                  job_do_leave,             CLEANING),
    JOB_ROW(RENEWING,      CANCEL,            "keeps it until the lock is renewed",                  job_do_note_cancel,       RENEWING),
    JOB_ROW(RENEWING,      STOP,              "keeps it until the lock is renewed, for 30 s",        job_do_note_stop,         RENEWING),
    JOB_ROW(RENEWING,      GIVEN_UP,          "leaves it on disk, for the agent's next start",       job_do_leave_kept,        CLEANING),

    JOB_ROW(RUNNING,       CANCEL,            "tells the worker, which has the time-out (60 s at least) less 15 s", job_do_tell_worker, CANCELLING),
    JOB_ROW(RUNNING,       STOP,              "tells the worker, which has 30 s",                    job_do_tell_worker,       CANCELLING),
    JOB_ROW(RUNNING,       LOCK_LOST,         "tells the worker, which has 60 s",                    job_do_lose,              LOST),
    JOB_ROW(RUNNING,       WORKER_DONE,       "ends what the job left",                              job_do_clean,             CLEANING),
    JOB_ROW(RUNNING,       WORKER_DONE_OPEN,  "ends the request by the job's result",                job_do_end_request,       COMPLETING),
    JOB_ROW(RUNNING,       WORKER_DIED,       "starts a second worker, for what the first one left", job_do_recover,           RECOVERING),

    JOB_ROW(CANCELLING,    STOP,              "tells the worker, which has 30 s",                    job_do_tell_worker,       CANCELLING),
    JOB_ROW(CANCELLING,    LOCK_LOST,         "tells the worker, which has 60 s",                    job_do_lose,              LOST),
    JOB_ROW(CANCELLING,    GIVEN_UP,          "kills the worker",                                    job_do_kill,              CANCELLING),
    JOB_ROW(CANCELLING,    WORKER_DONE,       "ends what the job left",                              job_do_clean,             CLEANING),
    JOB_ROW(CANCELLING,    WORKER_DONE_OPEN,  "ends the request by the job's result",                job_do_end_request,       COMPLETING),
    JOB_ROW(CANCELLING,    WORKER_DIED,       "starts a second worker, for what the first one left", job_do_recover,           RECOVERING),

    JOB_ROW(LOST,          STOP,              "tells the worker, which has 30 s",                    job_do_tell_worker,       LOST),
    JOB_ROW(LOST,          GIVEN_UP,          "kills the worker",                                    job_do_kill,              LOST),
    JOB_ROW(LOST,          WORKER_DONE,       "ends what the job left",                              job_do_clean,             CLEANING),
    JOB_ROW(LOST,          WORKER_DIED,       "ends what the job left",                              job_do_clean,             CLEANING),

    JOB_ROW(RECOVERING,    WORKER_DONE,       "ends what the job left",                              job_do_clean,             CLEANING),
    JOB_ROW(RECOVERING,    WORKER_DONE_OPEN,  "ends the request by the job's result",                job_do_end_request,       COMPLETING),
    JOB_ROW(RECOVERING,    WORKER_DIED,       "completes it: canceled by a user, else failed with the reason", job_do_complete_recovered, COMPLETING),
    JOB_ROW(RECOVERING,    NO_WORKER,         "completes it: canceled by a user, else failed with the reason", job_do_complete_recovered, COMPLETING),
    JOB_ROW(RECOVERING,    LOCK_LOST,         "tells the worker, which has 60 s",                    job_do_lose,              LOST),
    JOB_ROW(RECOVERING,    STOP,              "waits for 30 s more",                                 job_do_note_stop,         RECOVERING),
    JOB_ROW(RECOVERING,    GIVEN_UP,          "leaves it on disk, for the agent's next start",       job_do_leave_kept,        CLEANING),

    JOB_ROW(COMPLETING,    COMPLETED,         "ends what the job left",                              job_do_clean,             CLEANING),
    JOB_ROW(COMPLETING,    STOP,              "waits for 30 s more",                                 job_do_note_stop,         COMPLETING),
    JOB_ROW(COMPLETING,    GIVEN_UP,          "leaves it on disk, for the agent's next start",       job_do_leave_kept,        CLEANING),

    JOB_ROW(CLEANING,      WORKER_DONE,       "looks whether all is over",                           job_do_clean,             CLEANING),
    JOB_ROW(CLEANING,      WORKER_DIED,       "looks whether all is over",                           job_do_clean,             CLEANING),
    JOB_ROW(CLEANING,      CLEAN,             "is over; the runner polls as Online",                 job_do_end,               CLEANING),
};
/* clang-format on */

#define WH_TEXT(name, text) text,
static const char *const runner_states[] = {WH_RUNNER_STATES(WH_TEXT) "as it is to end"};
static const char *const runner_events[] = {WH_RUNNER_EVENTS(WH_TEXT)};
static const char *const job_states[] = {WH_JOB_STATES(WH_TEXT)};
static const char *const job_events[] = {WH_JOB_EVENTS(WH_TEXT)};
#undef WH_TEXT

const char *runner_state_name(enum runner_state state)
{
    return runner_states[state];
}

const char *job_state_name(enum job_state state)
{
    return job_states[state];
}

static void enter(struct runner *r, enum runner_state next)
{
    if (next == RUNNER_AS_ENDED)
        next = r->end_state;
    if (next == r->state)
        return;
    wh_log_debug("%s -> %s", runner_states[r->state], runner_states[next]);
    r->state = next;
    r->since_ms = wh_mono_ms();
    daemon_changed(r->d);
}

void runner_event(struct runner *r, enum runner_event event, const struct runner_cause *cause)
{
    static const struct runner_cause none = {0};
    for (size_t i = 0; i < WH_COUNT(runner_rows); i++) {
        const struct runner_row *row = &runner_rows[i];
        if (row->state != r->state || row->event != event)
            continue;
        const char *before = wh_log_enter(r->name);
        enter(r, row->next);
        if (row->act)
            row->act(r, cause ? cause : &none);
        (void)wh_log_enter(before);
        return;
    }
    wh_log_debug("%s: %s: nothing to do", runner_states[r->state], runner_events[event]);
}

void job_event(struct jobrun *j, enum job_event event, struct wh_error *err)
{
    for (size_t i = 0; i < WH_COUNT(job_rows); i++) {
        const struct job_row *row = &job_rows[i];
        if (row->state != j->state || row->event != event)
            continue;
        const char *before = wh_log_enter(j->r->name);
        wh_log_debug("job %s: %s, %s", job_states[j->state], job_events[event], row->does);
        if (row->next != j->state) {
            j->state = row->next;
            daemon_changed(j->r->d);
        }
        row->act(j, err); /* may free it */
        (void)wh_log_enter(before);
        return;
    }
    wh_log_debug("job %s: %s: nothing to do", job_states[j->state], job_events[event]);
}

int life_row(enum life life, size_t n, struct life_row *out)
{
    if (life == LIFE_OF_RUNNER && n < WH_COUNT(runner_rows)) {
        const struct runner_row *row = &runner_rows[n];
        *out = (struct life_row){runner_states[row->state], runner_events[row->event], row->does,
                                 runner_states[row->next]};
        return 1;
    }
    if (life == LIFE_OF_JOB && n < WH_COUNT(job_rows)) {
        const struct job_row *row = &job_rows[n];
        *out = (struct life_row){job_states[row->state], job_events[row->event], row->does,
                                 job_states[row->next]};
        return 1;
    }
    return 0;
}
