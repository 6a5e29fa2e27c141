/* wherry register */
#include <stdio.h>

#include "cmd/authority.h"
#include "cmd/commands.h"
#include "cmd/option.h"
#include "cmd/registering.h"
#include "wherry/base/fs.h"
#include "wherry/github/version.h"

static const char help[] =
    "usage: wherry register --url URL --token-file FILE [OPTION...]\n"
    "       wherry register --url URL --pat FILE [OPTION...]\n"
    "       wherry register --url URL --app-id ID --app-key FILE [OPTION...]\n"
    "\n"
    "Registers this machine as a self-hosted runner of a repository, an organisation or an enterprise.\n"
    "Then `wherry run` takes its jobs.\n"
    "\n"
    "  --url URL              https://github.com/OWNER/REPO, https://github.com/ORG,\n"
    "                         https://github.com/enterprises/NAME, or the same of *.ghe.com or a GHES\n"
    "\n"
    "By what right, one of\n"
    "  --token-file FILE      file that holds the registration token (Settings > Actions > Runners > New); "
    "-\n"
    "                         is standard input\n"
    "  --token -              the same; --token TOKEN works too, but shows in the process list. Without any\n"
    "                         of these: the variables ACTIONS_RUNNER_INPUT_PAT and "
    "ACTIONS_RUNNER_INPUT_TOKEN\n"
    "  --pat FILE             file that holds a personal access token that may administer runners: scope "
    "repo,\n"
    "                         admin:org or manage_runners:enterprise; - is standard input\n"
    "  --app-id ID            a GitHub App that may administer runners: its App ID or client id\n"
    "  --app-key FILE         its private key (PEM), as its page gives it\n"
    "  --app-installation ID  its installation (default: that of the repository or organisation)\n"
    "\n"
    "The runner\n"
    "  --name NAME            its name (default: the host's name)\n"
    "  --labels A,B           further labels; self-hosted, Linux and X64, ARM64 or ARM are always there\n"
    "  --no-default-labels    only those of --labels\n"
    "  --runnergroup NAME     its group (default: the default one); --group is the same\n"
    "  --work DIR             where jobs work (default: STATE-work/NAME); a relative DIR lies below that\n"
    "  --job-user USER        who runs the jobs' steps where the agent is root: a name or a number (default: "
    "the\n"
    "                         account wherry-job if it is there and free, else a number from 59100 on)\n"
    "  --ephemeral            take one job, then be gone\n"
    "  --replace              take the place of a runner with the same name\n"
    "  --disableupdate        as the official program has it; wherry never replaces itself in any case\n"
    "  --runner-version V     version to name to the service (default: the newest official release)\n"
    "  --ca-file FILE         certificates to trust, PEM (default: SSL_CERT_FILE, else the system's)\n"
    "  --state DIR            state folder (default: WHERRY_STATE, else /var/lib/wherry for root, else\n"
    "                         ~/.local/state/wherry)\n"
    "\n"
    "The key that is made here never leaves the machine: it lies sealed in STATE/runners/NAME. Of an App, "
    "its id\n"
    "and the name of its key's file are kept there too, so that `wherry unregister` needs no token.\n"
    "\n"
    "Examples\n"
    "  wherry register --url https://github.com/example/app --token-file token --labels images\n"
    "  gh auth token | wherry register --url https://github.com/example --pat - --runnergroup builders\n"
    "  wherry register --url https://github.com/example --app-id 123456 --app-key /etc/wherry/app.pem\n"
    "\n"
    "Exit code: 0 registered, 1 refused or failed, 2 bad usage.\n";

enum {
    URL = 256,
    NAME,
    LABELS,
    NO_DEFAULT,
    GROUP,
    WORK,
    JOB_USER,
    EPHEMERAL,
    REPLACE,
    DISABLE_UPDATE,
    VERSION,
    STATE,
    UNATTENDED
};
static const struct option options[] = {CMD_AUTHORITY_OPTIONS,
                                        {"url", required_argument, NULL, URL},
                                        {"name", required_argument, NULL, NAME},
                                        {"labels", required_argument, NULL, LABELS},
                                        {"no-default-labels", no_argument, NULL, NO_DEFAULT},
                                        {"group", required_argument, NULL, GROUP},
                                        {"runnergroup", required_argument, NULL, GROUP},
                                        {"work", required_argument, NULL, WORK},
                                        {"job-user", required_argument, NULL, JOB_USER},
                                        {"ephemeral", no_argument, NULL, EPHEMERAL},
                                        {"replace", no_argument, NULL, REPLACE},
                                        {"disableupdate", no_argument, NULL, DISABLE_UPDATE},
                                        {"runner-version", required_argument, NULL, VERSION},
                                        {"state", required_argument, NULL, STATE},
                                        {"unattended", no_argument, NULL, UNATTENDED},
                                        {"help", no_argument, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};

struct arguments {
    struct cmd_registering r;
    struct cmd_authority authority;
    bool help;
};

static int bad_usage(const char *text)
{
    fprintf(stderr, "wherry register: %s\n`wherry register --help` tells more.\n", text);
    return 2;
}

static int take(struct arguments *a, int option)
{
    struct cmd_registering *r = &a->r;
    switch (option) {
    case URL:
        r->url = optarg;
        break;
    case NAME:
        r->name = optarg;
        break;
    case LABELS:
        cmd_add_labels(&r->labels, optarg);
        break;
    case NO_DEFAULT:
        r->no_default_labels = true;
        break;
    case GROUP:
        r->group = optarg;
        break;
    case WORK:
        r->work = optarg;
        break;
    case JOB_USER:
        r->job_user = optarg;
        break;
    case EPHEMERAL:
        r->ephemeral = true;
        break;
    case REPLACE:
        r->replace = true;
        break;
    case DISABLE_UPDATE:
        r->disable_update = true;
        break;
    case VERSION:
        r->version = optarg;
        break;
    case STATE:
        r->state = optarg;
        break;
    case UNATTENDED: /* it never asks */
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
    if (!a->r.url)
        return bad_usage("--url is missing");
    if (a->r.no_default_labels && !a->r.labels)
        return bad_usage("--no-default-labels needs --labels");
    if (a->r.version && !wh_runner_version_valid(a->r.version))
        return bad_usage("--runner-version wants a version such as " WH_RUNNER_VERSION_FALLBACK);
    return 0;
}

static int register_runner(struct arguments *a, struct wh_error *err)
{
    wh_autofree char *state = wh_state_dir(a->r.state);
    wh_autofree char *key_file = NULL;
    wh_autoauthority *authority = cmd_authority_open(&a->authority, NULL, err);
    if (!authority)
        return -1;
    a->r.state = state;
    if (a->authority.app_id) {
        a->r.app_id = a->authority.app_id;
        a->r.app_installation = a->authority.app_installation;
        key_file = realpath(a->authority.app_key, NULL);
        a->r.app_key_file = key_file;
    }
    return cmd_register(&a->r, authority, err);
}

int wh_cmd_register(int argc, char **argv)
{
    struct arguments a = {0};
    wh_autoerror err = {0};
    int code = parse(argc, argv, &a);
    if (code == 0 && a.help) {
        fputs(help, stdout);
    } else if (code == 0 && register_runner(&a, &err)) {
        fprintf(stderr, "wherry register: %s\n", wh_error_text(&err));
        code = 1;
    }
    wh_strv_free(a.r.labels);
    return code;
}
