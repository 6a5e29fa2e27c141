/* The renderer: styles, and what they have in common. */
#include "wherry/progress/render.h"

#include <unistd.h>

#include "progress/model.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define DRAW_PAUSE_MS 80 /* between two frames */

bool wh_progress_style_parse(const char *text, int fd, enum wh_progress_style *out)
{
    static const struct {
        const char *name;
        enum wh_progress_style style;
    } names[] = {{"plain", WH_STYLE_PLAIN},  {"tty", WH_STYLE_TTY},     {"json", WH_STYLE_JSON},
                 {"rawjson", WH_STYLE_JSON}, {"quiet", WH_STYLE_QUIET}, {"none", WH_STYLE_QUIET}};
    if (strcmp(text, "auto") == 0) {
        *out = isatty(fd) ? WH_STYLE_TTY : WH_STYLE_PLAIN;
        return true;
    }
    for (size_t i = 0; i < WH_COUNT(names); i++) {
        if (strcmp(text, names[i].name) == 0) {
            *out = names[i].style;
            return true;
        }
    }
    return false;
}

struct wh_progress *wh_progress_new(enum wh_progress_style style, int fd, const char *header)
{
    struct wh_progress *p = wh_calloc(1, sizeof *p);
    p->style = style;
    p->fd = fd;
    p->color = wh_color_ok(fd);
    p->header = wh_strdup(header);
    p->title = "Building";
    return p;
}

void wh_progress_title(struct wh_progress *p, const char *title)
{
    p->title = title;
}

static void feed_json(struct wh_progress *p, const struct wh_progress_event *ev)
{
    wh_autojson *json = wh_progress_encode(ev);
    wh_autofree char *line = wh_json_print(json);
    wh_autostr out = {0};
    wh_str_addf(&out, "%s\n", line);
    pg_write(p, &out);
}

static void keep_warning(struct wh_progress *p, const char *told)
{
    wh_autofree char *text = pg_shown(told, false);
    for (size_t i = 0; p->warnings && p->warnings[i]; i++)
        if (strcmp(p->warnings[i], text) == 0)
            return;
    if (p->nwarnings++ < WH_MAX_PROGRESS_WARNINGS)
        wh_strv_add(&p->warnings, text);
}

void wh_progress_feed(struct wh_progress *p, const struct wh_progress_event *event)
{
    struct wh_progress_event ev = *event;
    if (ev.time_ns == 0)
        ev.time_ns = wh_now_ns();
    if (p->finished)
        return;
    p->now = WH_MAX(p->now, ev.time_ns);
    p->first = p->first ? p->first : ev.time_ns;
    if (p->style == WH_STYLE_JSON) {
        feed_json(p, &ev);
        return;
    }
    if (ev.kind == WH_PROGRESS_WARNING) {
        keep_warning(p, ev.text);
        return;
    }
    struct pg_vertex *v = pg_find(p, ev.vertex, ev.kind == WH_PROGRESS_VERTEX);
    if (!v || (v->ended && ev.kind == WH_PROGRESS_VERTEX))
        return; /* nobody told its name, or its end is told twice */
    if (ev.kind == WH_PROGRESS_VERTEX)
        pg_vertex_update(v, &ev);
    if (p->style == WH_STYLE_PLAIN) {
        pg_plain_feed(p, v, &ev);
        return;
    }
    if (ev.kind == WH_PROGRESS_LOG)
        pg_log(p, v, &ev, pg_tty_line);
    else if (ev.kind == WH_PROGRESS_STATUS)
        pg_status_update(v, &ev);
    else if (v->ended)
        pg_log_flush(p, v, pg_tty_line);
}

void wh_progress_tick(struct wh_progress *p)
{
    if (p->finished)
        return;
    if (p->style == WH_STYLE_PLAIN && p->nvertices > 0) {
        p->now = WH_MAX(p->now, wh_now_ns());
        pg_plain_tick(p);
    } else if (p->style == WH_STYLE_TTY && p->nvertices > 0 && wh_mono_ms() - p->last_draw >= DRAW_PAUSE_MS) {
        pg_tty_draw(p, false);
        p->last_draw = wh_mono_ms();
    }
}

/* A build that failed or was canceled: what still ran was stopped. */
static void cancel_rest(struct wh_progress *p)
{
    for (size_t i = 0; i < p->nvertices; i++) {
        struct pg_vertex *v = p->vertices[i];
        if (v->ended)
            continue;
        v->ended = true;
        v->state = WH_VERTEX_CANCELED;
        v->finished = p->now;
    }
}

void wh_progress_finish(struct wh_progress *p, bool ok)
{
    if (p->finished)
        return;
    p->finished = true;
    wh_autostr out = {0};
    if (!ok)
        cancel_rest(p);
    if (p->style == WH_STYLE_PLAIN)
        pg_plain_finish(p);
    else if (p->style == WH_STYLE_TTY && (p->nvertices > 0 || p->hidden))
        pg_tty_draw(p, true);
    if (p->style == WH_STYLE_JSON)
        return;
    if (!ok)
        pg_add_excerpts(p, &out);
    if (p->style != WH_STYLE_QUIET)
        pg_add_warnings(p, &out);
    pg_write(p, &out);
}

static void vertex_free(struct pg_vertex *v)
{
    for (size_t i = 0; i < WH_PROGRESS_TAIL; i++)
        free(v->tail[i]);
    for (size_t i = 0; i < v->nstatuses; i++)
        free(v->statuses[i].id);
    wh_str_free(&v->partial[0]);
    wh_str_free(&v->partial[1]);
    wh_str_free(&v->pending);
    free(v->statuses);
    free(v->name);
    free(v->error);
    free(v->note);
    free(v);
}

void wh_progress_free(struct wh_progress *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->nvertices; i++)
        vertex_free(p->vertices[i]);
    free(p->vertices);
    wh_strv_free(p->warnings);
    free(p->header);
    free(p);
}
