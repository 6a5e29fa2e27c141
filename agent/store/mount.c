/* Cache mounts. A directory mounts/<scope>/<id>.<instance>/ and a lock file beside it: shared users hold the
 * lock shared, locked and private ones alone. */
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "store/internal.h"
#include "wherry/store/mount.h"

#define MAX_INSTANCES 256 /* private mounts of one id at once */
#define WAIT_MIN_MS 5
#define WAIT_MAX_MS 100

struct wh_cache_mount {
    struct wh_store *s;
    char *path;
    int lock;
    bool fresh;
};

/* Scopes and ids are free text: their hashes name the folders. */
static void hash16(const char *text, char out[17])
{
    struct wh_digest digest;
    char hex[WH_DIGEST_TEXT];
    wh_digest_of(text, strlen(text), &digest);
    wh_digest_text(&digest, hex);
    memcpy(out, hex + strlen("sha256:"), 16);
    out[16] = '\0';
}

char *store_mount_folder(const char *scope, const char *name, int64_t instance)
{
    char a[17], b[17];
    hash16(scope, a);
    hash16(name, b);
    return wh_printf("mounts/%s/%s.%lld", a, b, (long long)instance);
}

static int64_t mount_row(struct wh_store *s, const char *scope, const char *name, int64_t instance,
                         struct wh_error *err)
{
    int64_t now = wh_now_ns(), id = 0;
    if (store_run(s, err,
                  "INSERT INTO mounts(scope, name, instance, size, repo, created, used) VALUES(?1, ?2, ?3, "
                  "-1, ?4, ?5, ?5)"
                  " ON CONFLICT(scope, name, instance) DO UPDATE SET used = ?5, size = -1, repo = ?4",
                  "ttiti", scope, name, instance, s->charge, now) < 0 ||
        store_number(s, err, 0, &id, "SELECT id FROM mounts WHERE scope = ? AND name = ? AND instance = ?",
                     "tti", scope, name, instance) < 0)
        return -1;
    struct store_key key = store_key_number(WH_STORE_MOUNT, id);
    return store_lease(s, &key, err) < 0 ? -1 : id;
}

/* The lock: its descriptor, -2 where another holds it, -1. */
static int try_lock(struct wh_store *s, const char *folder, bool exclusive, struct wh_error *err)
{
    wh_autofree char *lock = wh_printf("%s.lock", folder);
    wh_autofree char *parent = wh_strdup(folder);
    *strrchr(parent, '/') = '\0';
    if (store_mkdir(s, s->dirfd, "mounts", 0700, err) < 0 || store_mkdir(s, s->dirfd, parent, 0700, err) < 0)
        return -1;
    return store_flock(s, s->dirfd, lock, true, exclusive, err);
}

static bool waited(unsigned *ms, bool (*cancel)(void *), void *arg)
{
    if (cancel && cancel(arg))
        return false;
    struct timespec t = {.tv_nsec = (long)*ms * 1000000};
    nanosleep(&t, NULL);
    *ms = WH_MIN(*ms * 2, WAIT_MAX_MS);
    return true;
}

/* Locks an instance as the kind of sharing asks; *folder is the one that was taken. */
static int lock_instance(struct wh_store *s, const char *scope, const char *id, enum wh_sharing sharing,
                         bool (*cancel)(void *), void *arg, char **folder, int64_t *instance,
                         struct wh_error *err)
{
    unsigned ms = WAIT_MIN_MS;
    for (;;) {
        for (*instance = 0; *instance < MAX_INSTANCES; ++*instance) {
            wh_autofree char *name = store_mount_folder(scope, id, *instance);
            int lock = try_lock(s, name, sharing != WH_SHARING_SHARED, err);
            if (lock >= 0)
                *folder = wh_steal(&name);
            if (lock != -2)
                return lock;
            if (sharing != WH_SHARING_PRIVATE)
                break;
        }
        if (!waited(&ms, cancel, arg))
            return wh_fail(err, WH_E_CANCELED, "waiting for cache mount %s: canceled", id);
    }
}

/* no-cache: what is there goes, if the lock can be had alone for the moment. */
static int make_fresh(struct wh_cache_mount *m, const char *folder, enum wh_sharing sharing,
                      struct wh_error *err)
{
    struct wh_store *s = m->s;
    if (sharing != WH_SHARING_SHARED)
        return store_discard_at(s, s->dirfd, folder, err);
    /* An upgrade may lose the lock between the two calls of the kernel: so a lock of its own, taken instead.
     */
    close(m->lock);
    m->lock = try_lock(s, folder, true, err);
    if (m->lock >= 0 && store_discard_at(s, s->dirfd, folder, err) < 0)
        return -1;
    if (m->lock >= 0)
        close(m->lock);
    else if (m->lock == -1)
        return -1;
    m->lock = -1;
    return 0;
}

/* What the first of the later scopes has (a pull request's base): our own start from it. Its shared users may
 * go on meanwhile, those who want it alone wait for us. Copied beside, then renamed, so that a killed copy is
 * never taken for the whole. */
static int seed(struct wh_cache_mount *m, const char *folder, const char *const *scopes, size_t nscopes,
                const char *id, struct wh_error *err)
{
    struct wh_store *s = m->s;
    for (size_t i = 1; i < nscopes; i++) {
        wh_autofree char *theirs = store_mount_folder(scopes[i], id, 0);
        wh_autoclose int from = openat(s->dirfd, theirs, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (from < 0)
            continue;
        wh_autoclose int lock = try_lock(s, theirs, false, err);
        if (lock == -2)
            continue; /* somebody has it alone: an empty start is better than a wait */
        wh_autofree char *scratch = lock < 0 ? NULL : wh_store_scratch(s, "mount", err);
        if (!scratch || mkdir(scratch, 0755) < 0)
            return scratch ? wh_fail_errno(err, "%s", scratch) : -1;
        wh_autoclose int to = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (to < 0 || store_copy_tree(from, to, err) < 0) {
            wh_store_discard(s, scratch, NULL);
            return to < 0 ? wh_fail_errno(err, "%s", scratch) : -1;
        }
        if (renameat(AT_FDCWD, scratch, s->dirfd, folder) < 0)
            return wh_fail_errno(err, "%s", folder);
        return 1;
    }
    return 0;
}

static int acquire(struct wh_cache_mount *m, const char *const *scopes, size_t nscopes, const char *id,
                   enum wh_sharing sharing, bool fresh, bool (*cancel)(void *), void *arg,
                   struct wh_error *err)
{
    struct wh_store *s = m->s;
    wh_autofree char *folder = NULL;
    int64_t instance = 0;
    /* Not under the handle's lock: this may wait for long. */
    m->lock = lock_instance(s, scopes[0], id, sharing, cancel, arg, &folder, &instance, err);
    if (m->lock < 0 || !folder)
        return -1;
    if (fresh) {
        store_lock(s);
        int rc = make_fresh(m, folder, sharing, err);
        pthread_mutex_unlock(&s->lock);
        if (rc < 0)
            return -1;
        if (m->lock < 0) {
            free(folder);
            folder = NULL;
            m->lock = lock_instance(s, scopes[0], id, sharing, cancel, arg, &folder, &instance, err);
            if (m->lock < 0 || !folder)
                return -1;
        }
    }
    m->fresh = faccessat(s->dirfd, folder, F_OK, AT_SYMLINK_NOFOLLOW) < 0;
    /* A cache that can't be copied (a full disk) is still a cache: an empty one. */
    wh_autoerror seeding = {0};
    if (m->fresh && !fresh && seed(m, folder, scopes, nscopes, id, &seeding) < 0)
        wh_log_warning("cache mount %s starts empty: %s", id, wh_error_text(&seeding));
    wh_autostorelock(s);
    if (m->fresh && store_mkdir(s, s->dirfd, folder, 0755, err) < 0)
        return -1;
    m->path = wh_path_join(s->dir, folder);
    return mount_row(s, scopes[0], id, instance, err) < 0 ? -1 : 0;
}

struct wh_cache_mount *wh_cache_mount_acquire(struct wh_store *s, const char *const *scopes, size_t nscopes,
                                              const char *id, enum wh_sharing sharing, bool fresh,
                                              bool (*cancel)(void *), void *arg, struct wh_error *err)
{
    if (nscopes == 0) {
        wh_fail(err, WH_E_ARGUMENT, "cache mount %s: no scope", id);
        return NULL;
    }
    struct wh_cache_mount *m = wh_calloc(1, sizeof(*m));
    m->s = s;
    m->lock = -1;
    if (acquire(m, scopes, nscopes, id, sharing, fresh, cancel, arg, err) < 0) {
        wh_cache_mount_release(m);
        wh_wrap(err, "cache mount %s", id);
        return NULL;
    }
    return m;
}

const char *wh_cache_mount_path(const struct wh_cache_mount *m)
{
    return m->path;
}

bool wh_cache_mount_new(const struct wh_cache_mount *m)
{
    return m->fresh;
}

void wh_cache_mount_release(struct wh_cache_mount *m)
{
    if (!m)
        return;
    if (m->lock >= 0)
        close(m->lock);
    free(m->path);
    free(m);
}

int store_mount_drop(struct wh_store *s, int64_t mount, struct wh_error *err)
{
    wh_autofree char *scope = NULL, *name = NULL;
    int64_t instance = 0;
    {
        wh_autoquery *q =
            store_query(s, err, "SELECT scope, name, instance FROM mounts WHERE id = ?", "i", mount);
        int rc = q ? store_step(s, q, err) : -1;
        if (rc <= 0)
            return rc;
        scope = store_col_text(q, 0);
        name = store_col_text(q, 1);
        instance = sqlite3_column_int64(q, 2);
    }
    wh_autofree char *folder = store_mount_folder(scope, name, instance);
    wh_autoclose int lock = try_lock(s, folder, true, err);
    if (lock < 0)
        return lock == -2 ? 0 : -1;
    if (store_run(s, err, "DELETE FROM mounts WHERE id = ?", "i", mount) < 0 ||
        store_discard_at(s, s->dirfd, folder, err) < 0)
        return -1;
    wh_autofree char *lockname = wh_printf("%s.lock", folder);
    unlinkat(s->dirfd, lockname, 0);
    return 1;
}
