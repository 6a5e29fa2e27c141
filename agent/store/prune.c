/* Making room: by age, by quota, by what must stay free. Least recently used first; repositories that hold
 * more than their fair share give first. Never what is leased. */
#include <sys/statvfs.h>

#include "store/internal.h"
#include "wherry/store/gc.h"

#define BATCH 64                      /* rows dropped by one durable transaction */
#define LOW_DISK ((uint64_t)16 << 20) /* so little free: give up the reserve first */
#define STALE_NS                                                                                             \
    ((int64_t)60 * 86400 * 1000 * 1000000) /* rows that only remember: forgotten after 60 days               \
                                            */

struct owner {
    char *repo;
    uint64_t bytes;
    UT_hash_handle hh;
};

struct plan {
    struct store_items items;
    bool *drop;
    struct owner *owners;
    size_t nowners;
    uint64_t total;
};

static struct owner *owner_of(struct plan *p, const char *repo)
{
    struct owner *o;
    HASH_FIND_STR(p->owners, repo, o);
    if (o)
        return o;
    o = wh_calloc(1, sizeof(*o));
    o->repo = wh_strdup(repo);
    HASH_ADD_KEYPTR(hh, p->owners, o->repo, strlen(o->repo), o);
    p->nowners++;
    return o;
}

static void plan_free(struct plan *p)
{
    struct owner *o = p->owners;
    HASH_CLEAR(hh, p->owners);
    while (o) {
        struct owner *next = o->hh.next;
        free(o->repo);
        free(o);
        o = next;
    }
    store_items_free(&p->items);
    free(p->drop);
}

static void choose(struct plan *p, size_t i)
{
    p->drop[i] = true;
    p->total -= p->items.list[i].size;
    owner_of(p, p->items.list[i].repo)->bytes -= p->items.list[i].size;
}

static uint64_t disk_free(const struct wh_store *s)
{
    struct statvfs fs;
    return fstatvfs(s->dirfd, &fs) < 0 ? 0 : (uint64_t)fs.f_bavail * fs.f_frsize;
}

static void plan_make(const struct wh_store *s, struct plan *p, const struct wh_prune *how)
{
    p->drop = wh_calloc(p->items.n + 1, sizeof(*p->drop));
    for (size_t i = 0; i < p->items.n; i++) {
        p->total += p->items.list[i].size;
        owner_of(p, p->items.list[i].repo)->bytes += p->items.list[i].size;
    }
    int64_t oldest = how->max_age > 0 ? wh_now_ns() - how->max_age : INT64_MIN;
    uint64_t target = how->max_bytes > 0 ? how->max_bytes : UINT64_MAX;
    uint64_t free_now = disk_free(s);
    if (how->min_free > free_now) {
        uint64_t missing = how->min_free - free_now;
        target = WH_MIN(target, p->total > missing ? p->total - missing : 0);
    }
    for (size_t i = 0; i < p->items.n; i++)
        if (!p->items.list[i].leased && (how->all || p->items.list[i].used < oldest))
            choose(p, i);
    uint64_t share = p->nowners > 0 ? target / p->nowners : target;
    for (size_t i = 0; i < p->items.n && p->total > target; i++)
        if (!p->drop[i] && !p->items.list[i].leased && owner_of(p, p->items.list[i].repo)->bytes > share)
            choose(p, i);
    for (size_t i = 0; i < p->items.n && p->total > target; i++)
        if (!p->drop[i] && !p->items.list[i].leased)
            choose(p, i);
}

static int unrow(struct wh_store *s, const struct store_item *item, struct wh_error *err)
{
    if (item->kind == WH_STORE_BLOB)
        return store_blob_unrow(s, &item->digest, false, err);
    return store_layer_unrow(s, item->number, false, err);
}

/* Up to BATCH blobs and layers: the rows in one durable transaction, then the bytes. */
static int drop_batch(struct wh_store *s, struct store_item **batch, size_t n, bool dropped[BATCH],
                      struct wh_error *err)
{
    wh_autostorelock(s);
    if (store_begin(s, true, err) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; i < n && rc >= 0; i++) {
        rc = unrow(s, batch[i], err);
        dropped[i] = rc == 1;
    }
    rc = store_end(s, rc < 0 ? -1 : 0, err);
    for (size_t i = 0; i < n && rc >= 0; i++)
        if (dropped[i])
            rc = batch[i]->kind == WH_STORE_BLOB ? store_blob_unlink(s, &batch[i]->digest, err)
                                                 : store_layer_unlink(s, batch[i]->number, err);
    return rc;
}

static int tell(const struct wh_prune *how, const struct store_item *item, struct wh_prune_result *out)
{
    out->items++;
    out->bytes += item->size;
    if (!how->progress)
        return 0;
    struct wh_store_item shown;
    store_item_show(item, &shown);
    return how->progress(how->arg, &shown);
}

static int flush_batch(struct wh_store *s, const struct wh_prune *how, struct store_item **batch, size_t *n,
                       struct wh_prune_result *out, struct wh_error *err)
{
    bool dropped[BATCH] = {false};
    int rc = *n > 0 ? drop_batch(s, batch, *n, dropped, err) : 0;
    for (size_t i = 0; i < *n && rc == 0; i++)
        if (dropped[i])
            rc = tell(how, batch[i], out);
    *n = 0;
    store_trash_run(s); /* now, so that the room is there for the next batch's transaction */
    return rc;
}

static int drop_other(struct wh_store *s, const struct store_item *item, struct wh_error *err)
{
    wh_autostorelock(s);
    return item->kind == WH_STORE_MOUNT ? store_mount_drop(s, item->number, err)
                                        : store_folder_drop(s, item->name, err);
}

static int carry_out(struct wh_store *s, struct plan *p, const struct wh_prune *how,
                     struct wh_prune_result *out, struct wh_error *err)
{
    struct store_item *batch[BATCH];
    size_t n = 0;
    int rc = 0;
    for (size_t i = 0; i < p->items.n && rc == 0; i++) {
        struct store_item *item = &p->items.list[i];
        if (!p->drop[i])
            continue;
        if (how->dry_run) {
            rc = tell(how, item, out);
        } else if (item->kind == WH_STORE_BLOB || item->kind == WH_STORE_LAYER) {
            batch[n++] = item;
            if (n == BATCH)
                rc = flush_batch(s, how, batch, &n, out, err);
        } else {
            rc = drop_other(s, item, err);
            if (rc == 1)
                rc = tell(how, item, out);
        }
    }
    return rc != 0 ? rc : flush_batch(s, how, batch, &n, out, err);
}

/* Rows that only remember something. */
static int forget(struct wh_store *s, bool all, struct wh_error *err)
{
    wh_autostorelock(s);
    int64_t before = all ? INT64_MAX : wh_now_ns() - STALE_NS;
    if (store_begin(s, false, err) < 0)
        return -1;
    static const char *const sql[] = {
        "DELETE FROM files WHERE used < ?",
        "DELETE FROM images WHERE seen < ?",
        "DELETE FROM blob_places WHERE seen < ?",
        "DELETE FROM records WHERE used < ?1 AND layer IS NULL"
        " AND NOT EXISTS(SELECT 1 FROM layer_blobs l JOIN blobs b ON b.digest = l.digest WHERE l.diffid = "
        "records.diffid)",
        "DELETE FROM layer_blobs WHERE ?1 > 0 AND NOT EXISTS(SELECT 1 FROM blobs b WHERE b.digest = "
        "layer_blobs.digest)"
        " AND NOT EXISTS(SELECT 1 FROM layers y WHERE y.diffid = layer_blobs.diffid)"
        " AND NOT EXISTS(SELECT 1 FROM records r WHERE r.diffid = layer_blobs.diffid)",
    };
    int rc = 0;
    for (size_t i = 0; i < WH_COUNT(sql) && rc >= 0; i++)
        rc = store_run(s, err, sql[i], "i", before);
    return store_end(s, rc < 0 ? -1 : 0, err);
}

static int sweep_dead(struct wh_store *s, struct wh_error *err)
{
    wh_autostorelock(s);
    if (store_touch_write(s, err) < 0)
        return -1;
    return store_sweep(s, err);
}

int wh_store_prune(struct wh_store *s, const struct wh_prune *how, struct wh_prune_result *out,
                   struct wh_error *err)
{
    memset(out, 0, sizeof(*out));
    bool low = disk_free(s) < LOW_DISK;
    if (low && !how->dry_run)
        store_reserve_drop(s);
    if (!how->dry_run) {
        if (sweep_dead(s, err) < 0)
            return -1;
        store_trash_run(s);
        int64_t orphans = store_orphans_sweep(s, err);
        if (orphans < 0)
            return -1;
        out->orphans = (uint64_t)orphans;
        store_trash_run(s);
    }
    if (store_measure_all(s, err) < 0)
        return -1;
    struct plan p = {0};
    int rc;
    {
        wh_autostorelock(s);
        rc = store_items_load(s, &p.items, err);
    }
    if (rc == 0) {
        plan_make(s, &p, how);
        out->left = p.total;
        rc = carry_out(s, &p, how, out, err);
    }
    plan_free(&p);
    if (how->dry_run)
        return rc;
    if (rc == 0)
        rc = forget(s, how->all, err);
    store_lock(s);
    if (how->all && rc == 0) /* what verify put aside: whoever wanted to look has done so */
        rc = store_discard_at(s, s->dirfd, "quarantine", err);
    sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    pthread_mutex_unlock(&s->lock);
    store_trash_run(s);
    store_reserve_make(s);
    return rc;
}
