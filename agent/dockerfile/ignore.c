/* Ignore files: which paths of a context exist for the builder (builder.md §1.7). */
#include "wherry/dockerfile/ignore.h"

#include "dockerfile/match.h"
#include "dockerfile/text.h"

struct rule {
    struct df_match *match;
    bool negated;
    size_t depth; /* slashes in the pattern: a negation without ** can't match below that depth */
};

struct wh_ignore {
    struct rule *rules;
    size_t n;
    bool any_negated;
};

void wh_ignore_free(struct wh_ignore *ig)
{
    if (!ig)
        return;
    for (size_t i = 0; i < ig->n; i++)
        df_match_free(ig->rules[i].match);
    free(ig->rules);
    free(ig);
}

bool wh_ignore_is_empty(const struct wh_ignore *ig)
{
    return !ig || ig->n == 0;
}

static int add_rule(struct wh_ignore *ig, struct wh_view text, struct wh_error *err)
{
    text = wh_view_trim(text);
    if (text.len == 0)
        return 0;
    struct rule rule = {.negated = text.data[0] == '!'};
    if (rule.negated)
        text = wh_view_trim((struct wh_view){text.data + 1, text.len - 1});
    if (text.len == 0)
        return wh_fail(err, WH_E_PARSE, "illegal exclusion pattern: \"!\"");
    if (ig->n >= WH_MAX_IGNORE_PATTERNS)
        return wh_fail(err, WH_E_LIMIT, "more than %d patterns", WH_MAX_IGNORE_PATTERNS);
    wh_autofree char *raw = wh_view_dup(text);
    wh_autofree char *clean = df_clean_path(raw);
    const char *pattern = clean[0] == '/' && clean[1] ? clean + 1 : clean;
    if (df_match_compile(pattern, true, &rule.match, err) < 0)
        return -1;
    for (const char *p = pattern; *p; p++)
        rule.depth += *p == '/';
    if ((ig->n & (ig->n - 1)) == 0)
        ig->rules = wh_reallocarray(ig->rules, ig->n ? ig->n * 2 : 1, sizeof rule);
    ig->rules[ig->n++] = rule;
    ig->any_negated |= rule.negated;
    return 0;
}

int wh_ignore_parse(const char *text, size_t len, const char *what, struct wh_ignore **out,
                    struct wh_error *err)
{
    if (len > WH_MAX_IGNORE_BYTES)
        return wh_fail(err, WH_E_LIMIT, "%s is larger than %zu MiB", what, WH_MAX_IGNORE_BYTES >> 20);
    struct wh_ignore *ig = wh_calloc(1, sizeof *ig);
    struct wh_reader r = wh_reader_of(text, len);
    struct wh_view line;
    wh_reader_take_text(&r, "\xef\xbb\xbf");
    for (int number = 1; wh_reader_line(&r, &line); number++) {
        if (line.len > 0 && line.data[0] == '#')
            continue;
        int status = line.len > 0 && memchr(line.data, '\0', line.len)
                         ? wh_fail(err, WH_E_PARSE, "the line has a NUL byte")
                         : add_rule(ig, line, err);
        if (status < 0) {
            wh_ignore_free(ig);
            return wh_wrap(err, "%s:%d", what, number);
        }
    }
    *out = ig;
    return 0;
}

int wh_ignore_from_patterns(char *const *patterns, const char *what, struct wh_ignore **out,
                            struct wh_error *err)
{
    struct wh_ignore *ig = wh_calloc(1, sizeof *ig);
    for (size_t i = 0; patterns && patterns[i]; i++) {
        if (add_rule(ig, wh_view_of(patterns[i]), err) < 0) {
            wh_ignore_free(ig);
            return wh_wrap(err, "%s", what);
        }
    }
    *out = ig;
    return 0;
}

void wh_ignore_state_clear(struct wh_ignore_state *st)
{
    free(st->matched);
    st->matched = NULL;
}

static bool get_bit(const uint64_t *bits, size_t i)
{
    return bits && (bits[i / 64] >> (i % 64) & 1);
}

/* Could this negation match something below the directory? No: then nobody needs to look there for its sake.
 */
static bool may_match_below(const struct rule *rule, const char *dir, size_t len, size_t dir_depth)
{
    size_t n;
    const char *literal = df_match_literal(rule->match, &n);
    size_t common = WH_MIN(n, len);
    if (memcmp(literal, dir, common) != 0)
        return false;
    if (n > len)
        return literal[len] == '/';
    /* The literal start ends inside the directory's own path: the rest has wildcards, which reach as deep as
     * they have slashes. */
    return df_match_has_double_star(rule->match) || rule->depth > dir_depth;
}

static bool look_inside(const struct wh_ignore *ig, const char *dir, size_t len)
{
    size_t depth = 0;
    for (size_t i = 0; i < len; i++)
        depth += dir[i] == '/';
    for (size_t i = 0; i < ig->n; i++)
        if (ig->rules[i].negated && may_match_below(&ig->rules[i], dir, len, depth))
            return true;
    return false;
}

/* The rules in order; the last that matches decides. A rule that could change nothing is not asked and counts
 * as not matched, for what is below as well: that is how BuildKit's walk goes. */
static bool excluded(const struct wh_ignore *ig, const uint64_t *parent, const char *path, size_t len,
                     uint64_t *mine)
{
    bool out = false;
    for (size_t i = 0; i < ig->n; i++) {
        const struct rule *rule = &ig->rules[i];
        bool match = get_bit(parent, i);
        if (!match) {
            if (rule->negated != out)
                continue;
            match = df_match_path(rule->match, path, len);
        }
        if (!match)
            continue;
        out = !rule->negated;
        if (mine)
            mine[i / 64] |= (uint64_t)1 << (i % 64);
    }
    return out;
}

static uint64_t *new_bits(const struct wh_ignore *ig)
{
    return wh_calloc((ig->n + 63) / 64 + 1, sizeof(uint64_t));
}

static enum wh_ignore_answer answer(const struct wh_ignore *ig, bool out, const char *path, size_t len,
                                    bool is_dir)
{
    if (!out)
        return WH_IGNORE_INCLUDED;
    return is_dir && ig->any_negated && look_inside(ig, path, len) ? WH_IGNORE_EXCLUDED_LOOK
                                                                   : WH_IGNORE_EXCLUDED;
}

enum wh_ignore_answer wh_ignore_walk(const struct wh_ignore *ig, const struct wh_ignore_state *parent,
                                     const char *path, bool is_dir, struct wh_ignore_state *mine)
{
    if (mine)
        mine->matched = NULL;
    if (wh_ignore_is_empty(ig))
        return WH_IGNORE_INCLUDED;
    if (mine && is_dir)
        mine->matched = new_bits(ig);
    size_t len = strlen(path);
    bool out = excluded(ig, parent ? parent->matched : NULL, path, len, mine ? mine->matched : NULL);
    return answer(ig, out, path, len, is_dir);
}

enum wh_ignore_answer wh_ignore_match(const struct wh_ignore *ig, const char *path, bool is_dir)
{
    if (wh_ignore_is_empty(ig))
        return WH_IGNORE_INCLUDED;
    wh_autofree uint64_t *bits = NULL;
    bool out = false;
    size_t len = strlen(path), at = 0;
    while (at < len) {
        const char *slash = memchr(path + at, '/', len - at);
        size_t end = slash ? (size_t)(slash - path) : len;
        uint64_t *mine = new_bits(ig);
        out = excluded(ig, bits, path, end, mine);
        free(bits);
        bits = mine;
        at = end + 1;
    }
    return answer(ig, out, path, len, is_dir);
}

char *wh_ignore_clean(const char *path)
{
    return df_clean_path(path);
}

/* A root is left out where a rule takes all that is in it. */
static bool takes_root(const struct wh_ignore *ig)
{
    for (size_t i = 0; i < ig->n; i++)
        if (df_match_path(ig->rules[i].match, "a", 1) && df_match_path(ig->rules[i].match, "\x01", 1))
            return true;
    return false;
}

bool wh_ignore_excludes(const struct wh_ignore *ig, const char *path)
{
    if (wh_ignore_is_empty(ig) || ig->any_negated)
        return false;
    wh_autofree char *clean = df_clean_path(path);
    if (strcmp(clean, ".") == 0 || strcmp(clean, "/") == 0)
        return takes_root(ig);
    return wh_ignore_match(ig, clean[0] == '/' ? clean + 1 : clean, false) != WH_IGNORE_INCLUDED;
}
