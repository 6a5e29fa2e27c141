/* Waits between tries, and the Retry-After header. */
#include "wherry/net/backoff.h"

#include "wherry/base/clock.h"
#include "wherry/base/str.h"

uint64_t wh_wait_ms(uint64_t min_ms, uint64_t max_ms)
{
    uint64_t wait = wh_jitter(min_ms, max_ms);
    return wait ? wait : 1;
}

uint64_t wh_backoff_next(struct wh_backoff *b)
{
    uint64_t step = b->min_ms;
    for (unsigned i = 0; i < b->tries && step < b->max_ms; i++)
        step = step > b->max_ms / 2 ? b->max_ms : step * 2;
    if (step > b->max_ms)
        step = b->max_ms;
    b->tries++;
    return wh_wait_ms(step / 2, step);
}

void wh_backoff_reset(struct wh_backoff *b)
{
    b->tries = 0;
}

int64_t wh_retry_after_parse(const char *value, int64_t now_ns, int64_t max_ms)
{
    uint64_t seconds;
    int64_t date;
    if (!value)
        return -1;
    while (*value == ' ')
        value++;
    if (*value >= '0' && *value <= '9') {
        for (const char *p = value; *p; p++)
            if (*p < '0' || *p > '9')
                return -1;
        if (!wh_parse_u64(value, INT64_MAX / 1000, &seconds))
            return max_ms; /* more digits than a time can have */
        return WH_MIN((int64_t)seconds * 1000, max_ms);
    }
    if (!wh_time_parse_http(value, &date))
        return -1;
    if (date <= now_ns)
        return 0;
    return WH_MIN((date - now_ns) / 1000000, max_ms);
}
