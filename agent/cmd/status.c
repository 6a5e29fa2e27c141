/* wherry status */
#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/option.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/json.h"
#include "wherry/config/runner.h"
#include "wherry/daemon/daemon.h"

static const char help[] =
    "usage: wherry status [OPTION...]\n"
    "\n"
    "Tells whether the agent runs, and what each runner does.\n"
    "\n"
    "  --json         as JSON, for programs\n"
    "  --state DIR    state folder\n"
    "\n"
    "Examples\n"
    "  wherry status\n"
    "  wherry status --json | jq .runners\n"
    "\n"
    "Exit code: 0 an agent runs, 1 the agent cannot be asked, 2 bad usage, 3 no agent runs.\n";

#define EXIT_NO_AGENT 3

static void print_runner(const cJSON *runner)
{
    const cJSON *job = wh_json_get(runner, "job");
    char duration[32];
    printf("  %-20s %-11s %s\n", wh_json_string(runner, "name"), wh_json_string(runner, "state"),
           wh_json_string(runner, "url"));
    if (job) {
        const char *step = wh_json_string(job, "step"), *cancelled = wh_json_string(job, "cancelled");
        wh_duration_text((uint64_t)wh_json_int(job, "seconds", 0) * 1000000000, duration);
        printf("  %-20s job \"%s\", since %s%s%s%s%s%s\n", "", wh_json_string(job, "name"), duration,
               step ? ", step \"" : "", step ? step : "", step ? "\"" : "",
               cancelled ? ", being cancelled: " : "", cancelled ? cancelled : "");
    }
    printf("  %-20s jobs done: %lld, poll errors: %lld, jobs run as: %s\n", "",
           (long long)wh_json_int(runner, "jobsDone", 0), (long long)wh_json_int(runner, "pollErrors", 0),
           wh_json_string(runner, "jobUser"));
}

static void print_status(const cJSON *status)
{
    char duration[32];
    wh_autofree char *memory = wh_format_size((uint64_t)wh_json_int(status, "memoryBytes", 0));
    wh_duration_text((uint64_t)wh_json_int(status, "upSeconds", 0) * 1000000000, duration);
    printf("agent: wherry %s, process %lld, up %s, memory %s%s\n", wh_json_string(status, "version"),
           (long long)wh_json_int(status, "pid", 0), duration, memory,
           wh_json_bool(status, "draining", false) ? ", takes no more jobs" : "");
    const cJSON *runner;
    cJSON_ArrayForEach(runner, wh_json_get(status, "runners")) print_runner(runner);
}

static int no_agent(const char *state, const struct wh_error *err, bool json)
{
    wh_autostrv char **names = NULL;
    if (json) {
        puts("{}");
        return EXIT_NO_AGENT;
    }
    printf("%s\n", wh_error_text(err));
    wh_runner_list(state, &names, NULL);
    wh_autofree char *all = wh_strv_join(names, ", ");
    if (names && *names)
        printf("registered here: %s (`wherry run` takes their jobs)\n", all);
    else
        puts("no runner is registered here: `wherry register` comes first");
    return EXIT_NO_AGENT;
}

int wh_cmd_status(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"state", required_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *state_option = NULL;
    bool json = false;
    int option;
    while ((option = wh_cmd_option(argc, argv, "h", options)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (option != 'j' && option != 's')
            return 2;
        json |= option == 'j';
        if (option == 's')
            state_option = optarg;
    }
    if (optind < argc) {
        fputs("wherry status: there is an argument that belongs to no option\n`wherry status --help` tells "
              "more.\n",
              stderr);
        return 2;
    }
    wh_autoerror err = {0};
    wh_autofree char *state = wh_state_dir(state_option);
    wh_autojson *status = wh_daemon_status(state, &err);
    if (!status && err.code == WH_E_NOT_FOUND)
        return no_agent(state, &err, json);
    if (!status) {
        fprintf(stderr, "wherry status: %s\n", wh_error_text(&err));
        return 1;
    }
    if (json) {
        wh_autofree char *text = wh_json_print_indented(status);
        puts(text);
    } else {
        print_status(status);
    }
    return 0;
}
