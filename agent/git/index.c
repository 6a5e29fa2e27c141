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

struct parse {
    struct wh_reader r;
    uint32_t version;
    struct wh_str name; /* of the latest entry */
    struct wh_git_index *out;
    wh_git_index_fn fn; /* or NULL */
    void *fn_data;
};

/* Takes a name and its NUL; adds it to the first `keep` bytes of the name before. */
static int take_name(struct parse *p, size_t keep)
{
    size_t start = p->r.pos;
    int c;
    while ((c = wh_reader_next(&p->r)) > 0)
        ;
    if (c != 0 || keep > p->name.len)
        return -1;
    wh_str_truncate(&p->name, keep);
    wh_str_addn(&p->name, (const char *)p->r.data + start, p->r.pos - start - 1);
    if (p->fn)
        p->fn(p->fn_data, wh_str_text(&p->name), p->name.len);
    return 0;
}

/* Version 4: a number of bytes to drop from the name before, then the rest of this one. */
static int take_packed_name(struct parse *p)
{
    uint64_t drop = 0;
    int c = wh_reader_next(&p->r);
    for (drop = (uint64_t)(c & 0x7f); c != -1 && (c & 0x80);) {
        c = wh_reader_next(&p->r);
        drop = ((drop + 1) << 7) + (uint64_t)(c & 0x7f);
        if (drop > WH_MAX_GIT_INDEX)
            return -1;
    }
    return c == -1 || drop > p->name.len ? -1 : take_name(p, p->name.len - (size_t)drop);
}

static int entry(struct parse *p, struct wh_error *err)
{
    struct wh_reader *r = &p->r;
    size_t start = r->pos;
    struct wh_view fixed, more;
    if (!wh_reader_bytes(r, ENTRY_FIXED, &fixed))
        return bad(r, err);
    p->out->gitlinks |= (be32(fixed.data + MODE_OFFSET) & 0170000) == 0160000;
    if (be16(fixed.data + ENTRY_FIXED - 2) & FLAG_EXTENDED) {
        if (p->version < 3 || !wh_reader_bytes(r, 2, &more))
            return bad(r, err);
        p->out->skip_worktree |= (be16(more.data) & EXTENDED_SKIP_WORKTREE) != 0;
    }
    if (p->version == 4)
        return take_packed_name(p) < 0 ? bad(r, err) : 0;
    if (take_name(p, 0) < 0)
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

static int parse(struct parse *p, struct wh_error *err)
{
    struct wh_view head;
    memset(p->out, 0, sizeof(*p->out));
    if (!wh_reader_bytes(&p->r, 12, &head) || memcmp(head.data, "DIRC", 4) != 0)
        return bad(&p->r, err);
    p->version = be32(head.data + 4);
    uint32_t count = be32(head.data + 8);
    if (p->version < 2 || p->version > 4)
        return wh_fail(err, WH_E_UNSUPPORTED, "git index: version %u", (unsigned)p->version);
    for (uint32_t i = 0; i < count; i++)
        if (entry(p, err) < 0)
            return -1;
    p->out->entries = count;
    return extensions(&p->r, err);
}

int wh_git_index_parse(const void *data, size_t len, struct wh_git_index *out, struct wh_error *err)
{
    struct parse p = {.r = wh_reader_of(data, len), .out = out};
    int status = parse(&p, err);
    wh_str_free(&p.name);
    return status;
}

int wh_git_index_names(const char *gitdir, wh_git_index_fn fn, void *fn_data, struct wh_git_index *out,
                       struct wh_error *err)
{
    memset(out, 0, sizeof(*out));
    wh_autofree char *path = wh_path_join(gitdir, "index");
    wh_autostr text = {0};
    wh_autoerror no = {0};
    if (wh_read_file(AT_FDCWD, path, WH_MAX_GIT_INDEX, &text, &no) < 0)
        return no.code == WH_E_NOT_FOUND ? 0 : wh_error_move(err, &no);
    struct parse p = {
        .r = wh_reader_of(wh_str_text(&text), text.len), .out = out, .fn = fn, .fn_data = fn_data};
    int status = parse(&p, err);
    wh_str_free(&p.name);
    return status;
}

int wh_git_index_scan(const char *gitdir, struct wh_git_index *out, struct wh_error *err)
{
    return wh_git_index_names(gitdir, NULL, NULL, out, err);
}
