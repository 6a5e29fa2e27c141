/* Regular expressions of the metadata action: written for JavaScript, run by PCRE2, which is nearest to it.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "actions/metadata.h"

struct regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
};

static void regex_free(struct regex *x)
{
    pcre2_match_context_free(x->context);
    pcre2_match_data_free(x->data);
    pcre2_code_free(x->code);
}
#define autoregex __attribute__((cleanup(regex_free))) struct regex

static int options_of(const char *flags, uint32_t *options, bool *all, struct wh_error *err)
{
    *options = PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_BSUX | PCRE2_MATCH_UNSET_BACKREF;
    *all = false;
    for (const char *f = flags; *f; f++) {
        if (strchr("gimsuvyd", *f) == NULL || strchr(f + 1, *f))
            return wh_fail(err, WH_E_ARGUMENT, "Invalid flags supplied to RegExp constructor '%s'", flags);
        *options |= *f == 'i'   ? PCRE2_CASELESS
                    : *f == 'm' ? PCRE2_MULTILINE
                    : *f == 's' ? PCRE2_DOTALL
                    : *f == 'y' ? PCRE2_ANCHORED
                                : 0;
        *all = *all || *f == 'g';
    }
    return 0;
}

static int compile(struct regex *x, const char *pattern, uint32_t options, struct wh_error *err)
{
    int code;
    size_t at;
    x->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &code, &at, NULL);
    if (!x->code) {
        char text[128] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
        return wh_fail(err, WH_E_ARGUMENT, "Invalid regular expression: /%s/: %s at character %zu", pattern,
                       text, at + 1);
    }
    x->data = pcre2_match_data_create_from_pattern(x->code, NULL);
    x->context = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(x->context, WH_METADATA_REGEX_STEPS);
    return 0;
}

static int match_at(const struct regex *x, const char *text, size_t at, struct wh_error *err)
{
    int n = pcre2_match(x->code, (PCRE2_SPTR)text, strlen(text), at, 0, x->data, x->context);
    if (n > 0 || n == PCRE2_ERROR_NOMATCH)
        return n > 0 ? n : 0;
    char reason[128] = "";
    pcre2_get_error_message(n, (PCRE2_UCHAR *)reason, sizeof reason);
    return wh_fail(err, WH_E_LIMIT, "matching '%.100s': %s", text, reason);
}

static char *group_of(const struct regex *x, const char *text, unsigned n, int groups)
{
    const size_t *at = pcre2_get_ovector_pointer(x->data);
    if (n >= (unsigned)groups || at[2 * n] == PCRE2_UNSET || at[2 * n] > at[2 * n + 1])
        return NULL;
    return wh_strndup(text + at[2 * n], at[2 * n + 1] - at[2 * n]);
}

/* With the flag g, match() gives all matches and no groups: number n is the n-th match. */
static int nth_match(const struct regex *x, const char *text, unsigned n, char **group, struct wh_error *err)
{
    size_t at = 0, len = strlen(text);
    unsigned found = 0;
    while (at <= len) {
        int groups = match_at(x, text, at, err);
        if (groups < 0)
            return -1;
        if (groups == 0)
            break;
        if (found++ == n)
            *group = group_of(x, text, 0, groups);
        size_t end = pcre2_get_ovector_pointer(x->data)[1];
        at = end > at ? end : at + 1;
        while (at < len && ((unsigned char)text[at] & 0xC0) == 0x80)
            at++;
    }
    return found > 0;
}

int metadata_match(const char *pattern, const char *flags, const char *text, unsigned n, char **group,
                   struct wh_error *err)
{
    autoregex x = {0};
    uint32_t options;
    bool all;
    *group = NULL;
    if (options_of(flags, &options, &all, err) < 0 || compile(&x, pattern, options, err) < 0)
        return -1;
    if (!wh_utf8_valid(text, strlen(text)))
        return wh_fail(err, WH_E_ARGUMENT, "matching: the text is not UTF-8");
    if (all)
        return nth_match(&x, text, n, group, err);
    int groups = match_at(&x, text, 0, err);
    if (groups > 0)
        *group = group_of(&x, text, n, groups);
    return groups < 0 ? -1 : groups > 0;
}
