/* toJSON's and event.json's layouts (job-execution.md §2.5, §3), and values as plain JSON and ContextData
 * trees. */
#include "json_out.h"

#include <math.h>
#include <stdio.h>

#include "text.h"
#include "value_impl.h"

static void add_unicode_escape(struct wh_str *out, unsigned unit)
{
    wh_str_addf(out, "\\u%04x", unit);
}

void wh_json_escape_add(struct wh_str *out, const char *text, size_t len)
{
    static const char short_escapes[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    size_t plain = 0; /* start of what needs no escape */
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        size_t width = 1;
        unsigned code = c;
        if (c == 0xC2 && i + 1 < len && (unsigned char)text[i + 1] == 0x85) {
            width = 2;
            code = 0x85;
        } else if (c == 0xE2 && i + 2 < len && (unsigned char)text[i + 1] == 0x80 &&
                   ((unsigned char)text[i + 2] == 0xA8 || (unsigned char)text[i + 2] == 0xA9)) {
            width = 3;
            code = 0x2000u | ((unsigned char)text[i + 2] & 0x3Fu);
        } else if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        wh_str_addn(out, text + plain, i - plain);
        if (code == '"' || code == '\\') {
            wh_str_addc(out, '\\');
            wh_str_addc(out, (char)code);
        } else if (code < sizeof short_escapes && short_escapes[code]) {
            wh_str_addc(out, '\\');
            wh_str_addc(out, short_escapes[code]);
        } else {
            add_unicode_escape(out, code);
        }
        i += width - 1;
        plain = i + 1;
    }
    wh_str_addn(out, text + plain, len - plain);
}

struct writer {
    struct wh_str *out;
    size_t max; /* length of out that may not be passed */
    bool exact; /* event.json: all digits of numbers */
};

static void add_quoted(struct wh_str *out, const char *text, size_t len)
{
    wh_str_addc(out, '"');
    wh_json_escape_add(out, text, len);
    wh_str_addc(out, '"');
}

/* Whole numbers as integers, others with as many digits as bring the same number back. */
static void add_exact_number(struct wh_str *out, double n)
{
    if (n == floor(n) && fabs(n) < 9.2e18) {
        wh_str_addf(out, "%lld", (long long)n);
        return;
    }
    if (!isfinite(n)) {
        wh_number_add(out, n);
        return;
    }
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*G", digits, n);
        if (strtod(text, NULL) == n)
            break;
    }
    wh_str_add(out, text);
}

static void add_indent(struct wh_str *out, unsigned level)
{
    wh_str_addc(out, '\n');
    for (unsigned i = 0; i < level; i++)
        wh_str_addn(out, "  ", 2);
}

static bool write_value(struct writer *w, const struct wh_value *v, unsigned level);

static bool write_array(struct writer *w, const struct wh_value *v, unsigned level)
{
    wh_str_addc(w->out, '[');
    for (size_t i = 0; i < v->array.count; i++) {
        if (i > 0)
            wh_str_addc(w->out, ',');
        add_indent(w->out, level + 1);
        if (!write_value(w, v->array.items[i], level + 1))
            return false;
    }
    if (v->array.count > 0)
        add_indent(w->out, level);
    wh_str_addc(w->out, ']');
    return true;
}

static bool write_object(struct writer *w, const struct wh_value *v, unsigned level)
{
    wh_str_addc(w->out, '{');
    for (size_t i = 0; i < v->object.count; i++) {
        const struct wh_member *m = &v->object.members[i];
        if (i > 0)
            wh_str_addc(w->out, ',');
        add_indent(w->out, level + 1);
        add_quoted(w->out, m->key, m->key_len);
        wh_str_addn(w->out, ": ", 2);
        if (!write_value(w, m->value, level + 1))
            return false;
    }
    if (v->object.count > 0)
        add_indent(w->out, level);
    wh_str_addc(w->out, '}');
    return true;
}

static bool write_value(struct writer *w, const struct wh_value *v, unsigned level)
{
    if (w->out->len > w->max)
        return false;
    switch (wh_value_kind(v)) {
    case WH_NULL:
        wh_str_add(w->out, "null");
        break;
    case WH_BOOL:
        wh_str_add(w->out, v->boolean ? "true" : "false");
        break;
    case WH_NUMBER:
        if (w->exact)
            add_exact_number(w->out, v->number);
        else
            wh_number_add(w->out, v->number);
        break;
    case WH_STRING:
        add_quoted(w->out, v->string.text, v->string.len);
        break;
    case WH_ARRAY:
        return write_array(w, v, level);
    case WH_OBJECT:
        return write_object(w, v, level);
    }
    return true;
}

bool wh_value_add_json_max(struct wh_str *out, const struct wh_value *v, size_t max)
{
    struct writer w = {out, out->len + max, false};
    return write_value(&w, v, 0) && out->len <= w.max;
}

void wh_value_add_json(struct wh_str *out, const struct wh_value *v)
{
    struct writer w = {out, SIZE_MAX, false};
    write_value(&w, v, 0);
}

void wh_value_add_event_json(struct wh_str *out, const struct wh_value *v)
{
    struct writer w = {out, SIZE_MAX, true};
    write_value(&w, v, 0);
}

cJSON *wh_value_to_json(const struct wh_value *v)
{
    cJSON *json;
    switch (wh_value_kind(v)) {
    case WH_BOOL:
        return cJSON_CreateBool(v->boolean);
    case WH_NUMBER:
        return cJSON_CreateNumber(v->number);
    case WH_STRING:
        return cJSON_CreateString(v->string.text);
    case WH_ARRAY:
        json = cJSON_CreateArray();
        for (size_t i = 0; i < v->array.count; i++)
            cJSON_AddItemToArray(json, wh_value_to_json(v->array.items[i]));
        return json;
    case WH_OBJECT:
        json = cJSON_CreateObject();
        for (size_t i = 0; i < v->object.count; i++)
            cJSON_AddItemToObject(json, v->object.members[i].key,
                                  wh_value_to_json(v->object.members[i].value));
        return json;
    case WH_NULL:
        break;
    }
    return cJSON_CreateNull();
}

cJSON *wh_value_to_context_data(const struct wh_value *v)
{
    enum wh_kind kind = wh_value_kind(v);
    if (kind < WH_ARRAY)
        return wh_value_to_json(v);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "t", kind == WH_ARRAY ? 1 : v->case_sensitive ? 5 : 2);
    if (wh_value_count(v) == 0)
        return json;
    cJSON *list = cJSON_AddArrayToObject(json, kind == WH_ARRAY ? "a" : "d");
    if (kind == WH_ARRAY) {
        for (size_t i = 0; i < v->array.count; i++)
            cJSON_AddItemToArray(list, wh_value_to_context_data(v->array.items[i]));
        return json;
    }
    for (size_t i = 0; i < v->object.count; i++) {
        cJSON *pair = cJSON_CreateObject();
        cJSON_AddStringToObject(pair, "k", v->object.members[i].key);
        cJSON_AddItemToObject(pair, "v", wh_value_to_context_data(v->object.members[i].value));
        cJSON_AddItemToArray(list, pair);
    }
    return json;
}
