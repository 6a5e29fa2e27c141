/* A just-in-time configuration that is given to `run`. */
#ifndef WH_CMD_JIT_H
#define WH_CMD_JIT_H

#include "wherry/base/secret.h"

#define CMD_JIT_VARIABLE "ACTIONS_RUNNER_INPUT_JITCONFIG"

/* argument: of --jitconfig: a file's name, "-" (standard input), or the string itself (wiped in argv); NULL:
 * the variable. Writes the identity into the state folder, and returns its name, owned by the caller; NULL
 * without an error where nothing was given. */
char *cmd_jit_take(char *argument, const char *state, const char *job_user, struct wh_error *err);

#endif
