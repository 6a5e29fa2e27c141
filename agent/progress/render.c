/* The vertices as events tell them, and what every style needs. */
#include "progress/render.h"

#include <stdio.h>
#include <unistd.h>

#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"

#define WH_MAX_VERTICES 65536
#define WH_MAX_LOG_LINE ((size_t)16 << 10) /* longer lines are shown in pieces */
#define WH_MAX_STATUS_ROWS 4096

bool wh_progress_style_parse(const char *text, int fd, enum wh_progress_style *out)
{
    static const struct {
        const char *name;
        enum wh_progress_style style;
    } names[] = {{"plain", WH_STYLE_PLAIN},  {"tty", WH_STYLE_TTY},     {"json", WH_STYLE_JSON},
                 {"rawjson", WH_STYLE_JSON}, {"quiet", WH_STYLE_QUIET}, {"none", WH_STYLE_QUIET}};
    if (strcmp(text, "auto") == 0) {
        const char *term = getenv("TERM");
        *out = isatty(fd) && term && strcmp(term, "dumb") != 0 ? WH_STYLE_TTY : WH_STYLE_PLAIN;
        return true;
    }
    for (size_t i = 0; i < WH_COUNT(names); i++)
        if (strcmp(names[i].name, text) == 0) {
            *out = names[i].style;
            return true;
        }
    return false;
}

struct wh_progress *wh_progress_new(enum wh_progress_style style, int fd, const char *header)
{
    static const struct style *const styles[] = {&style_plain, &style_tty, &style_json, &style_quiet};
    struct wh_progress *p = wh_calloc(1, sizeof(*p));
    p->style = styles[style];
    p->fd = fd;
    p->header = wh_strdup(header);
    p->color = wh_color_ok(fd);
    if (header && style == WH_STYLE_PLAIN) {
        wh_str_addf(&p->out, "#0 %s\n", header);
        progress_flush(p);
    }
    return p;
}

void progress_flush(struct wh_progress *p)
{
    if (p->out.len > 0)
        (void)wh_write_all(p->fd, p->out.data, p->out.len, NULL); /* nobody reads on: nobody to tell */
    wh_str_clear(&p->out);
}

static struct vertex *vertex_of(struct wh_progress *p, const struct wh_progress_event *ev)
{
    for (size_t i = p->n; i-- > 0;)
        if (p->vertices[i]->id == ev->vertex)
            return p->vertices[i];
    if (ev->kind != WH_PROGRESS_VERTEX || p->n == WH_MAX_VERTICES)
        return NULL;
    struct vertex *v = wh_calloc(1, sizeof(*v));
    v->id = ev->vertex;
    v->number = (unsigned)p->n + 1;
    v->name = wh_strdup(ev->name ? ev->name : "");
    v->started = ev->time_ns ? ev->time_ns : wh_now_ns();
    p->vertices = wh_reallocarray(p->vertices, p->n + 1, sizeof(struct vertex *));
    p->vertices[p->n++] = v;
    return v;
}

static void keep_line(struct vertex *v, const char *line)
{
    char **slot = &v->tail[v->ntail % TAIL_LINES];
    free(*slot);
    *slot = wh_strdup(line);
    v->ntail++;
}

static void end_line(struct wh_progress *p, struct vertex *v, const struct wh_progress_event *ev)
{
    wh_autostr clean = {0};
    wh_str_add_utf8(&clean, wh_str_text(&v->line), v->line.len);
    wh_str_clear(&v->line);
    keep_line(v, wh_str_text(&clean));
    if (p->style->line)
        p->style->line(p, v, ev, wh_str_text(&clean));
}

/* LF and CR end a line, so that a progress bar of a tool shows as lines. */
static void take_log(struct wh_progress *p, struct vertex *v, const struct wh_progress_event *ev)
{
    for (size_t i = 0; i < ev->len; i++) {
        char c = ev->data[i];
        if (c == '\n' || (c == '\r' && i + 1 < ev->len && ev->data[i + 1] != '\n' && v->line.len > 0))
            end_line(p, v, ev);
        else if (c != '\r' && c != '\0')
            wh_str_addc(&v->line, c);
        if (v->line.len >= WH_MAX_LOG_LINE)
            end_line(p, v, ev);
    }
}

struct status_row *progress_row(struct vertex *v, const struct wh_progress_event *ev)
{
    for (size_t i = 0; i < v->nrows; i++)
        if (strcmp(v->rows[i].id, ev->id) == 0)
            return &v->rows[i];
    if (v->nrows == WH_MAX_STATUS_ROWS)
        return NULL;
    v->rows = wh_reallocarray(v->rows, v->nrows + 1, sizeof(*v->rows));
    v->rows[v->nrows] = (struct status_row){.id = wh_strdup(ev->id), .started = ev->time_ns};
    return &v->rows[v->nrows++];
}

static void take_state(struct wh_progress *p, struct vertex *v, const struct wh_progress_event *ev)
{
    v->state = ev->state;
    if (ev->state == WH_VERTEX_STARTED)
        return;
    if (v->line.len > 0)
        end_line(p, v, ev);
    v->ended = ev->time_ns ? ev->time_ns : wh_now_ns();
    free(v->error);
    v->error = wh_strdup(ev->error);
}

void wh_progress_feed(struct wh_progress *p, const struct wh_progress_event *ev)
{
    if (p->first == 0)
        p->first = ev->time_ns;
    struct vertex *v = vertex_of(p, ev);
    if (ev->kind == WH_PROGRESS_WARNING)
        wh_strv_add(&p->warnings, ev->text);
    else if (!v)
        return; /* an event of a vertex that never began */
    else if (ev->kind == WH_PROGRESS_VERTEX)
        take_state(p, v, ev);
    if (p->style->event)
        p->style->event(p, v, ev);
    if (v && ev->kind == WH_PROGRESS_LOG)
        take_log(p, v, ev);
    progress_flush(p);
}

void wh_progress_tick(struct wh_progress *p)
{
    if (p->style->tick)
        p->style->tick(p);
    progress_flush(p);
}

void wh_progress_finish(struct wh_progress *p, bool ok)
{
    if (p->style->finish)
        p->style->finish(p, ok);
    progress_flush(p);
}

void wh_progress_free(struct wh_progress *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++) {
        struct vertex *v = p->vertices[i];
        for (size_t r = 0; r < v->nrows; r++)
            free(v->rows[r].id);
        for (size_t t = 0; t < TAIL_LINES; t++)
            free(v->tail[t]);
        free(v->rows);
        free(v->name);
        free(v->error);
        wh_str_free(&v->line);
        free(v);
    }
    free(p->vertices);
    free(p->header);
    wh_strv_free(p->warnings);
    wh_str_free(&p->out);
    free(p);
}

/* ---- what styles share ---- */

char *progress_seconds(int64_t ns, char *buf)
{
    snprintf(buf, 32, "%.1fs", (double)(ns > 0 ? ns : 0) / 1e9);
    return buf;
}

char *progress_amount(const struct status_row *row, char *buf)
{
    buf[0] = '\0';
    wh_autofree char *current = wh_format_size((uint64_t)row->current),
                     *total = wh_format_size((uint64_t)row->total);
    if (row->total > 0)
        snprintf(buf, 64, "%s / %s", current, total);
    else if (row->current > 0)
        snprintf(buf, 64, "%s", current);
    return buf;
}

void progress_excerpt(const struct vertex *v, struct wh_str *out)
{
    wh_str_addf(out, "------\n > %s:\n", v->name);
    size_t first = v->ntail > TAIL_LINES ? v->ntail - TAIL_LINES : 0;
    for (size_t i = first; i < v->ntail; i++)
        wh_str_addf(out, "%s\n", v->tail[i % TAIL_LINES]);
    wh_str_add(out, "------\n");
}
