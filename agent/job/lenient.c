/* fromJSON's reader (job-execution.md §2.5): JSON as the service's library takes it, with comments, single
 * quotes, bare keys, trailing commas, hexadecimal and octal numbers, NaN and Infinity; what follows the first
 * value is left alone. */
#include <math.h>

#include "text.h"
#include "value_impl.h"
#include "wherry/job/logtext.h"

struct lenient {
    const char *data;
    size_t len, pos;
    size_t items; /* left */
    unsigned depth;
    struct wh_str path;
    struct wh_error *err;
};

static int peek(const struct lenient *p)
{
    return p->pos < p->len ? (unsigned char)p->data[p->pos] : -1;
}

static int peek_at(const struct lenient *p, size_t ahead)
{
    return p->pos + ahead < p->len ? (unsigned char)p->data[p->pos + ahead] : -1;
}

/* "<text>. Path 'a[0].b', line 1, position 7." Returns NULL for the caller to return. */
static struct wh_value *fail(struct lenient *p, enum wh_error_code code, const char *text)
{
    size_t line = 1, start = 0;
    for (size_t i = 0; i < p->pos && i < p->len; i++) {
        if (p->data[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    wh_fail(p->err, code, "%s. Path '%s', line %zu, position %zu.", text, wh_str_text(&p->path), line,
            wh_utf16_length(p->data + start, WH_MIN(p->pos, p->len) - start));
    return NULL;
}

static struct wh_value *fail_char(struct lenient *p, const char *text)
{
    wh_autostr s = {0};
    size_t next = p->pos;
    wh_utf8_next(p->data, p->len, &next);
    wh_str_add(&s, text);
    wh_str_add(&s, ": ");
    wh_str_addn(&s, p->data + p->pos, next - p->pos);
    return fail(p, WH_E_PARSE, wh_str_text(&s));
}

static bool skip_comment(struct lenient *p)
{
    if (peek_at(p, 1) == '*') {
        const char *end = memmem(p->data + p->pos + 2, p->len - p->pos - 2, "*/", 2);
        if (!end) {
            p->pos = p->len;
            fail(p, WH_E_PARSE, "Unexpected end while parsing comment");
            return false;
        }
        p->pos = (size_t)(end - p->data) + 2;
        return true;
    }
    if (peek_at(p, 1) == '/') {
        while (p->pos < p->len && p->data[p->pos] != '\n' && p->data[p->pos] != '\r')
            p->pos++;
        return true;
    }
    fail(p, WH_E_PARSE, "Error parsing comment. Expected: *");
    return false;
}

/* White space and comments. False: a broken comment, err is set. */
static bool skip_blank(struct lenient *p)
{
    while (p->pos < p->len) {
        size_t next = p->pos;
        if (p->data[p->pos] == '/') {
            if (!skip_comment(p))
                return false;
        } else if (wh_is_space(wh_utf8_next(p->data, p->len, &next))) {
            p->pos = next;
        } else {
            break;
        }
    }
    return true;
}

static int read_hex4(struct lenient *p)
{
    int n = 0;
    if (p->len - p->pos < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int c = peek_at(p, (size_t)i);
        int d = c >= '0' && c <= '9'                 ? c - '0'
                : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                     : -1;
        if (d < 0)
            return -1;
        n = n * 16 + d;
    }
    p->pos += 4;
    return n;
}

/* After "\u". Halves of a pair that stand alone become U+FFFD. */
static bool read_unicode(struct lenient *p, struct wh_str *out)
{
    int unit = read_hex4(p);
    if (unit < 0) {
        fail(p, WH_E_PARSE, "Invalid Unicode escape sequence");
        return false;
    }
    uint32_t cp = (uint32_t)unit;
    if (cp >= 0xD800 && cp < 0xDC00 && peek(p) == '\\' && peek_at(p, 1) == 'u') {
        size_t back = p->pos;
        p->pos += 2;
        int low = read_hex4(p);
        if (low >= 0xDC00 && low < 0xE000)
            cp = 0x10000 + ((cp - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
        else
            p->pos = back;
    }
    wh_utf8_add(out, cp >= 0xD800 && cp < 0xE000 ? 0xFFFD : cp);
    return true;
}

static bool read_escape(struct lenient *p, struct wh_str *out)
{
    int c = peek(p);
    p->pos++;
    switch (c) {
    case 'b':
        wh_str_addc(out, '\b');
        return true;
    case 't':
        wh_str_addc(out, '\t');
        return true;
    case 'n':
        wh_str_addc(out, '\n');
        return true;
    case 'f':
        wh_str_addc(out, '\f');
        return true;
    case 'r':
        wh_str_addc(out, '\r');
        return true;
    case '\\':
    case '"':
    case '\'':
    case '/':
        wh_str_addc(out, (char)c);
        return true;
    case 'u':
        return read_unicode(p, out);
    default:
        break;
    }
    wh_autofree char *text = c < 0 ? wh_strdup("Unterminated string. Expected delimiter")
                                   : wh_printf("Bad JSON escape sequence: \\%c", c);
    p->pos = WH_MIN(p->pos, p->len);
    fail(p, WH_E_PARSE, text);
    return false;
}

static bool read_string(struct lenient *p, struct wh_str *out)
{
    char quote = p->data[p->pos++];
    while (p->pos < p->len) {
        size_t start = p->pos;
        while (p->pos < p->len && p->data[p->pos] != quote && p->data[p->pos] != '\\')
            p->pos++;
        wh_str_addn(out, p->data + start, p->pos - start);
        if (p->pos >= p->len)
            break;
        if (p->data[p->pos++] == quote)
            return true;
        if (!read_escape(p, out))
            return false;
    }
    wh_autofree char *text = wh_printf("Unterminated string. Expected delimiter: %c", quote);
    fail(p, WH_E_PARSE, text);
    return false;
}

static struct wh_value *string_value(struct lenient *p)
{
    struct wh_str s = {0};
    if (!read_string(p, &s)) {
        wh_str_free(&s);
        return NULL;
    }
    if (wh_utf8_valid(wh_str_text(&s), s.len))
        return wh_value_string_take(&s);
    struct wh_value *v = wh_value_stringn(s.data, s.len);
    wh_str_free(&s);
    return v;
}

static bool is_separator(int c)
{
    return c < 0 || c == ',' || c == ']' || c == '}' || c == ')' || c == '/' || c == ' ' ||
           (c >= 9 && c <= 13) || c >= 0x80;
}

static bool take_word(struct lenient *p, const char *word)
{
    size_t n = strlen(word);
    if (p->len - p->pos < n || memcmp(p->data + p->pos, word, n) != 0 || !is_separator(peek_at(p, n)))
        return false;
    p->pos += n;
    return true;
}

static struct wh_value *word_value(struct lenient *p)
{
    if (take_word(p, "true"))
        return wh_value_bool(true);
    if (take_word(p, "false"))
        return wh_value_bool(false);
    if (take_word(p, "null") || take_word(p, "undefined"))
        return wh_value_null();
    if (take_word(p, "NaN"))
        return wh_value_number(NAN);
    if (take_word(p, "Infinity"))
        return wh_value_number(INFINITY);
    return fail_char(p, "Unexpected character encountered while parsing value");
}

static bool is_number_char(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == '.' ||
           c == '-' || c == '+' || c == 'x' || c == 'X';
}

/* 0x1F and 017: whole 64-bit numbers. */
static bool radix_number(struct wh_view v, double *out)
{
    bool hex = v.len > 2 && (v.data[1] | 32) == 'x';
    char *end;
    wh_autofree char *text = wh_view_dup(v);
    if (v.len > 24 && !hex)
        return false;
    unsigned long long n = strtoull(text + (hex ? 2 : 1), &end, hex ? 16 : 8);
    *out = (double)(int64_t)n;
    return *end == '\0' && end > text + (hex ? 2 : 1);
}

static struct wh_value *number_value(struct lenient *p)
{
    if (peek(p) == '-' && peek_at(p, 1) == 'I') {
        p->pos++;
        if (take_word(p, "Infinity"))
            return wh_value_number(-INFINITY);
        return fail_char(p, "Unexpected character encountered while parsing value");
    }
    size_t start = p->pos;
    while (is_number_char(peek(p)))
        p->pos++;
    struct wh_view v = {p->data + start, p->pos - start};
    if (!is_separator(peek(p)))
        return fail_char(p, "Unexpected character encountered while parsing number");
    double n;
    bool radix = v.len > 1 && v.data[0] == '0' && v.data[1] != '.' && (v.data[1] | 32) != 'e';
    bool ok = radix ? radix_number(v, &n) : true;
    if (!radix) {
        n = wh_number_parse(v.data, v.len);
        ok = !isnan(n);
    }
    if (!ok) {
        wh_autofree char *copy = wh_view_dup(v);
        wh_autofree char *text = wh_printf("Input string '%s' is not a valid number", copy);
        return fail(p, WH_E_PARSE, text);
    }
    return wh_value_number(n);
}

static bool is_name_char(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '$' || c >= 0x80;
}

static bool read_key(struct lenient *p, struct wh_str *key)
{
    int c = peek(p);
    if (c == '"' || c == '\'') {
        if (!read_string(p, key))
            return false;
    } else if (is_name_char(c)) {
        size_t start = p->pos;
        while (is_name_char(peek(p)))
            p->pos++;
        wh_str_addn(key, p->data + start, p->pos - start);
    } else {
        if (c < 0)
            fail(p, WH_E_PARSE, "Unexpected end when reading JSON");
        else
            fail_char(p, "Invalid property identifier character");
        return false;
    }
    if (!skip_blank(p))
        return false;
    if (peek(p) != ':') {
        if (peek(p) < 0)
            fail(p, WH_E_PARSE, "Unexpected end when reading JSON");
        else
            fail_char(p, "Invalid character after parsing property name. Expected ':' but got");
        return false;
    }
    p->pos++;
    return true;
}

static struct wh_value *read_value(struct lenient *p);

/* After a value: a comma (taken) or the closing character (left). */
static bool after_value(struct lenient *p, char close)
{
    if (!skip_blank(p))
        return false;
    int c = peek(p);
    if (c == ',') {
        p->pos++;
        return true;
    }
    if (c == close)
        return true;
    if (c < 0)
        fail(p, WH_E_PARSE,
             close == '}' ? "Unexpected end of content while loading JObject"
                          : "Unexpected end of content while loading JArray");
    else
        fail_char(p, "After parsing a value an unexpected character was encountered");
    return false;
}

static struct wh_value *read_object(struct lenient *p)
{
    wh_autovalue *object = wh_value_object();
    p->pos++;
    for (;;) {
        if (!skip_blank(p))
            return NULL;
        if (peek(p) == '}')
            break;
        if (peek(p) < 0)
            return fail(p, WH_E_PARSE, "Unexpected end of content while loading JObject");
        wh_autostr key = {0};
        if (!read_key(p, &key))
            return NULL;
        size_t path = p->path.len;
        if (path > 0)
            wh_str_addc(&p->path, '.');
        wh_str_addn(&p->path, wh_str_text(&key), key.len);
        struct wh_value *v = read_value(p);
        if (!v)
            return NULL;
        wh_object_setn(object, wh_str_text(&key), key.len, v);
        wh_value_unref(v);
        if (!after_value(p, '}'))
            return NULL;
        wh_str_truncate(&p->path, path);
    }
    p->pos++;
    return wh_steal(&object);
}

static struct wh_value *read_array(struct lenient *p)
{
    wh_autovalue *array = wh_value_array();
    p->pos++;
    for (;;) {
        if (!skip_blank(p))
            return NULL;
        if (peek(p) == ']')
            break;
        if (peek(p) < 0)
            return fail(p, WH_E_PARSE, "Unexpected end of content while loading JArray");
        if (peek(p) == ',') { /* a hole is undefined, which reads as null */
            p->pos++;
            wh_array_add_take(array, wh_value_null());
            continue;
        }
        size_t path = p->path.len;
        wh_str_addf(&p->path, "[%zu]", wh_value_count(array));
        struct wh_value *v = read_value(p);
        if (!v)
            return NULL;
        wh_array_add_take(array, v);
        if (!after_value(p, ']'))
            return NULL;
        wh_str_truncate(&p->path, path);
    }
    p->pos++;
    return wh_steal(&array);
}

static struct wh_value *read_value(struct lenient *p)
{
    if (!skip_blank(p))
        return NULL;
    if (p->items-- == 0)
        return fail(p, WH_E_LIMIT, "Too many values");
    int c = peek(p);
    if (c == '{' || c == '[') {
        if (p->depth >= WH_MAX_VALUE_DEPTH)
            return fail(p, WH_E_LIMIT, "The reader's MaxDepth of 64 has been exceeded");
        p->depth++;
        struct wh_value *v = c == '{' ? read_object(p) : read_array(p);
        p->depth--;
        return v;
    }
    if (c == '"' || c == '\'')
        return string_value(p);
    if ((c >= '0' && c <= '9') || c == '-' || c == '.')
        return number_value(p);
    if (c < 0)
        return fail(p, WH_E_PARSE, "Unexpected end when reading JSON");
    return word_value(p);
}

struct wh_value *wh_value_parse_json(const char *text, size_t len, struct wh_error *err)
{
    struct lenient p = {.data = text, .len = len, .items = WH_MAX_VALUE_ITEMS, .err = err};
    if (!skip_blank(&p)) {
        wh_str_free(&p.path);
        return NULL;
    }
    struct wh_value *v = NULL;
    if (p.pos >= len)
        wh_fail(err, WH_E_PARSE, "Error reading JToken from JsonReader. Path '', line 0, position 0.");
    else
        v = read_value(&p);
    wh_str_free(&p.path);
    return v;
}
