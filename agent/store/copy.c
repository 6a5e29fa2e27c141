/* Copying a directory tree inside the store, as cheaply as the file system lets us: shared blocks where it
 * can, in the kernel else. For cache mounts that start from another's content. */
#include <dirent.h>
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "store/internal.h"

#define MAX_COPY_DEPTH 100 /* two descriptors a level */
#define CHUNK ((size_t)1 << 30)

struct linked { /* a file of several names, and where its first copy lies */
    uint64_t key[2];
    char *path; /* below the new root */
    UT_hash_handle hh;
};

struct copying {
    int root; /* of the new tree */
    struct linked *linked;
    struct wh_error *err;
};

static int copy_bytes(int from, int to)
{
    if (ioctl(to, FICLONE, from) == 0)
        return 0;
    for (;;) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, CHUNK, 0);
        if (n == 0)
            return 0;
        if (n > 0 || errno == EINTR)
            continue;
        break;
    }
    if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
        return -1;
    char buf[65536]; /* what copy_file_range() copied so far moved both offsets */
    for (;;) {
        ssize_t n = read(from, buf, sizeof(buf));
        if (n == 0)
            return 0;
        if (n < 0 || wh_write_all(to, buf, (size_t)n, NULL) < 0)
            return -1;
    }
}

static int set_like(int fd, const struct stat *st)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    return fchown(fd, st->st_uid, st->st_gid) < 0 || fchmod(fd, st->st_mode & 07777) < 0 ||
                   futimens(fd, times) < 0
               ? -1
               : 0;
}

/* 1: it was linked to the copy of its other name. */
static int link_again(struct copying *c, const struct stat *st, int to, const char *name, const char *path)
{
    if (st->st_nlink < 2)
        return 0;
    uint64_t key[2] = {st->st_dev, st->st_ino};
    struct linked *l;
    /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
    HASH_FIND(hh, c->linked, key, sizeof(key), l);
    if (l)
        return linkat(c->root, l->path, to, name, 0) == 0 ? 1 : -1;
    l = wh_calloc(1, sizeof(*l));
    memcpy(l->key, key, sizeof(key));
    l->path = wh_strdup(path);
    HASH_ADD(hh, c->linked, key, sizeof(l->key), l);
    return 0;
}

static int copy_file(struct copying *c, int from, int to, const char *name, const char *path)
{
    wh_autoclose int in = openat(from, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (in < 0 || fstat(in, &st) < 0)
        return errno == ENOENT || errno == ELOOP ? 0 : -1; /* a user of the other took it away */
    if (!S_ISREG(st.st_mode))
        return 0;
    int rc = link_again(c, &st, to, name, path);
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    wh_autoclose int out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return out < 0 || copy_bytes(in, out) < 0 ? -1 : set_like(out, &st);
}

static int copy_link(int from, int to, const char *name, const struct stat *st)
{
    char target[4096];
    ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);
    if (n < 0)
        return errno == ENOENT ? 0 : -1;
    target[n] = '\0';
    return symlinkat(target, to, name) < 0 ||
                   fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0
               ? -1
               : 0;
}

static int copy_folder(struct copying *c, int from, int to, const char *path, int depth);

static int copy_entry(struct copying *c, int from, int to, const char *name, const char *path, int depth)
{
    struct stat st;
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -1;
    if (S_ISLNK(st.st_mode))
        return copy_link(from, to, name, &st);
    if (S_ISREG(st.st_mode))
        return copy_file(c, from, to, name, path);
    if (!S_ISDIR(st.st_mode))
        return 0; /* sockets and the like are of no use to another build */
    wh_autoclose int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (in < 0)
        return errno == ENOENT ? 0 : -1;
    if (mkdirat(to, name, 0700) < 0)
        return -1;
    wh_autoclose int out = openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (out < 0 || copy_folder(c, in, out, path, depth + 1) < 0)
        return -1;
    return set_like(out, &st);
}

static int copy_folder(struct copying *c, int from, int to, const char *path, int depth)
{
    if (depth > MAX_COPY_DEPTH)
        return 0;
    int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    int rc = 0;
    for (struct dirent *e; rc == 0 && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        wh_autofree char *below = wh_printf("%s%s%s", path, path[0] ? "/" : "", e->d_name);
        rc = copy_entry(c, from, to, e->d_name, below, depth);
        if (rc < 0 && !c->err->message)
            wh_fail_errno(c->err, "copying %s", below);
    }
    closedir(dir);
    return rc;
}

int store_copy_tree(int from, int to, struct wh_error *err)
{
    wh_autoerror problem = {0};
    struct copying c = {.root = to, .err = &problem};
    int rc = copy_folder(&c, from, to, "", 0);
    struct linked *l = c.linked;
    HASH_CLEAR(hh, c.linked);
    while (l) {
        struct linked *next = l->hh.next;
        free(l->path);
        free(l);
        l = next;
    }
    if (rc < 0 && !problem.message)
        return wh_fail_errno(err, "copying a cache mount");
    return rc < 0 ? wh_error_move(err, &problem) : 0;
}
