/* Compiled path patterns: what COPY's wildcards and ignore files share. */
#ifndef WH_DOCKERFILE_MATCH_H
#define WH_DOCKERFILE_MATCH_H

#include "wherry/dockerfile/ignore.h"

struct df_match;
/* double_star: ** matches across slashes. The pattern must be clean already. "syntax error in pattern" if it
 * is broken. */
int df_match_compile(const char *pattern, bool double_star, struct df_match **out, struct wh_error *err);
bool df_match_path(const struct df_match *m, const char *path, size_t len);
void df_match_free(struct df_match *m);
/* The bytes before the first special character. */
const char *df_match_literal(const struct df_match *m, size_t *len);
bool df_match_has_double_star(const struct df_match *m);
/* filepath.Clean for slashes; owned. */
char *df_clean_path(const char *path);

#endif
