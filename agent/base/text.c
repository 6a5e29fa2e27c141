/* Small text helpers: comparison, numbers, sizes, suggestions. */
#include <inttypes.h>
#include <stdio.h>

#include "wherry/base/str.h"

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

bool wh_streq(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

int wh_strcmp_ci(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int d = lower(a[i]) - lower(b[i]);
        if (d != 0 || a[i] == '\0')
            return d;
    }
    return 0;
}

bool wh_streq_ci(const char *a, const char *b)
{
    return a == b || (a && b && wh_strcmp_ci(a, b, SIZE_MAX) == 0);
}

bool wh_starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool wh_starts_with_ci(const char *text, const char *prefix)
{
    return wh_strcmp_ci(text, prefix, strlen(prefix)) == 0;
}

bool wh_ends_with(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && memcmp(text + n - m, suffix, m) == 0;
}

void wh_ascii_lower(char *text)
{
    for (; *text; text++)
        *text = (char)lower(*text);
}

void wh_ascii_upper(char *text)
{
    for (; *text; text++)
        if (*text >= 'a' && *text <= 'z')
            *text = (char)(*text - 'a' + 'A');
}

bool wh_parse_u64(const char *text, uint64_t max, uint64_t *out)
{
    if (!text || *text == '\0')
        return false;
    uint64_t value = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return false;
    }
    if (value > max)
        return false;
    *out = value;
    return true;
}

bool wh_parse_i64(const char *text, int64_t min, int64_t max, int64_t *out)
{
    if (!text)
        return false;
    bool negative = *text == '-';
    uint64_t magnitude;
    if (!wh_parse_u64(text + (negative ? 1 : 0), (uint64_t)INT64_MAX + (negative ? 1 : 0), &magnitude))
        return false;
    int64_t value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    if (value < min || value > max)
        return false;
    *out = value;
    return true;
}

bool wh_parse_size(const char *text, uint64_t *out)
{
    size_t digits = text ? strspn(text, "0123456789") : 0;
    if (digits == 0 || digits > 19)
        return false;
    char number[20];
    memcpy(number, text, digits);
    number[digits] = '\0';
    uint64_t value;
    if (!wh_parse_u64(number, UINT64_MAX, &value))
        return false;
    static const char units[] = "kmgtp";
    const char *rest = text + digits;
    unsigned shift = 0;
    if (*rest != '\0' && !wh_streq_ci(rest, "b")) {
        const char *unit = strchr(units, lower(*rest));
        if (!unit || (rest[1] != '\0' && !wh_streq_ci(rest + 1, "b") && !wh_streq_ci(rest + 1, "ib")))
            return false;
        shift = 10 * (unsigned)(unit - units + 1);
    }
    if (shift > 0 && value >> (64 - shift) != 0)
        return false;
    *out = value << shift;
    return true;
}

char *wh_format_size(uint64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    if (bytes < 1000)
        return wh_printf("%" PRIu64 " B", bytes);
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < WH_COUNT(units)) {
        value /= 1000;
        unit++;
    }
    int digits = value < 9.95 ? 2 : value < 99.5 ? 1 : 0;
    return wh_printf("%.*f %s", digits, value, units[unit]);
}

/* Edits (and swaps of neighbours) between two short names, in any case. */
static size_t edit_distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    size_t n = strlen(a), m = strlen(b);
    if (n > MAX || m > MAX)
        return SIZE_MAX;
    size_t rows[3][MAX + 1]; /* this one and the two before it, in turn */
    for (size_t i = 0; i <= n; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *second = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            if (i == 0) {
                row[j] = j;
                continue;
            }
            size_t change = above[j - 1] + (lower(a[i - 1]) != lower(b[j - 1]));
            row[j] = WH_MIN(change, WH_MIN(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]))
                row[j] = WH_MIN(row[j], second[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

const char *wh_did_you_mean(const char *text, const char *const *names)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    for (; *names; names++) {
        size_t distance = edit_distance(text, *names);
        if (distance < best_distance && distance <= WH_MAX(strlen(*names) / 3, (size_t)1)) {
            best = *names;
            best_distance = distance;
        }
    }
    return best;
}
