/* Opening and closing a store, and the places in it. */
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "store/internal.h"

static int boot_id(char out[40], struct wh_error *err)
{
    wh_autostr text = {0};
    if (wh_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &text, err) < 0)
        return wh_wrap(err, "this boot's id");
    struct wh_view v = wh_view_trim((struct wh_view){text.data, text.len});
    if (v.len == 0 || v.len >= 40)
        return wh_fail(err, WH_E_PARSE, "/proc/sys/kernel/random/boot_id: not a boot id");
    memcpy(out, v.data, v.len);
    out[v.len] = '\0';
    return 0;
}

static int open_folder(struct wh_store *s, const struct wh_store_options *o, struct wh_error *err)
{
    bool made = false;
    struct stat st;
    if (stat(o->dir, &st) < 0) {
        if (errno != ENOENT)
            return wh_fail_errno(err, "state folder %s", o->dir);
        if (o->must_exist)
            return wh_fail(err, WH_E_NOT_FOUND, "state folder %s: there is none yet", o->dir);
        if (wh_mkdir_p(o->dir, 0700, err) < 0)
            return wh_wrap(err, "state folder %s", o->dir);
        made = true;
    }
    s->dir = realpath(o->dir, NULL);
    if (!s->dir)
        return wh_fail_errno(err, "state folder %s", o->dir);
    s->dirfd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (s->dirfd < 0)
        return wh_fail_errno(err, "state folder %s", s->dir);
    if (fstat(s->dirfd, &st) < 0)
        return wh_fail_errno(err, "state folder %s", s->dir);
    /* New, or with no store in it yet and root's (`register` was there first). */
    bool ours = made || (st.st_uid == 0 && faccessat(s->dirfd, "index.db", F_OK, AT_SYMLINK_NOFOLLOW) < 0);
    if (ours && o->set_owner && geteuid() == 0 &&
        (fchown(s->dirfd, o->uid, o->gid) < 0 || fchmod(s->dirfd, 0700) < 0 || fstat(s->dirfd, &st) < 0))
        return wh_fail_errno(err, "state folder %s: cannot be given to uid %u", s->dir, (unsigned)o->uid);
    if (geteuid() != 0 && st.st_uid != geteuid())
        return wh_fail(err, WH_E_DENIED,
                       "state folder %s belongs to uid %u; this is uid %u: name another one by --state",
                       s->dir, (unsigned)st.st_uid, (unsigned)geteuid());
    s->give = geteuid() == 0 && st.st_uid != 0;
    s->uid = st.st_uid;
    s->gid = st.st_gid;
    return 0;
}

static int open_room(struct wh_store *s, const char *name, bool must_exist, struct wh_error *err)
{
    int fd = openat(s->dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT && !must_exist) {
        if (store_mkdir(s, s->dirfd, name, 0700, err) < 0)
            return -1;
        fd = openat(s->dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    }
    if (fd < 0 && errno == ENOENT)
        return wh_fail(err, WH_E_NOT_FOUND, "%s: there is no wherry store here (no folder %s)", s->dir, name);
    return fd < 0 ? wh_fail_errno(err, "%s/%s", s->dir, name) : fd;
}

static int open_rooms(struct wh_store *s, bool must_exist, struct wh_error *err)
{
    wh_autoclose int blobs = open_room(s, "blobs", must_exist, err);
    if (blobs < 0)
        return -1;
    s->blobsfd = open_room(s, "blobs/sha256", must_exist, err);
    s->layersfd = s->blobsfd < 0 ? -1 : open_room(s, "layers", must_exist, err);
    s->ingestfd = s->layersfd < 0 ? -1 : open_room(s, "ingest", must_exist, err);
    return s->ingestfd < 0 ? -1 : 0;
}

static struct wh_store *handle_new(void)
{
    struct wh_store *s = wh_calloc(1, sizeof(*s));
    s->dirfd = s->ingestfd = s->layersfd = s->blobsfd = s->sessionfd = s->sessionlock = -1;
    s->charge = wh_strdup("");
    pthread_mutexattr_t mutex;
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_settype(&mutex, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&s->lock, &mutex);
    pthread_mutexattr_destroy(&mutex);
    pthread_condattr_t cond;
    pthread_condattr_init(&cond);
    pthread_condattr_setclock(&cond, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &cond);
    pthread_condattr_destroy(&cond);
    return s;
}

/* What a power cut or a killed process left. On a full disk the reserve pays for it. */
static int tidy(struct wh_store *s, struct wh_error *err)
{
    wh_autostorelock(s);
    wh_autoerror first = {0};
    if (store_drop_other_boots(s, &first) == 0 && store_sweep(s, &first) == 0)
        return 0;
    if (first.code != WH_E_NO_SPACE)
        return wh_error_move(err, &first);
    store_reserve_drop(s);
    return store_drop_other_boots(s, err) < 0 ? -1 : store_sweep(s, err);
}

struct wh_store *wh_store_open(const struct wh_store_options *options, struct wh_error *err)
{
    struct wh_store *s = handle_new();
    s->foreground = options->foreground;
    if (boot_id(s->boot, err) < 0 || open_folder(s, options, err) < 0 ||
        open_rooms(s, options->must_exist, err) < 0 || store_db_open(s, options->must_exist, err) < 0) {
        wh_store_close(s);
        return NULL;
    }
    if (tidy(s, err) < 0) {
        wh_store_close(s);
        return NULL;
    }
    return s;
}

void wh_store_close(struct wh_store *s)
{
    if (!s)
        return;
    store_janitor_stop(s);
    if (s->db && s->ingestfd >= 0) {
        wh_autoerror err = {0};
        bool flush = s->flush_at != 0;
        if (flush && wh_store_flush(s, &err) < 0)
            wh_log_warning("%s: layers are not durable yet: %s", s->dir, wh_error_text(&err));
        wh_error_clear(&err);
        if (store_touch_write(s, &err) < 0)
            wh_log_debug("%s: last uses are not written: %s", s->dir, wh_error_text(&err));
        store_trash_run(s);
        store_session_end(s);
    }
    store_uses_free(&s->leases);
    store_uses_free(&s->touched);
    store_db_close(s);
    wh_close_fd(&s->dirfd);
    wh_close_fd(&s->ingestfd);
    wh_close_fd(&s->layersfd);
    wh_close_fd(&s->blobsfd);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s->charge);
    free(s->dir);
    free(s);
}

void wh_store_close_ptr(struct wh_store **s)
{
    wh_store_close(*s);
    *s = NULL;
}

void wh_store_charge(struct wh_store *s, const char *repository)
{
    wh_autostorelock(s);
    free(s->charge);
    s->charge = wh_strdup(repository ? repository : "");
}

const char *wh_store_dir(const struct wh_store *s)
{
    return s->dir;
}

char *wh_store_scratch(struct wh_store *s, const char *hint, struct wh_error *err)
{
    wh_autostorelock(s);
    if (store_session(s, err) < 0)
        return NULL;
    return wh_printf("%s/ingest/%s/%s-%llu", s->dir, s->session, hint ? hint : "scratch",
                     (unsigned long long)++s->serial);
}

int wh_store_discard(struct wh_store *s, const char *path, struct wh_error *err)
{
    wh_autostorelock(s);
    return store_discard_at(s, AT_FDCWD, path, err);
}
