/* Fields of twirp's messages: JSON in the names of two spellings, or protobuf; one table for both. */
#include <math.h>

#include "cachesvc/internal.h"

const cJSON *svc_field(const cJSON *object, const char *name)
{
    const cJSON *found = wh_json_get(object, name);
    if (found)
        return found;
    char camel[64]; /* names are compared in any case */
    size_t n = 0;
    for (const char *p = name; *p && n + 1 < sizeof(camel); p++)
        if (*p != '_')
            camel[n++] = *p;
    camel[n] = '\0';
    return wh_json_get(object, camel);
}

const char *svc_field_text(struct request *r, const cJSON *object, const char *name, size_t max)
{
    const cJSON *value = svc_field(object, name);
    if (!cJSON_IsString(value) || value->valuestring[0] == '\0')
        svc_refuse(r, "invalid_argument", "%s is missing", name);
    else if (strlen(value->valuestring) > max)
        svc_refuse(r, "invalid_argument", "%s has more than %zu bytes", name, max);
    else
        return value->valuestring;
    return NULL;
}

bool svc_field_int(struct request *r, const cJSON *object, const char *name, int64_t *out)
{
    const cJSON *value = svc_field(object, name);
    if (!value || cJSON_IsNull(value)) {
        *out = 0;
        return true;
    }
    if (cJSON_IsString(value) && wh_parse_i64(value->valuestring, 0, INT64_MAX, out))
        return true;
    if (cJSON_IsNumber(value) && value->valuedouble >= 0 && value->valuedouble <= 9007199254740992.0 &&
        floor(value->valuedouble) == value->valuedouble) {
        *out = (int64_t)value->valuedouble;
        return true;
    }
    svc_refuse(r, "invalid_argument", "%s is not a number of bytes", name);
    return false;
}

/* ---- protobuf: varints and strings are all that these messages have ---- */

static bool take_varint(struct wh_reader *in, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        int byte = wh_reader_next(in);
        if (byte < 0)
            return false;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static bool take_field(struct wh_reader *in, unsigned wire, uint64_t *number, struct wh_view *bytes)
{
    switch (wire) {
    case 0:
        return take_varint(in, number);
    case 1:
        return wh_reader_bytes(in, 8, bytes);
    case 2:
        return take_varint(in, number) && *number <= in->len && wh_reader_bytes(in, (size_t)*number, bytes);
    case 5:
        return wh_reader_bytes(in, 4, bytes);
    default:
        return false;
    }
}

static void put_field(cJSON *out, const struct field *f, uint64_t number, struct wh_view bytes)
{
    if (f->type == 'i' || f->type == 'b') {
        cJSON_DeleteItemFromObject(out, f->name);
        wh_autofree char *text = wh_printf("%lld", (long long)number);
        wh_json_add_string(out, f->name, text);
        return;
    }
    wh_autofree char *text = wh_view_dup(bytes);
    if (f->type == 'S') {
        cJSON *list = cJSON_GetObjectItem(out, f->name);
        cJSON_AddItemToArray(list ? list : cJSON_AddArrayToObject(out, f->name), cJSON_CreateString(text));
        return;
    }
    cJSON_DeleteItemFromObject(out, f->name);
    wh_json_add_string(out, f->name, text);
}

cJSON *svc_protobuf_read(const void *data, size_t len, const struct field *fields, size_t n,
                         struct wh_error *err)
{
    struct wh_reader in = wh_reader_of(data, len);
    wh_autojson *out = cJSON_CreateObject();
    while (!wh_reader_end(&in)) {
        uint64_t tag = 0, number = 0;
        struct wh_view bytes = {NULL, 0};
        if (!take_varint(&in, &tag) || !take_field(&in, (unsigned)(tag & 7), &number, &bytes)) {
            wh_fail(err, WH_E_PARSE, "the body is no protobuf message");
            return NULL;
        }
        for (size_t i = 0; i < n; i++) {
            bool text = fields[i].type == 's' || fields[i].type == 'S';
            if (fields[i].number != tag >> 3 || (tag & 7) != (text ? 2U : 0U))
                continue;
            if (text && memchr(bytes.data, '\0', bytes.len)) {
                wh_fail(err, WH_E_PARSE, "%s holds a NUL byte", fields[i].name);
                return NULL;
            }
            put_field(out, &fields[i], number, bytes);
        }
    }
    return wh_steal(&out);
}

static void add_varint(struct wh_str *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        wh_str_addc(out, (char)(value | 0x80));
    wh_str_addc(out, (char)value);
}

void svc_protobuf_write(const cJSON *json, const struct field *fields, size_t n, struct wh_str *out)
{
    for (size_t i = 0; i < n; i++) {
        const cJSON *value = cJSON_GetObjectItem(json, fields[i].name);
        if (!value)
            continue;
        if (fields[i].type == 's' && cJSON_IsString(value)) {
            add_varint(out, (uint64_t)fields[i].number << 3 | 2);
            add_varint(out, strlen(value->valuestring));
            wh_str_add(out, value->valuestring);
        } else {
            int64_t number = cJSON_IsBool(value) ? cJSON_IsTrue(value) : wh_json_int(json, fields[i].name, 0);
            add_varint(out, (uint64_t)fields[i].number << 3);
            add_varint(out, (uint64_t)number);
        }
    }
}

/* ---- a call's body and answer ---- */

/* An escaped NUL would end a text early. */
static bool has_nul(const struct wh_str *body)
{
    for (const char *at = wh_str_text(body); (at = strstr(at, "\\u0000")) != NULL; at++) {
        size_t slashes = 0;
        for (const char *p = at; p > body->data && p[-1] == '\\'; p--)
            slashes++;
        if (slashes % 2 == 0)
            return true;
    }
    return false;
}

cJSON *svc_fields_read(struct request *r)
{
    wh_autoerror err = {0};
    if (r->protobuf && r->call && r->call->in) {
        cJSON *in = svc_protobuf_read(wh_str_text(&r->body), r->body.len, r->call->in, r->call->nin, &err);
        if (!in)
            svc_refuse(r, "malformed", "%s", wh_error_text(&err));
        return in;
    }
    wh_autojson *in = wh_json_parse(wh_str_text(&r->body), r->body.len, WH_MAX_CACHE_BODY, "the body", &err);
    if (!in)
        svc_refuse(r, "malformed", "%s", wh_error_text(&err));
    else if (!cJSON_IsObject(in))
        svc_refuse(r, "malformed", "the body is no JSON object");
    else if (has_nul(&r->body))
        svc_refuse(r, "malformed", "the body has a text with a NUL byte");
    else
        return wh_steal(&in);
    return NULL;
}

void svc_fields_answer(struct request *r, cJSON *json)
{
    if (!r->protobuf || !r->call->out) {
        svc_answer_json(r, 200, json);
        return;
    }
    wh_str_clear(&r->answer.body);
    svc_protobuf_write(json, r->call->out, r->call->nout, &r->answer.body);
    r->answer.status = 200;
    r->answer.type = "application/protobuf";
    cJSON_Delete(json);
}
