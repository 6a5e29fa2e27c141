/* Which files there are, in which order, and the environment over them. */
#include <ctype.h>
#include <glob.h>
#include <unistd.h>

#include "config/settings_internal.h"
#include "wherry/base/fs.h"

#define MAX_FILE ((size_t)1 << 20)

struct loader {
    struct wh_settings *settings;
    struct wh_settings_report *report;
    char *
        open[WH_MAX_SETTINGS_INCLUDES + 1]; /* files that are being read: an include of one would never end */
    unsigned depth;
    unsigned files;
};

static void load_file(struct loader *l, const char *file, bool may_miss, const char *from);

static void load_matches(struct loader *l, const char *pattern, bool may_miss, const char *from)
{
    glob_t found = {0};
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            load_file(l, found.gl_pathv[i], false, from);
    else if (!may_miss)
        settings_problem(l->report, false, from, "include", "there is no file %s", pattern);
    globfree(&found);
}

/* Included files come first, so that the file itself has the last word. */
static void load_includes(struct loader *l, const struct settings_reader *r, const struct wh_yaml *root)
{
    const struct wh_yaml *list = root->kind == WH_YAML_MAPPING ? wh_yaml_get(root, "include") : NULL;
    size_t n = !list ? 0 : list->kind == WH_YAML_SEQUENCE ? list->nitems : 1;
    for (size_t i = 0; i < n; i++) {
        const struct wh_yaml *item = list->kind == WH_YAML_SEQUENCE ? list->items[i] : list;
        if (item->kind != WH_YAML_SCALAR || item->text[0] == '\0')
            continue; /* the reader of values tells */
        wh_autofree char *pattern = wh_path_join(r->base, item->text);
        wh_autofree char *place = settings_place(r, item);
        load_matches(l, pattern, strpbrk(item->text, "*?[") != NULL, place);
    }
}

/* Whoever may write this file decides what runs here. */
static void check_rights(struct loader *l, const char *file)
{
    struct stat st;
    if (stat(file, &st) == 0 && ((st.st_mode & 022) || (st.st_uid != 0 && st.st_uid != geteuid())))
        settings_problem(l->report, true, file, NULL, "others may write it; do: chown %u %s && chmod go-w %s",
                         (unsigned)geteuid(), file, file);
}

static void parse_file(struct loader *l, const char *file, const struct wh_str *text)
{
    wh_autoerror err = {0};
    wh_autoyaml doc;
    if (wh_yaml_parse(wh_str_text(text), text->len, file, &doc, &err)) {
        /* "FILE (Line: 3, Col: 7): text", as workflow files have it, in the form of this room */
        unsigned line, col;
        const char *message = wh_error_text(&err), *rest = message + strlen(file);
        wh_autofree char *place = NULL;
        if (wh_starts_with(message, file) && sscanf(rest, " (Line: %u, Col: %u)", &line, &col) == 2) {
            place = wh_printf("%s:%u:%u", file, line, col);
            rest = strstr(rest, "): ");
            rest = rest ? rest + 3 : message;
        } else {
            place = wh_strdup(file);
            rest = message;
        }
        settings_problem(l->report, false, place, NULL, "%s", rest);
        return;
    }
    if (!doc.root)
        return;
    wh_autofree char *base = wh_strdup(file);
    char *slash = strrchr(base, '/');
    if (slash)
        slash[slash == base] = '\0';
    struct settings_reader r = {.report = l->report, .file = file, .base = base, .origin = WH_ORIGIN_FILE};
    load_includes(l, &r, doc.root);
    settings_read(&r, doc.root, l->settings->root, "");
}

static bool opened_before(struct loader *l, const char *file, const char *from)
{
    for (unsigned i = 0; i < l->depth; i++)
        if (wh_streq(l->open[i], file)) {
            settings_problem(l->report, false, from, "include", "%s includes itself", file);
            return true;
        }
    if (l->depth > WH_MAX_SETTINGS_INCLUDES || l->files >= WH_MAX_SETTINGS_FILES) {
        settings_problem(l->report, false, from, "include", "more than %u files, or %u deep",
                         WH_MAX_SETTINGS_FILES, WH_MAX_SETTINGS_INCLUDES);
        return true;
    }
    return false;
}

static void load_file(struct loader *l, const char *file, bool may_miss, const char *from)
{
    if (opened_before(l, file, from))
        return;
    wh_autostr text = {0};
    wh_autoerror err = {0};
    if (wh_read_file(AT_FDCWD, file, MAX_FILE, &text, &err)) {
        if (!may_miss || err.code != WH_E_NOT_FOUND)
            settings_problem(l->report, false, from ? from : file, NULL, "%s", wh_error_text(&err));
        return;
    }
    check_rights(l, file);
    wh_strv_add(&l->settings->files, file);
    l->files++;
    l->open[l->depth++] = wh_strdup(file);
    parse_file(l, file, &text);
    free(l->open[--l->depth]);
}

/* ---- environment ---- */

char *wh_settings_variable(const char *path)
{
    char *name = wh_printf("WHERRY_%s", path);
    for (char *p = name; *p; p++)
        *p = *p == '.' || *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    return name;
}

/* Scalars and lists of scalars (comma-separated), outside of lists and maps. */
static void take_environment(struct loader *l, char *const *env, struct wh_setting_value *v, const char *path)
{
    if (v->setting->type == WH_SETTING_SECTION) {
        for (size_t i = 0; i < v->nitems; i++) {
            const char *name = v->items[i]->setting->name;
            wh_autofree char *below = path[0] ? wh_printf("%s.%s", path, name) : wh_strdup(name);
            take_environment(l, env, v->items[i], below);
        }
        return;
    }
    bool list = v->setting->type == WH_SETTING_LIST && setting_is_scalar(v->setting->fields);
    if (!list && !setting_is_scalar(v->setting))
        return;
    wh_autofree char *name = wh_settings_variable(path);
    const char *text = wh_env_get(env, name);
    if (!text || !*text || wh_streq(path, "include"))
        return;
    wh_autoerror err = {0};
    int n = 0;
    if (list) {
        setting_clear_items(v);
        wh_autostrv char **items = wh_strv_split(text, ',');
        for (size_t i = 0; n == 0 && items[i]; i++) {
            struct wh_setting_value *item = setting_new(v->setting->fields, NULL);
            setting_add(v, item);
            wh_autofree char *word = wh_view_dup(wh_view_trim(wh_view_of(items[i])));
            n = setting_take(item, word, NULL, &err);
        }
    } else {
        n = setting_take(v, text, NULL, &err);
    }
    if (n < 0)
        settings_problem(l->report, false, name, path, "%s", wh_error_text(&err));
    else
        setting_set_origin(v, WH_ORIGIN_ENVIRONMENT, wh_strdup(name));
}

/* ---- all ---- */

/* Owned by the caller; NULL: there is none for this user. */
static char *default_file(void)
{
    if (geteuid() == 0)
        return wh_strdup("/etc/wherry/wherry.yaml");
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    wh_autofree char *own = config && *config ? wh_printf("%s/wherry/wherry.yaml", config)
                            : home            ? wh_printf("%s/.config/wherry/wherry.yaml", home)
                                              : NULL;
    return own && access(own, F_OK) == 0 ? wh_steal(&own) : wh_strdup("/etc/wherry/wherry.yaml");
}

struct wh_settings *wh_settings_load(const struct wh_settings_sources *sources,
                                     struct wh_settings_report *report)
{
    *report = (struct wh_settings_report){0};
    struct wh_settings *s = wh_calloc(1, sizeof *s);
    s->root = setting_new(&wh_settings_schema, NULL);
    struct loader l = {.settings = s, .report = report};
    const char *named = sources->file;
    if (!named && sources->env)
        named = wh_env_get(sources->env, "WHERRY_CONFIG");
    wh_autofree char *file = named && *named ? wh_strdup(named) : sources->no_default ? NULL : default_file();
    if (file) {
        load_file(&l, file, !(named && *named), NULL);
        wh_autofree char *drop_ins = wh_printf("%s.d/*.yaml", file);
        load_matches(&l, drop_ins, true, file);
    }
    if (sources->env)
        take_environment(&l, sources->env, s->root, "");
    settings_check(s->root, report);
    if (report->nerrors == 0)
        return s;
    wh_settings_free(s);
    return NULL;
}

void wh_settings_free(struct wh_settings *s)
{
    if (!s)
        return;
    setting_free(s->root);
    wh_strv_free(s->files);
    free(s);
}

void wh_settings_free_ptr(struct wh_settings **s)
{
    wh_settings_free(*s);
}
