/* Events as frames. Log bytes cross as text where they are UTF-8, else as base64. */
#include "wherry/progress/event.h"

#include "wherry/base/clock.h"
#include "wherry/base/digest.h"

static const char *const states[] = {"started", "done", "cached", "error", "canceled"};
static const char *const kinds[] = {"vertex", "log", "status", "warning"};

static int find(const char *text, const char *const *list, size_t n)
{
    for (size_t i = 0; text && i < n; i++)
        if (strcmp(list[i], text) == 0)
            return (int)i;
    return -1;
}

static void add_data(cJSON *json, const struct wh_progress_event *ev)
{
    bool plain = !memchr(ev->data, '\0', ev->len) && wh_utf8_valid(ev->data, ev->len);
    wh_autofree char *text = plain ? wh_strndup(ev->data, ev->len) : wh_base64(ev->data, ev->len);
    wh_json_add_string(json, plain ? "data" : "base64", text);
}

cJSON *wh_progress_encode(const struct wh_progress_event *ev)
{
    cJSON *json = cJSON_CreateObject();
    wh_json_add_string(json, "type", kinds[ev->kind]);
    wh_json_add_int(json, "vertex", (int64_t)ev->vertex);
    /* Microseconds: a JSON number holds them exactly. */
    wh_json_add_int(json, "time", (ev->time_ns ? ev->time_ns : wh_now_ns()) / 1000);
    switch (ev->kind) {
    case WH_PROGRESS_VERTEX:
        wh_json_add_string(json, "state", states[ev->state]);
        wh_json_add_string(json, "name", ev->name);
        wh_json_add_string(json, "note", ev->note);
        wh_json_add_string(json, "error", ev->error);
        break;
    case WH_PROGRESS_LOG:
        wh_json_add_int(json, "stream", ev->stream);
        if (ev->len > 0)
            add_data(json, ev);
        break;
    case WH_PROGRESS_STATUS:
        wh_json_add_string(json, "id", ev->id);
        wh_json_add_int(json, "current", ev->current);
        wh_json_add_int(json, "total", ev->total);
        if (ev->done)
            cJSON_AddTrueToObject(json, "done");
        break;
    case WH_PROGRESS_WARNING:
        wh_json_add_string(json, "text", ev->text);
        break;
    }
    return json;
}

static int check_name(const char *text, struct wh_error *err)
{
    if (text && strlen(text) > WH_MAX_PROGRESS_NAME)
        return wh_fail(err, WH_E_LIMIT, "progress event: a text is longer than %zu bytes",
                       WH_MAX_PROGRESS_NAME);
    return 0;
}

static int decode_vertex(const cJSON *json, struct wh_progress_event *out, struct wh_error *err)
{
    int state = find(wh_json_string(json, "state"), states, WH_COUNT(states));
    if (state < 0)
        return wh_fail(err, WH_E_PROTOCOL, "progress event: a vertex without a known state");
    out->state = (enum wh_progress_state)state;
    out->name = wh_json_string(json, "name");
    out->note = wh_json_string(json, "note");
    out->error = wh_json_string(json, "error");
    return check_name(out->name, err) < 0 || check_name(out->note, err) < 0 ? -1 : 0;
}

static int decode_log(const cJSON *json, struct wh_progress_event *out, struct wh_error *err)
{
    out->stream = (int)wh_json_int(json, "stream", 1);
    const char *base64 = wh_json_string(json, "base64");
    out->data = wh_json_string(json, "data");
    out->len = out->data ? strlen(out->data) : 0;
    if (base64) {
        struct wh_str bytes = {0};
        if (!wh_unbase64(base64, strlen(base64), &bytes)) {
            wh_str_free(&bytes);
            return wh_fail(err, WH_E_PROTOCOL, "progress event: a log is not base64");
        }
        out->len = bytes.len;
        out->data = out->owned = wh_str_steal(&bytes);
    }
    if (out->len <= WH_MAX_PROGRESS_LOG)
        return 0;
    wh_progress_event_clear(out);
    return wh_fail(err, WH_E_LIMIT, "progress event: a log is longer than %zu bytes", WH_MAX_PROGRESS_LOG);
}

static int decode_status(const cJSON *json, struct wh_progress_event *out, struct wh_error *err)
{
    out->id = wh_json_need_string(json, "id", "progress event", err);
    out->current = wh_json_int(json, "current", 0);
    out->total = wh_json_int(json, "total", 0);
    out->done = wh_json_bool(json, "done", false);
    return !out->id || check_name(out->id, err) < 0 ? -1 : 0;
}

int wh_progress_decode(const cJSON *json, struct wh_progress_event *out, struct wh_error *err)
{
    *out = (struct wh_progress_event){0};
    int kind = find(wh_json_string(json, "type"), kinds, WH_COUNT(kinds));
    if (kind < 0)
        return 0;
    out->kind = (enum wh_progress_kind)kind;
    int64_t vertex = wh_json_int(json, "vertex", 0), us = wh_json_int(json, "time", 0);
    out->vertex = vertex > 0 ? (uint64_t)vertex : 0;
    if (us > 0 && us < INT64_MAX / 1000)
        out->time_ns = us * 1000;
    int status = 0;
    switch (out->kind) {
    case WH_PROGRESS_VERTEX:
        status = decode_vertex(json, out, err);
        break;
    case WH_PROGRESS_LOG:
        status = decode_log(json, out, err);
        break;
    case WH_PROGRESS_STATUS:
        status = decode_status(json, out, err);
        break;
    case WH_PROGRESS_WARNING:
        out->text = wh_json_need_string(json, "text", "progress event", err);
        status = !out->text || check_name(out->text, err) < 0 ? -1 : 0;
        break;
    }
    return status < 0 ? -1 : 1;
}

void wh_progress_event_clear(struct wh_progress_event *ev)
{
    free(ev->owned);
    ev->owned = NULL;
    ev->data = NULL;
    ev->len = 0;
}
