/* Values from JSON trees: the service's ContextData (job-execution.md §1) and plain JSON. */
#include "value_impl.h"

struct budget {
    const char *what;
    size_t items; /* left */
    unsigned depth;
    struct wh_error *err;
};

static bool spend(struct budget *b)
{
    if (b->items == 0) {
        wh_fail(b->err, WH_E_LIMIT, "%s: more than %u values", b->what, WH_MAX_VALUE_ITEMS);
        return false;
    }
    b->items--;
    if (b->depth > WH_MAX_VALUE_DEPTH) {
        wh_fail(b->err, WH_E_LIMIT, "%s: more than %d levels of arrays and objects", b->what,
                WH_MAX_VALUE_DEPTH);
        return false;
    }
    return true;
}

static struct wh_value *scalar(const cJSON *json)
{
    if (cJSON_IsString(json))
        return wh_value_string(json->valuestring);
    if (cJSON_IsBool(json))
        return wh_value_bool(cJSON_IsTrue(json));
    if (cJSON_IsNumber(json))
        return wh_value_number(json->valuedouble);
    return NULL;
}

static struct wh_value *context_data(const cJSON *json, struct budget *b);

static struct wh_value *context_array(const cJSON *list, struct budget *b)
{
    wh_autovalue *array = wh_value_array();
    const cJSON *item;
    b->depth++;
    cJSON_ArrayForEach(item, list)
    {
        struct wh_value *v = context_data(item, b);
        if (!v)
            return NULL;
        wh_array_add_take(array, v);
    }
    b->depth--;
    return wh_steal(&array);
}

static struct wh_value *context_dictionary(const cJSON *list, bool case_sensitive, struct budget *b)
{
    wh_autovalue *object = case_sensitive ? wh_value_object_case_sensitive() : wh_value_object();
    const cJSON *pair;
    b->depth++;
    cJSON_ArrayForEach(pair, list)
    {
        const char *key = wh_json_string(pair, "k");
        if (!key) {
            wh_fail(b->err, WH_E_PARSE, "%s: a member of a dictionary has no text k", b->what);
            return NULL;
        }
        struct wh_value *v = context_data(wh_json_get(pair, "v"), b);
        if (!v)
            return NULL;
        wh_object_set_take(object, key, v);
    }
    b->depth--;
    return wh_steal(&object);
}

static struct wh_value *context_typed(const cJSON *json, struct budget *b)
{
    int64_t type = wh_json_int(json, "t", 0);
    const char *field = type == 1 ? "a" : "d";
    if (type == 1 || type == 2 || type == 5) {
        const cJSON *list = wh_json_get(json, field);
        if (list && !cJSON_IsNull(list) && !cJSON_IsArray(list)) {
            wh_fail(b->err, WH_E_PARSE, "%s: %s of a value of type %d is no array", b->what, field,
                    (int)type);
            return NULL;
        }
        return type == 1 ? context_array(list, b) : context_dictionary(list, type == 5, b);
    }
    if (type == 3)
        return wh_value_bool(wh_json_bool(json, "b", false));
    if (type == 4) {
        const cJSON *n = wh_json_get(json, "n");
        return wh_value_number(cJSON_IsNumber(n) ? n->valuedouble : 0);
    }
    if (type == 0) {
        const char *text = wh_json_string(json, "s");
        return wh_value_string(text ? text : "");
    }
    wh_fail(b->err, WH_E_PARSE, "%s: type %lld of a value is unknown", b->what, (long long)type);
    return NULL;
}

static struct wh_value *context_data(const cJSON *json, struct budget *b)
{
    if (!spend(b))
        return NULL;
    if (!json || cJSON_IsNull(json))
        return wh_value_null();
    struct wh_value *v = scalar(json);
    if (v)
        return v;
    if (cJSON_IsObject(json))
        return context_typed(json, b);
    wh_fail(b->err, WH_E_PARSE, "%s: a bare array stands where a value is due", b->what);
    return NULL;
}

struct wh_value *wh_value_from_context_data(const cJSON *json, const char *what, struct wh_error *err)
{
    struct budget b = {what, WH_MAX_VALUE_ITEMS, 0, err};
    return context_data(json, &b);
}

static struct wh_value *plain(const cJSON *json, struct budget *b)
{
    if (!spend(b))
        return NULL;
    struct wh_value *v = scalar(json);
    if (v)
        return v;
    const cJSON *item;
    if (cJSON_IsArray(json) || cJSON_IsObject(json)) {
        wh_autovalue *out = cJSON_IsArray(json) ? wh_value_array() : wh_value_object();
        b->depth++;
        cJSON_ArrayForEach(item, json)
        {
            v = plain(item, b);
            if (!v)
                return NULL;
            if (cJSON_IsArray(json))
                wh_array_add_take(out, v);
            else
                wh_object_set_take(out, item->string ? item->string : "", v);
        }
        b->depth--;
        return wh_steal(&out);
    }
    return wh_value_null();
}

struct wh_value *wh_value_from_json(const cJSON *json, struct wh_error *err)
{
    struct budget b = {"JSON", WH_MAX_VALUE_ITEMS, 0, err};
    return plain(json, &b);
}
