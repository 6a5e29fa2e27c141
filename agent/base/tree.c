/* Removing trees: never through a link, never onto another file system. */
#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#include "wherry/base/fs.h"

/* Deeper trees than this don't come from honest tools; each level holds one descriptor open. */
#define WH_MAX_TREE_DEPTH 512

static int remove_contents_fd(int fd, dev_t device, unsigned depth, const char *what, struct wh_error *err);

static int remove_folder(int parent, const char *name, dev_t device, unsigned depth, struct wh_error *err)
{
    struct stat st;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : wh_fail_errno(err, "look at %s", name);
    if (st.st_dev != device)
        return wh_fail(err, WH_E_BUSY, "%s is a mount point of another file system", name);
    /* A failure shows in the open below. */
    int opened = (st.st_mode & 0700) == 0700 ? 0 : fchmodat(parent, name, (st.st_mode & 07777) | 0700, 0);
    (void)opened;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : wh_fail_errno(err, "open folder %s", name);
    if (remove_contents_fd(fd, device, depth + 1, name, err) < 0)
        return -1;
    if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return wh_fail_errno(err, "remove folder %s", name);
    return 0;
}

/* Owns fd. */
static int remove_contents_fd(int fd, dev_t device, unsigned depth, const char *what, struct wh_error *err)
{
    if (depth > WH_MAX_TREE_DEPTH) {
        close(fd);
        return wh_fail(err, WH_E_LIMIT, "folders nested deeper than %d at %s", WH_MAX_TREE_DEPTH, what);
    }
    DIR *dir = fdopendir(fd);
    if (!dir) {
        wh_fail_errno(err, "read folder %s", what);
        close(fd);
        return -1;
    }
    int status = 0;
    for (struct dirent *entry; status == 0 && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (entry->d_type != DT_DIR && unlinkat(dirfd(dir), entry->d_name, 0) == 0)
            continue;
        if (entry->d_type == DT_DIR || errno == EISDIR)
            status = remove_folder(dirfd(dir), entry->d_name, device, depth, err);
        else if (errno != ENOENT)
            status = wh_fail_errno(err, "remove %s/%s", what, entry->d_name);
    }
    closedir(dir);
    return status;
}

int wh_remove_contents(int dirfd, const char *path, struct wh_error *err)
{
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : wh_fail_errno(err, "open folder %s", path);
    struct stat st;
    if (fstat(fd, &st) < 0) {
        wh_fail_errno(err, "look at %s", path);
        close(fd);
        return -1;
    }
    return remove_contents_fd(fd, st.st_dev, 0, path, err);
}

int wh_remove_tree(int dirfd, const char *path, struct wh_error *err)
{
    if (unlinkat(dirfd, path, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return wh_fail_errno(err, "remove %s", path);
    struct stat st;
    if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : wh_fail_errno(err, "look at %s", path);
    return remove_folder(dirfd, path, st.st_dev, 0, err);
}
