/* wherry unregister */
#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/option.h"
#include "cmd/runner_token.h"
#include "wherry/base/fs.h"
#include "wherry/github/register.h"

static const char help[] =
    "usage: wherry unregister [--name NAME] --token-file FILE [OPTION...]\n"
    "\n"
    "Removes a runner from GitHub and deletes its key and settings here. The work folder and the store "
    "stay.\n"
    "\n"
    "  --name NAME        which runner; not needed if there is only one\n"
    "  --token-file FILE  file that holds the remove token, or a personal access token\n"
    "  --token -          read it from standard input; or the variable ACTIONS_RUNNER_INPUT_TOKEN\n"
    "  --local            delete the files here only (GitHub then lists the runner as offline)\n"
    "  --state DIR        state folder\n"
    "\n"
    "Example\n"
    "  wherry unregister --name box1 --token-file remove-token\n"
    "\n"
    "Exit code: 0 removed, 1 refused or failed, 2 bad usage.\n";

struct arguments {
    const char *name, *token_file, *state;
    char *token;
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
    enum { NAME = 256, TOKEN, TOKEN_FILE, LOCAL, STATE };
    static const struct option options[] = {{"name", required_argument, NULL, NAME},
                                            {"token", required_argument, NULL, TOKEN},
                                            {"local", no_argument, NULL, LOCAL},
                                            {"token-file", required_argument, NULL, TOKEN_FILE},
                                            {"state", required_argument, NULL, STATE},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = wh_cmd_option(argc, argv, "h", options)) != -1) {
        switch (option) {
        case NAME:
            a->name = optarg;
            break;
        case TOKEN:
            a->token = optarg;
            break;
        case TOKEN_FILE:
            a->token_file = optarg;
            break;
        case LOCAL:
            a->local = true;
            break;
        case STATE:
            a->state = optarg;
            break;
        case 'h':
            a->help = true;
            break;
        default:
            return 2;
        }
    }
    return optind < argc ? bad_usage() : 0;
}

static char *pick_name(const char *state, const char *name, struct wh_error *err)
{
    wh_autostrv char **names = NULL;
    if (name)
        return wh_strdup(name);
    int count = wh_runner_list(state, &names, err);
    if (count < 0)
        return NULL;
    if (count == 1)
        return wh_strdup(names[0]);
    wh_autofree char *all = wh_strv_join(names, ", ");
    if (count == 0)
        wh_fail(err, WH_E_NOT_FOUND, "there is no runner in %s", state);
    else
        wh_fail(err, WH_E_ARGUMENT, "there are %d runners in %s: name one with --name (%s)", count, state,
                all);
    return NULL;
}

static int remove_at_service(const struct arguments *a, const struct wh_runner_config *config,
                             struct wh_error *err)
{
    wh_autogithuburl url = {0};
    wh_autosecret *token = cmd_runner_token(a->token, a->token_file, err);
    if (!token || wh_github_url_parse(config->url, &url, err))
        return -1;
    struct wh_http_client *http = wh_http_client_new_private(NULL, err);
    if (!http)
        return -1;
    int code = wh_unregister(http, &url, token, config->id, err);
    wh_http_client_free(http);
    return code;
}

static int unregister(const struct arguments *a, struct wh_error *err)
{
    wh_autofree char *state = wh_state_dir(a->state);
    wh_autofree char *name = pick_name(state, a->name, err);
    if (!name)
        return -1;
    if (!a->local) {
        wh_autorunner *config = wh_runner_config_load(state, name, err);
        if (!config || remove_at_service(a, config, err))
            return -1;
    }
    if (wh_runner_config_delete(state, name, err))
        return -1;
    printf("Runner \"%s\" is removed%s.\n", name, a->local ? " here; GitHub still lists it" : "");
    return 0;
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
