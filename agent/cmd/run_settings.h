/* What the settings file means for `wherry run`. */
#ifndef WH_CMD_RUN_SETTINGS_H
#define WH_CMD_RUN_SETTINGS_H

#include "wherry/config/settings.h"
#include "wherry/daemon/daemon.h"

/* Reads the settings (file: of --config; NULL: the usual one) and fills what no option of the command line
 * has set. o borrows from the result, which the caller frees after the agent's end. NULL with an error after
 * the mistakes were told on standard error. */
struct wh_settings *cmd_run_settings(const char *file, struct wh_daemon_options *o, struct wh_error *err);
/* Registers the runners that the settings name and this box does not know yet. One that fails is told in the
 * log, and keeps no other from starting. */
void cmd_run_register(const struct wh_settings *s, const struct wh_daemon_options *o);

/* The names of one entry of `runners`, {host}, {index} and {arch} filled in. Owned by the caller. */
char **cmd_run_names(const struct wh_setting_value *runner, const char *host, const char *arch);

#endif
