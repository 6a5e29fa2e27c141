/* Waiting before another try, with jitter, so that many runners do not come back in one step. */
#ifndef WH_NET_BACKOFF_H
#define WH_NET_BACKOFF_H

#include "wherry/base/err.h"

/* Doubles from min_ms to max_ms; each answer is drawn from [half, whole] of the step. Starts zeroed but for
 * min and max. */
struct wh_backoff {
    uint64_t min_ms;
    uint64_t max_ms;
    unsigned tries; /* answers given since the last reset */
};
uint64_t wh_backoff_next(struct wh_backoff *b);
void wh_backoff_reset(struct wh_backoff *b);

/* A random wait in [min_ms, max_ms] as the service's own rules name them ("random 15-30 s"), at least 1. */
uint64_t wh_wait_ms(uint64_t min_ms, uint64_t max_ms);

/* A Retry-After value: seconds, or an HTTP date as seen from now_ns. Milliseconds, at most max_ms; -1 if it
 * is neither. */
int64_t wh_retry_after_parse(const char *value, int64_t now_ns, int64_t max_ms);

#endif
