/* Variables: $NAME, ${NAME} and its modifiers (builder.md §1.5), and the words of a line. */
#ifndef WH_DOCKERFILE_EXPAND_H
#define WH_DOCKERFILE_EXPAND_H

#include "wherry/base/str.h"

#define WH_MAX_EXPANSION ((size_t)4 << 20) /* bytes of one result */
#define WH_MAX_EXPANSION_DEPTH 64          /* ${a:-${b:-...}} */

/* How quotes and escapes come out. */
enum wh_df_expand_mode {
    WH_DF_EXPAND,        /* quotes and escapes are taken away */
    WH_DF_EXPAND_RAW,    /* quotes stay as written, unset variables stay as written: RUN's title */
    WH_DF_EXPAND_HEREDOC /* quotes are plain text; \c gives c */
};

struct wh_df_expansion {
    char **used;  /* names that were looked up and found; owned */
    char **unset; /* names that were looked up and not found, default or not; owned */
};
void wh_df_expansion_clear(struct wh_df_expansion *x);

/* env: "NAME=value" vector, NULL allowed. escape: the Dockerfile's escape character. seen may be NULL. Errors
 * have the form `failed to process "WORD": ...`. *out is owned by the caller. */
int wh_df_expand(const char *word, char *const *env, char escape, enum wh_df_expand_mode mode, char **out,
                 struct wh_df_expansion *seen, struct wh_error *err);
/* Expands and splits at unquoted blanks: ENV-less lists such as EXPOSE. */
int wh_df_expand_words(const char *word, char *const *env, char escape, char ***out,
                       struct wh_df_expansion *seen, struct wh_error *err);

#endif
