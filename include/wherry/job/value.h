/* Values: the one model that contexts, expressions and templates share (job-execution.md §2.3, §1
 * ContextData).
 *
 * A value is null, boolean, number (double), string (UTF-8), array or object. Objects keep the order of
 * insertion; keys are looked up in any case (dictionaries) or exactly (the `env` context on Linux); writing a
 * key again under another case keeps the first spelling.
 *
 * Ownership: values are reference-counted, not thread-safe. A function that returns a `struct wh_value *`
 * gives the caller a reference unless it says "borrowed". Functions never keep an argument without taking a
 * reference of their own, except those named *_take. A NULL pointer is the null value everywhere. Scalars are
 * immutable. Arrays and objects are changed only by their maker before they are shared, or on purpose as a
 * live context (`steps`, `env`); never build a cycle. */
#ifndef WH_JOB_VALUE_H
#define WH_JOB_VALUE_H

#include "wherry/base/json.h"

enum wh_kind { WH_NULL, WH_BOOL, WH_NUMBER, WH_STRING, WH_ARRAY, WH_OBJECT };

#define WH_MAX_VALUE_DEPTH 64       /* fromJSON and ContextData: levels of arrays and objects */
#define WH_MAX_VALUE_ITEMS 1000000u /* values below one ContextData or JSON text */

struct wh_value;
void wh_value_unref(struct wh_value *v);
struct wh_value *wh_value_ref(const struct wh_value *v); /* returns v */
void wh_value_unref_ptr(struct wh_value **v);
#define wh_autovalue __attribute__((cleanup(wh_value_unref_ptr))) struct wh_value

/* ---- making ---- */
struct wh_value *wh_value_null(void);
struct wh_value *wh_value_bool(bool b);
struct wh_value *wh_value_number(double n);
struct wh_value *
wh_value_string(const char *text); /* NULL gives null; bytes that are not UTF-8 become U+FFFD */
struct wh_value *wh_value_stringn(const char *text, size_t len);
struct wh_value *
wh_value_string_take(struct wh_str *s); /* hands the buffer's bytes over without a copy; they must be UTF-8 */
struct wh_value *wh_value_array(void);
struct wh_value *wh_value_object(void);                /* keys in any case */
struct wh_value *wh_value_object_case_sensitive(void); /* keys exact */

/* ---- reading ---- */
enum wh_kind wh_value_kind(const struct wh_value *v);
bool wh_value_is_null(const struct wh_value *v);
bool wh_value_is_primitive(const struct wh_value *v); /* neither array nor object */
bool wh_value_as_bool(const struct wh_value *v);      /* of a boolean; false for others */
double wh_value_as_number(const struct wh_value *v);  /* of a number; NaN for others */
const char *
wh_value_text(const struct wh_value *v); /* of a string, NUL-terminated, borrowed; "" for others */
struct wh_view wh_value_view(const struct wh_value *v);

/* ---- arrays and objects ---- */
size_t wh_value_count(const struct wh_value *v); /* items or members; 0 for scalars */
const struct wh_value *wh_array_at(const struct wh_value *array, size_t i); /* borrowed; NULL past the end */
void wh_array_add(struct wh_value *array, const struct wh_value *item);
void wh_array_add_take(struct wh_value *array, struct wh_value *item);
bool wh_object_is_case_sensitive(const struct wh_value *object);
const struct wh_value *wh_object_get(const struct wh_value *object,
                                     const char *key); /* borrowed; NULL if absent */
const struct wh_value *wh_object_getn(const struct wh_value *object, const char *key, size_t len);
bool wh_object_has(const struct wh_value *object, const char *key);
const char *wh_object_key_at(const struct wh_value *object, size_t i); /* borrowed */
size_t wh_object_key_len_at(const struct wh_value *object, size_t i);
const struct wh_value *wh_object_value_at(const struct wh_value *object, size_t i); /* borrowed */
void wh_object_set(struct wh_value *object, const char *key, const struct wh_value *value);
void wh_object_setn(struct wh_value *object, const char *key, size_t len, const struct wh_value *value);
void wh_object_set_take(struct wh_value *object, const char *key, struct wh_value *value);
void wh_object_set_text(struct wh_value *object, const char *key, const char *text); /* NULL text: null */
void wh_object_remove(struct wh_value *object, const char *key);
/* A new array or object with the same children (shared). */
struct wh_value *wh_value_copy_shallow(const struct wh_value *v);

/* ---- coercions (§2.3) ---- */
bool wh_value_truthy(const struct wh_value *v);
double wh_value_to_number(const struct wh_value *v);
double wh_number_parse(const char *text, size_t len); /* the string rule: trims; NaN where it is no number */
void wh_number_add(struct wh_str *out, double n);     /* %.15G, NaN, Infinity; negative zero is 0 */
void wh_value_add_string(struct wh_str *out, const struct wh_value *v); /* "Array"/"Object" for collections */
char *wh_value_to_string(const struct wh_value *v);                     /* owned */
const char *wh_kind_name(enum wh_kind kind); /* "Null", "Boolean", "Number", "String", "Array", "Object" */
bool wh_value_equals(const struct wh_value *a, const struct wh_value *b);
bool wh_value_less(const struct wh_value *a, const struct wh_value *b); /* a < b */
/* Ordinal, case ignored by simple Unicode upper-casing, as .NET's OrdinalIgnoreCase: <0, 0, >0. */
int wh_text_compare_ci(struct wh_view a, struct wh_view b);
bool wh_text_equal_ci(struct wh_view a, struct wh_view b);

/* ---- JSON ---- */
/* ContextData ({"t":2,"d":[{"k","v"}]}; §1). `what` names it in errors. NULL on failure. */
struct wh_value *wh_value_from_context_data(const cJSON *json, const char *what, struct wh_error *err);
cJSON *wh_value_to_context_data(const struct wh_value *v); /* owned */
/* Plain JSON; objects become dictionaries with keys in any case, a later duplicate replaces the value. */
struct wh_value *wh_value_from_json(const cJSON *json, struct wh_error *err);
cJSON *wh_value_to_json(const struct wh_value *v); /* owned */
/* fromJSON()'s lenient reader: comments, single quotes, bare keys, trailing commas, NaN; what follows the
 * first value is ignored. */
struct wh_value *wh_value_parse_json(const char *text, size_t len, struct wh_error *err);
/* toJSON()'s layout: two spaces, "key": value, no newline at the end. */
void wh_value_add_json(struct wh_str *out, const struct wh_value *v);
/* event.json's layout: the same, but numbers keep all their digits and whole ones are integers. */
void wh_value_add_event_json(struct wh_str *out, const struct wh_value *v);
/* Adds the body of a JSON string (no quotes) escaped as toJSON does. */
void wh_json_escape_add(struct wh_str *out, const char *text, size_t len);

#endif
