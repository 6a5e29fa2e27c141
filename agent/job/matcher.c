/* Problem matchers: reading and matching. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "wherry/job/matcher.h"

#include <pcre2.h>

static const char *const field_names[WH_MATCH_FIELDS] = {"file", "line",    "column",  "severity",
                                                         "code", "message", "fromPath"};

struct wh_matcher_pattern {
    pcre2_code *code;
    int group[WH_MATCH_FIELDS]; /* capture; -1: not set */
    bool loop;
};

void wh_match_clear(struct wh_match *m)
{
    for (size_t i = 0; i < WH_MATCH_FIELDS; i++)
        wh_free_ptr(&m->fields[i]);
}

static void set_running(struct wh_matcher *m, size_t i, struct wh_match *match_taken)
{
    if (m->running[i]) {
        wh_match_clear(m->running[i]);
        free(m->running[i]);
    }
    m->running[i] = match_taken;
}

void wh_matcher_reset(struct wh_matcher *m)
{
    for (size_t i = 0; i + 1 < m->npatterns; i++)
        set_running(m, i, NULL);
}

void wh_matcher_free(struct wh_matcher *m)
{
    if (!m)
        return;
    wh_matcher_reset(m);
    for (size_t i = 0; i < m->npatterns; i++)
        pcre2_code_free(m->patterns[i].code);
    free(m->patterns);
    free(m->running);
    free(m->owner);
    free(m->severity);
    free(m->from_path);
    free(m);
}

/* ---- reading ---- */

static int compile(struct wh_matcher_pattern *p, const char *regexp, struct wh_error *err)
{
    int code;
    PCRE2_SIZE offset;
    p->code = pcre2_compile((PCRE2_SPTR)regexp, strlen(regexp), PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &code,
                            &offset, NULL);
    if (p->code)
        return 0;
    PCRE2_UCHAR text[128];
    pcre2_get_error_message(code, text, sizeof text);
    return wh_fail(err, WH_E_PARSE, "Invalid pattern '%s' at offset %zu. %s", regexp, (size_t)offset,
                   (char *)text);
}

static int read_group(struct wh_matcher_pattern *p, const cJSON *json, size_t field, bool *seen,
                      struct wh_error *err)
{
    p->group[field] = -1;
    if (!wh_json_get(json, field_names[field]))
        return 0;
    uint32_t groups = 0;
    pcre2_pattern_info(p->code, PCRE2_INFO_CAPTURECOUNT, &groups);
    int64_t group = wh_json_int(json, field_names[field], -1);
    if (seen[field])
        return wh_fail(err, WH_E_PARSE, "The property '%s' is set twice", field_names[field]);
    if (group < 0 || group > groups)
        return wh_fail(err, WH_E_PARSE, "The property '%s' is set to %lld which is out of range",
                       field_names[field], (long long)group);
    p->group[field] = (int)group;
    seen[field] = true;
    return 0;
}

static int read_pattern(struct wh_matcher *m, const cJSON *json, size_t count, bool *seen,
                        struct wh_error *err)
{
    struct wh_matcher_pattern *p = &m->patterns[m->npatterns];
    const char *regexp = wh_json_string(json, "regexp");
    if (compile(p, regexp ? regexp : "", err) < 0)
        return -1;
    m->npatterns++;
    p->loop = wh_json_bool(json, "loop", false);
    if (p->loop && (m->npatterns != count || count == 1))
        return wh_fail(err, WH_E_PARSE, "Only the last pattern in a multiline matcher may set 'loop'");
    if (p->loop && !wh_json_get(json, "message"))
        return wh_fail(err, WH_E_PARSE, "The loop pattern must set 'message'");
    for (size_t i = 0; i < WH_MATCH_FIELDS; i++) {
        if (read_group(p, json, i, seen, err) < 0)
            return -1;
    }
    return 0;
}

static bool is_severity(const char *text)
{
    return !text || text[0] == '\0' || wh_streq_ci(text, "error") || wh_streq_ci(text, "warning") ||
           wh_streq_ci(text, "notice");
}

static int read_patterns(struct wh_matcher *m, const cJSON *list, struct wh_error *err)
{
    bool seen[WH_MATCH_FIELDS] = {false};
    size_t count = (size_t)cJSON_GetArraySize(list);
    if (count == 0)
        return wh_fail(err, WH_E_PARSE, "Matcher '%s' does not contain any patterns", m->owner);
    if (count > WH_MAX_MATCHER_PATTERNS)
        return wh_fail(err, WH_E_LIMIT, "Matcher '%s' has %zu patterns: at most %u are taken", m->owner,
                       count, WH_MAX_MATCHER_PATTERNS);
    m->patterns = wh_calloc(count, sizeof *m->patterns);
    m->running = wh_calloc(count, sizeof(struct wh_match *));
    for (const cJSON *p = list->child; p; p = p->next) {
        if (read_pattern(m, p, count, seen, err) < 0)
            return -1;
    }
    return seen[WH_MATCH_MESSAGE] ? 0 : wh_fail(err, WH_E_PARSE, "At least one pattern must set 'message'");
}

static int read_matcher(struct wh_matcher *m, const cJSON *json, struct wh_error *err)
{
    const char *owner = wh_json_string(json, "owner");
    if (!owner || wh_view_trim(wh_view_of(owner)).len == 0)
        return wh_fail(err, WH_E_PARSE, "Owner must not be empty");
    m->owner = wh_strdup(owner);
    m->severity = wh_strdup(wh_json_string(json, "severity"));
    m->from_path = wh_strdup(wh_json_string(json, "fromPath"));
    if (!is_severity(m->severity))
        return wh_fail(err, WH_E_PARSE, "Matcher '%s' contains unexpected default severity '%s'", owner,
                       m->severity);
    return read_patterns(m, wh_json_get(json, "pattern"), err);
}

int wh_matchers_read(const cJSON *json, struct wh_matcher **out, struct wh_error *err)
{
    const cJSON *list = wh_json_get(json, "problemMatcher");
    struct wh_matcher **end = out;
    unsigned count = 0;
    int n = 0;
    *out = NULL;
    for (const cJSON *item = list ? list->child : NULL; item && n == 0; item = item->next) {
        if (count++ == WH_MAX_MATCHERS) {
            n = wh_fail(err, WH_E_LIMIT, "More than %u problem matchers", WH_MAX_MATCHERS);
            break;
        }
        struct wh_matcher *m = wh_calloc(1, sizeof *m);
        *end = m;
        end = &m->next;
        n = read_matcher(m, item, err);
        for (const struct wh_matcher *other = *out; other != m && n == 0; other = other->next) {
            if (wh_streq_ci(other->owner, m->owner))
                n = wh_fail(err, WH_E_PARSE, "Duplicate owner name '%s'", m->owner);
        }
    }
    for (struct wh_matcher *m = n < 0 ? *out : NULL, *next; m; m = next) {
        next = m->next;
        wh_matcher_free(m);
    }
    if (n < 0)
        *out = NULL;
    return n;
}

/* ---- matching ---- */

/* What stands before wins; a group that took no part is empty. */
static void take_fields(const struct wh_matcher_pattern *p, const struct wh_match *before, const char *line,
                        const PCRE2_SIZE *at, int ngroups, struct wh_match *out)
{
    for (size_t i = 0; i < WH_MATCH_FIELDS; i++) {
        int g = p->group[i];
        if (before && before->fields[i])
            out->fields[i] = wh_strdup(before->fields[i]);
        else if (g >= 0 && g < ngroups && at[2 * g] != PCRE2_UNSET && at[2 * g + 1] >= at[2 * g])
            out->fields[i] = wh_strndup(line + at[2 * g], at[2 * g + 1] - at[2 * g]);
        else if (g >= 0)
            out->fields[i] = wh_strdup("");
    }
}

/* 1, 0 or negative as wh_matcher_line(). */
static int match_pattern(const struct wh_matcher_pattern *p, const struct wh_match *before, const char *line,
                         size_t len, struct wh_match *out)
{
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(p->code, NULL);
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(context, WH_MAX_MATCHER_STEPS);
    int n = pcre2_match(p->code, (PCRE2_SPTR)line, len, 0, 0, data, context);
    if (n > 0)
        take_fields(p, before, line, pcre2_get_ovector_pointer(data), n, out);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
    return n > 0                                                                                      ? 1
           : n == PCRE2_ERROR_MATCHLIMIT || n == PCRE2_ERROR_DEPTHLIMIT || n == PCRE2_ERROR_HEAPLIMIT ? -1
                                                                                                      : 0;
}

static struct wh_match *copy(const struct wh_match *m)
{
    struct wh_match *out = wh_calloc(1, sizeof *out);
    for (size_t i = 0; i < WH_MATCH_FIELDS; i++)
        out->fields[i] = wh_strdup(m->fields[i]);
    return out;
}

static void add_defaults(const struct wh_matcher *m, struct wh_match *out)
{
    const char *const defaults[WH_MATCH_FIELDS] = {
        [WH_MATCH_SEVERITY] = m->severity, [WH_MATCH_FROM_PATH] = m->from_path};
    for (size_t i = 0; i < WH_MATCH_FIELDS; i++) {
        if (!defaults[i] || (out->fields[i] && out->fields[i][0]))
            continue;
        free(out->fields[i]);
        out->fields[i] = wh_strdup(defaults[i]);
    }
}

int wh_matcher_line(struct wh_matcher *m, const char *line, size_t len, struct wh_match *out)
{
    *out = (struct wh_match){0};
    /* From the last pattern to the first: each goes on from what the line before gave. */
    for (size_t i = m->npatterns; i-- > 0;) {
        const struct wh_match *before = i > 0 ? m->running[i - 1] : NULL;
        if (i > 0 && !before)
            continue;
        bool last = i + 1 == m->npatterns;
        struct wh_match found = {0};
        int n = match_pattern(&m->patterns[i], before, line, len, &found);
        if (n < 0)
            return n;
        if (!last) {
            set_running(m, i, n > 0 ? copy(&found) : NULL);
            wh_match_clear(&found);
        } else if (n > 0) {
            struct wh_match *kept = m->patterns[i].loop ? copy(before) : NULL;
            wh_matcher_reset(m);
            if (kept)
                set_running(m, i - 1, kept);
            *out = found;
            add_defaults(m, out);
            return 1;
        } else if (i > 0) {
            set_running(m, i - 1, NULL);
        }
    }
    return 0;
}
