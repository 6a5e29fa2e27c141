/* The word lexer behind wh_df_expand(), with the switches that heredoc words and titles need. */
#ifndef WH_DOCKERFILE_LEX_H
#define WH_DOCKERFILE_LEX_H

#include "wherry/dockerfile/expand.h"

struct df_lex {
    char escape;
    bool raw_quotes;  /* quotes stay in the result */
    bool raw_escapes; /* escape characters stay in the result */
    bool skip_quotes; /* quotes are plain text */
    bool skip_unset;  /* unset variables stay as written */
    char *const *env;
    struct wh_df_expansion *seen;
};
/* result and words are added to; either may be NULL. */
int df_lex_run(const struct df_lex *lex, const char *word, struct wh_str *result, char ***words,
               struct wh_error *err);

#endif
