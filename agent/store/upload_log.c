/* What of an upload was received, in lines: "B offset length id" a block, "R offset length" a range, "D
 * offset" a range that is being sent again, "C size digest" complete. A last line without its end was being
 * written when its process was killed: its bytes don't count. */
#include <unistd.h>

#include "store/upload_internal.h"

static int append(struct wh_upload *u, const char *line, struct wh_error *err)
{
    if (wh_write_all(u->log, line, strlen(line), err) < 0)
        return wh_wrap(err, "%s: upload %lld", u->s->dir, (long long)u->id);
    return 0;
}

int upload_log_extent(struct wh_upload *u, const struct upload_extent *e, struct wh_error *err)
{
    wh_autofree char *line =
        e->id ? wh_printf("B %llu %llu %s\n", (unsigned long long)e->offset, (unsigned long long)e->length,
                          e->id)
              : wh_printf("R %llu %llu\n", (unsigned long long)e->offset, (unsigned long long)e->length);
    return append(u, line, err);
}

int upload_log_drop(struct wh_upload *u, uint64_t offset, struct wh_error *err)
{
    wh_autofree char *line = wh_printf("D %llu\n", (unsigned long long)offset);
    return append(u, line, err);
}

int upload_log_rewrite(struct wh_upload *u, struct wh_error *err)
{
    wh_autostr text = {0};
    char digest[WH_DIGEST_TEXT], name[48];
    for (size_t i = 0; i < u->nextents; i++) {
        const struct upload_extent *e = &u->extents[i];
        wh_str_addf(&text, e->id ? "B %llu %llu %s\n" : "R %llu %llu%s\n", (unsigned long long)e->offset,
                    (unsigned long long)e->length, e->id ? e->id : "");
    }
    wh_str_addf(&text, "C %llu %s\n", (unsigned long long)u->size, wh_digest_text(&u->digest, digest));
    store_upload_name(u->id, "log", name);
    if (wh_write_file_quick(u->folder, name, text.data, text.len, 0600, err) < 0)
        return wh_wrap(err, "%s: upload %lld", u->s->dir, (long long)u->id);
    wh_autoclose int log = openat(u->folder, name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (log < 0)
        return wh_fail_errno(err, "%s: upload %lld", u->s->dir, (long long)u->id);
    close(u->log);
    u->log = wh_steal_fd(&log);
    return 0;
}

/* One line's fields; false: not one of ours. */
static bool take_line(struct wh_upload *u, char *line)
{
    wh_autostrv char **f = wh_strv_split(line, ' ');
    size_t n = wh_strv_len(f);
    uint64_t a = 0, b = 0;
    if (n < 2 || !wh_parse_u64(f[1], (uint64_t)WH_MAX_UPLOAD_BYTES, &a))
        return false;
    if (wh_streq(f[0], "D") && n == 2) {
        for (size_t i = 0; i < u->nextents; i++)
            if (!u->extents[i].id && u->extents[i].offset == a)
                u->extents[i] = u->extents[--u->nextents];
        return true;
    }
    if (wh_streq(f[0], "C") && n == 3) {
        u->size = a;
        u->complete = wh_digest_parse(f[2], &u->digest, NULL) == 0;
        return u->complete;
    }
    if (n < 3 || !wh_parse_u64(f[2], (uint64_t)WH_MAX_UPLOAD_BYTES, &b))
        return false;
    bool block = wh_streq(f[0], "B") && n == 4 && strlen(f[3]) <= WH_MAX_UPLOAD_ID;
    if (!block && !(wh_streq(f[0], "R") && n == 3))
        return false;
    u->complete = false;
    upload_add(u, (struct upload_extent){a, b, block ? wh_strdup(f[3]) : NULL});
    return true;
}

int upload_log_read(struct wh_upload *u, struct wh_error *err)
{
    wh_autostr text = {0};
    char name[48];
    store_upload_name(u->id, "log", name);
    if (wh_read_file(u->folder, name, WH_MAX_UPLOAD_LOG, &text, err) < 0)
        return -1;
    struct wh_reader r = wh_reader_of(wh_str_text(&text), text.len);
    struct wh_view line;
    size_t whole = 0;
    while (wh_reader_line(&r, &line) && text.data[r.pos - 1] == '\n') {
        wh_autofree char *copy = wh_view_dup(line);
        if (!take_line(u, copy))
            return wh_fail(err, WH_E_CORRUPT, "%s/" STORE_UPLOADS "/%s: line %.40s is not one of ours",
                           u->s->dir, name, copy);
        whole = r.pos;
    }
    /* Else the next line would be put behind half of one. */
    if (whole < text.len && ftruncate(u->log, (off_t)whole) < 0)
        return wh_fail_errno(err, "%s/" STORE_UPLOADS "/%s", u->s->dir, name);
    struct stat st;
    if (fstat(u->data, &st) < 0)
        return wh_fail_errno(err, "%s: upload %lld", u->s->dir, (long long)u->id);
    for (size_t i = 0; i < u->nextents; i++)
        if (u->extents[i].offset + u->extents[i].length > (uint64_t)st.st_size)
            return wh_fail(err, WH_E_CORRUPT, "%s: upload %lld has lost bytes", u->s->dir, (long long)u->id);
    return 0;
}
