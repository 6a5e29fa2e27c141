/* What is wrong with a workflow file, all of it, each with its place (`wherry lint`). The schema that it is
 * checked against is the one that `wherry exec` reads by (agent/workflow/schema.h). */
#ifndef WH_WORKFLOW_LINT_H
#define WH_WORKFLOW_LINT_H

#include "wherry/base/yaml.h"

#define WH_MAX_LINT_PROBLEMS 1000u /* of a file: enough to read */

enum wh_lint_level {
    WH_LINT_REFUSED, /* GitHub refuses the file */
    WH_LINT_ERROR,   /* it is accepted, and can not do what it says */
    WH_LINT_WARNING, /* it may do something else than it says */
};
struct wh_lint_problem {
    enum wh_lint_level level;
    const char *rule;           /* "schema", "expression", ...: a constant */
    unsigned line, col, length; /* from 1, in characters; length 0: not known */
    char *text;                 /* owned */
};
struct wh_lint {
    struct wh_lint_problem *problems; /* in the order of their places; owned */
    size_t count;
    unsigned refused, errors, warnings;
};
void wh_lint_clear(struct wh_lint *l);
#define wh_autolint __attribute__((cleanup(wh_lint_clear))) struct wh_lint

/* Checks all of a file. root: the folder that `uses: ./…` is relative to, for actions and workflows that lie
 * there; NULL: they are not looked at. Never fails: what can't be read is a problem, too. */
void wh_lint_workflow(const char *text, size_t len, const char *root, struct wh_lint *out);

/* The same of a tree that is parsed already. */
void wh_lint_tree(const struct wh_yaml *root, const char *text, size_t len, const char *folder,
                  struct wh_lint *out);

/* The line of a problem and a mark below it, each with a newline; "" where there is none. Owned. */
char *wh_lint_excerpt(const char *text, size_t len, const struct wh_lint_problem *p);

#endif
