/* wherry status */
#include <stdio.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/option.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/json.h"
#include "wherry/base/log.h"
#include "wherry/config/runner.h"
#include "wherry/daemon/daemon.h"

static const char help[] =
    "usage: wherry status [OPTION...]\n"
    "\n"
    "Tells which agents run here and what each runner does: its state and for how long, the jobs that it "
    "ever\n"
    "ended, when the service last answered, its job and step, and what went wrong last.\n"
    "\n"
    "  --json         as JSON, for programs (docs/protocol.md has the fields)\n"
    "  --state DIR    state folder\n"
    "\n"
    "Examples\n"
    "  wherry status\n"
    "  wherry status --json | jq -r '.runners[] | select(.lastError) | .name'\n"
    "\n"
    "Exit code: 0 an agent runs, 1 the agent cannot be asked, 2 bad usage, 3 no agent runs.\n";

#define EXIT_NO_AGENT 3
#define MAX_SHOWN_ERROR 300

/* ---- words ---- */

/* "12s", "5m", "3h", "9d": one unit, as a glance needs. buf holds 24 bytes. */
static const char *span(int64_t seconds, char *buf)
{
    seconds = WH_MAX(seconds, (int64_t)0);
    const struct {
        int64_t unit;
        char letter;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}};
    for (size_t i = 0; i < WH_COUNT(units); i++)
        if (seconds >= 2 * units[i].unit) {
            snprintf(buf, 24, "%lld%c", (long long)(seconds / units[i].unit), units[i].letter);
            return buf;
        }
    snprintf(buf, 24, "%llds", (long long)seconds);
    return buf;
}

/* Seconds that a time lies back; -1 where there is none. */
static int64_t age(const cJSON *json, const char *name)
{
    int64_t ns;
    const char *text = wh_json_string(json, name);
    if (!text || !wh_time_parse_iso(text, &ns))
        return -1;
    return (wh_now_ns() - ns) / 1000000000;
}

static const char *ago(int64_t seconds, char *buf)
{
    char text[24];
    if (seconds < 0)
        snprintf(buf, 32, "-");
    else
        snprintf(buf, 32, "%s ago", span(seconds, text));
    return buf;
}

struct colors {
    const char *good, *busy, *bad, *faint, *bold, *off;
};

static struct colors colors_for(int fd)
{
    if (!wh_color_ok(fd))
        return (struct colors){"", "", "", "", "", ""};
    return (struct colors){"\x1b[32m", "\x1b[36m", "\x1b[31m", "\x1b[2m", "\x1b[1m", "\x1b[0m"};
}

static const char *color_of(const struct colors *c, const cJSON *runner, const char *state)
{
    if (wh_json_get(runner, "job"))
        return c->busy;
    if (wh_streq(state, "listening"))
        return c->good;
    static const char *const calm[] = {"starting", "connecting", "configured", "leaving",
                                       "drained",  "ending",     "stopped",    "not run"};
    for (size_t i = 0; i < WH_COUNT(calm); i++)
        if (wh_streq(state, calm[i]))
            return wh_json_get(runner, "lastError") && wh_streq(state, "connecting") ? c->bad : c->faint;
    return c->bad;
}

/* ---- the table ---- */

static const char *state_of(const cJSON *runner)
{
    const char *state = wh_json_string(wh_json_get(runner, "job"), "state");
    if (!state)
        state = wh_json_string(runner, "state");
    return state ? state : "-";
}

static void print_job(const cJSON *runner, const cJSON *job)
{
    const char *step = wh_json_string(job, "step"), *cancelled = wh_json_string(job, "cancelled");
    char text[24];
    printf("job \"%s\"", wh_json_string(job, "name"));
    if (step)
        printf(", step %lld \"%s\"", (long long)wh_json_int(job, "stepNumber", 0), step);
    if (cancelled)
        printf(", being cancelled (%s)", cancelled);
    if (wh_json_int(job, "renewErrors", 0) > 0)
        printf(", lock not renewed: over in %s", span(-age(job, "lockedUntil"), text));
    if (!wh_streq(wh_json_string(runner, "state"), "listening"))
        printf(", session: %s", wh_json_string(runner, "state"));
    else if (wh_json_bool(runner, "draining", false))
        printf(", its last for now");
}

static void print_last(const cJSON *runner)
{
    const cJSON *lifetime = wh_json_get(runner, "lifetime");
    char text[32];
    if (wh_json_int(lifetime, "jobs", 0) > 0)
        printf("last \"%s\" %s %s", wh_json_string(lifetime, "lastJob"),
               wh_json_string(lifetime, "lastResult"), ago(age(lifetime, "lastEnd"), text));
    else if (wh_json_string(runner, "url"))
        printf("%s", wh_json_string(runner, "url"));
}

static bool says_error(const cJSON *runner)
{
    const char *state = wh_json_string(runner, "state");
    /* One that is over by now (it listens, no poll fails) is in the JSON only. */
    return wh_json_get(runner, "lastError") &&
           (!wh_streq(state, "listening") || wh_json_int(runner, "pollErrors", 0) > 0);
}

static void print_runner(const cJSON *runner, int name_width, const struct colors *c)
{
    const cJSON *job = wh_json_get(runner, "job"), *lifetime = wh_json_get(runner, "lifetime");
    const char *state = state_of(runner);
    int64_t seconds = wh_json_int(job ? job : runner, "seconds", -1);
    long long jobs = wh_json_int(lifetime, "jobs", 0), good = wh_json_int(lifetime, "succeeded", 0);
    char since[24], contact[32];
    printf("%s%-*s%s  %s%-13s%s  %6s  %6lld  %6lld  %-8s  ", c->bold, name_width,
           wh_json_string(runner, "name"), c->off, color_of(c, runner, state), state, c->off,
           seconds < 0 ? "-" : span(seconds, since), jobs, jobs - good,
           ago(age(runner, "lastContact"), contact));
    if (job)
        print_job(runner, job);
    else
        print_last(runner);
    putchar('\n');
    if (says_error(runner)) {
        const cJSON *error = wh_json_get(runner, "lastError");
        char when[32];
        printf("%*s  %s%.*s%s %s(%s)%s\n", name_width, "", c->bad, MAX_SHOWN_ERROR,
               wh_json_string(error, "text"), c->off, c->faint, ago(age(error, "at"), when), c->off);
    }
}

static void print_agent(const cJSON *agent, const struct colors *c)
{
    char up[24], limit[32] = "";
    long long jobs = wh_json_int(agent, "jobs", 0), max = wh_json_int(agent, "maxJobs", 0);
    long long skew = wh_json_int(agent, "clockSkewSeconds", 0);
    wh_autofree char *memory = wh_format_size((uint64_t)wh_json_int(agent, "memoryBytes", 0));
    if (max > 0)
        snprintf(limit, sizeof limit, " of at most %lld", max);
    printf("%sagent %lld%s: wherry %s, up %s, %s, %lld job%s%s%s\n", c->bold,
           (long long)wh_json_int(agent, "pid", 0), c->off, wh_json_string(agent, "version"),
           span(wh_json_int(agent, "upSeconds", 0), up), memory, jobs, jobs == 1 ? "" : "s", limit,
           wh_json_bool(agent, "draining", false) ? ", ending: takes no more jobs" : "");
    if (skew > 30 || skew < -30)
        printf("%sthis machine's clock is %lld s %s the service's%s\n", c->bad, skew > 0 ? skew : -skew,
               skew > 0 ? "behind" : "ahead of", c->off);
}

static void print_all(const cJSON *all)
{
    struct colors c = colors_for(STDOUT_FILENO);
    const cJSON *item;
    int width = 6;
    cJSON_ArrayForEach(item, wh_json_get(all, "agents")) print_agent(item, &c);
    cJSON_ArrayForEach(item, wh_json_get(all, "runners"))
    {
        const char *name = wh_json_string(item, "name");
        width = WH_MAX(width, name ? (int)strlen(name) : 0);
    }
    printf("\n%s%-*s  %-13s  %6s  %6s  %6s  %-8s%s\n", c.faint, width, "RUNNER", "STATE", "FOR", "JOBS",
           "FAILED", "CONTACT", c.off);
    cJSON_ArrayForEach(item, wh_json_get(all, "runners")) print_runner(item, width, &c);
}

/* ---- all agents' answers as one ---- */

static bool has_runner(const cJSON *runners, const char *name)
{
    const cJSON *runner;
    cJSON_ArrayForEach(runner,
                       runners) if (wh_streq(wh_json_string(runner, "name"), name) &&
                                    !wh_streq(wh_json_string(runner, "state"), "unusable")) return true;
    return false;
}

/* One that an agent could not take, as another has it, is that other one's. */
static bool is_anothers(const cJSON *runner, const cJSON *answers)
{
    const cJSON *answer;
    if (!wh_streq(wh_json_string(runner, "state"), "unusable"))
        return false;
    cJSON_ArrayForEach(answer, answers) if (has_runner(wh_json_get(answer, "runners"),
                                                       wh_json_string(runner, "name"))) return true;
    return false;
}

static void add_not_run(const char *state, cJSON *runners)
{
    wh_autostrv char **names = NULL;
    wh_runner_list(state, &names, NULL);
    for (char **name = names; name && *name; name++) {
        const cJSON *runner;
        bool known = false;
        cJSON_ArrayForEach(runner, runners) known |= wh_streq(wh_json_string(runner, "name"), *name);
        if (known)
            continue;
        cJSON *added = cJSON_CreateObject();
        wh_json_add_string(added, "name", *name);
        wh_json_add_string(added, "state", "not run");
        wh_autorunner *config = wh_runner_config_load(state, *name, NULL);
        if (config)
            wh_json_add_string(added, "url", config->url);
        cJSON_AddItemToArray(runners, added);
    }
}

static cJSON *merged(const char *state, const cJSON *answers)
{
    cJSON *all = cJSON_CreateObject();
    cJSON *agents = cJSON_AddArrayToObject(all, "agents");
    cJSON *runners = cJSON_AddArrayToObject(all, "runners");
    const cJSON *answer, *runner;
    cJSON_ArrayForEach(answer, answers)
    {
        cJSON_AddItemToArray(agents, cJSON_Duplicate(wh_json_get(answer, "agent"), true));
        cJSON_ArrayForEach(runner, wh_json_get(answer, "runners")) if (!is_anothers(runner, answers))
            cJSON_AddItemToArray(runners, cJSON_Duplicate(runner, true));
    }
    add_not_run(state, runners);
    return all;
}

static int no_agent(const char *state, const struct wh_error *err, bool json)
{
    wh_autostrv char **names = NULL;
    if (json) {
        puts("{\n\t\"agents\":\t[],\n\t\"runners\":\t[]\n}");
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
    wh_autojson *question = cJSON_CreateObject();
    wh_json_add_string(question, "type", "status");
    wh_autojson *answers = wh_daemon_ask(state, question, &err);
    if (!answers && err.code == WH_E_NOT_FOUND)
        return no_agent(state, &err, json);
    if (!answers) {
        fprintf(stderr, "wherry status: %s\n", wh_error_text(&err));
        return 1;
    }
    wh_autojson *all = merged(state, answers);
    if (json) {
        wh_autofree char *text = wh_json_print_indented(all);
        puts(text);
    } else {
        print_all(all);
    }
    return 0;
}
