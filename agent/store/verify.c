/* Checking everything: the index itself, every blob's bytes, every tree against its row, and what has no row.
 * What is damaged moves to quarantine/ and loses its row, so that the next build makes it anew. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "store/internal.h"
#include "wherry/store/gc.h"

#define HASH_CHUNK ((size_t)1 << 20)

struct verify {
    struct wh_store *s;
    void (*progress)(void *arg, const struct wh_verify_progress *p);
    void *arg;
    struct wh_verify_progress at;
    struct wh_verify_result *out;
    char *chunk;
};

static void say(struct verify *v, const char *bad)
{
    if (!v->progress)
        return;
    v->at.bad = bad;
    v->progress(v->arg, &v->at);
    v->at.bad = NULL;
}

static int check_index(struct verify *v, struct wh_error *err)
{
    wh_autostorelock(v->s);
    wh_autoquery *q = store_query(v->s, err, "PRAGMA integrity_check(3)", "");
    int rc;
    while ((rc = q ? store_step(v->s, q, err) : -1) == 1) {
        const char *text = (const char *)sqlite3_column_text(q, 0);
        if (text && strcmp(text, "ok") != 0)
            return wh_fail(err, WH_E_CORRUPT,
                           "%s/index.db is damaged: %s; move the folder away to start anew", v->s->dir, text);
    }
    return rc;
}

/* ---- blobs ---- */

/* 1 good, 0 damaged (why says how), -1 the disk doesn't let us read. */
static int hash_blob(struct verify *v, const struct wh_digest *digest, int64_t size, const char **why,
                     struct wh_error *err)
{
    char name[STORE_BLOB_NAME];
    store_blob_name(digest, name);
    wh_autoclose int fd = openat(v->s->blobsfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        *why = errno == ENOENT ? "is not there" : "cannot be opened";
        return 0;
    }
    wh_autosha256 *hash = wh_sha256_new();
    int64_t got = 0;
    for (;;) {
        ssize_t n = read(fd, v->chunk, HASH_CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EIO) {
            *why = "cannot be read: the disk reports an error";
            return 0;
        }
        if (n < 0)
            return wh_fail_errno(err, "%s/blobs/sha256/%s", v->s->dir, name);
        if (n == 0)
            break;
        wh_sha256_update(hash, v->chunk, (size_t)n);
        got += n;
        v->at.done += (uint64_t)n;
        say(v, NULL);
    }
    posix_fadvise(fd, 0, 0,
                  POSIX_FADV_DONTNEED); /* a check should not push the builds' files out of memory */
    struct wh_digest is;
    wh_sha256_final(hash, &is);
    *why = got != size ? "has another size" : "has other bytes than its name says";
    return got == size && wh_digest_eq(&is, digest);
}

static int quarantine(struct wh_store *s, int dirfd, const char *name, const char *as, struct wh_error *err)
{
    if (store_mkdir(s, s->dirfd, "quarantine", 0700, err) < 0)
        return -1;
    wh_autofree char *to = wh_printf("quarantine/%s-%lld", as, (long long)wh_now_ns());
    if (renameat(dirfd, name, s->dirfd, to) < 0 && errno != ENOENT)
        return wh_fail_errno(err, "%s: cannot move %s to quarantine", s->dir, name);
    return 0;
}

static int bad_blob(struct verify *v, const struct wh_digest *digest, const char *why, struct wh_error *err)
{
    struct wh_store *s = v->s;
    wh_autostorelock(s);
    if (store_begin(s, true, err) < 0)
        return -1;
    int64_t there = 0;
    char name[STORE_BLOB_NAME], text[WH_DIGEST_TEXT];
    store_blob_name(digest, name);
    wh_digest_text(digest, text);
    int rc = store_number(s, err, 0, &there, "SELECT 1 FROM blobs WHERE digest = ?", "d", digest);
    if (rc == 1) {
        rc = store_run(s, err, "DELETE FROM blobs WHERE digest = ?", "d", digest);
        if (rc >= 0)
            rc = store_run(s, err, "DELETE FROM segments WHERE blob = ?", "d", digest);
        if (rc >= 0)
            rc = quarantine(s, s->blobsfd, name, text + strlen("sha256:"), err);
    }
    if (store_end(s, rc < 0 ? -1 : 0, err) < 0)
        return -1;
    store_forget_leases(s);
    if (!there) /* collected while we read it */
        return 0;
    v->out->damaged++;
    wh_autofree char *bad = wh_printf("blob %s %s", text, why);
    say(v, bad);
    return 0;
}

static int verify_blobs(struct verify *v, const struct store_items *items, struct wh_error *err)
{
    for (size_t i = 0; i < items->n; i++) {
        const struct store_item *item = &items->list[i];
        if (item->kind != WH_STORE_BLOB)
            continue;
        const char *why = NULL;
        int rc = hash_blob(v, &item->digest, (int64_t)item->size, &why, err);
        if (rc < 0 || (rc == 0 && bad_blob(v, &item->digest, why, err) < 0))
            return -1;
        v->out->blobs++;
        v->out->bytes += item->size;
    }
    return 0;
}

/* ---- layers ---- */

static int bad_layer(struct verify *v, int64_t id, const char *why, struct wh_error *err)
{
    struct wh_store *s = v->s;
    wh_autofree char *name = wh_printf("%lld", (long long)id);
    wh_autofree char *as = wh_printf("layer-%lld", (long long)id);
    wh_autostorelock(s);
    if (store_begin(s, true, err) < 0)
        return -1;
    int64_t there = 0;
    int rc = store_number(s, err, 0, &there, "SELECT 1 FROM layers WHERE id = ?", "i", id);
    if (rc == 1) {
        rc = store_run(s, err, "UPDATE records SET layer = NULL WHERE layer = ?", "i", id);
        if (rc >= 0)
            rc = store_run(s, err, "DELETE FROM layers WHERE id = ?", "i", id);
        if (rc >= 0)
            rc = quarantine(s, s->layersfd, name, as, err);
    }
    if (store_end(s, rc < 0 ? -1 : 0, err) < 0)
        return -1;
    store_forget_leases(s);
    if (!there)
        return 0;
    v->out->damaged++;
    wh_autofree char *bad = wh_printf("layer %lld %s", (long long)id, why);
    say(v, bad);
    return 0;
}

static int verify_layer(struct verify *v, int64_t id, struct wh_error *err)
{
    struct wh_store *s = v->s;
    wh_autofree char *name = wh_printf("%lld", (long long)id);
    uint64_t bytes = 0, entries = 0;
    wh_autoerror gone = {0};
    if (store_measure(s->layersfd, name, &bytes, &entries, &gone) < 0)
        return bad_layer(v, id, "has no tree that can be read", err);
    int64_t files = -1, size = -1;
    {
        wh_autostorelock(s);
        wh_autoquery *q = store_query(s, err, "SELECT files, size FROM layers WHERE id = ?", "i", id);
        int rc = q ? store_step(s, q, err) : -1;
        if (rc < 0)
            return -1;
        if (rc == 1) {
            files = sqlite3_column_int64(q, 0);
            size = sqlite3_column_int64(q, 1);
        }
    }
    if (files >= 0 && (files != (int64_t)entries || size != (int64_t)bytes)) {
        wh_autofree char *why = wh_printf("has %llu entries with %llu bytes, and should have %lld with %lld",
                                          (unsigned long long)entries, (unsigned long long)bytes,
                                          (long long)files, (long long)size);
        return bad_layer(v, id, why, err);
    }
    return 0;
}

static int verify_layers(struct verify *v, const struct store_items *items, struct wh_error *err)
{
    for (size_t i = 0; i < items->n; i++) {
        const struct store_item *item = &items->list[i];
        if (item->kind != WH_STORE_LAYER)
            continue;
        if (verify_layer(v, item->number, err) < 0)
            return -1;
        v->out->layers++;
        v->out->bytes += item->size;
        v->at.done += item->size;
        say(v, NULL);
    }
    return 0;
}

/* Rows that name rows which are not there: can't be, but a check that doesn't look is none. */
static int verify_rows(struct verify *v, struct wh_error *err)
{
    wh_autostorelock(v->s);
    int64_t lost = 0;
    if (store_number(v->s, err, 0, &lost,
                     "SELECT (SELECT count(*) FROM records WHERE layer IS NOT NULL AND layer NOT IN (SELECT "
                     "id FROM layers))"
                     " + (SELECT count(*) FROM segments WHERE blob NOT IN (SELECT digest FROM blobs))",
                     "") < 0)
        return -1;
    if (lost == 0)
        return 0;
    v->out->damaged += (uint64_t)lost;
    wh_autofree char *bad =
        wh_printf("%lld rows of the index named layers or blobs that are not there", (long long)lost);
    say(v, bad);
    if (store_run(v->s, err, "UPDATE records SET layer = NULL WHERE layer NOT IN (SELECT id FROM layers)",
                  "") < 0 ||
        store_run(v->s, err, "DELETE FROM segments WHERE blob NOT IN (SELECT digest FROM blobs)", "") < 0)
        return -1;
    return 0;
}

int wh_store_verify(struct wh_store *s, void (*progress)(void *arg, const struct wh_verify_progress *p),
                    void *arg, struct wh_verify_result *out, struct wh_error *err)
{
    memset(out, 0, sizeof(*out));
    wh_autofree char *chunk = wh_malloc(HASH_CHUNK);
    struct verify v = {.s = s, .progress = progress, .arg = arg, .out = out, .chunk = chunk};
    if (check_index(&v, err) < 0)
        return -1;
    struct store_items items;
    {
        wh_autostorelock(s);
        if (store_items_load(s, &items, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < items.n; i++)
        if (items.list[i].kind == WH_STORE_BLOB || items.list[i].kind == WH_STORE_LAYER)
            v.at.total += items.list[i].size;
    int rc = verify_blobs(&v, &items, err);
    if (rc == 0)
        rc = verify_layers(&v, &items, err);
    store_items_free(&items);
    if (rc < 0 || verify_rows(&v, err) < 0)
        return -1;
    int64_t orphans = store_orphans_sweep(s, err);
    if (orphans < 0)
        return -1;
    out->orphans = (uint64_t)orphans;
    store_trash_run(s);
    return store_measure_all(s, err);
}
