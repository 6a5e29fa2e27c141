/* Entry: picks the subcommand. Everything else is in agent/cmd/, one file a command. */
#include <stdio.h>
#include <string.h>

#include "cmd/commands.h"
#include "wherry/base/log.h"
#include "wherry/base/secret.h"
#include "wherry/base/str.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help; /* "" hides it: started by wherry itself */
};

static const struct command commands[] = {
#define WH_COMMAND_ROW(name, function, help) {name, wh_cmd_##function, help},
    WH_COMMANDS(WH_COMMAND_ROW)
#undef WH_COMMAND_ROW
};

static void usage(FILE *out)
{
    fputs("usage: wherry COMMAND [OPTION...]\n\n"
          "A self-hosted GitHub Actions runner for building container images, with a layer cache that "
          "stays.\n\n",
          out);
    for (size_t i = 0; i < WH_COUNT(commands); i++)
        if (commands[i].help[0] != '\0')
            fprintf(out, "  %-12s%s\n", commands[i].name, commands[i].help);
    fputs("\n`wherry COMMAND --help` tells more about one.\n", out);
}

static int unknown(const char *name)
{
    const char *names[WH_COUNT(commands) + 1] = {NULL};
    for (size_t i = 0; i < WH_COUNT(commands); i++)
        names[i] = commands[i].name;
    const char *near = wh_did_you_mean(name, names);
    fprintf(stderr, "wherry: there is no command `%s`", name);
    if (near)
        fprintf(stderr, "; did you mean `%s`?", near);
    fputs("\n`wherry --help` lists them.\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    wh_log_start();
    wh_secrets_init();
    const char *slash = strrchr(argv[0], '/');
    if (strcmp(slash ? slash + 1 : argv[0], "docker") == 0) /* as jobs find it on PATH */
        return wh_cmd_docker(argc, argv);
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    const char *name = argv[1];
    char *help[] = {argv[0], argc > 2 ? argv[2] : NULL, "--help", NULL};
    if (strcmp(name, "help") == 0 && argc == 3) { /* wherry help COMMAND */
        name = argv[2];
        argv = help;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0)
        name = "version";
    for (size_t i = 0; i < WH_COUNT(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return unknown(name);
}
