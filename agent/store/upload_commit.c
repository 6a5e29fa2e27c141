/* From an upload to an entry: the digest, the order of the bytes, and the moment in which it becomes visible.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "store/upload_internal.h"

#define CHUNK ((size_t)256 << 10)

/* Hashes [u->hashed, end) of fd. */
static int hash_to(struct wh_upload *u, int fd, uint64_t end, struct wh_error *err)
{
    wh_autofree char *buf = u->hashed < end ? wh_malloc(CHUNK) : NULL;
    while (u->hashed < end) {
        ssize_t n = pread(fd, buf, (size_t)WH_MIN((uint64_t)CHUNK, end - u->hashed), (off_t)u->hashed);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wh_fail_errno(err, "%s: upload %lld", u->s->dir, (long long)u->id);
        if (n == 0)
            return wh_fail(err, WH_E_CORRUPT, "%s: upload %lld has lost bytes", u->s->dir, (long long)u->id);
        wh_sha256_update(u->hash, buf, (size_t)n);
        u->hashed += (uint64_t)n;
        u->seen = u->hashed;
    }
    return 0;
}

static void begin_anew(struct wh_upload *u)
{
    struct wh_digest unused;
    wh_sha256_final(u->hash, &unused);
    u->hashed = 0;
    u->seen = 0;
}

void wh_upload_follow(struct wh_upload *u)
{
    if (atomic_exchange(&u->restart, false))
        begin_anew(u);
    if (hash_to(u, u->data, u->ready, NULL) < 0)
        u->restart = true; /* _arrange() will say why */
}

static int copy_extent(int from, int to, struct upload_extent e, uint64_t at, struct wh_error *err)
{
    wh_autofree char *buf = NULL;
    while (e.length > 0) {
        off_t in = (off_t)e.offset, out = (off_t)at;
        ssize_t n =
            buf ? -1 : copy_file_range(from, &in, to, &out, (size_t)WH_MIN(e.length, (uint64_t)1 << 30), 0);
        if (n < 0 && !buf && errno != ENOSPC && errno != EIO)
            buf = wh_malloc(CHUNK); /* not here: by hand */
        if (buf) {
            n = pread(from, buf, (size_t)WH_MIN(e.length, (uint64_t)CHUNK), (off_t)e.offset);
            if (n > 0)
                n = pwrite(to, buf, (size_t)n, (off_t)at);
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? wh_fail_errno(err, "putting blocks in order")
                         : wh_fail(err, WH_E_CORRUPT, "a block has lost bytes");
        e.offset += (uint64_t)n;
        at += (uint64_t)n;
        e.length -= (uint64_t)n;
    }
    return 0;
}

/* The blocks into a file of their own, in the order of the list. */
static int copy_in_order(struct wh_upload *u, struct wh_error *err)
{
    char fresh[48], data[48];
    store_upload_name(u->id, "new", fresh);
    store_upload_name(u->id, "data", data);
    wh_autoclose int to = openat(u->folder, fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (to < 0)
        return wh_fail_errno(err, "%s/" STORE_UPLOADS "/%s", u->s->dir, fresh);
    uint64_t at = 0;
    for (size_t i = 0; i < u->norder; i++) {
        if (copy_extent(u->data, to, u->order[i], at, err) < 0)
            return -1;
        u->order[i].offset = at;
        at += u->order[i].length;
    }
    /* The log speaks of the old file: without it none is there, which a client hears as an unknown block. */
    if (ftruncate(u->log, 0) < 0 || renameat(u->folder, fresh, u->folder, data) < 0)
        return wh_fail_errno(err, "%s/" STORE_UPLOADS "/%s", u->s->dir, data);
    close(u->data);
    u->data = wh_steal_fd(&to);
    begin_anew(u);
    u->restart = false;
    return 0;
}

static bool in_order(const struct wh_upload *u, uint64_t *size)
{
    bool all = true;
    *size = 0;
    for (size_t i = 0; i < u->norder; i++) {
        all = all && u->order[i].offset == *size;
        *size += u->order[i].length;
    }
    return all;
}

int wh_upload_arrange(struct wh_upload *u, struct wh_error *err)
{
    uint64_t size;
    if (!in_order(u, &size) && copy_in_order(u, err) < 0)
        return -1;
    if (atomic_exchange(&u->restart, false) || u->hashed > size)
        begin_anew(u);
    struct wh_digest digest;
    if (ftruncate(u->data, (off_t)size) < 0)
        return wh_fail_errno(err, "%s: upload %lld", u->s->dir, (long long)u->id);
    if (hash_to(u, u->data, size, err) < 0)
        return -1;
    wh_sha256_final(u->hash, &digest);
    u->hashed = 0;
    u->seen = size;
    u->restart = true; /* the hash is used up */
    /* Blocks that the list leaves out are gone, as they are in Azure. One that it names twice is one extent.
     */
    struct upload_extent *kept = wh_calloc(u->norder + 1, sizeof(*kept));
    for (size_t i = 0; i < u->norder; i++) {
        kept[i] = u->order[i];
        kept[i].id = wh_strdup(u->order[i].id);
    }
    size_t n = u->norder;
    upload_forget(u);
    u->extents = kept;
    u->nextents = n;
    u->room = n + 1;
    u->ready = size;
    u->end = u->size = size;
    u->digest = digest;
    u->complete = true;
    return upload_log_rewrite(u, err);
}

/* ---- the entry ---- */

/* The file under the blob's name, whole and durable, beside its own name. */
static int place(struct wh_upload *u, const char *name, struct wh_error *err)
{
    struct wh_store *s = u->s;
    char folder[3] = {name[0], name[1], '\0'}, data[48];
    store_upload_name(u->id, "data", data);
    if (fchmod(u->data, 0444) < 0)
        return wh_fail_errno(err, "%s: upload %lld", s->dir, (long long)u->id);
    if (store_mkdir(s, s->blobsfd, folder, 0700, err) < 0 || wh_fsync_dir(s->blobsfd, ".", err) < 0)
        return -1;
    if (linkat(u->folder, data, s->blobsfd, name, 0) < 0) {
        /* Without a row, seen from inside a transaction, it belongs to nobody. */
        if (errno != EEXIST || unlinkat(s->blobsfd, name, 0) < 0 ||
            linkat(u->folder, data, s->blobsfd, name, 0) < 0)
            return wh_fail_errno(err, "%s/blobs/sha256/%s", s->dir, name);
    }
    return wh_fsync_dir(s->blobsfd, folder, err);
}

/* 1: a durable blob of these bytes is there. */
static int present(struct wh_upload *u, const char *name, struct wh_error *err)
{
    int64_t there = 0;
    int rc = store_number(u->s, err, 0, &there,
                          "SELECT 1 FROM blobs WHERE digest = ? AND boot IS NULL AND size = ?", "di",
                          &u->digest, (int64_t)u->size);
    struct stat st;
    if (rc <= 0)
        return rc;
    return fstatat(u->s->blobsfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size == u->size;
}

static int enter(struct wh_upload *u, const char *charge, struct wh_error *err)
{
    struct wh_store *s = u->s;
    char name[STORE_BLOB_NAME];
    int64_t now = wh_now_ns(), there = 0;
    store_blob_name(&u->digest, name);
    int rc = store_number(s, err, 0, &there, "SELECT 1 FROM cache_uploads WHERE id = ?", "i", u->id);
    if (rc <= 0)
        return rc < 0 ? -1 : wh_fail(err, WH_E_NOT_FOUND, "the upload is gone: its reservation ended");
    rc = present(u, name, err);
    if (rc < 0 || (rc == 0 && place(u, name, err) < 0))
        return -1;
    if (store_run(
            s, err,
            "INSERT INTO blobs(digest, size, boot, repo, created, used) VALUES(?1, ?2, NULL, ?3, ?4, ?4)"
            " ON CONFLICT(digest) DO UPDATE SET size = ?2, boot = NULL, used = ?4",
            "diti", &u->digest, (int64_t)u->size, charge, now) < 0 ||
        store_run(
            s, err,
            "INSERT INTO cache_entries(id, seq, kind, repo, scope, version, key, digest, size, job, mime, "
            "created, used, expires) SELECT id, (SELECT coalesce(max(seq), 0) + 1 FROM cache_entries), kind, "
            "repo, scope, version, key, ?2, ?3, job, mime, ?4, ?4, expires FROM cache_uploads WHERE id = ?1",
            "idii", u->id, &u->digest, (int64_t)u->size, now) < 0)
        return -1;
    return store_run(s, err, "DELETE FROM cache_uploads WHERE id = ?", "i", u->id) < 0 ? -1 : 0;
}

int wh_upload_commit(struct wh_upload *u, const char *charge, struct wh_error *err)
{
    if (!u->complete)
        return wh_fail(err, WH_E_ARGUMENT, "nothing was uploaded");
    /* Not under the handle's lock: others work on meanwhile. */
    if (fsync(u->data) < 0)
        return wh_fail_errno(err, "%s: fsync of upload %lld", u->s->dir, (long long)u->id);
    struct wh_store *s = u->s;
    wh_autostorelock(s);
    if (store_begin(s, true, err) < 0)
        return -1;
    if (store_end(s, enter(u, charge, err) < 0 ? -1 : 0, err) < 0)
        return -1;
    store_upload_unlink(u->folder, u->id);
    return 0;
}
