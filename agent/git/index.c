/* The index, looked through for submodules and for what a sparse checkout left out (gitformat-index(5)). */
#include "wherry/base/fs.h"
#include "wherry/git/repo.h"

#define ENTRY_FIXED 62 /* stat data, object, flags */
#define MODE_OFFSET 24
#define FLAG_EXTENDED 0x4000
#define EXTENDED_SKIP_WORKTREE 0x4000
#define TRAILER 20 /* the checksum */

static uint32_t be32(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static unsigned be16(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (unsigned)b[0] << 8 | b[1];
}

static int bad(const struct wh_reader *r, struct wh_error *err)
{
    return wh_fail(err, WH_E_PARSE, "git index: damaged at byte %zu", r->pos);
}

/* Takes a name and its NUL; its length without it. */
static int take_name(struct wh_reader *r, size_t *len)
{
    size_t start = r->pos;
    int c;
    while ((c = wh_reader_next(r)) > 0)
        ;
    *len = r->pos - start - 1;
    return c == 0 ? 0 : -1;
}

static int entry(struct wh_reader *r, uint32_t version, struct wh_git_index *out, struct wh_error *err)
{
    size_t start = r->pos, len;
    struct wh_view fixed, more;
    if (!wh_reader_bytes(r, ENTRY_FIXED, &fixed))
        return bad(r, err);
    out->gitlinks |= (be32(fixed.data + MODE_OFFSET) & 0170000) == 0160000;
    if (be16(fixed.data + ENTRY_FIXED - 2) & FLAG_EXTENDED) {
        if (version < 3 || !wh_reader_bytes(r, 2, &more))
            return bad(r, err);
        out->skip_worktree |= (be16(more.data) & EXTENDED_SKIP_WORKTREE) != 0;
    }
    if (version == 4) { /* a number of bytes to drop from the name before, then the rest of this one */
        int c;
        while ((c = wh_reader_next(r)) != -1 && (c & 0x80))
            ;
        return c == -1 || take_name(r, &len) < 0 ? bad(r, err) : 0;
    }
    if (take_name(r, &len) < 0)
        return bad(r, err);
    /* Padded with NULs, at least one, to eight bytes. */
    size_t size = r->pos - start;
    size_t padding = (8 - size % 8) % 8;
    return padding > 0 && !wh_reader_bytes(r, padding, &more) ? bad(r, err) : 0;
}

static int extensions(struct wh_reader *r, struct wh_error *err)
{
    struct wh_view head, body;
    while (r->len - r->pos > TRAILER) {
        if (!wh_reader_bytes(r, 8, &head) || !wh_reader_bytes(r, be32(head.data + 4), &body))
            return bad(r, err);
        if (memcmp(head.data, "link", 4) == 0 || memcmp(head.data, "sdir", 4) == 0)
            return wh_fail(err, WH_E_UNSUPPORTED, "git index: split or sparse");
    }
    return r->len - r->pos == TRAILER ? 0 : bad(r, err);
}

int wh_git_index_parse(const void *data, size_t len, struct wh_git_index *out, struct wh_error *err)
{
    memset(out, 0, sizeof(*out));
    struct wh_reader r = wh_reader_of(data, len);
    struct wh_view head;
    if (!wh_reader_bytes(&r, 12, &head) || memcmp(head.data, "DIRC", 4) != 0)
        return bad(&r, err);
    uint32_t version = be32(head.data + 4), count = be32(head.data + 8);
    if (version < 2 || version > 4)
        return wh_fail(err, WH_E_UNSUPPORTED, "git index: version %u", (unsigned)version);
    for (uint32_t i = 0; i < count; i++)
        if (entry(&r, version, out, err) < 0)
            return -1;
    out->entries = count;
    return extensions(&r, err);
}

int wh_git_index_scan(const char *gitdir, struct wh_git_index *out, struct wh_error *err)
{
    memset(out, 0, sizeof(*out));
    wh_autofree char *path = wh_path_join(gitdir, "index");
    wh_autostr text = {0};
    wh_autoerror no = {0};
    if (wh_read_file(AT_FDCWD, path, WH_MAX_GIT_INDEX, &text, &no) < 0)
        return no.code == WH_E_NOT_FOUND ? 0 : wh_error_move(err, &no);
    return wh_git_index_parse(wh_str_text(&text), text.len, out, err);
}
