/* The terminal display: all steps with their times, running ones with their last log lines, drawn anew in
 * place. One write a frame, each line erased only behind its own text, so nothing flickers. */
#include <stdio.h>
#include <sys/ioctl.h>

#include "progress/model.h"
#include "wherry/base/clock.h"

#define LOG_LINES 6 /* of each running vertex */

struct frame {
    struct wh_str text;
    unsigned lines, skip; /* skip: lines at the top that don't fit */
    unsigned width;
    bool color;
};

static void terminal_size(int fd, unsigned *width, unsigned *height)
{
    struct winsize ws;
    *width = 80;
    *height = 24;
    if (ioctl(fd, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0 && ws.ws_row > 0) {
        *width = ws.ws_col;
        *height = ws.ws_row;
    }
}

/* The columns of the character at s (valid UTF-8, *len its bytes): scripts of East Asia and emoji take two.
 */
static unsigned columns_of(const char *s, size_t left, size_t *len)
{
    const unsigned char *u = (const unsigned char *)s;
    *len = WH_MIN(left, u[0] >= 0xf0   ? (size_t)4
                        : u[0] >= 0xe0 ? (size_t)3
                        : u[0] >= 0xc0 ? (size_t)2
                                       : (size_t)1);
    if (*len < 3)
        return 1;
    unsigned cp = *len == 3 ? (u[0] & 0xfU) << 12 | (u[1] & 0x3fU) << 6 | (u[2] & 0x3fU)
                            : (u[0] & 7U) << 18 | (u[1] & 0x3fU) << 12 | (u[2] & 0x3fU) << 6 | (u[3] & 0x3fU);
    bool wide = (cp >= 0x1100 && cp <= 0x115f) || (cp >= 0x2e80 && cp <= 0xa4cf) ||
                (cp >= 0xac00 && cp <= 0xd7a3) || (cp >= 0xf900 && cp <= 0xfaff) ||
                (cp >= 0xfe30 && cp <= 0xfe6f) || (cp >= 0xff00 && cp <= 0xff60) ||
                (cp >= 0x1f300 && cp <= 0x1faff) || (cp >= 0x20000 && cp <= 0x3fffd);
    return wide ? 2 : 1;
}

/* Adds at most `width` columns; colours cost none. Returns the columns used. */
static unsigned add_cut(struct wh_str *out, const char *text, size_t len, unsigned width)
{
    unsigned used = 0;
    bool escape = false;
    for (size_t i = 0, n = 1; i < len; i += n) {
        unsigned columns = columns_of(text + i, len - i, &n);
        if (text[i] == 0x1b)
            escape = true;
        if (escape) {
            wh_str_addc(out, text[i]);
            escape = text[i] != 'm';
            continue;
        }
        if (text[i] == '\t')
            columns = 8 - used % 8;
        if (used + columns > width)
            break;
        used += columns;
        if (text[i] == '\t')
            wh_str_addf(out, "%*s", (int)columns, "");
        else
            wh_str_addn(out, text + i, n);
    }
    return used;
}

static void add_row(struct frame *f, const char *color, const char *left, const char *right)
{
    if (f->skip > 0) {
        f->skip--;
        return;
    }
    wh_autostr one_line = {0};
    for (const char *p = left; *p; p++)
        wh_str_addc(&one_line, *p == '\n' ? ' ' : *p);
    unsigned right_len = right ? (unsigned)strlen(right) : 0;
    unsigned room = f->width > right_len + 3 ? f->width - right_len - 2 : 1;
    if (f->color && color)
        wh_str_add(&f->text, color);
    unsigned used = add_cut(&f->text, wh_str_text(&one_line), one_line.len, room);
    if (right && f->width > right_len + 3)
        wh_str_addf(&f->text, "%*s", (int)(f->width - used - 1), right);
    if (f->color)
        wh_str_add(&f->text, "\x1b[0m");
    wh_str_add(&f->text, "\x1b[K\n");
    f->lines++;
}

static const char *color_of(const struct pg_vertex *v)
{
    if (!v->ended)
        return NULL;
    return v->state == WH_VERTEX_ERROR      ? "\x1b[31m"
           : v->state == WH_VERTEX_CANCELED ? "\x1b[33m"
                                            : "\x1b[34m";
}

static void add_status_rows(struct frame *f, const struct pg_vertex *v, int64_t now)
{
    for (size_t i = 0; i < v->nstatuses; i++) {
        const struct pg_status *s = &v->statuses[i];
        if (s->done && i + LOG_LINES < v->nstatuses)
            continue;
        wh_autostr left = {0}, right = {0};
        wh_str_addf(&left, " => => %s", s->id);
        if (s->current || s->total) {
            wh_str_addc(&left, ' ');
            pg_add_bytes(&left, s->current);
            if (s->total > 0) {
                wh_str_add(&left, " / ");
                pg_add_bytes(&left, s->total);
            }
        }
        pg_add_seconds(&right, (s->done ? s->updated : now) - s->started, 1);
        add_row(f, s->done ? "\x1b[34m" : NULL, wh_str_text(&left), wh_str_text(&right));
    }
}

static void add_log_rows(struct frame *f, const struct pg_vertex *v)
{
    size_t n = WH_MIN(v->tail_count, (size_t)LOG_LINES);
    for (size_t k = 0; k < n; k++) {
        const char *line = v->tail[(v->tail_next + WH_PROGRESS_TAIL - n + k) % WH_PROGRESS_TAIL];
        const char *text = strchr(line, ' ');
        wh_autofree char *left = wh_printf(" => => # %s", text ? text + 1 : "");
        add_row(f, "\x1b[2m", left, NULL);
    }
}

static void add_vertex(struct frame *f, const struct pg_vertex *v, int64_t now, bool last)
{
    wh_autostr right = {0};
    const char *mark = v->state == WH_VERTEX_CACHED     ? "CACHED "
                       : v->state == WH_VERTEX_ERROR    ? "ERROR "
                       : v->state == WH_VERTEX_CANCELED ? "CANCELED "
                                                        : "";
    wh_autofree char *left = wh_printf(" => %s%s", v->ended ? mark : "", v->name ? v->name : "");
    pg_add_seconds(&right, (v->ended ? v->finished : now) - v->started, 1);
    add_row(f, color_of(v), left, wh_str_text(&right));
    if (!last || v->state != WH_VERTEX_CACHED)
        add_status_rows(f, v, now);
    if (!v->ended && !last)
        add_log_rows(f, v);
}

static void build_frame(struct wh_progress *p, struct frame *f, int64_t now, bool last)
{
    size_t done = 0;
    for (size_t i = 0; i < p->nvertices; i++)
        done += p->vertices[i]->ended;
    wh_autostr head = {0};
    wh_str_addf(&head, "[+] %s ", p->title);
    pg_add_seconds(&head, now - p->first, 1);
    wh_str_addf(&head, " (%zu/%zu)%s", done, p->nvertices, last && done == p->nvertices ? " FINISHED" : "");
    unsigned skip = f->skip;
    f->skip = 0; /* the head always shows */
    add_row(f, NULL, wh_str_text(&head), NULL);
    f->skip = skip;
    for (size_t i = 0; i < p->nvertices; i++)
        add_vertex(f, p->vertices[i], now, last);
}

void pg_tty_line(struct wh_progress *p, struct pg_vertex *v, const char *line, size_t len)
{
    (void)p, (void)v, (void)line, (void)len; /* the tail has it already */
}

void pg_tty_draw(struct wh_progress *p, bool last)
{
    unsigned width, height;
    terminal_size(p->fd, &width, &height);
    int64_t now = last ? p->now : wh_now_ns();
    struct frame f = {.width = width, .color = p->color};
    build_frame(p, &f, now, last);
    if (!last && f.lines + 1 > height) {
        unsigned skip = f.lines + 1 - height;
        wh_str_free(&f.text);
        f = (struct frame){.width = width, .color = p->color, .skip = skip};
        build_frame(p, &f, now, last);
    }
    wh_autostr out = {0};
    if (!p->hidden && !last)
        wh_str_add(&out, "\x1b[?25l");
    if (p->drawn > 0)
        wh_str_addf(&out, "\x1b[%uA\r", p->drawn);
    wh_str_addn(&out, wh_str_text(&f.text), f.text.len);
    if (p->drawn > f.lines)
        wh_str_add(&out, "\x1b[J");
    if (last)
        wh_str_add(&out, "\x1b[?25h");
    p->hidden = !last;
    p->drawn = last ? 0 : f.lines;
    wh_str_free(&f.text);
    pg_write(p, &out);
}
