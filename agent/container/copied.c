/* Folders that overlayfs copied into the upper only because a mount point was made in them: a RUN that
 * changes nothing gives an empty layer (builder.md §4 "Stubs", §5 "Copied-up directories"). */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "internal.h"
#include "wherry/base/fs.h"

#define MAX_COPIED 1024 /* more are left as they are */
#define MAX_XATTR_NAMES 4096
#define OVERLAY_PREFIX "user.overlay."

struct folder {
    char *path;
    mode_t mode;
    uid_t uid;
    gid_t gid;
    struct timespec mtime;
};
struct wh_copied {
    struct folder *items; /* a folder comes before those above it */
    size_t n;
};

struct wh_copied *wh_copied_new(void)
{
    return wh_calloc(1, sizeof(struct wh_copied));
}

void wh_copied_free(struct wh_copied *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        free(c->items[i].path);
    free(c->items);
    free(c);
}

void wh_copied_note(struct wh_copied *c, int root_fd, const char *path)
{
    struct stat st;
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->items[i].path, path) == 0)
            return;
    wh_autoclose int dir =
        wh_open_in_root(root_fd, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, false, NULL);
    if (c->n == MAX_COPIED || dir < 0 || fstat(dir, &st) < 0)
        return;
    c->items = wh_reallocarray(c->items, c->n + 1, sizeof *c->items);
    c->items[c->n++] = (struct folder){wh_strdup(path), st.st_mode, st.st_uid, st.st_gid, st.st_mtim};
}

/* Copied up by overlayfs (it remembers from where), and with no other xattr: not opaque, and none that a RUN
 * set. */
static bool only_copied(int dir)
{
    char names[MAX_XATTR_NAMES];
    ssize_t len = flistxattr(dir, names, sizeof names);
    bool origin = false;
    for (ssize_t i = 0; i < len; i += (ssize_t)strlen(names + i) + 1) {
        if (!wh_starts_with(names + i, OVERLAY_PREFIX) || strcmp(names + i, OVERLAY_PREFIX "opaque") == 0)
            return false;
        origin = origin || strcmp(names + i, OVERLAY_PREFIX "origin") == 0;
    }
    return origin;
}

static bool same_folder(const struct folder *f, const struct stat *st)
{
    return st->st_mode == f->mode && st->st_uid == f->uid && st->st_gid == f->gid &&
           st->st_mtim.tv_sec == f->mtime.tv_sec && st->st_mtim.tv_nsec == f->mtime.tv_nsec;
}

/* Removes one folder of the upper, if it is empty; the folder above keeps its times. */
static void drop(const struct folder *f, int upper)
{
    const char *slash = strrchr(f->path, '/');
    wh_autofree char *above = wh_strndup(f->path, slash > f->path ? (size_t)(slash - f->path) : 1);
    wh_autoclose int dir =
        wh_open_in_root(upper, f->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, false, NULL);
    wh_autoclose int parent =
        wh_open_in_root(upper, above, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, false, NULL);
    struct stat st;
    struct stat before;
    if (dir < 0 || parent < 0 || fstat(dir, &st) < 0 || fstat(parent, &before) < 0 || !same_folder(f, &st) ||
        !only_copied(dir) || unlinkat(parent, slash + 1, AT_REMOVEDIR) < 0)
        return;
    const struct timespec times[2] = {before.st_atim, before.st_mtim};
    (void)futimens(parent, times);
}

void wh_copied_drop(const struct wh_copied *c, int upper)
{
    /* Longer paths first, so that a folder is empty when its turn comes. */
    for (size_t done = 0; done < c->n; done++) {
        size_t longest = done;
        for (size_t i = done + 1; i < c->n; i++)
            if (strlen(c->items[i].path) > strlen(c->items[longest].path))
                longest = i;
        struct folder f = c->items[longest];
        c->items[longest] = c->items[done];
        c->items[done] = f;
        drop(&f, upper);
    }
}
