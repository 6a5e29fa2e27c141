/* Semantic versions as the strict reader of node-semver takes them: a leading v is fine, blanks around too.
 */
#include <ctype.h>

#include "actions/metadata.h"

#define MAX_TEXT 256
#define MAX_NUMBER 9007199254740991ull /* what JavaScript counts exactly */

static bool take_number(struct wh_reader *r, unsigned long long *out)
{
    bool zero = wh_reader_peek(r) == '0';
    size_t digits = 0;
    *out = 0;
    for (; isdigit(wh_reader_peek(r)) && *out <= MAX_NUMBER; digits++)
        *out = *out * 10 + (unsigned)(wh_reader_next(r) - '0');
    return digits > 0 && *out <= MAX_NUMBER && (!zero || digits == 1);
}

/* One identifier between dots; numbers of a pre-release have no leading zeros. */
static bool take_identifier(struct wh_reader *r, bool strict, struct wh_str *out)
{
    size_t start = out->len;
    bool number = true;
    for (int c = wh_reader_peek(r); isalnum(c) || c == '-'; c = wh_reader_peek(r)) {
        number = number && isdigit(c);
        wh_str_addc(out, (char)wh_reader_next(r));
    }
    size_t len = out->len - start;
    return len > 0 && !(strict && number && len > 1 && out->data[start] == '0');
}

static bool take_identifiers(struct wh_reader *r, bool strict, char **out)
{
    wh_autostr s = {0};
    if (!take_identifier(r, strict, &s))
        return false;
    while (wh_reader_take(r, '.')) {
        wh_str_addc(&s, '.');
        if (!take_identifier(r, strict, &s))
            return false;
    }
    *out = wh_str_steal(&s);
    return true;
}

bool metadata_semver_parse(const char *text, struct metadata_semver *out)
{
    *out = (struct metadata_semver){0};
    struct wh_view v = wh_view_trim(wh_view_of(text));
    struct wh_reader r = wh_reader_of(v.data, v.len);
    wh_reader_take(&r, 'v');
    bool good = strlen(text) <= MAX_TEXT && take_number(&r, &out->major) && wh_reader_take(&r, '.') &&
                take_number(&r, &out->minor) && wh_reader_take(&r, '.') && take_number(&r, &out->patch);
    good = good && (!wh_reader_take(&r, '-') || take_identifiers(&r, true, &out->prerelease));
    good = good && (!wh_reader_take(&r, '+') || take_identifiers(&r, false, &out->build));
    if (good && wh_reader_end(&r))
        return true;
    metadata_semver_free(out);
    return false;
}

void metadata_semver_free(struct metadata_semver *v)
{
    free(v->prerelease);
    free(v->build);
    *v = (struct metadata_semver){0};
}

char *metadata_semver_version(const struct metadata_semver *v)
{
    return wh_printf("%llu.%llu.%llu%s%s", v->major, v->minor, v->patch, v->prerelease ? "-" : "",
                     v->prerelease ? v->prerelease : "");
}
