/* The command line of the official config.sh, taken as it takes it: names in any case, the first of two
 * values wins, what it does not know is told and passed over; what the command line lacks comes from
 * ACTIONS_RUNNER_INPUT_<NAME>. */
#ifndef WH_CMD_CONFIG_OPTIONS_H
#define WH_CMD_CONFIG_OPTIONS_H

#include "wherry/base/secret.h"

#define CONFIG_INPUT_PREFIX "ACTIONS_RUNNER_INPUT_"

enum config_option {
    /* with a value */
    CONFIG_URL,
    CONFIG_TOKEN,
    CONFIG_PAT,
    CONFIG_NAME,
    CONFIG_RUNNERGROUP,
    CONFIG_LABELS,
    CONFIG_WORK,
    CONFIG_AUTH,
    CONFIG_MONITOR,
    CONFIG_USERNAME,
    CONFIG_WINDOWS_ACCOUNT,
    CONFIG_WINDOWS_PASSWORD,
    CONFIG_VALUES,
    /* without */
    CONFIG_UNATTENDED = CONFIG_VALUES,
    CONFIG_REPLACE,
    CONFIG_EPHEMERAL,
    CONFIG_DISABLEUPDATE,
    CONFIG_NO_DEFAULT_LABELS,
    CONFIG_LOCAL,
    CONFIG_RUNASSERVICE,
    CONFIG_GENERATE_SERVICE,
    CONFIG_CHECK,
    CONFIG_COMMIT,
    CONFIG_VERSION,
    CONFIG_HELP,
    CONFIG_OPTIONS
};

struct config_options {
    bool remove;                 /* `config remove` */
    char *values[CONFIG_VALUES]; /* of argv or the environment; borrowed, writable. NULL: not given */
    bool in_argv[CONFIG_VALUES]; /* so that others could see it */
    bool flags[CONFIG_OPTIONS];  /* from CONFIG_UNATTENDED on */
};
/* Says on standard error what it passes over, but fails of nothing. The environment's inputs are unset. */
void config_options_read(int argc, char **argv, struct config_options *out);

#endif
