/* All that can be collected, in one list: for du, list and prune. */
#include <stdio.h>
#include <sys/statvfs.h>

#include "store/internal.h"
#include "wherry/store/gc.h"

void store_items_free(struct store_items *items)
{
    for (size_t i = 0; i < items->n; i++) {
        free(items->list[i].name);
        free(items->list[i].detail);
        free(items->list[i].repo);
    }
    free(items->list);
    *items = (struct store_items){NULL, 0};
}

static int by_use(const void *a, const void *b)
{
    const struct store_item *x = a, *y = b;
    return (x->used > y->used) - (x->used < y->used);
}

/* Columns: number, digest, name, detail, repo, size, created, used. */
static int load(struct wh_store *s, enum wh_store_kind kind, const char *sql, struct store_items *out,
                struct wh_error *err)
{
    size_t first = out->n;
    {
        wh_autoquery *q = store_query(s, err, sql, "");
        int rc;
        while ((rc = q ? store_step(s, q, err) : -1) == 1) {
            out->list = wh_reallocarray(out->list, out->n + 1, sizeof(*out->list));
            struct store_item *item = &out->list[out->n++];
            int64_t size = sqlite3_column_int64(q, 5);
            *item = (struct store_item){.kind = kind,
                                        .number = sqlite3_column_int64(q, 0),
                                        .name = store_col_text(q, 2),
                                        .detail = store_col_text(q, 3),
                                        .repo = store_col_text(q, 4),
                                        .size = size > 0 ? (uint64_t)size : 0,
                                        .created = sqlite3_column_int64(q, 6),
                                        .used = sqlite3_column_int64(q, 7)};
            store_col_digest(q, 1, &item->digest);
        }
        if (rc < 0)
            return -1;
    }
    for (size_t i = first; i < out->n; i++) {
        struct store_item *item = &out->list[i];
        struct store_key key = kind == WH_STORE_BLOB || kind == WH_STORE_FOLDER
                                   ? store_key_digest(kind, &item->digest)
                                   : store_key_number(kind, item->number);
        int rc = store_leased(s, &key, false, err);
        if (rc < 0)
            return -1;
        item->leased = rc == 1;
    }
    return 0;
}

int store_items_load(struct wh_store *s, struct store_items *out, struct wh_error *err)
{
    *out = (struct store_items){NULL, 0};
    if (store_lease_sweep(s, err) < 0 ||
        load(
            s, WH_STORE_BLOB,
            "SELECT 0, digest, NULL, (SELECT format || ' of sha256:' || lower(hex(diffid)) FROM layer_blobs l"
            "  WHERE l.digest = b.digest LIMIT 1), repo, size, created, used FROM blobs b",
            out, err) < 0 ||
        load(s, WH_STORE_LAYER,
             "SELECT id, NULL, NULL, 'sha256:' || lower(hex(diffid)), repo, size, created, used FROM layers",
             out, err) < 0 ||
        load(s, WH_STORE_MOUNT,
             "SELECT id, NULL, scope || ' ' || name, 'instance ' || instance, repo, size, created, used FROM "
             "mounts",
             out, err) < 0 ||
        load(s, WH_STORE_FOLDER, "SELECT 0, hash, name, NULL, repo, size, created, used FROM folders", out,
             err) < 0) {
        store_items_free(out);
        return -1;
    }
    if (out->n > 0)
        qsort(out->list, out->n, sizeof(*out->list), by_use);
    return 0;
}

void store_item_show(const struct store_item *item, struct wh_store_item *out)
{
    *out = (struct wh_store_item){.kind = item->kind,
                                  .size = item->size,
                                  .created = item->created,
                                  .used = item->used,
                                  .leased = item->leased};
    if (item->kind == WH_STORE_BLOB)
        wh_digest_text(&item->digest, out->name);
    else if (item->kind == WH_STORE_LAYER)
        snprintf(out->name, sizeof(out->name), "%lld", (long long)item->number);
    else
        snprintf(out->name, sizeof(out->name), "%s", item->name);
    snprintf(out->detail, sizeof(out->detail), "%s", item->detail ? item->detail : "");
    snprintf(out->repository, sizeof(out->repository), "%s", item->repo ? item->repo : "");
}

int wh_store_list(struct wh_store *s, int (*each)(void *arg, const struct wh_store_item *item), void *arg,
                  struct wh_error *err)
{
    struct store_items items;
    {
        wh_autostorelock(s);
        if (store_items_load(s, &items, err) < 0)
            return -1;
    }
    int rc = 0;
    for (size_t i = 0; i < items.n && rc == 0; i++) {
        struct wh_store_item shown;
        store_item_show(&items.list[i], &shown);
        rc = each(arg, &shown);
    }
    store_items_free(&items);
    return rc;
}

static int count(struct wh_store *s, const char *sql, uint64_t *out, struct wh_error *err)
{
    int64_t n;
    if (store_number(s, err, 0, &n, sql, "") < 0)
        return -1;
    *out = (uint64_t)n;
    return 0;
}

static uint64_t file_size(struct wh_store *s, const char *name)
{
    struct stat st;
    return fstatat(s->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? 0 : (uint64_t)st.st_size;
}

static void add_item(struct wh_store_usage *u, const struct store_item *item)
{
    uint64_t *numbers[][2] = {
        [WH_STORE_BLOB] = {&u->blobs, &u->blob_bytes},
        [WH_STORE_LAYER] = {&u->layers, &u->layer_bytes},
        [WH_STORE_MOUNT] = {&u->mounts, &u->mount_bytes},
        [WH_STORE_FOLDER] = {&u->folders, &u->folder_bytes},
    };
    ++*numbers[item->kind][0];
    *numbers[item->kind][1] += item->size;
    if (item->leased)
        u->leased_bytes += item->size;
}

int wh_store_du(struct wh_store *s, struct wh_store_usage *out, struct wh_error *err)
{
    memset(out, 0, sizeof(*out));
    if (store_measure_all(s, err) < 0)
        return -1;
    struct store_items items;
    {
        wh_autostorelock(s);
        if (store_items_load(s, &items, err) < 0)
            return -1;
        for (size_t i = 0; i < items.n; i++)
            add_item(out, &items.list[i]);
        store_items_free(&items);
        if (count(s, "SELECT count(*) FROM records", &out->records, err) < 0 ||
            count(s, "SELECT count(*) FROM files", &out->files, err) < 0 ||
            count(s, "SELECT count(*) FROM segments", &out->segments, err) < 0)
            return -1;
    }
    out->index_bytes = file_size(s, "index.db") + file_size(s, "index.db-wal") + file_size(s, "index.db-shm");
    if (store_measure(s->dirfd, "ingest", &out->ingest_bytes, NULL, err) < 0)
        return -1;
    struct statvfs fs;
    if (fstatvfs(s->dirfd, &fs) < 0)
        return wh_fail_errno(err, "%s", s->dir);
    out->disk_free = (uint64_t)fs.f_bavail * fs.f_frsize;
    out->disk_total = (uint64_t)fs.f_blocks * fs.f_frsize;
    return 0;
}
