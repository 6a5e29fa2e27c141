/* Lint findings once all are there: the `check` directive's options, and what each rule is (builder.md §1.8).
 */
#ifndef WH_DOCKERFILE_CHECK_H
#define WH_DOCKERFILE_CHECK_H

#include "wherry/dockerfile/parse.h"

#define WH_MAX_CHECK_OPTIONS ((size_t)65535) /* bytes of the directive */

/* "skip=A,B;error=true;experimental=all" */
struct wh_df_check {
    bool error, skip_all, experimental_all;
    char **skip, **experimental; /* owned */
};
/* text NULL or "": nothing is asked for. "invalid check option \"x\"" */
int wh_df_check_parse(const char *text, struct wh_df_check *out, struct wh_error *err);
void wh_df_check_clear(struct wh_df_check *check);

/* Drops findings that the options, or a `# check=skip=...` right above their instruction, leave out, and
 * experimental ones that nobody asked for; sorts the others by line. */
void wh_df_lint_settle(struct wh_dockerfile *df, const struct wh_df_check *check);
/* error=true: negative ("lint violation found for rules: ...") if there are findings. */
int wh_df_lint_verdict(const struct wh_dockerfile *df, const struct wh_df_check *check, struct wh_error *err);

/* "" for a name that is none. */
const char *wh_df_rule_description(const char *rule);
/* The page that tells more; NULL if there is none; owned by the caller. */
char *wh_df_rule_url(const char *rule);

/* What the comment lines above an instruction say of a stage or an ARG: "# name text" gives "text"; NULL if
 * they don't begin so. Owned by the caller. */
char *wh_df_description(const char *comment, const char *name);

#endif
