/* Native actions: how wherry runs `uses: docker/build-push-action@v6` without Node.js (actions.md,
 * job-execution.md §7.2).
 *
 * An action is a table entry with plain blocking functions for its stages. Each stage runs in a forked child
 * of the worker and sees exactly what a JavaScript action sees: INPUT_*, STATE_*, GITHUB_*, RUNNER_*,
 * ACTIONS_* in its environment, the workspace as current folder, stdin at /dev/null, stdout and stderr read
 * line by line by the worker (workflow commands, masks, log), file commands for its results, SIGINT when it
 * is cancelled (7.5 s later SIGTERM, 2.5 s later SIGKILL). It may start threads, make an HTTP client
 * (wh_http_client_new_private()), start programs (wherry/platform/process.h). A stage returns 0, or 1 after
 * it has said why by wh_action_error() or wh_action_fail(). */
#ifndef WH_ACTIONS_ACTION_H
#define WH_ACTIONS_ACTION_H

#include "wherry/base/str.h"

struct wh_action_run;

/* ---- what an action is ---- */
struct wh_action_input {
    const char *name;          /* as action.yml spells it */
    const char *default_value; /* a template, as in action.yml ("${{ github.token }}"); NULL: "" */
    bool required;             /* documentation only, as on GitHub: the action itself checks */
    const char *deprecation;   /* message, or NULL */
    int min_major, max_major;  /* majors that have it; 0: no bound */
    bool published; /* given (and not empty or false), the step runs the action as GitHub publishes it: what
                       is built in does not do it */
};

typedef int (*wh_action_stage_fn)(struct wh_action_run *run);

struct wh_action {
    const char *repository;   /* "docker/build-push-action"; matched in any case */
    const char *path;         /* of the action in it; NULL: the root */
    int min_major, max_major; /* majors whose behaviour it knows */
    const struct wh_action_input *inputs;
    size_t ninputs;
    wh_action_stage_fn main;
    wh_action_stage_fn post; /* NULL: none */
    const char *post_if;     /* NULL: "always()" */
    bool host_only;          /* not in a job container, whose files and HOME it would not see */
};

/* A ref read as a version: "v4" is {4, WH_NEWEST, WH_NEWEST}; "v4.2.1" is exact; "main" and "master" are the
 * newest major; a commit that the table of known releases has (agent/actions/releases.c) is that release; any
 * other commit is taken as the newest release that wherry knows, with known = false. */
#define WH_NEWEST 9999
struct wh_action_version {
    int major, minor, patch;
    bool known;
};
/* True if v is at least major.minor.patch ("since 6.9"). */
bool wh_action_version_at_least(const struct wh_action_version *v, int major, int minor, int patch);

/* The native action for repository@ref and the version that ref means. NULL with WH_E_UNSUPPORTED ("Action
 * 'o/r@v9' is not supported yet by wherry: ...") where there is none, its path is not the root, or the major
 * is out of range. The registry is agent/actions/list.h: each action adds one line to it. */
const struct wh_action *wh_action_find(const char *repository, const char *path, const char *ref,
                                       struct wh_action_version *version, struct wh_error *err);

/* ---- what a stage is given ---- */
const struct wh_action_version *wh_action_version(const struct wh_action_run *run);
const char *wh_action_ref(const struct wh_action_run *run);
/* INPUT_<NAME>, with white space cut at both ends as the toolkit's getInput() does; "" if unset. Valid until
 * the stage ends. */
const char *wh_action_input(struct wh_action_run *run, const char *name);
/* The same, nothing cut. */
const char *wh_action_input_raw(struct wh_action_run *run, const char *name);
/* Docker's actions: true|True|TRUE|false|False|FALSE; else an error with the toolkit's two lines. */
int wh_action_input_bool(struct wh_action_run *run, const char *name, bool *out, struct wh_error *err);
/* STATE_<name>, as saved by an earlier stage of the same step; "" if unset. */
const char *wh_action_state(struct wh_action_run *run, const char *name);
/* Any other variable (getenv); "" if unset. */
const char *wh_action_env(const char *name);
/* The webhook payload of GITHUB_EVENT_PATH; borrowed; an empty object if there is none. */
struct cJSON;
const struct cJSON *wh_action_event(struct wh_action_run *run);
/* RUNNER_DEBUG is 1. */
bool wh_action_debug_enabled(void);
/* True once SIGINT or SIGTERM came (a stage that waits in poll() or read() gets EINTR). For actions that want
 * to tidy up; without a call to this function before, the signals end the process as for any program. */
bool wh_action_canceled(void);

/* ---- what a stage says: whole lines on stdout, flushed; thread-safe ---- */
void wh_action_print(const char *fmt, ...) WH_PRINTF(1, 2);
void wh_action_group(const char *fmt, ...) WH_PRINTF(1, 2); /* ::group::title */
void wh_action_group_end(void);
/* Annotations; the text is escaped, so it may have several lines. */
void wh_action_error(const char *fmt, ...) WH_PRINTF(1, 2);
void wh_action_warning(const char *fmt, ...) WH_PRINTF(1, 2);
/* A warning on a line of a file of the workspace; title may be NULL. */
void wh_action_warning_at(const char *file, int line, const char *title, const char *text);
void wh_action_notice(const char *fmt, ...) WH_PRINTF(1, 2);
void wh_action_debug(const char *fmt, ...) WH_PRINTF(1, 2);
void wh_action_mask(
    const char *value); /* ::add-mask::; call it before the first line that could hold the value */
/* wh_action_error() with the error's sentence; returns 1, so `return wh_action_fail(&err);` ends a stage. */
int wh_action_fail(const struct wh_error *err);

/* ---- what a stage leaves: file commands, so values may have any number of lines ---- */
int wh_action_set_output(struct wh_action_run *run, const char *name, const char *value,
                         struct wh_error *err);
int wh_action_save_state(struct wh_action_run *run, const char *name, const char *value,
                         struct wh_error *err);
int wh_action_export_env(struct wh_action_run *run, const char *name, const char *value,
                         struct wh_error *err); /* sets it here too */
int wh_action_add_path(struct wh_action_run *run, const char *folder, struct wh_error *err);
int wh_action_add_summary(struct wh_action_run *run, const char *markdown, struct wh_error *err);

/* A connection to a builder: makes a socketpair, has the agent start a builder at its far end, and returns
 * the near end (owned by the caller; close-on-exec, blocking) at once; what goes wrong at the start comes as
 * end of file or a result frame on it. What is spoken on it: wherry/build/launch.h and
 * wherry/build/request.h. */
int wh_action_build_channel(struct wh_action_run *run, struct wh_error *err);

/* ---- for the worker (and tests): one stage as the life of a forked child ---- */
struct wh_action_stage {
    const struct wh_action *action;
    struct wh_action_version version;
    const char *ref;
    bool post;   /* else main */
    int control; /* socket to the worker for {"type":"build"} frames; -1: none */
};
/* For wh_process_fork(): data is a struct wh_action_stage. The environment is installed already. */
int wh_action_stage_main(void *data);

#endif
