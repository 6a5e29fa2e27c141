/* wherry doctor: can this box build images and run jobs, and if not, what is to be done. */
#include <stdio.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/doctor.h"
#include "cmd/option.h"
#include "wherry/base/fs.h"
#include "wherry/base/json.h"
#include "wherry/base/log.h"

static const char *const levels[] = {[DOCTOR_OK] = "ok", [DOCTOR_WARN] = "warn", [DOCTOR_FAIL] = "fail"};
static const char *const colors[] = {
    [DOCTOR_OK] = "\033[32m", [DOCTOR_WARN] = "\033[33m", [DOCTOR_FAIL] = "\033[31m"};

void doctor_say(struct doctor *d, enum doctor_level level, const char *what, const char *advice,
                const char *found, ...)
{
    va_list args;
    va_start(args, found);
    char *text = wh_vprintf(found, args);
    va_end(args);
    d->lines = wh_reallocarray(d->lines, d->nlines + 1, sizeof(*d->lines));
    d->lines[d->nlines++] = (struct doctor_line){
        .level = level, .what = wh_strdup(what), .found = text, .advice = wh_strdup(advice)};
    if (d->json)
        return;
    bool color = wh_color_ok(STDOUT_FILENO);
    printf("%s%-4s%s  %-18s %s\n", color ? colors[level] : "", levels[level], color ? "\033[0m" : "", what,
           text);
    if (advice && level != DOCTOR_OK)
        printf("                         -> %s\n", advice);
    fflush(stdout);
}

static size_t count(const struct doctor *d, enum doctor_level level)
{
    size_t n = 0;
    for (size_t i = 0; i < d->nlines; i++)
        n += d->lines[i].level == level;
    return n;
}

static void print_json(const struct doctor *d)
{
    wh_autojson *j = cJSON_CreateObject();
    wh_json_add_string(j, "state", d->state);
    cJSON_AddBoolToObject(j, "works", count(d, DOCTOR_FAIL) == 0);
    cJSON *list = cJSON_AddArrayToObject(j, "checks");
    for (size_t i = 0; i < d->nlines; i++) {
        cJSON *line = cJSON_CreateObject();
        cJSON_AddItemToArray(list, line);
        wh_json_add_string(line, "level", levels[d->lines[i].level]);
        wh_json_add_string(line, "check", d->lines[i].what);
        wh_json_add_string(line, "found", d->lines[i].found);
        wh_json_add_string(line, "advice", d->lines[i].advice);
    }
    wh_autofree char *text = wh_json_print_indented(j);
    puts(text);
}

static void print_sum(const struct doctor *d)
{
    size_t fails = count(d, DOCTOR_FAIL), warns = count(d, DOCTOR_WARN);
    if (fails)
        printf("\n%zu of %zu checks failed: builds or jobs will not work here.\n", fails, d->nlines);
    else if (warns)
        printf("\nBuilds and jobs can work here; %zu of %zu checks have something to improve.\n", warns,
               d->nlines);
    else
        printf("\nAll %zu checks are fine.\n", d->nlines);
}

static void usage(FILE *out)
{
    fputs("usage: wherry doctor [OPTION...]\n\n"
          "Looks at this box by trying what builds and jobs need: kernel features, control groups, crun or "
          "runc, git, sub-ids,\n"
          "disk, clock, and the service of each registered runner. Run it as the user that will run the "
          "agent.\n\n"
          "  --state DIR   the state folder (WHERRY_STATE; else /var/lib/wherry for root, "
          "~/.local/state/wherry)\n"
          "  --offline     ask nobody on the network\n"
          "  --json        for programs\n\n"
          "Exit code: 0 if builds and jobs can work, 1 if not, 2 bad usage.\n",
          out);
}

static int parse(int argc, char **argv, struct doctor *d)
{
    static const struct option longs[] = {{"state", required_argument, NULL, 's'},
                                          {"offline", no_argument, NULL, 'o'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    const char *state = NULL;
    for (int c; (c = wh_cmd_option(argc, argv, "h", longs)) != -1;) {
        if (c == 's')
            state = optarg;
        else if (c == 'o')
            d->offline = true;
        else if (c == 'j')
            d->json = true;
        else if (c == 'h')
            return -1;
        else
            return 2;
    }
    if (optind != argc) {
        usage(stderr);
        return 2;
    }
    wh_autofree char *dir = wh_state_dir(state);
    wh_autofree char *cwd = getcwd(NULL, 0);
    d->state = wh_path_join(cwd ? cwd : "/", dir);
    return 0;
}

int wh_cmd_doctor(int argc, char **argv)
{
    struct doctor d = {0};
    int rc = parse(argc, argv, &d);
    if (rc != 0) {
        if (rc == -1)
            usage(stdout);
        return rc == -1 ? 0 : rc;
    }
    doctor_kernel(&d);
    doctor_tools(&d);
    doctor_disk(&d);
    doctor_service(&d);
    if (d.json)
        print_json(&d);
    else
        print_sum(&d);
    rc = count(&d, DOCTOR_FAIL) ? 1 : 0;
    for (size_t i = 0; i < d.nlines; i++) {
        free(d.lines[i].what);
        free(d.lines[i].found);
        free(d.lines[i].advice);
    }
    free(d.lines);
    free(d.state);
    return rc;
}
