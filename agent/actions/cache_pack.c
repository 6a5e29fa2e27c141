/* Packing: a walk over the paths, tar, and zstd on all cores or gzip. */
#include <dirent.h>
#include <errno.h>
#include <unistd.h>
#include <uthash.h>
#include <zlib.h>
#include <zstd.h>

#include "actions/cache_archive.h"
#include "actions/cache_tar.h"
#include "wherry/base/fs.h"

#define BUFFER ((size_t)1 << 20)
#define LEVEL 3 /* of zstd, as its program's */
#define GZIP_WINDOW (15 + 16)

struct link { /* a file with several names, by its inode */
    struct {
        uint64_t dev, ino;
    } id;
    char *name;
    UT_hash_handle hh;
};

struct pack {
    int fd;
    ZSTD_CCtx *zstd; /* NULL: gzip */
    z_stream gzip;
    char *out, *in;
    struct wh_str pending; /* tar, not compressed yet */
    uint64_t written, members;
    struct link *links;
    struct wh_error *err;
    const char *skip; /* a member of this name: the archive itself */
};

/* ---- compressed bytes ---- */

static int flush(struct pack *p, size_t len)
{
    if (wh_write_all(p->fd, p->out, len, p->err) < 0)
        return -1;
    p->written += len;
    return 0;
}

static int compress_zstd(struct pack *p, const void *data, size_t len, bool last)
{
    ZSTD_inBuffer in = {data, len, 0};
    size_t left;
    do {
        ZSTD_outBuffer out = {p->out, BUFFER, 0};
        left = ZSTD_compressStream2(p->zstd, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return wh_fail(p->err, WH_E_FAILED, "zstd: %s", ZSTD_getErrorName(left));
        if (flush(p, out.pos) < 0)
            return -1;
    } while (last ? left > 0 : in.pos < in.size);
    return 0;
}

static int compress_gzip(struct pack *p, const void *data, size_t len, bool last)
{
    p->gzip.next_in = (unsigned char *)data;
    p->gzip.avail_in = (unsigned)len;
    do {
        p->gzip.next_out = (unsigned char *)p->out;
        p->gzip.avail_out = (unsigned)BUFFER;
        (void)deflate(&p->gzip, last ? Z_FINISH : Z_NO_FLUSH);
        if (flush(p, BUFFER - p->gzip.avail_out) < 0)
            return -1;
    } while (p->gzip.avail_out == 0);
    return 0;
}

static int squeeze(struct pack *p, const void *data, size_t len, bool last)
{
    return p->zstd ? compress_zstd(p, data, len, last) : compress_gzip(p, data, len, last);
}

static int drain(struct pack *p, bool last)
{
    int rc = squeeze(p, wh_str_text(&p->pending), p->pending.len, last);
    wh_str_clear(&p->pending);
    return rc;
}

/* ---- members ---- */

/* The name under which this file is in already; NULL: it is new. */
static const char *known_link(struct pack *p, const struct stat *st, const char *name)
{
    struct link *l, *fresh = wh_calloc(1, sizeof(*fresh));
    fresh->id.dev = st->st_dev;
    fresh->id.ino = st->st_ino;
    HASH_FIND(hh, p->links, &fresh->id, sizeof(fresh->id), l);
    if (l) {
        free(fresh);
        return l->name;
    }
    fresh->name = wh_strdup(name);
    HASH_ADD(hh, p->links, id, sizeof(fresh->id), fresh);
    return NULL;
}

static int pack_bytes(struct pack *p, int fd, uint64_t size, const char *name)
{
    size_t pad = (size_t)((WH_TAR_BLOCK - size % WH_TAR_BLOCK) % WH_TAR_BLOCK);
    static const char zeros[WH_TAR_BLOCK];
    while (size > 0) {
        ssize_t n = read(fd, p->in, (size_t)WH_MIN((uint64_t)BUFFER, size));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wh_fail_errno(p->err, "%s", name);
        if (n == 0) { /* it shrank: the rest is zeros, as tar has it */
            memset(p->in, 0, BUFFER);
            n = (ssize_t)WH_MIN((uint64_t)BUFFER, size);
        }
        wh_str_addn(&p->pending, p->in, (size_t)n);
        if (p->pending.len >= BUFFER && drain(p, false) < 0)
            return -1;
        size -= (uint64_t)n;
    }
    wh_str_addn(&p->pending, zeros, pad);
    return 0;
}

static int open_file(int dirfd, const char *at)
{
    int fd = openat(dirfd, at, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOATIME);
    return fd >= 0 ? fd : openat(dirfd, at, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

static int pack_folder(struct pack *p, int dirfd, const char *at, const char *name);

static int pack_one(struct pack *p, int dirfd, const char *at, const char *name)
{
    struct stat st;
    char target[4096];
    const char *link = NULL;
    if (fstatat(dirfd, at, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : wh_fail_errno(p->err, "%s", name);
    if (S_ISSOCK(st.st_mode) || wh_streq(at, p->skip))
        return 0;
    if (++p->members > WH_MAX_CACHE_MEMBERS)
        return wh_fail(p->err, WH_E_LIMIT, "more than %llu files", (unsigned long long)WH_MAX_CACHE_MEMBERS);
    if (S_ISLNK(st.st_mode)) {
        ssize_t n = readlinkat(dirfd, at, target, sizeof(target) - 1);
        if (n < 0)
            return wh_fail_errno(p->err, "%s", name);
        target[n] = '\0';
        link = target;
    }
    const char *first = S_ISREG(st.st_mode) && st.st_nlink > 1 ? known_link(p, &st, name) : NULL;
    bool bytes = S_ISREG(st.st_mode) && !first && st.st_size > 0;
    wh_autoclose int fd = bytes ? open_file(dirfd, at) : -1;
    if (bytes && fd < 0)
        return wh_fail_errno(p->err, "%s", name);
    uint64_t size = cache_tar_header(&p->pending, name, &st, first ? first : link, first != NULL);
    if (pack_bytes(p, fd, size, name) < 0 || (p->pending.len >= BUFFER && drain(p, false) < 0))
        return -1;
    return S_ISDIR(st.st_mode) ? pack_folder(p, dirfd, at, name) : 0;
}

static int pack_folder(struct pack *p, int dirfd, const char *at, const char *name)
{
    int fd = openat(dirfd, at, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list) {
        wh_fail_errno(p->err, "%s", name);
        wh_close_fd(&fd);
        return -1;
    }
    int rc = 0;
    for (const struct dirent *e; rc == 0 && (e = readdir(list));)
        if (!wh_streq(e->d_name, ".") && !wh_streq(e->d_name, "..")) {
            wh_autofree char *child = wh_printf("%s/%s", name, e->d_name);
            rc = pack_one(p, fd, e->d_name, child);
        }
    closedir(list);
    return rc;
}

/* ---- the archive ---- */

static int open_pack(struct pack *p, bool zstd)
{
    p->in = wh_malloc(BUFFER);
    p->out = wh_malloc(BUFFER);
    if (!zstd)
        return deflateInit2(&p->gzip, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, 8,
                            Z_DEFAULT_STRATEGY) == Z_OK
                   ? 0
                   : wh_fail(p->err, WH_E_FAILED, "zlib can't start");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    p->zstd = ZSTD_createCCtx();
    (void)ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, LEVEL);
    (void)ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_checksumFlag, 1);
    /* Refused by a library without threads: then on this one. */
    (void)ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_nbWorkers, (int)WH_MIN(WH_MAX(cores, 1L), 16L));
    return 0;
}

static void free_pack(struct pack *p)
{
    struct link *l = p->links;
    HASH_CLEAR(hh, p->links);
    while (l) {
        struct link *next = l->hh.next;
        free(l->name);
        free(l);
        l = next;
    }
    if (!p->zstd && p->out)
        (void)deflateEnd(&p->gzip);
    ZSTD_freeCCtx(p->zstd);
    wh_str_free(&p->pending);
    free(p->in);
    free(p->out);
}

static int pack_all(struct pack *p, const char *workspace, char *const *paths, bool zstd)
{
    static const char end[2 * WH_TAR_BLOCK];
    wh_autoclose int root = open(workspace, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return wh_fail_errno(p->err, "%s", workspace);
    if (open_pack(p, zstd) < 0)
        return -1;
    for (; *paths; paths++)
        if (pack_one(p, root, *paths, *paths) < 0)
            return -1;
    wh_str_addn(&p->pending, end, sizeof(end));
    return drain(p, true);
}

int cache_archive_write(int fd, const char *workspace, char *const *paths, bool zstd, uint64_t *size,
                        struct wh_error *err)
{
    struct pack p = {.fd = fd, .err = err, .skip = zstd ? "cache.tzst" : "cache.tgz"};
    int rc = pack_all(&p, workspace, paths, zstd);
    *size = p.written;
    free_pack(&p);
    return rc;
}
