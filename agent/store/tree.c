/* Layer trees on their way in: made in the session's folder, then one rename. Durable by a later syncfs(). */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "store/internal.h"
#include "wherry/store/layer.h"

struct wh_tree {
    struct wh_store *s;
    int fd;
    char *base; /* below ingest/: holds fs/ and work/ */
    char *path, *work;
};

static int make(struct wh_tree *t, struct wh_error *err)
{
    struct wh_store *s = t->s;
    wh_autofree char *fs = wh_printf("%s/fs", t->base);
    wh_autofree char *work = wh_printf("%s/work", t->base);
    if (store_mkdir(s, s->ingestfd, t->base, 0700, err) < 0 ||
        store_mkdir(s, s->ingestfd, work, 0700, err) < 0 || store_mkdir(s, s->ingestfd, fs, 0755, err) < 0)
        return -1;
    t->fd = openat(s->ingestfd, fs, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (t->fd < 0 || fchmod(t->fd, 0755) < 0) /* whatever the umask is */
        return wh_fail_errno(err, "%s/ingest/%s", s->dir, fs);
    t->path = wh_printf("%s/ingest/%s", s->dir, fs);
    t->work = wh_printf("%s/ingest/%s", s->dir, work);
    return 0;
}

struct wh_tree *wh_tree_begin(struct wh_store *s, struct wh_error *err)
{
    wh_autostorelock(s);
    if (store_session(s, err) < 0)
        return NULL;
    struct wh_tree *t = wh_calloc(1, sizeof(*t));
    t->s = s;
    t->fd = -1;
    t->base = wh_printf("%s/tree-%llu", s->session, (unsigned long long)++s->serial);
    if (make(t, err) < 0) {
        wh_tree_abort(t);
        return NULL;
    }
    return t;
}

int wh_tree_fd(const struct wh_tree *t)
{
    return t->fd;
}

const char *wh_tree_path(const struct wh_tree *t)
{
    return t->path;
}

const char *wh_tree_work(const struct wh_tree *t)
{
    return t->work;
}

void wh_tree_abort(struct wh_tree *t)
{
    if (!t)
        return;
    if (t->fd >= 0)
        close(t->fd);
    store_lock(t->s);
    wh_autoerror err = {0};
    if (store_discard_at(t->s, t->s->ingestfd, t->base, &err) < 0)
        wh_log_warning("%s", wh_error_text(&err));
    pthread_mutex_unlock(&t->s->lock);
    free(t->base);
    free(t->path);
    free(t->work);
    free(t);
}

void wh_tree_abort_ptr(struct wh_tree **t)
{
    wh_tree_abort(*t);
    *t = NULL;
}

/* Inside the transaction: the id is ours alone, so what lies under its name is the left-over of a row that a
 * power cut took. */
static int64_t enter(struct wh_tree *t, const struct wh_layer_info *info, struct wh_error *err)
{
    struct wh_store *s = t->s;
    /* files = -1: the store counts by itself once, so that verify can count again. */
    if (store_run(s, err,
                  "INSERT INTO layers(boot, diffid, chainid, size, files, repo, created, used)"
                  " VALUES(?1, ?2, ?3, ?4, -1, ?5, ?6, ?6)",
                  "tdditi", s->boot, info->diffid, info->chainid, info->size, s->charge, wh_now_ns()) < 0)
        return -1;
    int64_t id = sqlite3_last_insert_rowid(s->db);
    wh_autofree char *from = wh_printf("%s/fs", t->base);
    wh_autofree char *name = wh_printf("%lld", (long long)id);
    if (faccessat(s->layersfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
        store_discard_at(s, s->layersfd, name, err) < 0)
        return -1;
    if (renameat(s->ingestfd, from, s->layersfd, name) < 0)
        return wh_fail_errno(err, "%s/layers/%s", s->dir, name);
    struct store_key key = store_key_number(WH_STORE_LAYER, id);
    int rc = store_lease(s, &key, err);
    return rc == 0 ? wh_fail(err, WH_E_BUSY, "a new layer was collected at once") : rc < 0 ? -1 : id;
}

int64_t wh_tree_commit(struct wh_tree *tree, const struct wh_layer_info *info, struct wh_error *err)
{
    wh_autotree *t = tree;
    struct wh_store *s = t->s;
    wh_autostorelock(s);
    if (store_begin(s, false, err) < 0)
        return -1;
    int64_t id = enter(t, info, err);
    if (store_end(s, id < 0 ? -1 : 0, err) < 0)
        return -1;
    store_flush_soon(s);
    return id;
}
