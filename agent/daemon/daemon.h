/* The agent's objects: the daemon has runners, a runner has at most one job, a job has a worker and builds.
 * Everything lives on the daemon's loop. */
#ifndef WH_DAEMON_INTERNAL_H
#define WH_DAEMON_INTERNAL_H

#include "daemon/job_user.h"
#include "wherry/actions/fetch.h"
#include "wherry/base/frame.h"
#include "wherry/build/launch.h"
#include "wherry/config/runner.h"
#include "wherry/daemon/daemon.h"
#include "wherry/github/job.h"
#include "wherry/github/session.h"
#include "wherry/github/version.h"
#include "wherry/net/backoff.h"
#include "wherry/net/later.h"
#include "wherry/platform/process.h"

#define WH_MAX_COMPLETION ((size_t)16 << 20) /* bytes of a completion that is kept */
#define WH_MAX_JOB_BUILDS 16                 /* under way at once, of one job */
#define WH_MAX_JOB_FETCHES 4                 /* the same, of fetchers */
#define WH_MAX_KNOWN_CANCELS 16              /* of jobs that are not known (yet) */
#define WH_MAX_KNOWN_REQUESTS 16             /* announced jobs that are remembered against repeats */

struct runner;
struct jobrun;

struct daemon {
    const struct wh_daemon_options *options;
    uv_loop_t loop;
    struct wh_http_client *http;
    struct runner **runners;
    size_t nrunners;
    uv_signal_t sigterm, sigint;
    unsigned signals; /* how many came */
    bool draining;    /* takes no more jobs */
    bool stopping;    /* ends the running ones too */
    bool ended;
    struct wh_later *version_later;
    struct wh_runner_version_query *version_query;
    char *version; /* newest official */
    struct status_server *status;
    struct cleaner *cleaner;
    struct wake *wake;
};
void daemon_runner_ended(struct daemon *d);
void daemon_learn_version(
    struct daemon *d); /* asks for the newest official version, if that was not asked lately */

/* ---- cleaner.c: the store's bounds ---- */
struct cleaner *cleaner_new(struct daemon *d);
/* Cleans soon; if that was done lately, when ten minutes are over, unless the disk is nearly full. */
void cleaner_job_ended(struct cleaner *c);
void cleaner_free(struct cleaner *c); /* NULL is fine */

/* ---- wake.c: sleep and changes of the network ---- */
struct wake *wake_start(struct daemon *d);
void wake_stop(struct wake *w); /* NULL is fine */

/* ---- status.c ---- */
struct status_server *status_start(struct daemon *d, struct wh_error *err);
void status_stop(struct status_server *s);

/* ---- runner.c, runner_message.c ---- */
enum runner_state { RUNNER_STARTING, RUNNER_CREATING, RUNNER_LISTENING, RUNNER_ENDING, RUNNER_ENDED };

struct known_cancel {
    char *job_id;
    uint64_t at_ms, timeout_ms;
};

struct runner {
    struct daemon *d;
    size_t slot; /* its number among the daemon's runners */
    struct wh_runner_config *config;
    struct wh_rsa_key *key;
    struct wh_session *session;
    struct job_user user;
    int lock_fd;
    enum runner_state state;
    bool creating;          /* a session is being asked for */
    struct wh_later *later; /* the next try of whatever the state tries */
    unsigned errors;        /* of polls in a row */
    unsigned conflicts, denials, sessions_refused;
    uint64_t clock_bad_since_ms; /* 0: it is fine */
    uint64_t poll_started_ms;
    bool fresh_connection;
    bool tried_newest_version;
    /* jobs */
    struct jobrun *job;
    unsigned jobs_done;
    unsigned skips; /* announced jobs in a row that were not for us */
    char *requests[WH_MAX_KNOWN_REQUESTS];
    size_t next_request;
    struct known_cancel cancels[WH_MAX_KNOWN_CANCELS];
    size_t next_cancel;
    char *last_cancel; /* messageId or job of the latest cancellation, for throttling its repeats */
    uint64_t cancel_pause_ms;
    /* the end */
    bool end_wanted; /* when the job, if any, is over */
    bool removed;    /* the registration is gone: delete our files */
    bool keep_session;
    int exit_code;
    struct wh_error exit_error;
};
struct runner *runner_open(struct daemon *d, const char *name, size_t slot, struct wh_error *err);
void runner_free(struct runner *r); /* after it has ended */
void runner_start(struct runner *r);
/* Ends the runner as soon as its job is over. The first reason wins. err may be NULL. */
void runner_end(struct runner *r, int exit_code, const struct wh_error *err);
void runner_drain(struct runner *r); /* the daemon drains, or stops */
void runner_poll_now(struct runner *r);
void runner_poll_in(struct runner *r, uint64_t ms);
void runner_handle(struct runner *r, const struct wh_broker_message *message);
/* True if it was announced before; notes it. */
bool runner_know_request(struct runner *r, const char *request_id);
/* The announcement came to nothing: it may come again. */
void runner_forget_request(struct runner *r, const char *request_id);
/* A remembered cancellation of this job: true with its time-out. */
bool runner_take_cancel(struct runner *r, const char *job_id, uint64_t *timeout_ms);
/* The job is over (freed after this). taken: it really was ours. */
void runner_job_ended(struct runner *r, bool taken);
const char *runner_state_text(const struct runner *r);

/* ---- jobrun.c: one job, from its announcement to its end ---- */
enum job_state {
    JOB_ACKNOWLEDGING,
    JOB_ACQUIRING,
    JOB_FIRST_RENEW,
    JOB_RUNNING,
    JOB_COMPLETING, /* the agent completes it itself: no worker, or it died */
    JOB_ENDING      /* builds are being ended */
};

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
    enum job_state state;
    char *request_id;
    char mark[37]; /* random: what the job's processes carry in their environment */
    struct wh_acquire *acquire;
    cJSON *message; /* until the worker has it */
    struct wh_github_job *service;
    char *display_name;
    char *step;                   /* what the worker runs now */
    cJSON *scope;                 /* trust scope of builds */
    struct wh_later *start_later; /* of the worker */
    struct worker worker;
    struct renewal renewal;
    struct wh_build_process *builds[WH_MAX_JOB_BUILDS];
    cJSON *facts; /* for fetchers: wh_github_action_facts() */
    struct wh_fetch_process *fetches[WH_MAX_JOB_FETCHES];
    /* cancellation */
    const char *cancel_reason; /* NULL: none; "user", "shutdown", "lost" */
    uint64_t cancel_timeout_ms;
    struct wh_later *kill_later;
    bool killed;
    bool worker_done;               /* it said "done" */
    bool done_accepted;             /* ... and the service had accepted the completion */
    char *trouble;                  /* why the agent completes it */
    cJSON *kept;                    /* what job.sealed holds; NULL: nothing is on disk */
    bool leave_kept;                /* the service could not be told: the next agent does it */
    bool recovering;                /* a second worker finishes what the first one left */
    enum wh_task_result recover_as; /* ... if that had not come to a result of its own */
    uint64_t announced_ms;
};
void jobrun_start(struct runner *r, const struct wh_broker_message *job);
struct jobrun *jobrun_new(struct runner *r, const char *request_id); /* as r's job */
void jobrun_acquire(struct jobrun *j, const struct wh_broker_message *job);
void jobrun_name(struct jobrun *j, const cJSON *message); /* what it is called in the log */
void jobrun_end(struct jobrun *j);
cJSON *jobrun_runner_object(const struct jobrun *j); /* of the frames for a worker */
void jobrun_drain(struct jobrun *j);                 /* the agent takes no more jobs */
void jobrun_cancel(struct jobrun *j, const char *reason, uint64_t timeout_ms);
void jobrun_first_renewed(struct jobrun *j, bool ok, struct wh_error *err);
void jobrun_lost(struct jobrun *j, const char *why);
void jobrun_worker_gone(struct jobrun *j, const struct wh_process_exit *how);
void jobrun_check_end(struct jobrun *j); /* builds ended */

/* ---- keep.c: the job on disk, until its completion was accepted ---- */
void keep_announced(struct jobrun *j, const struct wh_broker_message *job);
void keep_acquired(struct jobrun *j, const cJSON *message);
void keep_completion(struct jobrun *j, int fd); /* a sealed memory file of the worker */
void keep_forget(struct jobrun *j);
cJSON *keep_read(struct runner *r, struct wh_error *err); /* WH_E_NOT_FOUND: no job was cut off */
void keep_drop(struct runner *r);
/* A memory file with what the worker wanted to complete with; -1: it did not come that far. */
int keep_open_completion(const struct jobrun *j);

/* ---- recover.c ---- */
void recover_start(struct runner *r); /* before the first session: a job that the last agent left */
/* The worker is gone: starts another one that finishes the job. False: that can't be done. */
bool recover_worker(struct jobrun *j, enum wh_task_result conclusion, const char *why);
int recover_send(struct jobrun *j, struct wh_error *err);

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
