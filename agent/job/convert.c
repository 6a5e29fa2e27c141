#include "wherry/job/convert.h"

int wh_convert_fail(const struct wh_convert *t, const struct wh_yaml *at, struct wh_error *err,
                    const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    wh_autofree char *text = wh_vprintf(fmt, args);
    va_end(args);
    return wh_fail(err, WH_E_PARSE, "%s (Line: %u, Col: %u): %s", t->file, at->line, at->col, text);
}

char *wh_convert_text(const struct wh_convert *t, const struct wh_yaml *scalar, struct wh_error *err)
{
    struct wh_yaml_value value;
    if (scalar->kind != WH_YAML_SCALAR) {
        wh_convert_fail(t, scalar, err, "%s",
                        scalar->kind == WH_YAML_MAPPING ? "A mapping was not expected"
                                                        : "A sequence was not expected");
        return NULL;
    }
    if (!wh_yaml_value(scalar, &value)) {
        wh_convert_fail(t, scalar, err, "Unexpected value '%s'", scalar->text);
        return NULL;
    }
    if (value.type == WH_YAML_BOOL)
        return wh_strdup(value.boolean ? "true" : "false");
    if (value.type == WH_YAML_NULL)
        return wh_strdup("");
    if (value.type == WH_YAML_STRING)
        return wh_strdup(scalar->text);
    wh_autostr text = {0};
    wh_number_add(&text, value.number);
    return wh_str_steal(&text);
}

char *wh_convert_condition(const struct wh_convert *t, const struct wh_yaml *node, enum wh_place place,
                           struct wh_error *err)
{
    if (!node)
        return wh_strdup("success()");
    wh_autofree char *text = wh_convert_text(t, node, err);
    if (!text)
        return NULL;
    wh_autoerror cause = {0};
    char *condition = wh_condition_from_text(text, wh_place_allows(place), &cause);
    if (!condition)
        wh_convert_fail(t, node, err, "%s", wh_error_text(&cause));
    return condition;
}

static struct wh_token *token_at(const struct wh_convert *t, enum wh_token_type type,
                                 const struct wh_yaml *at)
{
    return wh_token_new(type, t->file_index > 0 ? t->file_index : 1, (int)at->line, (int)at->col);
}

static struct wh_token *string_token(const struct wh_convert *t, const struct wh_yaml *at, const char *text,
                                     bool key, enum wh_place place, struct wh_error *err)
{
    wh_autoerror cause = {0};
    struct wh_token *token = wh_template_from_text(text, strlen(text), key, wh_place_allows(place), &cause);
    if (!token) {
        wh_convert_fail(t, at, err, "%s", wh_error_text(&cause));
        return NULL;
    }
    token->file = t->file_index > 0 ? t->file_index : 1;
    token->line = (int)at->line;
    token->col = (int)at->col;
    return token;
}

static struct wh_token *scalar_token(const struct wh_convert *t, const struct wh_yaml *node,
                                     enum wh_place place, struct wh_error *err)
{
    struct wh_yaml_value value;
    if (!wh_yaml_value(node, &value)) {
        wh_convert_fail(t, node, err, "Unexpected value '%s'", node->text);
        return NULL;
    }
    struct wh_token *token;
    switch (value.type) {
    case WH_YAML_BOOL:
        token = token_at(t, WH_TOKEN_BOOL, node);
        token->boolean = value.boolean;
        return token;
    case WH_YAML_NUMBER:
        token = token_at(t, WH_TOKEN_NUMBER, node);
        token->number = value.number;
        return token;
    case WH_YAML_NULL:
        return token_at(t, WH_TOKEN_NULL, node);
    default:
        return string_token(t, node, node->text, false, place, err);
    }
}

static bool key_repeats(const struct wh_yaml *map, size_t at)
{
    if (strstr(map->items[at]->text, "${{"))
        return false; /* known only when it is evaluated */
    for (size_t i = 0; i < at; i += 2)
        if (map->items[i]->kind == WH_YAML_SCALAR && wh_streq_ci(map->items[i]->text, map->items[at]->text))
            return true;
    return false;
}

static struct wh_token *token_of(struct wh_convert *t, const struct wh_yaml *node, enum wh_place place,
                                 unsigned depth, struct wh_error *err);

static int add_pair(struct wh_convert *t, const struct wh_yaml *map, size_t i, enum wh_place place,
                    unsigned depth, struct wh_token *out, struct wh_error *err)
{
    const struct wh_yaml *key = map->items[i];
    wh_autofree char *text = wh_convert_text(t, key, err);
    if (!text)
        return -1;
    if (key_repeats(map, i))
        return wh_convert_fail(t, key, err, "'%s' is already defined", text);
    wh_autotoken *name = string_token(t, key, text, true, place, err);
    if (!name)
        return -1;
    struct wh_token *value = token_of(t, map->items[i + 1], place, depth + 1, err);
    if (!value)
        return -1;
    wh_token_add_pair(out, wh_steal(&name), value);
    return 0;
}

static struct wh_token *token_of(struct wh_convert *t, const struct wh_yaml *node, enum wh_place place,
                                 unsigned depth, struct wh_error *err)
{
    if (++t->count > WH_MAX_YAML_NODES || depth > WH_MAX_YAML_DEPTH) {
        wh_convert_fail(t, node, err, "Maximum object size exceeded");
        return NULL;
    }
    if (node->kind == WH_YAML_SCALAR)
        return scalar_token(t, node, place, err);
    bool map = node->kind == WH_YAML_MAPPING;
    wh_autotoken *token = token_at(t, map ? WH_TOKEN_MAPPING : WH_TOKEN_SEQUENCE, node);
    for (size_t i = 0; i < node->nitems; i += map ? 2 : 1) {
        if (map) {
            if (add_pair(t, node, i, place, depth, token, err) < 0)
                return NULL;
            continue;
        }
        struct wh_token *item = token_of(t, node->items[i], place, depth + 1, err);
        if (!item)
            return NULL;
        wh_token_add_item(token, item);
    }
    return wh_steal(&token);
}

struct wh_token *wh_convert_token(struct wh_convert *t, const struct wh_yaml *node, enum wh_place place,
                                  struct wh_error *err)
{
    return token_of(t, node, place, 0, err);
}
