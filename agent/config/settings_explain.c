/* The schema for editors, and a file that explains itself for people. */
#include <cjson/cJSON.h>

#include "config/settings_internal.h"

/* ---- JSON schema ---- */

static void add_pattern(cJSON *out, const char *pattern)
{
    cJSON_AddStringToObject(out, "pattern", pattern);
}

static cJSON *type_array(const char *a, const char *b)
{
    cJSON *types = cJSON_CreateArray();
    cJSON_AddItemToArray(types, cJSON_CreateString(a));
    cJSON_AddItemToArray(types, cJSON_CreateString(b));
    return types;
}

static cJSON *schema_of(const struct wh_setting *s);

static void add_scalar(cJSON *out, const struct wh_setting *s)
{
    const char *type = s->type == WH_SETTING_INT    ? "integer"
                       : s->type == WH_SETTING_BOOL ? "boolean"
                                                    : "string";
    if (s->type == WH_SETTING_SIZE || s->type == WH_SETTING_DURATION) {
        cJSON_AddItemToObject(out, "type", type_array("string", "integer"));
        add_pattern(out,
                    s->type == WH_SETTING_SIZE ? "^[0-9]+ *([kKmMgGtT]([iI]?[bB])?)?$" : "^[0-9]+[smhd]?$");
        return;
    }
    if (s->type == WH_SETTING_STRING) /* a version or a label may look like a number */
        cJSON_AddItemToObject(out, "type", type_array("string", "number"));
    else
        cJSON_AddStringToObject(out, "type", type);
    if (s->type == WH_SETTING_URL)
        add_pattern(out, "^https?://[^/]");
    if (s->type == WH_SETTING_NAME)
        add_pattern(out, "^[A-Za-z0-9._{}-]+$");
    if (s->type == WH_SETTING_INT && (s->min || s->max)) {
        cJSON_AddNumberToObject(out, "minimum", (double)s->min);
        cJSON_AddNumberToObject(out, "maximum", (double)s->max);
    }
    if (s->choices) {
        cJSON *choices = cJSON_AddArrayToObject(out, "enum");
        for (size_t i = 0; s->choices[i]; i++)
            cJSON_AddItemToArray(choices, cJSON_CreateString(s->choices[i]));
    }
}

static void add_section(cJSON *out, const struct wh_setting_value *v)
{
    cJSON_AddStringToObject(out, "type", "object");
    cJSON_AddBoolToObject(out, "additionalProperties", false);
    cJSON *properties = cJSON_AddObjectToObject(out, "properties");
    cJSON *required = cJSON_CreateArray();
    for (size_t i = 0; i < v->nitems; i++) {
        const struct wh_setting *field = v->items[i]->setting;
        cJSON_AddItemToObject(properties, field->name, schema_of(field));
        if (field->flags & WH_SETTING_REQUIRED)
            cJSON_AddItemToArray(required, cJSON_CreateString(field->name));
    }
    if (cJSON_GetArraySize(required) > 0)
        cJSON_AddItemToObject(out, "required", required);
    else
        cJSON_Delete(required);
    if (v->setting->type == WH_SETTING_SECRET) {
        cJSON_AddNumberToObject(out, "minProperties", 1);
        cJSON_AddNumberToObject(out, "maxProperties", 1);
    }
}

static cJSON *schema_of(const struct wh_setting *s)
{
    cJSON *out = cJSON_CreateObject();
    if (s->help)
        cJSON_AddStringToObject(out, "description", s->help);
    if (s->preset)
        cJSON_AddStringToObject(out, "default", s->preset);
    if (setting_is_scalar(s)) {
        add_scalar(out, s);
    } else if (s->type == WH_SETTING_LIST) {
        cJSON_AddItemToObject(out, "type",
                              type_array("array", setting_is_scalar(s->fields) ? "string" : "null"));
        cJSON_AddItemToObject(out, "items", schema_of(s->fields));
    } else if (s->type == WH_SETTING_MAP) {
        cJSON_AddItemToObject(out, "type", type_array("object", "null"));
        cJSON_AddItemToObject(out, "additionalProperties", schema_of(s->fields));
    } else {
        struct wh_setting_value *v = setting_new(s, NULL); /* knows a secret's fields */
        add_section(out, v);
        setting_free(v);
    }
    return out;
}

cJSON *wh_settings_json_schema(void)
{
    cJSON *out = cJSON_CreateObject();
    cJSON_AddStringToObject(out, "$schema", "https://json-schema.org/draft/2020-12/schema");
    cJSON_AddStringToObject(out, "title", "wherry.yaml");
    cJSON *root = schema_of(&wh_settings_schema);
    for (cJSON *item = root->child, *next; item; item = next) {
        next = item->next;
        cJSON_DetachItemViaPointer(root, item);
        cJSON_AddItemToObject(out, item->string, item);
    }
    cJSON_Delete(root);
    return out;
}

/* ---- a file to begin with ---- */

static void print_help(const struct wh_setting *s, unsigned indent, FILE *out)
{
    for (const char *line = s->help; line && *line;) {
        size_t len = strcspn(line, "\n");
        fprintf(out, "%*s# %.*s\n", (int)indent, "", (int)len, line);
        line += len + (line[len] == '\n');
    }
    if (s->choices) {
        wh_autofree char *all = wh_strv_join((char *const *)s->choices, ", ");
        fprintf(out, "%*s# one of %s\n", (int)indent, "", all);
    }
}

static void print_fields(const struct wh_setting *s, const char *path, unsigned indent, bool first_dash,
                         char *const *lines, FILE *out);

static void print_field(const struct wh_setting *s, const char *path, unsigned indent, const char *dash,
                        char *const *lines, FILE *out)
{
    wh_autofree char *prefix = wh_printf("%s=", path);
    const char *value = NULL;
    bool below = false;
    wh_autofree char *dotted = wh_printf("%s.", path);
    for (size_t i = 0; lines && lines[i]; i++) {
        if (wh_starts_with(lines[i], prefix))
            value = lines[i] + strlen(prefix);
        below |= wh_starts_with(lines[i], dotted);
    }
    print_help(s, indent, out);
    const char *off = value || below ? "" : "# ";
    if (setting_is_scalar(s)) {
        const char *text = value ? value : s->preset ? s->preset : "";
        const char *quote = text[0] == '{' ? "\"" : ""; /* YAML would take it for a mapping */
        fprintf(out, "%*s%s%s%s:%s%s%s%s\n", (int)indent, "", off, dash, s->name, *text ? " " : "", quote,
                text, quote);
    } else if (s->type == WH_SETTING_SECRET) {
        fprintf(out, "%*s%s%s%s: {file: /etc/wherry/%s}\n", (int)indent, "", off, dash, s->name, s->name);
    } else if (s->type == WH_SETTING_LIST && setting_is_scalar(s->fields)) {
        fprintf(out, "%*s%s%s%s: %s\n", (int)indent, "", off, dash, s->name, value ? value : "[]");
    } else {
        fprintf(out, "%*s%s%s%s:\n", (int)indent, "", off, dash, s->name);
        bool list = s->type == WH_SETTING_LIST, map = s->type == WH_SETTING_MAP;
        const struct wh_setting *fields = list || map ? s->fields : s;
        if (map)
            fprintf(out, "%*s# NAME:\n", (int)indent + 2, "");
        print_fields(fields, path, indent + (map ? 4 : 2), list, lines, out);
    }
}

static void print_fields(const struct wh_setting *s, const char *path, unsigned indent, bool first_dash,
                         char *const *lines, FILE *out)
{
    for (size_t i = 0; i < s->nfields; i++) {
        wh_autofree char *below =
            path[0] ? wh_printf("%s.%s", path, s->fields[i].name) : wh_strdup(s->fields[i].name);
        print_field(&s->fields[i], below, indent, !first_dash ? "" : i == 0 ? "- " : "  ", lines, out);
        if (path[0] == '\0')
            fputc('\n', out);
    }
}

void wh_settings_print_template(char *const *lines, FILE *out)
{
    fputs("# wherry's settings. What is commented out stands at its default.\n"
          "# `wherry config check` finds mistakes, `wherry config show` tells what is in force.\n\n",
          out);
    print_fields(&wh_settings_schema, "", 0, false, lines, out);
}
