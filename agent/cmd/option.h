/* Options of the commands, by getopt_long(); what it refuses is told in one way everywhere. */
#ifndef WH_CMD_OPTION_H
#define WH_CMD_OPTION_H

#include <getopt.h>

/* As getopt_long(). Before it returns '?' it has said on standard error what is wrong, with the nearest name,
 * and where to read on: the caller only ends with exit code 2. argv[0] is the command's name. */
int wh_cmd_option(int argc, char **argv, const char *letters, const struct option *table);

#endif
