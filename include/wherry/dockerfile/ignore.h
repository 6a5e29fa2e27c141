/* .dockerignore, --exclude (builder.md §1.7) and Go's filepath.Match for COPY's sources (§1.4), compiled
 * once. Paths are relative, slash-separated, clean, without a leading slash. Objects are immutable: any
 * number of threads may ask. */
#ifndef WH_DOCKERFILE_IGNORE_H
#define WH_DOCKERFILE_IGNORE_H

#include "wherry/base/str.h"

#define WH_MAX_IGNORE_BYTES ((size_t)8 << 20)
#define WH_MAX_IGNORE_PATTERNS 65536
#define WH_MAX_PATTERN_BYTES ((size_t)65535)

enum wh_ignore_answer {
    WH_IGNORE_INCLUDED,
    WH_IGNORE_EXCLUDED,      /* a directory: nothing below can come back, don't descend */
    WH_IGNORE_EXCLUDED_LOOK, /* a directory that is excluded but may hold re-included files: descend, and show
                                it only if something below is included */
};

struct wh_ignore;
/* The text of an ignore file; what ("Dockerfile.dockerignore") goes into errors. */
int wh_ignore_parse(const char *text, size_t len, const char *what, struct wh_ignore **out,
                    struct wh_error *err);
/* Patterns one by one (--exclude); no comments. */
int wh_ignore_from_patterns(char *const *patterns, const char *what, struct wh_ignore **out,
                            struct wh_error *err);
void wh_ignore_free(struct wh_ignore *ig);
bool wh_ignore_is_empty(const struct wh_ignore *ig); /* NULL is empty too */

/* Walking a tree costs one match per entry: state of the parent in, state of the entry out. */
struct wh_ignore_state {
    uint64_t *matched; /* owned; which patterns matched a parent; NULL for the root */
};
void wh_ignore_state_clear(struct wh_ignore_state *st);
/* parent: the state of the directory that holds path (zeroed for the root). mine (may be NULL) is filled for
 * is_dir. */
enum wh_ignore_answer wh_ignore_walk(const struct wh_ignore *ig, const struct wh_ignore_state *parent,
                                     const char *path, bool is_dir, struct wh_ignore_state *mine);
/* One path by itself, all its parents considered. */
enum wh_ignore_answer wh_ignore_match(const struct wh_ignore *ig, const char *path, bool is_dir);

/* Whether a COPY of this path surely takes nothing (the CopyIgnoredFile rule); false where the file has
 * exceptions.
 */
bool wh_ignore_excludes(const struct wh_ignore *ig, const char *path);
/* filepath.Clean; owned by the caller. */
char *wh_ignore_clean(const char *path);

/* Go's filepath.Match on one whole path: * ? stop at '/', [a-z] [^a-z], backslash. */
struct wh_glob;
/* "syntax error in pattern" for a bad one. double_star: ** matches any depth (COPY --parents). */
int wh_glob_compile(const char *pattern, bool double_star, struct wh_glob **out, struct wh_error *err);
bool wh_glob_match(const struct wh_glob *g, const char *path);
void wh_glob_free(struct wh_glob *g);
/* True if the text has any of * ? [ or a backslash, as BuildKit decides between literal and wildcard. */
bool wh_glob_has_wildcard(const char *pattern);
/* The leading directories without wildcards ("" if none): where a walk may start. Owned by the caller. */
char *wh_glob_literal_prefix(const char *pattern);

#endif
