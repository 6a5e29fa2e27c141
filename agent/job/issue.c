/* notice, warning and error: the place that they point at, with combinations that make no sense put right
 * (job-execution.md §5.8). */
#include "wherry/job/command.h"

void wh_issue_clear(struct wh_issue *a)
{
    free(a->file);
    free(a->title);
    *a = (struct wh_issue){0};
}

/* False if absent or no number. */
static bool number(const struct wh_command *c, const char *name, int64_t *out)
{
    const char *text = wh_command_property(c, name);
    *out = 0;
    if (!text)
        return false;
    wh_autofree char *trimmed = wh_view_dup(wh_view_trim(wh_view_of(text)));
    return wh_parse_i64(trimmed[0] == '+' ? trimmed + 1 : trimmed, INT32_MIN, INT32_MAX, out);
}

static void note(struct wh_str *debug, const struct wh_command *c, const char *text)
{
    if (debug)
        wh_str_addf(debug, "Invalid %s command value. %s\n", c->name, text);
}

struct place {
    bool has_line, has_end_line, has_col, has_end_col;
};

static void repair_lines(const struct wh_command *c, struct wh_issue *a, struct place *p,
                         struct wh_str *debug)
{
    if (p->has_end_line && !p->has_line) {
        note(debug, c, "'endLine' can only be set if 'line' is provided");
        a->line = a->end_line;
        p->has_line = true;
    }
    if (p->has_end_col && !p->has_col) {
        note(debug, c, "'endColumn' can only be set if 'col' is provided");
        a->col = a->end_col;
        p->has_col = true;
    }
}

static void drop_columns(struct wh_issue *a)
{
    a->col = a->end_col = 0;
}

static void repair(const struct wh_command *c, struct wh_issue *a, struct place *p, struct wh_str *debug)
{
    bool has_column = p->has_col || p->has_end_col;
    repair_lines(c, a, p, debug);
    int64_t col = a->col, end_col = a->end_col;
    if (!p->has_line && has_column) {
        note(debug, c, "'col' and 'endColumn' can only be set if 'line' value is provided.");
        drop_columns(a);
    }
    if (p->has_end_line && a->line != a->end_line && has_column) {
        note(debug, c, "'col' and 'endColumn' cannot be set if 'line' and 'endLine' are different values.");
        drop_columns(a);
    }
    if (p->has_line && p->has_end_line && a->end_line < a->line) {
        note(debug, c, "'endLine' cannot be less than 'line'.");
        a->line = a->end_line = 0;
    }
    if (p->has_col && p->has_end_col && end_col < col) {
        note(debug, c, "'endColumn' cannot be less than 'col'.");
        drop_columns(a);
    }
}

/* The path below the workspace; what lies elsewhere stays as it is. */
static char *relative_file(const char *file, const char *workspace)
{
    size_t n = workspace ? strlen(workspace) : 0;
    while (n > 1 && workspace[n - 1] == '/')
        n--;
    if (n == 0 || strncmp(file, workspace, n) != 0 || file[n] != '/')
        return wh_strdup(file);
    const char *rest = file + n;
    while (*rest == '/')
        rest++;
    return wh_strdup(*rest ? rest : file);
}

void wh_issue_from_command(const struct wh_command *c, const char *workspace, struct wh_issue *out,
                           struct wh_str *debug)
{
    *out = (struct wh_issue){0};
    struct place p = {
        .has_line = number(c, "line", &out->line),
        .has_end_line = number(c, "endLine", &out->end_line),
        .has_col = number(c, "col", &out->col),
        .has_end_col = number(c, "endColumn", &out->end_col),
    };
    repair(c, out, &p, debug);
    const char *file = wh_command_property(c, "file");
    if (file && *file)
        out->file = relative_file(file, workspace);
    out->title = wh_strdup(wh_command_property(c, "title"));
}
