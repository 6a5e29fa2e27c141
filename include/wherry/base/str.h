/* Strings: a growing buffer to write to, a bounds-checked reader for every foreign byte, and the helpers that
 * <string.h> lacks. */
#ifndef WH_BASE_STR_H
#define WH_BASE_STR_H

#include "wherry/base/err.h"

/* ---- a growing byte buffer; always NUL-terminated once anything was appended; starts zeroed ---- */
struct wh_str {
    char *data; /* owned; NULL while empty and never written */
    size_t len; /* without the terminator */
    size_t cap;
};
void wh_str_free(struct wh_str *s);
void wh_str_clear(struct wh_str *s); /* keeps the memory */
void wh_str_reserve(struct wh_str *s, size_t more);
void wh_str_add(struct wh_str *s, const char *text);
void wh_str_addn(struct wh_str *s, const void *data, size_t len);
void wh_str_addc(struct wh_str *s, char c);
void wh_str_addf(struct wh_str *s, const char *fmt, ...) WH_PRINTF(2, 3);
void wh_str_truncate(struct wh_str *s, size_t len);
void wh_str_consume(struct wh_str *s, size_t len); /* drops bytes at the front */
const char *wh_str_text(const struct wh_str *s);   /* "" while empty; valid until the next write */
char *wh_str_steal(struct wh_str *s);              /* hands the memory on; never NULL; s is empty after */
#define wh_autostr __attribute__((cleanup(wh_str_free))) struct wh_str

/* ---- a view of bytes that somebody else owns ---- */
struct wh_view {
    const char *data;
    size_t len;
};
struct wh_view wh_view_of(const char *text);   /* NULL gives an empty view */
struct wh_view wh_view_trim(struct wh_view v); /* ASCII white space at both ends */
bool wh_view_eq(struct wh_view v, const char *text);
char *wh_view_dup(struct wh_view v);
/* Cuts v at the first sep: returns true with head/tail, false if there is none (head = v, tail empty). */
bool wh_view_split(struct wh_view v, char sep, struct wh_view *head, struct wh_view *tail);

/* ---- the reader: no foreign byte is walked by raw pointer ---- */
struct wh_reader {
    const unsigned char *data;
    size_t len;
    size_t pos;
};
struct wh_reader wh_reader_of(const void *data, size_t len);
static inline bool wh_reader_end(const struct wh_reader *r)
{
    return r->pos >= r->len;
}
int wh_reader_peek(const struct wh_reader *r);                  /* the next byte or -1 */
int wh_reader_peek_at(const struct wh_reader *r, size_t ahead); /* the byte `ahead` further or -1 */
int wh_reader_next(struct wh_reader *r);                        /* takes it; -1 at the end */
bool wh_reader_take(struct wh_reader *r, char c);               /* takes it if it is c */
bool wh_reader_take_text(struct wh_reader *r, const char *text);
/* The next n bytes; false (and nothing taken) if fewer are left. */
bool wh_reader_bytes(struct wh_reader *r, size_t n, struct wh_view *out);
/* The next line without its LF (a CR stays); false at the end. */
bool wh_reader_line(struct wh_reader *r, struct wh_view *out);

/* ---- small helpers ---- */
bool wh_streq(const char *a, const char *b);    /* NULL equals only NULL */
bool wh_streq_ci(const char *a, const char *b); /* ASCII case */
int wh_strcmp_ci(const char *a, const char *b, size_t n);
bool wh_starts_with(const char *text, const char *prefix);
bool wh_starts_with_ci(const char *text, const char *prefix);
bool wh_ends_with(const char *text, const char *suffix);
void wh_ascii_lower(char *text);
void wh_ascii_upper(char *text);
/* Whole-string decimal numbers within [min, max]; false otherwise. */
bool wh_parse_u64(const char *text, uint64_t max, uint64_t *out);
bool wh_parse_i64(const char *text, int64_t min, int64_t max, int64_t *out);
/* "512", "64k", "10MiB", "2g": bytes, powers of 1024. */
bool wh_parse_size(const char *text, uint64_t *out);
/* "12.3 MB" (powers of 1000, as the field's tools print). */
char *wh_format_size(uint64_t bytes);
/* Nearest of the NULL-terminated names within an edit distance of a third of its length; NULL if none is
 * near. */
const char *wh_did_you_mean(const char *text, const char *const *names);
/* Bytes that are not UTF-8 become U+FFFD. */
void wh_str_add_utf8(struct wh_str *s, const char *data, size_t len);
bool wh_utf8_valid(const char *data, size_t len);

/* ---- NULL-terminated vectors of owned strings ---- */
size_t wh_strv_len(char *const *strv);
void wh_strv_add(char ***strv, const char *text); /* copies; *strv may be NULL */
void wh_strv_take(char ***strv, char *text);      /* owns text */
char **wh_strv_dup(char *const *strv);
void wh_strv_free(char **strv);
bool wh_strv_has(char *const *strv, const char *text);
char *wh_strv_join(char *const *strv, const char *sep);
char **wh_strv_split(const char *text, char sep); /* keeps empty fields */

/* ---- environments: vectors of "NAME=value" ---- */
const char *wh_env_get(char *const *env, const char *name); /* NULL if unset */
void wh_env_set(char ***env, const char *name,
                const char *value); /* in place of an older value; NULL value removes */

#endif
