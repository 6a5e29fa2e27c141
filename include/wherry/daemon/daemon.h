/* The agent: `wherry run`. One libuv loop, one HTTP client, any number of runner identities
 * (runner-protocol.md §9.1). */
#ifndef WH_DAEMON_DAEMON_H
#define WH_DAEMON_DAEMON_H

#include "wherry/base/str.h"

/* Exit codes of the listener (§3.7); service units rely on them. */
enum wh_run_exit {
    WH_RUN_DONE = 0,     /* asked to stop, or the registration is gone */
    WH_RUN_TERMINAL = 1, /* configuration or credentials are refused: restarting won't help */
    WH_RUN_CONFLICT = 5, /* another agent has this runner's session */
    WH_RUN_DEPRECATED =
        7 /* version refused, where ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE is set */
};

struct wh_daemon_options {
    const char *state;    /* the state folder */
    char *const *names;   /* identities to run; NULL: all that are registered */
    bool once;            /* end after one job */
    const char *job_user; /* over what the identities say; NULL */
    const char *version; /* runner version to name, or "auto": the newest official one; NULL: the identities',
                            else as "auto" */
    int max_jobs;        /* at once on this box; 0: no limit; below 0: the number of processors, at least 4 */
    const char *ca_file; /* NULL: the system's */
    uint64_t cache_max_size;       /* bytes that the store may take; 0: four fifths of the disk */
    uint64_t cache_min_free;       /* bytes of the disk that stay free; 0: a tenth of it, at most 10 GiB */
    uint64_t log_spool;            /* bytes of one job's log that may wait on disk; 0: 2 GiB */
    int64_t log_wait_s;            /* how long a step is held while that is full; negative: one minute */
    bool cache_github;             /* jobs use GitHub's services for caches and artifacts, not ours */
    int artifacts;                 /* enum wh_serve_artifacts */
    uint64_t cache_repository_max; /* bytes of one repository's cache entries; 0: the store's bounds alone */
};
/* Blocks until the agent ends. Returns a wh_run_exit; err is set where it is not 0. SIGTERM or SIGINT:
 * finishes the running jobs and takes no others; a second one: stops them. SIGHUP: looks at the registrations
 * again. */
int wh_daemon_run(const struct wh_daemon_options *options, struct wh_error *err);

/* Puts a question to every agent that runs on this state folder: {"type":"status"}, or "drain", "resume",
 * "cancel", with "runner" or for all. The answers (owned; an array of at least one); NULL with WH_E_NOT_FOUND
 * if no agent runs. docs/protocol.md has the fields. */
struct cJSON;
struct cJSON *wh_daemon_ask(const char *state, const struct cJSON *question, struct wh_error *err);

#endif
