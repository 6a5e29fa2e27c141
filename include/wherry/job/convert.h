/* From YAML (workflow files, action.yml) to the template tokens of a job message (job-execution.md §1, §2.7).
 */
#ifndef WH_JOB_CONVERT_H
#define WH_JOB_CONVERT_H

#include "wherry/base/yaml.h"
#include "wherry/job/template.h"

struct wh_convert {
    const char *file; /* for messages */
    int file_index;   /* of the tokens, in the job's file table; 0: 1, a workflow file of its own */
    unsigned count;   /* nodes converted so far: aliases can make a small file huge */
};

/* "file (Line: L, Col: C): text"; returns -1. */
int wh_convert_fail(const struct wh_convert *t, const struct wh_yaml *at, struct wh_error *err,
                    const char *fmt, ...) WH_PRINTF(4, 5);

/* The token of a value; what its ${{ }} may use depends on the place. NULL on error. */
struct wh_token *wh_convert_token(struct wh_convert *t, const struct wh_yaml *node, enum wh_place place,
                                  struct wh_error *err);
/* The text of a scalar as a string target sees it ("010" plain is "10"); NULL on error. Owned by the caller.
 */
char *wh_convert_text(const struct wh_convert *t, const struct wh_yaml *scalar, struct wh_error *err);
/* An `if`, wrapped as whoever builds the message does; node NULL: "success()". NULL on error. Owned by the
 * caller. */
char *wh_convert_condition(const struct wh_convert *t, const struct wh_yaml *node, enum wh_place place,
                           struct wh_error *err);

#endif
