/* The root file system as plain files (exporter local). */
#include <errno.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "oci/merged.h"
#include "oci/walk.h"
#include "wherry/base/fs.h"
#include "wherry/oci/export.h"

#define COPY_STEP ((size_t)16 << 20)

struct copying {
    int dest;
    int64_t epoch;
    /* folders whose times are set last */
    struct folder {
        char *path;
        struct timespec mtime;
    } * folders;
    size_t n, cap;
};

static struct timespec mtime_of(const struct copying *c, const struct stat *st)
{
    struct timespec t = st->st_mtim;
    if (c->epoch != WH_LAYER_NO_EPOCH && t.tv_sec > c->epoch)
        t = (struct timespec){c->epoch, 0};
    return t;
}

static int copy_bytes(int from, int to, uint64_t size, const char *path, struct wh_error *err)
{
    char buf[65536];
    bool plain = false;
    while (size > 0) {
        ssize_t n = plain
                        ? read(from, buf, sizeof(buf))
                        : copy_file_range(from, NULL, to, NULL, (size_t)WH_MIN(size, (uint64_t)COPY_STEP), 0);
        if (n < 0 && !plain &&
            (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP)) {
            plain = true;
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wh_fail_errno(err, "copy /%s", path);
        if (n == 0)
            return 0;
        if (plain && wh_write_all(to, buf, (size_t)n, err) < 0)
            return wh_wrap(err, "copy /%s", path);
        size -= WH_MIN(size, (uint64_t)n);
    }
    return 0;
}

/* Owners are kept where the process may give files away; an ordinary user's export belongs to that user. */
static int set_attributes(const struct copying *c, int dirfd, const char *name,
                          const struct oci_walk_entry *e, struct wh_error *err)
{
    struct timespec mtime = mtime_of(c, &e->st), times[2] = {mtime, mtime};
    bool link = S_ISLNK(e->st.st_mode);
    if (fchownat(dirfd, name, e->st.st_uid, e->st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != EPERM &&
        errno != EINVAL)
        return wh_fail_errno(err, "set the owner of /%s", e->path);
    if (!link && fchmodat(dirfd, name, e->st.st_mode & 07777, 0) < 0)
        return wh_fail_errno(err, "set the mode of /%s", e->path);
    if (e->nxattrs) {
        char at[40];
        wh_autoclose int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        for (size_t i = 0; fd >= 0 && i < e->nxattrs; i++)
            (void)setxattr(oci_fd_path(fd, at), e->xattrs[i].name, e->xattrs[i].value, e->xattrs[i].len, 0);
    }
    if (utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return wh_fail_errno(err, "set the times of /%s", e->path);
    return 0;
}

static int make_folder(struct copying *c, int dirfd, const char *name, const struct oci_walk_entry *e,
                       struct wh_error *err)
{
    struct stat st;
    if (mkdirat(dirfd, name, 0700) < 0) {
        if (errno != EEXIST || fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return wh_fail_errno(err, "make folder /%s", e->path);
        if (!S_ISDIR(st.st_mode) && (unlinkat(dirfd, name, 0) < 0 || mkdirat(dirfd, name, 0700) < 0))
            return wh_fail_errno(err, "make folder /%s", e->path);
    }
    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 64;
        c->folders = wh_reallocarray(c->folders, c->cap, sizeof(*c->folders));
    }
    c->folders[c->n++] = (struct folder){wh_strdup(e->path), mtime_of(c, &e->st)};
    return set_attributes(c, dirfd, name, e, err);
}

static int make_file(struct copying *c, int dirfd, const char *name, struct oci_walk_entry *e,
                     struct wh_error *err)
{
    wh_autoclose int to = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return wh_fail_errno(err, "make /%s", e->path);
    if (copy_bytes(e->fd, to, (uint64_t)e->st.st_size, e->path, err) < 0)
        return -1;
    return set_attributes(c, dirfd, name, e, err);
}

static int make_other(struct copying *c, int dirfd, const char *name, const struct oci_walk_entry *e,
                      struct wh_error *err)
{
    int failed;
    if (e->is_hardlink)
        return linkat(c->dest, e->link, dirfd, name, 0) < 0 ? wh_fail_errno(err, "link /%s", e->path) : 0;
    if (S_ISLNK(e->st.st_mode))
        failed = symlinkat(e->link, dirfd, name);
    else
        failed = mknodat(dirfd, name, e->st.st_mode & (S_IFMT | 0777), e->st.st_rdev);
    if (failed < 0 && errno == EPERM && (S_ISCHR(e->st.st_mode) || S_ISBLK(e->st.st_mode)))
        return 0; /* device nodes need a right that a builder does not have */
    if (failed < 0)
        return wh_fail_errno(err, "make /%s", e->path);
    return set_attributes(c, dirfd, name, e, err);
}

static int copy_entry(struct copying *c, struct oci_walk_entry *e, struct wh_error *err)
{
    size_t len = strlen(e->path) - strlen(e->name);
    wh_autofree char *folder = wh_strndup(e->path, len > 0 ? len - 1 : 0);
    wh_autoclose int dirfd = oci_open_plain(c->dest, folder, O_RDONLY | O_DIRECTORY);
    if (dirfd < 0)
        return wh_fail_errno(err, "open folder /%s", folder);
    if (S_ISDIR(e->st.st_mode))
        return make_folder(c, dirfd, e->name, e, err);
    if (wh_remove_tree(dirfd, e->name, err) < 0)
        return -1;
    return e->fd >= 0 ? make_file(c, dirfd, e->name, e, err) : make_other(c, dirfd, e->name, e, err);
}

static int copy_all(struct copying *c, struct oci_walk *walk, struct wh_error *err)
{
    struct oci_walk_entry e;
    int n;
    while ((n = oci_walk_next(walk, &e, err)) > 0) {
        int failed = copy_entry(c, &e, err);
        wh_close_fd(&e.fd);
        if (failed < 0)
            return -1;
    }
    for (size_t i = c->n; n == 0 && i > 0; i--) {
        struct timespec times[2] = {c->folders[i - 1].mtime, c->folders[i - 1].mtime};
        wh_autoclose int fd = oci_open_plain(c->dest, c->folders[i - 1].path, O_RDONLY | O_DIRECTORY);
        if (fd >= 0 && futimens(fd, times) < 0)
            return wh_fail_errno(err, "set the times of /%s", c->folders[i - 1].path);
    }
    return n;
}

int wh_export_local(int rootfs, int dest, int64_t epoch, struct wh_error *err)
{
    struct copying c = {.dest = dest, .epoch = epoch};
    struct oci_walk *walk = oci_walk_new(rootfs, false, err);
    int failed = walk ? copy_all(&c, walk, err) : -1;
    oci_walk_free(walk);
    for (size_t i = 0; i < c.n; i++)
        free(c.folders[i].path);
    free(c.folders);
    return failed < 0 ? wh_wrap(err, "export files") : 0;
}
