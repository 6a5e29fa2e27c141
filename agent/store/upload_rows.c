/* Names that are reserved: rows of uploads. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "store/cache_internal.h"

#define UPLOAD_COLUMNS "id, kind, repo, scope, version, key, job, mime, created, expires"

void store_upload_name(int64_t id, const char *kind, char out[48])
{
    snprintf(out, 48, "%lld.%s", (long long)id, kind);
}

void store_upload_unlink(int folder, int64_t id)
{
    static const char *const kinds[] = {"data", "log", "new"};
    char name[48];
    for (size_t i = 0; i < WH_COUNT(kinds); i++) {
        store_upload_name(id, kinds[i], name);
        (void)unlinkat(folder, name, 0);
    }
}

void wh_upload_row_clear(struct wh_upload_row *r)
{
    free(r->repository);
    free(r->scope);
    free(r->version);
    free(r->key);
    free(r->job);
    free(r->mime);
    memset(r, 0, sizeof(*r));
}

static void read_row(sqlite3_stmt *q, struct wh_upload_row *out)
{
    *out = (struct wh_upload_row){.id = sqlite3_column_int64(q, 0),
                                  .kind = (enum wh_cache_kind)sqlite3_column_int(q, 1),
                                  .repository = store_col_text(q, 2),
                                  .scope = store_col_text(q, 3),
                                  .version = store_col_text(q, 4),
                                  .key = store_col_text(q, 5),
                                  .job = store_col_text(q, 6),
                                  .mime = store_col_text(q, 7),
                                  .created = sqlite3_column_int64(q, 8),
                                  .expires = sqlite3_column_int64(q, 9)};
}

static bool too_long(const char *text)
{
    return strlen(text) > WH_MAX_CACHE_NAME;
}

static int64_t reserve(struct wh_store *s, const struct wh_cache_name *name, const char *job,
                       const char *mime, int64_t expires, struct wh_error *err)
{
    int64_t there = 0;
    int rc = store_number(
        s, err, 0, &there,
        "SELECT 1 FROM cache_entries WHERE kind = ? AND repo = ? AND scope = ? AND version = ? AND key = ?",
        "itttt", (int64_t)name->kind, name->repository, name->scope, name->version, name->key);
    if (rc < 0)
        return -1;
    if (rc == 0)
        rc = store_run(
            s, err,
            "INSERT INTO cache_uploads(kind, repo, scope, version, key, job, mime, created, expires) "
            "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(kind, repo, scope, version, key) DO NOTHING",
            "itttttt"
            "ii",
            (int64_t)name->kind, name->repository, name->scope, name->version, name->key, job, mime,
            wh_now_ns(), expires);
    else
        rc = 0;
    if (rc == 0)
        return wh_fail(err, WH_E_EXISTS, "there is an entry of that name");
    return rc < 0 ? -1 : sqlite3_last_insert_rowid(s->db);
}

int64_t wh_upload_reserve(struct wh_store *s, const struct wh_cache_name *name, const char *job,
                          const char *mime, int64_t expires, struct wh_error *err)
{
    if (too_long(name->repository) || too_long(name->scope) || too_long(name->version) || too_long(name->key))
        return wh_fail(err, WH_E_LIMIT, "a name of more than %d bytes", WH_MAX_CACHE_NAME);
    wh_autostorelock(s);
    if (store_begin(s, false, err) < 0)
        return -1;
    int64_t id = reserve(s, name, job, mime, expires, err);
    return store_end(s, id < 0 ? -1 : 0, err) < 0 ? -1 : id;
}

int wh_upload_find(struct wh_store *s, int64_t id, struct wh_upload_row *out, struct wh_error *err)
{
    wh_autostorelock(s);
    wh_autoquery *q =
        store_query(s, err, "SELECT " UPLOAD_COLUMNS " FROM cache_uploads WHERE id = ?", "i", id);
    int rc = q ? store_step(s, q, err) : -1;
    if (rc == 1)
        read_row(q, out);
    return rc;
}

int wh_upload_find_name(struct wh_store *s, const struct wh_cache_name *name, struct wh_upload_row *out,
                        struct wh_error *err)
{
    wh_autostorelock(s);
    wh_autoquery *q =
        store_query(s, err,
                    "SELECT " UPLOAD_COLUMNS
                    " FROM cache_uploads WHERE kind = ? AND repo = ? AND scope = ? AND version = ? "
                    "AND key = ?",
                    "itttt", (int64_t)name->kind, name->repository, name->scope, name->version, name->key);
    int rc = q ? store_step(s, q, err) : -1;
    if (rc == 1)
        read_row(q, out);
    return rc;
}

int wh_upload_set_mime(struct wh_store *s, int64_t id, const char *mime, struct wh_error *err)
{
    wh_autostorelock(s);
    return store_run(s, err, "UPDATE cache_uploads SET mime = ?2 WHERE id = ?1", "it", id, mime) < 0 ? -1 : 0;
}

int wh_upload_drop(struct wh_store *s, int64_t id, struct wh_error *err)
{
    wh_autostorelock(s);
    wh_autoclose int folder = store_uploads_folder(s, err);
    if (folder < 0)
        return -1;
    /* The bytes first: on a full disk the index can't be written before there is room. */
    store_upload_unlink(folder, id);
    return store_run(s, err, "DELETE FROM cache_uploads WHERE id = ?", "i", id) < 0 ? -1 : 0;
}

int64_t wh_upload_last(struct wh_store *s, int64_t id, struct wh_error *err)
{
    wh_autostorelock(s);
    int64_t created = 0;
    int rc = store_number(s, err, 0, &created, "SELECT created FROM cache_uploads WHERE id = ?", "i", id);
    wh_autoclose int folder = rc == 1 ? store_uploads_folder(s, err) : -1;
    if (rc <= 0 || folder < 0)
        return rc == 0 ? 0 : -1;
    struct stat st;
    char name[48];
    store_upload_name(id, "data", name);
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return created;
    return WH_MAX(created, (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
}
