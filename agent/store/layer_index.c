/* Layers that are in: by id, by diffID, by chainID, and the blobs that hold them compressed. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "store/internal.h"
#include "wherry/store/layer.h"

char *wh_layer_path(const struct wh_store *s, int64_t layer)
{
    return wh_printf("%s/layers/%lld", s->dir, (long long)layer);
}

int wh_layer_layers_fd(const struct wh_store *s)
{
    return s->layersfd;
}

int wh_layer_open(struct wh_store *s, int64_t layer, struct wh_error *err)
{
    char name[24];
    snprintf(name, sizeof(name), "%lld", (long long)layer);
    int fd = openat(s->layersfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? wh_fail_errno(err, "layer %lld", (long long)layer) : fd;
}

void store_layer_lost(struct wh_store *s, int64_t layer)
{
    wh_log_warning("%s: the tree of layer %lld was taken away; its row goes too", s->dir, (long long)layer);
    wh_autoerror err = {0};
    if (store_begin(s, false, &err) < 0)
        return;
    char name[24];
    snprintf(name, sizeof(name), "%lld", (long long)layer);
    int rc = faccessat(s->layersfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? -1 : 0;
    if (rc >= 0)
        rc = store_run(s, &err, "UPDATE records SET layer = NULL WHERE layer = ?", "i", layer);
    if (rc >= 0)
        rc = store_run(s, &err, "DELETE FROM layers WHERE id = ?", "i", layer);
    store_end(s, rc, &err);
}

int store_layer_usable(struct wh_store *s, int64_t layer, struct wh_error *err)
{
    struct store_key key = store_key_number(WH_STORE_LAYER, layer);
    int rc = store_lease(s, &key, err);
    if (rc <= 0)
        return rc;
    char name[24];
    snprintf(name, sizeof(name), "%lld", (long long)layer);
    if (faccessat(s->layersfd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT) {
        store_layer_lost(s, layer);
        return 0;
    }
    return 1;
}

int wh_layer_set_diffid(struct wh_store *s, int64_t layer, const struct wh_digest *diffid,
                        struct wh_error *err)
{
    wh_autostorelock(s);
    int rc = store_run(s, err, "UPDATE layers SET diffid = ? WHERE id = ?", "di", diffid, layer);
    if (rc == 0)
        return wh_fail(err, WH_E_NOT_FOUND, "layer %lld is not in the store", (long long)layer);
    return rc < 0 ? -1 : 0;
}

int wh_layer_diffid(struct wh_store *s, int64_t layer, struct wh_digest *out, struct wh_error *err)
{
    wh_autostorelock(s);
    wh_autoquery *q = store_query(s, err, "SELECT diffid FROM layers WHERE id = ?", "i", layer);
    int rc = q ? store_step(s, q, err) : -1;
    return rc == 1 ? store_col_digest(q, 0, out) : rc;
}

static int64_t first_usable(struct wh_store *s, const char *sql, const struct wh_digest *digest,
                            struct wh_error *err)
{
    for (;;) {
        int64_t id = 0;
        int rc = store_number(s, err, 0, &id, sql, "d", digest);
        if (rc <= 0)
            return rc;
        rc = store_layer_usable(s, id, err);
        if (rc != 0)
            return rc < 0 ? -1 : id;
        /* It went between the two statements: look for another. */
    }
}

int64_t wh_layer_by_diffid(struct wh_store *s, const struct wh_digest *diffid, struct wh_error *err)
{
    wh_autostorelock(s);
    return first_usable(s,
                        "SELECT id FROM layers WHERE diffid = ? AND chainid IS NULL ORDER BY id DESC LIMIT 1",
                        diffid, err);
}

int64_t wh_layer_by_chainid(struct wh_store *s, const struct wh_digest *chainid, struct wh_error *err)
{
    wh_autostorelock(s);
    return first_usable(s, "SELECT id FROM layers WHERE chainid = ? ORDER BY id DESC LIMIT 1", chainid, err);
}

/* ---- diffID <-> blob ---- */

int wh_layer_blob_add(struct wh_store *s, const struct wh_digest *diffid, const struct wh_layer_blob *blob,
                      struct wh_error *err)
{
    wh_autostorelock(s);
    int rc = store_run(s, err,
                       "INSERT OR REPLACE INTO layer_blobs(diffid, digest, format, level) VALUES(?, ?, ?, ?)",
                       "ddti", diffid, &blob->digest, blob->format, (int64_t)blob->level);
    return rc < 0 ? -1 : 0;
}

int wh_layer_blob(struct wh_store *s, const struct wh_digest *diffid, const char *format, int level,
                  struct wh_layer_blob *out, struct wh_error *err)
{
    wh_autostorelock(s);
    struct wh_layer_blob *found = NULL;
    size_t n = 0;
    {
        wh_autoquery *q =
            store_query(s, err,
                        "SELECT l.digest, b.size, l.format, l.level FROM layer_blobs l JOIN blobs b"
                        " ON b.digest = l.digest WHERE l.diffid = ?1 AND (?2 IS NULL OR l.format = ?2)"
                        " AND (?3 = -2 OR l.level = ?3) ORDER BY l.level >= 0, b.created",
                        "dti", diffid, format, (int64_t)level);
        int rc;
        while ((rc = q ? store_step(s, q, err) : -1) == 1) {
            found = wh_reallocarray(found, n + 1, sizeof(*found));
            struct wh_layer_blob *b = &found[n];
            if (!store_col_digest(q, 0, &b->digest))
                continue;
            b->size = (uint64_t)sqlite3_column_int64(q, 1);
            snprintf(b->format, sizeof(b->format), "%s", (const char *)sqlite3_column_text(q, 2));
            b->level = sqlite3_column_int(q, 3);
            n++;
        }
        if (rc < 0) {
            free(found);
            return -1;
        }
    }
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct store_key key = store_key_digest(WH_STORE_BLOB, &found[i].digest);
        rc = store_lease(s, &key, err);
        if (rc != 1)
            continue;
        char name[STORE_BLOB_NAME];
        store_blob_name(&found[i].digest, name);
        if (faccessat(s->blobsfd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
            store_blob_lost(s, &found[i].digest);
            rc = 0;
        } else {
            *out = found[i];
        }
    }
    free(found);
    return rc;
}

int wh_layer_blob_diffid(struct wh_store *s, const struct wh_digest *blob, struct wh_digest *out,
                         struct wh_error *err)
{
    wh_autostorelock(s);
    wh_autoquery *q =
        store_query(s, err, "SELECT diffid FROM layer_blobs WHERE digest = ? LIMIT 1", "d", blob);
    int rc = q ? store_step(s, q, err) : -1;
    return rc == 1 ? store_col_digest(q, 0, out) : rc;
}

/* ---- removal ---- */

int store_layer_unrow(struct wh_store *s, int64_t layer, bool others, struct wh_error *err)
{
    struct store_key key = store_key_number(WH_STORE_LAYER, layer);
    int rc = store_leased(s, &key, others, err);
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    if (store_run(s, err, "UPDATE records SET layer = NULL WHERE layer = ?", "i", layer) < 0 ||
        store_run(s, err, "DELETE FROM layers WHERE id = ?", "i", layer) < 0)
        return -1;
    struct store_use *held;
    HASH_FIND(hh, s->leases, &key, sizeof(key), held);
    if (held) {
        HASH_DEL(s->leases, held);
        free(held);
        if (store_run(s, err, "DELETE FROM leases WHERE kind = 2 AND object = ? AND session = ?", "it", layer,
                      s->session) < 0)
            return -1;
    }
    return 1;
}

int store_layer_unlink(struct wh_store *s, int64_t layer, struct wh_error *err)
{
    char name[24];
    snprintf(name, sizeof(name), "%lld", (long long)layer);
    return store_discard_at(s, s->layersfd, name, err);
}

int wh_layer_delete(struct wh_store *s, int64_t layer, struct wh_error *err)
{
    wh_autostorelock(s);
    if (store_begin(s, true, err) < 0)
        return -1;
    int rc = store_lease_sweep(s, err);
    if (rc == 0)
        rc = store_layer_unrow(s, layer, true, err);
    if (store_end(s, rc, err) < 0)
        return -1;
    if (rc == 0)
        return wh_fail(err, WH_E_BUSY, "layer %lld is in use", (long long)layer);
    return store_layer_unlink(s, layer, err);
}
