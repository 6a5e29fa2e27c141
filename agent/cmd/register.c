/* wherry register */
#include <stdio.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/option.h"
#include "cmd/runner_token.h"
#include "wherry/base/fs.h"
#include "wherry/github/register.h"
#include "wherry/github/version.h"

static const char help[] =
    "usage: wherry register --url URL --token-file FILE [OPTION...]\n"
    "\n"
    "Registers this machine as a self-hosted runner of a repository, an organisation or an enterprise.\n"
    "Then `wherry run` takes its jobs.\n"
    "\n"
    "  --url URL              https://github.com/OWNER/REPO, https://github.com/ORG, or the same of a GHES\n"
    "  --token-file FILE      file that holds the registration token (Settings > Actions > Runners > New), "
    "or a\n"
    "                         personal access token that may administer runners\n"
    "  --token -              read the token from standard input; --token TOKEN works too, but shows in the "
    "process\n"
    "                         list. Without both: the variable ACTIONS_RUNNER_INPUT_TOKEN\n"
    "  --name NAME            the runner's name (default: the host's name)\n"
    "  --labels A,B           further labels; self-hosted, linux and x64, arm64 or arm are always there\n"
    "  --no-default-labels    only those of --labels\n"
    "  --group NAME           runner group (default: the default one)\n"
    "  --work DIR             where jobs work (default: STATE-work/NAME); a relative DIR lies below that\n"
    "  --job-user USER        who runs the jobs' steps where the agent is root: a name or a number (default: "
    "the\n"
    "                         account wherry-job if it is there and free, else a number from 59100 on)\n"
    "  --ephemeral            take one job, then be gone\n"
    "  --replace              take the place of a runner with the same name\n"
    "  --runner-version V     version to name to the service (default: the newest official release)\n"
    "  --state DIR            state folder (default: WHERRY_STATE, else /var/lib/wherry for root, else\n"
    "                         ~/.local/state/wherry)\n"
    "\n"
    "The key that is made here never leaves the machine: it lies sealed in STATE/runners/NAME.\n"
    "\n"
    "Example\n"
    "  wherry register --url https://github.com/example/app --token-file token --labels images\n"
    "\n"
    "Exit code: 0 registered, 1 refused or failed, 2 bad usage.\n";

struct arguments {
    const char *url, *token_file, *name, *group, *work, *job_user, *version, *state;
    char *token;
    char **labels;
    bool no_default_labels, ephemeral, replace, help;
};

static int bad_usage(const char *text)
{
    fprintf(stderr, "wherry register: %s\n`wherry register --help` tells more.\n", text);
    return 2;
}

static void add_labels(struct arguments *a, const char *list)
{
    wh_autostrv char **parts = wh_strv_split(list, ',');
    for (char **part = parts; *part; part++) {
        wh_autofree char *label = wh_view_dup(wh_view_trim(wh_view_of(*part)));
        if (*label)
            wh_strv_add(&a->labels, label);
    }
}

static int parse(int argc, char **argv, struct arguments *a)
{
    enum {
        URL = 256,
        TOKEN,
        TOKEN_FILE,
        NAME,
        LABELS,
        NO_DEFAULT,
        GROUP,
        WORK,
        JOB_USER,
        EPHEMERAL,
        REPLACE,
        VERSION,
        STATE
    };
    static const struct option options[] = {{"url", required_argument, NULL, URL},
                                            {"token", required_argument, NULL, TOKEN},
                                            {"token-file", required_argument, NULL, TOKEN_FILE},
                                            {"name", required_argument, NULL, NAME},
                                            {"labels", required_argument, NULL, LABELS},
                                            {"no-default-labels", no_argument, NULL, NO_DEFAULT},
                                            {"group", required_argument, NULL, GROUP},
                                            {"runnergroup", required_argument, NULL, GROUP},
                                            {"work", required_argument, NULL, WORK},
                                            {"job-user", required_argument, NULL, JOB_USER},
                                            {"ephemeral", no_argument, NULL, EPHEMERAL},
                                            {"replace", no_argument, NULL, REPLACE},
                                            {"runner-version", required_argument, NULL, VERSION},
                                            {"state", required_argument, NULL, STATE},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = wh_cmd_option(argc, argv, "h", options)) != -1) {
        switch (option) {
        case URL:
            a->url = optarg;
            break;
        case TOKEN:
            a->token = optarg;
            break;
        case TOKEN_FILE:
            a->token_file = optarg;
            break;
        case NAME:
            a->name = optarg;
            break;
        case LABELS:
            add_labels(a, optarg);
            break;
        case NO_DEFAULT:
            a->no_default_labels = true;
            break;
        case GROUP:
            a->group = optarg;
            break;
        case WORK:
            a->work = optarg;
            break;
        case JOB_USER:
            a->job_user = optarg;
            break;
        case EPHEMERAL:
            a->ephemeral = true;
            break;
        case REPLACE:
            a->replace = true;
            break;
        case VERSION:
            a->version = optarg;
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
    if (a->help)
        return 0;
    if (optind < argc)
        return bad_usage("there is an argument that belongs to no option");
    if (!a->url)
        return bad_usage("--url is missing");
    if (a->version && !wh_runner_version_valid(a->version))
        return bad_usage("--runner-version wants a version such as " WH_RUNNER_VERSION_FALLBACK);
    return 0;
}

static char *default_name(void)
{
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    for (char *p = host; *p; p++)
        if (*p == ' ' || *p == '/')
            *p = '-';
    host[WH_MAX_RUNNER_NAME] = '\0';
    return wh_strdup(host);
}

static int save(const char *state, struct wh_runner_config *config, const struct wh_rsa_key *key,
                struct wh_error *err)
{
    if (wh_credentials_save(state, config->name, key, err) || wh_runner_config_save(state, config, err))
        return wh_wrap(
            err, "the runner is registered, but its files cannot be written (register again with --replace)");
    return 0;
}

static int register_runner(const struct arguments *a, const char *state, const struct wh_secret *token,
                           struct wh_error *err)
{
    wh_autogithuburl url = {0};
    wh_autorunner *config = wh_calloc(1, sizeof *config);
    wh_autorsa *key = NULL;
    if (wh_github_url_parse(a->url, &url, err))
        return -1;
    config->name = a->name ? wh_strdup(a->name) : default_name();
    wh_autoclose int dir =
        wh_runner_dir_open(state, config->name, true, err); /* fails before anything is registered */
    if (dir < 0 || !(key = wh_rsa_key_new(err)))
        return -1;
    struct wh_http_client *http = wh_http_client_new_private(NULL, err);
    if (!http)
        return -1;
    wh_autofree char *version =
        a->version ? wh_strdup(a->version) : wh_runner_version_now(http, url.api, state);
    config->url = wh_strdup(url.url);
    config->work = wh_runner_work_dir(state, config->name, a->work);
    config->version = wh_strdup(a->version);
    config->job_user = wh_strdup(a->job_user);
    struct wh_register_options o = {.url = &url,
                                    .token = token,
                                    .name = config->name,
                                    .group = a->group,
                                    .labels = a->labels,
                                    .no_default_labels = a->no_default_labels,
                                    .ephemeral = a->ephemeral,
                                    .replace = a->replace,
                                    .version = version};
    int code = wh_register(http, &o, key, config, err);
    wh_http_client_free(http);
    if (code) { /* the folder was made to see that it can be; one that holds an older identity stays */
        wh_autofree char *folder = wh_runner_dir(state, config->name);
        rmdir(folder);
    }
    if (code == 0)
        code = save(state, config, key, err);
    if (code)
        return -1;
    wh_autofree char *labels = wh_strv_join(config->labels, ", ");
    printf("Runner \"%s\" (id %lld) is registered with %s\n  group:  %s\n  labels: %s\n  work:   %s\n"
           "`wherry run` takes its jobs.\n",
           config->name, (long long)config->id, config->url, config->group, labels, config->work);
    return 0;
}

int wh_cmd_register(int argc, char **argv)
{
    struct arguments a = {0};
    wh_autoerror err = {0};
    int code = parse(argc, argv, &a);
    if (code == 0 && a.help) {
        fputs(help, stdout);
    } else if (code == 0) {
        wh_autofree char *state = wh_state_dir(a.state);
        wh_autosecret *token = cmd_runner_token(a.token, a.token_file, &err);
        if (!token || register_runner(&a, state, token, &err)) {
            fprintf(stderr, "wherry register: %s\n", wh_error_text(&err));
            code = 1;
        }
    }
    wh_strv_free(a.labels);
    return code;
}
