/* Workflow files for `wherry exec`: from YAML to the very job message that the service would send, so that
 * the worker runs it as any other (job-execution.md §11). Errors name file, line and column as GitHub's do:
 * ".github/workflows/ci.yml (Line: 12, Col: 9): Unexpected value 'rnu'". */
#ifndef WH_WORKFLOW_WORKFLOW_H
#define WH_WORKFLOW_WORKFLOW_H

#include "wherry/job/value.h"

#define WH_MAX_WORKFLOW_JOBS 256u
#define WH_MAX_WORKFLOW_STEPS 1000u

struct wh_workflow;
/* name: the path as messages and github.workflow_ref shall show it. Checks all jobs' keys, not their
 * expressions. */
struct wh_workflow *wh_workflow_parse(const char *text, size_t len, const char *name, struct wh_error *err);
void wh_workflow_free(struct wh_workflow *w);
void wh_workflow_free_ptr(struct wh_workflow **w);
#define wh_autoworkflow __attribute__((cleanup(wh_workflow_free_ptr))) struct wh_workflow

const char *wh_workflow_name(const struct wh_workflow *w); /* `name`, else the path */
size_t wh_workflow_job_count(const struct wh_workflow *w);
const char *wh_workflow_job_id(const struct wh_workflow *w, size_t i);
const char *wh_workflow_file(const struct wh_workflow *w);         /* as it was named */
char *wh_workflow_job_name(const struct wh_workflow *w, size_t i); /* `name`, else the id; owned */
bool wh_workflow_job_has_matrix(const struct wh_workflow *w, const char *id);
/* All expressions of all jobs can be parsed and stand where they may: makes each job's message for nothing.
 */
int wh_workflow_check_expressions(const struct wh_workflow *w, struct wh_error *err);
/* `on` has the event, whatever its filters. */
bool wh_workflow_has_event(const struct wh_workflow *w, const char *event);
/* The events of `on`, in order; owned (wh_strv_free()). */
char **wh_workflow_events(const struct wh_workflow *w);

/* What `uses` of a job names: a workflow of the same repository and commit (repository NULL), or of another.
 */
struct wh_workflow_reference {
    char *repository; /* "owner/repo"; NULL: "./" */
    char *path;       /* ".github/workflows/build.yml" */
    char *ref;        /* NULL with "./" */
};
int wh_workflow_reference_parse(const char *text, struct wh_workflow_reference *out, struct wh_error *err);
void wh_workflow_reference_clear(struct wh_workflow_reference *r);

/* What surrounds the job; everything is borrowed. NULL contexts are what a lone job has. */
struct wh_workflow_context {
    const cJSON *github;  /* plain JSON object: members of the github context (wh_workflow_github()) */
    const cJSON *vars;    /* plain JSON object of strings or NULL */
    const cJSON *secrets; /* plain JSON object of strings or NULL */
    const char *token;    /* github.token; NULL: "" */
    const struct wh_value *inputs; /* as they are: defaults are filled in */
    const struct wh_value *needs, *strategy, *matrix;
    const char *name; /* the display name; NULL: as the file has it */
};
/* The job message of one job that has `steps`. */
cJSON *wh_workflow_message(const struct wh_workflow *w, const char *job_id,
                           const struct wh_workflow_context *context, struct wh_error *err);

/* What git says about a checkout; owned. A folder without git or commits: zeros for the commit,
 * "local/FOLDER" for the repository. */
struct wh_checkout {
    char *folder, *git; /* git NULL: there is none */
    char *sha, *ref;    /* "refs/heads/main", "refs/tags/v1" */
    char *repository;   /* of the remote `origin` */
    char *default_branch, *actor;
    char *before, *message, *author, *email, *timestamp; /* of the commit and the one before; NULL */
    bool has_commit;
    char *server; /* "https://github.com", or that of GitHub Enterprise; NULL: the former */
};
void wh_checkout_read(const char *folder, struct wh_checkout *c);
void wh_checkout_clear(struct wh_checkout *c);
/* Files that the event changed: since the push's `before`, or since the base branch of a pull request. NULL:
 * not known. Owned (wh_strv_free()). */
char **wh_checkout_changed(const struct wh_checkout *c, const cJSON *github);

/* The github context. given: the payload (borrowed); NULL: one is made (wh_workflow_payload()). Never NULL.
 */
cJSON *wh_workflow_github(const struct wh_checkout *c, const struct wh_workflow *w, const char *event_name,
                          const cJSON *given);
/* A payload of the event's kind, whose action is among the workflow's `types`. */
cJSON *wh_workflow_payload(const struct wh_checkout *c, const struct wh_workflow *w, const char *event_name);
/* Whether `on` and its filters let the event in (github: as above; changed NULL: paths are not looked at).
 * False: *why says what keeps it out; owned. */
bool wh_workflow_triggered(const struct wh_workflow *w, const cJSON *github, char *const *changed,
                           char **why);

#endif
