/* JSON as Go's encoding/json prints it: digests of configs and manifests are over these bytes. */
#include <math.h>
#include <stdio.h>

#include "wherry/oci/image.h"

/* The length of the valid UTF-8 sequence at the reader, 0 if it is none. */
static size_t utf8_length(const struct wh_reader *r)
{
    for (size_t n = 2; n <= 4 && r->len - r->pos >= n; n++)
        if (wh_utf8_valid((const char *)r->data + r->pos, n))
            return n;
    return 0;
}

static void add_wide(struct wh_str *out, struct wh_reader *r)
{
    size_t n = utf8_length(r);
    struct wh_view v;
    if (n == 0) {
        wh_reader_next(r);
        wh_str_add(out, "\\ufffd");
        return;
    }
    wh_reader_bytes(r, n, &v);
    if (n == 3 && memcmp(v.data, "\xe2\x80\xa8", 3) == 0)
        wh_str_add(out, "\\u2028");
    else if (n == 3 && memcmp(v.data, "\xe2\x80\xa9", 3) == 0)
        wh_str_add(out, "\\u2029");
    else
        wh_str_addn(out, v.data, v.len);
}

static void add_string(struct wh_str *out, const char *text)
{
    struct wh_reader r = wh_reader_of(text, strlen(text));
    wh_str_addc(out, '"');
    while (!wh_reader_end(&r)) {
        int c = wh_reader_peek(&r);
        if (c >= 0x80) {
            add_wide(out, &r);
            continue;
        }
        wh_reader_next(&r);
        if (c == '"' || c == '\\')
            wh_str_addf(out, "\\%c", c);
        else if (c == '\n')
            wh_str_add(out, "\\n");
        else if (c == '\r')
            wh_str_add(out, "\\r");
        else if (c == '\t')
            wh_str_add(out, "\\t");
        else if (c == '\b')
            wh_str_add(out, "\\b");
        else if (c == '\f')
            wh_str_add(out, "\\f");
        else if (c < 0x20 || c == '<' || c == '>' || c == '&')
            wh_str_addf(out, "\\u%04x", (unsigned)c);
        else
            wh_str_addc(out, (char)c);
    }
    wh_str_addc(out, '"');
}

static void add_number(struct wh_str *out, double value)
{
    const double exact = 9007199254740992.0; /* 2^53 */
    if (!isfinite(value))
        wh_str_add(out, "0");
    else if (value == floor(value) && fabs(value) <= exact)
        wh_str_addf(out, "%lld", (long long)value);
    else
        wh_str_addf(out, "%.17g", value);
}

static void new_line(struct wh_str *out, int depth)
{
    if (depth < 0)
        return;
    wh_str_addc(out, '\n');
    for (int i = 0; i < depth; i++)
        wh_str_add(out, "  ");
}

/* depth: of indentation; negative prints compactly. */
static void add_value(struct wh_str *out, const cJSON *json, int depth)
{
    bool object = cJSON_IsObject(json);
    if (cJSON_IsString(json)) {
        add_string(out, json->valuestring);
    } else if (cJSON_IsNumber(json)) {
        add_number(out, json->valuedouble);
    } else if (cJSON_IsRaw(json)) {
        wh_str_add(out, json->valuestring);
    } else if (cJSON_IsBool(json)) {
        wh_str_add(out, cJSON_IsTrue(json) ? "true" : "false");
    } else if (!object && !cJSON_IsArray(json)) {
        wh_str_add(out, "null");
    } else {
        int inner = depth < 0 ? depth : depth + 1;
        wh_str_addc(out, object ? '{' : '[');
        for (const cJSON *child = json->child; child; child = child->next) {
            new_line(out, inner);
            if (object) {
                add_string(out, child->string ? child->string : "");
                wh_str_add(out, depth < 0 ? ":" : ": ");
            }
            add_value(out, child, inner);
            if (child->next)
                wh_str_addc(out, ',');
        }
        if (json->child)
            new_line(out, depth);
        wh_str_addc(out, object ? '}' : ']');
    }
}

char *wh_go_json(const cJSON *json)
{
    wh_autostr out = {0};
    add_value(&out, json, -1);
    return wh_str_steal(&out);
}

char *wh_go_json_indented(const cJSON *json)
{
    wh_autostr out = {0};
    add_value(&out, json, 0);
    return wh_str_steal(&out);
}

static int compare_members(const void *a, const void *b)
{
    const cJSON *const *left = a, *const *right = b;
    return strcmp((*left)->string, (*right)->string);
}

void wh_json_sort_members(cJSON *object)
{
    size_t n = 0;
    for (cJSON *child = object ? object->child : NULL; child; child = child->next)
        n++;
    if (n < 2)
        return;
    wh_autofree cJSON **members = wh_reallocarray(NULL, n, sizeof(cJSON *));
    n = 0;
    for (cJSON *child = object->child; child; child = child->next)
        members[n++] = child;
    qsort(members, n, sizeof(cJSON *), compare_members);
    object->child = members[0];
    for (size_t i = 0; i < n; i++) {
        members[i]->next = i + 1 < n ? members[i + 1] : NULL;
        members[i]->prev =
            i > 0 ? members[i - 1] : members[n - 1]; /* cJSON: the first one's prev is the last */
    }
}
