/* Filter patterns, by walking all states at once: no pattern takes long. */
#include "workflow/pattern.h"

enum kind { PLAIN, CLASS, NOT_SLASH, ANY, NOTHING };
enum times { ONCE, OPTIONAL, REPEAT, MANY }; /* MANY: none, too */

struct atom {
    enum kind kind;
    enum times times;
    uint32_t c;
    size_t from, to; /* CLASS: its characters, without the brackets. NOTHING takes no character: it goes on to
                        the next atom, or past the two after it (the folders of a double star) */
};

struct pattern {
    uint32_t chars[WH_MAX_FILTER_PATTERN];
    size_t nchars;
    struct atom atoms[WH_MAX_FILTER_PATTERN + 1];
    size_t n;
};

/* Characters of UTF-8; a byte that belongs to none is one of its own. More than max gives max + 1. */
static size_t decode(const char *text, uint32_t *out, size_t max)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; n++) {
        if (n == max)
            return max + 1;
        size_t len = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc0 ? 2 : 1;
        uint32_t c = len == 1 ? *p : *p & (0xffU >> (len + 1));
        size_t i = 1;
        while (i < len && (p[i] & 0xc0U) == 0x80) {
            c = c << 6 | (p[i] & 0x3fU);
            i++;
        }
        bool whole = i == len;
        out[n] = whole ? c : *p;
        p += whole ? len : 1;
    }
    return n;
}

/* ---- compiling ---- */

static size_t add_star(struct pattern *p, size_t i)
{
    bool two = i + 1 < p->nchars && p->chars[i + 1] == '*';
    bool folders = two && i + 2 < p->nchars && p->chars[i + 2] == '/';
    if (folders)
        p->atoms[p->n++] = (struct atom){.kind = NOTHING};
    p->atoms[p->n++] = (struct atom){.kind = two ? ANY : NOT_SLASH, .times = folders ? REPEAT : MANY};
    if (folders)
        p->atoms[p->n++] = (struct atom){.kind = PLAIN, .c = '/'};
    return folders ? 3 : two ? 2 : 1;
}

static size_t add_class(struct pattern *p, size_t i)
{
    size_t end = i + 1;
    while (end < p->nchars && p->chars[end] != ']')
        end++;
    bool closed = end < p->nchars && end > i + 1;
    p->atoms[p->n++] = closed ? (struct atom){.kind = CLASS, .from = i + 1, .to = end}
                              : (struct atom){.kind = PLAIN, .c = '['};
    return closed ? end + 1 - i : 1;
}

static size_t add_atom(struct pattern *p, size_t i)
{
    uint32_t c = p->chars[i];
    struct atom *before = p->n > 0 ? &p->atoms[p->n - 1] : NULL;
    if (c == '*')
        return add_star(p, i);
    if (c == '[')
        return add_class(p, i);
    if ((c == '?' || c == '+') && before) {
        if (before->times == ONCE)
            before->times = c == '?' ? OPTIONAL : REPEAT;
        return 1;
    }
    bool escaped = c == '\\' && i + 1 < p->nchars;
    p->atoms[p->n++] = (struct atom){.kind = PLAIN, .c = escaped ? p->chars[i + 1] : c};
    return escaped ? 2 : 1;
}

/* ---- matching ---- */

static bool in_class(const struct pattern *p, const struct atom *a, uint32_t c)
{
    for (size_t i = a->from; i < a->to; i++) {
        bool range = i + 2 < a->to && p->chars[i + 1] == '-';
        if (range ? c >= p->chars[i] && c <= p->chars[i + 2] : c == p->chars[i])
            return true;
        i += range ? 2 : 0;
    }
    return false;
}

static bool takes(const struct pattern *p, const struct atom *a, uint32_t c)
{
    switch (a->kind) {
    case CLASS:
        return in_class(p, a, c);
    case NOT_SLASH:
        return c != '/';
    case ANY:
        return true;
    case NOTHING:
        return false;
    default:
        return a->c == c;
    }
}

/* From state i one can be further without a character. */
static void close_over(const struct pattern *p, bool *states)
{
    for (size_t i = 0; i < p->n; i++) {
        if (!states[i])
            continue;
        bool empty = p->atoms[i].kind == NOTHING;
        if (empty || p->atoms[i].times == OPTIONAL || p->atoms[i].times == MANY)
            states[i + 1] = true;
        if (empty)
            states[i + 3] = true;
    }
}

static bool walk(const struct pattern *p, const uint32_t *text, size_t n)
{
    bool now[WH_MAX_FILTER_PATTERN + 2] = {true};
    close_over(p, now);
    for (size_t k = 0; k < n; k++) {
        bool next[WH_MAX_FILTER_PATTERN + 2] = {false};
        bool any = false;
        for (size_t i = 0; i < p->n; i++) {
            const struct atom *a = &p->atoms[i];
            if (!now[i] || !takes(p, a, text[k]))
                continue;
            any = next[i + 1] = true;
            next[i] |= a->times == REPEAT || a->times == MANY;
        }
        if (!any)
            return false;
        /* A repeated atom that was taken once may be left. */
        memcpy(now, next, sizeof now);
        close_over(p, now);
    }
    return now[p->n];
}

bool wh_filter_match(const char *pattern, const char *text)
{
    wh_autofree struct pattern *p = wh_calloc(1, sizeof *p);
    wh_autofree uint32_t *chars = wh_calloc(WH_MAX_FILTER_TEXT, sizeof *chars);
    p->nchars = decode(pattern, p->chars, WH_MAX_FILTER_PATTERN);
    size_t n = decode(text, chars, WH_MAX_FILTER_TEXT);
    if (p->nchars > WH_MAX_FILTER_PATTERN || n > WH_MAX_FILTER_TEXT)
        return false;
    for (size_t i = 0; i < p->nchars;)
        i += add_atom(p, i);
    return walk(p, chars, n);
}
