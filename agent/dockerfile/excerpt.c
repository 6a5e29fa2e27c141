/* Places in the file, shown: the excerpt below a failed build, warnings (builder.md §1.1, §1.8). */
#include "dockerfile/read.h"
#include "wherry/dockerfile/parse.h"

/* The line of that number without its newline; false past the end. The text behind a last newline is a line
 * too (empty), as BuildKit counts. */
static bool line_at(const char *text, size_t len, int number, struct wh_view *out)
{
    const char *p = text, *end = text + len;
    for (int i = 1; i < number; i++) {
        p = memchr(p, '\n', (size_t)(end - p));
        if (!p)
            return false;
        p++;
    }
    const char *stop = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    *out = (struct wh_view){p, (size_t)((stop ? stop : end) - p)};
    return true;
}

static int count_lines(const char *text, size_t len)
{
    int n = 1;
    for (size_t i = 0; i < len; i++)
        n += text[i] == '\n';
    return n;
}

void df_locate(const char *text, size_t len, struct wh_df_range *range, const char *token)
{
    struct wh_view line;
    if (range->line < 1 || token[0] == '\0' || !line_at(text, len, range->line, &line))
        return;
    const char *at = memmem(line.data, line.len, token, strlen(token));
    if (at)
        range->column = (int)(at - line.data) + 1;
}

char *wh_df_excerpt(const char *text, size_t len, const char *filename, struct wh_df_range where,
                    const char *problem)
{
    int lines = count_lines(text, len);
    wh_autostr out = {0};
    if (where.line < 1 || where.line > lines)
        return wh_strdup("");
    int start = where.line, end = WH_MIN(WH_MAX(where.end_line, where.line), lines);
    int pad = end == start ? 4 : 2;
    for (int p = 0; p < pad; p++) {
        if (start > 1) {
            start--;
            p++;
        }
        if (end != lines) {
            end++;
            p++;
        }
    }
    if (problem)
        wh_str_addf(&out, "%s:%d:%d: %s\n", filename, where.line, WH_MAX(where.column, 1), problem);
    else
        wh_str_addf(&out, "%s:%d\n", filename, where.line);
    wh_str_add(&out, "--------------------\n");
    for (int i = start; i <= end; i++) {
        struct wh_view line;
        if (!line_at(text, len, i, &line))
            break;
        while (line.len > 0 && line.data[line.len - 1] == '\r')
            line.len--;
        bool marked = i >= where.line && i <= WH_MAX(where.end_line, where.line);
        wh_str_addf(&out, " %3d | %s ", i, marked ? ">>>" : "   ");
        wh_str_add_utf8(&out, line.data, line.len);
        wh_str_addc(&out, '\n');
    }
    wh_str_add(&out, "--------------------\n");
    return wh_str_steal(&out);
}

void wh_df_warn(struct wh_dockerfile *df, const char *rule, struct wh_df_range range, const char *fmt, ...)
{
    if (df->nwarnings >= 1000)
        return; /* enough to read */
    if ((df->nwarnings & (df->nwarnings - 1)) == 0)
        df->warnings =
            wh_reallocarray(df->warnings, df->nwarnings ? df->nwarnings * 2 : 1, sizeof *df->warnings);
    va_list args;
    va_start(args, fmt);
    df->warnings[df->nwarnings++] = (struct wh_df_warning){rule, wh_vprintf(fmt, args), range};
    va_end(args);
}

char *wh_df_warning_text(const struct wh_df_warning *w)
{
    return wh_printf("%s: %s (line %d)", w->rule, w->message, w->range.line);
}
