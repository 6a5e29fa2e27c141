/* wherry jit, and the --jitconfig of `run`. */
#include "cmd/jit.h"

#include <stdio.h>
#include <unistd.h>

#include "cmd/authority.h"
#include "cmd/commands.h"
#include "cmd/option.h"
#include "cmd/registering.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "wherry/github/official.h"

static const char help[] =
    "usage: wherry jit --url URL --pat FILE --labels A,B [OPTION...]\n"
    "       wherry jit --url URL --app-id ID --app-key FILE --labels A,B [OPTION...]\n"
    "\n"
    "Asks GitHub for a just-in-time runner, and prints its configuration: one line that `wherry run "
    "--jitconfig`\n"
    "(or the official run.sh) takes, here or on another machine. Such a runner takes one job and is gone. "
    "The\n"
    "line holds its private key: treat it as a secret.\n"
    "\n"
    "  --url URL              repository, organisation or enterprise\n"
    "  --pat FILE             file that holds a personal access token; - is standard input. Or the variable\n"
    "                         ACTIONS_RUNNER_INPUT_PAT\n"
    "  --app-id ID --app-key FILE [--app-installation ID]\n"
    "                         a GitHub App, see `wherry register --help`\n"
    "  --labels A,B           all labels of the runner; none is added\n"
    "  --name NAME            its name (default: the host's name and a random part)\n"
    "  --runnergroup GROUP    name or number of its group (default: the default one)\n"
    "  --work DIR             its work folder (default: _work)\n"
    "  --ca-file FILE         certificates to trust, PEM\n"
    "  --output FILE          write to this file (mode 0600) in place of standard output\n"
    "\n"
    "Example\n"
    "  wherry jit --url https://github.com/example --app-id 123456 --app-key app.pem --labels images |\n"
    "    ssh box2 wherry run --jitconfig -\n"
    "\n"
    "Exit code: 0 printed, 1 refused or failed, 2 bad usage.\n";

/* ---- given to `run` ---- */

static bool looks_encoded(const char *text)
{
    size_t len = strlen(text);
    return len >= 64 &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=") == len;
}

static struct wh_secret *read_given(char *argument, struct wh_error *err)
{
    const char *what = "the just-in-time configuration";
    if (argument && !wh_streq(argument, "-") && access(argument, F_OK) && looks_encoded(argument)) {
        struct wh_secret *secret = wh_secret_new(argument, strlen(argument));
        wh_wipe(argument, strlen(argument));
        fputs("wherry: a just-in-time configuration in the command line can be seen in the process list; a "
              "file\n"
              "        or standard input (-) is better\n",
              stderr);
        return secret;
    }
    if (argument)
        return cmd_secret_from(argument, what, WH_MAX_JIT_BYTES, err);
    const char *value = getenv(CMD_JIT_VARIABLE);
    struct wh_secret *secret = value && *value ? wh_secret_new(value, strlen(value)) : NULL;
    unsetenv(CMD_JIT_VARIABLE);
    return secret;
}

char *cmd_jit_take(char *argument, const char *state, const char *job_user, struct wh_error *err)
{
    wh_autoofficial official = {0};
    wh_autoerror why = {0};
    wh_autosecret *text = read_given(argument, &why);
    if (!text && !why.code && !argument)
        return NULL;
    if (why.code || wh_jit_read(wh_secret_text(text), wh_secret_len(text), &official, &why)) {
        wh_error_move(err, &why);
        return NULL;
    }
    struct wh_runner_config *config = official.config;
    config->work = cmd_work_dir(state, config->name, config->work_folder);
    config->job_user = wh_strdup(job_user);
    if (cmd_runner_idle(state, config->name, err) || cmd_runner_save(state, config, official.key, err))
        return NULL;
    return wh_strdup(config->name);
}

/* ---- asked for ---- */

struct arguments {
    const char *url, *name, *group, *work, *output;
    char **labels;
    struct cmd_authority authority;
    bool help;
};

static int bad_usage(const char *text)
{
    fprintf(stderr, "wherry jit: %s\n`wherry jit --help` tells more.\n", text);
    return 2;
}

enum { URL = 256, NAME, LABELS, GROUP, WORK, OUTPUT };
static const struct option options[] = {CMD_AUTHORITY_OPTIONS,
                                        {"url", required_argument, NULL, URL},
                                        {"name", required_argument, NULL, NAME},
                                        {"labels", required_argument, NULL, LABELS},
                                        {"runnergroup", required_argument, NULL, GROUP},
                                        {"group", required_argument, NULL, GROUP},
                                        {"work", required_argument, NULL, WORK},
                                        {"output", required_argument, NULL, OUTPUT},
                                        {"help", no_argument, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};

static int take(struct arguments *a, int option)
{
    switch (option) {
    case URL:
        a->url = optarg;
        break;
    case NAME:
        a->name = optarg;
        break;
    case LABELS:
        cmd_add_labels(&a->labels, optarg);
        break;
    case GROUP:
        a->group = optarg;
        break;
    case WORK:
        a->work = optarg;
        break;
    case OUTPUT:
        a->output = optarg;
        break;
    case 'h':
        a->help = true;
        break;
    default:
        return cmd_authority_option(&a->authority, option, optarg) ? 0 : 2;
    }
    return 0;
}

static int parse(int argc, char **argv, struct arguments *a)
{
    int option;
    while ((option = wh_cmd_option(argc, argv, "h", options)) != -1)
        if (take(a, option))
            return 2;
    if (a->help)
        return 0;
    if (optind < argc)
        return bad_usage("there is an argument that belongs to no option");
    if (!a->url)
        return bad_usage("--url is missing");
    if (!a->labels)
        return bad_usage("--labels is missing: such a runner has the labels that it is given, and no others");
    if (a->name && !wh_runner_name_valid(a->name))
        return bad_usage("--name wants 1 to 64 letters, digits, dots, dashes and underscores");
    return 0;
}

static char *random_name(void)
{
    char host[200] = "runner", guid[37];
    gethostname(host, sizeof host - 1);
    host[40] = '\0';
    for (char *p = host; *p; p++)
        if (*p == ' ' || *p == '/')
            *p = '-';
    return wh_printf("%s-%.8s", host, wh_guid(guid));
}

static int deliver(const struct wh_secret *config, const char *output, struct wh_error *err)
{
    if (!output) {
        puts(wh_secret_text(config));
        return fflush(stdout) ? wh_fail_errno(err, "write to standard output") : 0;
    }
    return wh_write_file(AT_FDCWD, output, wh_secret_text(config), wh_secret_len(config), 0600, err);
}

static int ask(const struct arguments *a, struct wh_error *err)
{
    wh_autogithuburl url = {0};
    wh_autofree char *name = a->name ? wh_strdup(a->name) : random_name();
    if (wh_github_url_parse(a->url, &url, err))
        return -1;
    wh_autoauthority *authority = cmd_authority_open(&a->authority, NULL, err);
    struct wh_http_client *http = authority ? wh_http_client_new_private(NULL, err) : NULL;
    if (!http)
        return -1;
    struct wh_jit_options o = {.name = name, .group = a->group, .labels = a->labels, .work_folder = a->work};
    wh_autosecret *config = wh_jit_request(http, &url, authority, &o, err);
    wh_http_client_free(http);
    return config ? deliver(config, a->output, err) : -1;
}

int wh_cmd_jit(int argc, char **argv)
{
    struct arguments a = {0};
    wh_autoerror err = {0};
    int code = parse(argc, argv, &a);
    if (code == 0 && a.help) {
        fputs(help, stdout);
    } else if (code == 0 && ask(&a, &err)) {
        fprintf(stderr, "wherry jit: %s\n", wh_error_text(&err));
        code = 1;
    }
    wh_strv_free(a.labels);
    return code;
}
