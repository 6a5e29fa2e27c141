/* Versions of Python packages: PEP 440, Appendix B, and the normal form of what it takes. */
#include <ctype.h>

#include "actions/metadata.h"

/* A number without its leading zeros. */
static bool take_number(struct wh_reader *r, struct wh_str *out)
{
    if (!isdigit(wh_reader_peek(r)))
        return false;
    while (wh_reader_peek(r) == '0' && isdigit(wh_reader_peek_at(r, 1)))
        wh_reader_next(r);
    while (isdigit(wh_reader_peek(r)))
        wh_str_addc(out, (char)wh_reader_next(r));
    return true;
}

static void take_separator(struct wh_reader *r)
{
    int c = wh_reader_peek(r);
    if (c == '-' || c == '_' || c == '.')
        wh_reader_next(r);
}

/* [sep]word[sep][number], for the first of the words that is there; the text stays where it was otherwise. */
static bool take_part(struct wh_reader *r, const char *const (*words)[2], size_t n, struct wh_str *out)
{
    struct wh_reader at = *r;
    take_separator(&at);
    for (size_t i = 0; i < n; i++) {
        if (!wh_reader_take_text(&at, words[i][0]))
            continue;
        wh_str_add(out, words[i][1]);
        *r = at;
        take_separator(&at);
        if (take_number(&at, out))
            *r = at;
        else
            wh_str_addc(out, '0');
        return true;
    }
    return false;
}

static bool take_epoch(struct wh_reader *r, struct wh_str *out)
{
    struct wh_reader at = *r;
    wh_autostr epoch = {0};
    if (!take_number(&at, &epoch) || !wh_reader_take(&at, '!'))
        return false;
    *r = at;
    if (!wh_streq(epoch.data, "0"))
        wh_str_addf(out, "%s!", epoch.data);
    return true;
}

static bool take_release(struct wh_reader *r, struct metadata_pep440 *v, struct wh_str *out)
{
    for (size_t i = 0;; i++) {
        wh_autostr number = {0};
        if (!take_number(r, &number))
            return false;
        wh_str_addf(out, "%s%s", i > 0 ? "." : "", number.data);
        if (i < WH_COUNT(v->release))
            v->release[i] = wh_str_steal(&number);
        if (wh_reader_peek(r) != '.' || !isdigit(wh_reader_peek_at(r, 1)))
            break;
        wh_reader_next(r);
    }
    for (size_t i = 0; i < WH_COUNT(v->release); i++)
        if (!v->release[i])
            v->release[i] = wh_strdup("0");
    return true;
}

/* "-1" alone is a post release too. */
static bool take_post(struct wh_reader *r, struct wh_str *out)
{
    static const char *const words[][2] = {{"post", ".post"}, {"rev", ".post"}, {"r", ".post"}};
    if (wh_reader_peek(r) == '-' && isdigit(wh_reader_peek_at(r, 1))) {
        wh_reader_next(r);
        wh_str_add(out, ".post");
        return take_number(r, out);
    }
    return take_part(r, words, WH_COUNT(words), out);
}

/* The original's printer joins these parts by commas (which a tag then has as dashes). */
static bool take_local(struct wh_reader *r, struct wh_str *out)
{
    if (!wh_reader_take(r, '+'))
        return true;
    wh_str_addc(out, '+');
    for (;;) {
        wh_autostr part = {0};
        bool digits = true;
        while (isalnum(wh_reader_peek(r))) {
            digits = digits && isdigit(wh_reader_peek(r));
            wh_str_addc(&part, (char)wh_reader_next(r));
        }
        if (part.len == 0)
            return false;
        const char *text = part.data;
        while (digits && text[0] == '0' && text[1])
            text++;
        wh_str_add(out, text);
        if (wh_reader_end(r))
            return true;
        take_separator(r);
        wh_str_addc(out, ',');
    }
}

bool metadata_pep440_parse(const char *text, struct metadata_pep440 *out)
{
    static const char *const pre[][2] = {{"alpha", "a"},    {"a", "a"},    {"beta", "b"}, {"b", "b"},
                                         {"preview", "rc"}, {"pre", "rc"}, {"c", "rc"},   {"rc", "rc"}};
    static const char *const dev[][2] = {{"dev", ".dev"}};
    *out = (struct metadata_pep440){0};
    wh_autofree char *low = wh_view_dup(wh_view_trim(wh_view_of(text)));
    wh_ascii_lower(low);
    struct wh_reader r = wh_reader_of(low, strlen(low));
    wh_autostr clean = {0};
    wh_reader_take(&r, 'v');
    take_epoch(&r, &clean);
    bool good = take_release(&r, out, &clean);
    if (good) {
        out->pre = take_part(&r, pre, WH_COUNT(pre), &clean);
        out->post = take_post(&r, &clean);
        out->dev = take_part(&r, dev, WH_COUNT(dev), &clean);
        good = take_local(&r, &clean) && wh_reader_end(&r);
    }
    out->clean = wh_str_steal(&clean);
    if (!good)
        metadata_pep440_free(out);
    return good;
}

void metadata_pep440_free(struct metadata_pep440 *v)
{
    free(v->clean);
    for (size_t i = 0; i < WH_COUNT(v->release); i++)
        free(v->release[i]);
    *v = (struct metadata_pep440){0};
}
