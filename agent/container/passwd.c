/* Lines of passwd and group. */
#include "passwd.h"

#define MAX_ID 2147483647u

static bool next_field(struct wh_view *line, struct wh_view *field)
{
    if (!line->data)
        return false;
    struct wh_view tail;
    if (!wh_view_split(*line, ':', field, &tail))
        *line = (struct wh_view){NULL, 0};
    else
        *line = tail;
    return true;
}

static bool number(struct wh_view field, uint32_t *out)
{
    char text[12];
    uint64_t value;
    field = wh_view_trim(field);
    if (field.len == 0 || field.len >= sizeof text)
        return false;
    memcpy(text, field.data, field.len);
    text[field.len] = '\0';
    if (!wh_parse_u64(text, MAX_ID, &value))
        return false;
    *out = (uint32_t)value;
    return true;
}

bool wh_passwd_next(struct wh_reader *r, struct wh_passwd_line *out)
{
    struct wh_view line;
    while (wh_reader_line(r, &line)) {
        struct wh_view password;
        struct wh_view uid;
        struct wh_view gid;
        struct wh_view comment;
        line = wh_view_trim(line);
        if (line.len == 0 || line.data[0] == '#' || !next_field(&line, &out->name) ||
            !next_field(&line, &password) || !next_field(&line, &uid) || !next_field(&line, &gid) ||
            !number(uid, &out->uid) || !number(gid, &out->gid))
            continue;
        if (!next_field(&line, &comment) || !next_field(&line, &out->home))
            out->home = (struct wh_view){"", 0};
        return true;
    }
    return false;
}

bool wh_group_next(struct wh_reader *r, struct wh_group_line *out)
{
    struct wh_view line;
    while (wh_reader_line(r, &line)) {
        struct wh_view password;
        struct wh_view gid;
        line = wh_view_trim(line);
        if (line.len == 0 || line.data[0] == '#' || !next_field(&line, &out->name) ||
            !next_field(&line, &password) || !next_field(&line, &gid) || !number(gid, &out->gid))
            continue;
        if (!next_field(&line, &out->members))
            out->members = (struct wh_view){"", 0};
        return true;
    }
    return false;
}

bool wh_group_has_member(const struct wh_group_line *g, const char *name)
{
    struct wh_view rest = g->members;
    while (rest.len > 0) {
        struct wh_view head;
        struct wh_view tail;
        (void)wh_view_split(rest, ',', &head, &tail);
        if (wh_view_eq(wh_view_trim(head), name))
            return true;
        rest = tail;
    }
    return false;
}
