/* What the renderers share: the vertices as they stand. Private to agent/progress/. */
#ifndef WH_PROGRESS_RENDER_PRIVATE_H
#define WH_PROGRESS_RENDER_PRIVATE_H

#include "wherry/progress/render.h"

#define TAIL_LINES 10 /* of a vertex's log, kept for the excerpt of a failure and for the terminal */

struct status_row {
    char *id;
    int64_t current, total, started;
    bool done;
};

struct vertex {
    uint64_t id;
    unsigned number; /* the shown #N */
    char *name, *error;
    enum wh_progress_state state;
    int64_t started, ended; /* ns */
    struct wh_str line;     /* the log's last line as far as it came */
    char *tail[TAIL_LINES]; /* a ring; owned */
    size_t ntail;           /* lines ever */
    struct status_row *rows;
    size_t nrows;
};

struct style {
    void (*event)(struct wh_progress *p, struct vertex *v, const struct wh_progress_event *ev);
    void (*line)(struct wh_progress *p, struct vertex *v, const struct wh_progress_event *ev,
                 const char *line);
    void (*tick)(struct wh_progress *p);
    void (*finish)(struct wh_progress *p, bool ok);
};
extern const struct style style_plain, style_tty, style_json, style_quiet;

struct wh_progress {
    const struct style *style;
    int fd;
    struct vertex **vertices; /* in order of start */
    size_t n;
    struct wh_str out;
    char *header;
    char **warnings;
    int64_t first; /* time of the first event */
    /* plain: */
    const struct vertex *last;
    /* tty: */
    unsigned drawn, columns, rows;
    size_t printed; /* vertices that are finished and printed for good */
    bool color;
};

void progress_flush(struct wh_progress *p);
/* "1.2s" as BuildKit shows times. buf holds 32 bytes; returns buf. */
char *progress_seconds(int64_t ns, char *buf);
/* "2.06MB / 10.49MB" or "". buf holds 64 bytes; returns buf. */
char *progress_amount(const struct status_row *row, char *buf);
struct status_row *progress_row(struct vertex *v, const struct wh_progress_event *ev);
/* The excerpt of a failed vertex: `------`, ` > TITLE:`, its last lines, `------`. Adds to out. */
void progress_excerpt(const struct vertex *v, struct wh_str *out);

#endif
