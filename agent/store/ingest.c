/* The ingest folder: every handle that writes has a folder of its own below it, under a lock file that the
 * kernel frees when the process ends, however it ends. A folder whose lock is free belongs to nobody and is
 * removed.
 *
 *   ingest/<session>.lock   held by flock for the handle's life; also what keeps the session's leases alive
 *   ingest/<session>/       files and trees being written, and what waits for its removal */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "store/internal.h"

int store_own(const struct wh_store *s, int dirfd, const char *name, struct wh_error *err)
{
    if (s->give && fchownat(dirfd, name, s->uid, s->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return wh_fail_errno(err, "%s: cannot give %s to uid %u", s->dir, name, (unsigned)s->uid);
    return 0;
}

int store_mkdir(const struct wh_store *s, int dirfd, const char *name, mode_t mode, struct wh_error *err)
{
    if (mkdirat(dirfd, name, mode) < 0)
        return errno == EEXIST ? 0 : wh_fail_errno(err, "%s: cannot make the folder %s", s->dir, name);
    return store_own(s, dirfd, name, err);
}

int store_flock(struct wh_store *s, int dirfd, const char *name, bool create, bool exclusive,
                struct wh_error *err)
{
    for (int tries = 0; tries < 100; tries++) {
        wh_autoclose int fd =
            openat(dirfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
        if (fd < 0)
            return wh_fail_errno(err, "%s: lock %s", s->dir, name);
        if (flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0)
            return errno == EWOULDBLOCK ? -2 : wh_fail_errno(err, "%s: lock %s", s->dir, name);
        /* Another may have removed the file between open and flock: the lock then guards nothing. */
        struct stat mine, named;
        if (fstat(fd, &mine) == 0 && fstatat(dirfd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
            mine.st_ino == named.st_ino && mine.st_dev == named.st_dev) {
            if (s->give && mine.st_uid != s->uid && fchown(fd, s->uid, s->gid) < 0)
                return wh_fail_errno(err, "%s: cannot give lock %s to uid %u", s->dir, name,
                                     (unsigned)s->uid);
            return wh_steal_fd(&fd);
        }
        if (!create)
            return wh_fail(err, WH_E_NOT_FOUND, "%s: lock %s is gone", s->dir, name);
    }
    return wh_fail(err, WH_E_BUSY, "%s: lock %s is made and removed all the time", s->dir, name);
}

int store_session(struct wh_store *s, struct wh_error *err)
{
    if (s->session)
        return 0;
    for (int tries = 0; tries < 16; tries++) {
        uint32_t random = (uint32_t)wh_jitter(0, UINT32_MAX);
        wh_autofree char *name = wh_printf("%ld-%08x", (long)getpid(), random);
        wh_autofree char *lock = wh_printf("%s.lock", name);
        wh_autoclose int fd = store_flock(s, s->ingestfd, lock, true, true, err);
        if (fd == -1)
            return -1;
        if (fd == -2)
            continue;
        if (mkdirat(s->ingestfd, name, 0700) < 0) {
            if (errno == EEXIST)
                continue;
            wh_fail_errno(err, "%s/ingest/%s", s->dir, name);
            unlinkat(s->ingestfd, lock, 0);
            return -1;
        }
        if (store_own(s, s->ingestfd, name, err) < 0)
            return -1;
        s->sessionfd = openat(s->ingestfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (s->sessionfd < 0)
            return wh_fail_errno(err, "%s/ingest/%s", s->dir, name);
        s->sessionlock = wh_steal_fd(&fd);
        s->session = wh_steal(&name);
        return 0;
    }
    return wh_fail(err, WH_E_BUSY, "%s/ingest: no free name for this process", s->dir);
}

bool store_session_lives(struct wh_store *s, const char *session)
{
    if (wh_streq(session, s->session))
        return true;
    wh_autofree char *lock = wh_printf("%s.lock", session);
    wh_autoerror err = {0};
    int fd = store_flock(s, s->ingestfd, lock, false, true, &err);
    if (fd >= 0)
        close(fd);
    if (fd == -1 && err.code != WH_E_NOT_FOUND)
        return true; /* no proof that it ended */
    return fd == -2;
}

/* ---- removal ---- */

static void trash_add(struct wh_store *s, char *name, int lock)
{
    struct store_trash *t = wh_calloc(1, sizeof(*t));
    t->name = name;
    t->lock = lock;
    t->next = s->trash;
    s->trash = t;
    store_janitor_wake(s);
}

int store_discard_at(struct wh_store *s, int dirfd, const char *name, struct wh_error *err)
{
    if (store_session(s, err) < 0)
        return -1;
    wh_autofree char *trash = wh_printf("%s/gone-%llu", s->session, (unsigned long long)++s->serial);
    if (renameat(dirfd, name, s->ingestfd, trash) < 0)
        return errno == ENOENT ? 0 : wh_fail_errno(err, "%s: cannot move %s away", s->dir, name);
    trash_add(s, wh_steal(&trash), -1);
    return 0;
}

void store_trash_run(struct wh_store *s)
{
    for (;;) {
        store_lock(s);
        struct store_trash *t = s->trash;
        if (t)
            s->trash = t->next;
        pthread_mutex_unlock(&s->lock);
        if (!t)
            return;
        wh_autoerror err = {0};
        if (wh_remove_tree(s->ingestfd, t->name, &err) < 0)
            wh_log_warning("%s/ingest/%s cannot be removed: %s", s->dir, t->name, wh_error_text(&err));
        else if (t->lock >= 0) {
            wh_autofree char *lock = wh_printf("%s.lock", t->name);
            unlinkat(s->ingestfd, lock, 0);
        }
        if (t->lock >= 0)
            close(t->lock);
        free(t->name);
        free(t);
    }
}

/* A session that has ended: its leases go now, its folder in the background with its lock held. */
static int sweep_one(struct wh_store *s, const char *session, struct wh_error *err)
{
    wh_autofree char *lockname = wh_printf("%s.lock", session);
    /* Made anew if it is missing (a power cut may lose it and keep the folder). */
    int lock = store_flock(s, s->ingestfd, lockname, true, true, err);
    if (lock == -2)
        return 0;
    if (lock < 0)
        return -1;
    if (store_run(s, err, "DELETE FROM leases WHERE session = ?", "t", session) < 0) {
        close(lock);
        return -1;
    }
    trash_add(s, wh_strdup(session), lock);
    return 0;
}

int store_sweep(struct wh_store *s, struct wh_error *err)
{
    int fd = openat(s->ingestfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return wh_fail_errno(err, "%s/ingest", s->dir);
    }
    wh_autostrv char **names = NULL;
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.')
            continue;
        wh_autofree char *name = wh_strdup(e->d_name);
        if (wh_ends_with(name, ".lock"))
            name[strlen(name) - strlen(".lock")] = '\0';
        if (!wh_strv_has(names, name) && !wh_streq(name, s->session))
            wh_strv_add(&names, name);
    }
    closedir(dir);
    int rc = 0;
    for (char **n = names; n && *n && rc == 0; n++)
        rc = sweep_one(s, *n, err);
    return rc;
}

void store_session_end(struct wh_store *s)
{
    if (!s->session)
        return;
    wh_autoerror err = {0};
    if (s->db && store_run(s, &err, "DELETE FROM leases WHERE session = ?", "t", s->session) < 0)
        wh_log_debug("%s: leases stay until the next sweep: %s", s->dir, wh_error_text(&err));
    if (wh_remove_tree(s->ingestfd, s->session, &err) == 0) {
        wh_autofree char *lock = wh_printf("%s.lock", s->session);
        unlinkat(s->ingestfd, lock, 0);
    }
    close(s->sessionfd);
    close(s->sessionlock);
    free(s->session);
    s->session = NULL;
    s->sessionfd = s->sessionlock = -1;
}
