/* The core schema: what a plain scalar stands for (job-execution.md §11.1). */
#include <ctype.h>
#include <math.h>

#include "wherry/base/yaml.h"

static bool one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

static bool is_null(const char *text)
{
    static const char *const words[] = {"", "null", "Null", "NULL", "~", NULL};
    return one_of(text, words);
}

static bool is_bool(const char *text, bool *out)
{
    static const char *const yes[] = {"true", "True", "TRUE", NULL};
    static const char *const no[] = {"false", "False", "FALSE", NULL};
    *out = one_of(text, yes);
    return *out || one_of(text, no);
}

static size_t digits(const char *text)
{
    size_t n = 0;
    while (isdigit((unsigned char)text[n]))
        n++;
    return n;
}

/* Prefixed ones are unsigned 32-bit patterns, as in expressions. */
static bool is_prefixed(const char *text, double *out)
{
    unsigned base = wh_starts_with(text, "0x") ? 16 : wh_starts_with(text, "0o") ? 8 : 0;
    if (base == 0 || text[2] == '\0')
        return false;
    uint64_t value = 0;
    for (const char *p = text + 2; *p; p++) {
        unsigned digit = isdigit((unsigned char)*p)    ? (unsigned)(*p - '0')
                         : isxdigit((unsigned char)*p) ? (unsigned)(tolower(*p) - 'a') + 10
                                                       : 16;
        if (digit >= base)
            return false;
        value = value * base + digit;
        if (value > UINT32_MAX)
            return false;
    }
    *out = (double)(int32_t)(uint32_t)value;
    return true;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? ; integers are a part of it. */
static bool is_decimal(const char *text, double *out)
{
    const char *p = text;
    if (*p == '-' || *p == '+')
        p++;
    size_t whole = digits(p);
    p += whole;
    if (*p == '.') {
        size_t fraction = digits(++p);
        p += fraction;
        if (whole + fraction == 0)
            return false;
    } else if (whole == 0) {
        return false;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '-' || *p == '+')
            p++;
        size_t exponent = digits(p);
        if (exponent == 0)
            return false;
        p += exponent;
    }
    if (*p != '\0')
        return false;
    *out = strtod(text, NULL);
    return true;
}

static bool is_special(const char *text, double *out)
{
    static const char *const positive[] = {".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", NULL};
    static const char *const negative[] = {"-.inf", "-.Inf", "-.INF", NULL};
    static const char *const nan_words[] = {".nan", ".NaN", ".NAN", NULL};
    if (one_of(text, positive))
        *out = INFINITY;
    else if (one_of(text, negative))
        *out = -INFINITY;
    else if (one_of(text, nan_words))
        *out = NAN;
    else
        return false;
    return true;
}

static bool is_number(const char *text, double *out)
{
    return is_prefixed(text, out) || is_decimal(text, out) || is_special(text, out);
}

bool wh_yaml_value(const struct wh_yaml *scalar, struct wh_yaml_value *out)
{
    *out = (struct wh_yaml_value){.type = WH_YAML_STRING};
    const char *text = scalar->text;
    if (scalar->tag) {
        if (wh_streq(scalar->tag, "str") || wh_streq(scalar->tag, "!"))
            return true;
        if (wh_streq(scalar->tag, "null")) {
            out->type = WH_YAML_NULL;
            return is_null(text);
        }
        if (wh_streq(scalar->tag, "bool")) {
            out->type = WH_YAML_BOOL;
            return is_bool(text, &out->boolean);
        }
        if (wh_streq(scalar->tag, "int") || wh_streq(scalar->tag, "float")) {
            out->type = WH_YAML_NUMBER;
            return is_number(text, &out->number);
        }
        return false;
    }
    if (!scalar->plain)
        return true;
    if (is_null(text))
        out->type = WH_YAML_NULL;
    else if (is_bool(text, &out->boolean))
        out->type = WH_YAML_BOOL;
    else if (is_number(text, &out->number))
        out->type = WH_YAML_NUMBER;
    return true;
}
