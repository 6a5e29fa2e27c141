/* Coercions and comparison (job-execution.md §2.3): JavaScript's rules but for strings, which compare without
 * case, and collections, which compare by identity. */
#include <math.h>
#include <stdio.h>

#include "text.h"
#include "value_impl.h"

bool wh_value_truthy(const struct wh_value *v)
{
    switch (wh_value_kind(v)) {
    case WH_NULL:
        return false;
    case WH_BOOL:
        return v->boolean;
    case WH_NUMBER:
        return v->number != 0 && !isnan(v->number);
    case WH_STRING:
        return v->string.len > 0;
    case WH_ARRAY:
    case WH_OBJECT:
        return true;
    }
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* [+-] digits [. digits] [e [+-] digits], with a digit somewhere before the exponent. */
static bool is_decimal(struct wh_view v)
{
    size_t i = 0, digits = 0;
    if (i < v.len && (v.data[i] == '+' || v.data[i] == '-'))
        i++;
    for (; i < v.len && is_digit(v.data[i]); i++)
        digits++;
    if (i < v.len && v.data[i] == '.')
        i++;
    for (; i < v.len && is_digit(v.data[i]); i++)
        digits++;
    if (digits == 0)
        return false;
    if (i < v.len && (v.data[i] == 'e' || v.data[i] == 'E')) {
        i++;
        if (i < v.len && (v.data[i] == '+' || v.data[i] == '-'))
            i++;
        if (i >= v.len)
            return false;
        while (i < v.len && is_digit(v.data[i]))
            i++;
    }
    return i == v.len;
}

/* The digits after 0x or 0o as a 32-bit two's complement number; NaN where they don't fit. */
static double parse_radix(struct wh_view digits, unsigned bits)
{
    uint64_t n = 0;
    for (size_t i = 0; i < digits.len; i++) {
        char c = digits.data[i];
        unsigned d = is_digit(c)            ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                            : 99;
        if (d >= 1u << bits)
            return NAN;
        n = n << bits | d;
        if (n > UINT32_MAX)
            return NAN;
    }
    return (double)(int32_t)(uint32_t)n;
}

static double parse_word(struct wh_view v)
{
    bool negative = v.data[0] == '-', sign = negative || v.data[0] == '+';
    struct wh_view rest = {v.data + sign, v.len - sign};
    if (rest.len == 8 && wh_strcmp_ci(rest.data, "infinity", 8) == 0)
        return negative ? -INFINITY : INFINITY;
    return NAN;
}

double wh_number_parse(const char *text, size_t len)
{
    struct wh_view v = wh_view_trim_unicode((struct wh_view){text, len});
    if (v.len == 0)
        return 0;
    if (is_decimal(v)) {
        /* strtod() wants a terminator; the process keeps the C locale for numbers. */
        char small[64];
        if (v.len < sizeof small) {
            *(char *)mempcpy(small, v.data, v.len) = '\0';
            return strtod(small, NULL);
        }
        wh_autofree char *large = wh_view_dup(v);
        return strtod(large, NULL);
    }
    if (v.len > 2 && v.data[0] == '0' && (v.data[1] == 'x' || v.data[1] == 'o'))
        return parse_radix((struct wh_view){v.data + 2, v.len - 2}, v.data[1] == 'x' ? 4 : 3);
    return parse_word(v);
}

double wh_value_to_number(const struct wh_value *v)
{
    switch (wh_value_kind(v)) {
    case WH_NULL:
        return 0;
    case WH_BOOL:
        return v->boolean ? 1 : 0;
    case WH_NUMBER:
        return v->number;
    case WH_STRING:
        return wh_number_parse(v->string.text, v->string.len);
    case WH_ARRAY:
    case WH_OBJECT:
        break;
    }
    return NAN;
}

void wh_number_add(struct wh_str *out, double n)
{
    char text[40];
    if (isnan(n))
        wh_str_add(out, "NaN");
    else if (isinf(n))
        wh_str_add(out, n < 0 ? "-Infinity" : "Infinity");
    else if (n == 0)
        wh_str_addc(out, '0');
    else
        wh_str_addn(out, text, (size_t)snprintf(text, sizeof text, "%.15G", n));
}

const char *wh_kind_name(enum wh_kind kind)
{
    static const char *const names[] = {"Null", "Boolean", "Number", "String", "Array", "Object"};
    return names[kind];
}

void wh_value_add_string(struct wh_str *out, const struct wh_value *v)
{
    switch (wh_value_kind(v)) {
    case WH_NULL:
        break;
    case WH_BOOL:
        wh_str_add(out, v->boolean ? "true" : "false");
        break;
    case WH_NUMBER:
        wh_number_add(out, v->number);
        break;
    case WH_STRING:
        wh_str_addn(out, v->string.text, v->string.len);
        break;
    case WH_ARRAY:
        wh_str_add(out, "Array");
        break;
    case WH_OBJECT:
        wh_str_add(out, "Object");
        break;
    }
}

char *wh_value_to_string(const struct wh_value *v)
{
    if (wh_value_kind(v) == WH_STRING)
        return wh_strndup(v->string.text, v->string.len);
    struct wh_str s = {0};
    wh_value_add_string(&s, v);
    return wh_str_steal(&s);
}

/* After coercion a pair is of one kind, or it compares as unequal and unordered. Null and boolean go to
 * numbers against anything else; what then meets a string takes it to a number too. */
static bool coerce_to_numbers(const struct wh_value *a, const struct wh_value *b, double *x, double *y)
{
    enum wh_kind ka = wh_value_kind(a), kb = wh_value_kind(b);
    if (ka == kb)
        return false;
    if (ka >= WH_ARRAY || kb >= WH_ARRAY)
        return false; /* a number and a collection stay different */
    *x = wh_value_to_number(a);
    *y = wh_value_to_number(b);
    return true;
}

bool wh_value_equals(const struct wh_value *a, const struct wh_value *b)
{
    double x, y;
    if (coerce_to_numbers(a, b, &x, &y))
        return x == y;
    enum wh_kind kind = wh_value_kind(a);
    if (kind != wh_value_kind(b))
        return false;
    switch (kind) {
    case WH_NULL:
        return true;
    case WH_BOOL:
        return a->boolean == b->boolean;
    case WH_NUMBER:
        return a->number == b->number;
    case WH_STRING:
        return wh_text_equal_ci(wh_value_view(a), wh_value_view(b));
    case WH_ARRAY:
    case WH_OBJECT:
        return a == b;
    }
    return false;
}

bool wh_value_less(const struct wh_value *a, const struct wh_value *b)
{
    double x, y;
    if (coerce_to_numbers(a, b, &x, &y))
        return x < y;
    enum wh_kind kind = wh_value_kind(a);
    if (kind != wh_value_kind(b))
        return false;
    switch (kind) {
    case WH_BOOL:
        return !a->boolean && b->boolean;
    case WH_NUMBER:
        return a->number < b->number;
    case WH_STRING:
        return wh_text_compare_ci(wh_value_view(a), wh_value_view(b)) < 0;
    default:
        return false;
    }
}
