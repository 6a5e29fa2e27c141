/* The growing buffer and views. */
#include "wherry/base/str.h"

#include <stdio.h>

void wh_str_free(struct wh_str *s)
{
    free(s->data);
    *s = (struct wh_str){0};
}

void wh_str_clear(struct wh_str *s)
{
    wh_str_truncate(s, 0);
}

void wh_str_reserve(struct wh_str *s, size_t more)
{
    size_t need;
    if (__builtin_add_overflow(s->len, more, &need) || __builtin_add_overflow(need, 1, &need))
        abort();
    if (need <= s->cap)
        return;
    size_t cap = s->cap ? s->cap : 64;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    s->data = wh_realloc(s->data, cap);
    s->cap = cap;
}

void wh_str_addn(struct wh_str *s, const void *data, size_t len)
{
    wh_str_reserve(s, len);
    if (len > 0)
        memcpy(s->data + s->len, data, len);
    s->len += len;
    s->data[s->len] = '\0';
}

void wh_str_add(struct wh_str *s, const char *text)
{
    wh_str_addn(s, text, strlen(text));
}

void wh_str_addc(struct wh_str *s, char c)
{
    wh_str_addn(s, &c, 1);
}

void wh_str_addf(struct wh_str *s, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    wh_str_reserve(s, 64);
    int len = vsnprintf(s->data + s->len, s->cap - s->len, fmt, args);
    if (len >= 0 && (size_t)len >= s->cap - s->len) {
        wh_str_reserve(s, (size_t)len);
        len = vsnprintf(s->data + s->len, s->cap - s->len, fmt, again);
    }
    va_end(again);
    va_end(args);
    if (len < 0)
        abort(); /* a broken format string: a bug of ours */
    s->len += (size_t)len;
}

void wh_str_truncate(struct wh_str *s, size_t len)
{
    if (len >= s->len)
        return;
    s->len = len;
    s->data[len] = '\0';
}

void wh_str_consume(struct wh_str *s, size_t len)
{
    if (len >= s->len) {
        wh_str_clear(s);
        return;
    }
    memmove(s->data, s->data + len, s->len - len + 1);
    s->len -= len;
}

const char *wh_str_text(const struct wh_str *s)
{
    return s->data ? s->data : "";
}

char *wh_str_steal(struct wh_str *s)
{
    char *data = s->data ? s->data : wh_strdup("");
    *s = (struct wh_str){0};
    return data;
}

struct wh_view wh_view_of(const char *text)
{
    return (struct wh_view){text, text ? strlen(text) : 0};
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct wh_view wh_view_trim(struct wh_view v)
{
    while (v.len > 0 && is_space(v.data[0])) {
        v.data++;
        v.len--;
    }
    while (v.len > 0 && is_space(v.data[v.len - 1]))
        v.len--;
    return v;
}

bool wh_view_eq(struct wh_view v, const char *text)
{
    return strlen(text) == v.len && (v.len == 0 || memcmp(v.data, text, v.len) == 0);
}

char *wh_view_dup(struct wh_view v)
{
    return wh_strndup(v.data, v.len);
}

bool wh_view_split(struct wh_view v, char sep, struct wh_view *head, struct wh_view *tail)
{
    const char *at = v.len ? memchr(v.data, sep, v.len) : NULL;
    if (!at) {
        *head = v;
        *tail = (struct wh_view){v.data ? v.data + v.len : NULL, 0};
        return false;
    }
    *tail = (struct wh_view){at + 1, v.len - (size_t)(at - v.data) - 1};
    *head = (struct wh_view){v.data, (size_t)(at - v.data)};
    return true;
}

/* ---- UTF-8 ---- */

/* Length of the valid sequence at s, or 0. */
static size_t utf8_sequence(const unsigned char *s, size_t len)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0; /* overlong, surrogate, beyond U+10FFFF */
    return n;
}

/* Most text is ASCII: eight bytes at a time, as far as it is. */
static size_t skip_ascii(const char *data, size_t len, size_t at)
{
    uint64_t word;
    while (len - at >= sizeof word) {
        memcpy(&word, data + at, sizeof word);
        if (word & UINT64_C(0x8080808080808080))
            break;
        at += sizeof word;
    }
    return at;
}

bool wh_utf8_valid(const char *data, size_t len)
{
    for (size_t i = skip_ascii(data, len, 0); i < len; i = skip_ascii(data, len, i)) {
        size_t n = utf8_sequence((const unsigned char *)data + i, len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

void wh_str_add_utf8(struct wh_str *s, const char *data, size_t len)
{
    size_t start = 0;
    for (size_t i = 0; i < len;) {
        size_t n = utf8_sequence((const unsigned char *)data + i, len - i);
        if (n > 0) {
            i += n;
            continue;
        }
        wh_str_addn(s, data + start, i - start);
        wh_str_add(s, "\xef\xbf\xbd");
        start = ++i;
    }
    if (len > start)
        wh_str_addn(s, data + start, len - start);
}
