/* The masker: values and regular expressions to ranges, ranges to ***. Values are kept in automata of growing
 * size (each at least twice the next), so that a step which adds masks one by one, line by line, doesn't
 * rebuild all of them each time. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "wherry/job/mask.h"

#include <pcre2.h>

#include "automaton.h"
#include "mask_forms.h"
#include "text.h"
#include "wherry/base/digest.h"
#include "wherry/base/secret.h"

#define MAX_LEVELS 40
#define REGEX_MATCH_LIMIT 1000000u
#define REGEX_DEPTH_LIMIT 10000u

struct level { /* one automaton over patterns[first .. next level's first) */
    struct wh_automaton *automaton;
    size_t first;
    size_t bytes;
};

struct wh_masker {
    struct wh_view *patterns; /* owned bytes */
    size_t npatterns, cap;
    size_t bytes;
    size_t built; /* patterns that are in an automaton */
    struct level levels[MAX_LEVELS];
    size_t nlevels;
    struct wh_value *seen; /* values that were added, as keys */
    pcre2_code **regexes;
    size_t nregexes;
    pcre2_match_data *match_data;
    pcre2_match_context *match_context;
    struct range *ranges; /* of the text at hand; kept for the next one */
    size_t nranges, ranges_cap;
    bool over; /* a form didn't fit while a value was added */
};

struct range {
    size_t start, end;
};

struct wh_masker *wh_masker_new(void)
{
    struct wh_masker *m = wh_calloc(1, sizeof *m);
    m->seen = wh_value_object_case_sensitive();
    return m;
}

void wh_masker_free(struct wh_masker *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->npatterns; i++) {
        char *data = (char *)(uintptr_t)m->patterns[i].data;
        wh_wipe(data, m->patterns[i].len);
        free(data);
    }
    for (size_t i = 0; i < m->nlevels; i++)
        wh_automaton_free(m->levels[i].automaton);
    for (size_t i = 0; i < m->nregexes; i++)
        pcre2_code_free(m->regexes[i]);
    pcre2_match_data_free(m->match_data);
    pcre2_match_context_free(m->match_context);
    wh_value_unref(m->seen);
    free(m->regexes);
    free(m->patterns);
    free(m->ranges);
    free(m);
}

/* ---- adding ---- */

static void add_pattern(void *arg, const char *data, size_t len)
{
    struct wh_masker *m = arg;
    if (m->npatterns == WH_MAX_MASKS || len > WH_MAX_MASK_BYTES - m->bytes) {
        m->over = true;
        return;
    }
    if (m->npatterns == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 64;
        m->patterns = wh_reallocarray(m->patterns, m->cap, sizeof *m->patterns);
    }
    m->patterns[m->npatterns++] = (struct wh_view){wh_strndup(data, len), len};
    m->bytes += len;
}

int wh_masker_add(struct wh_masker *m, const char *value, size_t len, struct wh_error *err)
{
    if (len == 0 || wh_object_getn(m->seen, value, len))
        return 0;
    wh_object_setn(m->seen, value, len, NULL);
    m->over = false;
    add_pattern(m, value, len);
    wh_mask_forms(value, len, add_pattern, m);
    if (m->over)
        return wh_fail(err, WH_E_LIMIT, "too many secrets to mask: more than %u values or %zu bytes",
                       WH_MAX_MASKS, WH_MAX_MASK_BYTES);
    return 0;
}

/* Each trimmed line that isn't empty; a line ends at LF or CR. */
static int add_lines(struct wh_masker *m, struct wh_view text, struct wh_error *err)
{
    size_t at = 0;
    while (at < text.len) {
        size_t end = at;
        while (end < text.len && text.data[end] != '\n' && text.data[end] != '\r')
            end++;
        struct wh_view line = wh_view_trim_unicode((struct wh_view){text.data + at, end - at});
        if (wh_masker_add(m, line.data, line.len, err) < 0)
            return -1;
        at = end + 1;
    }
    return 0;
}

int wh_masker_add_secret(struct wh_masker *m, const char *value, struct wh_error *err)
{
    struct wh_view v = wh_view_trim_unicode(wh_view_of(value));
    if (wh_masker_add(m, v.data, v.len, err) < 0)
        return -1;
    return add_lines(m, v, err);
}

int wh_masker_add_command(struct wh_masker *m, const char *value, bool *blank, struct wh_error *err)
{
    struct wh_view v = wh_view_of(value);
    *blank = wh_view_trim_unicode(v).len == 0;
    if (*blank)
        return 0;
    if (wh_masker_add(m, v.data, v.len, err) < 0)
        return -1;
    return add_lines(m, v, err);
}

static bool is_plain(const char *pattern)
{
    return strpbrk(pattern, "\\^$.|?*+()[]{}") == NULL;
}

int wh_masker_add_regex(struct wh_masker *m, const char *pattern, struct wh_error *err)
{
    if (wh_masker_add(m, pattern, strlen(pattern), err) < 0)
        return -1;
    if (*pattern == '\0' || is_plain(pattern)) /* matches itself alone */
        return 0;
    if (m->nregexes == WH_MAX_MASK_REGEXES)
        return wh_fail(err, WH_E_LIMIT, "more than %u regular expressions to mask", WH_MAX_MASK_REGEXES);
    int code;
    PCRE2_SIZE at;
    pcre2_code *regex = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                      PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
    if (!regex) {
        PCRE2_UCHAR text[120] = "";
        pcre2_get_error_message(code, text, sizeof text);
        return wh_fail(err, WH_E_PARSE, "a mask is no regular expression: %s at position %zu", (char *)text,
                       (size_t)at + 1);
    }
    pcre2_jit_compile(regex, PCRE2_JIT_COMPLETE); /* without it matching is slower, not different */
    if (!m->match_context) {
        m->match_data = pcre2_match_data_create(1, NULL);
        m->match_context = pcre2_match_context_create(NULL);
        pcre2_set_match_limit(m->match_context, REGEX_MATCH_LIMIT);
        pcre2_set_depth_limit(m->match_context, REGEX_DEPTH_LIMIT);
    }
    m->regexes = wh_reallocarray(m->regexes, m->nregexes + 1, sizeof(pcre2_code *));
    m->regexes[m->nregexes++] = regex;
    return 0;
}

/* ---- from the message ---- */

static int add_token_forms(struct wh_masker *m, const char *token, struct wh_error *err)
{
    if (!token || !*token)
        return 0;
    wh_autofree char *basic = wh_printf("x-access-token:%s", token);
    wh_autofree char *encoded = wh_base64(basic, strlen(basic));
    return wh_masker_add(m, encoded, strlen(encoded), err);
}

static int add_endpoint(struct wh_masker *m, const struct wh_endpoint *e, struct wh_error *err)
{
    for (size_t i = 0; i < wh_value_count(e->parameters); i++) {
        wh_autofree char *text = wh_value_to_string(wh_object_value_at(e->parameters, i));
        if (wh_masker_add(m, text, strlen(text), err) < 0)
            return -1;
    }
    return 0;
}

int wh_masker_add_message(struct wh_masker *m, const struct wh_job_message *message, struct wh_error *err)
{
    for (size_t i = 0; i < message->nvariables; i++) {
        const struct wh_variable *v = &message->variables[i];
        bool debug =
            wh_streq_ci(v->name, "ACTIONS_STEP_DEBUG") || wh_streq_ci(v->name, "ACTIONS_RUNNER_DEBUG");
        if (v->secret && !debug && wh_masker_add_secret(m, v->value, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < message->nmasks; i++) {
        const struct wh_message_mask *mask = &message->masks[i];
        wh_autoerror ignored = {0};
        /* A pattern that is none masks as a value; running out of room must fail the job. */
        if (mask->regex && wh_masker_add_regex(m, mask->value, &ignored) < 0 && ignored.code == WH_E_LIMIT)
            return wh_error_move(err, &ignored);
    }
    for (size_t i = 0; i < message->nendpoints; i++) {
        if (add_endpoint(m, &message->endpoints[i], err) < 0)
            return -1;
    }
    return add_token_forms(m, wh_message_variable(message, "system.github.token"), err);
}

/* ---- masking ---- */

/* Builds what is new, together with the levels that are not clearly larger. */
static void build(struct wh_masker *m)
{
    size_t first = m->built, bytes = 0;
    for (size_t i = m->built; i < m->npatterns; i++)
        bytes += m->patterns[i].len;
    while (m->nlevels > 0 && (m->levels[m->nlevels - 1].bytes < 2 * bytes || m->nlevels == MAX_LEVELS)) {
        struct level *top = &m->levels[--m->nlevels];
        first = top->first;
        bytes += top->bytes;
        wh_automaton_free(top->automaton);
    }
    struct wh_automaton *a = wh_automaton_new(m->patterns + first, m->npatterns - first);
    m->levels[m->nlevels++] = (struct level){a, first, bytes};
    m->built = m->npatterns;
}

/* Ranges of one automaton come with ascending ends, so a new one can only swallow the last ones. */
static void add_range(void *arg, size_t start, size_t end)
{
    struct wh_masker *m = arg;
    while (m->nranges > 0 && m->ranges[m->nranges - 1].end >= start && m->ranges[m->nranges - 1].end <= end) {
        m->nranges--;
        start = WH_MIN(start, m->ranges[m->nranges].start);
    }
    if (m->nranges == m->ranges_cap) {
        m->ranges_cap = m->ranges_cap ? m->ranges_cap * 2 : 32;
        m->ranges = wh_reallocarray(m->ranges, m->ranges_cap, sizeof *m->ranges);
    }
    m->ranges[m->nranges++] = (struct range){start, end};
}

/* All matches, also overlapping ones. A text that takes too long is masked whole: rather too much than a
 * secret. */
static void match_regex(struct wh_masker *m, const pcre2_code *regex, const char *text, size_t len)
{
    size_t at = 0;
    while (at <= len) {
        int n = pcre2_match(regex, (PCRE2_SPTR)text, len, at, at > 0 ? PCRE2_NO_UTF_CHECK : 0, m->match_data,
                            m->match_context);
        if (n == PCRE2_ERROR_NOMATCH)
            return;
        if (n < 0) {
            add_range(m, 0, len);
            return;
        }
        const PCRE2_SIZE *match = pcre2_get_ovector_pointer(m->match_data);
        if (match[1] > match[0])
            add_range(m, match[0], match[1]);
        if (match[0] >= len)
            return;
        at = match[0];
        wh_utf8_next(text, len, &at);
    }
}

static int by_start(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

/* Sorts and merges what several automata and expressions found. */
static void merge(struct wh_masker *m)
{
    qsort(m->ranges, m->nranges, sizeof *m->ranges, by_start);
    size_t kept = 0;
    for (size_t i = 1; i < m->nranges; i++) {
        if (m->ranges[i].start <= m->ranges[kept].end)
            m->ranges[kept].end = WH_MAX(m->ranges[kept].end, m->ranges[i].end);
        else
            m->ranges[++kept] = m->ranges[i];
    }
    m->nranges = kept + 1;
}

static void find(struct wh_masker *m, const char *text, size_t len)
{
    m->nranges = 0;
    if (m->built < m->npatterns)
        build(m);
    for (size_t i = 0; i < m->nlevels; i++)
        wh_automaton_scan(m->levels[i].automaton, text, len, add_range, m);
    for (size_t i = 0; i < m->nregexes; i++)
        match_regex(m, m->regexes[i], text, len);
    if (m->nranges > 1 && m->nlevels + m->nregexes > 1)
        merge(m);
}

bool wh_mask(struct wh_masker *m, const char *text, size_t len, struct wh_str *out)
{
    if (len == 0)
        return false;
    find(m, text, len);
    if (m->nranges == 0)
        return false;
    wh_str_clear(out);
    size_t at = 0;
    for (size_t i = 0; i < m->nranges; i++) {
        wh_str_addn(out, text + at, m->ranges[i].start - at);
        wh_str_addn(out, "***", 3);
        at = m->ranges[i].end;
    }
    wh_str_addn(out, text + at, len - at);
    return true;
}

char *wh_mask_text(struct wh_masker *m, const char *text)
{
    wh_autostr out = {0};
    if (text && wh_mask(m, text, strlen(text), &out))
        return wh_str_steal(&out);
    return wh_strdup(text ? text : "");
}
