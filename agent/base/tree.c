/* Removing trees: never through a link, never across a mount point. That a folder is on the same device says
 * nothing: a bind mount of the machine's own root is, too. */
#include <dirent.h>
#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wherry/base/fs.h"

/* Deeper trees than this don't come from honest tools; each level holds one descriptor open. */
#define WH_MAX_TREE_DEPTH 512

static int remove_contents_fd(int fd, unsigned depth, const char *what, struct wh_error *err);

/* A folder right below parent, if it is no mount point (EXDEV) and no link (ELOOP). */
static int open_below(int parent, const char *name, uint64_t flags)
{
    struct open_how how = {
        .flags = flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS,
    };
    return (int)syscall(SYS_openat2, parent, name, &how, sizeof how);
}

/* Opens it up first where its mode doesn't let us in. */
static int open_to_empty(int parent, const char *name)
{
    wh_autoclose int place = open_below(parent, name, O_PATH);
    struct stat st;
    char at[32];
    if (place < 0 || fstat(place, &st) < 0)
        return -1;
    /* By the descriptor that was looked at: by its name it might be a link by now. A failure shows in the
     * open below. */
    snprintf(at, sizeof at, "/proc/self/fd/%d", place);
    if ((st.st_mode & 0700) != 0700)
        (void)!chmod(at, (st.st_mode & 07777) | 0700);
    return open_below(parent, name, O_RDONLY);
}

static int remove_folder(int parent, const char *name, unsigned depth, struct wh_error *err)
{
    int fd = open_to_empty(parent, name);
    if (fd < 0 && errno == EXDEV)
        return wh_fail(err, WH_E_BUSY, "%s is a mount point", name);
    if (fd < 0)
        return errno == ENOENT ? 0 : wh_fail_errno(err, "open folder %s", name);
    if (remove_contents_fd(fd, depth + 1, name, err) < 0)
        return -1;
    if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return wh_fail_errno(err, "remove folder %s", name);
    return 0;
}

/* Owns fd. */
static int remove_contents_fd(int fd, unsigned depth, const char *what, struct wh_error *err)
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
            status = remove_folder(dirfd(dir), entry->d_name, depth, err);
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
    return remove_contents_fd(fd, 0, path, err);
}

int wh_remove_tree(int dirfd, const char *path, struct wh_error *err)
{
    if (unlinkat(dirfd, path, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return wh_fail_errno(err, "remove %s", path);
    /* The path down to the folder may cross mounts; from its parent on none may. */
    wh_autofree char *copy = wh_strdup(path);
    char *end = copy + strlen(copy);
    while (end > copy + 1 && end[-1] == '/')
        *--end = '\0';
    char *slash = strrchr(copy, '/');
    const char *name = slash ? slash + 1 : copy;
    const char *above = !slash ? "." : slash == copy ? "/" : copy;
    if (slash && slash != copy)
        *slash = '\0';
    wh_autoclose int parent = openat(dirfd, above, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0)
        return errno == ENOENT ? 0 : wh_fail_errno(err, "open folder %s", above);
    return remove_folder(parent, name, 0, err);
}
