/* What a COPY writes, remembered: the digest of each file (so that an export finds compressed segments of
 * earlier blobs), and files whose very bytes and attributes the layer that this instruction made before has:
 * these become further names of those (design.md "why it can be fast" 7). Trees of the store are never
 * written to, so a name in one may share a file with a name in another. */
#include "build/copied.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <uthash.h>

#include "wherry/base/fs.h"

#define COPY_BUFFER ((size_t)256 << 10)

struct twin { /* a file whose bytes come from the layer before */
    UT_hash_handle hh;
    char path[];
};
struct inode { /* of the layer before: in this tree it may have one name only */
    ino_t ino;
    UT_hash_handle hh;
};
struct cursor { /* the folder that was asked for last */
    int root;   /* borrowed */
    int fd;
    char *path;
};

struct copied {
    struct wh_store *store;
    struct wh_layer_files *files, *before;
    int before_root;
    struct cursor before_at;
    struct twin *twins;
    struct inode *inodes;
    bool unknown; /* something was written whose names are not told: nothing is saved */
};

static void cursor_clear(struct cursor *c)
{
    wh_close_fd(&c->fd);
    free(c->path);
    c->path = NULL;
}

/* The folder of path, which holds no links; *name is its last component. Negative: it isn't there. */
static int cursor_to(struct cursor *c, const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    *name = slash ? slash + 1 : path;
    if (c->path && strlen(c->path) == len && memcmp(c->path, path, len) == 0)
        return c->fd;
    cursor_clear(c);
    c->path = wh_strndup(path, len);
    c->fd = inroot_open_dir(c->root, c->path, false, NULL);
    return c->fd;
}

struct copied *copied_new(struct wh_store *store, int64_t previous)
{
    struct copied *c = wh_calloc(1, sizeof(*c));
    c->store = store;
    c->files = wh_layer_files_new();
    c->before_root = -1;
    if (previous > 0 && (c->before = wh_layer_files_load(store, previous)))
        c->before_root = wh_layer_open(store, previous, NULL);
    c->before_at = (struct cursor){.root = c->before_root, .fd = -1};
    return c;
}

static void forget_twins(struct copied *c)
{
    struct twin *next = c->twins;
    HASH_CLEAR(hh, c->twins); /* the table; its members stay linked */
    for (struct twin *twin; (twin = next);) {
        next = twin->hh.next;
        free(twin);
    }
}

void copied_free(struct copied *c)
{
    if (!c)
        return;
    forget_twins(c);
    struct inode *next = c->inodes;
    HASH_CLEAR(hh, c->inodes);
    for (struct inode *inode; (inode = next);) {
        next = inode->hh.next;
        free(inode);
    }
    cursor_clear(&c->before_at);
    wh_close_fd(&c->before_root);
    wh_layer_files_free(c->files);
    wh_layer_files_free(c->before);
    free(c);
}

static struct twin *find_twin(const struct copied *c, const char *path)
{
    struct twin *twin;
    HASH_FIND_STR(c->twins, path, twin);
    return twin;
}

void copied_replace(struct copied *c, const char *path)
{
    wh_layer_files_drop(c->files, path);
    struct twin *twin = find_twin(c, path);
    if (!twin)
        return;
    HASH_DEL(c->twins, twin);
    free(twin);
}

void copied_note(struct copied *c, const char *path, const struct wh_digest *digest)
{
    wh_layer_files_put(c->files, path, digest);
}

void copied_unknown(struct copied *c)
{
    c->unknown = true;
}

/* A second name for one file of the layer before would become a hard link in this layer. */
static bool first_use(struct copied *c, ino_t ino)
{
    struct inode *inode;
    HASH_FIND(hh, c->inodes, &ino, sizeof(ino), inode);
    if (inode)
        return false;
    inode = wh_calloc(1, sizeof(*inode));
    inode->ino = ino;
    HASH_ADD(hh, c->inodes, ino, sizeof(inode->ino), inode);
    return true;
}

static bool same_attributes(const struct stat *have, const struct stat *want)
{
    return S_ISREG(have->st_mode) && have->st_mode == want->st_mode && have->st_uid == want->st_uid &&
           have->st_gid == want->st_gid && have->st_size == want->st_size &&
           have->st_mtim.tv_sec == want->st_mtim.tv_sec && have->st_mtim.tv_nsec == want->st_mtim.tv_nsec;
}

bool copied_twin(struct copied *c, const char *path, const struct wh_digest *digest, const struct stat *want)
{
    struct stat st;
    const char *name;
    const struct wh_digest *before =
        c->before && want->st_size > 0 ? wh_layer_files_get(c->before, path) : NULL;
    if (!before || !wh_digest_eq(before, digest))
        return false;
    int folder = cursor_to(&c->before_at, path, &name);
    if (folder < 0 || fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !same_attributes(&st, want) ||
        !first_use(c, st.st_ino))
        return false;
    struct twin *twin = wh_calloc(1, sizeof(*twin) + strlen(path) + 1);
    memcpy(twin->path, path, strlen(path) + 1);
    HASH_ADD_STR(c->twins, path, twin);
    copied_note(c, path, digest);
    return true;
}

/* ---- after the merged root is unmounted ---- */

/* Where a file has as many names as the file system allows. */
static int copy_over(int from_dir, int to_dir, const char *name, struct wh_error *err)
{
    wh_autoclose int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    wh_autoclose int to = openat(to_dir, name, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (from < 0 || to < 0 || fstat(from, &st) < 0)
        return wh_fail_errno(err, "open %s", name);
    wh_autofree char *buf = wh_malloc(COPY_BUFFER);
    for (;;) {
        ssize_t n = read(from, buf, COPY_BUFFER);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wh_fail_errno(err, "read %s", name);
        if (n == 0)
            break;
        if (wh_write_all(to, buf, (size_t)n, err) < 0)
            return -1;
    }
    const struct timespec times[2] = {st.st_mtim, st.st_mtim};
    return futimens(to, times) < 0 ? wh_fail_errno(err, "set the time of %s", name) : 0;
}

static int join(struct copied *c, struct cursor *at, const char *path, struct wh_error *err)
{
    struct stat st;
    const char *name;
    int folder = cursor_to(at, path, &name);
    int from = cursor_to(&c->before_at, path, &name);
    if (folder < 0 || from < 0 || fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(st.st_mode) || st.st_size != 0)
        return wh_fail(err, WH_E_FAILED, "/%s changed while its layer was made", path);
    if (fstat(folder, &st) < 0 || unlinkat(folder, name, 0) < 0)
        return wh_fail_errno(err, "replace /%s", path);
    int status = 0;
    if (linkat(from, name, folder, name, 0) < 0) {
        int made = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        struct stat old;
        if (made < 0 || fstatat(from, name, &old, AT_SYMLINK_NOFOLLOW) < 0 ||
            fchown(made, old.st_uid, old.st_gid) < 0 || fchmod(made, old.st_mode & 07777) < 0)
            status = wh_fail_errno(err, "create /%s", path);
        wh_close_fd(&made);
        if (status == 0)
            status = copy_over(from, folder, name, err);
    }
    const struct timespec times[2] = {st.st_mtim, st.st_mtim};
    if (status == 0 && futimens(folder, times) < 0)
        status = wh_fail_errno(err, "set the time of the folder of /%s", path);
    return status;
}

int copied_finish(struct copied *c, int tree, struct wh_error *err)
{
    struct cursor at = {.root = tree, .fd = -1};
    int status = 0;
    for (const struct twin *twin = c->twins; twin && status == 0; twin = twin->hh.next)
        status = join(c, &at, twin->path, err);
    cursor_clear(&at);
    return status;
}

int copied_save(const struct copied *c, int64_t layer, struct wh_error *err)
{
    return c->unknown ? 0 : wh_layer_files_save(c->store, layer, c->files, err);
}
