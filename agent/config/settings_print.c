/* Effective values with where each came from; as YAML for people, as JSON for programs. */
#include <cjson/cJSON.h>

#include "config/settings_internal.h"

#define COMMENT_COLUMN 44

/* A scalar that YAML would read as something else, or not at all, in quotes. */
static char *yaml_text(const struct wh_setting_value *v)
{
    const char *text = v->text;
    enum wh_setting_type type = v->setting->type;
    struct wh_yaml as_plain = {.kind = WH_YAML_SCALAR, .plain = true, .text = (char *)text};
    struct wh_yaml_value value = {0};
    bool number = type == WH_SETTING_INT || type == WH_SETTING_SIZE || type == WH_SETTING_DURATION ||
                  type == WH_SETTING_BOOL;
    bool plain = text[0] && (number || (wh_yaml_value(&as_plain, &value) && value.type == WH_YAML_STRING)) &&
                 !strchr("-?:,[]{}#&*!|>'\"%@` ", text[0]) && !strstr(text, ": ") && !strstr(text, " #") &&
                 !strpbrk(text, "\n\t\r\"\\") && text[strlen(text) - 1] != ' ' &&
                 text[strlen(text) - 1] != ':';
    if (plain)
        return wh_strdup(text);
    cJSON *string = cJSON_CreateString(text); /* a JSON string is a YAML string too */
    char *quoted = cJSON_PrintUnformatted(string);
    cJSON_Delete(string);
    return quoted;
}

static void add_line(struct wh_str *out, size_t start, const struct wh_setting_value *v)
{
    size_t width = out->len - start;
    wh_str_addf(out, "%*s# %s\n", width < COMMENT_COLUMN ? (int)(COMMENT_COLUMN - width) : 1, "",
                v->origin == WH_ORIGIN_DEFAULT ? v->text ? "default" : "unset" : v->place);
}

static void print_value(const struct wh_setting_value *v, const char *key, unsigned indent, bool all,
                        struct wh_str *out);

static void print_items(const struct wh_setting_value *v, unsigned indent, bool all, struct wh_str *out)
{
    bool list = v->setting->type == WH_SETTING_LIST;
    for (size_t i = 0; i < v->nitems; i++) {
        const struct wh_setting_value *item = v->items[i];
        if (!list) {
            print_value(item, item->name ? item->name : item->setting->name, indent, all, out);
        } else if (setting_is_scalar(item->setting)) {
            size_t start = out->len;
            wh_autofree char *text = yaml_text(item);
            wh_str_addf(out, "%*s- %s", (int)indent, "", text);
            add_line(out, start, item);
        } else {
            size_t start = out->len;
            print_items(item, indent + 2, all, out);
            if (out->len > start + indent) /* the dash goes before the first field */
                out->data[start + indent] = '-';
            else
                wh_str_addf(out, "%*s- {}\n", (int)indent, "");
        }
    }
}

static void print_value(const struct wh_setting_value *v, const char *key, unsigned indent, bool all,
                        struct wh_str *out)
{
    if (!all && (setting_is_scalar(v->setting) ? v->origin == WH_ORIGIN_DEFAULT : !wh_setting_is_set(v)))
        return;
    size_t start = out->len;
    if (setting_is_scalar(v->setting)) {
        wh_autofree char *text = v->text ? yaml_text(v) : NULL;
        wh_str_addf(out, "%*s%s:%s%s", (int)indent, "", key, text ? " " : "", text ? text : "");
        add_line(out, start, v);
        return;
    }
    bool collection = v->setting->type == WH_SETTING_LIST || v->setting->type == WH_SETTING_MAP;
    if (collection && v->nitems == 0) {
        wh_str_addf(out, "%*s%s: %s", (int)indent, "", key,
                    v->setting->type == WH_SETTING_LIST ? "[]" : "{}");
        add_line(out, start, v);
        return;
    }
    wh_str_addf(out, "%*s%s:\n", (int)indent, "", key);
    /* A secret shows where it is, never what. */
    print_items(v, indent + 2, all && v->setting->type != WH_SETTING_SECRET, out);
}

void wh_settings_print(const struct wh_settings *s, bool all, FILE *out)
{
    wh_autostr text = {0};
    print_items(s->root, 0, all, &text);
    fputs(wh_str_text(&text), out);
}

static cJSON *to_json(const struct wh_setting_value *v)
{
    switch (v->setting->type) {
    case WH_SETTING_INT:
    case WH_SETTING_SIZE:
    case WH_SETTING_DURATION:
        return v->text ? cJSON_CreateNumber((double)v->number) : cJSON_CreateNull();
    case WH_SETTING_BOOL:
        return v->text ? cJSON_CreateBool(v->number != 0) : cJSON_CreateNull();
    case WH_SETTING_LIST:
    case WH_SETTING_MAP:
    case WH_SETTING_SECTION:
    case WH_SETTING_SECRET:
        break;
    default:
        return v->text ? cJSON_CreateString(v->text) : cJSON_CreateNull();
    }
    bool list = v->setting->type == WH_SETTING_LIST;
    cJSON *out = list ? cJSON_CreateArray() : cJSON_CreateObject();
    for (size_t i = 0; i < v->nitems; i++) {
        const struct wh_setting_value *item = v->items[i];
        if (list)
            cJSON_AddItemToArray(out, to_json(item));
        else
            cJSON_AddItemToObject(out, item->name ? item->name : item->setting->name, to_json(item));
    }
    return out;
}

cJSON *wh_settings_json(const struct wh_settings *s)
{
    return to_json(s->root);
}
