/* wherry lint: what is wrong with workflow files, before anything runs. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/option.h"
#include "wherry/base/fs.h"
#include "wherry/base/json.h"
#include "wherry/workflow/lint.h"

static const char help[] =
    "usage: wherry lint [OPTION...] [FILE...]\n"
    "\n"
    "Checks workflow files: keys and values, expressions, the contexts and functions that may stand where "
    "they "
    "do, ids\n"
    "of jobs and steps, inputs of actions and of called workflows. Tells all that is wrong, each with its "
    "place.\n"
    "Without FILE: all of .github/workflows here or in the nearest folder above. FILE `-` is standard "
    "input.\n"
    "\n"
    "  -f, --format FORMAT  text (default), json (one array), or github: annotations of a job\n"
    "      --strict         warnings count as errors\n"
    "  -q, --quiet          no summary line\n"
    "  -h, --help           this text\n"
    "\n"
    "An error is what GitHub refuses, or what can not do what it says, like the outputs of a step that is "
    "not "
    "there;\n"
    "a warning what may do something else than it says.\n"
    "\n"
    "Examples\n"
    "  wherry lint\n"
    "  wherry lint --format github .github/workflows/image.yml\n"
    "\n"
    "Exit code: 0 nothing is wrong (there may be warnings), 1 there are errors, 2 bad usage or no such "
    "file.\n";

enum { STRICT = 256 };
static const struct option long_options[] = {{"format", required_argument, NULL, 'f'},
                                             {"strict", no_argument, NULL, STRICT},
                                             {"quiet", no_argument, NULL, 'q'},
                                             {"help", no_argument, NULL, 'h'},
                                             {0}};

struct lint {
    const char *format;
    bool strict, quiet, help;
    char **files;
    cJSON *json; /* array */
    unsigned errors, warnings;
};

static const char *level_name(const struct wh_lint_problem *p)
{
    return p->level == WH_LINT_WARNING ? "warning" : "error";
}

/* ---- the three ways to tell ---- */

static void tell_text(const char *file, const struct wh_lint_problem *p, const struct wh_str *text)
{
    wh_autofree char *excerpt = wh_lint_excerpt(wh_str_text(text), text->len, p);
    printf("%s:%u:%u: %s: %s [%s]\n%s", file, p->line, p->col, level_name(p), p->text, p->rule, excerpt);
}

static void tell_json(cJSON *list, const char *file, const struct wh_lint_problem *p)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "file", file);
    cJSON_AddNumberToObject(o, "line", p->line);
    cJSON_AddNumberToObject(o, "column", p->col);
    if (p->length > 0)
        cJSON_AddNumberToObject(o, "endColumn", p->col + p->length);
    cJSON_AddStringToObject(o, "severity", level_name(p));
    cJSON_AddStringToObject(o, "rule", p->rule);
    cJSON_AddBoolToObject(o, "refused", p->level == WH_LINT_REFUSED);
    cJSON_AddStringToObject(o, "message", p->text);
    cJSON_AddItemToArray(list, o);
}

/* What a workflow command's value needs escaped. */
static char *escaped(const char *text, bool property)
{
    wh_autostr out = {0};
    for (; *text; text++)
        switch (*text) {
        case '%':
            wh_str_add(&out, "%25");
            break;
        case '\r':
            wh_str_add(&out, "%0D");
            break;
        case '\n':
            wh_str_add(&out, "%0A");
            break;
        default:
            if (property && (*text == ':' || *text == ','))
                wh_str_add(&out, *text == ':' ? "%3A" : "%2C");
            else
                wh_str_addc(&out, *text);
        }
    return wh_str_steal(&out);
}

static void tell_github(const char *file, const struct wh_lint_problem *p)
{
    wh_autofree char *path = escaped(file, true);
    wh_autofree char *text = escaped(p->text, false);
    printf("::%s file=%s,line=%u,col=%u", level_name(p), path, p->line, p->col);
    if (p->length > 0)
        printf(",endColumn=%u", p->col + p->length);
    printf(",title=wherry lint (%s)::%s\n", p->rule, text);
}

/* ---- files ---- */

/* The folder above .github/workflows/, which `uses: ./…` is relative to. Owned; NULL: the file lies
 * elsewhere. */
static char *root_of(const char *file)
{
    const char *at = strstr(file, ".github/workflows/");
    if (!at || (at != file && at[-1] != '/'))
        return NULL;
    return at == file ? wh_strdup(".") : wh_strndup(file, (size_t)(at - file));
}

static int read_input(const char *file, struct wh_str *text, struct wh_error *err)
{
    if (!wh_streq(file, "-"))
        return wh_read_file(AT_FDCWD, file, WH_MAX_YAML_BYTES + 1, text, err);
    char buffer[1 << 14];
    for (ssize_t n; (n = read(STDIN_FILENO, buffer, sizeof buffer)) != 0;) {
        if (n < 0)
            return wh_fail_errno(err, "read standard input");
        wh_str_addn(text, buffer, (size_t)n);
        if (text->len > WH_MAX_YAML_BYTES)
            break; /* the reader says so */
    }
    return 0;
}

static int lint_file(struct lint *l, const char *file, struct wh_error *err)
{
    wh_autostr text = {0};
    wh_autolint found = {0};
    wh_autofree char *root = root_of(file);
    const char *shown = wh_streq(file, "-") ? "<stdin>" : wh_starts_with(file, "./") ? file + 2 : file;
    if (read_input(file, &text, err) < 0)
        return -1;
    wh_lint_workflow(wh_str_text(&text), text.len, root, &found);
    for (size_t i = 0; i < found.count; i++) {
        if (l->json)
            tell_json(l->json, shown, &found.problems[i]);
        else if (wh_streq(l->format, "github"))
            tell_github(shown, &found.problems[i]);
        else
            tell_text(shown, &found.problems[i], &text);
    }
    l->errors += found.refused + found.errors;
    l->warnings += found.warnings;
    return 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All workflows of the repository that the current folder is in. */
static int find_files(struct lint *l, struct wh_error *err)
{
    wh_autofree char *above = wh_strdup("");
    wh_autofree char *here = getcwd(NULL, 0);
    for (const char *p = here ? here : ""; p; p = strchr(p + 1, '/')) {
        wh_autofree char *folder = wh_printf("%s.github/workflows", above);
        DIR *dir = opendir(folder);
        if (dir) {
            for (const struct dirent *e; (e = readdir(dir)) != NULL;)
                if (wh_ends_with(e->d_name, ".yml") || wh_ends_with(e->d_name, ".yaml"))
                    wh_strv_take(&l->files, wh_printf("%s/%s", folder, e->d_name));
            closedir(dir);
            if (!l->files)
                return wh_fail(err, WH_E_NOT_FOUND, "%s has no .yml or .yaml file", folder);
            qsort(l->files, wh_strv_len(l->files), sizeof *l->files, compare);
            return 0;
        }
        char *up = wh_printf("../%s", above);
        free(above);
        above = up;
    }
    return wh_fail(err, WH_E_NOT_FOUND,
                   "there is no .github/workflows here or above: name the files to check");
}

static int parse_options(int argc, char **argv, struct lint *l, struct wh_error *err)
{
    static const char *const formats[] = {"text", "json", "github", NULL};
    l->format = "text";
    optind = 1;
    for (int option; (option = wh_cmd_option(argc, argv, "f:qh", long_options)) != -1;) {
        if (option == '?')
            return -1;
        if (option == 'f')
            l->format = optarg;
        l->strict |= option == STRICT;
        l->quiet |= option == 'q';
        l->help |= option == 'h';
    }
    bool known = false;
    for (size_t i = 0; formats[i]; i++)
        known |= wh_streq(formats[i], l->format);
    if (!known)
        return wh_fail(err, WH_E_ARGUMENT, "--format %s: it is text, json or github", l->format);
    for (int i = optind; i < argc; i++)
        wh_strv_add(&l->files, argv[i]);
    return l->files || l->help ? 0 : find_files(l, err);
}

static void print_summary(const struct lint *l)
{
    size_t count = wh_strv_len(l->files);
    if (l->json) {
        wh_autofree char *text = cJSON_Print(l->json);
        puts(text ? text : "[]");
    } else if (!l->quiet && wh_streq(l->format, "text")) {
        printf("%u error%s, %u warning%s in %zu file%s\n", l->errors, l->errors == 1 ? "" : "s", l->warnings,
               l->warnings == 1 ? "" : "s", count, count == 1 ? "" : "s");
    }
}

static int lint(struct lint *l, int argc, char **argv, struct wh_error *err)
{
    if (parse_options(argc, argv, l, err) < 0)
        return 2;
    if (l->help) {
        fputs(help, stdout);
        return 0;
    }
    if (wh_streq(l->format, "json"))
        l->json = cJSON_CreateArray();
    for (size_t i = 0; l->files && l->files[i]; i++)
        if (lint_file(l, l->files[i], err) < 0)
            return 2;
    print_summary(l);
    return l->errors > 0 || (l->strict && l->warnings > 0) ? 1 : 0;
}

int wh_cmd_lint(int argc, char **argv)
{
    struct lint l = {0};
    wh_autoerror err = {0};
    int code = lint(&l, argc, argv, &err);
    if (code == 2 && err.code)
        fprintf(stderr, "wherry lint: %s\n", wh_error_text(&err));
    wh_strv_free(l.files);
    cJSON_Delete(l.json);
    return code;
}
