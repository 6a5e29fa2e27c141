/* The store's inside: the handle, the index, and what its files share. Every function here that takes a
 * handle and touches the index expects the handle's lock to be held (wh_autostorelock), unless it says
 * otherwise. */
#ifndef WH_STORE_INTERNAL_H
#define WH_STORE_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>
#include <uthash.h>

#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "wherry/store/store.h"

#define STORE_STATEMENTS 128              /* prepared statements kept by a handle */
#define STORE_BUSY_MS 30000               /* how long a writer waits for another process's transaction */
#define STORE_FLUSH_DELAY_MS 5000         /* a committed tree is made durable this soon */
#define STORE_TOUCH_BATCH 512             /* last uses collected before they are written */
#define STORE_SHORT_LOG (512 * 1024)      /* bytes of the index's log that stay in it at close */
#define STORE_RESERVE_BYTES (1024 * 1024) /* <state>/reserve: room for prune on a full disk */

/* What is leased, or used: a blob's digest, or the number of a layer or mount in the first 8 bytes, or the
 * hash of a folder's name. */
struct store_key {
    int64_t kind;
    unsigned char id[32];
};
struct store_use {
    struct store_key key;
    UT_hash_handle hh;
};

struct store_statement {
    const char *sql; /* compared by address: callers pass literals */
    sqlite3_stmt *stmt;
};

/* A folder or file that waits for its removal. */
struct store_trash {
    char *name; /* below ingest/ */
    int lock;   /* the dead session's lock, removed with it; else -1 */
    struct store_trash *next;
};

struct wh_store {
    char *dir;
    int dirfd, ingestfd, layersfd, blobsfd; /* blobsfd: blobs/sha256 */
    bool foreground, give;                  /* give: what root makes goes to uid:gid */
    uid_t uid;
    gid_t gid;
    char boot[40];
    char *charge;

    pthread_mutex_t lock; /* recursive */
    sqlite3 *db;
    int depth; /* of nested transactions */
    bool full; /* PRAGMA synchronous is FULL */
    struct store_statement statements[STORE_STATEMENTS];
    size_t nstatements;

    char *session; /* this handle's folder below ingest/; NULL until it is needed */
    int sessionlock, sessionfd;
    uint64_t serial; /* names inside it */

    struct store_use *leases, *touched;
    size_t ntouched;

    pthread_t janitor;
    pthread_cond_t wake;
    bool janitor_runs, stopping;
    uint64_t flush_at; /* wh_machine_ms(), 0: nothing to flush */
    struct store_trash *trash;
};

void store_lock(struct wh_store *s);
void store_unlock_ptr(struct wh_store **s);
#define wh_autostorelock(s)                                                                                  \
    __attribute__((cleanup(store_unlock_ptr))) struct wh_store *store_locked_ = ({                           \
        store_lock(s);                                                                                       \
        (s);                                                                                                 \
    });                                                                                                      \
    (void)store_locked_

/* ---- db.c ---- */
int store_db_open(struct wh_store *s, bool must_exist, struct wh_error *err);
void store_db_close(struct wh_store *s);
int store_db_fail(struct wh_store *s, struct wh_error *err, const char *doing);
/* A statement with its parameters bound, ready to step. types, one letter a parameter: i int64_t, t const
 * char * (NULL: null), d const struct wh_digest * (NULL: null), n null. */
sqlite3_stmt *store_query(struct wh_store *s, struct wh_error *err, const char *sql, const char *types, ...);
/* 1: a row, 0: the end (the statement is reset then), -1. */
int store_step(struct wh_store *s, sqlite3_stmt *stmt, struct wh_error *err);
/* Runs a statement without rows; the number of rows changed, or -1. */
int store_run(struct wh_store *s, struct wh_error *err, const char *sql, const char *types, ...);
/* One number; `absent` where there is no row or it is null. */
int store_number(struct wh_store *s, struct wh_error *err, int64_t absent, int64_t *out, const char *sql,
                 const char *types, ...);
int store_begin(struct wh_store *s, bool durable, struct wh_error *err); /* BEGIN IMMEDIATE; nests */
/* Commits where rc >= 0, else rolls back; returns rc, or -1 if the commit fails. Nested ends only count. */
int store_end(struct wh_store *s, int rc, struct wh_error *err);
bool store_col_digest(sqlite3_stmt *stmt, int col, struct wh_digest *out);
char *store_col_text(sqlite3_stmt *stmt, int col); /* owned; NULL for null */
void store_reset(sqlite3_stmt **stmt);
#define wh_autoquery __attribute__((cleanup(store_reset))) sqlite3_stmt

/* ---- schema.c ---- */
/* The tables that a store of format `from` (0: none yet) lacks. */
int store_schema_create(struct wh_store *s, int from, struct wh_error *err);

/* ---- ingest.c ---- */
/* An exclusive or shared flock on a file that is (still) of that name: the descriptor, -2 if another holds
 * it, -1. */
int store_flock(struct wh_store *s, int dirfd, const char *name, bool create, bool exclusive,
                struct wh_error *err);
int store_session(struct wh_store *s,
                  struct wh_error *err); /* makes the session's folder, if it is not there yet */
bool store_session_lives(struct wh_store *s, const char *session);
/* Finds the folders of dead sessions and queues them. */
int store_sweep(struct wh_store *s, struct wh_error *err);
/* Moves dirfd/name into the session's folder and queues it for removal. */
int store_discard_at(struct wh_store *s, int dirfd, const char *name, struct wh_error *err);
void store_trash_run(struct wh_store *s); /* removes what is queued; takes the lock only to pick */
void store_session_end(struct wh_store *s);
int store_own(const struct wh_store *s, int dirfd, const char *name, struct wh_error *err);
int store_mkdir(const struct wh_store *s, int dirfd, const char *name, mode_t mode,
                struct wh_error *err); /* existing: fine */

/* ---- janitor.c ---- */
void store_janitor_wake(struct wh_store *s);
void store_janitor_stop(struct wh_store *s);
void store_flush_soon(struct wh_store *s);
int store_drop_other_boots(struct wh_store *s, struct wh_error *err);

/* ---- lease.c ---- */
struct store_key store_key_number(enum wh_store_kind kind, int64_t number);
struct store_key store_key_digest(enum wh_store_kind kind, const struct wh_digest *digest);
/* 1, or 0 if the object is gone. */
int store_lease(struct wh_store *s, const struct store_key *key, struct wh_error *err);
/* The handle's memory of what it leases; also after a rollback took the rows. */
void store_forget_leases(struct wh_store *s);
void store_uses_free(struct store_use **list);
void store_touch(struct wh_store *s, const struct store_key *key);
int store_touch_write(struct wh_store *s, struct wh_error *err);
/* Drops the lease rows of sessions that have ended; inside a transaction. */
int store_lease_sweep(struct wh_store *s, struct wh_error *err);
/* 1 if some session leases it (others: but for this handle's); call store_lease_sweep() in the same
 * transaction first. */
int store_leased(struct wh_store *s, const struct store_key *key, bool others, struct wh_error *err);

/* ---- removal, in two steps: the rows in a durable transaction, then the bytes ---- */
#define STORE_BLOB_NAME 66 /* "ab/" + 62 + NUL */
void store_blob_name(const struct wh_digest *digest, char out[STORE_BLOB_NAME]);
/* Inside a transaction: 1 dropped, 0 leased (others: only other handles' leases count), -1. */
int store_blob_unrow(struct wh_store *s, const struct wh_digest *digest, bool others, struct wh_error *err);
int store_layer_unrow(struct wh_store *s, int64_t layer, bool others, struct wh_error *err);
/* After its commit. Does nothing to a blob that has a row again. */
int store_blob_unlink(struct wh_store *s, const struct wh_digest *digest, struct wh_error *err);
int store_layer_unlink(struct wh_store *s, int64_t layer, struct wh_error *err);
/* 1: leased, and its tree is there; 0: gone. */
int store_layer_usable(struct wh_store *s, int64_t layer, struct wh_error *err);
/* A row whose bytes were taken away by somebody else: drops it, and logs. */
void store_blob_lost(struct wh_store *s, const struct wh_digest *digest);
void store_layer_lost(struct wh_store *s, int64_t layer);
/* 1 dropped, 0 in use. Each is a transaction of its own. */
int store_mount_drop(struct wh_store *s, int64_t mount, struct wh_error *err);
int store_folder_drop(struct wh_store *s, const char *name, struct wh_error *err);
/* mounts/<folder>: where a mount lies, its lock beside it with ".lock". */
char *store_mount_folder(const char *scope, const char *name, int64_t instance);
/* ---- measure.c ---- */
/* Bytes (as ls shows them; a hard link once) and entries of a tree. Doesn't need the lock. */
int store_measure(int dirfd, const char *name, uint64_t *bytes, uint64_t *entries, struct wh_error *err);
/* Fills in the sizes that the index doesn't know yet. Not under the lock: it takes it in short turns. */
int store_measure_all(struct wh_store *s, struct wh_error *err);

/* ---- copy.c ---- */
/* Copies what is below one directory into another, empty one: owners, modes, times, hard links. Not under the
 * lock. */
int store_copy_tree(int from, int to, struct wh_error *err);

/* ---- items.c: all that can be collected ---- */
struct store_item {
    enum wh_store_kind kind;
    int64_t number;          /* layer, mount */
    struct wh_digest digest; /* blob, folder */
    char *name;              /* mount: "scope id"; folder: its name */
    char *detail;
    char *repo;
    uint64_t size;
    int64_t created, used;
    bool leased;
};
struct store_items {
    struct store_item *list; /* least recently used first */
    size_t n;
};
int store_items_load(struct wh_store *s, struct store_items *out, struct wh_error *err);
void store_items_free(struct store_items *items);
struct wh_store_item;
void store_item_show(const struct store_item *item, struct wh_store_item *out);

/* ---- orphans.c ---- */
/* Removes blobs and trees that no row names; their number. Not under the lock. */
int64_t store_orphans_sweep(struct wh_store *s, struct wh_error *err);

/* ---- reserve.c ---- */
void store_reserve_make(struct wh_store *s); /* best effort */
void store_reserve_drop(struct wh_store *s);

#endif
