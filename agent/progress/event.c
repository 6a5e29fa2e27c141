/* Progress events as JSON and back. The peer of a decode is a builder that runs foreign code's output through
 * itself: every member is checked. */
#include "wherry/progress/event.h"

#include "wherry/base/clock.h"
#include "wherry/base/digest.h"

static const char *const state_names[] = {"started", "done", "cached", "error", "canceled"};
static const char *const kind_names[] = {"vertex", "log", "status", "warning"};

static void add_data(cJSON *json, const struct wh_progress_event *ev)
{
    /* Text as text; what JSON can't hold (a cut character, a NUL) as base64. */
    if (wh_utf8_valid(ev->data, ev->len) && !(ev->len > 0 && memchr(ev->data, '\0', ev->len))) {
        wh_autofree char *text = wh_strndup(ev->data, ev->len);
        wh_json_add_string(json, "data", text);
    } else {
        wh_autofree char *text = wh_base64(ev->data, ev->len);
        wh_json_add_string(json, "data64", text);
    }
}

/* A text that is longer than the other end takes is cut, between characters: a RUN of a hundred kilobytes is
 * no reason to fail. */
static void add_bounded(cJSON *json, const char *name, const char *text)
{
    static const char dots[] = "...";
    size_t cut = WH_MAX_PROGRESS_NAME - strlen(dots);
    if (!text || strlen(text) <= WH_MAX_PROGRESS_NAME) {
        wh_json_add_string(json, name, text);
        return;
    }
    while (cut > 0 && ((unsigned char)text[cut] & 0xc0) == 0x80)
        cut--;
    wh_autofree char *start = wh_strndup(text, cut);
    wh_autofree char *whole = wh_printf("%s%s", start, dots);
    wh_json_add_string(json, name, whole);
}

cJSON *wh_progress_encode(const struct wh_progress_event *ev)
{
    cJSON *json = cJSON_CreateObject();
    wh_json_add_string(json, "type", kind_names[ev->kind]);
    wh_json_add_int(json, "vertex", (int64_t)ev->vertex);
    wh_json_add_int(json, "time", ev->time_ns ? ev->time_ns : wh_now_ns());
    switch (ev->kind) {
    case WH_PROGRESS_VERTEX:
        wh_json_add_string(json, "state", state_names[ev->state]);
        add_bounded(json, "name", ev->name);
        add_bounded(json, "note", ev->note);
        add_bounded(json, "error", ev->error);
        break;
    case WH_PROGRESS_LOG:
        wh_json_add_int(json, "stream", ev->stream);
        add_data(json, ev);
        break;
    case WH_PROGRESS_STATUS:
        add_bounded(json, "id", ev->id);
        wh_json_add_int(json, "current", ev->current);
        wh_json_add_int(json, "total", ev->total);
        cJSON_AddBoolToObject(json, "done", ev->done);
        break;
    case WH_PROGRESS_WARNING:
        add_bounded(json, "text", ev->text);
        break;
    }
    return json;
}

static int too_long(const char *what, struct wh_error *err)
{
    return wh_fail(err, WH_E_LIMIT, "progress: %s is too long", what);
}

/* A text member, bounded; NULL where it is absent. */
static int get_text(const cJSON *json, const char *name, const char **out, struct wh_error *err)
{
    *out = wh_json_string(json, name);
    return *out && strlen(*out) > WH_MAX_PROGRESS_NAME ? too_long(name, err) : 0;
}

static int decode_vertex(const cJSON *json, struct wh_progress_event *out, struct wh_error *err)
{
    const char *state = wh_json_string(json, "state");
    size_t i = 0;
    while (i < WH_COUNT(state_names) && !wh_streq(state, state_names[i]))
        i++;
    if (i == WH_COUNT(state_names))
        return wh_fail(err, WH_E_PROTOCOL, "progress: a vertex event without a known state");
    out->state = (enum wh_progress_state)i;
    if (get_text(json, "name", &out->name, err) < 0 || get_text(json, "note", &out->note, err) < 0 ||
        get_text(json, "error", &out->error, err) < 0)
        return -1;
    return 1;
}

static int decode_log(const cJSON *json, struct wh_progress_event *out, struct wh_error *err)
{
    out->stream = wh_json_int(json, "stream", 1) == 2 ? 2 : 1;
    const char *text = wh_json_string(json, "data"), *coded = wh_json_string(json, "data64");
    if (text) {
        out->data = text;
        out->len = strlen(text);
    } else if (coded) {
        wh_autostr bytes = {0};
        if (strlen(coded) > WH_MAX_PROGRESS_LOG * 2)
            return too_long("a log", err);
        if (!wh_unbase64(coded, strlen(coded), &bytes))
            return wh_fail(err, WH_E_PROTOCOL, "progress: data64 of a log is no base64");
        out->len = bytes.len;
        out->owned = wh_str_steal(&bytes);
        out->data = out->owned;
    } else {
        return wh_fail(err, WH_E_PROTOCOL, "progress: a log event without data");
    }
    if (out->len > WH_MAX_PROGRESS_LOG) {
        wh_progress_event_clear(out);
        return too_long("a log", err);
    }
    return 1;
}

int wh_progress_decode(const cJSON *json, struct wh_progress_event *out, struct wh_error *err)
{
    *out = (struct wh_progress_event){0};
    const char *type = wh_json_string(json, "type");
    size_t kind = 0;
    while (kind < WH_COUNT(kind_names) && !wh_streq(type, kind_names[kind]))
        kind++;
    if (kind == WH_COUNT(kind_names))
        return 0;
    out->kind = (enum wh_progress_kind)kind;
    out->vertex = (uint64_t)wh_json_int(json, "vertex", 0);
    out->time_ns = wh_json_int(json, "time", 0);
    switch (out->kind) {
    case WH_PROGRESS_VERTEX:
        return decode_vertex(json, out, err);
    case WH_PROGRESS_LOG:
        return decode_log(json, out, err);
    case WH_PROGRESS_STATUS:
        out->current = wh_json_int(json, "current", 0);
        out->total = wh_json_int(json, "total", 0);
        out->done = wh_json_bool(json, "done", false);
        if (get_text(json, "id", &out->id, err) < 0)
            return -1;
        return out->id ? 1 : wh_fail(err, WH_E_PROTOCOL, "progress: a status event without id");
    default:
        if (get_text(json, "text", &out->text, err) < 0)
            return -1;
        return out->text ? 1 : wh_fail(err, WH_E_PROTOCOL, "progress: a warning event without text");
    }
}

void wh_progress_event_clear(struct wh_progress_event *ev)
{
    free(ev->owned);
    ev->owned = NULL;
    ev->data = NULL;
    ev->len = 0;
}
