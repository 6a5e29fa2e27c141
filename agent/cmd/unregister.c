/* wherry unregister */
#include <stdio.h>

#include "cmd/authority.h"
#include "cmd/commands.h"
#include "cmd/option.h"
#include "cmd/registering.h"
#include "cmd/removing.h"
#include "wherry/base/fs.h"

static const char help[] =
    "usage: wherry unregister [--name NAME] --token-file FILE [OPTION...]\n"
    "       wherry unregister [--name NAME] --pat FILE | --app-id ID --app-key FILE | --local\n"
    "\n"
    "Removes a runner from GitHub and deletes its key and settings here. The work folder and the store "
    "stay.\n"
    "A runner that GitHub does not know any more is removed here.\n"
    "\n"
    "  --name NAME            which runner; not needed if there is only one\n"
    "\n"
    "By what right, one of\n"
    "  --token-file FILE      file that holds the remove token; - is standard input\n"
    "  --token -              the same. Without any of these: the variables ACTIONS_RUNNER_INPUT_PAT and\n"
    "                         ACTIONS_RUNNER_INPUT_TOKEN, else the App that registered the runner\n"
    "  --pat FILE             file that holds a personal access token; - is standard input\n"
    "  --app-id ID --app-key FILE [--app-installation ID]\n"
    "                         a GitHub App, see `wherry register --help`\n"
    "  --local                delete the files here only (GitHub then lists the runner as offline)\n"
    "\n"
    "  --url URL              where the runner belongs; only for just-in-time runners that do not know\n"
    "  --ca-file FILE         certificates to trust, PEM\n"
    "  --state DIR            state folder\n"
    "\n"
    "Examples\n"
    "  wherry unregister --name box1 --token-file remove-token\n"
    "  gh auth token | wherry unregister --pat -\n"
    "\n"
    "Exit code: 0 removed, 1 refused or failed, 2 bad usage.\n";

struct arguments {
    const char *name, *state, *url;
    struct cmd_authority authority;
    bool local, help;
};

static int bad_usage(void)
{
    fputs("wherry unregister: there is an argument that belongs to no option\n`wherry unregister --help` "
          "tells more.\n",
          stderr);
    return 2;
}

static int parse(int argc, char **argv, struct arguments *a)
{
    enum { NAME = 256, LOCAL, STATE, URL };
    static const struct option options[] = {CMD_AUTHORITY_OPTIONS,
                                            {"name", required_argument, NULL, NAME},
                                            {"local", no_argument, NULL, LOCAL},
                                            {"state", required_argument, NULL, STATE},
                                            {"url", required_argument, NULL, URL},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = wh_cmd_option(argc, argv, "h", options)) != -1) {
        switch (option) {
        case NAME:
            a->name = optarg;
            break;
        case LOCAL:
            a->local = true;
            break;
        case STATE:
            a->state = optarg;
            break;
        case URL:
            a->url = optarg;
            break;
        case 'h':
            a->help = true;
            break;
        default:
            if (!cmd_authority_option(&a->authority, option, optarg))
                return 2;
        }
    }
    return optind < argc ? bad_usage() : 0;
}

static int unregister(const struct arguments *a, struct wh_error *err)
{
    wh_autofree char *state = wh_state_dir(a->state);
    wh_autofree char *name = cmd_runner_pick(state, a->name, err);
    if (!name)
        return -1;
    if (a->local)
        return cmd_remove_local(state, name, err);
    wh_autorunner *saved = wh_runner_config_load(state, name, err);
    if (!saved)
        return -1;
    wh_autoauthority *authority = cmd_authority_open(&a->authority, saved, err);
    struct cmd_removing removing = {.state = state, .name = name, .url = a->url};
    return authority ? cmd_remove(&removing, authority, err) : -1;
}

int wh_cmd_unregister(int argc, char **argv)
{
    struct arguments a = {0};
    wh_autoerror err = {0};
    int code = parse(argc, argv, &a);
    if (code)
        return code;
    if (a.help) {
        fputs(help, stdout);
        return 0;
    }
    if (unregister(&a, &err)) {
        fprintf(stderr, "wherry unregister: %s\n", wh_error_text(&err));
        return 1;
    }
    return 0;
}
