#include "actions/moment.h"

#include <ctype.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define ZONES "/usr/share/zoneinfo"

static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};
static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                   "Thursday", "Friday", "Saturday"};

struct moment {
    struct tm tm;
    int64_t when; /* ms */
    int ms;
    long offset; /* seconds east of UTC */
};

static const char *ordinal(int n)
{
    static const char *const suffixes[] = {"th", "st", "nd", "rd"};
    int tens = n % 100 / 10, ones = n % 10;
    return suffixes[tens == 1 || ones > 3 ? 0 : ones];
}

/* Week of the year; weeks begin on `first` (0: Sunday), the first one holds January `fixed`. Sets its year.
 */
static int week_of(const struct tm *tm, int first, int fixed, int *year)
{
    int y = tm->tm_year + 1900;
    for (int pass = 1; pass >= -1; pass--) { /* the latest year whose first week has begun */
        struct tm start = {.tm_year = y + pass - 1900, .tm_mday = fixed, .tm_hour = 12};
        struct tm here = {
            .tm_year = tm->tm_year, .tm_mon = tm->tm_mon, .tm_mday = tm->tm_mday, .tm_hour = 12};
        time_t begin = timegm(&start);
        begin -= (time_t)((start.tm_wday - first + 7) % 7) * 86400;
        time_t now = timegm(&here);
        if (now >= begin) {
            *year = y + pass;
            return (int)((now - begin) / 86400 / 7) + 1;
        }
    }
    *year = y;
    return 1;
}

static void add_offset(struct wh_str *out, long seconds, const char *colon)
{
    long minutes = (seconds < 0 ? -seconds : seconds) / 60;
    wh_str_addf(out, "%c%02ld%s%02ld", seconds < 0 ? '-' : '+', minutes / 60, colon, minutes % 60);
}

static void add(struct wh_str *out, const struct moment *m, const char *token);

/* The words of English locales that are formats themselves. */
static const char *long_format(const char *token)
{
    static const char *const formats[][2] = {{"LTS", "h:mm:ss A"},
                                             {"LT", "h:mm A"},
                                             {"LLLL", "dddd, MMMM D, YYYY h:mm A"},
                                             {"LLL", "MMMM D, YYYY h:mm A"},
                                             {"LL", "MMMM D, YYYY"},
                                             {"L", "MM/DD/YYYY"},
                                             {"llll", "ddd, MMM D, YYYY h:mm A"},
                                             {"lll", "MMM D, YYYY h:mm A"},
                                             {"ll", "MMM D, YYYY"},
                                             {"l", "M/D/YYYY"}};
    for (size_t i = 0; i < WH_COUNT(formats); i++)
        if (wh_streq(formats[i][0], token))
            return formats[i][1];
    return NULL;
}

static const char *take_token(struct wh_reader *r)
{
    /* Longer ones before their beginnings. */
    static const char *const tokens[] = {
        "LTS",  "LT",    "LLLL", "LLL",  "LL",  "L",         "llll",     "lll",     "ll",     "l",
        "MMMM", "MMM",   "MM",   "Mo",   "M",   "Qo",        "Q",        "DDDD",    "DDDo",   "DDD",
        "DD",   "Do",    "D",    "dddd", "ddd", "dd",        "do",       "d",       "e",      "E",
        "ww",   "wo",    "w",    "WW",   "Wo",  "W",         "YYYYYY",   "YYYYY",   "YYYY",   "YY",
        "Y",    "gggg",  "gg",   "GGGG", "GG",  "yyyy",      "yyy",      "yy",      "y",      "A",
        "a",    "Hmmss", "Hmm",  "HH",   "H",   "hmmss",     "hmm",      "hh",      "h",      "kk",
        "k",    "mm",    "m",    "ss",   "s",   "SSSSSSSSS", "SSSSSSSS", "SSSSSSS", "SSSSSS", "SSSSS",
        "SSSS", "SSS",   "SS",   "S",    "zz",  "z",         "ZZ",       "Z",       "X",      "x"};
    for (size_t i = 0; i < WH_COUNT(tokens); i++)
        if (wh_reader_take_text(r, tokens[i]))
            return tokens[i];
    return NULL;
}

static void add_formatted(struct wh_str *out, const struct moment *m, const char *text)
{
    struct wh_reader r = wh_reader_of(text, strlen(text));
    while (!wh_reader_end(&r)) {
        size_t start = r.pos;
        if (wh_reader_take(&r, '[')) { /* as it is, up to the next ] */
            const char *end = strchr(text + r.pos, ']');
            if (end) {
                wh_str_addn(out, text + r.pos, (size_t)(end - text) - r.pos);
                r.pos = (size_t)(end - text) + 1;
                continue;
            }
            r.pos = start;
        }
        if (wh_reader_take(&r, '\\') && !wh_reader_end(&r)) {
            wh_str_addc(out, (char)wh_reader_next(&r));
            continue;
        }
        r.pos = start;
        const char *token = take_token(&r);
        if (token)
            add(out, m, token);
        else
            wh_str_addc(out, (char)wh_reader_next(&r));
    }
}

static void add_date(struct wh_str *out, const struct moment *m, const char *t)
{
    const struct tm *tm = &m->tm;
    int n = (int)strlen(t), number = 0;
    bool ord = t[1] == 'o';
    switch (t[0]) {
    case 'M':
        number = tm->tm_mon + 1;
        if (n >= 3 && !ord) {
            wh_str_addf(out, n == 3 ? "%.3s" : "%s", months[tm->tm_mon]);
            return;
        }
        break;
    case 'Q':
        number = tm->tm_mon / 3 + 1;
        break;
    case 'D':
        ord = t[n - 1] == 'o';
        number = wh_starts_with(t, "DDD") ? tm->tm_yday + 1 : tm->tm_mday;
        if (n == 4 && !ord) {
            wh_str_addf(out, "%03d", number);
            return;
        }
        n = n == 3 || n == 1 ? 1 : 2;
        break;
    default: /* d */
        number = tm->tm_wday;
        if (n >= 2 && !ord) {
            wh_str_addf(out, n == 2 ? "%.2s" : n == 3 ? "%.3s" : "%s", days[tm->tm_wday]);
            return;
        }
        break;
    }
    if (ord)
        wh_str_addf(out, "%d%s", number, ordinal(number));
    else
        wh_str_addf(out, "%0*d", n, number);
}

static void add_week(struct wh_str *out, const struct moment *m, const char *t)
{
    bool iso = t[0] == 'W' || t[0] == 'G';
    int year, week = iso ? week_of(&m->tm, 1, 4, &year) : week_of(&m->tm, 0, 1, &year);
    if (t[0] == 'g' || t[0] == 'G')
        wh_str_addf(out, "%0*d", (int)strlen(t), t[2] ? year : year % 100);
    else if (t[1] == 'o')
        wh_str_addf(out, "%d%s", week, ordinal(week));
    else
        wh_str_addf(out, "%0*d", (int)strlen(t), week);
}

static void add_year(struct wh_str *out, int year, size_t n)
{
    if (n == 2)
        wh_str_addf(out, "%02d", year % 100);
    else if (n == 6)
        wh_str_addf(out, "+%06d", year);
    else
        wh_str_addf(out, "%0*d", n == 1 ? 1 : (int)n, year);
}

static void add_fraction(struct wh_str *out, int ms, size_t n)
{
    char text[4];
    snprintf(text, sizeof text, "%03d", ms);
    for (size_t i = 0; i < n; i++)
        wh_str_addc(out, i < 3 ? text[i] : '0');
}

static void add_time(struct wh_str *out, const struct moment *m, const char *t)
{
    const struct tm *tm = &m->tm;
    int half = tm->tm_hour % 12 == 0 ? 12 : tm->tm_hour % 12, n = (int)strlen(t);
    if (n >= 3) { /* hmm, Hmmss, ... */
        wh_str_addf(out, "%d%02d", t[0] == 'h' ? half : tm->tm_hour, tm->tm_min);
        if (n == 5)
            wh_str_addf(out, "%02d", tm->tm_sec);
        return;
    }
    int number = t[0] == 'H'   ? tm->tm_hour
                 : t[0] == 'h' ? half
                 : t[0] == 'k' ? (tm->tm_hour == 0 ? 24 : tm->tm_hour)
                 : t[0] == 'm' ? tm->tm_min
                               : tm->tm_sec;
    wh_str_addf(out, "%0*d", n, number);
}

static void add(struct wh_str *out, const struct moment *m, const char *t)
{
    size_t n = strlen(t);
    const char *whole = long_format(t);
    if (whole) {
        add_formatted(out, m, whole);
        return;
    }
    switch (t[0]) {
    case 'M':
    case 'Q':
    case 'D':
    case 'd':
        add_date(out, m, t);
        break;
    case 'e':
        wh_str_addf(out, "%d", m->tm.tm_wday);
        break;
    case 'E':
        wh_str_addf(out, "%d", m->tm.tm_wday == 0 ? 7 : m->tm.tm_wday);
        break;
    case 'w':
    case 'W':
    case 'g':
    case 'G':
        add_week(out, m, t);
        break;
    case 'Y':
        add_year(out, m->tm.tm_year + 1900, n);
        break;
    case 'y': /* of the era: never cut to two digits */
        wh_str_addf(out, "%0*d", (int)n, m->tm.tm_year + 1900);
        break;
    case 'A':
        wh_str_add(out, m->tm.tm_hour < 12 ? "AM" : "PM");
        break;
    case 'a':
        wh_str_add(out, m->tm.tm_hour < 12 ? "am" : "pm");
        break;
    case 'S':
        add_fraction(out, m->ms, n);
        break;
    case 'z':
        wh_str_add(out, m->tm.tm_zone ? m->tm.tm_zone : "");
        break;
    case 'Z':
        add_offset(out, m->offset, n == 2 ? "" : ":");
        break;
    case 'X':
        wh_str_addf(out, "%lld", (long long)(m->when / 1000));
        break;
    case 'x':
        wh_str_addf(out, "%lld", (long long)m->when);
        break;
    default:
        add_time(out, m, t);
        break;
    }
}

static bool zone_known(const char *zone)
{
    if (wh_streq(zone, "UTC"))
        return true;
    if (zone[0] == '/' || zone[0] == '\0' || strstr(zone, ".."))
        return false;
    wh_autofree char *path = wh_printf("%s/%s", ZONES, zone);
    return access(path, R_OK) == 0;
}

static int64_t floor_seconds(int64_t ms)
{
    return ms >= 0 ? ms / 1000 : -((-ms + 999) / 1000);
}

char *wh_moment_format(int64_t when, const char *zone, const char *format, bool *unknown)
{
    *unknown = !zone_known(zone);
    const char *old = getenv("TZ");
    wh_autofree char *kept = old ? wh_strdup(old) : NULL;
    if (!*unknown)
        setenv("TZ", zone, 1);
    tzset();
    int64_t seconds = floor_seconds(when);
    time_t t = (time_t)seconds;
    struct moment m = {.when = when, .ms = (int)(when - seconds * 1000)};
    localtime_r(&t, &m.tm);
    m.offset = m.tm.tm_gmtoff;
    wh_autostr out = {0};
    add_formatted(&out, &m, format);
    if (kept)
        setenv("TZ", kept, 1);
    else
        unsetenv("TZ");
    tzset();
    return wh_str_steal(&out);
}

char *wh_moment_iso(int64_t when)
{
    int64_t seconds = floor_seconds(when);
    time_t t = (time_t)seconds;
    struct tm tm;
    char text[32];
    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    return wh_printf("%s.%03dZ", text, (int)(when - seconds * 1000));
}

static bool take_digits(struct wh_reader *r, int n, int *out)
{
    *out = 0;
    for (int i = 0; i < n; i++) {
        int c = wh_reader_next(r);
        if (!isdigit(c))
            return false;
        *out = *out * 10 + (c - '0');
    }
    return true;
}

static bool take_zone(struct wh_reader *r, int *seconds)
{
    int hours, minutes;
    *seconds = 0;
    if (wh_reader_take(r, 'Z') || wh_reader_take(r, 'z'))
        return wh_reader_end(r);
    int sign = wh_reader_next(r);
    if ((sign != '+' && sign != '-') || !take_digits(r, 2, &hours))
        return false;
    wh_reader_take(r, ':');
    if (!take_digits(r, 2, &minutes))
        return false;
    *seconds = (hours * 3600 + minutes * 60) * (sign == '-' ? -1 : 1);
    return wh_reader_end(r);
}

bool wh_moment_parse(const char *text, int64_t *when)
{
    struct wh_reader r = wh_reader_of(text, strlen(text));
    int year, month, day, hour, minute, second, ms = 0, east;
    if (!take_digits(&r, 4, &year) || !wh_reader_take(&r, '-') || !take_digits(&r, 2, &month) ||
        !wh_reader_take(&r, '-') || !take_digits(&r, 2, &day) || !wh_reader_take(&r, 'T') ||
        !take_digits(&r, 2, &hour) || !wh_reader_take(&r, ':') || !take_digits(&r, 2, &minute) ||
        !wh_reader_take(&r, ':') || !take_digits(&r, 2, &second))
        return false;
    if (wh_reader_take(&r, '.'))
        for (int scale = 100; isdigit(wh_reader_peek(&r)); scale /= 10)
            ms += (wh_reader_next(&r) - '0') * scale;
    if (!take_zone(&r, &east) || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 ||
        second > 60)
        return false;
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_sec = second};
    *when = ((int64_t)timegm(&tm) - east) * 1000 + ms;
    return true;
}
