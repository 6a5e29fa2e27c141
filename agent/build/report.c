/* Progress events to the client. */
#include <errno.h>

#include "build/solve.h"

#include "wherry/base/clock.h"

void report_init(struct report *r, int channel)
{
    *r = (struct report){.channel = channel, .next = 1};
    pthread_mutex_init(&r->lock, NULL);
}

void report_send(struct report *r, const cJSON *json)
{
    pthread_mutex_lock(&r->lock);
    /* A client that is gone is noticed by the channel's thread, which cancels the build. */
    if (!r->closed && wh_frame_send(r->channel, json, NULL, 0, NULL) < 0)
        r->closed = true;
    pthread_mutex_unlock(&r->lock);
}

static void send_event(struct report *r, const struct wh_progress_event *ev)
{
    wh_autojson *json = wh_progress_encode(ev);
    report_send(r, json);
}

static uint64_t take_number(struct report *r)
{
    pthread_mutex_lock(&r->lock);
    uint64_t number = r->next++;
    pthread_mutex_unlock(&r->lock);
    return number;
}

static uint64_t begin(struct report *r, const char *name, const char *note, enum wh_progress_state state)
{
    struct wh_progress_event ev = {.kind = WH_PROGRESS_VERTEX,
                                   .vertex = take_number(r),
                                   .time_ns = wh_now_ns(),
                                   .state = state,
                                   .name = name,
                                   .note = note};
    send_event(r, &ev);
    return ev.vertex;
}

uint64_t report_start(struct report *r, const char *name, const char *note)
{
    return begin(r, name, note, WH_VERTEX_STARTED);
}

void report_cached(struct report *r, const char *name)
{
    begin(r, name, NULL, WH_VERTEX_CACHED);
}

void report_log(struct report *r, uint64_t vertex, int stream, const char *data, size_t len)
{
    while (len > 0) {
        size_t piece = WH_MIN(len, WH_MAX_PROGRESS_LOG / 2);
        struct wh_progress_event ev = {.kind = WH_PROGRESS_LOG,
                                       .vertex = vertex,
                                       .time_ns = wh_now_ns(),
                                       .stream = stream,
                                       .data = data,
                                       .len = piece};
        send_event(r, &ev);
        data += piece;
        len -= piece;
    }
}

void report_status(struct report *r, uint64_t vertex, const char *id, uint64_t current, uint64_t total,
                   bool done)
{
    struct wh_progress_event ev = {.kind = WH_PROGRESS_STATUS,
                                   .vertex = vertex,
                                   .time_ns = wh_now_ns(),
                                   .id = id,
                                   .current = (int64_t)current,
                                   .total = (int64_t)total,
                                   .done = done};
    send_event(r, &ev);
}

void report_warning(struct report *r, uint64_t vertex, const char *text)
{
    struct wh_progress_event ev = {
        .kind = WH_PROGRESS_WARNING, .vertex = vertex, .time_ns = wh_now_ns(), .text = text};
    send_event(r, &ev);
}

void report_end(struct report *r, uint64_t vertex, int status, const struct wh_error *err)
{
    struct wh_progress_event ev = {
        .kind = WH_PROGRESS_VERTEX, .vertex = vertex, .time_ns = wh_now_ns(), .state = WH_VERTEX_DONE};
    if (status < 0) {
        ev.state = err && err->code == WH_E_CANCELED ? WH_VERTEX_CANCELED : WH_VERTEX_ERROR;
        ev.error = wh_error_text(err);
    }
    send_event(r, &ev);
}
