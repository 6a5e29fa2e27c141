/* File commands, and process output to lines: however the bytes are cut, the lines are the same. */
#include "wherry/job/filecmd.h"
#include "wherry/job/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int pair(void *arg, struct wh_view name, struct wh_view value, struct wh_error *err)
{
    (void)err;
    wh_str_addn(arg, name.data, name.len);
    wh_str_addn(arg, value.data, value.len);
    return 0;
}

static int each(void *arg, struct wh_view line, struct wh_error *err)
{
    (void)err;
    wh_str_addn(arg, line.data, line.len);
    return 0;
}

static void line(void *arg, const char *text, size_t len)
{
    if (!wh_utf8_valid(text, len))
        abort();
    wh_str_addn(arg, text, len);
    wh_str_addc(arg, '\n');
}

static void split(const char *text, size_t len, size_t step, struct wh_str *out)
{
    struct wh_line_splitter s = {0};
    for (size_t at = 0; at < len; at += step)
        wh_lines_feed(&s, text + at, WH_MIN(step, len - at), line, out);
    wh_lines_end(&s, line, out);
    wh_lines_clear(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    wh_autostr out = {0}, whole = {0}, parts = {0};
    wh_autoerror err = {0}, path_err = {0};
    wh_filecmd_pairs(text, size, pair, &out, &err);
    wh_filecmd_lines(text, size, each, &out, &path_err);
    split(text, size, size + 1, &whole);
    split(text, size, 1 + (size > 0 ? data[0] % 7 : 0), &parts);
    if (whole.len != parts.len || (whole.len > 0 && memcmp(whole.data, parts.data, whole.len) != 0))
        abort();
    return 0;
}
