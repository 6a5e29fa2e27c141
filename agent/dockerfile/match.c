/* Compiled path patterns. A pattern is a row of items; matching moves the set of reached items along the
 * path, so that no pattern takes more than items times bytes, however many stars it has. */
#include "dockerfile/match.h"

#include "dockerfile/text.h"

enum item_kind { ITEM_CHAR, ITEM_ANY, ITEM_STAR, ITEM_DEEP, ITEM_DEEP_SLASH, ITEM_CLASS };
struct range {
    int32_t from, to;
};
struct item {
    enum item_kind kind;
    int32_t c;              /* CHAR: code point, or 0x110000 + byte */
    size_t ranges, nranges; /* CLASS: in df_match.ranges */
    bool negated;
};
struct df_match {
    struct item *items;
    size_t n;
    struct range *ranges;
    size_t nranges;
    char *literal; /* what stands before the first special item */
    size_t literal_len;
    bool all_literal, deep;
    enum { SHAPE_ANY, SHAPE_LITERAL, SHAPE_PREFIX, SHAPE_SUFFIX } shape;
    char *suffix; /* SHAPE_SUFFIX: behind the leading double star */
    size_t suffix_len;
};

static int32_t char_at(const char *s, size_t len, size_t *n)
{
    int32_t cp;
    *n = df_decode(s, len, &cp);
    return cp >= 0 ? cp : 0x110000 + (unsigned char)s[0];
}

static int broken(const char *pattern, struct wh_error *err)
{
    return wh_fail(err, WH_E_PARSE, "syntax error in pattern: %s", pattern);
}

static void add_item(struct df_match *m, struct item item)
{
    if ((m->n & (m->n - 1)) == 0)
        m->items = wh_reallocarray(m->items, m->n ? m->n * 2 : 1, sizeof item);
    m->items[m->n++] = item;
}

static void add_range(struct df_match *m, int32_t from, int32_t to)
{
    if ((m->nranges & (m->nranges - 1)) == 0)
        m->ranges = wh_reallocarray(m->ranges, m->nranges ? m->nranges * 2 : 1, sizeof *m->ranges);
    m->ranges[m->nranges++] = (struct range){from, to};
}

/* A character of a class: not `-` or `]` unless escaped. */
static bool class_char(const char *p, size_t len, size_t *i, int32_t *out)
{
    if (*i >= len || p[*i] == '-' || p[*i] == ']')
        return false;
    if (p[*i] == '\\' && ++*i >= len)
        return false;
    size_t n;
    *out = char_at(p + *i, len - *i, &n);
    *i += n;
    return *i < len; /* the closing bracket must follow */
}

/* Behind '['. */
static bool compile_class(struct df_match *m, const char *p, size_t len, size_t *i)
{
    struct item item = {.kind = ITEM_CLASS, .ranges = m->nranges};
    if (*i < len && p[*i] == '^') {
        item.negated = true;
        ++*i;
    }
    do {
        int32_t from, to;
        if (!class_char(p, len, i, &from))
            return false;
        to = from;
        if (p[*i] == '-') {
            ++*i;
            if (!class_char(p, len, i, &to))
                return false;
        }
        add_range(m, from, to);
        item.nranges++;
    } while (p[*i] != ']');
    ++*i;
    add_item(m, item);
    return true;
}

static void star(struct df_match *m, const char *p, size_t len, size_t *i, bool double_star)
{
    size_t start = *i;
    while (*i < len && p[*i] == '*')
        ++*i;
    if (!double_star || *i - start < 2) {
        add_item(m, (struct item){.kind = ITEM_STAR});
        return;
    }
    m->deep = true;
    if (*i >= len) {
        add_item(m, (struct item){.kind = ITEM_DEEP});
        return;
    }
    if (p[*i] == '/')
        ++*i;
    add_item(m, (struct item){.kind = ITEM_DEEP_SLASH});
}

static bool compile(struct df_match *m, const char *p, size_t len, bool double_star)
{
    for (size_t i = 0; i < len;) {
        if (p[i] == '*') {
            star(m, p, len, &i, double_star);
        } else if (p[i] == '?') {
            add_item(m, (struct item){.kind = ITEM_ANY});
            i++;
        } else if (p[i] == '[') {
            i++;
            if (!compile_class(m, p, len, &i))
                return false;
        } else {
            if (p[i] == '\\' && ++i >= len)
                return false;
            size_t n;
            int32_t c = char_at(p + i, len - i, &n);
            add_item(m, (struct item){.kind = ITEM_CHAR, .c = c});
            i += n;
        }
    }
    return true;
}

/* The item as bytes. */
static void add_bytes(struct wh_str *out, int32_t c)
{
    if (c >= 0x110000) {
        wh_str_addc(out, (char)(c - 0x110000));
    } else if (c < 0x80) {
        wh_str_addc(out, (char)c);
    } else {
        if (c >= 0x10000) {
            wh_str_addc(out, (char)(0xf0 | (c >> 18)));
            wh_str_addc(out, (char)(0x80 | ((c >> 12) & 0x3f)));
        } else if (c >= 0x800) {
            wh_str_addc(out, (char)(0xe0 | (c >> 12)));
        }
        wh_str_addc(out, (char)(c >= 0x800 ? 0x80 | ((c >> 6) & 0x3f) : 0xc0 | (c >> 6)));
        wh_str_addc(out, (char)(0x80 | (c & 0x3f)));
    }
}

/* Literal start and the shapes that need no set: literal text alone, with a double star behind it, or behind
 * one. */
static void find_shape(struct df_match *m)
{
    wh_autostr literal = {0}, suffix = {0};
    size_t i = 0, k;
    while (i < m->n && m->items[i].kind == ITEM_CHAR)
        add_bytes(&literal, m->items[i++].c);
    m->literal_len = literal.len;
    m->literal = wh_str_steal(&literal);
    if (i == m->n) {
        m->shape = SHAPE_LITERAL;
    } else if (i + 1 == m->n && m->items[i].kind == ITEM_DEEP) {
        m->shape = SHAPE_PREFIX;
    } else if (i == 0 && m->items[0].kind == ITEM_DEEP_SLASH) {
        for (k = 1; k < m->n && m->items[k].kind == ITEM_CHAR; k++)
            add_bytes(&suffix, m->items[k].c);
        if (k < m->n)
            return;
        m->shape = SHAPE_SUFFIX;
        m->suffix_len = suffix.len;
        m->suffix = wh_str_steal(&suffix);
    }
}

int df_match_compile(const char *pattern, bool double_star, struct df_match **out, struct wh_error *err)
{
    size_t len = strlen(pattern);
    if (len > WH_MAX_PATTERN_BYTES)
        return wh_fail(err, WH_E_LIMIT, "a pattern is longer than %zu bytes", WH_MAX_PATTERN_BYTES);
    struct df_match *m = wh_calloc(1, sizeof *m);
    if (!compile(m, pattern, len, double_star)) {
        df_match_free(m);
        return broken(pattern, err);
    }
    find_shape(m);
    *out = m;
    return 0;
}

void df_match_free(struct df_match *m)
{
    if (!m)
        return;
    free(m->items);
    free(m->ranges);
    free(m->literal);
    free(m->suffix);
    free(m);
}

static bool in_class(const struct df_match *m, const struct item *item, int32_t c)
{
    bool in = false;
    for (size_t i = 0; i < item->nranges && !in; i++)
        in = c >= m->ranges[item->ranges + i].from && c <= m->ranges[item->ranges + i].to;
    return in != item->negated && c != '/';
}

/* How a place in the pattern is reached: entered (a double star may then stand for nothing) or stayed in. */
enum { STAYED = 1, ENTERED = 3 };

/* Places that need no character: behind stars, and behind `**` and its slash when nothing was taken or a
 * slash was taken last. */
static void close_set(const struct df_match *m, uint8_t *set, bool component_start)
{
    for (size_t i = 0; i < m->n; i++) {
        enum item_kind kind = m->items[i].kind;
        if (set[i] && (kind == ITEM_STAR || kind == ITEM_DEEP ||
                       (kind == ITEM_DEEP_SLASH && (component_start || set[i] == ENTERED))))
            set[i + 1] = ENTERED;
    }
}

static bool takes(const struct df_match *m, const struct item *item, int32_t c)
{
    switch (item->kind) {
    case ITEM_CHAR:
        return c == item->c;
    case ITEM_ANY:
    case ITEM_STAR:
        return c != '/';
    case ITEM_CLASS:
        return in_class(m, item, c);
    default:
        return true;
    }
}

static bool step(const struct df_match *m, const uint8_t *set, uint8_t *next, int32_t c)
{
    bool any = false;
    memset(next, 0, m->n + 1);
    for (size_t i = 0; i < m->n; i++) {
        if (!set[i] || !takes(m, &m->items[i], c))
            continue;
        enum item_kind kind = m->items[i].kind;
        if (kind == ITEM_STAR || kind == ITEM_DEEP || kind == ITEM_DEEP_SLASH)
            next[i] |= STAYED;
        else
            next[i + 1] = ENTERED;
        any = true;
    }
    return any;
}

static bool run(const struct df_match *m, const char *path, size_t len)
{
    uint8_t small[512];
    wh_autofree uint8_t *big = m->n + 1 > sizeof small / 2 ? wh_malloc((m->n + 1) * 2) : NULL;
    uint8_t *set = big ? big : small, *next = set + m->n + 1;
    memset(set, 0, m->n + 1);
    set[0] = ENTERED;
    bool component_start = true;
    for (size_t i = 0; i < len;) {
        close_set(m, set, component_start);
        size_t n;
        int32_t c = char_at(path + i, len - i, &n);
        if (!step(m, set, next, c))
            return false;
        component_start = c == '/';
        uint8_t *t = set;
        set = next;
        next = t;
        i += n;
    }
    close_set(m, set, component_start);
    return set[m->n] != 0;
}

bool df_match_path(const struct df_match *m, const char *path, size_t len)
{
    if (len < m->literal_len || memcmp(path, m->literal, m->literal_len) != 0)
        return false;
    switch (m->shape) {
    case SHAPE_LITERAL:
        return len == m->literal_len;
    case SHAPE_PREFIX:
        return true;
    case SHAPE_SUFFIX:
        return len >= m->suffix_len && memcmp(path + len - m->suffix_len, m->suffix, m->suffix_len) == 0 &&
               (len == m->suffix_len || path[len - m->suffix_len - 1] == '/');
    default:
        return run(m, path, len);
    }
}

const char *df_match_literal(const struct df_match *m, size_t *len)
{
    *len = m->literal_len;
    return m->literal;
}

bool df_match_has_double_star(const struct df_match *m)
{
    return m->deep;
}

char *df_clean_path(const char *path)
{
    wh_autostr out = {0};
    bool rooted = path[0] == '/';
    struct wh_view rest = wh_view_of(path), part;
    size_t depth = 0; /* components that `..` may take away */
    if (rooted)
        wh_str_addc(&out, '/');
    size_t root = out.len;
    for (bool more = true; more;) {
        more = wh_view_split(rest, '/', &part, &rest);
        if (part.len == 0 || wh_view_eq(part, "."))
            continue;
        if (wh_view_eq(part, "..") && depth > 0) {
            const char *slash = strrchr(wh_str_text(&out) + root, '/');
            wh_str_truncate(&out, slash ? (size_t)(slash - out.data) : root);
            depth--;
            continue;
        }
        if (wh_view_eq(part, "..") && rooted)
            continue;
        if (out.len > root)
            wh_str_addc(&out, '/');
        wh_str_addn(&out, part.data, part.len);
        depth += wh_view_eq(part, "..") ? 0 : 1;
    }
    if (out.len == 0)
        wh_str_addc(&out, '.');
    return wh_str_steal(&out);
}
