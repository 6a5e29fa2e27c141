/* The token of `register` and `unregister`: from a file, standard input, the environment or (with a warning)
 * argv. */
#ifndef WH_CMD_RUNNER_TOKEN_H
#define WH_CMD_RUNNER_TOKEN_H

#include "wherry/base/secret.h"

/* argument: the value of --token or NULL ("-" reads standard input); file: of --token-file or NULL. The
 * argument's bytes in argv are overwritten, so that the process list shows them for a moment only. */
struct wh_secret *cmd_runner_token(char *argument, const char *file, struct wh_error *err);

#endif
