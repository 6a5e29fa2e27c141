/* Process output to lines (job-execution.md §9). A line that lies whole in the bytes just read is handed over
 * without a copy. */
#include "wherry/job/lines.h"

/* The length to cut at so that no UTF-8 sequence is split; all of it where there is none near the end. */
static size_t whole_characters(const char *data, size_t len)
{
    size_t at = len;
    for (int i = 0; i < 3 && at > 1; i++) {
        unsigned char c = (unsigned char)data[at - 1];
        if (c < 0x80)
            return len;
        at--;
        if (c >= 0xC0) {
            size_t need = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
            return len - at < need ? at : len;
        }
    }
    return len;
}

static void emit(struct wh_line_splitter *s, const char *data, size_t len, wh_line_fn line, void *arg)
{
    if (wh_utf8_valid(data, len)) {
        line(arg, data, len);
        return;
    }
    wh_str_clear(&s->clean);
    wh_str_add_utf8(&s->clean, data, len);
    line(arg, wh_str_text(&s->clean), s->clean.len);
}

/* Hands over full parts of an over-long line; returns what is left of it. */
static struct wh_view emit_parts(struct wh_line_splitter *s, struct wh_view v, wh_line_fn line, void *arg)
{
    while (v.len > WH_MAX_LINE) {
        size_t part = whole_characters(v.data, WH_MAX_LINE);
        emit(s, v.data, part, line, arg);
        v.data += part;
        v.len -= part;
    }
    return v;
}

static void end_line(struct wh_line_splitter *s, struct wh_view v, wh_line_fn line, void *arg)
{
    if (s->rest.len > 0) {
        wh_str_addn(&s->rest, v.data, v.len);
        v = (struct wh_view){s->rest.data, s->rest.len};
    }
    v = emit_parts(s, v, line, arg);
    emit(s, v.data ? v.data : "", v.len, line, arg);
    wh_str_clear(&s->rest);
}

static void keep_rest(struct wh_line_splitter *s, struct wh_view v, wh_line_fn line, void *arg)
{
    wh_str_addn(&s->rest, v.data, v.len);
    if (s->rest.len <= WH_MAX_LINE)
        return;
    struct wh_view left = emit_parts(s, (struct wh_view){s->rest.data, s->rest.len}, line, arg);
    wh_str_consume(&s->rest, s->rest.len - left.len);
}

/* The first c in [from, to), or to. */
static size_t index_of(const char *data, size_t from, size_t to, char c)
{
    const char *at = from < to ? memchr(data + from, c, to - from) : NULL;
    return at ? (size_t)(at - data) : to;
}

void wh_lines_feed(struct wh_line_splitter *s, const char *data, size_t len, wh_line_fn line, void *arg)
{
    size_t at = 0, feed = 0; /* feed: the first LF from at on, or len */
    while (at < len) {
        if (s->skip_lf && data[at] == '\n')
            at++;
        s->skip_lf = false;
        if (feed < at || at == 0)
            feed = index_of(data, at, len, '\n');
        size_t end = index_of(data, at, feed, '\r');
        struct wh_view v = {data + at, end - at};
        if (end == len) {
            keep_rest(s, v, line, arg);
            return;
        }
        s->skip_lf = data[end] == '\r';
        end_line(s, v, line, arg);
        at = end + 1;
    }
}

void wh_lines_end(struct wh_line_splitter *s, wh_line_fn line, void *arg)
{
    if (s->rest.len > 0)
        end_line(s, (struct wh_view){"", 0}, line, arg);
    s->skip_lf = false;
}

void wh_lines_clear(struct wh_line_splitter *s)
{
    wh_str_free(&s->rest);
    wh_str_free(&s->clean);
    s->skip_lf = false;
}
