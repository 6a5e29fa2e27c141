/* The exec form: a JSON array of strings, by the letter of JSON, since whatever is not JSON is a shell line
 * (builder.md §1.1). */
#include "dockerfile/read.h"

#define MAX_DEPTH 64

struct json {
    struct wh_reader r;
    unsigned depth;
    bool too_deep;
};

static void skip_blank(struct json *j)
{
    int c;
    while ((c = wh_reader_peek(&j->r)) == ' ' || c == '\t' || c == '\n' || c == '\r')
        wh_reader_next(&j->r);
}

static bool hex4(struct json *j, unsigned *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++) {
        int c = wh_reader_next(&j->r);
        if (c >= '0' && c <= '9')
            *out = *out * 16 + (unsigned)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            *out = *out * 16 + (unsigned)((c | 0x20) - 'a' + 10);
        else
            return false;
    }
    return true;
}

static void add_rune(struct wh_str *out, unsigned cp)
{
    if (cp >= 0xd800 && cp <= 0xdfff)
        cp = 0xfffd;
    if (cp < 0x80) {
        wh_str_addc(out, (char)cp);
    } else if (cp < 0x800) {
        wh_str_addc(out, (char)(0xc0 | (cp >> 6)));
    } else if (cp < 0x10000) {
        wh_str_addc(out, (char)(0xe0 | (cp >> 12)));
        wh_str_addc(out, (char)(0x80 | ((cp >> 6) & 0x3f)));
    } else {
        wh_str_addc(out, (char)(0xf0 | (cp >> 18)));
        wh_str_addc(out, (char)(0x80 | ((cp >> 12) & 0x3f)));
        wh_str_addc(out, (char)(0x80 | ((cp >> 6) & 0x3f)));
    }
    if (cp >= 0x80)
        wh_str_addc(out, (char)(0x80 | (cp & 0x3f)));
}

static bool escape(struct json *j, struct wh_str *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    int c = wh_reader_next(&j->r);
    const char *at = c > 0 ? strchr(from, c) : NULL;
    if (at) {
        wh_str_addc(out, to[at - from]);
        return true;
    }
    unsigned cp, low;
    if (c != 'u' || !hex4(j, &cp))
        return false;
    if (cp >= 0xd800 && cp <= 0xdbff && wh_reader_peek(&j->r) == '\\' && wh_reader_peek_at(&j->r, 1) == 'u') {
        struct wh_reader before = j->r;
        j->r.pos += 2;
        if (!hex4(j, &low))
            return false;
        if (low >= 0xdc00 && low <= 0xdfff)
            cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
        else
            j->r = before;
    }
    add_rune(out, cp);
    return true;
}

static bool string(struct json *j, struct wh_str *out)
{
    if (!wh_reader_take(&j->r, '"'))
        return false;
    wh_autostr raw = {0};
    for (;;) {
        int c = wh_reader_next(&j->r);
        if (c < 0x20)
            return false; /* the end, or a control character */
        if (c == '"' || c == '\\') {
            wh_str_add_utf8(out, wh_str_text(&raw), raw.len);
            wh_str_clear(&raw);
            if (c == '"')
                return true;
            if (!escape(j, out))
                return false;
        } else {
            wh_str_addc(&raw, (char)c);
        }
    }
}

static bool digits(struct json *j)
{
    int n = 0;
    while (wh_reader_peek(&j->r) >= '0' && wh_reader_peek(&j->r) <= '9') {
        wh_reader_next(&j->r);
        n++;
    }
    return n > 0;
}

static bool number(struct json *j)
{
    wh_reader_take(&j->r, '-');
    if (!wh_reader_take(&j->r, '0') && !digits(j))
        return false;
    if (wh_reader_take(&j->r, '.') && !digits(j))
        return false;
    if (!wh_reader_take(&j->r, 'e') && !wh_reader_take(&j->r, 'E'))
        return true;
    if (!wh_reader_take(&j->r, '+'))
        wh_reader_take(&j->r, '-');
    return digits(j);
}

static bool value(struct json *j);

static bool members(struct json *j, char close, bool named)
{
    skip_blank(j);
    if (wh_reader_take(&j->r, close))
        return true;
    do {
        wh_autostr name = {0};
        skip_blank(j);
        if (named) {
            if (!string(j, &name))
                return false;
            skip_blank(j);
            if (!wh_reader_take(&j->r, ':'))
                return false;
        }
        if (!value(j))
            return false;
        skip_blank(j);
    } while (wh_reader_take(&j->r, ','));
    return wh_reader_take(&j->r, close);
}

static bool value(struct json *j)
{
    skip_blank(j);
    wh_autostr text = {0};
    int c = wh_reader_peek(&j->r);
    if (c == '"')
        return string(j, &text);
    if (c == '[' || c == '{') {
        if (++j->depth > MAX_DEPTH) {
            j->too_deep = true;
            return false;
        }
        wh_reader_next(&j->r);
        bool ok = members(j, c == '[' ? ']' : '}', c == '{');
        j->depth--;
        return ok;
    }
    if (c == 't')
        return wh_reader_take_text(&j->r, "true");
    if (c == 'f')
        return wh_reader_take_text(&j->r, "false");
    if (c == 'n')
        return wh_reader_take_text(&j->r, "null");
    return number(j);
}

struct found {
    char **words;
    size_t n;
    bool others, nul;
};

/* The members of the outer array. */
static bool array(struct json *j, struct found *f)
{
    if (!wh_reader_take(&j->r, '['))
        return false;
    skip_blank(j);
    if (wh_reader_take(&j->r, ']'))
        return true;
    do {
        skip_blank(j);
        wh_autostr text = {0};
        bool is_string = wh_reader_peek(&j->r) == '"';
        if (is_string ? !string(j, &text) : !value(j))
            return false;
        f->others |= !is_string;
        if (is_string && f->n <= WH_MAX_DOCKERFILE_WORDS) {
            f->nul |= strlen(wh_str_text(&text)) != text.len;
            wh_strv_take(&f->words, wh_str_steal(&text));
            f->n++;
        }
        skip_blank(j);
    } while (wh_reader_take(&j->r, ','));
    return wh_reader_take(&j->r, ']');
}

int df_json_array(const char *text, char ***out, struct wh_error *err)
{
    struct json j = {.r = wh_reader_of(text, strlen(text))};
    struct found f = {0};
    skip_blank(&j);
    bool ok = array(&j, &f);
    skip_blank(&j);
    ok = ok && wh_reader_end(&j.r);
    if (ok && !f.others && !f.nul) {
        *out = f.words;
        return 1;
    }
    wh_strv_free(f.words);
    if (j.too_deep)
        return wh_fail(err, WH_E_LIMIT, "more than %d levels of JSON", MAX_DEPTH);
    if (!ok)
        return 0;
    if (f.others)
        return wh_fail(err, WH_E_PARSE,
                       "when using JSON array syntax, arrays must be comprised of strings only");
    return wh_fail(err, WH_E_PARSE, "a JSON string must not hold a NUL character");
}
