/* Files and git repositories by address. Private to agent/build/. */
#ifndef WH_BUILD_REMOTE_H
#define WH_BUILD_REMOTE_H

#include "build/solve.h"

#define WH_MAX_REMOTE_FILE ((uint64_t)64 << 30) /* bytes of one ADD URL */
#define WH_MAX_GIT_OUTPUT ((size_t)1 << 20)     /* what git may say */

/* What is at the address, as a tree of one layer. Asked and fetched once per build, while stages are prepared
 * (one thread). checksum (NULL: none): a file's "sha256:...", a commit. */
int remote_get(struct build *b, const struct wh_df_copy_source *source, const char *checksum, bool keep_git,
               struct remote *out, struct wh_error *err);
/* A file's name in its tree: the last part of the URL's path. Owned by the caller. */
char *remote_file_name(const char *url);

/* git.c: the parts of a git address: remote#ref:subdir, or ?ref=...&subdir=... */
struct git_address {
    char *remote; /* owned: what git is given */
    char *ref;    /* owned: branch, tag, full ref or commit; NULL: HEAD */
    char *subdir; /* owned; NULL: all */
    char *commit; /* owned: what ref must be; NULL: not said */
    int keep_git; /* -1: not said */
    bool submodules;
};
int git_address_parse(const char *text, struct git_address *out, struct wh_error *err);
void git_address_clear(struct git_address *a);
int remote_git(struct build *b, const char *address, const char *checksum, bool keep_git, struct remote *out,
               struct wh_error *err);

/* Records of what was fetched: 1 with *out, 0 if it is not known. */
int remote_find(struct build *b, const struct wh_digest *key, struct remote *out, struct wh_error *err);
int remote_put(struct build *b, const struct wh_digest *key, int64_t layer, const cJSON *meta,
               struct wh_error *err);

#endif
