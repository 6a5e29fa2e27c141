/* Characters, quoting, splitting: as Go does it, since BuildKit's rules and texts come from there. */
#include "dockerfile/text.h"

size_t df_decode(const char *s, size_t len, int32_t *cp)
{
    const unsigned char *u = (const unsigned char *)s;
    if (u[0] < 0x80) {
        *cp = u[0];
        return 1;
    }
    size_t n = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
    if (n > len || !wh_utf8_valid(s, n)) {
        *cp = -1;
        return 1;
    }
    int32_t c = u[0] & (0x7f >> n);
    for (size_t i = 1; i < n; i++)
        c = (c << 6) | (u[i] & 0x3f);
    *cp = c;
    return n;
}

bool df_letter(int32_t cp)
{
    if (cp < 0x80)
        return (cp >= 'a' && cp <= 'z') || (cp >= 'A' && cp <= 'Z');
    static const struct {
        int32_t from, to;
    } not_letters[] = {{0x80, 0xa9},     {0xab, 0xb4},       {0xb6, 0xb9},       {0xbb, 0xbf},
                       {0xd7, 0xd7},     {0xf7, 0xf7},       {0x2000, 0x2070},   {0x2072, 0x207e},
                       {0x2080, 0x208f}, {0x209d, 0x2101},   {0x2190, 0x2bff},   {0x2e00, 0x2e2e},
                       {0x2e30, 0x3004}, {0x3007, 0x3030},   {0xe000, 0xf8ff},   {0xfe00, 0xfe6f},
                       {0xff00, 0xff20}, {0x1f000, 0x1fbff}, {0xe0000, 0x10ffff}};
    for (size_t i = 0; i < WH_COUNT(not_letters); i++)
        if (cp >= not_letters[i].from && cp <= not_letters[i].to)
            return false;
    return cp > 0;
}

void df_add_quoted(struct wh_str *out, const char *text)
{
    static const char named[] = "\aa\bb\ff\nn\rr\tt\vv\"\"\\\\";
    wh_str_addc(out, '"');
    for (size_t i = 0, len = strlen(text); i < len;) {
        int32_t cp;
        size_t n = df_decode(text + i, len - i, &cp);
        const char *at = cp > 0 && cp < 0x80 ? strchr(named, cp) : NULL;
        /* Every second byte of named is an escape's letter: only even places are the bytes to escape. */
        while (at && *at != '\0' && (at - named) % 2 != 0)
            at = strchr(at + 1, cp);
        if (cp < 0)
            wh_str_addf(out, "\\x%02x", (unsigned char)text[i]);
        else if (at && *at)
            wh_str_addf(out, "\\%c", at[1]);
        else if (cp < 0x20 || cp == 0x7f)
            wh_str_addf(out, "\\x%02x", (unsigned)cp);
        else if ((cp >= 0x80 && cp < 0xa1) || cp == 0xad || cp == 0x2028 || cp == 0x2029 || cp == 0xfeff)
            wh_str_addf(out, "\\u%04x", (unsigned)cp);
        else
            wh_str_addn(out, text + i, n);
        i += n;
    }
    wh_str_addc(out, '"');
}

void df_add_list(struct wh_str *out, char *const *words)
{
    wh_str_addc(out, '[');
    for (size_t i = 0; words && words[i]; i++) {
        if (i > 0)
            wh_str_addc(out, ' ');
        wh_str_add(out, words[i]);
    }
    wh_str_addc(out, ']');
}

bool df_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\r';
}

char *df_trim_dup(const char *text)
{
    return wh_view_dup(wh_view_trim(wh_view_of(text)));
}

char **df_split_blank(const char *text, int max)
{
    char **words = NULL;
    const char *start = text;
    int n = 1;
    for (const char *p = text; *p;) {
        if (!df_blank(*p) || (max >= 0 && n >= max)) {
            p++;
            continue;
        }
        wh_strv_take(&words, wh_strndup(start, (size_t)(p - start)));
        n++;
        while (df_blank(*p))
            p++;
        start = p;
    }
    wh_strv_add(&words, start);
    return words;
}

/* Edits between two names, no swaps; more than WH_MAX_SUGGESTED is far enough. */
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > WH_MAX_SUGGESTED || m > WH_MAX_SUGGESTED)
        return SIZE_MAX;
    size_t row[WH_MAX_SUGGESTED + 1];
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = WH_MIN(change, WH_MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[m];
}

const char *df_nearest(const char *word, const char *const *names)
{
    const char *best = NULL;
    size_t least = 3; /* BuildKit's bound, as HCL's */
    for (; names && *names; names++) {
        size_t d = distance(word, *names);
        if (d == 0)
            return NULL; /* the name is right: something else is wrong */
        if (d < least) {
            best = *names;
            least = d;
        }
    }
    return best;
}

void df_suggest(struct wh_str *out, const char *word, const char *const *names, bool ignore_case)
{
    wh_autofree char *copy = wh_strdup(word);
    if (ignore_case)
        wh_ascii_lower(copy);
    const char *near = df_nearest(copy, names);
    if (near)
        wh_str_addf(out, " (did you mean %s?)", near);
}
