/* Physical lines to logical ones: comments, continuation, heredocs (builder.md §1.1). */
#include "dockerfile/read.h"

#include "dockerfile/text.h"

static struct wh_view trim_newline(struct wh_view v)
{
    while (v.len > 0 && (v.data[v.len - 1] == '\n' || v.data[v.len - 1] == '\r'))
        v.len--;
    return v;
}

static struct wh_view trim_left(struct wh_view v)
{
    while (v.len > 0 && df_space((unsigned char)v.data[0])) {
        v.data++;
        v.len--;
    }
    return v;
}

static bool is_comment(struct wh_view v)
{
    v = trim_left(v);
    return v.len > 0 && v.data[0] == '#';
}

/* The next physical line with its newline. 1, 0 at the end. */
static int next_line(struct df_source *src, struct wh_view *out, struct wh_error *err)
{
    if (wh_reader_end(&src->r))
        return 0;
    size_t start = src->r.pos;
    struct wh_view line;
    wh_reader_line(&src->r, &line);
    src->line++;
    *out = (struct wh_view){(const char *)src->r.data + start, src->r.pos - start};
    if (out->len > WH_MAX_DOCKERFILE_LINE)
        return wh_fail(err, WH_E_LIMIT, "dockerfile line greater than max allowed size of %zu",
                       WH_MAX_DOCKERFILE_LINE);
    if (line.len > 0 && memchr(line.data, '\0', line.len))
        return wh_fail(err, WH_E_PARSE, "the line has a NUL byte; a Dockerfile is text");
    return 1;
}

/* True if the line goes on; cuts the escape character and the blanks behind it. An escape character with
 * another one before it doesn't continue, not even as the third of three. */
static bool cut_continuation(struct wh_view *v, char escape)
{
    size_t n = v->len;
    while (n > 0 && (v->data[n - 1] == ' ' || v->data[n - 1] == '\t'))
        n--;
    if (n == 0 || v->data[n - 1] != escape || (n > 1 && v->data[n - 2] == escape))
        return false;
    v->len = n - 1;
    return true;
}

/* Joins the lines that belong to the one in `first`. */
static int join_lines(struct df_source *src, struct wh_view first, struct wh_str *out, bool *empty,
                      struct wh_error *err)
{
    bool more = cut_continuation(&first, src->escape);
    wh_str_addn(out, first.data, first.len);
    while (more) {
        struct wh_view line;
        int r = next_line(src, &line, err);
        if (r <= 0)
            return r;
        line = trim_newline(line);
        src->directives_done = true;
        if (is_comment(line))
            continue;
        if (trim_left(line).len == 0) {
            *empty = true;
            continue;
        }
        more = cut_continuation(&line, src->escape);
        wh_str_addn(out, line.data, line.len);
    }
    return 0;
}

static int read_heredoc(struct df_source *src, struct wh_df_heredoc *doc, struct wh_error *err)
{
    wh_autostr body = {0};
    struct wh_view line;
    int r;
    while ((r = next_line(src, &line, err)) > 0) {
        struct wh_view end = trim_newline(line);
        while (doc->chomp && end.len > 0 && end.data[0] == '\t') {
            end.data++;
            end.len--;
        }
        if (wh_view_eq(end, doc->name)) {
            doc->content = wh_str_steal(&body);
            return 0;
        }
        wh_str_addn(&body, line.data, line.len);
    }
    return r < 0 ? -1 : wh_fail(err, WH_E_PARSE, "unterminated heredoc");
}

static bool may_have_heredocs(const struct df_node *node)
{
    if (!node->known || node->instr->json)
        return false;
    enum wh_df_kind kind = node->instr->kind;
    return kind == WH_DF_RUN || kind == WH_DF_COPY || kind == WH_DF_ADD || node->trigger_heredocs;
}

static int finish_node(struct df_source *src, const char *line, struct df_node *node, struct wh_error *err)
{
    if (df_shape(line, src->escape, node, err) < 0)
        return -1;
    if (!may_have_heredocs(node) || !strstr(line, "<<"))
        return 0;
    if (df_heredocs_of(line, node->instr, err) < 0)
        return -1;
    for (size_t i = 0; i < node->instr->nheredocs; i++)
        if (read_heredoc(src, &node->instr->heredocs[i], err) < 0)
            return -1;
    return 0;
}

static void add_comment(struct wh_str *comment, struct wh_view line)
{
    struct wh_view text = trim_left(line);
    text = wh_view_trim((struct wh_view){text.data + 1, text.len - 1});
    if (text.len == 0) {
        wh_str_clear(comment);
        return;
    }
    if (comment->len > 0)
        wh_str_addc(comment, '\n');
    wh_str_addn(comment, text.data, text.len);
}

/* Skips to a line that starts an instruction, collecting the comment above it. 1: it is in *line, newline and
 * leading blanks gone; 0: the end. */
static int find_start(struct df_source *src, struct wh_view *line, struct wh_str *comment, int *column,
                      struct wh_error *err)
{
    int r;
    while ((r = next_line(src, line, err)) > 0) {
        if (src->line == 1 && line->len >= 3 && memcmp(line->data, "\xef\xbb\xbf", 3) == 0) {
            line->data += 3;
            line->len -= 3;
        }
        struct wh_view whole = trim_newline(*line);
        *line = trim_left(whole);
        *column = (int)(whole.len - line->len) + 1;
        r = df_directive(src, *line, *column == 1, err);
        if (r < 0)
            return -1;
        if (r > 0)
            continue;
        if (is_comment(*line))
            add_comment(comment, *line);
        else if (line->len > 0)
            return 1;
    }
    return r;
}

/* The logical line in text as a node. */
static int make_node(struct df_source *src, const char *text, const char *comment, struct df_node *out,
                     struct wh_error *err)
{
    out->instr = wh_calloc(1, sizeof *out->instr);
    out->instr->comment = wh_strdup(comment);
    if (finish_node(src, text, out, err) == 0)
        return 0;
    df_node_clear(out);
    return -1;
}

int df_read_node(struct df_source *src, struct df_node *out, struct wh_df_range *where, struct wh_error *err)
{
    *out = (struct df_node){0};
    wh_autostr comment = {0}, text = {0};
    struct wh_view line = {0};
    for (;;) {
        int column = 1;
        int r = find_start(src, &line, &comment, &column, err);
        int first = src->line ? src->line : 1;
        *where = (struct wh_df_range){first, column, first};
        if (r <= 0)
            return r;
        bool empty = false;
        wh_str_clear(&text);
        r = join_lines(src, line, &text, &empty, err);
        where->end_line = src->line;
        if (r < 0)
            return -1;
        if (text.len == 0)
            continue; /* nothing but an escape character, up to the end of the file */
        r = make_node(src, wh_str_text(&text), wh_str_text(&comment), out, err);
        where->end_line = src->line;
        if (r < 0)
            return -1;
        out->instr->range = *where;
        struct wh_df_range last = {.line = src->line, .column = 1, .end_line = src->line};
        if (empty && src->df)
            wh_df_warn(src->df, "NoEmptyContinuation", last, "Empty continuation line");
        return 1;
    }
}
