/* Entries that go: told by name, by age, by a repository's bound. */
#include "store/cache_internal.h"

#define BATCH 64 /* entries dropped by one durable transaction */

int store_cache_unrow(struct wh_store *s, int64_t id, struct wh_digest *digest, struct wh_error *err)
{
    int64_t others = 0;
    {
        wh_autoquery *q = store_query(s, err, "SELECT digest FROM cache_entries WHERE id = ?", "i", id);
        int rc = q ? store_step(s, q, err) : -1;
        if (rc <= 0)
            return rc;
        if (!store_col_digest(q, 0, digest))
            return wh_fail(err, WH_E_CORRUPT, "%s/index.db: cache entry %lld names no digest", s->dir,
                           (long long)id);
    }
    if (store_run(s, err, "DELETE FROM cache_entries WHERE id = ?", "i", id) < 0 ||
        store_number(s, err, 0, &others,
                     "SELECT (SELECT count(*) FROM cache_entries WHERE digest = ?1) + (SELECT count(*) FROM "
                     "layer_blobs WHERE digest = ?1)",
                     "d", digest) < 0)
        return -1;
    return others > 0 ? 0 : store_blob_unrow(s, digest, false, err);
}

/* The rows of all of them in one durable transaction, then the bytes. */
static int drop(struct wh_store *s, const int64_t *ids, size_t n, struct wh_error *err)
{
    struct wh_digest digests[BATCH];
    bool gone[BATCH] = {false};
    if (store_lease_sweep(s, err) < 0 || store_begin(s, true, err) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0; i++) {
        rc = store_cache_unrow(s, ids[i], &digests[i], err);
        gone[i] = rc == 1;
    }
    rc = store_end(s, rc < 0 ? -1 : 0, err);
    for (size_t i = 0; i < n && rc >= 0; i++)
        if (gone[i])
            rc = store_blob_unlink(s, &digests[i], err);
    return rc;
}

static int drop_all(struct wh_store *s, const int64_t *ids, size_t n, struct wh_error *err)
{
    for (size_t at = 0; at < n; at += BATCH) {
        wh_autostorelock(s); /* given back between the batches */
        if (drop(s, ids + at, WH_MIN(n - at, (size_t)BATCH), err) < 0)
            return -1;
    }
    return 0;
}

int wh_cache_delete(struct wh_store *s, int64_t id, struct wh_error *err)
{
    wh_autostorelock(s);
    int64_t there = 0;
    int rc = store_number(s, err, 0, &there, "SELECT 1 FROM cache_entries WHERE id = ?", "i", id);
    if (rc <= 0)
        return rc;
    return drop(s, &id, 1, err) < 0 ? -1 : 1;
}

struct item {
    int64_t id;
    uint64_t size;
    bool pull, chosen;
};

static int load(struct wh_store *s, const char *repository, struct item **out, size_t *n,
                struct wh_error *err)
{
    wh_autostorelock(s);
    wh_autoquery *q =
        store_query(s, err,
                    "SELECT id, size, scope LIKE 'refs/pull/%' FROM cache_entries WHERE repo = ? "
                    "ORDER BY used",
                    "t", repository);
    int rc;
    size_t room = 0;
    while ((rc = q ? store_step(s, q, err) : -1) == 1) {
        if (*n == room)
            *out = wh_reallocarray(*out, room = room * 2 + 64, sizeof(**out));
        (*out)[(*n)++] = (struct item){.id = sqlite3_column_int64(q, 0),
                                       .size = (uint64_t)sqlite3_column_int64(q, 1),
                                       .pull = sqlite3_column_int(q, 2) != 0};
    }
    return rc;
}

/* A flood of one pull request must not push out what all others use. */
static size_t choose(struct item *list, size_t n, uint64_t max, int64_t *ids)
{
    uint64_t total = 0, pulls = 0;
    size_t chosen = 0;
    for (size_t i = 0; i < n; i++) {
        total += list[i].size;
        pulls += list[i].pull ? list[i].size : 0;
    }
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < n && total > max; i++) {
            struct item *e = &list[i];
            if (e->chosen || (pass == 0 && (!e->pull || pulls <= max / 2)))
                continue;
            e->chosen = true;
            total -= e->size;
            pulls -= e->pull ? e->size : 0;
            ids[chosen++] = e->id;
        }
    return chosen;
}

int64_t wh_cache_evict(struct wh_store *s, const char *repository, uint64_t max, struct wh_error *err)
{
    wh_autofree struct item *list = NULL;
    size_t n = 0;
    if (load(s, repository, &list, &n, err) < 0)
        return -1;
    wh_autofree int64_t *ids = wh_calloc(n + 1, sizeof(*ids));
    size_t chosen = choose(list, n, max, ids);
    return drop_all(s, ids, chosen, err) < 0 ? -1 : (int64_t)chosen;
}

static int64_t *ids_of(struct wh_store *s, sqlite3_stmt *q, size_t *n, struct wh_error *err)
{
    int64_t *ids = NULL;
    int rc;
    *n = 0;
    while ((rc = q ? store_step(s, q, err) : -1) == 1) {
        ids = wh_reallocarray(ids, *n + 1, sizeof(*ids));
        ids[(*n)++] = sqlite3_column_int64(q, 0);
    }
    if (rc < 0)
        free(wh_steal(&ids));
    else if (!ids)
        ids = wh_calloc(1, sizeof(*ids));
    return ids;
}

int64_t wh_cache_expire(struct wh_store *s, int64_t unused_since, struct wh_error *err)
{
    size_t n = 0;
    wh_autofree int64_t *ids = NULL;
    {
        wh_autostorelock(s);
        wh_autoquery *q =
            store_query(s, err,
                        "SELECT id FROM cache_entries WHERE (kind = 1 AND used < ?1) OR (expires > 0 "
                        "AND expires < ?2)",
                        "ii", unused_since, wh_now_ns());
        ids = ids_of(s, q, &n, err);
    }
    if (!ids || drop_all(s, ids, n, err) < 0)
        return -1;
    return (int64_t)n;
}

int64_t wh_cache_drop_generations(struct wh_store *s, const struct wh_cache_name *prefix, int64_t before,
                                  struct wh_error *err)
{
    size_t n = 0;
    wh_autofree int64_t *ids = NULL;
    size_t len = strlen(prefix->key);
    {
        wh_autostorelock(s);
        wh_autoquery *q = store_query(s, err,
                                      "SELECT id FROM (SELECT id, created FROM cache_entries WHERE kind = ?1 "
                                      "AND repo = ?2 AND scope = ?3 AND "
                                      "version = ?4 AND substr(key, 1, ?6) = ?5 ORDER BY seq DESC LIMIT -1 "
                                      "OFFSET 2) WHERE created < ?7",
                                      "ittttii", (int64_t)prefix->kind, prefix->repository, prefix->scope,
                                      prefix->version, prefix->key, (int64_t)len, before);
        ids = ids_of(s, q, &n, err);
    }
    if (!ids || drop_all(s, ids, n, err) < 0)
        return -1;
    return (int64_t)n;
}

int64_t *wh_upload_ids(struct wh_store *s, const char *job, size_t *n, struct wh_error *err)
{
    wh_autostorelock(s);
    wh_autoquery *q =
        store_query(s, err, "SELECT id FROM cache_uploads WHERE ?1 IS NULL OR job = ?1", "t", job);
    return ids_of(s, q, n, err);
}
