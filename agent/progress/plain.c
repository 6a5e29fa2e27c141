/* Plain progress, line by line: blocks of one vertex each, `#N ...` where one is left before its end
 * (builder.md §2). */
#include "progress/model.h"

#define MAX_PENDING ((size_t)256 << 10) /* bytes of waiting text before a vertex gets its turn at once */
#define MAX_WAIT ((int64_t)2 * 1000 * 1000 * 1000) /* ns that others wait for a silent current vertex */
#define STATUS_PAUSE ((int64_t)5 * 1000 * 1000 * 1000)

static void show_header(struct wh_progress *p, struct wh_str *out)
{
    if (p->header && !p->header_done) {
        wh_str_addf(out, "#0 %s\n", p->header);
        p->printed = true;
    }
    p->header_done = true;
}

static void drop_pending(struct wh_progress *p, struct pg_vertex *v)
{
    p->pending -= v->pending.len;
    wh_str_free(&v->pending);
}

/* Makes v the vertex whose lines are printed. */
static void turn_to(struct wh_progress *p, struct pg_vertex *v, struct wh_str *out)
{
    if (p->current == v)
        return;
    show_header(p, out);
    if (p->current && !p->current->closed)
        wh_str_addf(out, "#%u ...\n", p->current->number);
    if (p->printed)
        wh_str_addc(out, '\n');
    wh_str_addf(out, "#%u %s\n", v->number, v->name ? v->name : "");
    if (!v->shown && v->note && v->state == WH_VERTEX_STARTED)
        wh_str_addf(out, "#%u not cached: %s\n", v->number, v->note);
    v->shown = p->printed = true;
    p->current = v;
    p->last_line = p->now;
}

static void show_end(struct pg_vertex *v, struct wh_str *out)
{
    wh_str_addf(out, "#%u ", v->number);
    switch (v->state) {
    case WH_VERTEX_CACHED:
        wh_str_add(out, "CACHED");
        break;
    case WH_VERTEX_CANCELED:
        wh_str_add(out, "CANCELED");
        break;
    case WH_VERTEX_ERROR:
        wh_str_addf(out, "ERROR: %s", v->error ? v->error : "failed");
        break;
    default:
        wh_str_add(out, "DONE ");
        pg_add_seconds(out, v->finished - v->started, 1);
        break;
    }
    wh_str_addc(out, '\n');
    v->closed = true;
}

/* Prints what waits for v, and its end if it has ended. */
static void catch_up(struct wh_progress *p, struct pg_vertex *v, struct wh_str *out)
{
    turn_to(p, v, out);
    wh_str_addn(out, wh_str_text(&v->pending), v->pending.len);
    drop_pending(p, v);
    if (v->ended && !v->closed)
        show_end(v, out);
}

/* After the current one has ended: all others that have ended, in order, then the first that has something to
 * say. */
static void serve_others(struct wh_progress *p, struct wh_str *out)
{
    struct pg_vertex *talker = NULL;
    for (size_t i = 0; i < p->nvertices; i++) {
        struct pg_vertex *v = p->vertices[i];
        if (v->closed)
            continue;
        if (v->ended)
            catch_up(p, v, out);
        else if (!talker && (v->pending.len > 0 || !v->shown))
            talker = v;
    }
    if (talker)
        catch_up(p, talker, out);
}

static void add_line(struct wh_progress *p, struct pg_vertex *v, const char *line, size_t len)
{
    size_t before = v->pending.len;
    wh_str_addf(&v->pending, "#%u ", v->number);
    wh_str_addn(&v->pending, line, len);
    while (v->pending.len > 0 && v->pending.data[v->pending.len - 1] == ' ')
        wh_str_truncate(&v->pending, v->pending.len - 1);
    wh_str_addc(&v->pending, '\n');
    p->pending += v->pending.len - before;
}

static void add_status(struct wh_progress *p, struct pg_vertex *v, const struct wh_progress_event *ev)
{
    struct pg_status *s = pg_status_update(v, ev);
    if (!s)
        return;
    bool due =
        s->shown_at == 0 || s->done ||
        (p->now - s->shown_at >= STATUS_PAUSE && (s->total <= 0 || (s->current - s->shown) * 20 >= s->total));
    if (!due)
        return;
    s->shown_at = p->now ? p->now : 1;
    s->shown = s->current;
    wh_autostr line = {0};
    wh_str_add(&line, s->id);
    if (s->current || s->total) {
        wh_str_addc(&line, ' ');
        pg_add_bytes(&line, s->current);
        if (s->total > 0) {
            wh_str_add(&line, " / ");
            pg_add_bytes(&line, s->total);
        }
    }
    if (s->done || s->updated > s->started) {
        wh_str_addc(&line, ' ');
        pg_add_seconds(&line, s->updated - s->started, 1);
    }
    if (s->done)
        wh_str_add(&line, " done");
    add_line(p, v, wh_str_text(&line), line.len);
}

/* The turn goes to v if nobody has it, if its holder is through or silent, or if too much waits. */
static void show(struct wh_progress *p, struct pg_vertex *v)
{
    wh_autostr out = {0};
    bool free_turn = !p->current || p->current->closed;
    bool silent = p->current && p->now - p->last_line > MAX_WAIT;
    if (p->current == v || free_turn || silent || p->pending > MAX_PENDING) {
        catch_up(p, v, &out);
        p->last_line = p->now;
    }
    if (p->current && p->current->closed)
        serve_others(p, &out);
    pg_write(p, &out);
}

void pg_plain_feed(struct wh_progress *p, struct pg_vertex *v, const struct wh_progress_event *ev)
{
    if (ev->kind == WH_PROGRESS_LOG)
        pg_log(p, v, ev, add_line);
    else if (ev->kind == WH_PROGRESS_STATUS)
        add_status(p, v, ev);
    else if (v->ended)
        pg_log_flush(p, v, add_line);
    show(p, v);
}

void pg_plain_tick(struct wh_progress *p)
{
    if (!p->current || p->current->closed || p->now - p->last_line <= MAX_WAIT)
        return;
    for (size_t i = 0; i < p->nvertices; i++) {
        struct pg_vertex *v = p->vertices[i];
        if (v != p->current && !v->closed && (v->pending.len > 0 || v->ended)) {
            show(p, v);
            return;
        }
    }
}

void pg_plain_finish(struct wh_progress *p)
{
    wh_autostr out = {0};
    for (size_t i = 0; i < p->nvertices; i++) {
        struct pg_vertex *v = p->vertices[i];
        pg_log_flush(p, v, add_line);
        if (!v->closed && (v->pending.len > 0 || v->ended || !v->shown))
            catch_up(p, v, &out);
    }
    pg_write(p, &out);
}
