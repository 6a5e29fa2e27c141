/* Reading a repository's own files: HEAD, refs, the index. Only plain layouts (a .git folder, loose and
 * packed refs); for anything else the answer is "unknown" and the caller asks git. Nothing here writes. */
#ifndef WH_GIT_REPO_H
#define WH_GIT_REPO_H

#include "wherry/base/str.h"

#define WH_MAX_GIT_INDEX ((size_t)512 << 20)
#define WH_MAX_GIT_PACKED_REFS ((size_t)64 << 20)
#define WH_MAX_GIT_REFS 200000

/* ---- refs ---- */
/* What HEAD is: 1 and *ref ("refs/heads/main", owned) if it is on a branch, 0 if it is detached (*ref is the
 * commit), -1 unknown. */
int wh_git_head(const char *gitdir, char **ref, struct wh_error *err);
/* The object that a full ref name ("HEAD" too) leads to: 1 with 40 hex digits (owned), 0 no such ref, -1
 * unknown. */
int wh_git_ref(const char *gitdir, const char *name, char **object, struct wh_error *err);
/* Full names of the refs below a prefix that ends in '/', sorted, without symbolic ones. The number, or -1
 * unknown. */
int wh_git_refs(const char *gitdir, const char *prefix, char ***names, struct wh_error *err);

/* ---- the index ---- */
struct wh_git_index {
    size_t entries;
    bool gitlinks;      /* has submodules */
    bool skip_worktree; /* has entries that a sparse checkout left out */
};
/* 0 (a missing index has no entries), -1 unknown: a format of another version, split, sparse or damaged. */
int wh_git_index_scan(const char *gitdir, struct wh_git_index *out, struct wh_error *err);
/* The same, and tells each entry's name, in the index's order (by bytes). */
typedef void (*wh_git_index_fn)(void *data, const char *name, size_t len);
int wh_git_index_names(const char *gitdir, wh_git_index_fn fn, void *fn_data, struct wh_git_index *out,
                       struct wh_error *err);
int wh_git_index_parse(const void *data, size_t len, struct wh_git_index *out, struct wh_error *err);

#endif
