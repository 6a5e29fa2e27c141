#include "wherry/base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "wherry/base/fs.h"

/* cJSON recurses; its own limit is a build option of the library, so depth is checked before it parses. */
static int check_depth(const char *text, size_t len, const char *what, struct wh_error *err)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '\0')
            return wh_fail(err, WH_E_PARSE, "%s: a NUL byte at offset %zu is not JSON", what, i);
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if ((c == '{' || c == '[') && ++depth > WH_MAX_JSON_DEPTH) {
            return wh_fail(err, WH_E_LIMIT, "%s: nested deeper than %d levels at offset %zu", what,
                           WH_MAX_JSON_DEPTH, i);
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return 0;
}

cJSON *wh_json_parse(const char *text, size_t len, size_t max_bytes, const char *what, struct wh_error *err)
{
    if (len > max_bytes) {
        wh_fail(err, WH_E_LIMIT, "%s: %zu bytes are more than the limit of %zu", what, len, max_bytes);
        return NULL;
    }
    size_t skip = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    if (check_depth(text + skip, len - skip, what, err) < 0)
        return NULL;
    const char *end = NULL;
    cJSON *json = cJSON_ParseWithLengthOpts(text + skip, len - skip, &end, false);
    if (!json) {
        size_t at = end ? (size_t)(end - text) : 0;
        if (at + 1 >= len)
            wh_fail(err, WH_E_PARSE, "%s: the JSON ends too early (after %zu bytes)", what, len);
        else
            wh_fail(err, WH_E_PARSE, "%s: not valid JSON at offset %zu", what, at);
        return NULL;
    }
    for (; end < text + len; end++) {
        if (*end == ' ' || (*end >= '\t' && *end <= '\r'))
            continue;
        wh_fail(err, WH_E_PARSE, "%s: text after the JSON value at offset %zu", what, (size_t)(end - text));
        cJSON_Delete(json);
        return NULL;
    }
    return json;
}

cJSON *wh_json_read_file(const char *path, size_t max_bytes, struct wh_error *err)
{
    wh_autostr text = {0};
    if (wh_read_file(AT_FDCWD, path, max_bytes, &text, err) < 0)
        return NULL;
    return wh_json_parse(wh_str_text(&text), text.len, max_bytes, path, err);
}

void wh_json_free_ptr(cJSON **json)
{
    cJSON_Delete(*json);
    *json = NULL;
}

const cJSON *wh_json_get(const cJSON *object, const char *name)
{
    if (!cJSON_IsObject(object))
        return NULL;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!item)
        item = cJSON_GetObjectItem(object, name);
    return item && !cJSON_IsNull(item) ? item : NULL;
}

const char *wh_json_string(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(wh_json_get(object, name));
}

char *wh_json_text(const cJSON *object, const char *name)
{
    const cJSON *item = wh_json_get(object, name);
    if (cJSON_IsString(item))
        return wh_strdup(item->valuestring);
    if (cJSON_IsBool(item))
        return wh_strdup(cJSON_IsTrue(item) ? "true" : "false");
    if (!cJSON_IsNumber(item))
        return NULL;
    if (item->valuedouble == floor(item->valuedouble) && fabs(item->valuedouble) < 9007199254740992.0)
        return wh_printf("%" PRId64, (int64_t)item->valuedouble);
    return wh_printf("%.17g", item->valuedouble);
}

int64_t wh_json_int(const cJSON *object, const char *name, int64_t absent)
{
    const cJSON *item = wh_json_get(object, name);
    int64_t value;
    if (cJSON_IsString(item) || cJSON_IsRaw(item)) /* raw: what wh_json_add_int() makes of a large one */
        return wh_parse_i64(item->valuestring, INT64_MIN, INT64_MAX, &value) ? value : absent;
    if (!cJSON_IsNumber(item) || isnan(item->valuedouble))
        return absent;
    if (item->valuedouble >= 9223372036854775807.0)
        return INT64_MAX;
    if (item->valuedouble <= -9223372036854775808.0)
        return INT64_MIN;
    return (int64_t)item->valuedouble;
}

bool wh_json_bool(const cJSON *object, const char *name, bool absent)
{
    const cJSON *item = wh_json_get(object, name);
    if (cJSON_IsBool(item))
        return cJSON_IsTrue(item);
    if (cJSON_IsNumber(item))
        return item->valuedouble != 0;
    if (cJSON_IsString(item)) {
        if (wh_streq_ci(item->valuestring, "true"))
            return true;
        if (wh_streq_ci(item->valuestring, "false"))
            return false;
    }
    return absent;
}

const char *wh_json_need_string(const cJSON *object, const char *name, const char *what, struct wh_error *err)
{
    const cJSON *item = wh_json_get(object, name);
    if (cJSON_IsString(item) && item->valuestring[0] != '\0')
        return item->valuestring;
    if (!item)
        wh_fail(err, WH_E_PARSE, "%s: field %s is missing", what, name);
    else
        wh_fail(err, WH_E_PARSE, "%s: field %s must be a non-empty string", what, name);
    return NULL;
}

const cJSON *wh_json_need_object(const cJSON *object, const char *name, const char *what,
                                 struct wh_error *err)
{
    const cJSON *item = wh_json_get(object, name);
    if (cJSON_IsObject(item))
        return item;
    if (!item)
        wh_fail(err, WH_E_PARSE, "%s: field %s is missing", what, name);
    else
        wh_fail(err, WH_E_PARSE, "%s: field %s must be an object", what, name);
    return NULL;
}

void wh_json_add_string(cJSON *object, const char *name, const char *value)
{
    if (value && !cJSON_AddStringToObject(object, name, value))
        abort();
}

void wh_json_add_int(cJSON *object, const char *name, int64_t value)
{
    /* A raw item prints all 64 bits, but reads as no number; small values stay numbers. */
    if (value > -9007199254740992 && value < 9007199254740992) {
        if (!cJSON_AddNumberToObject(object, name, (double)value))
            abort();
        return;
    }
    char digits[24];
    snprintf(digits, sizeof(digits), "%" PRId64, value);
    if (!cJSON_AddRawToObject(object, name, digits))
        abort();
}

char *wh_json_print(const cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);
    if (!text)
        abort();
    return text;
}

/* cJSON's own formatted printer uses tabs; the service and the actions print two spaces. */
static void print_indented(const cJSON *item, size_t level, struct wh_str *out)
{
    if ((!cJSON_IsObject(item) && !cJSON_IsArray(item)) || !item->child) {
        wh_autofree char *text = wh_json_print(item);
        wh_str_add(out, text);
        return;
    }
    bool object = cJSON_IsObject(item);
    wh_str_add(out, object ? "{\n" : "[\n");
    for (const cJSON *child = item->child; child; child = child->next) {
        for (size_t i = 0; i <= level; i++)
            wh_str_add(out, "  ");
        if (object) {
            cJSON name = {.type = cJSON_String, .valuestring = child->string};
            wh_autofree char *quoted = wh_json_print(&name);
            wh_str_addf(out, "%s: ", quoted);
        }
        print_indented(child, level + 1, out);
        wh_str_add(out, child->next ? ",\n" : "\n");
    }
    for (size_t i = 0; i < level; i++)
        wh_str_add(out, "  ");
    wh_str_add(out, object ? "}" : "]");
}

char *wh_json_print_indented(const cJSON *json)
{
    struct wh_str out = {0};
    print_indented(json, 0, &out);
    return wh_str_steal(&out);
}
