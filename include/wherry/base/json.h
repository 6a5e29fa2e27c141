/* JSON over cJSON: bounded parsing, lenient reading as the service's own clients read (names in any case,
 * scalars of any type; runner-protocol.md §0.1), strict reading with a named place, and numbers that keep 64
 * bits. */
#ifndef WH_BASE_JSON_H
#define WH_BASE_JSON_H

#include <cjson/cJSON.h>

#include "wherry/base/str.h"

#define WH_MAX_JSON_DEPTH 128
#define WH_MAX_JSON_BYTES ((size_t)64 << 20)

/* Parses a whole text (a UTF-8 BOM is skipped; trailing text, NUL bytes, more than max_bytes or
 * WH_MAX_JSON_DEPTH levels are errors that name `what` and the byte offset). The caller frees by
 * cJSON_Delete(). */
cJSON *wh_json_parse(const char *text, size_t len, size_t max_bytes, const char *what, struct wh_error *err);
cJSON *wh_json_read_file(const char *path, size_t max_bytes, struct wh_error *err);

void wh_json_free_ptr(cJSON **json);
#define wh_autojson __attribute__((cleanup(wh_json_free_ptr))) cJSON

/* Lenient getters: name in any case, NULL/default where absent or null. */
const cJSON *wh_json_get(const cJSON *object, const char *name);
const char *wh_json_string(const cJSON *object, const char *name); /* strings only; borrowed */
char *wh_json_text(const cJSON *object,
                   const char *name); /* string, number or bool as text; owned; NULL if absent */
int64_t wh_json_int(const cJSON *object, const char *name, int64_t absent); /* numbers or numeric strings */
bool wh_json_bool(const cJSON *object, const char *name, bool absent);      /* bool, "true"/"False", number */
/* Strict: fails with "<what>: field <name> ..." unless it is a (non-empty) string. */
const char *wh_json_need_string(const cJSON *object, const char *name, const char *what,
                                struct wh_error *err);
const cJSON *wh_json_need_object(const cJSON *object, const char *name, const char *what,
                                 struct wh_error *err);

/* Writing. */
void wh_json_add_string(cJSON *object, const char *name, const char *value); /* NULL: nothing is added */
void wh_json_add_int(cJSON *object, const char *name,
                     int64_t value);             /* exact for 64 bits (beyond 2^53 a raw item) */
char *wh_json_print(const cJSON *json);          /* compact; owned by the caller (free()) */
char *wh_json_print_indented(const cJSON *json); /* two spaces, `"key": value` */

#endif
