/* Matching of ${name#pattern} and its relatives: a set of pattern places, moved along the value one character
 * a step. The work is counted, since pattern, value and their number all come from the file. */
#include "dockerfile/pattern.h"

#include "dockerfile/text.h"

enum { P_STAR = -2, P_ANY = -3 };

struct pattern {
    int32_t *items; /* code points, P_STAR, P_ANY; bytes that are no UTF-8 as 0x110000 + byte */
    size_t n;
    uint8_t *set, *next; /* n + 1 each */
};

struct chars {
    int32_t *cp;
    size_t *at; /* byte offsets, one more than n */
    size_t n;
};

static int32_t any_char(const char *s, size_t len, size_t *n)
{
    int32_t cp;
    *n = df_decode(s, len, &cp);
    return cp >= 0 ? cp : 0x110000 + (unsigned char)s[0];
}

static struct chars chars_of(const char *text)
{
    size_t len = strlen(text);
    struct chars c = {wh_reallocarray(NULL, len + 1, sizeof *c.cp),
                      wh_reallocarray(NULL, len + 1, sizeof *c.at), 0};
    for (size_t i = 0; i < len;) {
        size_t n;
        c.cp[c.n] = any_char(text + i, len - i, &n);
        c.at[c.n++] = i;
        i += n;
    }
    c.at[c.n] = len;
    return c;
}

static void chars_free(struct chars *c)
{
    free(c->cp);
    free(c->at);
}

static void pattern_free(struct pattern *p)
{
    free(p->items);
    free(p->set);
    free(p->next);
}

static int bad_escape(struct wh_error *err, const char *pattern, const char *c, size_t n)
{
    return wh_fail(err, WH_E_PARSE, "invalid pattern (%s) in substitution: invalid escape '\\%.*s'", pattern,
                   (int)n, n > 0 ? c : "");
}

static int compile(const char *text, struct pattern *p, struct wh_error *err)
{
    size_t len = strlen(text);
    *p = (struct pattern){.items = wh_reallocarray(NULL, len + 1, sizeof *p->items)};
    for (size_t i = 0; i < len;) {
        size_t n;
        int32_t c = any_char(text + i, len - i, &n);
        if (c == '*') {
            c = P_STAR;
        } else if (c == '?') {
            c = P_ANY;
        } else if (c == '\\') {
            i++;
            if (i >= len || !strchr("*?\\}/", text[i])) {
                bad_escape(err, text, text + i, i < len ? 1 : 0);
                pattern_free(p);
                return -1;
            }
            c = (unsigned char)text[i];
            n = 1;
        }
        p->items[p->n++] = c;
        i += n;
    }
    p->set = wh_malloc(p->n + 1);
    p->next = wh_malloc(p->n + 1);
    return 0;
}

static void reverse(int32_t *items, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        int32_t t = items[i];
        items[i] = items[n - 1 - i];
        items[n - 1 - i] = t;
    }
}

/* Stars may stand for nothing: places behind them are reached too. */
static void close_set(const struct pattern *p, uint8_t *set)
{
    for (size_t i = 0; i < p->n; i++)
        if (set[i] && p->items[i] == P_STAR)
            set[i + 1] = 1;
}

/* The end of the match that starts at `from`, or -1; -2 if too much work was done. */
static int64_t match_at(struct pattern *p, const struct chars *v, size_t from, bool greedy, uint64_t *steps)
{
    int64_t found = -1;
    memset(p->set, 0, p->n + 1);
    p->set[0] = 1;
    close_set(p, p->set);
    for (size_t at = from;; at++) {
        if (p->set[p->n]) {
            found = (int64_t)at;
            if (!greedy)
                return found;
        }
        if (at >= v->n)
            return found;
        *steps += p->n + 1;
        if (*steps > WH_MAX_PATTERN_STEPS)
            return -2;
        memset(p->next, 0, p->n + 1);
        bool any = false;
        for (size_t i = 0; i < p->n; i++) {
            if (!p->set[i])
                continue;
            int32_t item = p->items[i], c = v->cp[at];
            if (item == P_STAR ? c != '\n' : item == P_ANY ? c != '\n' : item == c) {
                p->next[item == P_STAR ? i : i + 1] = 1;
                any = true;
            }
        }
        if (!any)
            return found;
        uint8_t *t = p->set;
        p->set = p->next;
        p->next = t;
        close_set(p, p->set);
    }
}

static int too_much(struct wh_error *err)
{
    return wh_fail(err, WH_E_LIMIT, "the pattern takes too long to match");
}

int df_pattern_trim(const char *pattern, const char *value, bool greedy, bool suffix, uint64_t *steps,
                    struct wh_str *out, struct wh_error *err)
{
    struct pattern p;
    if (compile(pattern, &p, err) < 0)
        return -1;
    struct chars v = chars_of(value);
    if (suffix) {
        /* A match at the end is one at the front of everything turned round. */
        reverse(p.items, p.n);
        reverse(v.cp, v.n);
    }
    int64_t end = match_at(&p, &v, 0, greedy, steps);
    if (end == -1)
        wh_str_add(out, value);
    else if (end >= 0 && suffix)
        wh_str_addn(out, value, v.at[v.n - (size_t)end]);
    else if (end >= 0)
        wh_str_add(out, value + v.at[end]);
    chars_free(&v);
    pattern_free(&p);
    return end == -2 ? too_much(err) : 0;
}

int df_pattern_replace(const char *pattern, const char *value, const char *by, bool all, uint64_t *steps,
                       struct wh_str *out, struct wh_error *err)
{
    struct pattern p;
    if (compile(pattern, &p, err) < 0)
        return -1;
    struct chars v = chars_of(value);
    int64_t last = -1, end = 0;
    for (size_t at = 0; at <= v.n;) {
        end = match_at(&p, &v, at, true, steps);
        if (end == -2)
            break;
        /* An empty match right behind a match doesn't count. */
        bool taken = end >= 0 && !(end == (int64_t)at && last == (int64_t)at);
        if (taken)
            wh_str_add(out, by);
        if (taken && end > (int64_t)at) {
            at = (size_t)end;
        } else if (at < v.n) {
            wh_str_addn(out, value + v.at[at], v.at[at + 1] - v.at[at]);
            at++;
        } else {
            break;
        }
        if (taken) {
            last = end;
            if (!all) {
                wh_str_add(out, value + v.at[at]);
                break;
            }
        }
    }
    chars_free(&v);
    pattern_free(&p);
    return end == -2 ? too_much(err) : 0;
}
