/* The patterns of ${name#pattern} and ${name/pattern/text}: `*`, `?` and backslash, no brackets. Like a
 * regular expression's dot, neither crosses a newline. */
#ifndef WH_DOCKERFILE_PATTERN_H
#define WH_DOCKERFILE_PATTERN_H

#include "wherry/base/str.h"

#define WH_MAX_PATTERN_STEPS ((uint64_t)1 << 26) /* matching work of one expansion */

/* Takes the shortest or the longest (greedy) match of pattern off value's front or back. Adds what is left to
 * out. */
int df_pattern_trim(const char *pattern, const char *value, bool greedy, bool suffix, uint64_t *steps,
                    struct wh_str *out, struct wh_error *err);
int df_pattern_replace(const char *pattern, const char *value, const char *by, bool all, uint64_t *steps,
                       struct wh_str *out, struct wh_error *err);

#endif
