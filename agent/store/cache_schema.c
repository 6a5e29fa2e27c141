/* Tables of the cache service, made when a service first uses a store: a wherry that doesn't know them leaves
 * them alone, and its prune takes the entries of a blob with it by the trigger. */
#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#include "store/cache_internal.h"

static const char tables[] =
    "CREATE TABLE IF NOT EXISTS cache_entries(id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, kind INTEGER NOT "
    "NULL, repo TEXT NOT NULL, scope TEXT NOT NULL, version TEXT NOT NULL, key TEXT NOT NULL, digest BLOB "
    "NOT "
    "NULL, size INTEGER NOT NULL, job TEXT NOT NULL, mime TEXT, created INTEGER NOT NULL, used INTEGER NOT "
    "NULL, expires INTEGER NOT NULL, UNIQUE(kind, repo, scope, version, key));"
    "CREATE INDEX IF NOT EXISTS cache_entries_seq ON cache_entries(kind, repo, scope, version, seq);"
    "CREATE INDEX IF NOT EXISTS cache_entries_digest ON cache_entries(digest);"
    "CREATE INDEX IF NOT EXISTS cache_entries_used ON cache_entries(repo, used);"
    "CREATE TABLE IF NOT EXISTS cache_uploads(id INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, "
    "repo "
    "TEXT NOT NULL, scope TEXT NOT NULL, version TEXT NOT NULL, key TEXT NOT NULL, job TEXT NOT NULL, mime "
    "TEXT, created INTEGER NOT NULL, expires INTEGER NOT NULL, UNIQUE(kind, repo, scope, version, key));"
    "CREATE INDEX IF NOT EXISTS cache_uploads_job ON cache_uploads(job);"
    /* A row never names bytes that are not there, whoever removes the blob. */
    "CREATE TRIGGER IF NOT EXISTS cache_entries_gone AFTER DELETE ON blobs BEGIN"
    "  DELETE FROM cache_entries WHERE digest = OLD.digest; END;";

int store_uploads_folder(struct wh_store *s, struct wh_error *err)
{
    int fd = openat(s->dirfd, STORE_UPLOADS, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? wh_fail_errno(err, "%s/" STORE_UPLOADS, s->dir) : fd;
}

/* Files of uploads that have no row. Inside a transaction, so that none is just being reserved. */
static int sweep(struct wh_store *s, struct wh_error *err)
{
    wh_autoclose int folder = store_uploads_folder(s, err);
    int copy = folder < 0 ? -1 : openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0)
        return folder < 0 ? -1 : wh_fail_errno(err, "%s/" STORE_UPLOADS, s->dir);
    DIR *list = fdopendir(copy);
    if (!list) {
        close(copy);
        return wh_fail_errno(err, "%s/" STORE_UPLOADS, s->dir);
    }
    int rc = 0;
    for (const struct dirent *e; rc >= 0 && (e = readdir(list));) {
        if (e->d_name[0] == '.' || e->d_name[0] == 'k') /* the key */
            continue;
        wh_autofree char *name = wh_strndup(e->d_name, strcspn(e->d_name, "."));
        int64_t id = 0, there = 0;
        if (wh_parse_i64(name, 1, INT64_MAX, &id) &&
            store_number(s, err, 0, &there, "SELECT 1 FROM cache_uploads WHERE id = ?", "i", id) < 0)
            rc = -1;
        else if (!there)
            (void)unlinkat(folder, e->d_name, 0);
    }
    closedir(list);
    return rc;
}

int wh_cache_prepare(struct wh_store *s, struct wh_error *err)
{
    wh_autostorelock(s);
    if (store_mkdir(s, s->dirfd, STORE_UPLOADS, 0700, err) < 0 || store_begin(s, true, err) < 0)
        return -1;
    int rc = 0;
    if (sqlite3_exec(s->db, tables, NULL, NULL, NULL) != SQLITE_OK)
        rc = store_db_fail(s, err, "creating the tables of the cache service");
    if (rc == 0)
        rc = sweep(s, err);
    return store_end(s, rc, err);
}
