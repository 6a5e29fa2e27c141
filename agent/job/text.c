#include "text.h"

#include "wherry/job/logtext.h"
#include "wherry/job/value.h"

uint32_t wh_utf8_next(const char *data, size_t len, size_t *pos)
{
    const unsigned char *p = (const unsigned char *)data + *pos;
    size_t left = len - *pos;
    unsigned char c = p[0];
    if (c < 0x80) {
        *pos += 1;
        return c;
    }
    size_t need = c >= 0xF0 && c <= 0xF4 ? 4 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xC2 && c < 0xE0 ? 2 : 0;
    if (need == 0 || need > left) {
        *pos += 1;
        return 0xFFFD;
    }
    uint32_t cp = need == 2 ? c & 0x1Fu : need == 3 ? c & 0x0Fu : c & 0x07u;
    for (size_t i = 1; i < need; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            *pos += 1;
            return 0xFFFD;
        }
        cp = cp << 6 | (p[i] & 0x3Fu);
    }
    bool overlong = (need == 3 && cp < 0x800) || (need == 4 && cp < 0x10000);
    if (overlong || cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) {
        *pos += 1;
        return 0xFFFD;
    }
    *pos += need;
    return cp;
}

void wh_utf8_add(struct wh_str *out, uint32_t cp)
{
    char b[4];
    if (cp < 0x80) {
        wh_str_addc(out, (char)cp);
    } else if (cp < 0x800) {
        b[0] = (char)(0xC0 | cp >> 6);
        b[1] = (char)(0x80 | (cp & 0x3F));
        wh_str_addn(out, b, 2);
    } else if (cp < 0x10000) {
        b[0] = (char)(0xE0 | cp >> 12);
        b[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        b[2] = (char)(0x80 | (cp & 0x3F));
        wh_str_addn(out, b, 3);
    } else {
        b[0] = (char)(0xF0 | cp >> 18);
        b[1] = (char)(0x80 | (cp >> 12 & 0x3F));
        b[2] = (char)(0x80 | (cp >> 6 & 0x3F));
        b[3] = (char)(0x80 | (cp & 0x3F));
        wh_str_addn(out, b, 4);
    }
}

bool wh_is_space(uint32_t cp)
{
    return cp == ' ' || (cp >= 9 && cp <= 13) || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F ||
           cp == 0x3000;
}

struct wh_view wh_view_trim_unicode(struct wh_view v)
{
    size_t start = 0;
    while (start < v.len) {
        size_t next = start;
        if (!wh_is_space(wh_utf8_next(v.data, v.len, &next)))
            break;
        start = next;
    }
    size_t end = start;
    for (size_t pos = start; pos < v.len;) {
        if (!wh_is_space(wh_utf8_next(v.data, v.len, &pos)))
            end = pos;
    }
    return (struct wh_view){v.data + start, end - start};
}

size_t wh_utf16_length(const char *text, size_t len)
{
    size_t units = 0;
    for (size_t pos = 0; pos < len;)
        units += wh_utf8_next(text, len, &pos) >= 0x10000 ? 2 : 1;
    return units;
}

size_t wh_utf16_prefix(const char *text, size_t len, size_t units)
{
    if (len <= units)
        return len; /* a unit takes at least one byte */
    size_t pos = 0;
    while (pos < len) {
        size_t next = pos;
        size_t cost = wh_utf8_next(text, len, &next) >= 0x10000 ? 2 : 1;
        if (cost > units)
            break;
        units -= cost;
        pos = next;
    }
    return pos;
}

/* Order by UTF-16 units: what lies above U+FFFF sorts as its surrogates, before U+E000. */
static uint32_t utf16_order(uint32_t cp)
{
    return cp >= 0x10000 ? 0xD800 : cp >= 0xD800 ? cp + 0x800 : cp;
}

int wh_text_compare_ci(struct wh_view a, struct wh_view b)
{
    size_t i = 0, j = 0;
    while (i < a.len && j < b.len) {
        uint32_t x = wh_upper(wh_utf8_next(a.data, a.len, &i)), y = wh_upper(wh_utf8_next(b.data, b.len, &j));
        if (x == y)
            continue;
        uint32_t ox = utf16_order(x), oy = utf16_order(y);
        if (ox != oy)
            return ox < oy ? -1 : 1;
        return x < y ? -1 : 1;
    }
    return i < a.len ? 1 : j < b.len ? -1 : 0;
}

bool wh_text_equal_ci(struct wh_view a, struct wh_view b)
{
    size_t i = 0, j = 0;
    while (i < a.len && j < b.len) {
        unsigned char x = (unsigned char)a.data[i], y = (unsigned char)b.data[j];
        if (x < 0x80 && y < 0x80) {
            if (x != y && wh_upper(x) != wh_upper(y))
                return false;
            i++;
            j++;
        } else if (wh_upper(wh_utf8_next(a.data, a.len, &i)) != wh_upper(wh_utf8_next(b.data, b.len, &j))) {
            return false;
        }
    }
    return i >= a.len && j >= b.len;
}

/* Matches needle at the front of hay; *used is how many bytes of hay it took (case may change the length). */
static bool prefix_ci(struct wh_view hay, struct wh_view needle, size_t *used)
{
    size_t i = 0, j = 0;
    while (j < needle.len) {
        if (i >= hay.len)
            return false;
        if (wh_upper(wh_utf8_next(hay.data, hay.len, &i)) !=
            wh_upper(wh_utf8_next(needle.data, needle.len, &j)))
            return false;
    }
    *used = i;
    return true;
}

bool wh_view_starts_ci(struct wh_view text, struct wh_view prefix)
{
    size_t used;
    return prefix_ci(text, prefix, &used);
}

bool wh_view_ends_ci(struct wh_view text, struct wh_view suffix)
{
    /* Walk back as many code points as the suffix has. */
    size_t points = 0;
    for (size_t pos = 0; pos < suffix.len; points++)
        wh_utf8_next(suffix.data, suffix.len, &pos);
    size_t at = text.len;
    while (points > 0 && at > 0) {
        at--;
        while (at > 0 && ((unsigned char)text.data[at] & 0xC0) == 0x80)
            at--;
        points--;
    }
    return points == 0 && wh_text_equal_ci((struct wh_view){text.data + at, text.len - at}, suffix);
}

bool wh_view_contains_ci(struct wh_view hay, struct wh_view needle)
{
    if (needle.len == 0)
        return true;
    size_t first_end = 0;
    uint32_t first = wh_upper(wh_utf8_next(needle.data, needle.len, &first_end));
    struct wh_view tail = {needle.data + first_end, needle.len - first_end};
    for (size_t pos = 0; pos < hay.len;) {
        size_t used;
        if (wh_upper(wh_utf8_next(hay.data, hay.len, &pos)) == first &&
            prefix_ci((struct wh_view){hay.data + pos, hay.len - pos}, tail, &used))
            return true;
    }
    return false;
}

uint32_t wh_hash_ci(const char *data, size_t len)
{
    uint32_t hash = 2166136261u;
    for (size_t pos = 0; pos < len;) {
        unsigned char c = (unsigned char)data[pos];
        uint32_t cp;
        if (c < 0x80) {
            cp = c >= 'a' && c <= 'z' ? c - 32u : c;
            pos++;
        } else {
            cp = wh_upper(wh_utf8_next(data, len, &pos));
        }
        hash = (hash ^ cp) * 16777619u;
    }
    return hash;
}
