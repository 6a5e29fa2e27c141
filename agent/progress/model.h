/* What the renderers share: vertices with their state, the tails of their logs, and their statuses. Private
 * to the room. */
#ifndef WH_PROGRESS_MODEL_H
#define WH_PROGRESS_MODEL_H

#include "wherry/progress/render.h"

#define WH_MAX_PROGRESS_VERTICES 65536
#define WH_MAX_PROGRESS_STATUSES 256 /* of one vertex; further ones are dropped */
#define WH_MAX_PROGRESS_LINE                                                                                 \
    ((size_t)16384)         /* bytes of one shown log line; longer ones are cut into several */
#define WH_PROGRESS_TAIL 10 /* log lines that an error's excerpt shows */
#define WH_MAX_PROGRESS_WARNINGS 200

struct pg_status {
    char *id;
    int64_t current, total, started, updated;
    int64_t shown_at, shown; /* plain: time and bytes of the last line about it; shown_at 0: none */
    bool done;
};

struct pg_vertex {
    uint64_t id;
    unsigned number; /* the #N */
    char *name;
    enum wh_progress_state state;
    bool ended;
    int64_t started, finished; /* ns */
    char *error, *note;
    struct wh_str partial[2];     /* line that is not whole yet, by stream */
    char *tail[WH_PROGRESS_TAIL]; /* ring: "0.123 text" */
    size_t tail_next, tail_count;
    struct pg_status *statuses;
    size_t nstatuses;
    struct wh_str pending; /* plain: text that waits for its turn */
    bool shown;            /* plain: its title was printed */
    bool closed;           /* plain: its end was printed */
};

struct wh_progress {
    enum wh_progress_style style;
    int fd;
    bool color;
    char *header;
    const char *title;           /* tty */
    struct pg_vertex **vertices; /* in order of number */
    size_t nvertices;
    struct pg_vertex *last; /* of the last event */
    char **warnings;
    size_t nwarnings;
    int64_t first, now; /* ns: first event, last event */
    bool header_done, finished;
    /* plain */
    struct pg_vertex *current;
    bool printed;      /* something was: blocks are set apart by a blank line */
    size_t pending;    /* bytes in all pending buffers */
    int64_t last_line; /* ns: when current said something */
    /* tty */
    unsigned drawn; /* lines on the screen below the cursor's start */
    bool hidden;    /* the cursor is */
    uint64_t last_draw;
};

typedef void (*pg_line_fn)(struct wh_progress *p, struct pg_vertex *v, const char *line, size_t len);

struct pg_vertex *pg_find(struct wh_progress *p, uint64_t id, bool make);
/* Splits a log event into lines, sanitised, "0.123 text"; each goes to the tail and to fn. */
void pg_log(struct wh_progress *p, struct pg_vertex *v, const struct wh_progress_event *ev, pg_line_fn fn);
void pg_log_flush(struct wh_progress *p, struct pg_vertex *v, pg_line_fn fn);
struct pg_status *pg_status_update(struct pg_vertex *v, const struct wh_progress_event *ev);
void pg_vertex_update(struct pg_vertex *v, const struct wh_progress_event *ev);
/* A text of the builder's as it may be shown: UTF-8, no control characters; newlines stay if lines, else they
 * are blanks. Owned. */
char *pg_shown(const char *text, bool lines);
void pg_add_bytes(struct wh_str *out, int64_t bytes);            /* "2.06MB" */
void pg_add_seconds(struct wh_str *out, int64_t ns, int digits); /* "1.2s" */
void pg_add_excerpts(const struct wh_progress *p, struct wh_str *out);
void pg_add_warnings(const struct wh_progress *p, struct wh_str *out);
void pg_write(struct wh_progress *p, const struct wh_str *text);

void pg_plain_feed(struct wh_progress *p, struct pg_vertex *v, const struct wh_progress_event *ev);
void pg_plain_tick(struct wh_progress *p);
void pg_plain_finish(struct wh_progress *p);
void pg_tty_line(struct wh_progress *p, struct pg_vertex *v, const char *line, size_t len);
void pg_tty_draw(struct wh_progress *p, bool last);

#endif
