#include "wherry/base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <time.h>

#include "base/test_clock.h"

static int64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t wh_now_ns(void)
{
    return test_clock_wall(read_clock(CLOCK_REALTIME));
}

uint64_t wh_mono_ns(void)
{
    return test_clock_mono((uint64_t)read_clock(CLOCK_MONOTONIC));
}

uint64_t wh_mono_ms(void)
{
    return wh_mono_ns() / 1000000U;
}

uint64_t wh_machine_ms(void)
{
    return (uint64_t)read_clock(CLOCK_MONOTONIC) / 1000000U;
}

uint64_t wh_machine_time(uint64_t ms)
{
    return test_clock_wait(ms);
}

void wh_sleep_ms(uint64_t ms)
{
    uint64_t left = test_clock_wait(ms);
    struct timespec t = {.tv_sec = (time_t)(left / 1000), .tv_nsec = (long)(left % 1000) * 1000000};
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

/* "2026-11-24T13:05:09" of the latest second that was asked for: each line of a log has one. */
static const char *second_text(int64_t seconds, size_t *len)
{
    static _Thread_local char text[40];
    static _Thread_local size_t text_len;
    static _Thread_local int64_t of;
    if (text_len == 0 || of != seconds) {
        time_t t = seconds;
        struct tm tm;
        gmtime_r(&t, &tm);
        text_len = strftime(text, 28, "%Y-%m-%dT%H:%M:%S", &tm);
        of = seconds;
    }
    *len = text_len;
    return text;
}

char *wh_time_iso(int64_t ns, int digits, char *buf)
{
    int64_t seconds = ns / 1000000000, fraction = ns % 1000000000;
    if (fraction < 0) {
        seconds--;
        fraction += 1000000000;
    }
    size_t len;
    const char *text = second_text(seconds, &len);
    memcpy(buf, text, len);
    if (digits > 0)
        buf[len++] = '.';
    int64_t unit = 100000000;
    for (int i = 0; i < WH_MIN(digits, 9); i++, unit /= 10)
        buf[len++] = (char)('0' + fraction / unit % 10);
    buf[len] = 'Z';
    buf[len + 1] = '\0';
    return buf;
}

static bool digits_to(struct wh_reader *r, int count, int *out)
{
    int value = 0;
    for (int i = 0; i < count; i++) {
        int c = wh_reader_next(r);
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *out = value;
    return true;
}

static bool date_time(struct wh_reader *r, struct tm *tm)
{
    if (!digits_to(r, 4, &tm->tm_year) || !wh_reader_take(r, '-') || !digits_to(r, 2, &tm->tm_mon) ||
        !wh_reader_take(r, '-') || !digits_to(r, 2, &tm->tm_mday))
        return false;
    int separator = wh_reader_next(r);
    if (separator != 'T' && separator != 't' && separator != ' ')
        return false;
    if (!digits_to(r, 2, &tm->tm_hour) || !wh_reader_take(r, ':') || !digits_to(r, 2, &tm->tm_min) ||
        !wh_reader_take(r, ':') || !digits_to(r, 2, &tm->tm_sec))
        return false;
    tm->tm_year -= 1900;
    tm->tm_mon -= 1;
    return tm->tm_mon >= 0 && tm->tm_mon < 12 && tm->tm_mday >= 1 && tm->tm_mday <= 31 && tm->tm_hour < 24 &&
           tm->tm_min < 60 && tm->tm_sec <= 60;
}

/* Up to nine digits after a point, as nanoseconds. */
static bool fraction_of(struct wh_reader *r, int64_t *out)
{
    int digits = 0;
    *out = 0;
    for (int c = wh_reader_peek(r); c >= '0' && c <= '9'; c = wh_reader_peek(r)) {
        if (++digits > 9)
            return false;
        *out = *out * 10 + (c - '0');
        wh_reader_next(r);
    }
    for (int i = digits; i < 9; i++)
        *out *= 10;
    return digits > 0;
}

bool wh_time_parse_iso(const char *text, int64_t *ns)
{
    if (!text)
        return false;
    struct wh_reader r = wh_reader_of(text, strlen(text));
    struct tm tm = {0};
    int64_t fraction = 0, offset = 0;
    if (!date_time(&r, &tm) || (wh_reader_take(&r, '.') && !fraction_of(&r, &fraction)))
        return false;
    int zone = wh_reader_next(&r);
    if (zone == '+' || zone == '-') {
        int hours, minutes;
        if (!digits_to(&r, 2, &hours))
            return false;
        wh_reader_take(&r, ':');
        if (!digits_to(&r, 2, &minutes))
            return false;
        offset = (int64_t)(hours * 60 + minutes) * 60 * (zone == '-' ? -1 : 1);
    } else if (zone != -1 && zone != 'Z' && zone != 'z') {
        return false;
    }
    int64_t whole = (int64_t)timegm(&tm) - offset;
    if (!wh_reader_end(&r) || __builtin_mul_overflow(whole, 1000000000, &whole) ||
        __builtin_add_overflow(whole, fraction, &whole))
        return false;
    *ns = whole;
    return true;
}

bool wh_time_parse_http(const char *text, int64_t *ns)
{
    struct tm tm = {0};
    const char *end = text ? strptime(text, "%a, %d %b %Y %H:%M:%S", &tm) : NULL;
    if (!end || !wh_streq(end, " GMT"))
        return false;
    *ns = (int64_t)timegm(&tm) * 1000000000;
    return true;
}

char *wh_duration_text(uint64_t ns, char *buf)
{
    uint64_t ms = ns / 1000000;
    if (ms < 1000)
        snprintf(buf, 32, "%" PRIu64 "ms", ms);
    else if (ms < 60000)
        snprintf(buf, 32, "%" PRIu64 ".%" PRIu64 "s", ms / 1000, ms % 1000 / 100);
    else
        snprintf(buf, 32, "%" PRIu64 "m%02" PRIu64 "s", ms / 60000, ms / 1000 % 60);
    return buf;
}

uint64_t wh_jitter(uint64_t min, uint64_t max)
{
    if (max <= min)
        return min;
    uint64_t random;
    randombytes_buf(&random, sizeof(random));
    return max - min == UINT64_MAX ? random : min + random % (max - min + 1);
}
