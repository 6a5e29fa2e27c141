/* Template tokens: making, copying, and the JSON of the wire (job-execution.md §1). */
#include "text.h"
#include "wherry/job/template.h"

struct wh_token *wh_token_new(enum wh_token_type type, int file, int line, int col)
{
    struct wh_token *t = wh_calloc(1, sizeof *t);
    t->type = type;
    t->file = file;
    t->line = line;
    t->col = col;
    return t;
}

void wh_token_free(struct wh_token *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->count; i++) {
        if (t->type == WH_TOKEN_SEQUENCE) {
            wh_token_free(t->items[i]);
        } else {
            wh_token_free(t->pairs[i].key);
            wh_token_free(t->pairs[i].value);
        }
    }
    free(t->items);
    free(t->pairs);
    free(t->text);
    free(t);
}

void wh_token_free_ptr(struct wh_token **t)
{
    wh_token_free(*t);
}

static struct wh_token *text_token(enum wh_token_type type, const char *text, size_t len)
{
    struct wh_token *t = wh_token_new(type, 0, 0, 0);
    t->text = wh_strndup(text, len);
    t->text_len = len;
    return t;
}

struct wh_token *wh_token_string(const char *text, size_t len)
{
    return text_token(WH_TOKEN_STRING, text, len);
}

struct wh_token *wh_token_expression(const char *text, size_t len)
{
    return text_token(WH_TOKEN_EXPRESSION, text, len);
}

/* Room for one more in a list that doubles at powers of two. */
static bool is_full(size_t count)
{
    return (count & (count - 1)) == 0;
}

void wh_token_add_item(struct wh_token *sequence, struct wh_token *item_taken)
{
    if (is_full(sequence->count))
        sequence->items =
            wh_reallocarray(sequence->items, WH_MAX(sequence->count * 2, 1), sizeof(struct wh_token *));
    sequence->items[sequence->count++] = item_taken;
}

void wh_token_add_pair(struct wh_token *mapping, struct wh_token *key_taken, struct wh_token *value_taken)
{
    if (is_full(mapping->count))
        mapping->pairs =
            wh_reallocarray(mapping->pairs, WH_MAX(mapping->count * 2, 1), sizeof *mapping->pairs);
    mapping->pairs[mapping->count++] = (struct wh_token_pair){key_taken, value_taken};
}

const struct wh_token *wh_token_get(const struct wh_token *mapping, const char *key)
{
    if (!mapping || mapping->type != WH_TOKEN_MAPPING)
        return NULL;
    for (size_t i = 0; i < mapping->count; i++) {
        const struct wh_token *k = mapping->pairs[i].key;
        if (k->type == WH_TOKEN_STRING &&
            wh_text_equal_ci((struct wh_view){k->text, k->text_len}, wh_view_of(key)))
            return mapping->pairs[i].value;
    }
    return NULL;
}

struct wh_token *wh_token_copy(const struct wh_token *t)
{
    if (!t)
        return NULL;
    struct wh_token *copy = wh_token_new(t->type, t->file, t->line, t->col);
    copy->text = t->text ? wh_strndup(t->text, t->text_len) : NULL;
    copy->text_len = t->text_len;
    copy->boolean = t->boolean;
    copy->number = t->number;
    for (size_t i = 0; i < t->count; i++) {
        if (t->type == WH_TOKEN_SEQUENCE)
            wh_token_add_item(copy, wh_token_copy(t->items[i]));
        else
            wh_token_add_pair(copy, wh_token_copy(t->pairs[i].key), wh_token_copy(t->pairs[i].value));
    }
    return copy;
}

/* ---- from JSON ---- */

struct token_reader {
    const char *what;
    unsigned depth;
    size_t events; /* left */
    struct wh_error *err;
};

static struct wh_token *read_token(const cJSON *json, struct token_reader *r);

static int fail(struct token_reader *r, enum wh_error_code code, const char *text)
{
    return wh_fail(r->err, code, "%s: %s", r->what, text);
}

static struct wh_token *read_scalar(const cJSON *json)
{
    struct wh_token *t;
    if (cJSON_IsString(json)) {
        if (wh_utf8_valid(json->valuestring, strlen(json->valuestring)))
            return wh_token_string(json->valuestring, strlen(json->valuestring));
        wh_autostr clean = {0};
        wh_str_add_utf8(&clean, json->valuestring, strlen(json->valuestring));
        return wh_token_string(wh_str_text(&clean), clean.len);
    }
    if (cJSON_IsBool(json)) {
        t = wh_token_new(WH_TOKEN_BOOL, 0, 0, 0);
        t->boolean = cJSON_IsTrue(json);
        return t;
    }
    if (cJSON_IsNumber(json)) {
        t = wh_token_new(WH_TOKEN_NUMBER, 0, 0, 0);
        t->number = json->valuedouble;
        return t;
    }
    return json && !cJSON_IsNull(json) ? NULL : wh_token_new(WH_TOKEN_NULL, 0, 0, 0);
}

static int read_text(struct wh_token *t, const cJSON *json, const char *field, struct token_reader *r)
{
    const cJSON *text = wh_json_get(json, field);
    if (text && !cJSON_IsString(text))
        return fail(r, WH_E_PARSE, "the text of a template token is no string");
    const char *s = text ? text->valuestring : "";
    wh_autostr clean = {0};
    wh_str_add_utf8(&clean, s, strlen(s));
    t->text_len = clean.len;
    t->text = wh_str_steal(&clean);
    return 0;
}

static int read_sequence(struct wh_token *t, const cJSON *json, struct token_reader *r)
{
    const cJSON *list = wh_json_get(json, "seq"), *item;
    if (list && !cJSON_IsNull(list) && !cJSON_IsArray(list))
        return fail(r, WH_E_PARSE, "seq of a template token is no array");
    cJSON_ArrayForEach(item, list)
    {
        struct wh_token *child = read_token(item, r);
        if (!child)
            return -1;
        wh_token_add_item(t, child);
    }
    return 0;
}

static int read_mapping(struct wh_token *t, const cJSON *json, struct token_reader *r)
{
    const cJSON *list = wh_json_get(json, "map"), *pair;
    if (list && !cJSON_IsNull(list) && !cJSON_IsArray(list))
        return fail(r, WH_E_PARSE, "map of a template token is no array");
    cJSON_ArrayForEach(pair, list)
    {
        if (!cJSON_IsObject(pair))
            return fail(r, WH_E_PARSE, "a member of map of a template token is no object");
        wh_autotoken *key = read_token(wh_json_get(pair, "key"), r);
        struct wh_token *value = key ? read_token(wh_json_get(pair, "value"), r) : NULL;
        if (!value)
            return -1;
        if (key->type == WH_TOKEN_SEQUENCE || key->type == WH_TOKEN_MAPPING) {
            wh_token_free(value);
            return fail(r, WH_E_PARSE, "a key of a template token is a collection");
        }
        wh_token_add_pair(t, wh_steal(&key), value);
    }
    return 0;
}

static int position(const cJSON *json, const char *name)
{
    int64_t n = wh_json_int(json, name, 0);
    return n > 0 && n <= INT32_MAX ? (int)n : 0;
}

static struct wh_token *read_typed(const cJSON *json, struct token_reader *r)
{
    int64_t type = wh_json_int(json, "type", 0);
    if (type < WH_TOKEN_STRING || type > WH_TOKEN_NULL) {
        wh_fail(r->err, WH_E_PARSE, "%s: type %lld of a template token is unknown", r->what, (long long)type);
        return NULL;
    }
    wh_autotoken *t = wh_token_new((enum wh_token_type)type, position(json, "file"), position(json, "line"),
                                   position(json, "col"));
    const cJSON *n;
    int result = 0;
    switch (t->type) {
    case WH_TOKEN_STRING:
        result = read_text(t, json, "lit", r);
        break;
    case WH_TOKEN_EXPRESSION:
        result = read_text(t, json, "expr", r);
        break;
    case WH_TOKEN_SEQUENCE:
        result = read_sequence(t, json, r);
        break;
    case WH_TOKEN_MAPPING:
        result = read_mapping(t, json, r);
        break;
    case WH_TOKEN_BOOL:
        t->boolean = wh_json_bool(json, "bool", false);
        break;
    case WH_TOKEN_NUMBER:
        n = wh_json_get(json, "num");
        t->number = cJSON_IsNumber(n) ? n->valuedouble : 0;
        break;
    case WH_TOKEN_INSERT:
    case WH_TOKEN_NULL:
        break;
    }
    return result < 0 ? NULL : wh_steal(&t);
}

static struct wh_token *read_token(const cJSON *json, struct token_reader *r)
{
    if (r->events-- == 0 || r->depth > WH_MAX_TEMPLATE_DEPTH) {
        fail(r, WH_E_LIMIT,
             r->depth > WH_MAX_TEMPLATE_DEPTH ? "Maximum object depth exceeded" : "too many tokens");
        return NULL;
    }
    struct wh_token *t = read_scalar(json);
    if (t)
        return t;
    if (!cJSON_IsObject(json)) {
        fail(r, WH_E_PARSE, "an array stands where a template token is due");
        return NULL;
    }
    r->depth++;
    t = read_typed(json, r);
    r->depth--;
    return t;
}

struct wh_token *wh_token_from_json(const cJSON *json, const char *what, struct wh_error *err)
{
    struct token_reader r = {what, 1, WH_MAX_TEMPLATE_EVENTS, err};
    return read_token(json, &r);
}

/* ---- to JSON ---- */

static void write_payload(cJSON *json, const struct wh_token *t)
{
    cJSON *list;
    switch (t->type) {
    case WH_TOKEN_STRING:
        cJSON_AddStringToObject(json, "lit", t->text ? t->text : "");
        break;
    case WH_TOKEN_EXPRESSION:
        cJSON_AddStringToObject(json, "expr", t->text ? t->text : "");
        break;
    case WH_TOKEN_INSERT:
        cJSON_AddStringToObject(json, "directive", "insert");
        break;
    case WH_TOKEN_BOOL:
        cJSON_AddBoolToObject(json, "bool", t->boolean);
        break;
    case WH_TOKEN_NUMBER:
        cJSON_AddNumberToObject(json, "num", t->number);
        break;
    case WH_TOKEN_SEQUENCE:
        list = cJSON_AddArrayToObject(json, "seq");
        for (size_t i = 0; i < t->count; i++)
            cJSON_AddItemToArray(list, wh_token_to_json(t->items[i]));
        break;
    case WH_TOKEN_MAPPING:
        list = cJSON_AddArrayToObject(json, "map");
        for (size_t i = 0; i < t->count; i++) {
            cJSON *pair = cJSON_CreateObject();
            cJSON_AddItemToObject(pair, "key", wh_token_to_json(t->pairs[i].key));
            cJSON_AddItemToObject(pair, "value", wh_token_to_json(t->pairs[i].value));
            cJSON_AddItemToArray(list, pair);
        }
        break;
    case WH_TOKEN_NULL:
        break;
    }
}

cJSON *wh_token_to_json(const struct wh_token *t)
{
    if (!t)
        return cJSON_CreateNull();
    if (t->file == 0 && t->line == 0 && t->col == 0) { /* without a position scalars are bare */
        if (t->type == WH_TOKEN_STRING)
            return cJSON_CreateString(t->text ? t->text : "");
        if (t->type == WH_TOKEN_BOOL)
            return cJSON_CreateBool(t->boolean);
        if (t->type == WH_TOKEN_NUMBER)
            return cJSON_CreateNumber(t->number);
        if (t->type == WH_TOKEN_NULL)
            return cJSON_CreateNull();
    }
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "type", t->type);
    if (t->file)
        cJSON_AddNumberToObject(json, "file", t->file);
    if (t->line)
        cJSON_AddNumberToObject(json, "line", t->line);
    if (t->col)
        cJSON_AddNumberToObject(json, "col", t->col);
    write_payload(json, t);
    return json;
}
