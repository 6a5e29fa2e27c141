/* Blobs that are in: look-ups, removal, where they were seen, and their segments. */
#include <errno.h>
#include <unistd.h>

#include "store/internal.h"
#include "wherry/store/blob.h"

void store_blob_lost(struct wh_store *s, const struct wh_digest *digest)
{
    char text[WH_DIGEST_TEXT];
    wh_log_warning("%s: blob %s was taken away; its row goes too", s->dir, wh_digest_text(digest, text));
    wh_autoerror err = {0};
    if (store_begin(s, false, &err) < 0)
        return;
    /* Look again, now that nobody can be between a rename and its row. */
    char name[STORE_BLOB_NAME];
    store_blob_name(digest, name);
    int rc = 0;
    if (faccessat(s->blobsfd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
        rc = store_run(s, &err, "DELETE FROM blobs WHERE digest = ?", "d", digest);
    store_end(s, rc, &err);
}

static int lookup(struct wh_store *s, const struct wh_digest *digest, int64_t *size, struct wh_error *err)
{
    return store_number(s, err, 0, size, "SELECT size FROM blobs WHERE digest = ?", "d", digest);
}

int wh_blob_has(struct wh_store *s, const struct wh_digest *digest, uint64_t *size, struct wh_error *err)
{
    wh_autostorelock(s);
    int64_t bytes = 0;
    int rc = lookup(s, digest, &bytes, err);
    if (rc <= 0)
        return rc;
    char name[STORE_BLOB_NAME];
    store_blob_name(digest, name);
    struct stat st;
    if (fstatat(s->blobsfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT) {
        store_blob_lost(s, digest);
        return 0;
    }
    if (size)
        *size = (uint64_t)bytes;
    return 1;
}

int wh_blob_open(struct wh_store *s, const struct wh_digest *digest, uint64_t *size, struct wh_error *err)
{
    wh_autostorelock(s);
    char text[WH_DIGEST_TEXT];
    int64_t bytes = 0;
    int rc = lookup(s, digest, &bytes, err);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return wh_fail(err, WH_E_NOT_FOUND, "blob %s is not in the store", wh_digest_text(digest, text));
    char name[STORE_BLOB_NAME];
    store_blob_name(digest, name);
    wh_autoclose int fd = openat(s->blobsfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        store_blob_lost(s, digest);
        return wh_fail(err, WH_E_NOT_FOUND, "blob %s is not in the store", wh_digest_text(digest, text));
    }
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return wh_fail_errno(err, "blob %s", wh_digest_text(digest, text));
    if (st.st_size != bytes)
        return wh_fail(err, WH_E_CORRUPT,
                       "blob %s has %lld bytes on disk and should have %lld: run `wherry cache verify`",
                       wh_digest_text(digest, text), (long long)st.st_size, (long long)bytes);
    struct store_key key = store_key_digest(WH_STORE_BLOB, digest);
    store_touch(s, &key);
    if (size)
        *size = (uint64_t)bytes;
    return wh_steal_fd(&fd);
}

int wh_blob_read(struct wh_store *s, const struct wh_digest *digest, size_t max, struct wh_str *out,
                 struct wh_error *err)
{
    wh_autoclose int fd = wh_blob_open(s, digest, NULL, err);
    char text[WH_DIGEST_TEXT];
    return fd < 0 ? -1 : wh_read_fd(fd, max, wh_digest_text(digest, text), out, err);
}

char *wh_blob_path(struct wh_store *s, const struct wh_digest *digest)
{
    char name[STORE_BLOB_NAME];
    store_blob_name(digest, name);
    return wh_printf("%s/blobs/sha256/%s", s->dir, name);
}

/* ---- removal ---- */

int store_blob_unrow(struct wh_store *s, const struct wh_digest *digest, bool others, struct wh_error *err)
{
    struct store_key key = store_key_digest(WH_STORE_BLOB, digest);
    int rc = store_leased(s, &key, others, err);
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    if (store_run(s, err, "DELETE FROM blobs WHERE digest = ?", "d", digest) < 0 ||
        store_run(s, err, "DELETE FROM segments WHERE blob = ?", "d", digest) < 0 ||
        store_run(s, err, "DELETE FROM blob_places WHERE digest = ?", "d", digest) < 0)
        return -1;
    struct store_use *held;
    HASH_FIND(hh, s->leases, &key, sizeof(key), held);
    if (held) {
        HASH_DEL(s->leases, held);
        free(held);
        if (store_run(s, err, "DELETE FROM leases WHERE kind = 1 AND object = ? AND session = ?", "dt",
                      digest, s->session) < 0)
            return -1;
    }
    return 1;
}

int store_blob_unlink(struct wh_store *s, const struct wh_digest *digest, struct wh_error *err)
{
    if (store_begin(s, false, err) < 0)
        return -1;
    int64_t size;
    char name[STORE_BLOB_NAME];
    store_blob_name(digest, name);
    int rc = lookup(s, digest, &size, err);
    if (rc == 0 && unlinkat(s->blobsfd, name, 0) < 0 && errno != ENOENT)
        rc = wh_fail_errno(err, "%s/blobs/sha256/%s cannot be removed", s->dir, name);
    return store_end(s, rc < 0 ? -1 : 0, err);
}

int wh_blob_delete(struct wh_store *s, const struct wh_digest *digest, struct wh_error *err)
{
    wh_autostorelock(s);
    if (store_begin(s, true, err) < 0)
        return -1;
    int rc = store_lease_sweep(s, err);
    if (rc == 0)
        rc = store_blob_unrow(s, digest, true, err);
    if (store_end(s, rc, err) < 0)
        return -1;
    char text[WH_DIGEST_TEXT];
    if (rc == 0)
        return wh_fail(err, WH_E_BUSY, "blob %s is in use", wh_digest_text(digest, text));
    return store_blob_unlink(s, digest, err);
}

/* ---- registries ---- */

int wh_blob_seen_at(struct wh_store *s, const struct wh_digest *digest, const char *registry,
                    const char *repository, struct wh_error *err)
{
    wh_autostorelock(s);
    int rc = store_run(s, err, "INSERT OR REPLACE INTO blob_places VALUES(?, ?, ?, ?)", "dtti", digest,
                       registry, repository, wh_now_ns());
    return rc < 0 ? -1 : 0;
}

char *wh_blob_seen_where(struct wh_store *s, const struct wh_digest *digest, const char *registry,
                         const char *except)
{
    wh_autostorelock(s);
    wh_autoquery *q = store_query(s, NULL,
                                  "SELECT repository FROM blob_places WHERE digest = ? AND registry = ?"
                                  " AND repository <> ? ORDER BY seen DESC LIMIT 1",
                                  "dtt", digest, registry, except ? except : "");
    return q && store_step(s, q, NULL) == 1 ? store_col_text(q, 0) : NULL;
}

/* ---- segments ---- */

int wh_segments_add(struct wh_store *s, const struct wh_segment *list, size_t n, struct wh_error *err)
{
    wh_autostorelock(s);
    if (store_begin(s, false, err) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0; i++)
        rc = store_run(s, err,
                       "INSERT OR REPLACE INTO segments(key, blob, offset, length, raw, crc) SELECT ?1, "
                       "digest, ?3, ?4, ?5, ?6"
                       " FROM blobs WHERE digest = ?2 AND ?3 + ?4 <= size AND ?4 > 0",
                       "ddiiii", &list[i].key, &list[i].blob, (int64_t)list[i].offset,
                       (int64_t)list[i].length, (int64_t)list[i].raw, (int64_t)list[i].check);
    return store_end(s, rc < 0 ? -1 : 0, err);
}

int wh_segments_find(struct wh_store *s, struct wh_segment *list, size_t n, struct wh_error *err)
{
    wh_autostorelock(s);
    if (store_run(s, err, "BEGIN", "") < 0)
        return -1;
    int hits = 0;
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0; i++) {
        wh_autoquery *q = store_query(
            s, err, "SELECT blob, offset, length, raw, crc FROM segments WHERE key = ?", "d", &list[i].key);
        rc = q ? store_step(s, q, err) : -1;
        list[i].length = 0;
        if (rc != 1 || !store_col_digest(q, 0, &list[i].blob))
            continue;
        list[i].offset = (uint64_t)sqlite3_column_int64(q, 1);
        list[i].length = (uint64_t)sqlite3_column_int64(q, 2);
        list[i].raw = (uint64_t)sqlite3_column_int64(q, 3);
        list[i].check = (uint32_t)sqlite3_column_int64(q, 4);
        hits++;
    }
    if (store_run(s, err, "COMMIT", "") < 0 || rc < 0)
        return -1;
    return hits;
}
