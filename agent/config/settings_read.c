/* From YAML to values, by the schema. Every problem is told with its place; the reading goes on. */
#include "config/settings_internal.h"

char *settings_place(const struct settings_reader *r, const struct wh_yaml *node)
{
    return wh_printf("%s:%u:%u", r->file, node->line, node->col);
}

static void problem(const struct settings_reader *r, const struct wh_yaml *node, const char *path,
                    const char *text)
{
    wh_autofree char *place = settings_place(r, node);
    settings_problem(r->report, false, place, path[0] ? path : NULL, "%s", text);
}

static char *path_below(const char *path, const char *name)
{
    return path[0] ? wh_printf("%s.%s", path, name) : wh_strdup(name);
}

static const char *kind_text(const struct wh_yaml *node)
{
    return node->kind == WH_YAML_MAPPING    ? "a mapping"
           : node->kind == WH_YAML_SEQUENCE ? "a list"
                                            : "a value";
}

static void wrong_kind(const struct settings_reader *r, const struct wh_yaml *node, const char *path,
                       const char *wanted)
{
    wh_autofree char *text = wh_printf("here is %s where %s belongs", kind_text(node), wanted);
    problem(r, node, path, text);
}

static bool is_null(const struct wh_yaml *node)
{
    struct wh_yaml_value value;
    return node->kind == WH_YAML_SCALAR && wh_yaml_value(node, &value) && value.type == WH_YAML_NULL;
}

static void read_scalar(const struct settings_reader *r, const struct wh_yaml *node,
                        struct wh_setting_value *v, const char *path)
{
    wh_autoerror err = {0};
    if (node->kind == WH_YAML_MAPPING && v->setting->type == WH_SETTING_NAME)
        problem(r, node, path, "a name that begins with '{' stands in quotes: \"{host}-{index}\"");
    else if (node->kind != WH_YAML_SCALAR)
        wrong_kind(r, node, path, "a single value");
    else if (setting_take(v, node->text, r->base, &err))
        problem(r, node, path, wh_error_text(&err));
    else
        setting_set_origin(v, r->origin, settings_place(r, node));
}

/* The field of that name, or NULL after it was said what the nearest one is. */
static struct wh_setting_value *field_of(const struct settings_reader *r, const struct wh_yaml *key,
                                         const struct wh_setting_value *section, const char *path)
{
    const char *names[64] = {NULL};
    for (size_t i = 0; i < section->nitems; i++) {
        if (wh_streq(section->items[i]->setting->name, key->text))
            return section->items[i];
        if (i + 1 < WH_COUNT(names))
            names[i] = section->items[i]->setting->name;
    }
    const char *near = wh_did_you_mean(key->text, names);
    wh_autofree char *all = wh_strv_join((char *const *)names, ", ");
    wh_autofree char *text =
        near ? wh_printf("there is no setting '%s' here; did you mean '%s'?", key->text, near)
             : wh_printf("there is no setting '%s' here; there are %s", key->text, all);
    problem(r, key, path, text);
    return NULL;
}

/* The keys of a mapping are texts, and each is there once. */
static bool good_key(const struct settings_reader *r, const struct wh_yaml *map, size_t i, const char *path)
{
    const struct wh_yaml *key = map->items[i];
    if (key->kind != WH_YAML_SCALAR || key->text[0] == '\0') {
        problem(r, key, path, "a key is a word");
        return false;
    }
    for (size_t k = 0; k < i; k += 2)
        if (map->items[k]->kind == WH_YAML_SCALAR && wh_streq(map->items[k]->text, key->text)) {
            wh_autofree char *text =
                wh_printf("'%s' stands here twice, first in line %u", key->text, map->items[k]->line);
            problem(r, key, path, text);
            return false;
        }
    return true;
}

static void read_section(const struct settings_reader *r, const struct wh_yaml *node,
                         struct wh_setting_value *v, const char *path)
{
    for (size_t i = 0; i + 1 < node->nitems; i += 2) {
        struct wh_setting_value *field =
            good_key(r, node, i, path) ? field_of(r, node->items[i], v, path) : NULL;
        if (!field)
            continue;
        wh_autofree char *below = path_below(path, node->items[i]->text);
        settings_read(r, node->items[i + 1], field, below);
    }
    for (size_t i = 0; i < v->nitems; i++) {
        const struct wh_setting *setting = v->items[i]->setting;
        if (!(setting->flags & WH_SETTING_REQUIRED) || wh_setting_is_set(v->items[i]))
            continue;
        wh_autofree char *text = wh_printf("'%s' is missing: %s", setting->name, setting->help);
        problem(r, node, path, text);
    }
}

/* One of file, env and systemd; a former file's one goes. A secret's text itself has no place here, and is
 * not repeated in the message. */
static void read_secret(const struct settings_reader *r, const struct wh_yaml *node,
                        struct wh_setting_value *v, const char *path)
{
    static const char how[] = "say where it is, one of file: PATH, env: VARIABLE, systemd: CREDENTIAL";
    if (node->kind == WH_YAML_SCALAR) {
        wh_autofree char *text = wh_printf("a secret doesn't belong into this file; %s", how);
        problem(r, node, path, text);
        return;
    }
    struct wh_setting_value *fresh = setting_new(v->setting, NULL);
    size_t set = 0;
    size_t errors = r->report->nerrors;
    read_section(r, node, fresh, path);
    for (size_t i = 0; i < fresh->nitems; i++)
        set += fresh->items[i]->text != NULL;
    if (set != 1 && errors == r->report->nerrors)
        problem(r, node, path, how);
    setting_clear_items(v);
    v->items = fresh->items;
    v->nitems = fresh->nitems;
    fresh->items = NULL;
    fresh->nitems = 0;
    setting_free(fresh);
}

static bool room_for(const struct settings_reader *r, const struct wh_yaml *node,
                     const struct wh_setting_value *v, const char *path)
{
    if (v->nitems < WH_MAX_SETTINGS_ITEMS)
        return true;
    wh_autofree char *text = wh_printf("more than %u entries", WH_MAX_SETTINGS_ITEMS);
    problem(r, node, path, text);
    return false;
}

static void read_map(const struct settings_reader *r, const struct wh_yaml *node, struct wh_setting_value *v,
                     const char *path)
{
    for (size_t i = 0; i + 1 < node->nitems; i += 2) {
        if (!good_key(r, node, i, path) || !room_for(r, node, v, path))
            continue;
        const char *key = node->items[i]->text;
        struct wh_setting_value *entry = (struct wh_setting_value *)wh_setting_entry(v, key);
        if (!entry)
            setting_add(v, entry = setting_new(v->setting->fields, key));
        wh_autofree char *below = path_below(path, key);
        settings_read(r, node->items[i + 1], entry, below);
    }
}

static void read_list(const struct settings_reader *r, const struct wh_yaml *node, struct wh_setting_value *v,
                      const char *path)
{
    if (!(v->setting->flags & WH_SETTING_GROWS))
        setting_clear_items(v);
    for (size_t i = 0; i < node->nitems && room_for(r, node, v, path); i++) {
        struct wh_setting_value *item = setting_new(v->setting->fields, NULL);
        wh_autofree char *below = wh_printf("%s[%zu]", path, v->nitems);
        setting_add(v, item);
        settings_read(r, node->items[i], item, below);
        if (!item->place)
            setting_set_origin(item, r->origin, settings_place(r, node->items[i]));
    }
}

void settings_read(const struct settings_reader *r, const struct wh_yaml *node, struct wh_setting_value *v,
                   const char *path)
{
    if (is_null(node)) /* "key:" with nothing: as if it were not there */
        return;
    enum wh_setting_type type = v->setting->type;
    if (setting_is_scalar(v->setting)) {
        read_scalar(r, node, v, path);
        return;
    }
    if (type == WH_SETTING_SECRET && node->kind != WH_YAML_SEQUENCE) {
        read_secret(r, node, v, path);
    } else if (type == WH_SETTING_LIST && node->kind == WH_YAML_SEQUENCE) {
        read_list(r, node, v, path);
    } else if (type == WH_SETTING_LIST && node->kind == WH_YAML_SCALAR &&
               setting_is_scalar(v->setting->fields)) {
        struct wh_yaml *one = (struct wh_yaml *)node; /* a single item may stand without its dash */
        struct wh_yaml list = {
            .kind = WH_YAML_SEQUENCE, .line = node->line, .col = node->col, .items = &one, .nitems = 1};
        read_list(r, &list, v, path);
    } else if (type == WH_SETTING_LIST) {
        wrong_kind(r, node, path, "a list");
        return;
    } else if (node->kind != WH_YAML_MAPPING) {
        wrong_kind(r, node, path, "a mapping");
        return;
    } else if (type == WH_SETTING_MAP) {
        read_map(r, node, v, path);
    } else {
        read_section(r, node, v, path);
    }
    setting_set_origin(v, r->origin, settings_place(r, node));
}
