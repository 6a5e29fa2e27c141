/* wherry import and wherry export: an official runner's files to an identity here, and back. */
#include <stdio.h>
#include <sys/stat.h>

#include "cmd/commands.h"
#include "cmd/option.h"
#include "cmd/registering.h"
#include "wherry/base/fs.h"
#include "wherry/github/migrated.h"

static const char import_help[] =
    "usage: wherry import DIR [OPTION...]\n"
    "\n"
    "Takes over a configured official runner: reads .runner, .credentials and .credentials_rsaparams in DIR, "
    "and\n"
    "then serves as that runner without registering again. Stop the official one first, and keep it stopped: "
    "of\n"
    "two agents with one identity, the second gets no session. The files in DIR stay as they are.\n"
    "\n"
    "  --work DIR        where jobs work (default: an absolute folder of the official runner, else "
    "STATE-work/NAME)\n"
    "  --job-user USER   who runs the jobs' steps where the agent is root\n"
    "  --replace         over a runner of the same name in the state folder\n"
    "  --state DIR       state folder\n"
    "\n"
    "Example\n"
    "  wherry import /home/runner/actions-runner && wherry run\n"
    "\n"
    "Exit code: 0 imported, 1 refused or failed, 2 bad usage.\n";

static const char export_help[] =
    "usage: wherry export DIR [--name NAME] [--state DIR]\n"
    "\n"
    "Writes a runner's .runner, .credentials and .credentials_rsaparams into DIR, as the official runner has "
    "them:\n"
    "put there, its run.sh serves as this runner. The private key then lies there unsealed, with mode 0600. "
    "DIR\n"
    "is made if need be; files of a runner that is there already are never written over. The runner stays "
    "here\n"
    "too: `wherry unregister --local` it before the other one starts.\n"
    "\n"
    "  --name NAME   which runner; not needed if there is only one\n"
    "  --state DIR   state folder\n"
    "\n"
    "Example\n"
    "  wherry export /home/runner/actions-runner --name box1\n"
    "\n"
    "Exit code: 0 written, 1 refused or failed, 2 bad usage.\n";

struct arguments {
    const char *folder, *name, *work, *job_user, *state;
    bool replace, help;
};

enum { NAME = 256, WORK, JOB_USER, REPLACE, STATE };
static const struct option import_options[] = {
    {"work", required_argument, NULL, WORK}, {"job-user", required_argument, NULL, JOB_USER},
    {"replace", no_argument, NULL, REPLACE}, {"state", required_argument, NULL, STATE},
    {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0}};
static const struct option export_options[] = {{"name", required_argument, NULL, NAME},
                                               {"state", required_argument, NULL, STATE},
                                               {"help", no_argument, NULL, 'h'},
                                               {NULL, 0, NULL, 0}};

static int parse(int argc, char **argv, const struct option *options, struct arguments *a)
{
    int option;
    while ((option = wh_cmd_option(argc, argv, "h", options)) != -1) {
        switch (option) {
        case NAME:
            a->name = optarg;
            break;
        case WORK:
            a->work = optarg;
            break;
        case JOB_USER:
            a->job_user = optarg;
            break;
        case REPLACE:
            a->replace = true;
            break;
        case STATE:
            a->state = optarg;
            break;
        case 'h':
            a->help = true;
            return 0;
        default:
            return 2;
        }
    }
    a->folder = argv[optind];
    if (a->folder && optind + 1 == argc)
        return 0;
    fprintf(stderr, "wherry %s: give one folder\n`wherry %s --help` tells more.\n", argv[0], argv[0]);
    return 2;
}

static int finish(const char *command, int code, const struct wh_error *err)
{
    if (code < 0)
        fprintf(stderr, "wherry %s: %s\n", command, wh_error_text(err));
    return code < 0 ? 1 : code;
}

/* ---- import ---- */

static int check_free(const char *state, const char *name, bool replace, struct wh_error *err)
{
    wh_autostrv char **have = NULL;
    if (replace || wh_runner_list(state, &have, NULL) <= 0 || !wh_strv_has(have, name))
        return cmd_runner_idle(state, name, err);
    return wh_fail(err, WH_E_EXISTS, "there is a runner \"%s\" in %s already: --replace writes over it", name,
                   state);
}

static int import(const struct arguments *a, struct wh_error *err)
{
    wh_autofree char *state = wh_state_dir(a->state);
    wh_autoofficial official = {0};
    if (wh_official_read_dir(a->folder, &official, err) ||
        wh_migrated_import(a->folder, NULL, official.config, err) ||
        check_free(state, official.config->name, a->replace, err))
        return -1;
    struct wh_runner_config *config = official.config;
    const char *folder = config->work_folder;
    config->work = a->work ? wh_runner_work_dir(state, config->name, a->work)
                           : cmd_work_dir(state, config->name, folder && folder[0] == '/' ? folder : NULL);
    config->job_user = wh_strdup(a->job_user);
    if (cmd_runner_save(state, config, official.key, err) ||
        wh_migrated_import(a->folder, state, config, err))
        return -1;
    printf(
        "Runner \"%s\" (id %lld) of %s is imported\n  work:   %s\n`wherry run` takes its jobs. The official "
        "runner must not run any more.\n",
        config->name, (long long)config->id, *config->url ? config->url : config->server_url_v2,
        config->work);
    return 0;
}

int wh_cmd_import(int argc, char **argv)
{
    struct arguments a = {0};
    wh_autoerror err = {0};
    int code = parse(argc, argv, import_options, &a);
    if (code == 0 && a.help)
        fputs(import_help, stdout);
    else if (code == 0)
        code = import(&a, &err);
    return finish("import", code, &err);
}

/* ---- export ---- */

static int export(const struct arguments *a, struct wh_error *err)
{
    wh_autofree char *state = wh_state_dir(a->state);
    wh_autofree char *name = cmd_runner_pick(state, a->name, err);
    if (!name)
        return -1;
    wh_autorunner *config = wh_runner_config_load(state, name, err);
    wh_autorsa *key = config ? wh_credentials_load(state, name, err) : NULL;
    if (!key || wh_mkdir_p(a->folder, 0700, err) || wh_official_write_dir(a->folder, config, key, err) ||
        wh_migrated_export(state, name, a->folder, err))
        return -1;
    printf("Runner \"%s\" is written to %s, with its private key.\n", name, a->folder);
    return 0;
}

int wh_cmd_export(int argc, char **argv)
{
    struct arguments a = {0};
    wh_autoerror err = {0};
    int code = parse(argc, argv, export_options, &a);
    if (code == 0 && a.help)
        fputs(export_help, stdout);
    else if (code == 0)
        code = export(&a, &err);
    return finish("export", code, &err);
}
