/* Filter patterns of `on`: branches, tags and paths (job-execution.md §11.2). */
#ifndef WH_WORKFLOW_PATTERN_H
#define WH_WORKFLOW_PATTERN_H

#include "wherry/base/str.h"

#define WH_MAX_FILTER_PATTERN 1024 /* characters of a pattern */
#define WH_MAX_FILTER_TEXT 4096    /* of what is compared with it: longer texts match nothing */

/* The whole text: `*` but no slash, `**` anything, `**` + slash optional folders, `?` and `+` repeat the
 * character before them, `[a-z]` one of these, `\` makes the next one plain. In time linear in each of them,
 * whatever the pattern. */
bool wh_filter_match(const char *pattern, const char *text);

#endif
