/* Values: representation, counting of references, arrays and objects. */
#include "value_impl.h"

#include <math.h>

#include "text.h"

#define INDEX_FROM 9 /* members; smaller objects are searched one by one */

static struct wh_value the_null = {.refs = WH_VALUE_IMMORTAL, .kind = WH_NULL};
static struct wh_value the_true = {.refs = WH_VALUE_IMMORTAL, .kind = WH_BOOL, .boolean = true};
static struct wh_value the_false = {.refs = WH_VALUE_IMMORTAL, .kind = WH_BOOL, .boolean = false};

struct wh_value *wh_value_ref(const struct wh_value *v)
{
    struct wh_value *mine = v ? (struct wh_value *)(uintptr_t)v : &the_null;
    if (mine->refs != WH_VALUE_IMMORTAL)
        mine->refs++;
    return mine;
}

void wh_value_unref(struct wh_value *v)
{
    if (!v || v->refs == WH_VALUE_IMMORTAL || --v->refs > 0)
        return;
    if (v->kind == WH_STRING) {
        if (v->string.text != v->own_text)
            free(v->string.text);
    } else if (v->kind == WH_ARRAY) {
        for (size_t i = 0; i < v->array.count; i++)
            wh_value_unref(v->array.items[i]);
        free(v->array.items);
    } else if (v->kind == WH_OBJECT) {
        for (size_t i = 0; i < v->object.count; i++) {
            free(v->object.members[i].key);
            wh_value_unref(v->object.members[i].value);
        }
        free(v->object.members);
        free(v->object.index);
    }
    free(v);
}

void wh_value_unref_ptr(struct wh_value **v)
{
    wh_value_unref(*v);
}

static struct wh_value *make(enum wh_kind kind, size_t extra)
{
    struct wh_value *v = wh_malloc(sizeof *v + extra);
    memset(v, 0, sizeof *v);
    v->refs = 1;
    v->kind = (unsigned char)kind;
    return v;
}

struct wh_value *wh_value_null(void)
{
    return &the_null;
}

struct wh_value *wh_value_bool(bool b)
{
    return b ? &the_true : &the_false;
}

struct wh_value *wh_value_number(double n)
{
    struct wh_value *v = make(WH_NUMBER, 0);
    v->number = n;
    return v;
}

struct wh_value *wh_value_string(const char *text)
{
    return text ? wh_value_stringn(text, strlen(text)) : wh_value_null();
}

struct wh_value *wh_value_stringn(const char *text, size_t len)
{
    if (!wh_utf8_valid(text, len)) {
        wh_autostr clean = {0};
        wh_str_add_utf8(&clean, text, len);
        return wh_value_string_take(&clean);
    }
    struct wh_value *v = make(WH_STRING, len + 1);
    v->string.text = v->own_text;
    v->string.len = len;
    if (len > 0)
        memcpy(v->own_text, text, len);
    v->own_text[len] = '\0';
    return v;
}

struct wh_value *wh_value_string_take(struct wh_str *s)
{
    struct wh_value *v = make(WH_STRING, 0);
    v->string.len = s->len;
    v->string.text = wh_str_steal(s);
    return v;
}

struct wh_value *wh_value_array(void)
{
    return make(WH_ARRAY, 0);
}

struct wh_value *wh_value_filtered_array(void)
{
    struct wh_value *v = make(WH_ARRAY, 0);
    v->filtered = true;
    return v;
}

struct wh_value *wh_value_object(void)
{
    return make(WH_OBJECT, 0);
}

struct wh_value *wh_value_object_case_sensitive(void)
{
    struct wh_value *v = make(WH_OBJECT, 0);
    v->case_sensitive = true;
    return v;
}

enum wh_kind wh_value_kind(const struct wh_value *v)
{
    return v ? (enum wh_kind)v->kind : WH_NULL;
}

bool wh_value_is_null(const struct wh_value *v)
{
    return wh_value_kind(v) == WH_NULL;
}

bool wh_value_is_primitive(const struct wh_value *v)
{
    return wh_value_kind(v) < WH_ARRAY;
}

bool wh_value_as_bool(const struct wh_value *v)
{
    return wh_value_kind(v) == WH_BOOL && v->boolean;
}

double wh_value_as_number(const struct wh_value *v)
{
    return wh_value_kind(v) == WH_NUMBER ? v->number : NAN;
}

const char *wh_value_text(const struct wh_value *v)
{
    return wh_value_kind(v) == WH_STRING ? v->string.text : "";
}

struct wh_view wh_value_view(const struct wh_value *v)
{
    if (wh_value_kind(v) != WH_STRING)
        return (struct wh_view){"", 0};
    return (struct wh_view){v->string.text, v->string.len};
}

size_t wh_value_count(const struct wh_value *v)
{
    enum wh_kind kind = wh_value_kind(v);
    return kind == WH_ARRAY ? v->array.count : kind == WH_OBJECT ? v->object.count : 0;
}

const struct wh_value *wh_array_at(const struct wh_value *array, size_t i)
{
    return wh_value_kind(array) == WH_ARRAY && i < array->array.count ? array->array.items[i] : NULL;
}

void wh_array_add(struct wh_value *array, const struct wh_value *item)
{
    wh_array_add_take(array, wh_value_ref(item));
}

void wh_array_add_take(struct wh_value *array, struct wh_value *item)
{
    if (array->array.count == array->array.cap) {
        array->array.cap = array->array.cap ? array->array.cap * 2 : 4;
        array->array.items = wh_reallocarray(array->array.items, array->array.cap, sizeof(struct wh_value *));
    }
    array->array.items[array->array.count++] = item ? item : wh_value_null();
}

/* ---- objects ---- */

static bool key_equals(const struct wh_value *object, const struct wh_member *m, const char *key, size_t len,
                       uint32_t hash)
{
    if (m->hash != hash)
        return false;
    if (m->key_len == len && memcmp(m->key, key, len) == 0)
        return true;
    return !object->case_sensitive &&
           wh_text_equal_ci((struct wh_view){m->key, m->key_len}, (struct wh_view){key, len});
}

static ptrdiff_t find(const struct wh_value *object, const char *key, size_t len, uint32_t hash)
{
    if (!object->object.index) {
        for (size_t i = 0; i < object->object.count; i++) {
            if (key_equals(object, &object->object.members[i], key, len, hash))
                return (ptrdiff_t)i;
        }
        return -1;
    }
    size_t mask = object->object.index_size - 1;
    for (size_t slot = hash & mask; object->object.index[slot] != 0; slot = (slot + 1) & mask) {
        size_t i = object->object.index[slot] - 1;
        if (key_equals(object, &object->object.members[i], key, len, hash))
            return (ptrdiff_t)i;
    }
    return -1;
}

static void index_put(struct wh_value *object, size_t i)
{
    size_t mask = object->object.index_size - 1;
    size_t slot = object->object.members[i].hash & mask;
    while (object->object.index[slot] != 0)
        slot = (slot + 1) & mask;
    object->object.index[slot] = (uint32_t)(i + 1);
}

static void index_rebuild(struct wh_value *object)
{
    free(object->object.index);
    object->object.index = NULL;
    if (object->object.count < INDEX_FROM)
        return;
    size_t size = 32;
    while (size < object->object.cap * 2)
        size *= 2;
    object->object.index = wh_calloc(size, sizeof *object->object.index);
    object->object.index_size = size;
    for (size_t i = 0; i < object->object.count; i++)
        index_put(object, i);
}

static void member_set(struct wh_value *object, const char *key, size_t len, struct wh_value *value)
{
    uint32_t hash = wh_hash_ci(key, len);
    ptrdiff_t at = find(object, key, len, hash);
    if (!value)
        value = wh_value_null();
    if (at >= 0) {
        struct wh_value *old = object->object.members[at].value;
        object->object.members[at].value = value;
        wh_value_unref(old);
        return;
    }
    bool grown = object->object.count == object->object.cap;
    if (grown) {
        object->object.cap = object->object.cap ? object->object.cap * 2 : 4;
        object->object.members =
            wh_reallocarray(object->object.members, object->object.cap, sizeof *object->object.members);
    }
    object->object.members[object->object.count++] =
        (struct wh_member){wh_strndup(key, len), len, hash, value};
    if (grown || (!object->object.index && object->object.count >= INDEX_FROM))
        index_rebuild(object);
    else if (object->object.index)
        index_put(object, object->object.count - 1);
}

bool wh_object_is_case_sensitive(const struct wh_value *object)
{
    return wh_value_kind(object) == WH_OBJECT && object->case_sensitive;
}

const struct wh_value *wh_object_getn(const struct wh_value *object, const char *key, size_t len)
{
    if (wh_value_kind(object) != WH_OBJECT)
        return NULL;
    ptrdiff_t at = find(object, key, len, wh_hash_ci(key, len));
    return at < 0 ? NULL : object->object.members[at].value;
}

const struct wh_value *wh_object_get(const struct wh_value *object, const char *key)
{
    return wh_object_getn(object, key, strlen(key));
}

bool wh_object_has(const struct wh_value *object, const char *key)
{
    return wh_object_get(object, key) != NULL;
}

const char *wh_object_key_at(const struct wh_value *object, size_t i)
{
    return wh_value_kind(object) == WH_OBJECT && i < object->object.count ? object->object.members[i].key
                                                                          : "";
}

size_t wh_object_key_len_at(const struct wh_value *object, size_t i)
{
    return wh_value_kind(object) == WH_OBJECT && i < object->object.count ? object->object.members[i].key_len
                                                                          : 0;
}

const struct wh_value *wh_object_value_at(const struct wh_value *object, size_t i)
{
    return wh_value_kind(object) == WH_OBJECT && i < object->object.count ? object->object.members[i].value
                                                                          : NULL;
}

void wh_object_set(struct wh_value *object, const char *key, const struct wh_value *value)
{
    member_set(object, key, strlen(key), wh_value_ref(value));
}

void wh_object_setn(struct wh_value *object, const char *key, size_t len, const struct wh_value *value)
{
    member_set(object, key, len, wh_value_ref(value));
}

void wh_object_set_take(struct wh_value *object, const char *key, struct wh_value *value)
{
    member_set(object, key, strlen(key), value);
}

void wh_object_set_text(struct wh_value *object, const char *key, const char *text)
{
    wh_object_set_take(object, key, wh_value_string(text));
}

void wh_object_remove(struct wh_value *object, const char *key)
{
    size_t len = strlen(key);
    ptrdiff_t at = find(object, key, len, wh_hash_ci(key, len));
    if (at < 0)
        return;
    struct wh_member gone = object->object.members[at];
    size_t after = object->object.count - (size_t)at - 1;
    memmove(&object->object.members[at], &object->object.members[at + 1], after * sizeof gone);
    object->object.count--;
    index_rebuild(object);
    free(gone.key);
    wh_value_unref(gone.value);
}

struct wh_value *wh_value_copy_shallow(const struct wh_value *v)
{
    if (wh_value_kind(v) == WH_ARRAY) {
        struct wh_value *copy = wh_value_array();
        for (size_t i = 0; i < v->array.count; i++)
            wh_array_add(copy, v->array.items[i]);
        return copy;
    }
    if (wh_value_kind(v) == WH_OBJECT) {
        struct wh_value *copy = make(WH_OBJECT, 0);
        copy->case_sensitive = v->case_sensitive;
        for (size_t i = 0; i < v->object.count; i++) {
            const struct wh_member *m = &v->object.members[i];
            member_set(copy, m->key, m->key_len, wh_value_ref(m->value));
        }
        return copy;
    }
    return wh_value_ref(v);
}
