/* The tar stream of a tree in segments. */
#include "oci/segment.h"

#include <errno.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct oci_stream {
    const struct wh_layer_options *options;
    const struct oci_method *method;
    struct oci_walk *walk;
    struct wh_sha256 *key; /* of the segment under way; NULL without a cache */
    bool key_known;        /* all file digests of the segment are */
    struct wh_str header;  /* of the member that comes next */
    bool pending;          /* header (and file) belong to the next segment */
    bool ended;
    /* the file whose content is being copied */
    int file;
    uint64_t size, offset;
    bool has_digest;
    struct wh_digest digest;
    char *path;
    uint64_t members;
};

struct oci_stream *oci_stream_new(int root, bool overlay, const struct wh_layer_options *options,
                                  const struct oci_method *method, struct wh_error *err)
{
    struct oci_walk *walk = oci_walk_new(root, overlay, err);
    if (!walk)
        return NULL;
    struct oci_stream *s = wh_calloc(1, sizeof(*s));
    s->options = options;
    s->method = method;
    s->walk = walk;
    s->file = -1;
    if (options->segments && options->segments->lookup && method->engine != OCI_ENGINE_COPY)
        s->key = wh_sha256_new();
    return s;
}

void oci_stream_free(struct oci_stream *s)
{
    if (!s)
        return;
    oci_walk_free(s->walk);
    wh_sha256_free(s->key);
    wh_str_free(&s->header);
    if (s->file >= 0)
        close(s->file);
    free(s->path);
    free(s);
}

uint64_t oci_stream_members(const struct oci_stream *s)
{
    return s->members;
}

/* ---- keys ---- */

/* Fields are framed by kind and length, so that no two different segments feed the hash the same bytes. */
static void key_field(struct oci_stream *s, char kind, const void *data, size_t len)
{
    unsigned char frame[9] = {(unsigned char)kind};
    if (!s->key)
        return;
    for (int i = 0; i < 8; i++)
        frame[1 + i] = (unsigned char)((uint64_t)len >> (8 * i));
    wh_sha256_update(s->key, frame, sizeof(frame));
    wh_sha256_update(s->key, data, len);
}

static void key_begin(struct oci_stream *s)
{
    char text[128];
    int n =
        snprintf(text, sizeof(text), "wherry segment 1 %s level %d", s->method->version, s->method->level);
    s->key_known = true;
    key_field(s, 'm', text, (size_t)n);
}

static void key_content(struct oci_stream *s, uint64_t offset, uint64_t len)
{
    uint64_t range[2] = {offset, len};
    if (!s->has_digest)
        s->key_known = false;
    if (!s->key || !s->key_known)
        return;
    key_field(s, 'd', s->digest.bytes, sizeof(s->digest.bytes));
    key_field(s, 'r', range, sizeof(range));
}

static void key_end(struct oci_stream *s, struct oci_segment *seg)
{
    seg->has_key = false;
    if (!s->key)
        return;
    wh_sha256_final(s->key, &seg->key);
    seg->has_key = s->key_known;
}

/* ---- members ---- */

/* FNV-1a with a final mix: quick, the same everywhere, and nobody gains by choosing paths that collide. */
static uint64_t path_hash(const char *path)
{
    uint64_t h = 0xcbf29ce484222325U;
    for (; *path; path++)
        h = (h ^ (unsigned char)*path) * 0x100000001b3U;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93U;
    return h ^ (h >> 32);
}

/* Whether the stream is cut before a member: the larger it is the likelier, so that segments come to the
 * target's size. */
static bool cut_before(const char *path, uint64_t size)
{
    if (size >= OCI_SEGMENT_TARGET)
        return true;
    return (path_hash(path) >> 32) < (size << 32) / OCI_SEGMENT_TARGET;
}

static char *join(const char *path, size_t folder_len, const char *prefix, const char *name)
{
    return wh_printf("%.*s%s%s%s", (int)folder_len, path, folder_len ? "/" : "", prefix, name);
}

static char type_of(const struct oci_walk_entry *e)
{
    if (e->is_hardlink)
        return '1';
    switch (e->st.st_mode & S_IFMT) {
    case S_IFLNK:
        return '2';
    case S_IFCHR:
        return '3';
    case S_IFBLK:
        return '4';
    case S_IFDIR:
        return '5';
    case S_IFIFO:
        return '6';
    default:
        return '0';
    }
}

static void header_of(struct oci_stream *s, const struct oci_walk_entry *e)
{
    char type = type_of(e);
    bool device = type == '3' || type == '4';
    struct oci_tar_entry t = {
        .path = e->path,
        .type = type,
        .mode = e->st.st_mode & 07777,
        .uid = e->st.st_uid,
        .gid = e->st.st_gid,
        .size = type == '0' ? (uint64_t)e->st.st_size : 0,
        .mtime = e->st.st_mtim.tv_sec,
        .link = e->link,
        .devmajor = device ? major(e->st.st_rdev) : 0,
        .devminor = device ? minor(e->st.st_rdev) : 0,
        .xattrs = e->xattrs,
        .nxattrs = e->nxattrs,
    };
    if (s->options->epoch != WH_LAYER_NO_EPOCH && t.mtime > s->options->epoch)
        t.mtime = s->options->epoch;
    oci_tar_header(&s->header, &t);
}

/* A deletion is an empty file: mode, owner and time 0. */
static void header_of_mark(struct oci_stream *s, const struct oci_walk_entry *e)
{
    size_t path_len = strlen(e->path), name_len = strlen(e->name);
    size_t folder =
        e->kind == OCI_WALK_OPAQUE ? path_len : path_len - name_len - (path_len > name_len ? 1 : 0);
    const char *name = e->kind == OCI_WALK_OPAQUE ? ".wh..opq" : e->name;
    wh_autofree char *path = join(e->path, folder, ".wh.", name);
    oci_tar_header(&s->header, &(struct oci_tar_entry){.path = path, .type = '0'});
}

/* Reads the next member of the walk into header and file. 1, or 0 at the end. */
static int next_member(struct oci_stream *s, uint64_t *total, struct wh_error *err)
{
    struct oci_walk_entry e;
    int n = oci_walk_next(s->walk, &e, err);
    if (n <= 0)
        return n;
    s->members++;
    wh_str_clear(&s->header);
    if (e.kind == OCI_WALK_ENTRY)
        header_of(s, &e);
    else
        header_of_mark(s, &e);
    free(s->path);
    s->path = wh_strdup(e.path);
    s->file = e.fd;
    s->size = e.fd >= 0 ? (uint64_t)e.st.st_size : 0;
    s->offset = 0;
    s->has_digest = s->key && s->size > 0 && s->options->segments->file_digest &&
                    s->options->segments->file_digest(s->options->segments->data, s->path, &e.st, &s->digest);
    *total = s->header.len + s->size + oci_tar_padding(s->size);
    return 1;
}

/* ---- content ---- */

static int read_content(struct oci_stream *s, char *to, size_t len, struct wh_error *err)
{
    while (len > 0) {
        ssize_t n = read(s->file, to, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wh_fail_errno(err, "read /%s", s->path);
        if (n == 0)
            return wh_fail(err, WH_E_FAILED, "/%s became shorter while the layer was written", s->path);
        to += n;
        len -= (size_t)n;
    }
    return 0;
}

static void add_zeros(struct wh_str *out, size_t n)
{
    static const char zeros[2 * OCI_TAR_BLOCK];
    wh_str_addn(out, zeros, n);
}

/* Copies up to the next fixed offset or the file's end. 1: the segment ends here; 0: the file is whole. */
static int add_content(struct oci_stream *s, struct oci_segment *seg, struct wh_error *err)
{
    uint64_t left = s->size - s->offset;
    size_t step = (size_t)WH_MIN(left, (uint64_t)OCI_SEGMENT_TARGET);
    wh_str_reserve(&seg->raw, step + OCI_TAR_BLOCK);
    if (read_content(s, seg->raw.data + seg->raw.len, step, err) < 0)
        return -1;
    seg->raw.len += step;
    key_content(s, s->offset, step);
    s->offset += step;
    if (s->offset < s->size)
        return 1;
    add_zeros(&seg->raw, oci_tar_padding(s->size));
    close(s->file);
    s->file = -1;
    /* A big file whose size is a multiple of the step ends its last segment, as it would one byte later. */
    return s->size >= OCI_SEGMENT_TARGET && step == OCI_SEGMENT_TARGET;
}

static void add_header(struct oci_stream *s, struct oci_segment *seg)
{
    wh_str_addn(&seg->raw, s->header.data, s->header.len);
    key_field(s, 'h', s->header.data, s->header.len);
    s->pending = false;
    if (s->size == 0 && s->file >= 0) {
        close(s->file);
        s->file = -1;
    }
}

static int fill(struct oci_stream *s, struct oci_segment *seg, struct wh_error *err)
{
    if (s->pending)
        add_header(s, seg);
    for (;;) {
        if (s->file >= 0) {
            int n = add_content(s, seg, err);
            if (n != 0)
                return n;
        }
        uint64_t total;
        int n = next_member(s, &total, err);
        if (n < 0)
            return n;
        if (n == 0) {
            s->ended = true;
            add_zeros(&seg->raw, 2 * OCI_TAR_BLOCK);
            key_field(s, 'e', "", 0);
            return 1;
        }
        s->pending = true;
        if (seg->raw.len > 0 && (seg->raw.len + total > OCI_SEGMENT_CAP || cut_before(s->path, total)))
            return 1;
        add_header(s, seg);
    }
}

int oci_stream_next(struct oci_stream *s, struct oci_segment *seg, struct wh_error *err)
{
    wh_str_clear(&seg->raw);
    if (s->ended)
        return 0;
    if (s->key)
        key_begin(s);
    if (fill(s, seg, err) < 0)
        return wh_wrap(err, "write layer");
    key_end(s, seg);
    return 1;
}
