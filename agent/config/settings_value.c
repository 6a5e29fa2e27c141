/* Values of settings: made from the schema, taken from text, found by their paths. */
#include <errno.h>
#include <unistd.h>

#include "config/settings_internal.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"

bool setting_is_scalar(const struct wh_setting *setting)
{
    return setting->type < WH_SETTING_SECRET;
}

static const struct wh_setting secret_fields[] = {
    {.name = "file", .type = WH_SETTING_PATH, .help = "A file that holds it and nothing else"},
    {.name = "env", .type = WH_SETTING_STRING, .help = "A variable of the agent's environment"},
    {.name = "systemd", .type = WH_SETTING_STRING, .help = "A credential of the unit (LoadCredential=)"},
};

/* The rows of a section; a secret is one too. */
static const struct wh_setting *rows(const struct wh_setting *setting, size_t *n)
{
    bool secret = setting->type == WH_SETTING_SECRET;
    *n = secret ? WH_COUNT(secret_fields) : setting->nfields;
    return secret ? secret_fields : setting->fields;
}

void setting_add(struct wh_setting_value *parent, struct wh_setting_value *child)
{
    parent->items = wh_reallocarray(parent->items, parent->nitems + 1, sizeof(struct wh_setting_value *));
    parent->items[parent->nitems++] = child;
}

struct wh_setting_value *setting_new(const struct wh_setting *setting, const char *name)
{
    struct wh_setting_value *v = wh_calloc(1, sizeof *v);
    v->setting = setting;
    v->name = wh_strdup(name);
    if (setting->type == WH_SETTING_SECTION || setting->type == WH_SETTING_SECRET) {
        size_t n = 0;
        const struct wh_setting *fields = rows(setting, &n);
        for (size_t i = 0; i < n; i++)
            setting_add(v, setting_new(&fields[i], NULL));
    }
    wh_autoerror err = {0};
    if (setting->preset && setting_take(v, setting->preset, NULL, &err)) {
        wh_log_error("the default of %s is wrong: %s", setting->name, wh_error_text(&err));
        abort();
    }
    return v;
}

void setting_clear_items(struct wh_setting_value *v)
{
    for (size_t i = 0; i < v->nitems; i++)
        setting_free(v->items[i]);
    free(v->items);
    v->items = NULL;
    v->nitems = 0;
}

void setting_free(struct wh_setting_value *v)
{
    if (!v)
        return;
    setting_clear_items(v);
    free(v->name);
    free(v->text);
    free(v->place);
    free(v);
}

void setting_set_origin(struct wh_setting_value *v, enum wh_setting_origin origin, char *place)
{
    v->origin = origin;
    free(v->place);
    v->place = place;
}

/* ---- scalars from text ---- */

static int take_number(struct wh_setting_value *v, int64_t number, const char *text, struct wh_error *err)
{
    const struct wh_setting *s = v->setting;
    if ((s->min || s->max) && (number < s->min || number > s->max))
        return wh_fail(err, WH_E_ARGUMENT, "%s is not between %lld and %lld", text, (long long)s->min,
                       (long long)s->max);
    v->number = number;
    return 0;
}

/* "90", "90s", "15m", "6h", "30d". */
static bool parse_duration(const char *text, int64_t *out)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    size_t len = strlen(text);
    int64_t factor = 1;
    for (size_t i = 0; len > 1 && i < WH_COUNT(units); i++)
        if (text[len - 1] == units[i].unit) {
            factor = units[i].seconds;
            len--;
            break;
        }
    wh_autofree char *digits = wh_strndup(text, len);
    uint64_t number;
    if (!wh_parse_u64(digits, INT64_MAX / factor, &number))
        return false;
    *out = (int64_t)number * factor;
    return true;
}

static int take_choice(const struct wh_setting *s, const char *text, struct wh_error *err)
{
    if (wh_strv_has((char *const *)s->choices, text))
        return 0;
    wh_autofree char *all = wh_strv_join((char *const *)s->choices, ", ");
    const char *near = wh_did_you_mean(text, s->choices);
    return wh_fail(err, WH_E_ARGUMENT, "'%s' is none of %s%s%s%s", text, all, near ? "; did you mean " : "",
                   near ? near : "", near ? "?" : "");
}

static int take_bool(struct wh_setting_value *v, const char *text, struct wh_error *err)
{
    bool yes = wh_streq_ci(text, "true");
    if (!yes && !wh_streq_ci(text, "false"))
        return wh_fail(err, WH_E_ARGUMENT, "'%s' is neither true nor false", text);
    v->number = yes;
    return 0;
}

static int take_url(const char *text, struct wh_error *err)
{
    const char *rest = wh_starts_with(text, "https://")  ? text + 8
                       : wh_starts_with(text, "http://") ? text + 7
                                                         : "";
    if (rest[0] == '\0' || rest[0] == '/' || strpbrk(text, " \t\r\n"))
        return wh_fail(err, WH_E_ARGUMENT, "'%s' is no URL: it starts with https://HOST", text);
    return 0;
}

static int take_name(const char *text, struct wh_error *err)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-{}";
    if (text[0] == '\0' || text[strspn(text, good)] != '\0')
        return wh_fail(err, WH_E_ARGUMENT, "'%s': a name has letters, digits, '.', '_' and '-'", text);
    return 0;
}

/* text as it is kept: paths become absolute. */
static char *kept_text(const struct wh_setting *s, const char *text, const char *base)
{
    if (s->type != WH_SETTING_PATH || text[0] == '/')
        return wh_strdup(text);
    if (base)
        return wh_path_join(base, text);
    wh_autofree char *here = getcwd(NULL, 0);
    return wh_path_join(here ? here : "/", text);
}

static int check_scalar(struct wh_setting_value *v, const char *text, struct wh_error *err)
{
    uint64_t size;
    int64_t number;
    switch (v->setting->type) {
    case WH_SETTING_NAME:
        return take_name(text, err);
    case WH_SETTING_URL:
        return take_url(text, err);
    case WH_SETTING_SIZE:
        if (!wh_parse_size(text, &size) || size > INT64_MAX)
            return wh_fail(err, WH_E_ARGUMENT, "'%s' is no size: write it as 512m, 20g or 2t", text);
        return take_number(v, (int64_t)size, text, err);
    case WH_SETTING_DURATION:
        if (!parse_duration(text, &number))
            return wh_fail(err, WH_E_ARGUMENT, "'%s' is no time: write it as 90s, 15m, 6h or 30d", text);
        return take_number(v, number, text, err);
    case WH_SETTING_INT:
        if (!wh_parse_i64(text, INT64_MIN, INT64_MAX, &number))
            return wh_fail(err, WH_E_ARGUMENT, "'%s' is no whole number", text);
        return take_number(v, number, text, err);
    case WH_SETTING_BOOL:
        return take_bool(v, text, err);
    case WH_SETTING_CHOICE:
        return take_choice(v->setting, text, err);
    default:
        return text[0] == '\0' ? wh_fail(err, WH_E_ARGUMENT, "it is empty") : 0;
    }
}

int setting_take(struct wh_setting_value *v, const char *text, const char *base, struct wh_error *err)
{
    if (check_scalar(v, text, err))
        return -1;
    char *kept = kept_text(v->setting, text, base);
    free(v->text);
    v->text = kept;
    return 0;
}

/* ---- finding ---- */

const struct wh_setting_value *wh_setting_field(const struct wh_setting_value *section, const char *name)
{
    for (size_t i = 0; section && i < section->nitems; i++)
        if (wh_streq(section->items[i]->setting->name, name))
            return section->items[i];
    wh_log_error("there is no setting '%s' in the schema", name);
    abort();
}

const struct wh_setting_value *wh_settings_get(const struct wh_settings *s, const char *path)
{
    const struct wh_setting_value *v = s->root;
    struct wh_view head, tail = wh_view_of(path);
    do {
        wh_view_split(tail, '.', &head, &tail);
        wh_autofree char *name = wh_view_dup(head);
        v = wh_setting_field(v, name);
    } while (tail.len > 0);
    return v;
}

const char *wh_setting_text(const struct wh_setting_value *section, const char *name)
{
    return wh_setting_field(section, name)->text;
}

const char *wh_settings_text(const struct wh_settings *s, const char *path)
{
    return wh_settings_get(s, path)->text;
}

int64_t wh_settings_number(const struct wh_settings *s, const char *path, int64_t unset)
{
    const struct wh_setting_value *v = wh_settings_get(s, path);
    return v->text ? v->number : unset;
}

bool wh_settings_bool(const struct wh_settings *s, const char *path)
{
    return wh_settings_number(s, path, 0) != 0;
}

char **wh_settings_strings(const struct wh_settings *s, const char *path)
{
    const struct wh_setting_value *list = wh_settings_get(s, path);
    char **out = NULL;
    for (size_t i = 0; i < list->nitems; i++)
        wh_strv_add(&out, list->items[i]->text);
    return out;
}

const struct wh_setting_value *wh_setting_entry(const struct wh_setting_value *map, const char *key)
{
    for (size_t i = 0; i < map->nitems; i++)
        if (wh_streq(map->items[i]->name, key))
            return map->items[i];
    return NULL;
}

bool wh_setting_is_set(const struct wh_setting_value *v)
{
    if (setting_is_scalar(v->setting))
        return v->text != NULL;
    if (v->setting->type == WH_SETTING_LIST || v->setting->type == WH_SETTING_MAP)
        return v->nitems > 0;
    for (size_t i = 0; i < v->nitems; i++)
        if (v->items[i]->origin != WH_ORIGIN_DEFAULT ||
            (!setting_is_scalar(v->items[i]->setting) && wh_setting_is_set(v->items[i])))
            return true;
    return false;
}

int wh_settings_set(struct wh_settings *s, const char *path, const char *text, const char *option,
                    struct wh_error *err)
{
    struct wh_setting_value *v = (struct wh_setting_value *)wh_settings_get(s, path);
    if (setting_take(v, text, NULL, err))
        return wh_wrap(err, "%s", option);
    setting_set_origin(v, WH_ORIGIN_OPTION, wh_strdup(option));
    return 0;
}

/* ---- secrets ---- */

static int secret_of_file(const char *path, struct wh_str *out, struct wh_error *err)
{
    wh_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return wh_fail_errno(err, "%s", path);
    if (st.st_mode & 077)
        return wh_fail(err, WH_E_DENIED, "%s: others may read it; do: chmod 600 %s", path, path);
    return wh_read_fd(fd, WH_MAX_SETTINGS_SECRET, path, out, err);
}

struct wh_secret *wh_setting_secret(const struct wh_setting_value *v, struct wh_error *err)
{
    const char *file = wh_setting_text(v, "file"), *env = wh_setting_text(v, "env");
    const char *credential = wh_setting_text(v, "systemd");
    struct wh_str text = {0};
    const char *value = env ? getenv(env) : NULL, *folder = getenv("CREDENTIALS_DIRECTORY");
    wh_autofree char *path = credential && folder ? wh_path_join(folder, credential) : NULL;
    int n = 0;
    if (file)
        n = secret_of_file(file, &text, err);
    else if (credential && (!folder || strchr(credential, '/')))
        n = wh_fail(err, WH_E_NOT_FOUND,
                    "systemd gave no credential %s: the unit wants LoadCredential=%s:FILE", credential,
                    credential);
    else if (credential)
        n = wh_read_file(AT_FDCWD, path, WH_MAX_SETTINGS_SECRET, &text, err);
    else if (!value || !*value)
        n = wh_fail(err, WH_E_NOT_FOUND, "the variable %s is not set", env ? env : "");
    else
        wh_str_add(&text, value);
    while (text.len > 0 && strchr("\r\n", text.data[text.len - 1]))
        wh_str_truncate(&text, text.len - 1);
    if (n == 0 && text.len == 0)
        n = wh_fail(err, WH_E_ARGUMENT, "%s is empty", file ? file : env ? env : credential);
    struct wh_secret *secret = n < 0 ? NULL : wh_secret_new(text.data, text.len);
    wh_str_wipe(&text);
    return secret;
}
