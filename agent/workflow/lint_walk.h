/* A workflow's tree against the schema. Shared by the readers of workflow files. */
#ifndef WH_WORKFLOW_LINT_WALK_H
#define WH_WORKFLOW_LINT_WALK_H

#include "wherry/base/yaml.h"
#include "wherry/workflow/lint.h"
#include "workflow/schema.h"

struct wf_check {
    const char *text; /* the file, for places within a scalar; NULL: the scalar's own place will do */
    size_t len;
    struct wh_lint *out;
    bool expressions; /* check ${{ }}, too */
    /* what else can be said about an expression's names (lint_names.c); may be NULL */
    void (*use)(struct wf_check *c, const struct wh_yaml *scalar, size_t base, const struct wh_expr_use *use);
    const struct wh_yaml *root;
    /* where the walk is */
    const char *job_id;
    const char *key;                  /* of the mapping around; NULL: none yet */
    const struct wh_yaml *job, *step; /* NULL: outside of any */
    int place;
    const struct wf_type *other; /* what the mapping would be with, or without, its variant_key; NULL */
    const char *other_key;
    unsigned nodes; /* walked so far: aliases can make a small file huge */
};

/* Adds a problem at a node. */
void wf_problem(struct wf_check *c, enum wh_lint_level level, const char *rule, const struct wh_yaml *at,
                const char *fmt, ...) WH_PRINTF(5, 6);
/* At a byte of a scalar's text. */
void wf_problem_within(struct wf_check *c, enum wh_lint_level level, const char *rule,
                       const struct wh_yaml *scalar, size_t byte, size_t length, const char *fmt, ...)
    WH_PRINTF(7, 8);
/* " (did you mean 'x'?)" or "". Owned. */
char *wf_near(const char *name, const char *const *names);

/* The keys, values and expressions of node and all below it. */
void wf_check_value(struct wf_check *c, const struct wh_yaml *node, const struct wf_type *type);
/* The text of a scalar with ${{ }}, or (condition) an `if`. */
void wf_check_expressions(struct wf_check *c, const struct wh_yaml *scalar, bool condition);
/* All of c->root, problems in the order of their places (lint.c). folder: for actions beside the workflow;
 * NULL. */
void wf_check_all(struct wf_check *c, const char *folder);
/* What the schema can't say: ids, needs, cycles, filters (lint_jobs.c). */
void wf_check_jobs(struct wf_check *c);
void wf_check_on(struct wf_check *c);
/* For wf_check.use (lint_names.c). */
void wf_check_use(struct wf_check *c, const struct wh_yaml *scalar, size_t base,
                  const struct wh_expr_use *use);
/* Actions, and workflows that jobs call (lint_uses.c). */
void wf_check_uses(struct wf_check *c, const char *root);

#endif
