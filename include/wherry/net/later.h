/* One-shot timers without the ceremony of libuv's handles: "call this in 500 ms, unless I say no". */
#ifndef WH_NET_LATER_H
#define WH_NET_LATER_H

#include <stdint.h>
#include <uv.h>

struct wh_later;
/* Calls fn(data) on the loop after ms. *slot (a running one is cancelled first) is NULL again before fn is
 * called. */
void wh_later(struct wh_later **slot, uv_loop_t *loop, uint64_t ms, void (*fn)(void *data), void *data);
/* A running one comes after ms at the latest; harmless on NULL. */
void wh_later_hurry(struct wh_later **slot, uv_loop_t *loop, uint64_t ms);
void wh_later_cancel(struct wh_later **slot); /* harmless on NULL */

/* uv_timer_start() in the agent's time (wherry/base/clock.h), as wh_later() has it. */
int wh_timer_start(uv_timer_t *timer, uv_timer_cb fn, uint64_t ms, uint64_t repeat_ms);

#endif
