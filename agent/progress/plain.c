/* BuildKit's plain progress, JSON lines, and nothing (builder.md §2 "Plain progress"). */
#include "progress/render.h"

#include "wherry/base/clock.h"

/* Output of another vertex than the last one: the last is left with an ellipsis if it goes on, and the name
 * is shown again. */
static void switch_to(struct wh_progress *p, const struct vertex *v)
{
    if (p->last == v)
        return;
    if (p->last && p->last->ended == 0)
        wh_str_addf(&p->out, "#%u ...\n", p->last->number);
    wh_str_addf(&p->out, "\n#%u %s\n", v->number, v->name);
    p->last = v;
}

static void show_state(struct wh_progress *p, const struct vertex *v, const struct wh_progress_event *ev)
{
    char buf[32];
    switch_to(p, v);
    switch (ev->state) {
    case WH_VERTEX_STARTED:
        if (ev->note)
            wh_str_addf(&p->out, "#%u not cached: %s\n", v->number, ev->note);
        break;
    case WH_VERTEX_DONE:
        wh_str_addf(&p->out, "#%u DONE %s\n", v->number, progress_seconds(v->ended - v->started, buf));
        break;
    case WH_VERTEX_CACHED:
        wh_str_addf(&p->out, "#%u CACHED\n", v->number);
        break;
    case WH_VERTEX_ERROR:
        wh_str_addf(&p->out, "#%u ERROR: %s\n", v->number, v->error ? v->error : "failed");
        break;
    case WH_VERTEX_CANCELED:
        wh_str_addf(&p->out, "#%u CANCELED\n", v->number);
        break;
    }
}

/* A status is printed when it begins and when it is done; what lies between would flood a log. */
static void show_status(struct wh_progress *p, struct vertex *v, const struct wh_progress_event *ev)
{
    struct status_row *row = progress_row(v, ev);
    if (!row || row->done)
        return;
    bool begins = row->current == 0 && row->total == 0;
    row->current = ev->current;
    row->total = ev->total;
    row->done = ev->done;
    if (!begins && !ev->done)
        return;
    char amount[64], seconds[32];
    switch_to(p, v);
    wh_str_addf(&p->out, "#%u %s", v->number, row->id);
    if (progress_amount(row, amount)[0])
        wh_str_addf(&p->out, " %s", amount);
    if (ev->done)
        wh_str_addf(&p->out, " %s done", progress_seconds(ev->time_ns - row->started, seconds));
    wh_str_addc(&p->out, '\n');
}

static void plain_event(struct wh_progress *p, struct vertex *v, const struct wh_progress_event *ev)
{
    if (ev->kind == WH_PROGRESS_VERTEX)
        show_state(p, v, ev);
    else if (ev->kind == WH_PROGRESS_STATUS)
        show_status(p, v, ev);
    else if (ev->kind == WH_PROGRESS_WARNING && v)
        wh_str_addf(&p->out, "#%u WARN: %s\n", v->number, ev->text);
}

static void plain_line(struct wh_progress *p, struct vertex *v, const struct wh_progress_event *ev,
                       const char *line)
{
    int64_t now = ev->time_ns ? ev->time_ns : wh_now_ns();
    switch_to(p, v);
    wh_str_addf(&p->out, "#%u %.3f %s\n", v->number, (double)(now - v->started) / 1e9, line);
}

static void show_warnings(struct wh_progress *p)
{
    size_t n = wh_strv_len(p->warnings);
    if (n == 0)
        return;
    wh_str_addf(&p->out, "\n %zu warning%s found:\n", n, n == 1 ? "" : "s");
    for (size_t i = 0; i < n; i++)
        wh_str_addf(&p->out, " - %s\n", p->warnings[i]);
}

static void plain_finish(struct wh_progress *p, bool ok)
{
    for (size_t i = 0; !ok && i < p->n; i++)
        if (p->vertices[i]->state == WH_VERTEX_ERROR && p->vertices[i]->ntail > 0)
            progress_excerpt(p->vertices[i], &p->out);
    show_warnings(p);
}

const struct style style_plain = {.event = plain_event, .line = plain_line, .finish = plain_finish};

static void json_event(struct wh_progress *p, struct vertex *v, const struct wh_progress_event *ev)
{
    (void)v;
    wh_autojson *json = wh_progress_encode(ev);
    wh_autofree char *text = wh_json_print(json);
    wh_str_addf(&p->out, "%s\n", text);
}

const struct style style_json = {.event = json_event};

/* Quiet, but not about failures. */
static void quiet_finish(struct wh_progress *p, bool ok)
{
    for (size_t i = 0; !ok && i < p->n; i++)
        if (p->vertices[i]->state == WH_VERTEX_ERROR)
            progress_excerpt(p->vertices[i], &p->out);
}

const struct style style_quiet = {.finish = quiet_finish};
