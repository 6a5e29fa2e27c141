/* The bounds-checked reader. */
#include "wherry/base/str.h"

struct wh_reader wh_reader_of(const void *data, size_t len)
{
    return (struct wh_reader){data, len, 0};
}

int wh_reader_peek_at(const struct wh_reader *r, size_t ahead)
{
    return ahead < r->len - r->pos ? r->data[r->pos + ahead] : -1;
}

int wh_reader_peek(const struct wh_reader *r)
{
    return wh_reader_peek_at(r, 0);
}

int wh_reader_next(struct wh_reader *r)
{
    return r->pos < r->len ? r->data[r->pos++] : -1;
}

bool wh_reader_take(struct wh_reader *r, char c)
{
    if (wh_reader_peek(r) != (unsigned char)c)
        return false;
    r->pos++;
    return true;
}

bool wh_reader_take_text(struct wh_reader *r, const char *text)
{
    size_t n = strlen(text);
    if (n > r->len - r->pos || (n > 0 && memcmp(r->data + r->pos, text, n) != 0))
        return false;
    r->pos += n;
    return true;
}

bool wh_reader_bytes(struct wh_reader *r, size_t n, struct wh_view *out)
{
    if (n > r->len - r->pos)
        return false;
    *out = (struct wh_view){(const char *)r->data + r->pos, n};
    r->pos += n;
    return true;
}

bool wh_reader_line(struct wh_reader *r, struct wh_view *out)
{
    if (r->pos >= r->len)
        return false;
    const char *start = (const char *)r->data + r->pos;
    const char *end = memchr(start, '\n', r->len - r->pos);
    out->data = start;
    out->len = end ? (size_t)(end - start) : r->len - r->pos;
    r->pos += out->len + (end ? 1 : 0);
    return true;
}
