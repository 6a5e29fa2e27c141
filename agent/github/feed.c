/* The live console of one job (runner-protocol.md §5.4): the queue, and when it is sent. */
#include "github/feed_internal.h"

#include <stdio.h>

#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/job/logtext.h"

#define FEED_FAST_MS 250
#define FEED_SLOW_MS 500
#define FEED_FAST_FOR_MS 60000
#define FEED_LAST_BATCHES 2 /* of each step, at the end */
#define FEED_FINISH_MS 2000

struct wh_feed *wh_feed_new(struct wh_github_job *job)
{
    struct wh_feed *f = wh_calloc(1, sizeof *f);
    f->job = job;
    f->started_ms = wh_mono_ms();
    return f;
}

void wh_feed_free(struct wh_feed *f)
{
    if (!f)
        return;
    wh_later_cancel(&f->tick);
    wh_later_cancel(&f->budget);
    feed_cut(f);
    for (size_t i = 0; i < WH_FEED_QUEUE_LINES; i++)
        wh_str_free(&f->lines[i].text);
    free(f->steps);
    free(f);
}

uv_loop_t *feed_loop(const struct wh_feed *f)
{
    return wh_http_client_loop(f->job->http);
}

/* ---- the queue ---- */

static struct feed_line *line_at(struct wh_feed *f, size_t i)
{
    return &f->lines[(f->head + i) % WH_FEED_QUEUE_LINES];
}

static void drop_first(struct wh_feed *f)
{
    f->head = (f->head + 1) % WH_FEED_QUEUE_LINES;
    f->count--;
}

bool feed_empty(const struct wh_feed *f)
{
    return f->count == 0;
}

void feed_drop_all(struct wh_feed *f)
{
    f->dropped += f->count;
    f->count = 0;
}

static unsigned step_number(struct wh_feed *f, const char *id)
{
    for (unsigned i = f->nsteps; i-- > 0;)
        if (wh_streq(f->steps[i], id))
            return i;
    f->steps = wh_reallocarray(f->steps, f->nsteps + 1, sizeof *f->steps);
    snprintf(f->steps[f->nsteps], sizeof *f->steps, "%s", id);
    return f->nsteps++;
}

void wh_feed_line(struct wh_feed *f, const char *step_id, int64_t number, const char *text, size_t len)
{
    if (len == 0 || f->finishing || feed_is_off(f))
        return;
    if (f->count == WH_FEED_QUEUE_LINES) {
        drop_first(f);
        f->dropped++;
    }
    struct feed_line *line = line_at(f, f->count++);
    bool cut = false;
    if (len > WH_FEED_LINE_CHARS) /* in UTF-16 units it may fit all the same */
        len = wh_logtext_live_len(text, WH_MIN(len, (size_t)WH_FEED_LINE_CHARS * 4), &cut);
    line->number = number;
    line->step = step_number(f, step_id);
    line->skip = false;
    wh_str_clear(&line->text);
    wh_str_addn(&line->text, text, len);
    if (cut)
        wh_str_add(&line->text, "...");
    if (!f->tick)
        feed_tick_in(f, f->count == 1 && feed_idle(f) && f->batches == 0 ? 0 : FEED_FAST_MS);
}

static cJSON *text_json(const struct feed_line *line)
{
    if (wh_utf8_valid(line->text.data, line->text.len))
        return cJSON_CreateString(wh_str_text(&line->text));
    wh_autostr clean = {0};
    wh_str_add_utf8(&clean, line->text.data, line->text.len);
    return cJSON_CreateString(wh_str_text(&clean));
}

bool feed_take(struct wh_feed *f, cJSON **message)
{
    while (f->count > 0 && line_at(f, 0)->skip)
        drop_first(f);
    if (f->count == 0)
        return false;
    const struct feed_line *first = line_at(f, 0);
    int64_t number = first->number;
    unsigned step = first->step;
    int64_t count = 0;
    cJSON *value = cJSON_CreateArray();
    while (f->count > 0 && count < FEED_LINES_PER_MESSAGE) {
        const struct feed_line *line = line_at(f, 0);
        if (line->skip || line->step != step || line->number != number + count)
            break;
        cJSON_AddItemToArray(value, text_json(line));
        count++;
        drop_first(f);
    }
    *message = cJSON_CreateObject();
    wh_json_add_int(*message, "count", count);
    cJSON_AddItemToObject(*message, "value", value);
    wh_json_add_string(*message, "stepId", f->steps[step]);
    wh_json_add_int(*message, "startLine", number);
    return true;
}

/* ---- when ---- */

static void on_tick(void *data)
{
    struct wh_feed *f = data;
    if (feed_is_off(f))
        feed_drop_all(f);
    else
        feed_send(f);
    if (f->finishing && feed_empty(f) && feed_idle(f))
        feed_close(f);
    else if (!feed_empty(f) && !feed_is_off(f))
        feed_tick_in(f, f->finishing ? 10 : FEED_FAST_MS);
}

void feed_tick_in(struct wh_feed *f, uint64_t ms)
{
    bool late = wh_mono_ms() - f->started_ms >= FEED_FAST_FOR_MS;
    if (ms == FEED_FAST_MS && late)
        ms = FEED_SLOW_MS;
    if (!f->tick)
        wh_later(&f->tick, feed_loop(f), ms, on_tick, f);
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
        wh_log_debug("live log: %llu lines dropped", (unsigned long long)f->dropped);
    if (done)
        done(f->done_data, NULL);
}

void feed_end_soon(struct wh_feed *f)
{
    if (f->done)
        wh_later(&f->budget, feed_loop(f), 0, end_now, f);
}

/* Keeps the last batches of each step: nobody waits for more at the end. */
static void keep_last(struct wh_feed *f)
{
    unsigned *after = wh_calloc(f->nsteps + 1, sizeof *after);
    for (size_t i = f->count; i-- > 0;) {
        struct feed_line *line = line_at(f, i);
        line->skip = after[line->step]++ >= FEED_LAST_BATCHES * FEED_LINES_PER_MESSAGE;
        f->dropped += line->skip;
    }
    free(after);
}

void wh_feed_finish(struct wh_feed *f, wh_github_done_fn done, void *data)
{
    f->done = done;
    f->done_data = data;
    f->finishing = true;
    keep_last(f);
    wh_later_cancel(&f->tick);
    if (feed_is_off(f))
        feed_drop_all(f);
    if (feed_empty(f) && feed_idle(f) && !f->ws) {
        feed_end_soon(f);
        return;
    }
    wh_later(&f->budget, feed_loop(f), FEED_FINISH_MS, end_now, f);
    feed_tick_in(f, 0);
}
