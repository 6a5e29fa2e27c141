/* Flags of instructions: which there are, and what they may hold (builder.md §1.1 Flags). */
#include "dockerfile/read.h"
#include "dockerfile/text.h"

#define MAX_FLAGS 12

enum flag_type { FLAG_BOOL, FLAG_TRI, FLAG_TEXT, FLAG_LIST };
struct flag {
    const char *name;
    enum flag_type type;
    void *target; /* bool *, enum wh_df_tri *, char **, char *** */
};

/* True, false, or neither (-1): bare and =true count as true. */
static int bool_value(const char *value)
{
    if (!value || wh_streq_ci(value, "true"))
        return 1;
    return wh_streq_ci(value, "false") ? 0 : -1;
}

static int set_flag(const struct flag *f, const char *value, struct wh_error *err)
{
    if ((f->type == FLAG_TEXT || f->type == FLAG_LIST) && !value)
        return wh_fail(err, WH_E_PARSE, "missing a value on flag: --%s", f->name);
    if (f->type == FLAG_TEXT) {
        free(*(char **)f->target);
        *(char **)f->target = wh_strdup(value);
        return 0;
    }
    if (f->type == FLAG_LIST) {
        wh_strv_add(f->target, value);
        return 0;
    }
    if (value && value[0] == '\0')
        return wh_fail(err, WH_E_PARSE, "missing a value on flag: --%s", f->name);
    int b = bool_value(value);
    if (b < 0)
        return wh_fail(err, WH_E_PARSE, "expecting boolean value for flag --%s, not: %s", f->name, value);
    if (f->type == FLAG_BOOL)
        *(bool *)f->target = b;
    else
        *(enum wh_df_tri *)f->target = b ? WH_DF_TRUE : WH_DF_FALSE;
    return 0;
}

static int unknown_flag(const char *name, const struct flag *flags, size_t n, struct wh_error *err)
{
    const char *names[MAX_FLAGS + 1] = {NULL};
    for (size_t i = 0; i < n; i++)
        names[i] = flags[i].name;
    wh_autostr text = {0};
    wh_str_addf(&text, "unknown flag: --%s", name);
    df_suggest(&text, name, names, false);
    return wh_fail(err, WH_E_PARSE, "%s", wh_str_text(&text));
}

static int apply(char *const *words, const struct flag *flags, size_t n, struct wh_error *err)
{
    bool used[MAX_FLAGS] = {false};
    for (size_t i = 0; words && words[i]; i++) {
        if (!wh_starts_with(words[i], "--"))
            return wh_fail(err, WH_E_PARSE, "arg should start with -- : %s", words[i]);
        const char *eq = strchr(words[i], '=');
        wh_autofree char *name =
            eq ? wh_strndup(words[i] + 2, (size_t)(eq - words[i]) - 2) : wh_strdup(words[i] + 2);
        size_t f = 0;
        while (f < n && strcmp(flags[f].name, name) != 0)
            f++;
        if (f == n)
            return unknown_flag(name, flags, n, err);
        if (used[f] && flags[f].type != FLAG_LIST)
            return wh_fail(err, WH_E_PARSE, "duplicate flag specified: --%s", name);
        used[f] = true;
        if (set_flag(&flags[f], eq ? eq + 1 : NULL, err) < 0)
            return -1;
    }
    return 0;
}

int df_flags(struct df_node *node, struct wh_error *err)
{
    struct wh_df_instr *in = node->instr;
    struct flag flags[MAX_FLAGS];
    size_t n = 0;
#define FLAG(flag_name, flag_type, field)                                                                    \
    flags[n++] = (struct flag)                                                                               \
    {                                                                                                        \
        flag_name, flag_type, &in->field                                                                     \
    }
    switch (in->kind) {
    case WH_DF_FROM:
        FLAG("platform", FLAG_TEXT, platform);
        break;
    case WH_DF_COPY:
        FLAG("from", FLAG_TEXT, from);
        FLAG("chown", FLAG_TEXT, chown);
        FLAG("chmod", FLAG_TEXT, chmod);
        FLAG("link", FLAG_BOOL, link);
        FLAG("parents", FLAG_BOOL, parents);
        FLAG("exclude", FLAG_LIST, excludes);
        break;
    case WH_DF_ADD:
        FLAG("chown", FLAG_TEXT, chown);
        FLAG("chmod", FLAG_TEXT, chmod);
        FLAG("link", FLAG_BOOL, link);
        FLAG("exclude", FLAG_LIST, excludes);
        FLAG("checksum", FLAG_TEXT, checksum);
        FLAG("keep-git-dir", FLAG_TRI, keep_git_dir);
        FLAG("unpack", FLAG_TRI, unpack);
        break;
    case WH_DF_RUN:
        FLAG("mount", FLAG_LIST, mounts);
        FLAG("network", FLAG_TEXT, network);
        FLAG("security", FLAG_TEXT, security);
        FLAG("device", FLAG_LIST, devices);
        break;
    case WH_DF_ARG:
    case WH_DF_STOPSIGNAL:
        return 0; /* BuildKit drops any flag here */
    default:
        break;
    }
#undef FLAG
    return apply(node->flags, flags, n, err);
}

/* Go's time.ParseDuration: "1m30s", "1.5h", "0". */
static int duration(const char *text, int64_t *out, struct wh_error *err)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"ns", 1},   {"us", 1e3}, {"\xc2\xb5s", 1e3}, {"\xce\xbcs", 1e3},
                 {"ms", 1e6}, {"s", 1e9},  {"m", 60e9},        {"h", 3600e9}};
    const char *p = text;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;
    long double total = 0;
    bool ok = *p != '\0';
    if (strcmp(p, "0") == 0)
        p++;
    while (ok && *p) {
        long double value = 0, scale = 1;
        bool any = false, point = false;
        for (; (*p >= '0' && *p <= '9') || (*p == '.' && !point); p++) {
            if (*p == '.') {
                point = true;
                continue;
            }
            any = true;
            value = value * 10 + (*p - '0');
            if (point)
                scale *= 10;
        }
        size_t u = 0;
        /* "m" is a prefix of "ms": longer names come first in the list. */
        while (u < WH_COUNT(units) && !wh_starts_with(p, units[u].unit))
            u++;
        ok = any && u < WH_COUNT(units);
        if (ok) {
            total += value / scale * units[u].ns;
            p += strlen(units[u].unit);
        }
        ok = ok && total < 9.2e18L;
    }
    if (!ok) {
        wh_autostr quoted = {0};
        df_add_quoted(&quoted, text);
        return wh_fail(err, WH_E_PARSE, "time: invalid duration %s", wh_str_text(&quoted));
    }
    *out = (int64_t)(negative ? -total : total);
    return 0;
}

static int interval(const char *name, const char *text, bool *given, int64_t *out, struct wh_error *err)
{
    if (!text || text[0] == '\0')
        return 0;
    *given = true;
    if (duration(text, out, err) < 0)
        return -1;
    if (*out != 0 && *out < 1000000)
        return wh_fail(err, WH_E_ARGUMENT, "Interval \"%s\" cannot be less than 1ms", name);
    return 0;
}

static int retries(const char *text, struct wh_df_health *h, struct wh_error *err)
{
    if (!text || text[0] == '\0')
        return 0;
    h->given_retries = true;
    if (!wh_parse_i64(text[0] == '+' ? text + 1 : text, INT32_MIN, INT32_MAX, &h->retries)) {
        wh_autostr quoted = {0};
        df_add_quoted(&quoted, text);
        return wh_fail(err, WH_E_PARSE, "strconv.ParseInt: parsing %s: invalid syntax", wh_str_text(&quoted));
    }
    if (h->retries < 0)
        return wh_fail(err, WH_E_ARGUMENT, "--retries cannot be negative (%lld)", (long long)h->retries);
    return 0;
}

int df_health_flags(struct df_node *node, struct wh_error *err)
{
    struct df_flag_texts t = {0};
    struct flag flags[] = {{"interval", FLAG_TEXT, &t.interval},
                           {"timeout", FLAG_TEXT, &t.timeout},
                           {"start-period", FLAG_TEXT, &t.start_period},
                           {"start-interval", FLAG_TEXT, &t.start_interval},
                           {"retries", FLAG_TEXT, &t.retries}};
    struct wh_df_health *h = &node->instr->health;
    int r = apply(node->flags, flags, WH_COUNT(flags), err);
    if (r == 0 &&
        (interval("interval", t.interval, &h->given_interval, &h->interval, err) < 0 ||
         interval("timeout", t.timeout, &h->given_timeout, &h->timeout, err) < 0 ||
         interval("start-period", t.start_period, &h->given_start_period, &h->start_period, err) < 0 ||
         interval("start-interval", t.start_interval, &h->given_start_interval, &h->start_interval, err) <
             0 ||
         retries(t.retries, h, err) < 0))
        r = -1;
    for (size_t i = 0; i < WH_COUNT(flags); i++)
        free(*(char **)flags[i].target);
    return r;
}
