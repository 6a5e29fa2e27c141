/* wherry drain, wherry resume, wherry cancel: words to the agents that run here. */
#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/option.h"
#include "wherry/base/fs.h"
#include "wherry/base/json.h"
#include "wherry/daemon/daemon.h"

#define EXIT_NO_AGENT 3

#define OPTIONS_AND_CODES                                                                                    \
    "\n"                                                                                                     \
    "  --state DIR    state folder\n"                                                                        \
    "\n"                                                                                                     \
    "Exit code: 0 done, 1 no such runner, or the agent cannot be asked, 2 bad usage, 3 no agent runs.\n"

struct order {
    const char *type, *help, *did, *nothing;
};

static const struct order drain = {"drain",
                                   "usage: wherry drain [OPTION...] [RUNNER]\n"
                                   "\n"
                                   "The runner (default: all of this machine) finishes its job, if it has "
                                   "one, and takes no other: GitHub shows\n"
                                   "it as offline. The agent goes on, and `wherry resume` makes it take jobs "
                                   "again; so does a restart.\n" OPTIONS_AND_CODES,
                                   "drains", "nothing to drain: drained already, or over"};
static const struct order resume = {
    "resume",
    "usage: wherry resume [OPTION...] [RUNNER]\n"
    "\n"
    "The runner (default: all of this machine) takes jobs again after `wherry drain`.\n" OPTIONS_AND_CODES,
    "takes jobs again", "nothing to resume: no runner is drained"};
static const struct order cancel = {"cancel",
                                    "usage: wherry cancel [OPTION...] [RUNNER]\n"
                                    "\n"
                                    "Cancels the runner's job (default: the jobs of all runners of this "
                                    "machine), as the button of GitHub's page\n"
                                    "does: the step gets SIGINT, later SIGTERM and SIGKILL, steps that run "
                                    "always do so, and what has not ended\n"
                                    "after 45 s is killed. The runner then takes the next job; `wherry "
                                    "drain` before it prevents that.\n" OPTIONS_AND_CODES,
                                    "is being cancelled", "nothing to cancel: no job runs"};

static int parse(int argc, char **argv, const struct order *order, const char **state, const char **runner)
{
    static const struct option options[] = {
        {"state", required_argument, NULL, 's'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    int option;
    while ((option = wh_cmd_option(argc, argv, "h", options)) != -1) {
        if (option == 'h') {
            fputs(order->help, stdout);
            return 1;
        }
        if (option != 's')
            return -1;
        *state = optarg;
    }
    if (optind < argc)
        *runner = argv[optind++];
    if (optind == argc)
        return 0;
    fprintf(stderr, "wherry %s: one RUNNER at most\n`wherry %s --help` tells more.\n", order->type,
            order->type);
    return -1;
}

static int tell(const cJSON *answers, const struct order *order, const char *runner)
{
    const cJSON *answer, *name;
    bool known = runner == NULL, any = false;
    cJSON_ArrayForEach(answer, answers)
    {
        const char *error = wh_json_string(answer, "error");
        if (error) {
            fprintf(stderr, "wherry %s: %s\n", order->type, error);
            return 1;
        }
        known |= wh_json_bool(answer, "known", false);
        cJSON_ArrayForEach(name, wh_json_get(answer, "done"))
        {
            printf("%s %s\n", name->valuestring, order->did);
            any = true;
        }
    }
    if (!known) {
        fprintf(stderr, "wherry %s: no agent here runs \"%s\" (`wherry status` lists them)\n", order->type,
                runner);
        return 1;
    }
    if (!any)
        puts(order->nothing);
    return 0;
}

static int give(int argc, char **argv, const struct order *order)
{
    const char *state_option = NULL, *runner = NULL;
    int parsed = parse(argc, argv, order, &state_option, &runner);
    if (parsed)
        return parsed < 0 ? 2 : 0;
    wh_autoerror err = {0};
    wh_autofree char *state = wh_state_dir(state_option);
    wh_autojson *question = cJSON_CreateObject();
    wh_json_add_string(question, "type", order->type);
    wh_json_add_string(question, "runner", runner);
    wh_autojson *answers = wh_daemon_ask(state, question, &err);
    if (answers)
        return tell(answers, order, runner);
    fprintf(stderr, "wherry %s: %s\n", order->type, wh_error_text(&err));
    return err.code == WH_E_NOT_FOUND ? EXIT_NO_AGENT : 1;
}

int wh_cmd_drain(int argc, char **argv)
{
    return give(argc, argv, &drain);
}

int wh_cmd_resume(int argc, char **argv)
{
    return give(argc, argv, &resume);
}

int wh_cmd_cancel(int argc, char **argv)
{
    return give(argc, argv, &cancel);
}
