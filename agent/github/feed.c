/* The live console of one job (runner-protocol.md §5.4). */
#include "wherry/github/feed.h"

#include <utlist.h>

#include "github/job_internal.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/net/backoff.h"
#include "wherry/net/later.h"
#include "wherry/net/ws.h"

#define FEED_FAST_MS 250
#define FEED_SLOW_MS 500
#define FEED_FAST_FOR_MS 60000
#define FEED_LINES_PER_PASS 500
#define FEED_LINES_PER_MESSAGE 100
#define FEED_LAST_BATCHES 2 /* of each step, at the end */
#define FEED_CONNECT_TRIES 3
#define FEED_OFF_MS 600000
#define FEED_FINISH_MS 2000

struct line {
    struct line *next, *prev;
    int64_t number;
    char *step_id;
    char *text;
};

struct wh_feed {
    struct wh_github_job *job;
    struct line *queue;
    size_t queued, dropped;
    struct wh_ws *ws;
    bool open;
    unsigned failures;
    uint64_t started_ms, off_until_ms;
    struct wh_later *tick, *budget;
    bool finishing;
    wh_github_done_fn done;
    void *done_data;
};

static void on_tick(void *data);

struct wh_feed *wh_feed_new(struct wh_github_job *job)
{
    struct wh_feed *f = wh_calloc(1, sizeof *f);
    f->job = job;
    f->started_ms = wh_mono_ms();
    return f;
}

static void line_free(struct wh_feed *f, struct line *line)
{
    DL_DELETE(f->queue, line);
    f->queued--;
    free(line->step_id);
    free(line->text);
    free(line);
}

void wh_feed_free(struct wh_feed *f)
{
    if (!f)
        return;
    wh_later_cancel(&f->tick);
    wh_later_cancel(&f->budget);
    wh_ws_free(f->ws);
    while (f->queue)
        line_free(f, f->queue);
    free(f);
}

static uv_loop_t *loop_of(const struct wh_feed *f)
{
    return wh_http_client_loop(f->job->http);
}

static bool is_off(const struct wh_feed *f)
{
    return !f->job->feed_url || !*f->job->feed_url || wh_mono_ms() < f->off_until_ms;
}

static void schedule(struct wh_feed *f)
{
    bool early = wh_mono_ms() - f->started_ms < FEED_FAST_FOR_MS;
    if (!f->tick)
        wh_later(&f->tick, loop_of(f), early ? FEED_FAST_MS : FEED_SLOW_MS, on_tick, f);
}

/* ---- the end ---- */

static void end_now(void *data)
{
    struct wh_feed *f = data;
    wh_later_cancel(&f->budget);
    wh_later_cancel(&f->tick);
    wh_github_done_fn done = f->done;
    f->done = NULL;
    if (f->dropped)
        wh_log_debug("live log: %zu lines dropped", f->dropped);
    if (done)
        done(f->done_data, NULL);
}

static void end_soon(struct wh_feed *f)
{
    wh_later(&f->budget, loop_of(f), 0, end_now, f);
}

/* ---- connection ---- */

static void lost(struct wh_feed *f, const char *why)
{
    f->open = false;
    wh_ws_free(f->ws);
    f->ws = NULL;
    if (++f->failures >= FEED_CONNECT_TRIES) {
        wh_log_info("live log: %s; off for 10 minutes (the logs themselves are complete)", why);
        f->failures = 0;
        f->off_until_ms = wh_mono_ms() + FEED_OFF_MS;
        while (f->queue)
            line_free(f, f->queue);
    }
    if (f->finishing && (is_off(f) || !f->queue))
        end_soon(f);
    else if (f->queue)
        schedule(f);
}

static void on_opened(struct wh_ws *ws, struct wh_error *err, void *data)
{
    (void)ws;
    struct wh_feed *f = data;
    if (err) {
        lost(f, wh_error_text(err));
        return;
    }
    f->open = true;
    f->failures = 0;
    wh_later_cancel(&f->tick);
    on_tick(f);
}

static void on_closed(struct wh_ws *ws, struct wh_error *err, void *data)
{
    (void)ws;
    struct wh_feed *f = data;
    if (f->finishing && !err)
        end_soon(f);
    else
        lost(f, err ? wh_error_text(err) : "closed by the peer");
}

static void connect_now(struct wh_feed *f)
{
    struct wh_ws_events events = {.opened = on_opened, .closed = on_closed, .data = f};
    f->ws = wh_ws_connect(f->job->http, f->job->feed_url, f->job->token, &events);
}

/* ---- messages ---- */

/* Takes the first lines of the queue that belong together: one step, numbers without a gap. */
static size_t send_message(struct wh_feed *f)
{
    wh_autojson *json = cJSON_CreateObject();
    cJSON *value = cJSON_CreateArray();
    const struct line *first = f->queue, *line;
    size_t count = 0;
    DL_FOREACH(f->queue, line)
    {
        if (count == FEED_LINES_PER_MESSAGE || !wh_streq(line->step_id, first->step_id) ||
            line->number != first->number + (int64_t)count)
            break;
        cJSON_AddItemToArray(value, cJSON_CreateString(line->text));
        count++;
    }
    wh_json_add_int(json, "count", (int64_t)count);
    cJSON_AddItemToObject(json, "value", value);
    wh_json_add_string(json, "stepId", first->step_id);
    wh_json_add_int(json, "startLine", first->number);
    wh_autofree char *text = wh_json_print(json);
    if (wh_ws_send_text(f->ws, text, strlen(text), NULL))
        return 0;
    for (size_t i = 0; i < count; i++)
        line_free(f, f->queue);
    return count;
}

static void on_tick(void *data)
{
    struct wh_feed *f = data;
    if (is_off(f)) {
        while (f->queue)
            line_free(f, f->queue);
        return;
    }
    if (!f->ws && f->queue) {
        connect_now(f);
        return; /* goes on when it is open */
    }
    if (!f->open)
        return;
    size_t sent = 0;
    /* A slow peer: what it has not taken yet stays the limit, and the queue drops. */
    while (f->queue && (f->finishing || sent < FEED_LINES_PER_PASS) &&
           wh_ws_queued(f->ws) < WH_MAX_WS_QUEUE / 2) {
        size_t n = send_message(f);
        if (n == 0)
            break;
        sent += n;
    }
    if (f->finishing && !f->queue)
        wh_ws_close(f->ws);
    else if (f->queue)
        schedule(f);
}

/* ---- lines ---- */

/* Cut at WH_FEED_LINE_CHARS of UTF-16, as the service counts; the cut keeps characters whole. */
static char *cut_line(const char *line, size_t len)
{
    size_t units = 0, pos = 0;
    wh_autostr clean = {0};
    wh_str_add_utf8(&clean, line, WH_MIN(len, (size_t)WH_FEED_LINE_CHARS * 4 + 4));
    while (pos < clean.len) {
        unsigned char c = (unsigned char)clean.data[pos];
        if ((c & 0xc0) != 0x80) {
            units += c >= 0xf0 ? 2 : 1;
            if (units > WH_FEED_LINE_CHARS) {
                wh_str_truncate(&clean, pos);
                wh_str_add(&clean, "...");
                break;
            }
        }
        pos++;
    }
    return wh_str_steal(&clean);
}

void wh_feed_line(struct wh_feed *f, const char *step_id, int64_t number, const char *text, size_t len)
{
    if (len == 0 || f->finishing || is_off(f))
        return;
    if (f->queued >= WH_FEED_QUEUE_LINES) {
        f->dropped++;
        return;
    }
    struct line *line = wh_calloc(1, sizeof *line);
    line->number = number;
    line->step_id = wh_strdup(step_id);
    line->text = cut_line(text, len);
    DL_APPEND(f->queue, line);
    f->queued++;
    if (!f->ws) {
        wh_later_cancel(&f->tick);
        wh_later(&f->tick, loop_of(f), f->failures ? wh_wait_ms(100, 500) : 0, on_tick, f);
    } else if (f->open) {
        schedule(f);
    }
}

/* Keeps the last batches of each step; a slow socket would not take more in the time that is left. */
static void keep_last(struct wh_feed *f)
{
    struct line *line = f->queue ? f->queue->prev : NULL; /* the tail */
    while (line) {
        struct line *before = line == f->queue ? NULL : line->prev;
        size_t later = 0;
        const struct line *other;
        for (other = line->next; other && later < FEED_LAST_BATCHES * FEED_LINES_PER_MESSAGE;
             other = other->next)
            later += wh_streq(other->step_id, line->step_id);
        if (later >= FEED_LAST_BATCHES * FEED_LINES_PER_MESSAGE) {
            line_free(f, line);
            f->dropped++;
        }
        line = before;
    }
}

void wh_feed_finish(struct wh_feed *f, wh_github_done_fn done, void *data)
{
    f->done = done;
    f->done_data = data;
    f->finishing = true;
    keep_last(f);
    wh_later_cancel(&f->tick);
    if (is_off(f) || (!f->queue && !f->ws)) {
        end_soon(f);
        return;
    }
    wh_later(&f->budget, loop_of(f), FEED_FINISH_MS, end_now, f);
    wh_later(&f->tick, loop_of(f), 0, on_tick, f);
}
