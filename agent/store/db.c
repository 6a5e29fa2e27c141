/* The index: one SQLite connection per handle, in WAL mode, with prepared statements kept. */
#include <errno.h>
#include <sys/file.h>
#include <unistd.h>

#include "store/internal.h"

void store_lock(struct wh_store *s)
{
    pthread_mutex_lock(&s->lock);
}

void store_unlock_ptr(struct wh_store **s)
{
    pthread_mutex_unlock(&(*s)->lock);
}

int store_db_fail(struct wh_store *s, struct wh_error *err, const char *doing)
{
    int code = s->db ? sqlite3_extended_errcode(s->db) : SQLITE_NOMEM;
    const char *text = s->db ? sqlite3_errmsg(s->db) : "out of memory";
    int sys = s->db ? sqlite3_system_errno(s->db) : 0;
    switch (code & 0xff) {
    case SQLITE_FULL:
        return wh_fail(err, WH_E_NO_SPACE,
                       "%s/index.db: %s: the disk is full; `wherry cache prune` makes room", s->dir, doing);
    case SQLITE_IOERR:
        if (sys == ENOSPC || sys == EDQUOT || code == SQLITE_IOERR_SHMSIZE)
            return wh_fail(err, WH_E_NO_SPACE,
                           "%s/index.db: %s: the disk is full; `wherry cache prune` makes room", s->dir,
                           doing);
        return wh_fail(err, WH_E_IO, "%s/index.db: %s: %s", s->dir, doing, text);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return wh_fail(err, WH_E_BUSY, "%s/index.db: %s: another process has held it for %d seconds", s->dir,
                       doing, STORE_BUSY_MS / 1000);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return wh_fail(err, WH_E_CORRUPT, "%s/index.db: %s: %s; move the folder away to start anew", s->dir,
                       doing, text);
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return wh_fail(err, sys == ENOSPC ? WH_E_NO_SPACE : WH_E_DENIED, "%s/index.db: %s: %s%s%s", s->dir,
                       doing, text, sys ? ": " : "", sys ? strerror(sys) : "");
    default:
        return wh_fail(err, WH_E_FAILED, "%s/index.db: %s: %s", s->dir, doing, text);
    }
}

static int user_version(struct wh_store *s, int *out, struct wh_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW ? 0 : store_db_fail(s, err, "reading its format number");
}

static int exec(struct wh_store *s, const char *sql, const char *doing, struct wh_error *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : store_db_fail(s, err, doing);
}

static int lock_folder(struct wh_store *s, struct wh_error *err)
{
    while (flock(s->dirfd, LOCK_EX) < 0)
        if (errno != EINTR)
            return wh_fail_errno(err, "%s: cannot be locked", s->dir);
    return 0;
}

/* Under a lock on the state folder, so that of several processes one creates, or brings an older format up.
 */
static int create(struct wh_store *s, struct wh_error *err)
{
    if (lock_folder(s, err) < 0)
        return -1;
    int version = 0;
    int rc = user_version(s, &version, err);
    if (rc == 0 && version == 0)
        rc = exec(s, "PRAGMA journal_mode = WAL", "switching to WAL", err);
    if (rc == 0 && version < WH_STORE_FORMAT)
        rc = store_schema_create(s, version, err);
    flock(s->dirfd, LOCK_UN);
    return rc;
}

/* Root makes it for another: the file must have its owner before SQLite opens it, since the log and the
 * shared memory beside it get the owner that it has then. */
static int give_file(struct wh_store *s, struct wh_error *err)
{
    struct stat st;
    if (!s->give || (fstatat(s->dirfd, "index.db", &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid == s->uid))
        return 0;
    if (lock_folder(s, err) < 0)
        return -1;
    wh_autoclose int fd = openat(s->dirfd, "index.db", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = fd < 0 || fchown(fd, s->uid, s->gid) < 0 ? wh_fail_errno(err, "%s/index.db", s->dir) : 0;
    flock(s->dirfd, LOCK_UN);
    return rc;
}

int store_db_open(struct wh_store *s, bool must_exist, struct wh_error *err)
{
    if (!must_exist && give_file(s, err) < 0)
        return -1;
    wh_autofree char *path = wh_path_join(s->dir, "index.db");
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    if (!must_exist)
        flags |= SQLITE_OPEN_CREATE;
    if (sqlite3_open_v2(path, &s->db, flags, NULL) != SQLITE_OK)
        return store_db_fail(s, err, "opening it");
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, STORE_BUSY_MS);
    if (exec(s, "PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8000",
             "setting it up", err) < 0)
        return -1;
    int version = 0;
    if (user_version(s, &version, err) < 0)
        return -1;
    if (version == 0 && must_exist)
        return wh_fail(err, WH_E_NOT_FOUND, "%s: there is no wherry store here", s->dir);
    if (version < WH_STORE_FORMAT && (create(s, err) < 0 || user_version(s, &version, err) < 0))
        return -1;
    if (version > WH_STORE_FORMAT)
        return wh_fail(
            err, WH_E_UNSUPPORTED,
            "%s: this store has format %d and this wherry knows formats up to %d: it was made by a newer "
            "wherry; use that one, or another folder (--state)",
            s->dir, version, WH_STORE_FORMAT);
    return 0;
}

/* SQLite moves the log into the database when the last connection closes: two fsyncs, eight milliseconds, of
 * every build. A short log is read again at the next open in much less. */
static void keep_short_log(struct wh_store *s)
{
    struct stat st;
    if (s->db && fstatat(s->dirfd, "index.db-wal", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_size < STORE_SHORT_LOG)
        sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
}

void store_db_close(struct wh_store *s)
{
    keep_short_log(s);
    for (size_t i = 0; i < s->nstatements; i++)
        sqlite3_finalize(s->statements[i].stmt);
    s->nstatements = 0;
    sqlite3_close_v2(s->db);
    s->db = NULL;
}

/* ---- statements ---- */

static sqlite3_stmt *prepared(struct wh_store *s, const char *sql, struct wh_error *err)
{
    for (size_t i = 0; i < s->nstatements; i++)
        if (s->statements[i].sql == sql) {
            sqlite3_reset(s->statements[i].stmt);
            return s->statements[i].stmt;
        }
    if (s->nstatements == STORE_STATEMENTS) {
        wh_fail(err, WH_E_LIMIT, "more than %d statements on the index", STORE_STATEMENTS);
        return NULL;
    }
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL) != SQLITE_OK) {
        store_db_fail(s, err, sql);
        return NULL;
    }
    s->statements[s->nstatements++] = (struct store_statement){sql, stmt};
    return stmt;
}

static void bind(sqlite3_stmt *stmt, const char *types, va_list args)
{
    for (int i = 0; types[i] != '\0'; i++) {
        const struct wh_digest *digest = NULL;
        switch (types[i]) {
        case 'i':
            sqlite3_bind_int64(stmt, i + 1, va_arg(args, int64_t));
            break;
        case 't':
            sqlite3_bind_text(stmt, i + 1, va_arg(args, const char *), -1, SQLITE_TRANSIENT);
            break;
        case 'd':
            digest = va_arg(args, const struct wh_digest *);
            sqlite3_bind_blob(stmt, i + 1, digest ? digest->bytes : NULL, sizeof(digest->bytes),
                              SQLITE_TRANSIENT);
            break;
        default:
            sqlite3_bind_null(stmt, i + 1);
        }
    }
}

sqlite3_stmt *store_query(struct wh_store *s, struct wh_error *err, const char *sql, const char *types, ...)
{
    sqlite3_stmt *stmt = prepared(s, sql, err);
    if (!stmt)
        return NULL;
    va_list args;
    va_start(args, types);
    bind(stmt, types, args);
    va_end(args);
    return stmt;
}

int store_step(struct wh_store *s, sqlite3_stmt *stmt, struct wh_error *err)
{
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        return 1;
    if (rc != SQLITE_DONE) {
        /* The statement's text is for causes that nobody expects. */
        bool ours =
            (rc & 0xff) == SQLITE_ERROR || (rc & 0xff) == SQLITE_CONSTRAINT || (rc & 0xff) == SQLITE_MISUSE;
        store_db_fail(s, err, ours ? sqlite3_sql(stmt) : sqlite3_stmt_readonly(stmt) ? "reading" : "writing");
    }
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? 0 : -1;
}

int store_run(struct wh_store *s, struct wh_error *err, const char *sql, const char *types, ...)
{
    sqlite3_stmt *stmt = prepared(s, sql, err);
    if (!stmt)
        return -1;
    va_list args;
    va_start(args, types);
    bind(stmt, types, args);
    va_end(args);
    int rc = store_step(s, stmt, err);
    if (rc == 1)
        sqlite3_reset(stmt);
    return rc < 0 ? -1 : sqlite3_changes(s->db);
}

int store_number(struct wh_store *s, struct wh_error *err, int64_t absent, int64_t *out, const char *sql,
                 const char *types, ...)
{
    sqlite3_stmt *stmt = prepared(s, sql, err);
    if (!stmt)
        return -1;
    va_list args;
    va_start(args, types);
    bind(stmt, types, args);
    va_end(args);
    int rc = store_step(s, stmt, err);
    if (rc < 0)
        return -1;
    *out = absent;
    if (rc == 1 && sqlite3_column_type(stmt, 0) != SQLITE_NULL)
        *out = sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return rc;
}

void store_reset(sqlite3_stmt **stmt)
{
    if (*stmt)
        sqlite3_reset(*stmt);
}

bool store_col_digest(sqlite3_stmt *stmt, int col, struct wh_digest *out)
{
    if (sqlite3_column_bytes(stmt, col) != (int)sizeof(out->bytes))
        return false;
    memcpy(out->bytes, sqlite3_column_blob(stmt, col), sizeof(out->bytes));
    return true;
}

char *store_col_text(sqlite3_stmt *stmt, int col)
{
    return wh_strdup((const char *)sqlite3_column_text(stmt, col));
}

/* ---- transactions ---- */

int store_begin(struct wh_store *s, bool durable, struct wh_error *err)
{
    if (s->depth > 0) {
        s->depth++;
        return 0;
    }
    if (durable != s->full) {
        if (exec(s, durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", "setting it up",
                 err) < 0)
            return -1;
        s->full = durable;
    }
    if (store_run(s, err, "BEGIN IMMEDIATE", "") < 0)
        return -1;
    s->depth = 1;
    return 0;
}

int store_end(struct wh_store *s, int rc, struct wh_error *err)
{
    if (s->depth > 1) {
        s->depth--;
        return rc;
    }
    s->depth = 0;
    if (rc >= 0) {
        if (store_run(s, err, "COMMIT", "") >= 0)
            return rc;
        rc = -1;
    }
    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    store_forget_leases(s); /* some of their rows may be gone; the next use writes them anew */
    return rc;
}
