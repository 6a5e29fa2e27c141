/* The terminal display: finished steps are printed once, running ones are redrawn in place below them. */
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "progress/render.h"

#include "wherry/base/clock.h"

#define LOG_ROWS 6 /* of a running step's log */

static void measure(struct wh_progress *p)
{
    struct winsize size;
    p->columns = 80;
    p->rows = 24;
    if (ioctl(p->fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 && size.ws_row > 4) {
        p->columns = size.ws_col;
        p->rows = size.ws_row;
    }
}

/* Adds text cut to `width` columns (every code point counts as one), control bytes left out, padded if pad.
 */
static void add_cut(struct wh_str *out, const char *text, unsigned width, bool pad)
{
    unsigned used = 0;
    for (const char *at = text; *at && used < width; at++) {
        unsigned char c = (unsigned char)*at;
        if (c == '\033') { /* colours of a tool would break the layout */
            while (at[1] && !((*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z')))
                at++;
            continue;
        }
        if (c < ' ' && c != '\t')
            continue;
        wh_str_addc(out, c == '\t' ? ' ' : (char)c);
        used += (c & 0xc0) != 0x80;
        while (((unsigned char)at[1] & 0xc0) == 0x80) /* the rest of the code point */
            wh_str_addc(out, *++at);
    }
    for (; pad && used < width; used++)
        wh_str_addc(out, ' ');
}

static void add_row(struct wh_progress *p, const char *color, const char *text, const char *right)
{
    unsigned width = p->columns - 1, tail = (unsigned)strlen(right);
    if (p->color && color)
        wh_str_add(&p->out, color);
    add_cut(&p->out, text, width > tail + 1 ? width - tail - 1 : 1, tail > 0);
    if (tail > 0)
        wh_str_addf(&p->out, " %s", right);
    if (p->color && color)
        wh_str_add(&p->out, "\033[0m");
    wh_str_add(&p->out, "\033[K\n");
}

static void add_vertex(struct wh_progress *p, const struct vertex *v, int64_t now)
{
    char seconds[32];
    static const char *const colors[] = {NULL, "\033[34m", "\033[34m", "\033[31m", "\033[33m"};
    const char *mark = v->state == WH_VERTEX_CACHED     ? "CACHED "
                       : v->state == WH_VERTEX_ERROR    ? "ERROR "
                       : v->state == WH_VERTEX_CANCELED ? "CANCELED "
                                                        : "";
    wh_autofree char *text = wh_printf(" => %s%s", mark, v->name);
    int64_t end = v->ended ? v->ended : now;
    add_row(p, colors[v->state], text, progress_seconds(end - v->started, seconds));
}

/* The rows below a running step: bytes under way, last lines of its log. Returns how many were added, at most
 * max. */
static unsigned add_details(struct wh_progress *p, const struct vertex *v, unsigned max)
{
    unsigned used = 0;
    char amount[64];
    for (size_t i = 0; i < v->nrows && used < max; i++) {
        if (v->rows[i].done && v->nrows > 4)
            continue;
        wh_autofree char *text = wh_printf(" => => %s", v->rows[i].id);
        add_row(p, NULL, text, progress_amount(&v->rows[i], amount));
        used++;
    }
    size_t show = WH_MIN(WH_MIN(v->ntail, (size_t)LOG_ROWS), (size_t)(max - used));
    for (size_t i = v->ntail - show; i < v->ntail; i++, used++) {
        wh_autofree char *text = wh_printf(" => => # %s", v->tail[i % TAIL_LINES]);
        add_row(p, p->color ? "\033[2m" : NULL, text, "");
    }
    return used;
}

static void redraw(struct wh_progress *p, bool last)
{
    measure(p);
    int64_t now = wh_now_ns();
    if (p->drawn > 0)
        wh_str_addf(&p->out, "\033[%uA\r", p->drawn);
    p->drawn = 0;
    /* Finished steps leave the redrawn part, in order. */
    while (p->printed < p->n && p->vertices[p->printed]->ended)
        add_vertex(p, p->vertices[p->printed++], now);
    unsigned room = p->rows - 3;
    char seconds[32];
    size_t done = 0;
    for (size_t i = 0; i < p->n; i++)
        done += p->vertices[i]->ended != 0;
    if (!last) {
        wh_autofree char *head = wh_printf("[+] Building (%zu/%zu)", done, p->n);
        add_row(p, p->color ? "\033[1m" : NULL, head, progress_seconds(now - p->first, seconds));
        p->drawn = 1;
    }
    for (size_t i = p->printed; i < p->n && p->drawn < room; i++) {
        add_vertex(p, p->vertices[i], now);
        p->drawn++;
        if (!p->vertices[i]->ended && p->drawn < room)
            p->drawn += add_details(p, p->vertices[i], room - p->drawn);
    }
    wh_str_add(&p->out, "\033[J");
}

static void tty_event(struct wh_progress *p, struct vertex *v, const struct wh_progress_event *ev)
{
    struct status_row *row = ev->kind == WH_PROGRESS_STATUS ? progress_row(v, ev) : NULL;
    if (row) {
        row->current = ev->current;
        row->total = ev->total;
        row->done = ev->done;
    }
    if (ev->kind == WH_PROGRESS_VERTEX)
        redraw(p, false);
}

static void tty_tick(struct wh_progress *p)
{
    if (p->n > p->printed)
        redraw(p, false);
}

static void tty_finish(struct wh_progress *p, bool ok)
{
    redraw(p, true);
    p->drawn = 0;
    style_plain.finish(p, ok);
}

const struct style style_tty = {.event = tty_event, .tick = tty_tick, .finish = tty_finish};
