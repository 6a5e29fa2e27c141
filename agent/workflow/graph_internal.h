/* Shared by graph.c, graph_node.c and graph_call.c. */
#ifndef WH_WORKFLOW_GRAPH_INTERNAL_H
#define WH_WORKFLOW_GRAPH_INTERNAL_H

#include "wherry/workflow/graph.h"
#include "workflow/workflow_internal.h"

struct wh_graph {
    struct wh_graph_options options;
    struct wh_value *vars;
    struct wh_graph_scope **scopes; /* in order of their making: callers before called */
    size_t nscopes, njobs, output_bytes;
};

/* ---- graph.c ---- */
struct wh_graph_scope *graph_scope_new(struct wh_graph *g, const struct wh_workflow *workflow,
                                       struct wh_graph_job *caller, struct wh_error *err);
/* A job that ran or never will, and what follows from its end. */
void graph_job_end(struct wh_graph_job *job, enum wh_graph_result result);
/* The node ends without jobs. */
void graph_node_end(struct wh_graph_node *node, enum wh_graph_result result, const char *reason);
void graph_set_reason(struct wh_graph_node *node, const char *reason);
/* Merges outputs of a job into those of its node; false: they are too large (the reason is set). */
bool graph_take_outputs(struct wh_graph_job *job, const struct wh_value *outputs);

/* ---- graph_node.c ---- */
/* The contexts that stand around a node, or one of its jobs: a new object. */
struct wh_value *graph_contexts(const struct wh_graph_node *node, const struct wh_graph_job *job);
/* 1, 0, or negative with an error that names the place. */
int graph_condition(struct wh_graph_node *node, struct wh_error *err);
/* Its condition, then its jobs; all needs are done. */
void graph_node_reach(struct wh_graph_node *node);
int graph_concurrency(const struct wh_workflow *w, const struct wh_yaml *node, enum wh_place place,
                      const struct wh_value *contexts, struct wh_concurrency *out, struct wh_error *err);

/* ---- graph_call.c ---- */
/* outputs of workflow_call, when its jobs are done. NULL on failure. */
struct wh_value *graph_call_outputs(const struct wh_graph_scope *scope, struct wh_error *err);

#endif
