/* The store: everything that outlives a job. One folder on the local disk, used by several processes at once
 * (agent, builders, `wherry cache`), described in docs/store.md.
 *
 * A handle is thread-safe: every call takes the handle's lock for as long as it needs the index. Don't carry
 * a handle over fork(). No row of the index ever names bytes that are not there: files enter by ingest ->
 * fsync -> rename -> fsync of the folder -> row; trees by rename -> row with the boot's id -> one syncfs()
 * for many.
 *
 * Strings that are returned are owned by the caller unless the comment says borrowed. Sizes are bytes, times
 * are ns since 1970 (wh_now_ns()). */
#ifndef WH_STORE_STORE_H
#define WH_STORE_STORE_H

#include <sys/types.h>

#include "wherry/base/digest.h"

#define WH_STORE_FORMAT                                                                                      \
    2 /* the index's user_version; a newer one is refused with a sentence, an older one brought up */

struct wh_store;

struct wh_store_options {
    const char *dir; /* the state folder, as wh_state_dir() gives it */
    bool must_exist; /* don't create a store where there is none (WH_E_NOT_FOUND then) */
    bool foreground; /* no thread of its own: left-overs are removed and trees flushed by wh_store_close() */
    bool set_owner; /* root only: a store that is created now belongs to uid:gid; later all that root makes in
                     */
    uid_t uid;      /* it is given to the owner of the folder */
    gid_t gid;
};

/* Opens the store, creating the folder (0700) and its index if need be. Costs about a millisecond: nothing is
 * scanned. Drops rows of trees that another boot never flushed, and starts the removal of what dead processes
 * left in ingest/. */
struct wh_store *wh_store_open(const struct wh_store_options *options, struct wh_error *err);
/* Flushes (wh_store_flush), drops the leases, removes this process's ingest folder, frees. NULL is fine. */
void wh_store_close(struct wh_store *s);
void wh_store_close_ptr(struct wh_store **s);
#define wh_autostore __attribute__((cleanup(wh_store_close_ptr))) struct wh_store

/* Whom disk use is charged to from now on ("owner/repository"; "" for nobody): prune keeps shares fair by it.
 */
void wh_store_charge(struct wh_store *s, const char *repository);

const char *wh_store_dir(const struct wh_store *s); /* absolute; borrowed */
/* <state>/<room>/<rest>, with the folders above the last component made (0700). For rooms that keep folders
 * of their own in the store: "git", "actions", "tools". rest holds no empty, "." or ".." component. NULL on
 * error. */
char *wh_store_place(struct wh_store *s, const char *room, const char *rest, struct wh_error *err);

/* Makes every committed tree and lazy blob durable by one syncfs(). Also done by a thread of the handle
 * within some seconds, and by wh_store_close(). */
int wh_store_flush(struct wh_store *s, struct wh_error *err);

/* A fresh name below this process's ingest folder, for scratch files and folders on the store's file system;
 * nothing is created but the folder above. Gone with the process. */
char *wh_store_scratch(struct wh_store *s, const char *hint, struct wh_error *err);
/* Moves a path of the store's file system out of the way and removes it in the background. */
int wh_store_discard(struct wh_store *s, const char *path, struct wh_error *err);

/* ---- leases: what a running build uses is never collected ---- */
enum wh_store_kind { WH_STORE_BLOB = 1, WH_STORE_LAYER = 2, WH_STORE_MOUNT = 3, WH_STORE_FOLDER = 4 };
/* 1: leased until the handle is closed or the process ends; 0: no longer in the store. Calls that return a
 * layer or a blob's digest from the index (wh_record_find, wh_layer_by_..., wh_layer_blob) lease it
 * themselves. */
int wh_store_lease_layer(struct wh_store *s, int64_t layer, struct wh_error *err);
int wh_store_lease_blob(struct wh_store *s, const struct wh_digest *digest, struct wh_error *err);
/* Drops all leases of this handle (an agent between two builds). */
int wh_store_unlease(struct wh_store *s, struct wh_error *err);

#endif
