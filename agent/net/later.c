/* One-shot timers. */
#include "wherry/net/later.h"

#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/base/mem.h"

struct wh_later {
    uv_timer_t timer;
    struct wh_later **slot;
    void (*fn)(void *data);
    void *data;
    const char *about; /* whom the log's lines are about while fn runs */
};

int wh_timer_start(uv_timer_t *timer, uv_timer_cb fn, uint64_t ms, uint64_t repeat_ms)
{
    return uv_timer_start(timer, fn, wh_machine_time(ms), wh_machine_time(repeat_ms));
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_timer(uv_timer_t *timer)
{
    struct wh_later *later = timer->data;
    void (*fn)(void *) = later->fn;
    void *data = later->data;
    *later->slot = NULL;
    uv_close((uv_handle_t *)timer, on_closed);
    const char *before = wh_log_enter(later->about);
    fn(data); /* later goes when the loop turns next */
    (void)wh_log_enter(before);
}

void wh_later(struct wh_later **slot, uv_loop_t *loop, uint64_t ms, void (*fn)(void *data), void *data)
{
    wh_later_cancel(slot);
    struct wh_later *later = wh_calloc(1, sizeof *later);
    later->slot = slot;
    later->fn = fn;
    later->data = data;
    later->about = wh_log_name();
    uv_timer_init(loop, &later->timer);
    later->timer.data = later;
    uv_update_time(loop);
    wh_timer_start(&later->timer, on_timer, ms, 0);
    *slot = later;
}

void wh_later_cancel(struct wh_later **slot)
{
    if (*slot)
        uv_close((uv_handle_t *)&(*slot)->timer, on_closed);
    *slot = NULL;
}

void wh_later_hurry(struct wh_later **slot, uv_loop_t *loop, uint64_t ms)
{
    struct wh_later *later = *slot;
    uv_update_time(loop);
    if (later && uv_timer_get_due_in(&later->timer) > ms)
        uv_timer_start(&later->timer, on_timer, ms, 0);
}
