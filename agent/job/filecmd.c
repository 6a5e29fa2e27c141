/* What steps write to GITHUB_ENV, GITHUB_OUTPUT, GITHUB_STATE, GITHUB_PATH and GITHUB_STEP_SUMMARY
 * (job-execution.md §5.7). */
#include "wherry/job/filecmd.h"

static struct wh_view skip_bom(const char *text, size_t len)
{
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        return (struct wh_view){text + 3, len - 3};
    return (struct wh_view){text, len};
}

static int fail_line(struct wh_error *err, struct wh_view line, const char *more)
{
    return wh_fail(err, WH_E_PARSE, "Invalid format '%.*s'%s", (int)WH_MIN(line.len, 4096), line.data, more);
}

/* A line that says whether an LF ended it. */
static bool next_line(struct wh_reader *r, struct wh_view *line, bool *ended)
{
    if (!wh_reader_line(r, line))
        return false;
    *ended = r->pos > 0 && r->data[r->pos - 1] == '\n' &&
             r->pos == (size_t)(line->data - (const char *)r->data) + line->len + 1;
    return true;
}

/* The lines up to the delimiter; the last line's LF is no part of the value. */
static int read_heredoc(struct wh_reader *r, struct wh_view delimiter, struct wh_view *value,
                        struct wh_error *err)
{
    const char *start = (const char *)r->data + r->pos;
    *value = (struct wh_view){start, 0};
    for (;;) {
        struct wh_view line;
        bool ended;
        if (!next_line(r, &line, &ended))
            return wh_fail(err, WH_E_PARSE, "Invalid value. Matching delimiter not found '%.*s'",
                           (int)WH_MIN(delimiter.len, 4096), delimiter.data);
        if (line.len == delimiter.len && memcmp(line.data, delimiter.data, line.len) == 0)
            return 0;
        if (!ended)
            return wh_fail(err, WH_E_PARSE, "Invalid value. EOF marker missing new line.");
        value->len = (size_t)(line.data + line.len - start);
    }
}

static int read_pair(struct wh_reader *r, struct wh_view line, wh_filecmd_pair pair, void *arg,
                     struct wh_error *err)
{
    const char *equals = memchr(line.data, '=', line.len);
    const char *mark = memmem(line.data, line.len, "<<", 2);
    struct wh_view name, value;
    if (equals && (!mark || equals < mark)) {
        wh_view_split(line, '=', &name, &value);
        return pair(arg, name, value, err);
    }
    if (!mark)
        return fail_line(err, line, "");
    name = (struct wh_view){line.data, (size_t)(mark - line.data)};
    struct wh_view delimiter = {mark + 2, line.len - name.len - 2};
    if (name.len == 0 || delimiter.len == 0)
        return fail_line(err, line, ". Name must not be empty and delimiter must not be empty");
    if (read_heredoc(r, delimiter, &value, err) < 0)
        return -1;
    return pair(arg, name, value, err);
}

int wh_filecmd_pairs(const char *text, size_t len, wh_filecmd_pair pair, void *arg, struct wh_error *err)
{
    struct wh_view all = skip_bom(text, len);
    struct wh_reader r = wh_reader_of(all.data, all.len);
    struct wh_view line;
    while (wh_reader_line(&r, &line)) {
        if (line.len > 0 && read_pair(&r, line, pair, arg, err) < 0)
            return -1;
    }
    return 0;
}

int wh_filecmd_lines(const char *text, size_t len, wh_filecmd_line each, void *arg, struct wh_error *err)
{
    struct wh_view all = skip_bom(text, len);
    size_t at = 0;
    while (at < all.len) {
        size_t end = at;
        while (end < all.len && all.data[end] != '\n' && all.data[end] != '\r')
            end++;
        if (end > at && each(arg, (struct wh_view){all.data + at, end - at}, err) < 0)
            return -1;
        at = end + 1;
    }
    return 0;
}

int wh_filecmd_summary(size_t bytes, struct wh_error *err)
{
    if (bytes > WH_MAX_SUMMARY_BYTES)
        return wh_fail(
            err, WH_E_LIMIT,
            "$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of %zuk, got %zuk. For more "
            "information see: https://docs.github.com/actions/using-workflows/"
            "workflow-commands-for-github-actions#adding-a-markdown-summary",
            WH_MAX_SUMMARY_BYTES / 1024, bytes / 1024);
    return bytes > 0;
}

int wh_filecmd_env_allowed(struct wh_view name, struct wh_error *err)
{
    if (name.len == 12 && wh_strcmp_ci(name.data, "NODE_OPTIONS", 12) == 0)
        return wh_fail(err, WH_E_DENIED,
                       "Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.");
    return 0;
}
