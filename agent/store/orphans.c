/* Bytes without a row: left by a process that was killed between its rename and its commit, or by a power
 * cut. A file enters and its row is written in one transaction, so what has no row inside a transaction of
 * ours belongs to nobody. */
#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#include "store/internal.h"

static DIR *open_dir(int dirfd, const char *name)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir && fd >= 0)
        close(fd);
    return dir;
}

/* Names that have no row now; looked at again one by one before they go. */
static int sweep_layers(struct wh_store *s, int64_t *swept, struct wh_error *err)
{
    DIR *dir = open_dir(s->layersfd, ".");
    if (!dir)
        return wh_fail_errno(err, "%s/layers", s->dir);
    int rc = 0;
    for (struct dirent *e; rc == 0 && (e = readdir(dir));) {
        uint64_t id;
        if (!wh_parse_u64(e->d_name, INT64_MAX, &id))
            continue;
        wh_autostorelock(s);
        int64_t there;
        rc = store_number(s, err, 0, &there, "SELECT 1 FROM layers WHERE id = ?", "i", (int64_t)id);
        if (rc != 0) {
            rc = rc < 0 ? -1 : 0;
            continue;
        }
        if (store_begin(s, false, err) < 0) {
            rc = -1;
            continue;
        }
        rc = store_number(s, err, 0, &there, "SELECT 1 FROM layers WHERE id = ?", "i", (int64_t)id);
        if (rc == 0) {
            rc = store_discard_at(s, s->layersfd, e->d_name, err);
            *swept += rc == 0;
        }
        rc = store_end(s, rc < 0 ? -1 : 0, err);
    }
    closedir(dir);
    return rc;
}

static int sweep_blob(struct wh_store *s, const char *folder, const char *name, int64_t *swept,
                      struct wh_error *err)
{
    wh_autofree char *text = wh_printf("sha256:%s%s", folder, name);
    wh_autofree char *path = wh_printf("%s/%s", folder, name);
    struct wh_digest digest;
    wh_autoerror no = {0};
    wh_autostorelock(s);
    int64_t there = 0;
    bool named = wh_digest_parse(text, &digest, &no) == 0;
    if (named && store_number(s, err, 0, &there, "SELECT 1 FROM blobs WHERE digest = ?", "d", &digest) < 0)
        return -1;
    if (there)
        return 0;
    if (!named)
        return store_discard_at(s, s->blobsfd, path, err); /* no blob of ours has such a name */
    if (store_blob_unlink(s, &digest, err) < 0)
        return -1;
    *swept += faccessat(s->blobsfd, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0;
    return 0;
}

static int sweep_blobs(struct wh_store *s, int64_t *swept, struct wh_error *err)
{
    DIR *top = open_dir(s->blobsfd, ".");
    if (!top)
        return wh_fail_errno(err, "%s/blobs/sha256", s->dir);
    int rc = 0;
    for (struct dirent *f; rc == 0 && (f = readdir(top));) {
        if (strlen(f->d_name) != 2 || f->d_name[0] == '.')
            continue;
        DIR *dir = open_dir(s->blobsfd, f->d_name);
        if (!dir)
            continue;
        for (struct dirent *e; rc == 0 && (e = readdir(dir));)
            if (e->d_name[0] != '.')
                rc = sweep_blob(s, f->d_name, e->d_name, swept, err);
        closedir(dir);
    }
    closedir(top);
    return rc;
}

int64_t store_orphans_sweep(struct wh_store *s, struct wh_error *err)
{
    int64_t swept = 0;
    if (sweep_layers(s, &swept, err) < 0 || sweep_blobs(s, &swept, err) < 0)
        return -1;
    return swept;
}
