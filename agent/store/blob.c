/* Blobs on their way in: ingest -> hash -> fsync -> rename -> fsync of the folder -> row. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "store/internal.h"
#include "wherry/store/blob.h"

#define HASH_CHUNK ((size_t)256 * 1024)

struct wh_blob_writer {
    struct wh_store *s;
    int fd;
    char *name; /* below the session's folder */
    unsigned flags;
    struct wh_sha256 *hash;
    uint64_t written;
    bool raw; /* the descriptor was given out: `hash` doesn't know all bytes */
};

void store_blob_name(const struct wh_digest *digest, char out[STORE_BLOB_NAME])
{
    char text[WH_DIGEST_TEXT];
    const char *hex = wh_digest_text(digest, text) + strlen("sha256:");
    memcpy(out, hex, 2);
    out[2] = '/';
    memcpy(out + 3, hex + 2, 63);
}

struct wh_blob_writer *wh_blob_begin(struct wh_store *s, unsigned flags, struct wh_error *err)
{
    wh_autostorelock(s);
    if (store_session(s, err) < 0)
        return NULL;
    wh_autofree char *name = wh_printf("blob-%llu", (unsigned long long)++s->serial);
    int fd = openat(s->sessionfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);
    if (fd < 0) {
        wh_fail_errno(err, "%s/ingest/%s/%s", s->dir, s->session, name);
        return NULL;
    }
    struct wh_blob_writer *w = wh_calloc(1, sizeof(*w));
    *w = (struct wh_blob_writer){
        .s = s, .fd = fd, .name = wh_steal(&name), .flags = flags, .hash = wh_sha256_new()};
    if (s->give && fchown(fd, s->uid, s->gid) < 0) {
        wh_fail_errno(err, "%s: cannot give a blob to uid %u", s->dir, (unsigned)s->uid);
        wh_blob_abort(w);
        return NULL;
    }
    return w;
}

int wh_blob_write(struct wh_blob_writer *w, const void *data, size_t len, struct wh_error *err)
{
    if (wh_write_all(w->fd, data, len, err) < 0)
        return wh_wrap(err, "%s: blob", w->s->dir);
    wh_sha256_update(w->hash, data, len);
    w->written += len;
    return 0;
}

uint64_t wh_blob_written(const struct wh_blob_writer *w)
{
    return w->written;
}

int wh_blob_fd(struct wh_blob_writer *w)
{
    w->raw = true;
    return w->fd;
}

void wh_blob_abort(struct wh_blob_writer *w)
{
    if (!w)
        return;
    if (w->name)
        unlinkat(w->s->sessionfd, w->name, 0);
    close(w->fd);
    wh_sha256_free(w->hash);
    free(w->name);
    free(w);
}

void wh_blob_abort_ptr(struct wh_blob_writer **w)
{
    wh_blob_abort(*w);
    *w = NULL;
}

static int hash_file(struct wh_blob_writer *w, struct wh_digest *out, uint64_t *size, struct wh_error *err)
{
    wh_autosha256 *hash = wh_sha256_new();
    wh_autofree char *chunk = wh_malloc(HASH_CHUNK);
    uint64_t at = 0;
    for (;;) {
        ssize_t n = pread(w->fd, chunk, HASH_CHUNK, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wh_fail_errno(err, "%s: reading a new blob", w->s->dir);
        if (n == 0)
            break;
        wh_sha256_update(hash, chunk, (size_t)n);
        at += (uint64_t)n;
    }
    wh_sha256_final(hash, out);
    *size = at;
    return 0;
}

static int check(const struct wh_blob_expect *expect, const struct wh_digest *digest, uint64_t size,
                 struct wh_error *err)
{
    char got[WH_DIGEST_TEXT], wanted[WH_DIGEST_TEXT];
    if (expect->size >= 0 && (uint64_t)expect->size != size)
        return wh_fail(err, WH_E_DIGEST, "blob %s has %llu bytes, expected were %llu",
                       wh_digest_text(digest, got), (unsigned long long)size,
                       (unsigned long long)expect->size);
    if (expect->digest && !wh_digest_eq(expect->digest, digest))
        return wh_fail(err, WH_E_DIGEST, "blob has digest %s, expected was %s", wh_digest_text(digest, got),
                       wh_digest_text(expect->digest, wanted));
    return 0;
}

/* Renames into place; makes the folder ab/ if it is the first of its kind. */
static int place(struct wh_blob_writer *w, const char *name, struct wh_error *err)
{
    struct wh_store *s = w->s;
    char folder[3] = {name[0], name[1], '\0'};
    bool later = (w->flags & WH_BLOB_LATER) != 0;
    if (renameat(s->sessionfd, w->name, s->blobsfd, name) < 0) {
        if (errno != ENOENT)
            return wh_fail_errno(err, "%s/blobs/sha256/%s", s->dir, name);
        if (store_mkdir(s, s->blobsfd, folder, 0700, err) < 0 ||
            (!later && wh_fsync_dir(s->blobsfd, ".", err) < 0))
            return -1;
        if (renameat(s->sessionfd, w->name, s->blobsfd, name) < 0)
            return wh_fail_errno(err, "%s/blobs/sha256/%s", s->dir, name);
    }
    free(wh_steal(&w->name));
    return later ? 0 : wh_fsync_dir(s->blobsfd, folder, err);
}

/* 1: a blob of that name is here, with all the durability that is asked for. */
static int present(struct wh_blob_writer *w, const struct wh_digest *digest, uint64_t size, const char *name,
                   struct wh_error *err)
{
    wh_autoquery *q = store_query(w->s, err, "SELECT boot IS NULL FROM blobs WHERE digest = ?", "d", digest);
    int rc = q ? store_step(w->s, q, err) : -1;
    if (rc <= 0)
        return rc;
    if (!sqlite3_column_int(q, 0) && !(w->flags & WH_BLOB_LATER))
        return 0;
    struct stat st;
    return fstatat(w->s->blobsfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size == size;
}

static int lease_blob(struct wh_store *s, const struct wh_digest *digest, struct wh_error *err)
{
    struct store_key key = store_key_digest(WH_STORE_BLOB, digest);
    int rc = store_lease(s, &key, err);
    return rc == 0 ? wh_fail(err, WH_E_BUSY, "a new blob was collected at once") : rc;
}

/* In one transaction, so that nobody sweeps the file between its rename and its row. */
static int enter(struct wh_blob_writer *w, const struct wh_digest *digest, uint64_t size, const char *name,
                 struct wh_error *err)
{
    struct wh_store *s = w->s;
    bool later = (w->flags & WH_BLOB_LATER) != 0;
    int rc = present(w, digest, size, name, err);
    if (rc != 0)
        return rc < 0 ? -1 : lease_blob(s, digest, err);
    if (place(w, name, err) < 0)
        return -1;
    int64_t now = wh_now_ns();
    rc = store_run(s, err,
                   "INSERT INTO blobs(digest, size, boot, repo, created, used) VALUES(?1, ?2, ?3, ?4, ?5, ?5)"
                   " ON CONFLICT(digest) DO UPDATE SET size = ?2, boot = ?3, used = ?5",
                   "ditti", digest, (int64_t)size, later ? s->boot : NULL, s->charge, now);
    if (rc < 0)
        return -1;
    if (later)
        store_flush_soon(s);
    return lease_blob(s, digest, err);
}

static int commit(struct wh_blob_writer *w, const struct wh_digest *digest, uint64_t size,
                  struct wh_blob_expect expect, struct wh_error *err)
{
    if (check(&expect, digest, size, err) < 0)
        return -1;
    struct wh_store *s = w->s;
    char name[STORE_BLOB_NAME];
    store_blob_name(digest, name);
    store_lock(s);
    int rc = present(w, digest, size, name, err);
    if (rc == 1) { /* 0: collected between the two statements, so it enters anew */
        struct store_key key = store_key_digest(WH_STORE_BLOB, digest);
        rc = store_lease(s, &key, err);
    }
    pthread_mutex_unlock(&s->lock);
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    /* Not under the handle's lock: other threads work on meanwhile. */
    if (!(w->flags & WH_BLOB_LATER) && fsync(w->fd) < 0)
        return wh_fail_errno(err, "%s: fsync of blob %s", s->dir, name);
    wh_autostorelock(s);
    if (store_begin(s, false, err) < 0)
        return -1;
    return store_end(s, enter(w, digest, size, name, err) < 0 ? -1 : 0, err);
}

int wh_blob_commit(struct wh_blob_writer *writer, struct wh_blob_expect expect, struct wh_digest *out,
                   uint64_t *size, struct wh_error *err)
{
    wh_autoblob *w = writer;
    struct wh_digest digest;
    uint64_t bytes = w->written;
    if (!w->raw)
        wh_sha256_final(w->hash, &digest);
    else if (hash_file(w, &digest, &bytes, err) < 0)
        return -1;
    if (commit(w, &digest, bytes, expect, err) < 0)
        return -1;
    if (out)
        *out = digest;
    if (size)
        *size = bytes;
    return 0;
}

int wh_blob_commit_hashed(struct wh_blob_writer *writer, struct wh_sha256 *hash, uint64_t hashed,
                          struct wh_blob_expect expect, struct wh_digest *out, uint64_t *size,
                          struct wh_error *err)
{
    wh_autoblob *w = writer;
    struct wh_digest digest;
    wh_sha256_final(hash, &digest);
    struct stat st;
    if (fstat(w->fd, &st) < 0)
        return wh_fail_errno(err, "%s: a new blob", w->s->dir);
    if ((uint64_t)st.st_size != hashed)
        return wh_fail(err, WH_E_DIGEST, "%s: a new blob has %lld bytes, but %llu were hashed", w->s->dir,
                       (long long)st.st_size, (unsigned long long)hashed);
    if (commit(w, &digest, hashed, expect, err) < 0)
        return -1;
    if (out)
        *out = digest;
    if (size)
        *size = hashed;
    return 0;
}

int wh_blob_put(struct wh_store *s, const void *data, size_t len, unsigned flags, struct wh_digest *out,
                struct wh_error *err)
{
    struct wh_digest digest;
    wh_digest_of(data, len, &digest);
    if (out)
        *out = digest;
    uint64_t size;
    int rc = wh_blob_has(s, &digest, &size, err);
    if (rc < 0)
        return -1;
    if (rc == 1 && size == len) {
        rc = wh_store_lease_blob(s, &digest, err);
        if (rc != 0)
            return rc < 0 ? -1 : 0;
    }
    struct wh_blob_writer *w = wh_blob_begin(s, flags, err);
    if (!w)
        return -1;
    if (wh_blob_write(w, data, len, err) < 0) {
        wh_blob_abort(w);
        return -1;
    }
    return wh_blob_commit(w, (struct wh_blob_expect){&digest, (int64_t)len}, NULL, NULL, err);
}
