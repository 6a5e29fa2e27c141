/* The globs of the actions toolkit, segment by segment: hashFiles (job-execution.md §2.5), paths of caches
 * and artifacts. */
#ifndef WH_JOB_GLOB_H
#define WH_JOB_GLOB_H

#include "wherry/base/str.h"

#define WH_MAX_GLOB_SEGMENTS 128
#define WH_MAX_GLOB_PATTERNS 1000

enum wh_glob_match { WH_GLOB_NONE = 0, WH_GLOB_DIRECTORY = 1, WH_GLOB_FILE = 2, WH_GLOB_ALL = 3 };

struct wh_glob_segment {
    char *text;     /* the pattern, escapes and all; owned */
    char *literal;  /* what it says if it has no wildcard, else NULL; owned */
    bool any_depth; /* "**" */
};

struct wh_glob {
    struct wh_glob_segment *segments; /* from the root on */
    size_t count;
    bool negate;
    bool directories_only; /* ended with a slash */
    bool implicit;         /* "<pattern>" + "/" + "**", added so that descendants of what matches match too */
    char *search_path;     /* literal folders before the first wildcard */
};

struct wh_globs {
    struct wh_glob *items;
    size_t count;
};
void wh_globs_free(struct wh_globs *g);
/* One pattern a line; blank ones and comments are dropped; relative ones start at root (absolute path).
 * descendants: what lies below a match matches too. */
int wh_globs_parse(struct wh_globs *g, const char *root, const char *lines, bool descendants,
                   struct wh_error *err);
/* path: absolute, no slash at the end. */
enum wh_glob_match wh_globs_match(const struct wh_globs *g, const char *path);
/* True: something below path may match. */
bool wh_globs_may_match_below(const struct wh_globs *g, const char *path);

#endif
