/* The live console's two ways: a WebSocket; and for jobs of V1, where there is none or it fails, a POST a
 * message (runner-protocol.md §5.4). */
#include "github/feed_internal.h"
#include "github/plan_internal.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define FEED_TRIES 3 /* to connect, in a row */
#define FEED_OFF_MS 600000
#define FEED_AGAIN_MIN_MS 100
#define FEED_AGAIN_MAX_MS 500
#define FEED_GOOD_MS 10000  /* a connection that lived so long makes the tries before it forgotten */
#define FEED_STALL_MS 60000 /* a peer that takes nothing for so long is none */
#define FEED_POST_MS 60000
#define FEED_FEW_BATCHES                                                                                     \
    5 /* V1: more than that, and more than half of them failed: no WebSocket any more                        \
       */
#define FEED_FRAGMENT 1024

static bool has_ws(const struct wh_feed *f)
{
    return f->job->feed_url && *f->job->feed_url && !f->no_ws && wh_mono_ms() >= f->off_until_ms;
}

static bool has_post(const struct wh_feed *f)
{
    return f->job->tenant != NULL;
}

bool feed_is_off(const struct wh_feed *f)
{
    return !has_ws(f) && !has_post(f);
}

bool feed_idle(const struct wh_feed *f)
{
    return !f->post && (!f->ws || (f->open && wh_ws_queued(f->ws) == 0));
}

void feed_cut(struct wh_feed *f)
{
    wh_ws_free(f->ws);
    f->ws = NULL;
    f->open = false;
    gh_tenant_cancel(&f->post);
}

void feed_close(struct wh_feed *f)
{
    if (f->ws)
        wh_ws_close(f->ws); /* closed follows */
    else
        feed_end_soon(f);
}

/* ---- the WebSocket ---- */

/* V1: the batches that it loses go by POST; if most do, it is left alone. */
static void judge_v1(struct wh_feed *f, bool connected)
{
    f->batches++;
    f->failed_batches++;
    bool most = f->failed_batches * 2 > f->batches;
    if (!connected || (f->batches > FEED_FEW_BATCHES && most)) {
        f->no_ws = true;
        wh_log_info("live log: no WebSocket any more for this job");
    }
}

static void judge_v2(struct wh_feed *f, const char *why)
{
    if (f->opened_ms && wh_mono_ms() - f->opened_ms >= FEED_GOOD_MS)
        f->failures = 0;
    if (++f->failures < FEED_TRIES)
        return;
    wh_log_info("live log: %s; off for 10 minutes (the logs themselves are complete)", why);
    f->failures = 0;
    f->off_until_ms = wh_mono_ms() + wh_wait_ms(FEED_OFF_MS, FEED_OFF_MS);
    feed_drop_all(f);
}

static void lost(struct wh_feed *f, const char *why)
{
    bool connected = f->open;
    wh_ws_free(f->ws);
    f->ws = NULL;
    f->open = false;
    wh_log_debug("live log: %s", why);
    if (has_post(f))
        judge_v1(f, connected);
    else
        judge_v2(f, why);
    f->opened_ms = 0;
    if (f->finishing && (feed_empty(f) || feed_is_off(f)))
        feed_end_soon(f);
    else if (!feed_empty(f)) {
        wh_later_cancel(&f->tick);
        feed_tick_in(f, wh_wait_ms(FEED_AGAIN_MIN_MS, FEED_AGAIN_MAX_MS));
    }
}

static void on_opened(struct wh_ws *ws, struct wh_error *err, void *data)
{
    struct wh_feed *f = data;
    if (err) {
        lost(f, wh_error_text(err));
        return;
    }
    wh_ws_fragment(ws, FEED_FRAGMENT);
    f->open = true;
    f->opened_ms = wh_mono_ms();
    f->stalled_at = 0;
    wh_later_cancel(&f->tick);
    feed_tick_in(f, 0);
}

static void on_closed(struct wh_ws *ws, struct wh_error *err, void *data)
{
    (void)ws;
    struct wh_feed *f = data;
    if (f->finishing && !err)
        feed_end_soon(f);
    else
        lost(f, err ? wh_error_text(err) : "closed by the peer");
}

static void on_drained(struct wh_ws *ws, void *data)
{
    (void)ws;
    struct wh_feed *f = data;
    if (f->finishing && feed_empty(f)) {
        wh_later_cancel(&f->tick);
        feed_tick_in(f, 0);
    }
}

static void connect_now(struct wh_feed *f)
{
    struct wh_ws_events events = {.opened = on_opened, .closed = on_closed, .drained = on_drained, .data = f};
    f->ws = wh_ws_connect(f->job->http, f->job->feed_url, f->job->token, &events);
}

/* True: the peer took nothing for too long. */
static bool stalls(struct wh_feed *f)
{
    size_t queued = wh_ws_queued(f->ws);
    uint64_t now = wh_mono_ms();
    if (queued == 0 || queued < f->stalled_at || f->stalled_at == 0) {
        f->stalled_at = queued;
        f->stalled_since_ms = now;
        return false;
    }
    f->stalled_at = queued;
    return now - f->stalled_since_ms >= wh_wait_ms(FEED_STALL_MS, FEED_STALL_MS);
}

static void send_by_ws(struct wh_feed *f)
{
    size_t sent = 0;
    wh_autojson *message = NULL;
    if (stalls(f)) {
        lost(f, "the peer takes nothing");
        return;
    }
    /* A slow peer: what it has not taken yet is the limit, and the queue drops its oldest. */
    while ((f->finishing || sent < FEED_LINES_PER_PASS) && wh_ws_queued(f->ws) < WH_MAX_WS_QUEUE / 2 &&
           feed_take(f, &message)) {
        wh_autofree char *text = wh_json_print(message);
        sent += (size_t)wh_json_int(message, "count", 1);
        cJSON_Delete(message);
        message = NULL;
        f->batches++;
        if (wh_ws_send_text(f->ws, text, strlen(text), NULL))
            break;
    }
}

/* ---- POST ---- */

static void send_by_post(struct wh_feed *f);

static void on_posted(void *data, struct gh_answer *answer)
{
    struct wh_feed *f = data;
    f->post = NULL;
    if (answer->err)
        wh_log_debug("live log: %s", wh_error_text(answer->err));
    if (!feed_empty(f))
        send_by_post(f); /* one at a time: a slow server sets the pace, and the queue drops its oldest */
    else if (f->finishing)
        feed_close(f);
}

static void send_by_post(struct wh_feed *f)
{
    wh_autojson *message = NULL;
    if (f->post || !feed_take(f, &message))
        return;
    struct gh_tenant_request r = {
        .resource = WH_RESOURCE_FEED, .method = "POST", .body = message, .timeout_ms = FEED_POST_MS};
    struct gh_plan_place place = {.timeline = true, .record = f->job->id};
    f->post = gh_plan_call(f->job, &r, &place, on_posted, f);
}

void feed_send(struct wh_feed *f)
{
    if (f->open)
        send_by_ws(f);
    else if (!f->ws && has_ws(f) && !feed_empty(f))
        connect_now(f); /* goes on when it is open */
    else if (!f->ws && has_post(f))
        send_by_post(f);
}
