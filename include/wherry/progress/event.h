/* Build progress as events: what the builder tells, and how it crosses the build channel as JSON frames.
 *
 * A vertex is a step of the build. It is told STARTED (or CACHED at once), then logs and statuses, then one
 * of DONE, CACHED, ERROR, CANCELED. Ids are the builder's numbers; the renderer gives the shown #N in order
 * of start. */
#ifndef WH_PROGRESS_EVENT_H
#define WH_PROGRESS_EVENT_H

#include "wherry/base/json.h"

#define WH_MAX_PROGRESS_LOG ((size_t)1 << 20) /* bytes of one log event */
#define WH_MAX_PROGRESS_NAME ((size_t)64 << 10)

enum wh_progress_kind { WH_PROGRESS_VERTEX, WH_PROGRESS_LOG, WH_PROGRESS_STATUS, WH_PROGRESS_WARNING };
enum wh_progress_state {
    WH_VERTEX_STARTED,
    WH_VERTEX_DONE,
    WH_VERTEX_CACHED,
    WH_VERTEX_ERROR,
    WH_VERTEX_CANCELED
};

/* Texts are borrowed: by encode from the caller, after decode from the JSON (data: from the event, see
 * clear). */
struct wh_progress_event {
    enum wh_progress_kind kind;
    uint64_t vertex;
    int64_t time_ns; /* wall clock; 0: now */

    enum wh_progress_state state; /* VERTEX */
    const char *name;             /* VERTEX: "[build 2/5] RUN make"; needed with the vertex's first event */
    const char *note;             /* VERTEX STARTED: why it was not cached; NULL */
    const char *error;            /* VERTEX ERROR: the cause */

    int stream;       /* LOG: 1 stdout, 2 stderr */
    const char *data; /* LOG: bytes as they came, no line is guaranteed to be whole */
    size_t len;

    const char *id;         /* STATUS: "sha256:..", "pushing layers" */
    int64_t current, total; /* STATUS: bytes; total 0: unknown, both 0: just an activity */
    bool done;              /* STATUS */

    const char *text; /* WARNING: "Rule: message (line N)" */
    char *owned;      /* decode: memory behind data */
};

/* Texts longer than WH_MAX_PROGRESS_NAME are cut; data must fit WH_MAX_PROGRESS_LOG. The caller frees by
 * cJSON_Delete(). {"type":"vertex"|"log"|"status"|"warning", ...} */
cJSON *wh_progress_encode(const struct wh_progress_event *ev);
/* 1: an event; 0: a frame of another type; negative: a broken event. Clear it before json goes. */
int wh_progress_decode(const cJSON *json, struct wh_progress_event *out, struct wh_error *err);
void wh_progress_event_clear(struct wh_progress_event *ev);

#endif
