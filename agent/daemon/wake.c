/* Back online soon after the network is: a machine that slept, an address that changed, a link that came up.
 * All this is only about not waiting longer than needed; without it, each wait comes to its end by itself.
 * Runners wake one after the other, so that the service sees no storm. */
#include <time.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/platform/network.h"

#define TICK_MS 5000
#define SLEPT_MS 15000 /* a tick that is late by this much: the machine, or this process, stood still */
#define SPREAD_EACH_MS 50
#define SPREAD_MOST_MS 5000

struct wake {
    struct daemon *d;
    uv_timer_t tick;
    uv_poll_t poll;
    int fd;
    uint64_t seen_ms;
};

/* Goes on while the machine sleeps, and no setting of the clock moves it. */
static uint64_t boot_ms(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t spread(const struct daemon *d)
{
    return wh_jitter(100, WH_MIN((uint64_t)d->nrunners * SPREAD_EACH_MS + 200, (uint64_t)SPREAD_MOST_MS));
}

/* Connections that stood may be dead without a word: new ones. */
static void renew_connections(struct daemon *d)
{
    wh_http_client_renew(d->http);
    for (size_t i = 0; i < d->nrunners; i++) {
        struct runner *r = d->runners[i];
        if (r->job)
            wh_later_hurry(&r->job->renewal.later, &d->loop, spread(d));
        if (r->state == RUNNER_LISTENING) {
            r->fresh_connection = true;
            runner_drop_poll(r);
            runner_poll_in(r, spread(d));
        } else {
            wh_later_hurry(&r->later, &d->loop, spread(d));
        }
    }
}

/* Those who wait after an error try again. */
static void try_again(struct daemon *d)
{
    for (size_t i = 0; i < d->nrunners; i++) {
        struct runner *r = d->runners[i];
        if (r->job && r->job->renewal.errors > 0)
            wh_later_hurry(&r->job->renewal.later, &d->loop, spread(d));
        if (r->errors > 0 || r->state == RUNNER_CONNECTING)
            wh_later_hurry(&r->later, &d->loop, spread(d));
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct wake *w = timer->data;
    uint64_t now = boot_ms(), passed = now - w->seen_ms;
    w->seen_ms = now;
    if (passed < TICK_MS + SLEPT_MS)
        return;
    wh_log_info("this machine stood still for %llu s: asking the service anew",
                (unsigned long long)(passed / 1000));
    renew_connections(w->d);
}

static void on_change(uv_poll_t *poll, int status, int events)
{
    struct wake *w = poll->data;
    struct wh_network_change change;
    (void)events;
    if (status < 0) {
        uv_poll_stop(poll);
        return;
    }
    wh_network_read(w->fd, &change);
    const char *ours = wh_http_client_local_address(w->d->http);
    for (size_t i = 0; i < change.ngone; i++)
        if (wh_streq(change.gone[i], ours)) {
            wh_log_info("this machine has no address %s any more: asking the service anew", ours);
            renew_connections(w->d);
            return;
        }
    if (change.better)
        try_again(w->d);
}

struct wake *wake_start(struct daemon *d)
{
    struct wake *w = wh_calloc(1, sizeof *w);
    wh_autoerror err = {0};
    w->d = d;
    w->seen_ms = boot_ms();
    w->tick.data = w->poll.data = w;
    uv_timer_init(&d->loop, &w->tick);
    uv_timer_start(&w->tick, on_tick, TICK_MS, TICK_MS);
    uv_unref((uv_handle_t *)&w->tick);
    w->fd = wh_network_watch(&err);
    if (w->fd < 0) {
        wh_log_debug("%s", wh_error_text(&err));
        return w;
    }
    uv_poll_init(&d->loop, &w->poll, w->fd);
    uv_poll_start(&w->poll, UV_READABLE, on_change);
    uv_unref((uv_handle_t *)&w->poll);
    return w;
}

static void on_tick_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct wake *w = handle->data;
    close(w->fd);
    uv_close((uv_handle_t *)&w->tick, on_tick_closed);
}

void wake_stop(struct wake *w)
{
    if (!w)
        return;
    if (w->fd >= 0)
        uv_close((uv_handle_t *)&w->poll, on_poll_closed);
    else
        uv_close((uv_handle_t *)&w->tick, on_tick_closed);
}
