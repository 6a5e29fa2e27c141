/* The tree walk that layers are written from. It runs inside the builder's user namespace, on trees that
 * nobody else changes any more; names are still opened one by one below their folder's descriptor, never
 * through a link. */
#include "oci/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <uthash.h>

#define MAX_XATTR_LIST 65536
#define MAX_XATTR_VALUE 65536

struct level {
    int fd;
    char **names; /* sorted; owned */
    size_t n, next;
    size_t path_len; /* of the folder's own path */
};

struct inode {
    struct {
        dev_t dev;
        ino_t ino;
    } key;
    char *path; /* the first path of it */
    UT_hash_handle hh;
};

struct oci_walk {
    bool overlay;
    struct level levels[OCI_MAX_WALK_DEPTH];
    size_t depth;
    struct wh_str path;
    struct wh_str target; /* of a symlink */
    struct inode *inodes;
    bool enter; /* the last entry was a folder that is to be entered */
    int enter_fd;
    bool opaque; /* and it is opaque */
    struct stat enter_stat;
    struct oci_xattr *xattrs;
    size_t nxattrs;
    /* Here and not on the stack: threads of small libcs have little of it. */
    char list[MAX_XATTR_LIST], value[MAX_XATTR_VALUE];
};

static int compare_names(const void *a, const void *b)
{
    const char *const *left = a, *const *right = b;
    return strcmp(*left, *right);
}

static int read_names(struct level *level, const char *path, struct wh_error *err)
{
    int own = fcntl(level->fd, F_DUPFD_CLOEXEC, 0);
    DIR *dir = own < 0 ? NULL : fdopendir(own);
    if (!dir) {
        wh_fail_errno(err, "open folder /%s", path);
        wh_close_fd(&own);
        return -1;
    }
    rewinddir(dir);
    size_t cap = 0;
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(dir))) {
        if (wh_streq(entry->d_name, ".") || wh_streq(entry->d_name, ".."))
            continue;
        if (level->n == cap) {
            cap = cap ? cap * 2 : 32;
            level->names = wh_reallocarray(level->names, cap, sizeof(char *));
        }
        level->names[level->n++] = wh_strdup(entry->d_name);
        errno = 0;
    }
    int failed = errno ? wh_fail_errno(err, "read folder /%s", path) : 0;
    closedir(dir);
    if (level->n > 1)
        qsort(level->names, level->n, sizeof(char *), compare_names);
    return failed;
}

/* Takes fd. */
static int push(struct oci_walk *w, int fd, struct wh_error *err)
{
    if (w->depth == OCI_MAX_WALK_DEPTH) {
        close(fd);
        return wh_fail(err, WH_E_LIMIT, "/%.200s...: folders are nested more than %d deep",
                       wh_str_text(&w->path), OCI_MAX_WALK_DEPTH);
    }
    struct level *level = &w->levels[w->depth++];
    *level = (struct level){.fd = fd, .path_len = w->path.len};
    return read_names(level, wh_str_text(&w->path), err);
}

static void pop(struct oci_walk *w)
{
    struct level *level = &w->levels[--w->depth];
    close(level->fd);
    for (size_t i = 0; i < level->n; i++)
        free(level->names[i]);
    free(level->names);
}

struct oci_walk *oci_walk_new(int root, bool overlay, struct wh_error *err)
{
    int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        wh_fail_errno(err, "open the tree");
        return NULL;
    }
    struct oci_walk *w = wh_calloc(1, sizeof(*w));
    w->overlay = overlay;
    w->enter_fd = -1;
    if (push(w, fd, err) < 0) {
        oci_walk_free(w);
        return NULL;
    }
    return w;
}

static void drop_xattrs(struct oci_walk *w)
{
    for (size_t i = 0; i < w->nxattrs; i++) {
        free(w->xattrs[i].name);
        free(w->xattrs[i].value);
    }
    free(w->xattrs);
    w->xattrs = NULL;
    w->nxattrs = 0;
}

void oci_walk_free(struct oci_walk *w)
{
    if (!w)
        return;
    struct inode *inode = w->inodes;
    HASH_CLEAR(hh, w->inodes); /* the table; the entries stay linked */
    while (inode) {
        struct inode *next = inode->hh.next;
        free(inode->path);
        free(inode);
        inode = next;
    }
    while (w->depth > 0)
        pop(w);
    wh_close_fd(&w->enter_fd);
    drop_xattrs(w);
    wh_str_free(&w->path);
    wh_str_free(&w->target);
    free(w);
}

static int compare_xattrs(const void *a, const void *b)
{
    const struct oci_xattr *left = a, *right = b;
    return strcmp(left->name, right->name);
}

/* What goes into a layer: file capabilities and user attributes. overlayfs's own and trusted ones are the
 * host's. */
static bool xattr_wanted(const char *name)
{
    if (wh_streq(name, "security.capability"))
        return true;
    return wh_starts_with(name, "user.") && !wh_starts_with(name, "user.overlay.");
}

static int read_xattr(struct oci_walk *w, int fd, const char *name, struct wh_error *err)
{
    ssize_t n = fgetxattr(fd, name, w->value, sizeof(w->value));
    if (n < 0)
        return errno == ENODATA ? 0
                                : wh_fail_errno(err, "read attribute %s of /%s", name, wh_str_text(&w->path));
    w->xattrs = wh_reallocarray(w->xattrs, w->nxattrs + 1, sizeof(*w->xattrs));
    struct oci_xattr *x = &w->xattrs[w->nxattrs++];
    x->name = wh_strdup(name);
    x->value = wh_malloc((size_t)n + 1);
    memcpy(x->value, w->value, (size_t)n);
    x->len = (size_t)n;
    return 0;
}

static int read_xattrs(struct oci_walk *w, int fd, struct wh_error *err)
{
    const char *list = w->list;
    ssize_t n = flistxattr(fd, w->list, sizeof(w->list));
    if (n < 0)
        return errno == ENOTSUP ? 0 : wh_fail_errno(err, "list attributes of /%s", wh_str_text(&w->path));
    for (size_t at = 0; at < (size_t)n; at += strlen(list + at) + 1)
        if (xattr_wanted(list + at) && read_xattr(w, fd, list + at, err) < 0)
            return -1;
    if (w->nxattrs > 1)
        qsort(w->xattrs, w->nxattrs, sizeof(*w->xattrs), compare_xattrs);
    return 0;
}

static bool fd_is_opaque(int fd)
{
    char value[4];
    ssize_t n = fgetxattr(fd, "user.overlay.opaque", value, sizeof(value));
    if (n != 1)
        n = fgetxattr(fd, "trusted.overlay.opaque", value, sizeof(value));
    return n == 1 && value[0] == 'y';
}

/* Marks whose content lies elsewhere can't be exported: fail loudly instead of writing an empty file. */
static int refuse_redirects(struct oci_walk *w, int fd, bool folder, struct wh_error *err)
{
    static const char *const folder_marks[] = {"user.overlay.redirect", "trusted.overlay.redirect"};
    static const char *const file_marks[] = {"user.overlay.metacopy", "trusted.overlay.metacopy",
                                             "user.overlay.whiteout", "trusted.overlay.whiteout"};
    const char *const *marks = folder ? folder_marks : file_marks;
    for (size_t i = 0; i < (folder ? WH_COUNT(folder_marks) : WH_COUNT(file_marks)); i++)
        if (fgetxattr(fd, marks[i], NULL, 0) >= 0)
            return wh_fail(err, WH_E_UNSUPPORTED,
                           "/%s carries %s: the tree was written with other overlayfs options",
                           wh_str_text(&w->path), marks[i]);
    return 0;
}

/* Fills link with the first path of the inode, or notes this one as the first. */
static void find_hardlink(struct oci_walk *w, struct oci_walk_entry *e)
{
    struct inode *found = NULL, probe;
    memset(&probe.key, 0, sizeof(probe.key));
    probe.key.dev = e->st.st_dev;
    probe.key.ino = e->st.st_ino;
    HASH_FIND(hh, w->inodes, &probe.key, sizeof(probe.key), found);
    if (found) {
        e->is_hardlink = true;
        e->link = found->path;
        return;
    }
    struct inode *inode = wh_calloc(1, sizeof(*inode));
    memcpy(&inode->key, &probe.key, sizeof(inode->key));
    inode->path = wh_strdup(wh_str_text(&w->path));
    HASH_ADD(hh, w->inodes, key, sizeof(inode->key), inode);
}

static int open_checked(struct oci_walk *w, const struct oci_walk_entry *e, int flags, struct wh_error *err)
{
    int fd = openat(e->dirfd, e->name, flags | O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOATIME);
    if (fd < 0 && errno == EPERM)
        fd = openat(e->dirfd, e->name, flags | O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return wh_fail_errno(err, "open /%s", wh_str_text(&w->path));
    struct stat now;
    if (fstat(fd, &now) < 0 || now.st_ino != e->st.st_ino || now.st_dev != e->st.st_dev) {
        close(fd);
        return wh_fail(err, WH_E_FAILED, "/%s was changed while the layer was written",
                       wh_str_text(&w->path));
    }
    return fd;
}

static int visit_folder(struct oci_walk *w, struct oci_walk_entry *e, struct wh_error *err)
{
    wh_autoclose int fd = open_checked(w, e, O_DIRECTORY, err);
    if (fd < 0 || read_xattrs(w, fd, err) < 0)
        return -1;
    if (w->overlay) {
        if (refuse_redirects(w, fd, true, err) < 0)
            return -1;
        w->opaque = fd_is_opaque(fd);
    }
    w->enter = true;
    w->enter_fd = wh_steal_fd(&fd);
    w->enter_stat = e->st;
    return 0;
}

static int visit_file(struct oci_walk *w, struct oci_walk_entry *e, struct wh_error *err)
{
    wh_autoclose int fd = open_checked(w, e, 0, err);
    if (fd < 0 || read_xattrs(w, fd, err) < 0)
        return -1;
    if (w->overlay && e->st.st_size == 0 && refuse_redirects(w, fd, false, err) < 0)
        return -1;
    e->fd = wh_steal_fd(&fd);
    return 0;
}

static int visit_symlink(struct oci_walk *w, struct oci_walk_entry *e, struct wh_error *err)
{
    char target[4097];
    ssize_t n = readlinkat(e->dirfd, e->name, target, sizeof(target) - 1);
    if (n < 0)
        return wh_fail_errno(err, "read link /%s", wh_str_text(&w->path));
    wh_str_clear(&w->target);
    wh_str_addn(&w->target, target, (size_t)n);
    e->link = wh_str_text(&w->target);
    return 0;
}

static int visit(struct oci_walk *w, struct oci_walk_entry *e, struct wh_error *err)
{
    bool whiteout = w->overlay && S_ISCHR(e->st.st_mode) && e->st.st_rdev == makedev(0, 0);
    if (whiteout) { /* overlayfs links all of a layer's to one inode */
        e->kind = OCI_WALK_WHITEOUT;
        return 0;
    }
    if (!S_ISDIR(e->st.st_mode) && e->st.st_nlink > 1)
        find_hardlink(w, e);
    if (e->is_hardlink)
        return 0;
    switch (e->st.st_mode & S_IFMT) {
    case S_IFDIR:
        return visit_folder(w, e, err);
    case S_IFREG:
        return visit_file(w, e, err);
    case S_IFLNK:
        return visit_symlink(w, e, err);
    default:
        return 0;
    }
}

/* After a folder's own entry: its opaque mark, and then what is in it. 1 if out is filled. */
static int enter(struct oci_walk *w, struct oci_walk_entry *out, struct wh_error *err)
{
    if (w->opaque) {
        w->opaque = false;
        *out = (struct oci_walk_entry){.kind = OCI_WALK_OPAQUE,
                                       .path = wh_str_text(&w->path),
                                       .name = "",
                                       .dirfd = w->enter_fd,
                                       .st = w->enter_stat,
                                       .fd = -1};
        return 1;
    }
    w->enter = false;
    return push(w, wh_steal_fd(&w->enter_fd), err);
}

static int take(struct oci_walk *w, struct oci_walk_entry *out, struct wh_error *err)
{
    struct level *level = &w->levels[w->depth - 1];
    const char *name = level->names[level->next++];
    wh_str_truncate(&w->path, level->path_len);
    if (w->path.len)
        wh_str_addc(&w->path, '/');
    wh_str_add(&w->path, name);
    *out = (struct oci_walk_entry){.path = wh_str_text(&w->path), .name = name, .dirfd = level->fd, .fd = -1};
    if (fstatat(level->fd, name, &out->st, AT_SYMLINK_NOFOLLOW) < 0)
        return wh_fail_errno(err, "look at /%s", wh_str_text(&w->path));
    if (S_ISSOCK(out->st.st_mode))
        return 0;
    if (visit(w, out, err) < 0)
        return -1;
    out->xattrs = w->xattrs;
    out->nxattrs = w->nxattrs;
    return 1;
}

int oci_walk_next(struct oci_walk *w, struct oci_walk_entry *out, struct wh_error *err)
{
    drop_xattrs(w);
    if (w->enter) {
        int n = enter(w, out, err);
        if (n != 0)
            return n;
    }
    while (w->depth > 0) {
        struct level *level = &w->levels[w->depth - 1];
        if (level->next == level->n) {
            pop(w);
            continue;
        }
        int n = take(w, out, err);
        if (n != 0)
            return n;
    }
    return 0;
}
