/* Problem matchers (job-execution.md §5.8): regular expressions over one line or several that follow each
 * other, which find problems in what a step prints. */
#ifndef WH_JOB_MATCHER_H
#define WH_JOB_MATCHER_H

#include "wherry/base/json.h"

#define WH_MAX_MATCHERS 100u        /* of a job, and of a file */
#define WH_MAX_MATCHER_PATTERNS 20u /* of a matcher */
#define WH_MAX_MATCHER_STEPS                                                                                 \
    1000000u /* of the expression's engine on one line: what takes a second elsewhere */

enum wh_match_field {
    WH_MATCH_FILE,
    WH_MATCH_LINE,
    WH_MATCH_COLUMN,
    WH_MATCH_SEVERITY,
    WH_MATCH_CODE,
    WH_MATCH_MESSAGE,
    WH_MATCH_FROM_PATH,
    WH_MATCH_FIELDS
};
struct wh_match {
    char *fields[WH_MATCH_FIELDS]; /* owned; NULL: no pattern sets it */
};
void wh_match_clear(struct wh_match *m);

struct wh_matcher {
    struct wh_matcher *next; /* the caller's list */
    char *owner, *severity, *from_path;
    size_t npatterns;
    struct wh_matcher_pattern *patterns;
    struct wh_match **running; /* by pattern, but for the last: what its line gave; NULL: it did not match */
};
void wh_matcher_free(struct wh_matcher *m);
/* The matchers of a file's {"problemMatcher":[...]}, in its order; *out is NULL where there are none. The
 * errors are GitHub's sentences. */
int wh_matchers_read(const cJSON *json, struct wh_matcher **out, struct wh_error *err);
/* One line: 1 with a whole match in out (to be cleared), 0 without, negative where it took too long. */
int wh_matcher_line(struct wh_matcher *m, const char *line, size_t len, struct wh_match *out);
/* Forgets what the lines before gave. */
void wh_matcher_reset(struct wh_matcher *m);

#endif
