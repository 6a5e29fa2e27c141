/* wherry config check, show, init, schema: the settings file */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cmd/option.h"
#include "cmd/settings.h"
#include "wherry/base/fs.h"
#include "wherry/base/json.h"
#include "wherry/config/settings.h"

extern char **environ;

static const char help[] =
    "usage: wherry config check|show|init|schema [OPTION...]\n"
    "\n"
    "The settings of this box: /etc/wherry/wherry.yaml, its drop-ins (wherry.yaml.d/*.yaml), what they "
    "include,\n"
    "WHERRY_... variables, and options of the command line; the later wins.\n"
    "\n"
    "  check         every mistake, with its file, line and column, and the nearest known name\n"
    "  show          the values in force and where each comes from\n"
    "  init          write a commented file that fits this box\n"
    "  schema        the JSON schema of the file, for editors\n"
    "\n"
    "  --config FILE the file (default: WHERRY_CONFIG, else /etc/wherry/wherry.yaml)\n"
    "  --all         show: also what stands at its default\n"
    "  --json        show: as JSON\n"
    "  --force       init: replace a file that is there\n"
    "  --stdout      init: print it\n"
    "\n"
    "Examples\n"
    "  wherry config init && editor /etc/wherry/wherry.yaml && wherry config check\n"
    "  systemctl restart wherry        (a reload does not read the settings again)\n"
    "\n"
    "Exit code: 0 done (check: no mistakes); 1 failed; 2 bad usage.\n";

struct arguments {
    const char *what, *file;
    bool all, json, force, print, help;
};

static int parse(int argc, char **argv, struct arguments *a)
{
    enum { CONFIG = 256, ALL, JSON, FORCE, PRINT };
    static const struct option options[] = {{"config", required_argument, NULL, CONFIG},
                                            {"all", no_argument, NULL, ALL},
                                            {"json", no_argument, NULL, JSON},
                                            {"force", no_argument, NULL, FORCE},
                                            {"stdout", no_argument, NULL, PRINT},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = wh_cmd_option(argc, argv, "h", options)) != -1) {
        switch (option) {
        case CONFIG:
            a->file = optarg;
            break;
        case ALL:
            a->all = true;
            break;
        case JSON:
            a->json = true;
            break;
        case FORCE:
            a->force = true;
            break;
        case PRINT:
            a->print = true;
            break;
        case 'h':
            a->help = true;
            break;
        default:
            return -1;
        }
    }
    if (a->help)
        return 0;
    if (optind + 1 != argc || !cmd_is_settings(argv[optind])) {
        fprintf(
            stderr,
            "wherry config: say one of check, show, init and schema\n`wherry config --help` tells more.\n");
        return -1;
    }
    a->what = argv[optind];
    return 0;
}

bool cmd_is_settings(const char *word)
{
    return wh_streq(word, "check") || wh_streq(word, "show") || wh_streq(word, "init") ||
           wh_streq(word, "schema");
}

static struct wh_settings *load(const struct arguments *a, struct wh_settings_report *report)
{
    struct wh_settings_sources sources = {.file = a->file, .env = environ};
    struct wh_settings *s = wh_settings_load(&sources, report);
    wh_settings_report_print(report, stderr);
    return s;
}

static int check(const struct arguments *a)
{
    struct wh_settings_report report;
    wh_autosettings *s = load(a, &report);
    size_t errors = report.nerrors;
    wh_settings_report_free(&report);
    if (!s) {
        fprintf(stderr, "%zu %s\n", errors, errors == 1 ? "mistake" : "mistakes");
        return 1;
    }
    if (!s->files) {
        printf("There is no settings file; all stands at its default. `wherry config init` writes one.\n");
        return 0;
    }
    wh_autofree char *files = wh_strv_join(s->files, ", ");
    printf("%s: fine\n", files);
    return 0;
}

static int show(const struct arguments *a)
{
    struct wh_settings_report report;
    wh_autosettings *s = load(a, &report);
    wh_settings_report_free(&report);
    if (!s)
        return 1;
    if (a->json) {
        wh_autojson *json = wh_settings_json(s);
        wh_autofree char *text = wh_json_print_indented(json);
        puts(text);
    } else {
        wh_settings_print(s, a->all, stdout);
    }
    return 0;
}

static int schema(void)
{
    wh_autojson *json = wh_settings_json_schema();
    wh_autofree char *text = wh_json_print_indented(json);
    puts(text);
    return 0;
}

/* What a look at this box suggests: the disk of the state folder bounds the store. */
static char **suggestions(void)
{
    char **lines = NULL;
    wh_autofree char *state = wh_state_dir(NULL);
    wh_autofree char *folder = wh_strdup(state);
    struct statvfs disk;
    char *slash;
    while (statvfs(folder, &disk) != 0 && (slash = strrchr(folder, '/')) != NULL && slash != folder)
        *slash = '\0';
    if (statvfs(folder, &disk) == 0) {
        uint64_t gib = (uint64_t)disk.f_blocks * disk.f_frsize >> 30;
        if (gib >= 10)
            wh_strv_take(&lines, wh_printf("cache.max-size=%llug", (unsigned long long)gib * 6 / 10));
    }
    return lines;
}

static int init(const struct arguments *a)
{
    wh_autostrv char **lines = suggestions();
    if (a->print) {
        wh_settings_print_template(lines, stdout);
        return 0;
    }
    const char *file = a->file ? a->file : "/etc/wherry/wherry.yaml";
    if (!a->force && access(file, F_OK) == 0) {
        fprintf(stderr, "wherry config: %s is there already; --force replaces it, --stdout only prints\n",
                file);
        return 1;
    }
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out) {
        fprintf(stderr, "wherry config: %s\n", strerror(errno));
        return 1;
    }
    wh_settings_print_template(lines, out);
    (void)fclose(out);
    wh_autofree char *owned = text;
    wh_autofree char *folder = wh_strndup(file, strrchr(file, '/') ? (size_t)(strrchr(file, '/') - file) : 0);
    wh_autoerror err = {0};
    if ((*folder && wh_mkdir_p(folder, 0755, &err)) ||
        wh_write_file(AT_FDCWD, file, owned, len, 0644, &err)) {
        fprintf(stderr, "wherry config: %s\n", wh_error_text(&err));
        return 1;
    }
    printf("%s is written. Name the runners in it, then: wherry config check\n", file);
    return 0;
}

int cmd_settings(int argc, char **argv)
{
    struct arguments a = {0};
    if (parse(argc, argv, &a))
        return 2;
    if (a.help) {
        fputs(help, stdout);
        return 0;
    }
    if (wh_streq(a.what, "check"))
        return check(&a);
    if (wh_streq(a.what, "show"))
        return show(&a);
    return wh_streq(a.what, "init") ? init(&a) : schema();
}
