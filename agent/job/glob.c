#include "wherry/job/glob.h"

#include "text.h"

/* ---- one segment against one name ---- */

/* The set that starts at pattern[at] == '[': is c in it? *end is behind its ']'; false in *closed if there is
 * none. */
static bool in_set(const char *pattern, size_t len, size_t at, uint32_t c, size_t *end, bool *closed)
{
    size_t pos = at + 1;
    bool negate = pos < len && (pattern[pos] == '!' || pattern[pos] == '^');
    bool found = false, first = true;
    *closed = false;
    for (pos += negate; pos < len; first = false) {
        if (pattern[pos] == ']' && !first) {
            *closed = true;
            *end = pos + 1;
            return found != negate;
        }
        if (pattern[pos] == '\\' && pos + 1 < len)
            pos++;
        uint32_t low = wh_utf8_next(pattern, len, &pos), high = low;
        if (pos + 1 < len && pattern[pos] == '-' && pattern[pos + 1] != ']') {
            pos++;
            if (pattern[pos] == '\\' && pos + 1 < len)
                pos++;
            high = wh_utf8_next(pattern, len, &pos);
        }
        found = found || (c >= low && c <= high);
    }
    return false;
}

/* One character of the pattern (not a star) against one of the name. */
static bool match_one(const char *pattern, size_t plen, size_t *p, const char *name, size_t nlen, size_t *n)
{
    size_t next = *n, end = 0;
    bool closed = false;
    uint32_t c = wh_utf8_next(name, nlen, &next);
    if (pattern[*p] == '[') {
        bool hit = in_set(pattern, plen, *p, c, &end, &closed);
        if (closed) {
            *p = end;
            *n = next;
            return hit;
        }
    }
    if (pattern[*p] == '?') {
        (*p)++;
        *n = next;
        return true;
    }
    if (pattern[*p] == '\\' && *p + 1 < plen)
        (*p)++;
    bool same = wh_utf8_next(pattern, plen, p) == c;
    *n = next;
    return same;
}

static bool match_name(const char *pattern, const char *name)
{
    size_t plen = strlen(pattern), nlen = strlen(name);
    size_t p = 0, n = 0, star = SIZE_MAX, resume = 0;
    while (n < nlen) {
        if (p < plen && pattern[p] == '*') {
            star = ++p;
            resume = n;
            continue;
        }
        if (p < plen && match_one(pattern, plen, &p, name, nlen, &n))
            continue;
        if (star == SIZE_MAX)
            return false;
        p = star; /* the last star takes one more */
        wh_utf8_next(name, nlen, &resume);
        n = resume;
    }
    while (p < plen && pattern[p] == '*')
        p++;
    return p == plen;
}

static bool match_segment(const struct wh_glob_segment *s, const char *name)
{
    return s->literal ? strcmp(s->literal, name) == 0 : match_name(s->text, name);
}

/* ---- a path against a pattern ---- */

/* live[i]: the first i segments of the pattern are used up. A "**" in the middle may take nothing; at the end
 * it takes at least one name, which is what parts "<dir>" from what is below it. */
static void skip_any_depth(const struct wh_glob *g, bool *live)
{
    for (size_t i = 0; i + 1 < g->count; i++) {
        if (live[i] && g->segments[i].any_depth)
            live[i + 1] = true;
    }
}

/* False: no state is left. */
static bool step(const struct wh_glob *g, bool *live, const char *name)
{
    bool next[WH_MAX_GLOB_SEGMENTS + 1] = {false}, any = false;
    for (size_t i = 0; i < g->count; i++) {
        if (!live[i])
            continue;
        if (g->segments[i].any_depth) {
            next[i] = true;
            next[i + 1] = next[i + 1] || i + 1 == g->count;
            any = true;
        } else if (match_segment(&g->segments[i], name)) {
            next[i + 1] = true;
            any = true;
        }
    }
    memcpy(live, next, sizeof next);
    skip_any_depth(g, live);
    return any;
}

/* Walks the path; live says where the pattern stands after it. False: it fits no more. */
static bool walk(const struct wh_glob *g, const char *path, bool *live)
{
    memset(live, 0, (WH_MAX_GLOB_SEGMENTS + 1) * sizeof *live);
    live[0] = true;
    skip_any_depth(g, live);
    char name[256];
    while (*path) {
        while (*path == '/')
            path++;
        size_t len = strcspn(path, "/");
        if (len == 0)
            break;
        if (len >= sizeof name)
            return false;
        *(char *)mempcpy(name, path, len) = '\0';
        if (!step(g, live, name))
            return false;
        path += len;
    }
    return true;
}

static enum wh_glob_match match_glob(const struct wh_glob *g, const char *path)
{
    bool live[WH_MAX_GLOB_SEGMENTS + 1];
    if (!walk(g, path, live))
        return WH_GLOB_NONE;
    /* "dir" and "**": the user's own pattern takes the folder itself too. */
    bool self = !g->implicit && g->count > 0 && g->segments[g->count - 1].any_depth && live[g->count - 1];
    if (!live[g->count] && !self)
        return WH_GLOB_NONE;
    return g->directories_only ? WH_GLOB_DIRECTORY : WH_GLOB_ALL;
}

enum wh_glob_match wh_globs_match(const struct wh_globs *g, const char *path)
{
    int result = WH_GLOB_NONE;
    for (size_t i = 0; i < g->count; i++) {
        if (g->items[i].negate)
            result &= ~(int)match_glob(&g->items[i], path);
        else
            result |= (int)match_glob(&g->items[i], path);
    }
    return (enum wh_glob_match)result;
}

bool wh_globs_may_match_below(const struct wh_globs *g, const char *path)
{
    bool live[WH_MAX_GLOB_SEGMENTS + 1];
    for (size_t i = 0; i < g->count; i++) {
        if (!g->items[i].negate && walk(&g->items[i], path, live))
            return true;
    }
    return false;
}

/* ---- parsing ---- */

static bool is_wild(const char *s, size_t at, char *single, size_t *end)
{
    if (s[at] == '*' || s[at] == '?')
        return true;
    *single = '\0';
    if (s[at] != '[')
        return false;
    size_t members = 0;
    for (size_t i = at + 1; s[i]; i++) {
        if (s[i] == ']') {
            *end = i;
            if (members != 1)
                *single = '\0';
            return members > 1;
        }
        if (s[i] == '\\' && s[i + 1])
            i++;
        *single = s[i];
        members++;
    }
    *single = '\0';
    return false;
}

/* The segment as plain text, or NULL if it has a wildcard. A set of one character is that character. */
static char *literal_of(const char *segment)
{
    wh_autostr out = {0};
    for (size_t i = 0; segment[i]; i++) {
        char single;
        size_t end = i;
        if (segment[i] == '\\' && segment[i + 1]) {
            wh_str_addc(&out, segment[++i]);
            continue;
        }
        if (is_wild(segment, i, &single, &end))
            return NULL;
        if (segment[i] == '[' && single) {
            wh_str_addc(&out, single);
            i = end;
            continue;
        }
        wh_str_addc(&out, segment[i]);
    }
    return wh_str_steal(&out);
}

static int add_segment(struct wh_glob *g, char *text_taken, char *literal_taken, struct wh_error *err)
{
    if (g->count == WH_MAX_GLOB_SEGMENTS - 1) { /* one is kept for the implicit double star */
        free(text_taken);
        free(literal_taken);
        return wh_fail(err, WH_E_LIMIT, "a pattern has more than %d segments", WH_MAX_GLOB_SEGMENTS - 1);
    }
    bool any_depth = wh_streq(text_taken, "**");
    if (any_depth && g->count > 0 && g->segments[g->count - 1].any_depth) { /* twice is as good as once */
        free(text_taken);
        free(literal_taken);
        return 0;
    }
    g->segments = wh_reallocarray(g->segments, g->count + 1, sizeof *g->segments);
    g->segments[g->count++] = (struct wh_glob_segment){text_taken, literal_taken, any_depth};
    return 0;
}

static int add_literal_path(struct wh_glob *g, const char *path, struct wh_error *err)
{
    wh_autostrv char **parts = wh_strv_split(path, '/');
    for (char **p = parts; p && *p; p++) {
        if (**p && add_segment(g, wh_strdup(*p), wh_strdup(*p), err) < 0)
            return -1;
    }
    return 0;
}

static int add_pattern_path(struct wh_glob *g, const char *pattern, bool rooted, struct wh_error *err)
{
    wh_autostrv char **parts = wh_strv_split(pattern, '/');
    for (char **p = parts; p && *p; p++) {
        bool leading = p == parts && !rooted;
        if (**p == '\0' || (leading && (wh_streq(*p, ".") || wh_streq(*p, "~"))))
            continue;
        char *literal = literal_of(*p);
        if (wh_streq(literal, ".") || wh_streq(literal, "..")) {
            free(literal);
            return wh_fail(err, WH_E_ARGUMENT,
                           "Invalid pattern '%s'. Relative pathing '.' and '..' is not allowed.", pattern);
        }
        if (add_segment(g, wh_strdup(*p), literal, err) < 0)
            return -1;
    }
    return 0;
}

static void set_search_path(struct wh_glob *g)
{
    wh_autostr path = {0};
    for (size_t i = 0; i < g->count && g->segments[i].literal; i++) {
        wh_str_addc(&path, '/');
        wh_str_add(&path, g->segments[i].literal);
    }
    if (path.len == 0)
        wh_str_addc(&path, '/');
    g->search_path = wh_str_steal(&path);
}

static int parse_one(struct wh_glob *g, const char *root, const char *pattern, struct wh_error *err)
{
    bool rooted = pattern[0] == '/';
    bool home = pattern[0] == '~' && (pattern[1] == '/' || pattern[1] == '\0');
    if (home) {
        const char *dir = getenv("HOME");
        if (!dir || dir[0] != '/')
            return wh_fail(err, WH_E_ARGUMENT, "Unable to determine HOME directory");
        if (add_literal_path(g, dir, err) < 0)
            return -1;
    } else if (!rooted && add_literal_path(g, root, err) < 0) {
        return -1;
    }
    if (add_pattern_path(g, pattern, rooted, err) < 0)
        return -1;
    g->directories_only = wh_ends_with(pattern, "/");
    set_search_path(g);
    return 0;
}

/* What lies below a match matches too. */
static struct wh_glob implicit_of(const struct wh_glob *g)
{
    struct wh_glob out = {.count = g->count + 1, .negate = g->negate, .implicit = true};
    out.segments = wh_calloc(out.count, sizeof *out.segments);
    for (size_t i = 0; i < g->count; i++)
        out.segments[i] = (struct wh_glob_segment){
            wh_strdup(g->segments[i].text), wh_strdup(g->segments[i].literal), g->segments[i].any_depth};
    out.segments[g->count] = (struct wh_glob_segment){wh_strdup("**"), NULL, true};
    out.search_path = wh_strdup(g->search_path);
    return out;
}

static void glob_clear(struct wh_glob *g)
{
    for (size_t i = 0; i < g->count; i++) {
        free(g->segments[i].text);
        free(g->segments[i].literal);
    }
    free(g->segments);
    free(g->search_path);
}

void wh_globs_free(struct wh_globs *g)
{
    for (size_t i = 0; i < g->count; i++)
        glob_clear(&g->items[i]);
    free(g->items);
    *g = (struct wh_globs){0};
}

static int add_line(struct wh_globs *g, const char *root, struct wh_view line, bool descendants,
                    struct wh_error *err)
{
    line = wh_view_trim_unicode(line);
    if (line.len == 0 || line.data[0] == '#')
        return 0;
    if (g->count + 2 > 2 * WH_MAX_GLOB_PATTERNS)
        return wh_fail(err, WH_E_LIMIT, "more than %d patterns", WH_MAX_GLOB_PATTERNS);
    struct wh_glob one = {0};
    while (line.len > 0 && line.data[0] == '!') {
        one.negate = !one.negate;
        line = wh_view_trim_unicode((struct wh_view){line.data + 1, line.len - 1});
    }
    if (line.len == 0)
        return wh_fail(err, WH_E_ARGUMENT, "pattern cannot be empty");
    wh_autofree char *pattern = wh_view_dup(line);
    if (parse_one(&one, root, pattern, err) < 0) {
        glob_clear(&one);
        return -1;
    }
    bool open_ended = one.count > 0 && one.segments[one.count - 1].any_depth;
    g->items = wh_reallocarray(g->items, g->count + 2, sizeof *g->items);
    g->items[g->count++] = one;
    if (descendants && (one.directories_only || !open_ended))
        g->items[g->count++] = implicit_of(&one);
    return 0;
}

int wh_globs_parse(struct wh_globs *g, const char *root, const char *lines, bool descendants,
                   struct wh_error *err)
{
    struct wh_reader r = wh_reader_of(lines, strlen(lines));
    struct wh_view line;
    *g = (struct wh_globs){0};
    while (wh_reader_line(&r, &line)) {
        if (add_line(g, root, line, descendants, err) < 0) {
            wh_globs_free(g);
            return -1;
        }
    }
    return 0;
}
