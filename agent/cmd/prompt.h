/* Questions to the user, as `config` asks them. Answers come from standard input, a line each; at its end the
 * default is taken, so that answers may be piped in. */
#ifndef WH_CMD_PROMPT_H
#define WH_CMD_PROMPT_H

#include "wherry/base/secret.h"

#define CMD_MAX_ANSWER 4096

/* preset: for an empty answer; NULL: none. optional: an empty answer is fine ("" is returned). NULL with an
 * error where input ended and there is no preset. Owned by the caller. */
char *cmd_prompt(const char *question, const char *preset, bool optional, struct wh_error *err);
/* Without echo. */
struct wh_secret *cmd_prompt_secret(const char *question, struct wh_error *err);
/* Y or N. Negative where input ended. */
int cmd_prompt_yes(const char *question, bool *yes, struct wh_error *err);
/* True if somebody sits there, who can correct a wrong answer. */
bool cmd_prompt_is_terminal(void);

#endif
