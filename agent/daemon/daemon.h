/* The agent's objects: the daemon has runners, a runner has at most one job, a job has a worker and builds.
 * Everything lives on the daemon's loop. */
#ifndef WH_DAEMON_INTERNAL_H
#define WH_DAEMON_INTERNAL_H

#include "daemon/job_user.h"
#include "daemon/life.h"
#include "wherry/actions/fetch.h"
#include "wherry/base/frame.h"
#include "wherry/build/launch.h"
#include "wherry/config/runner.h"
#include "wherry/daemon/daemon.h"
#include "wherry/github/job.h"
#include "wherry/github/migrated.h"
#include "wherry/github/session.h"
#include "wherry/github/version.h"
#include "wherry/net/backoff.h"
#include "wherry/net/later.h"
#include "wherry/platform/process.h"
#include "wherry/serve/serve.h"

#define WH_MAX_COMPLETION ((size_t)16 << 20) /* bytes of a completion that is kept */
#define WH_MAX_JOB_BUILDS 16                 /* under way at once, of one job */
#define WH_MAX_JOB_FETCHES 4                 /* the same, of fetchers */
#define WH_MAX_KNOWN_CANCELS 16              /* of jobs that are not known (yet) */
#define WH_MAX_KNOWN_REQUESTS 16             /* announced jobs that are remembered against repeats */
#define WH_MAX_RUNNERS 1024                  /* of one agent */

struct runner;
struct jobrun;

/* Places for jobs: how many may run at once on this box, whatever the number of runners. */
struct places {
    unsigned limit; /* 0: none */
    unsigned taken;
    struct jobrun *waiting; /* announced jobs, first come first served; by next/prev */
};

struct daemon {
    const struct wh_daemon_options *options;
    uv_loop_t loop;
    struct wh_http_client *http;
    struct runner **runners;
    size_t nrunners;
    uv_signal_t sigterm, sigint, sighup;
    unsigned signals; /* how many came that end us */
    bool draining;    /* takes no more jobs, and ends */
    bool stopping;    /* ends the running ones too */
    bool ended;
    struct places places;
    struct wh_later *trim_later;
    struct wh_later *version_later;
    struct wh_runner_version_query *version_query;
    char *version;             /* newest official */
    uint64_t version_asked_ms; /* 0: not yet */
    uint64_t started_ms;
    struct wh_later *reload_later;
    struct control *control;
    struct cleaner *cleaner;
    struct wake *wake;
    struct notify *notify;
    struct wh_serve *serve; /* the cache service; NULL: jobs use GitHub's */
};
void daemon_runner_ended(struct daemon *d);
void daemon_reload(struct daemon *d); /* looks at the registrations again; running jobs are not touched */
/* Asks for the newest official version, if that was not asked lately. */
void daemon_learn_version(struct daemon *d);
void daemon_changed(struct daemon *d); /* a state: whoever watches is told soon */
void daemon_trim(struct daemon *d);    /* gives freed memory back, soon */

/* ---- places.c ---- */
/* A place for this job now; false: it waits for one (JOB_ON_BEGIN comes when it has it), or is dropped by
 * places_leave(). */
bool places_take(struct jobrun *j);
void places_leave(struct jobrun *j); /* gives its place back, or waits no longer; harmless without either */
void places_force(struct jobrun *j); /* one more than there are, for a job that is ours already */
bool places_full(const struct daemon *d);

/* ---- cleaner.c: the store's bounds ---- */
struct cleaner *cleaner_new(struct daemon *d);
/* Cleans soon; if that was done lately, when ten minutes are over, unless the disk is nearly full. */
void cleaner_job_ended(struct cleaner *c);
/* At the agent's start: what builds and containers of one that died have left. */
void cleaner_leftovers(struct cleaner *c);
/* Before an agent ends that was told to take one job: cleans as it would have after it; two minutes at most,
 * and a signal ends the wait. Blocks, turning the loop. */
void cleaner_finish(struct cleaner *c);
void cleaner_free(struct cleaner *c); /* NULL is fine */

/* ---- wake.c: sleep and changes of the network ---- */
struct wake *wake_start(struct daemon *d);
void wake_stop(struct wake *w); /* NULL is fine */

/* ---- control.c: the Unix socket of `wherry status` and its like ---- */
struct control *control_start(struct daemon *d, struct wh_error *err);
void control_stop(struct control *c); /* NULL is fine */

/* ---- status.c: what the agent says of itself; owned by the caller ---- */
cJSON *status_describe(const struct daemon *d);

/* ---- notify.c: systemd, or who else gave us NOTIFY_SOCKET. All take NULL. ---- */
struct notify *notify_new(struct daemon *d); /* NULL: nobody wants to know */
void notify_ready(struct notify *n);
void notify_reloading(struct notify *n); /* notify_ready() ends it */
void notify_stopping(struct notify *n);
void notify_changed(struct notify *n); /* a new STATUS soon */
void notify_free(struct notify *n);

/* ---- runner.c, runner_poll.c, runner_message.c ---- */
struct known_cancel {
    char *job_id;
    uint64_t at_ms, timeout_ms;
};

/* What a runner did since it was registered; kept in its folder. */
struct runner_counts {
    uint64_t jobs, succeeded, failed, canceled, lost; /* jobs is their sum */
    int64_t last_end_ns;                              /* of a job; 0: none yet */
    char *last_job, *last_result;
};

struct runner {
    struct daemon *d;
    char *name;                          /* the folder's */
    size_t slot;                         /* its number among the daemon's runners */
    struct wh_runner_config *config;     /* NULL while its files can't be used */
    struct wh_runner_config *registered; /* where that is changed by the service: what was registered */
    unsigned settings_failures;          /* sessions that could not be made by the service's settings */
    struct wh_refresh *refresh;          /* an exchange of settings under way */
    struct wh_rsa_key *key;
    struct wh_session *session;
    struct job_user user;
    int lock_fd;
    int work_fd;             /* the work folder, locked */
    enum runner_state state; /* changed by life.c alone */
    uint64_t since_ms;       /* when it came into it */
    bool creating;           /* a session is being asked for */
    bool polling, polled_busy;
    struct wh_later *later; /* the next try of whatever the state tries */
    unsigned errors;        /* of polls in a row */
    unsigned conflicts, denials, sessions_refused;
    uint64_t clock_bad_since_ms; /* 0: it is fine */
    uint64_t poll_started_ms;
    bool fresh_connection;
    bool tried_newest_version;
    char *session_version; /* named when the session was made */
    /* for `wherry status` */
    int64_t contact_ns; /* when the service last answered as it should; 0: not yet */
    int64_t error_ns;
    char *error; /* the last one; NULL: none */
    struct runner_counts counts;
    /* jobs */
    struct jobrun *job;
    unsigned skips;     /* announced jobs in a row that were not for us */
    uint64_t served_ms; /* when its last job ended */
    char *requests[WH_MAX_KNOWN_REQUESTS];
    size_t next_request;
    struct known_cancel cancels[WH_MAX_KNOWN_CANCELS];
    size_t next_cancel;
    char *last_cancel; /* messageId or job of the latest cancellation, for throttling its repeats */
    uint64_t cancel_pause_ms;
    bool drained; /* by an operator: takes no job until it is told to resume */
    /* the end */
    bool end_wanted; /* when the job, if any, is over */
    bool replace;    /* then it begins anew */
    enum runner_state end_state;
    bool keep_session;
    struct wh_error exit_error;
};
/* Never fails: a runner whose files can't be used is RUNNER_UNUSABLE, with its error, and tries again. */
struct runner *runner_new(struct daemon *d, const char *name, size_t slot);
void runner_free(struct runner *r);                                       /* after it has ended */
const char *runner_named_version(const struct runner *r);                 /* NULL: "auto" */
const char *runner_version(const struct runner *r);                       /* which to name now */
void runner_again_in(struct runner *r, uint64_t min_ms, uint64_t max_ms); /* then ON_WAITED */
void runner_start(struct runner *r);
bool runner_is_over(const struct runner *r);
/* Ends the runner in this state as soon as its job is over. The first reason wins. err may be NULL. */
void runner_end(struct runner *r, enum runner_state state, const struct wh_error *err);
int runner_exit_code(const struct runner *r); /* a wh_run_exit */
void runner_stop(struct runner *r);           /* the daemon drains, or stops */
void runner_withdraw(struct runner *r);       /* its registration is not here any more */
void runner_compare(struct runner *r);        /* begins anew if its registration here is another one by now */
void runner_drain(struct runner *r);          /* takes no more jobs until runner_resume() */
void runner_resume(struct runner *r);
/* Polls anew in ms if the status of the poll under way is not the right one any more. */
void runner_status_changed(struct runner *r, uint64_t ms);
void runner_drop_poll(struct runner *r);  /* it ends here, answered or not */
void runner_leave_poll(struct runner *r); /* another one follows: what this one still brings is taken */
void runner_poll_now(struct runner *r);
void runner_poll_in(struct runner *r, uint64_t ms);
void runner_say_error(struct runner *r,
                      const struct wh_error *err); /* logs it, and keeps it for the status */
/* As above, for what will be tried again; err may be NULL. */
void runner_say_trouble(struct runner *r, const struct wh_error *err, const char *then);
/* What a call's failure is in the table. */
enum runner_event runner_event_of(struct runner *r, enum wh_outcome outcome);
/* Ends or is drained, as it is to, if it has no job: from the loop. */
void runner_end_soon(struct runner *r);
#define POLL_RETRY_MIN_MS 15000
#define POLL_RETRY_MAX_MS 30000
void runner_handle(struct runner *r, const struct wh_broker_message *message);
/* True if it was announced before; notes it. */
bool runner_know_request(struct runner *r, const char *request_id);
/* The announcement came to nothing: it may come again. */
void runner_forget_request(struct runner *r, const char *request_id);
/* A remembered cancellation of this job: true with its time-out. */
bool runner_take_cancel(struct runner *r, const char *job_id, uint64_t *timeout_ms);
/* The job is over (freed after this). result: of a job that really was ours, as the service calls it, or
 * "lost"; NULL: it was not. */
void runner_job_ended(struct runner *r, const char *name, const char *result);

/* ---- runner_config.c: settings that the service gave ---- */
void runner_take_settings(
    struct runner *r); /* they come in the place of the registration's, if there are any */
/* A session could not be made: SETTINGS_BAD if that is enough of them, else the event itself. */
enum runner_event runner_settings_failed(struct runner *r, enum runner_event event);
void runner_open_session(struct runner *r);
static inline struct wh_runner_config *runner_registered(const struct runner *r)
{
    return r->registered ? r->registered : r->config;
}

/* ---- runner_files.c: what a runner keeps in its folder while it runs ---- */
int runner_lock(struct runner *r, struct wh_error *err);
int runner_lock_work(struct runner *r, struct wh_error *err);     /* the work folder, which is there */
void runner_note_session(const struct runner *r, const char *id); /* NULL: none any more */
char *runner_noted_session(const struct runner *r);               /* owned; NULL: none */
void runner_counts_load(struct runner *r);
void runner_counts_add(struct runner *r, const char *job, const char *result);

/* ---- jobrun.c, jobrun_end.c: one job, from its announcement to its end ---- */
struct renewal {
    struct wh_later *later;
    int64_t locked_until_ns;
    uint64_t started_ms, lost_at_ms;
    unsigned errors;
    bool stopped;
};

struct worker {
    struct wh_process process;
    struct wh_job_cgroup cgroup; /* of all that the job starts */
    struct wh_frame_conn *conn;
    uv_poll_t *exit_poll, *frame_poll;
    uint64_t started_ms;
};

struct jobrun {
    struct runner *r;
    struct jobrun *next, *prev; /* among those that wait for a place */
    bool waiting, has_place;
    enum job_state state;         /* changed by life.c alone */
    struct wh_broker_message job; /* the announcement */
    char mark[37];                /* random: what the job's processes carry in their environment */
    struct wh_acquire *acquire;
    cJSON *message; /* until the worker has it */
    struct wh_github_job *service;
    char *display_name;
    char *step; /* what the worker runs now */
    int step_number;
    char *result;                 /* as the service was told */
    cJSON *scope;                 /* trust scope of builds */
    struct wh_later *start_later; /* of the worker */
    struct worker worker;
    struct renewal renewal;
    struct wh_build_process *builds[WH_MAX_JOB_BUILDS];
    cJSON *facts;    /* for fetchers: wh_github_action_facts() */
    cJSON *services; /* of the worker's frame: where the cache service is */
    struct wh_fetch_process *fetches[WH_MAX_JOB_FETCHES];
    /* cancellation */
    const char *cancel_reason; /* NULL: none; "user", "shutdown", "lost" */
    uint64_t cancel_timeout_ms;
    struct wh_later *kill_later;
    bool killed;
    struct wh_process_exit died; /* how the worker ended */
    bool died_known;
    bool worker_done;               /* it said "done" */
    bool done_accepted;             /* ... and the service had accepted the completion */
    char *trouble;                  /* why the agent completes it */
    cJSON *kept;                    /* what job.sealed holds; NULL: nothing is on disk */
    bool leave_kept;                /* the service could not be told: the next agent does it */
    bool recovering;                /* a second worker finishes what the first one left */
    enum wh_task_result recover_as; /* ... if that had not come to a result of its own */
    uint64_t announced_ms;
};
/* own.c: what others (a Docker daemon's root) left in the work folder becomes the job user's again; then
 * reply, taken over, is closed. */
void own_give_back(struct jobrun *j, int reply);
void jobrun_start(struct runner *r, const struct wh_broker_message *job);
struct jobrun *jobrun_new(struct runner *r, const struct wh_broker_message *job); /* as r's job */
void jobrun_name(struct jobrun *j, const cJSON *message); /* what it is called in the log */
cJSON *jobrun_runner_object(const struct jobrun *j);      /* of the frames for a worker */
void jobrun_begin(struct jobrun *j);                      /* it has a place now */
void jobrun_drain(struct jobrun *j);                      /* the runner takes no more jobs */
void jobrun_cancel(struct jobrun *j, const char *reason, uint64_t timeout_ms);
/* What it does now has no limit, or one if the agent stops. */
void jobrun_hurry_if_stopping(struct jobrun *j);
void jobrun_first_renewed(struct jobrun *j, bool ok, struct wh_error *err);
void jobrun_lost(struct jobrun *j, const char *why);
void jobrun_worker_gone(struct jobrun *j, const struct wh_process_exit *how);
void jobrun_check_end(struct jobrun *j);     /* builds ended */
bool jobrun_is_ours(const struct jobrun *j); /* it was acquired */

/* ---- keep.c: the job on disk, until its completion was accepted ---- */
void keep_announced(struct jobrun *j);
void keep_acquired(struct jobrun *j, const cJSON *message);
void keep_completion(struct jobrun *j, int fd); /* a sealed memory file of the worker */
void keep_forget(struct jobrun *j);
cJSON *keep_read(struct runner *r, struct wh_error *err); /* WH_E_NOT_FOUND: no job was cut off */
void keep_drop(struct runner *r);
/* A memory file with what the worker wanted to complete with; -1: it did not come that far. */
int keep_open_completion(const struct jobrun *j);

/* ---- recover.c ---- */
void recover_start(struct runner *r); /* before the first session: a job that the last agent left */
/* Starts a second worker that finishes the job, as recover_as and trouble say where the first one had no
 * result. False: that can't be done. */
bool recover_worker(struct jobrun *j);

/* ---- renewal.c ---- */
void renewal_start(struct jobrun *j);
void renewal_stop(struct jobrun *j);

/* ---- worker.c ---- */
int worker_start(struct jobrun *j, struct wh_error *err);
int worker_send(struct jobrun *j, const cJSON *frame, struct wh_error *err);
int worker_send_fds(struct jobrun *j, const cJSON *frame, const int *fds, size_t nfds, struct wh_error *err);
bool worker_runs(const struct jobrun *j);
void worker_kill(struct jobrun *j);
void worker_drop(struct jobrun *j); /* handles; the process is gone or killed */

/* ---- builds.c ---- */
void builds_launch(struct jobrun *j, int channel_fd);  /* takes channel_fd over */
void fetches_launch(struct jobrun *j, int channel_fd); /* the same */
void builds_kill(struct jobrun *j);                    /* fetchers, too */
bool builds_any(const struct jobrun *j);
/* Repository, ref, base ref and default branch, from the agent's own reading of the message. Owned by the
 * caller. */
cJSON *builds_scope(const cJSON *message);

#endif
