/* wherry run */
#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/jit.h"
#include "cmd/option.h"
#include "cmd/run_settings.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "wherry/daemon/daemon.h"
#include "wherry/github/version.h"
#include "wherry/platform/process.h"

static const char help[] =
    "usage: wherry run [OPTION...]\n"
    "\n"
    "Takes jobs for the runners that are registered here, until it is told to stop. Runners that the "
    "settings\n"
    "name and this box does not know yet are registered first.\n"
    "\n"
    "  --config FILE         the settings (default: WHERRY_CONFIG, else /etc/wherry/wherry.yaml; see `wherry "
    "config "
    "check`);\n"
    "                        the options here win\n"
    "  --name NAME           only this runner (may be given several times; default: all that are registered "
    "here)\n"
    "  --jitconfig CONFIG    run the just-in-time runner of this configuration, and no other: a file's name, "
    "- "
    "for\n"
    "                        standard input, or the configuration itself (as `wherry jit` prints it). Or the "
    "variable\n"
    "                        ACTIONS_RUNNER_INPUT_JITCONFIG. It takes one job\n"
    "  --once                end after one job\n"
    "  --max-jobs N          jobs at once on this machine, however many runners (default: its processors, at "
    "least 4;\n"
    "                        0: no limit). A runner that finds no place tells the service that it is busy\n"
    "  --job-user USER       who runs the jobs' steps where this runs as root (name or number)\n"
    "  --runner-version V    version to name to the service (default: auto, the newest official release, "
    "asked\n"
    "                        once a day)\n"
    "  --ca-file FILE        certificates to trust, PEM (default: SSL_CERT_FILE, else the system's)\n"
    "  --cache-max-size SIZE what the store of layers may take, as 20g (default: 80 % of its disk)\n"
    "  --cache-min-free SIZE what stays free on that disk (default: 10 % of it, at most 10g). The agent "
    "cleans "
    "the store\n"
    "                        after jobs and when idle, at most every ten minutes (at once where the disk is "
    "short):\n"
    "                        least recently used first, never what a running build uses\n"
    "  --log-spool SIZE      what the log of one job may take on disk while it waits for its upload "
    "(default: "
    "2g)\n"
    "  --log-wait SECONDS    how long a step is held, in sum, while that is full (default: 60); then lines "
    "are "
    "left\n"
    "                        out, and the log says how many\n"
    "  --state DIR           state folder\n"
    "  --verbose             say more (WHERRY_LOG=debug)\n"
    "\n"
    "Signals: SIGTERM or SIGINT finishes the running jobs and takes no others; a second one stops them. "
    "SIGHUP\n"
    "looks at the registrations again: new runners begin, removed ones end after their job.\n"
    "Proxies: https_proxy, http_proxy and no_proxy of the environment are used, and given on to jobs.\n"
    "\n"
    "Examples\n"
    "  wherry run --cache-max-size 200g\n"
    "  wherry run --name box1 --once\n"
    "\n"
    "Exit code: 0 ended as asked, or the registrations are gone; 1 settings or "
    "credentials are\n"
    "refused; 2 bad usage; 5 another agent has the runner or its session; 7 version refused (only where\n"
    "ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE is set).\n";

#define LEAST_LOG_SPOOL ((uint64_t)16 << 20)
#define MAX_LOG_WAIT_S 86400
#define MAX_MAX_JOBS 10000

struct arguments {
    char **names;
    char *jitconfig;
    const char *job_user, *version, *ca_file, *state, *config;
    uint64_t cache_max_size, cache_min_free, log_spool;
    int64_t log_wait_s;
    int max_jobs;
    bool once, verbose, help;
};

static int bad_usage(const char *text)
{
    fprintf(stderr, "wherry run: %s\n`wherry run --help` tells more.\n", text);
    return -1;
}

static int parse(int argc, char **argv, struct arguments *a)
{
    enum {
        NAME = 256,
        ONCE,
        MAX_JOBS,
        JOB_USER,
        VERSION,
        CA_FILE,
        CACHE_MAX,
        CACHE_FREE,
        LOG_SPOOL,
        LOG_WAIT,
        STATE,
        VERBOSE,
        JITCONFIG,
        CONFIG,
        STARTUP
    };
    static const struct option options[] = {{"name", required_argument, NULL, NAME},
                                            {"once", no_argument, NULL, ONCE},
                                            {"max-jobs", required_argument, NULL, MAX_JOBS},
                                            {"job-user", required_argument, NULL, JOB_USER},
                                            {"runner-version", required_argument, NULL, VERSION},
                                            {"ca-file", required_argument, NULL, CA_FILE},
                                            {"cache-max-size", required_argument, NULL, CACHE_MAX},
                                            {"cache-min-free", required_argument, NULL, CACHE_FREE},
                                            {"log-spool", required_argument, NULL, LOG_SPOOL},
                                            {"log-wait", required_argument, NULL, LOG_WAIT},
                                            {"state", required_argument, NULL, STATE},
                                            {"verbose", no_argument, NULL, VERBOSE},
                                            {"jitconfig", required_argument, NULL, JITCONFIG},
                                            {"config", required_argument, NULL, CONFIG},
                                            {"startuptype", required_argument, NULL, STARTUP},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    uint64_t number;
    int option;
    while ((option = wh_cmd_option(argc, argv, "h", options)) != -1) {
        switch (option) {
        case NAME:
            wh_strv_add(&a->names, optarg);
            break;
        case ONCE:
            a->once = true;
            break;
        case MAX_JOBS:
            if (!wh_parse_u64(optarg, MAX_MAX_JOBS, &number))
                return bad_usage("--max-jobs takes a number of jobs; 0 is no limit");
            a->max_jobs = (int)number;
            break;
        case JOB_USER:
            a->job_user = optarg;
            break;
        case VERSION:
            a->version = optarg;
            break;
        case CA_FILE:
            a->ca_file = optarg;
            break;
        case CACHE_MAX:
            if (!wh_parse_size(optarg, &a->cache_max_size))
                return bad_usage("--cache-max-size takes a size, as 20g or 512m");
            break;
        case CACHE_FREE:
            if (!wh_parse_size(optarg, &a->cache_min_free))
                return bad_usage("--cache-min-free takes a size, as 20g or 512m");
            break;
        case LOG_SPOOL:
            if (!wh_parse_size(optarg, &a->log_spool) || a->log_spool < LEAST_LOG_SPOOL)
                return bad_usage("--log-spool takes a size of 16m or more, as 512m or 4g");
            break;
        case LOG_WAIT:
            if (!wh_parse_i64(optarg, 0, MAX_LOG_WAIT_S, &a->log_wait_s))
                return bad_usage("--log-wait takes seconds, at most a day");
            break;
        case STATE:
            a->state = optarg;
            break;
        case VERBOSE:
            a->verbose = true;
            break;
        case CONFIG:
            a->config = optarg;
            break;
        case JITCONFIG:
            a->jitconfig = optarg;
            break;
        case STARTUP: /* of official service scripts; it changes nothing */
            break;
        case 'h':
            a->help = true;
            break;
        default:
            return -1;
        }
    }
    if (optind < argc)
        return bad_usage("there is an argument that belongs to no option");
    if (a->version && !wh_streq(a->version, "auto") && !wh_runner_version_valid(a->version))
        return bad_usage("--runner-version wants auto, or a version such as " WH_RUNNER_VERSION_FALLBACK);
    return 0;
}

/* The just-in-time runner, if one is given, is the only one to run. */
static int take_jit(struct arguments *a, const char *state, struct wh_error *err)
{
    wh_autoerror why = {0};
    wh_autofree char *name = cmd_jit_take(a->jitconfig, state, a->job_user, &why);
    if (why.code)
        return wh_error_move(err, &why);
    if (name) {
        wh_strv_free(a->names);
        a->names = NULL;
        wh_strv_add(&a->names, name);
    }
    return 0;
}

static int run(struct arguments *a, struct wh_error *err)
{
    wh_autofree char *state = wh_state_dir(a->state);
    if (take_jit(a, state, err))
        return WH_RUN_TERMINAL;
    struct wh_daemon_options o = {.state = state,
                                  .names = a->names,
                                  .once = a->once,
                                  .max_jobs = a->max_jobs,
                                  .job_user = a->job_user,
                                  .cache_max_size = a->cache_max_size,
                                  .cache_min_free = a->cache_min_free,
                                  .log_spool = a->log_spool,
                                  .log_wait_s = a->log_wait_s,
                                  .version = a->version,
                                  .ca_file = a->ca_file};
    wh_autosettings *settings = cmd_run_settings(a->config, &o, err);
    if (!settings)
        return WH_RUN_TERMINAL;
    if (o.ca_file)
        setenv(WH_CA_FILE_ENV, o.ca_file, 1);
    if (!a->names)
        cmd_run_register(settings, &o);
    return wh_daemon_run(&o, err);
}

int wh_cmd_run(int argc, char **argv)
{
    struct arguments a = {.max_jobs = -1, .log_wait_s = -1};
    wh_autoerror err = {0};
    int code = WH_RUN_DONE;
    if (parse(argc, argv, &a)) {
        code = 2;
    } else if (a.help) {
        fputs(help, stdout);
    } else {
        if (a.verbose)
            wh_log_set_level(WH_LOG_DEBUG);
        code = wh_init_split(&err) < 0 ? 1 : run(&a, &err);
        if (code != WH_RUN_DONE)
            wh_log_error("%s", wh_error_text(&err));
    }
    wh_strv_free(a.names);
    return code;
}
