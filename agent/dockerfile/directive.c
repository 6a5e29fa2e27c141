/* Parser directives: `# syntax=`, `# escape=`, `# check=` at the top of the file (builder.md §1.1). */
#include "dockerfile/read.h"
#include "dockerfile/text.h"

static const char *const names[] = {"syntax", "escape", "check", NULL};

/* `name = value` behind the `#`. */
static bool split_directive(struct wh_view line, struct wh_view *name, struct wh_view *value)
{
    struct wh_view rest = {line.data + 1, line.len - 1};
    rest = wh_view_trim(rest);
    size_t n = 0;
    while (n < rest.len) {
        char c = rest.data[n];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(n > 0 && c >= '0' && c <= '9'))
            break;
        n++;
    }
    if (n == 0)
        return false;
    *name = (struct wh_view){rest.data, n};
    rest = wh_view_trim((struct wh_view){rest.data + n, rest.len - n});
    if (rest.len == 0 || rest.data[0] != '=')
        return false;
    *value = wh_view_trim((struct wh_view){rest.data + 1, rest.len - 1});
    return value->len > 0;
}

int df_directive(struct df_source *src, struct wh_view line, bool at_column_1, struct wh_error *err)
{
    if (src->directives_done)
        return 0;
    if (src->line == 1 && line.len >= 2 && memcmp(line.data, "#!", 2) == 0) {
        src->shebang = true;
        return 0;
    }
    src->directives_done = true; /* until this line proves to be one */
    struct wh_view name, value;
    if (line.len == 0 || line.data[0] != '#' || !split_directive(line, &name, &value))
        return 0;
    wh_autofree char *key = wh_view_dup(name);
    wh_ascii_lower(key);
    size_t i = 0;
    while (names[i] && strcmp(key, names[i]) != 0)
        i++;
    if (!names[i])
        return 0;
    if (src->directive[i])
        return wh_fail(err, WH_E_PARSE, "only one %s parser directive can be used", key);
    src->directives_done = false;
    bool escape = i == 1;
    if (escape ? src->shebang : !at_column_1)
        return 1; /* a directive by its form, but it has no effect here */
    src->directive[i] = wh_view_dup(value);
    if (!escape)
        return 1;
    if (value.len != 1 || (value.data[0] != '\\' && value.data[0] != '`'))
        return wh_fail(err, WH_E_PARSE, "invalid escape token '%s' does not match ` or \\",
                       src->directive[i]);
    src->escape = value.data[0];
    return 1;
}
