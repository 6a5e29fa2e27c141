/* A run: the jobs of a workflow (or of several), which wait for one another, become several by their matrices
 * and call further workflows (job-execution.md §11.3, §11.4, §11.8). It only thinks: whoever drives it starts
 * the jobs that it offers and says how they ended.
 *
 *   scope   one workflow that runs: a root, or one that a job calls by `uses`
 *   node    a job of the file in its scope
 *   job     what runs: the node itself, or one row of its matrix
 *
 * All members are for reading. One thread. */
#ifndef WH_WORKFLOW_GRAPH_H
#define WH_WORKFLOW_GRAPH_H

#include "wherry/workflow/matrix.h"
#include "wherry/workflow/workflow.h"

#define WH_MAX_GRAPH_JOBS 4096u              /* of a run, all matrices and calls together */
#define WH_MAX_CALL_LEVELS 10u               /* of workflows: the first and those below */
#define WH_MAX_CALLED_WORKFLOWS 50u          /* different files that a run may call: for the driver */
#define WH_MAX_JOB_OUTPUTS ((size_t)1 << 20) /* bytes of one job's outputs */
#define WH_MAX_RUN_OUTPUTS ((size_t)50 << 20)
#define WH_MAX_CONCURRENCY_GROUP 400 /* characters */

enum wh_graph_result {
    WH_GRAPH_NONE,
    WH_GRAPH_SUCCESS,
    WH_GRAPH_FAILURE,
    WH_GRAPH_CANCELLED,
    WH_GRAPH_SKIPPED
};
const char *wh_graph_result_text(enum wh_graph_result r); /* as needs.x.result has it */
/* From the worker's word ("succeeded", "failed", "canceled", ...); FAILURE for anything else. */
enum wh_graph_result wh_graph_result_parse(const char *text);

enum wh_graph_state { WH_GRAPH_READY, WH_GRAPH_RUNNING, WH_GRAPH_DONE };

struct wh_graph_scope;
struct wh_graph_node;
struct wh_graph;

struct wh_concurrency {
    char *group; /* NULL: none */
    bool cancel_in_progress;
};

struct wh_graph_job {
    struct wh_graph_node *node;
    size_t index; /* of the matrix */
    struct wh_value *matrix, *strategy;
    char *name;    /* "caller / build (1)" */
    char *runs_on; /* "ubuntu-latest, x64"; NULL for a call */
    enum wh_graph_state state;
    enum wh_graph_result result;
    bool continue_on_error;
    unsigned timeout_minutes; /* 0: none */
    struct wh_concurrency concurrency;
    bool cancel; /* while it runs: it shall end */
    struct wh_value *outputs;
    struct wh_graph_scope *called; /* of a call that runs or ran */
    bool held;                     /* the driver's: it waits, don't offer it */
    void *user;                    /* the driver's */
};

struct wh_graph_node {
    struct wh_graph_scope *scope;
    const char *id;
    const struct wh_yaml *yaml;
    struct wh_graph_node **needs;
    size_t nneeds;
    bool call;     /* it has `uses` */
    bool left_out; /* not asked for */
    bool expanded, done;
    enum wh_graph_result result;
    char *reason; /* why it was skipped or could not be made; NULL */
    struct wh_graph_job **jobs;
    size_t njobs;
    bool fail_fast;
    unsigned max_parallel; /* 0: no limit */
    struct wh_value *outputs;
};

struct wh_graph_scope {
    struct wh_graph *graph;
    const struct wh_workflow *workflow;
    struct wh_graph_job *caller; /* NULL: a root */
    unsigned level;              /* from 1 */
    char *name;                  /* of a root: run-name, else the workflow's name */
    struct wh_value *github;     /* as values */
    cJSON *github_json, *secrets;
    struct wh_value *inputs;
    struct wh_graph_node *nodes;
    size_t nnodes;
    struct wh_concurrency concurrency;
    bool closed; /* it waits for its concurrency group: wh_graph_open() */
    bool canceled, done;
    enum wh_graph_result result;
    struct wh_value *outputs; /* of a called one */
    void *user;               /* the driver's: where the file came from */
};

struct wh_graph_options {
    const cJSON *vars; /* borrowed as long as the graph lives */
    const char *token; /* as well; NULL: "" */
    const cJSON *rows; /* --matrix: key -> array of texts; other rows are left out. NULL: all */
    /* Nothing really runs: conditions and matrices that depend on outputs are taken as true, and as one row;
     * the node's reason says so. */
    bool plan;
    /* A job was skipped, cancelled or failed without having been offered: job NULL if it never got so far. */
    void (*on_end)(void *arg, struct wh_graph_node *node, struct wh_graph_job *job);
    void *arg;
};

struct wh_graph *wh_graph_new(const struct wh_graph_options *options);
void wh_graph_free(struct wh_graph *g);

struct wh_graph_root {
    const struct wh_workflow *workflow; /* borrowed */
    const cJSON *github, *secrets;      /* copied */
    const char *event;                  /* its name */
    const cJSON *inputs;                /* given for workflow_dispatch: object of strings; NULL */
    char *const *only;                  /* ids of jobs that are wanted, with what they need; NULL: all */
    void *user;
};
struct wh_graph_scope *wh_graph_add(struct wh_graph *g, const struct wh_graph_root *root,
                                    struct wh_error *err);

/* The next job that may start; NULL: none now. Conditions are evaluated and matrices expanded as far as that
 * is possible. Say wh_graph_start() or set `held`. */
struct wh_graph_job *wh_graph_next(struct wh_graph *g);
bool wh_graph_done(const struct wh_graph *g);
/* All roots together: SUCCESS also where everything was skipped. */
enum wh_graph_result wh_graph_result(const struct wh_graph *g);

/* For a job with steps: its message. Owned by the caller. */
cJSON *wh_graph_message(const struct wh_graph_job *job, struct wh_error *err);
void wh_graph_start(struct wh_graph_job *job);
/* outputs (object of strings; NULL) are copied. */
void wh_graph_finish(struct wh_graph_job *job, enum wh_graph_result result, const cJSON *outputs);
/* For a call: what it names, and the workflow's file that was found for it. The workflow is taken over in
 * every case. On error the job has failed, with the error as its node's reason. */
const char *wh_graph_uses(const struct wh_graph_job *job);
struct wh_graph_scope *wh_graph_call(struct wh_graph_job *job, struct wh_workflow *workflow_taken, void *user,
                                     struct wh_error *err);
/* A job that could not be started; before or after wh_graph_start(). */
void wh_graph_fail(struct wh_graph_job *job, const char *reason);
void wh_graph_open(struct wh_graph_scope *scope);

/* The whole run, one workflow of it with what it calls, or one job. Running ones whose condition still holds
 * (always(), cancelled()) stay, others get `cancel` set; what waits is judged when its time comes. */
void wh_graph_cancel(struct wh_graph *g);
void wh_graph_cancel_scope(struct wh_graph_scope *scope);
void wh_graph_cancel_job(struct wh_graph_job *job);

size_t wh_graph_scope_count(const struct wh_graph *g);
struct wh_graph_scope *wh_graph_scope_at(const struct wh_graph *g, size_t i);

#endif
