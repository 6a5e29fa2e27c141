/* `wherry config check|show|init|schema`: the box's settings; any other `wherry config` registers a runner.
 */
#ifndef WH_CMD_SETTINGS_H
#define WH_CMD_SETTINGS_H

#include <stdbool.h>

bool cmd_is_settings(const char *word);
int cmd_settings(int argc, char **argv);

#endif
