/* From YAML to the template tokens of a job message (job-execution.md §1, §2.7). */
#ifndef WH_WORKFLOW_TOKEN_H
#define WH_WORKFLOW_TOKEN_H

#include "wherry/base/yaml.h"
#include "wherry/job/template.h"

struct wh_convert {
    const char *file; /* for messages */
    unsigned count;   /* nodes converted so far: aliases can make a small file huge */
};

/* "file (Line: L, Col: C): text"; returns -1. */
int wh_workflow_fail(const struct wh_convert *t, const struct wh_yaml *at, struct wh_error *err,
                     const char *fmt, ...) WH_PRINTF(4, 5);

/* The token of a value; what its ${{ }} may use depends on the place. NULL on error. */
struct wh_token *wh_workflow_token(struct wh_convert *t, const struct wh_yaml *node, enum wh_place place,
                                   struct wh_error *err);
/* The text of a scalar as a string target sees it ("010" plain is "10"); NULL on error. Owned by the caller.
 */
char *wh_workflow_text(const struct wh_convert *t, const struct wh_yaml *scalar, struct wh_error *err);
/* An `if`, wrapped as whoever builds the message does; node NULL: "success()". NULL on error. Owned by the
 * caller. */
char *wh_workflow_condition(const struct wh_convert *t, const struct wh_yaml *node, enum wh_place place,
                            struct wh_error *err);

#endif
