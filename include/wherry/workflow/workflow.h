/* Workflow files for `wherry exec`: from YAML to the very job message that the service would send, so that
 * the worker runs it as any other (job-execution.md §11). Errors name file, line and column as GitHub's do:
 * ".github/workflows/ci.yml (Line: 12, Col: 9): Unexpected value 'rnu'". */
#ifndef WH_WORKFLOW_WORKFLOW_H
#define WH_WORKFLOW_WORKFLOW_H

#include "wherry/base/json.h"

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
/* Its `name`, else its id; may hold ${{ }}. Owned by the caller. */
char *wh_workflow_job_name(const struct wh_workflow *w, size_t i);
/* Job-level `if`, wrapped; NULL if it has none. Owned by the caller. */
char *wh_workflow_job_condition(const struct wh_workflow *w, size_t i);
/* `timeout-minutes` where it is a number; 0: none. */
unsigned wh_workflow_job_timeout(const struct wh_workflow *w, size_t i);
/* `on` has the event. */
bool wh_workflow_has_event(const struct wh_workflow *w, const char *event);

/* What surrounds the job; everything is borrowed. */
struct wh_workflow_context {
    const cJSON *github;  /* plain JSON object: members of the github context (wh_workflow_github()) */
    const cJSON *inputs;  /* plain JSON object or NULL: given values; defaults of workflow_dispatch fill in */
    const cJSON *vars;    /* plain JSON object of strings or NULL */
    const cJSON *secrets; /* plain JSON object of strings or NULL */
    const char *token;    /* github.token; NULL: "" */
};
/* The job message of one job. NULL with WH_E_UNSUPPORTED for what `exec` can't do yet: matrices, needs,
 * reusable workflows. */
cJSON *wh_workflow_message(const struct wh_workflow *w, const char *job_id,
                           const struct wh_workflow_context *context, struct wh_error *err);

/* The github context of a checkout, by asking git: sha, ref, ref_name, ref_type, repository (from the remote
 * `origin`, else local/<folder>), actor and the fixed rest. event: the payload (borrowed), NULL: a small one
 * of the event's kind is made. A folder without git gives zeros for
 * the commit. Never NULL. */
cJSON *wh_workflow_github(const char *folder, const char *event_name, const cJSON *event,
                          const char *workflow_path, const char *workflow_name, const char *job_id);

#endif
