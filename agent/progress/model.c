/* Vertices, logs and statuses as events tell them. */
#include "progress/model.h"

#include <errno.h>
#include <unistd.h>

#include "wherry/base/clock.h"
#include "wherry/base/fs.h"

struct pg_vertex *pg_find(struct wh_progress *p, uint64_t id, bool make)
{
    if (p->last && p->last->id == id)
        return p->last;
    for (size_t i = p->nvertices; i-- > 0;)
        if (p->vertices[i]->id == id)
            return p->last = p->vertices[i];
    if (!make || p->nvertices >= WH_MAX_PROGRESS_VERTICES)
        return NULL;
    if ((p->nvertices & (p->nvertices - 1)) == 0)
        p->vertices = wh_reallocarray(p->vertices, p->nvertices ? p->nvertices * 2 : 1, sizeof(void *));
    struct pg_vertex *v = wh_calloc(1, sizeof *v);
    v->id = id;
    v->number = (unsigned)p->nvertices + 1;
    p->vertices[p->nvertices++] = v;
    return p->last = v;
}

char *pg_shown(const char *text, bool lines)
{
    wh_autostr valid = {0};
    wh_str_add_utf8(&valid, text, strlen(text));
    char *shown = wh_str_steal(&valid);
    for (char *p = shown; *p; p++)
        if (((unsigned char)*p < 0x20 || *p == 0x7f) && !(lines && *p == '\n'))
            *p = *p == 0x1b || *p == 0x07 ? '?' : ' ';
    return shown;
}

static void set_text(char **field, const char *text, bool lines)
{
    if (!text)
        return;
    free(*field);
    *field = pg_shown(text, lines);
}

void pg_vertex_update(struct pg_vertex *v, const struct wh_progress_event *ev)
{
    set_text(&v->name, ev->name, false);
    set_text(&v->error, ev->error, true);
    set_text(&v->note, ev->note, false);
    if (!v->started)
        v->started = ev->time_ns;
    v->state = ev->state;
    v->ended = ev->state != WH_VERTEX_STARTED;
    if (v->ended)
        v->finished = ev->time_ns;
}

struct pg_status *pg_status_update(struct pg_vertex *v, const struct wh_progress_event *ev)
{
    struct pg_status *s = NULL;
    wh_autofree char *id = pg_shown(ev->id, false);
    for (size_t i = v->nstatuses; i-- > 0 && !s;)
        if (strcmp(v->statuses[i].id, id) == 0)
            s = &v->statuses[i];
    if (!s) {
        if (v->nstatuses >= WH_MAX_PROGRESS_STATUSES)
            return NULL;
        if ((v->nstatuses & (v->nstatuses - 1)) == 0)
            v->statuses = wh_reallocarray(v->statuses, v->nstatuses ? v->nstatuses * 2 : 1, sizeof *s);
        s = &v->statuses[v->nstatuses++];
        *s = (struct pg_status){.id = wh_steal(&id), .started = ev->time_ns};
    }
    s->current = ev->current;
    s->total = ev->total;
    s->done = ev->done;
    s->updated = ev->time_ns;
    return s;
}

/* ---- logs ---- */

/* One whole line. What a carriage return overwrote is gone, as on a terminal; control characters that could
 * move the cursor or ring are taken out, colours stay. */
static void clean_line(struct wh_str *out, const char *line, size_t len)
{
    while (len > 0 && line[len - 1] == '\r')
        len--;
    const char *cr = len > 0 ? memrchr(line, '\r', len) : NULL;
    if (cr) {
        len -= (size_t)(cr + 1 - line);
        line = cr + 1;
    }
    wh_autostr text = {0};
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)line[i];
        if (c == 0x1b && i + 1 < len && line[i + 1] == '[') {
            size_t k = i + 2;
            while (k < len && ((line[k] >= '0' && line[k] <= '9') || line[k] == ';' || line[k] == '?'))
                k++;
            if (k < len && line[k] == 'm')
                wh_str_addn(&text, line + i, k + 1 - i);
            i = k < len ? k : len;
        } else if (c >= 0x20 || c == '\t') {
            if (c != 0x7f)
                wh_str_addc(&text, (char)c);
        }
    }
    wh_str_add_utf8(out, wh_str_text(&text), text.len);
}

static void emit(struct wh_progress *p, struct pg_vertex *v, const char *line, size_t len, pg_line_fn fn)
{
    wh_autostr text = {0};
    int64_t ns = p->now > v->started && v->started ? p->now - v->started : 0;
    wh_str_addf(&text, "%lld.%03d ", (long long)(ns / 1000000000), (int)(ns / 1000000 % 1000));
    clean_line(&text, line, len);
    if (fn)
        fn(p, v, wh_str_text(&text), text.len);
    free(v->tail[v->tail_next]);
    v->tail[v->tail_next] = wh_str_steal(&text);
    v->tail_next = (v->tail_next + 1) % WH_PROGRESS_TAIL;
    if (v->tail_count < WH_PROGRESS_TAIL)
        v->tail_count++;
}

void pg_log(struct wh_progress *p, struct pg_vertex *v, const struct wh_progress_event *ev, pg_line_fn fn)
{
    struct wh_str *partial = &v->partial[ev->stream == 2];
    struct wh_view rest = {ev->data, ev->len}, line;
    while (rest.len > 0) {
        bool whole = wh_view_split(rest, '\n', &line, &rest);
        while (partial->len + line.len > WH_MAX_PROGRESS_LINE) {
            size_t take = WH_MAX_PROGRESS_LINE - partial->len;
            wh_str_addn(partial, line.data, take);
            emit(p, v, wh_str_text(partial), partial->len, fn);
            wh_str_clear(partial);
            line = (struct wh_view){line.data + take, line.len - take};
        }
        if (line.len > 0)
            wh_str_addn(partial, line.data, line.len);
        if (!whole)
            break;
        emit(p, v, wh_str_text(partial), partial->len, fn);
        wh_str_clear(partial);
    }
}

void pg_log_flush(struct wh_progress *p, struct pg_vertex *v, pg_line_fn fn)
{
    for (int i = 0; i < 2; i++) {
        if (v->partial[i].len > 0)
            emit(p, v, wh_str_text(&v->partial[i]), v->partial[i].len, fn);
        wh_str_clear(&v->partial[i]);
    }
}

/* ---- texts ---- */

void pg_add_bytes(struct wh_str *out, int64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes;
    size_t u = 0;
    while (value >= 1000 && u + 1 < WH_COUNT(units)) {
        value /= 1000;
        u++;
    }
    if (u == 0)
        wh_str_addf(out, "%lldB", (long long)bytes);
    else
        wh_str_addf(out, "%.2f%s", value, units[u]);
}

void pg_add_seconds(struct wh_str *out, int64_t ns, int digits)
{
    wh_str_addf(out, "%.*fs", digits, (double)(ns > 0 ? ns : 0) / 1e9);
}

void pg_add_excerpts(const struct wh_progress *p, struct wh_str *out)
{
    for (size_t i = 0; i < p->nvertices; i++) {
        const struct pg_vertex *v = p->vertices[i];
        if (!v->ended || v->state != WH_VERTEX_ERROR)
            continue;
        wh_str_addf(out, "------\n > %s:\n", v->name ? v->name : "");
        size_t first = (v->tail_next + WH_PROGRESS_TAIL - v->tail_count) % WH_PROGRESS_TAIL;
        for (size_t k = 0; k < v->tail_count; k++)
            wh_str_addf(out, "%s\n", v->tail[(first + k) % WH_PROGRESS_TAIL]);
        wh_str_add(out, "------\n");
    }
}

void pg_add_warnings(const struct wh_progress *p, struct wh_str *out)
{
    if (p->nwarnings == 0)
        return;
    wh_str_addf(out, "\n %zu warning%s found:\n", p->nwarnings, p->nwarnings == 1 ? "" : "s");
    for (size_t i = 0; p->warnings && p->warnings[i]; i++)
        wh_str_addf(out, " - %s\n", p->warnings[i]);
}

void pg_write(struct wh_progress *p, const struct wh_str *text)
{
    /* A reader that went away must not end the build. */
    if (text->len > 0)
        wh_write_all(p->fd, text->data, text->len, NULL);
}
