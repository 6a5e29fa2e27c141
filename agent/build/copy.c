/* COPY's writing half (builder.md §1.4): sources into the merged root of the layers below, so that links,
 * existing folders and their modes count as they do in the image. The upper folder then holds exactly the
 * layer. */
#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "build/copied.h"

#include "wherry/base/fs.h"

#define COPY_BUFFER ((size_t)256 << 10)
#define BIG_BUFFER ((size_t)1 << 20)
#define BIG_FILE ((off_t)4 << 20) /* from here on a second thread is worth its switches */

struct linked { /* a file with several names, copied once */
    dev_t dev;
    ino_t ino;
    char *dest;
    const struct entry *first;
};

struct job {
    struct copy *c;
    struct source *s;
    struct linked *links;
    size_t nlinks;
};

static unsigned mode_of(const struct copy *c, mode_t mode, bool dir)
{
    unsigned bits = mode & 07777;
    if (!c->chmod || !c->chmod->given)
        return bits;
    return c->chmod->symbolic ? wh_df_chmod_apply(c->chmod, bits, dir) : c->chmod->octal;
}

static void owner_of(const struct copy *c, const struct stat *st, uid_t *uid, gid_t *gid)
{
    *uid = c->chown ? c->uid : c->own_owner ? st->st_uid : 0;
    *gid = c->chown ? c->gid : c->own_owner ? st->st_gid : 0;
}

/* Sets owner, mode and time by descriptor; chown first, since it clears set-id bits. */
static int set_attributes(int fd, uid_t uid, gid_t gid, unsigned mode, const struct stat *st,
                          struct wh_error *err)
{
    struct timespec times[2] = {st->st_mtim, st->st_mtim};
    if (fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0 || futimens(fd, times) < 0)
        return wh_fail_errno(err, "set owner, mode and time");
    return 0;
}

bool copy_keeps_xattr(const char *name)
{
    return strcmp(name, "security.capability") == 0 ||
           (wh_starts_with(name, "user.") && !wh_starts_with(name, "user.overlay."));
}

static int copy_xattrs(int from, int to, struct wh_error *err)
{
    wh_autofree char *names = wh_malloc(WH_MAX_XATTRS), *value = wh_malloc(WH_MAX_XATTRS);
    ssize_t len = flistxattr(from, names, WH_MAX_XATTRS);
    for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1) {
        const char *name = names + at;
        if (!copy_keeps_xattr(name))
            continue;
        ssize_t size = fgetxattr(from, name, value, WH_MAX_XATTRS);
        if (size >= 0 && fsetxattr(to, name, value, (size_t)size, 0) < 0 && errno != EOPNOTSUPP)
            return wh_fail_errno(err, "set attribute %s", name);
    }
    return 0;
}

/* Bytes from one file to the other; hash (NULL: not wanted) sees them all. */
static int copy_bytes(int from, int to, struct wh_sha256 *hash, const bool *cancel, struct wh_error *err)
{
    if (!hash) {
        for (ssize_t n;;) {
            n = copy_file_range(from, NULL, to, NULL, (size_t)64 << 20, 0);
            if (n == 0)
                return 0;
            if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS))
                break;
            if (n < 0 && errno != EINTR)
                return wh_fail_errno(err, "copy");
            if (__atomic_load_n(cancel, __ATOMIC_RELAXED))
                return wh_fail(err, WH_E_CANCELED, "canceled");
        }
    }
    wh_autofree unsigned char *buf = wh_malloc(COPY_BUFFER);
    for (;;) {
        ssize_t n = read(from, buf, COPY_BUFFER);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wh_fail_errno(err, "read");
        if (n == 0)
            return 0;
        if (hash)
            wh_sha256_update(hash, buf, (size_t)n);
        if (wh_write_all(to, buf, (size_t)n, err) < 0)
            return -1;
        if (__atomic_load_n(cancel, __ATOMIC_RELAXED))
            return wh_fail(err, WH_E_CANCELED, "canceled");
    }
}

/* The same for a big file, hashed by a thread beside the writes. */
static int copy_big(int from, int to, struct wh_sha256 *hash, struct hasher *hasher, const bool *cancel,
                    struct wh_error *err)
{
    wh_autofree unsigned char *buf = wh_malloc(2 * BIG_BUFFER);
    int status = 1;
    for (size_t half = 0; status == 1; half = BIG_BUFFER - half) {
        ssize_t n = read(from, buf + half, BIG_BUFFER);
        if (n < 0 && errno == EINTR)
            n = read(from, buf + half, BIG_BUFFER);
        if (n <= 0) {
            status = n < 0 ? wh_fail_errno(err, "read") : 0;
            break;
        }
        hasher_give(hasher, hash, buf + half, (size_t)n);
        if (wh_write_all(to, buf + half, (size_t)n, err) < 0)
            status = -1;
        else if (__atomic_load_n(cancel, __ATOMIC_RELAXED))
            status = wh_fail(err, WH_E_CANCELED, "canceled");
    }
    hasher_wait(hasher);
    return status;
}

/* Parent folder (canonical, opened) and last name of a canonical path below the root. */
static int open_parent(const struct copy *c, const char *path, const char **name, struct wh_error *err)
{
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    wh_autofree char *parent = wh_strndup(path, slash ? (size_t)(slash - path) : 0);
    return inroot_open_dir(c->root, parent, false, err);
}

/* 1: a second name was made; 0: the file must be copied. */
static int try_hardlink(struct job *j, struct entry *e, int parent, const char *name, const char *dest)
{
    if (e->st.st_nlink < 2)
        return 0;
    for (size_t i = 0; i < j->nlinks; i++) {
        const struct linked *l = &j->links[i];
        if (l->dev != e->st.st_dev || l->ino != e->st.st_ino)
            continue;
        const char *other_name;
        wh_autoclose int other = open_parent(j->c, l->dest, &other_name, NULL);
        if (other < 0 || linkat(other, other_name, parent, name, 0) < 0)
            return 0;
        e->digest = l->first->digest; /* its bytes are those that were copied */
        return 1;
    }
    j->links = wh_reallocarray(j->links, j->nlinks + 1, sizeof(*j->links));
    j->links[j->nlinks++] = (struct linked){e->st.st_dev, e->st.st_ino, wh_strdup(dest), e};
    return 0;
}

/* What the file will be like. */
static void wanted(const struct copy *c, const struct entry *e, struct stat *out)
{
    *out = e->st;
    out->st_mode = S_IFREG | mode_of(c, e->st.st_mode, false);
    owner_of(c, &e->st, &out->st_uid, &out->st_gid);
}

/* 1: the layer before has these very bytes: only the name is made here. */
static int try_twin(struct job *j, const struct entry *e, int parent, const char *name, const char *dest,
                    struct wh_error *err)
{
    struct copy *c = j->c;
    struct stat want;
    wanted(c, e, &want);
    if (!c->copied || !c->rehash || !e->hashed || e->st.st_nlink > 1 ||
        !copied_twin(c->copied, dest, &e->digest, &want))
        return 0;
    wh_autoclose int to = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return wh_fail_errno(err, "create %s", name);
    return set_attributes(to, want.st_uid, want.st_gid, want.st_mode & 07777, &e->st, err) < 0 ? -1 : 1;
}

static int copy_regular(struct job *j, struct entry *e, const char *from_path, int parent, const char *name,
                        struct wh_error *err)
{
    struct copy *c = j->c;
    wh_autoclose int from = source_open(j->s, from_path, err);
    if (from < 0)
        return -1;
    struct stat st;
    if (fstat(from, &st) < 0 || !S_ISREG(st.st_mode))
        return wh_fail(err, WH_E_BUSY, "%s changed while it was read", from_path);
    wh_autoclose int to = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return wh_fail_errno(err, "create %s", name);
    wh_autosha256 *hash = c->rehash ? wh_sha256_new() : NULL;
    bool big = hash && c->hasher && st.st_size >= BIG_FILE;
    if ((big ? copy_big(from, to, hash, c->hasher, c->cancel, err)
             : copy_bytes(from, to, hash, c->cancel, err)) < 0 ||
        (c->xattrs && copy_xattrs(from, to, err) < 0))
        return wh_wrap(err, "%s", from_path);
    if (hash)
        wh_sha256_final(hash, &e->digest);
    uid_t uid;
    gid_t gid;
    owner_of(c, &e->st, &uid, &gid);
    return set_attributes(to, uid, gid, mode_of(c, e->st.st_mode, false), &e->st, err);
}

/* Links, fifos and devices. */
static int copy_special(struct copy *c, const struct entry *e, int parent, const char *name,
                        struct wh_error *err)
{
    uid_t uid;
    gid_t gid;
    owner_of(c, &e->st, &uid, &gid);
    if (S_ISLNK(e->st.st_mode)) {
        if (symlinkat(e->link, parent, name) < 0)
            return wh_fail_errno(err, "create link %s", name);
    } else if (mknodat(parent, name, (e->st.st_mode & S_IFMT) | 0600, e->st.st_rdev) < 0) {
        return wh_fail_errno(err, "create device or fifo %s", name);
    }
    struct timespec times[2] = {e->st.st_mtim, e->st.st_mtim};
    if (fchownat(parent, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        (!S_ISLNK(e->st.st_mode) && fchmodat(parent, name, mode_of(c, e->st.st_mode, false), 0) < 0) ||
        utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return wh_fail_errno(err, "set owner, mode and time of %s", name);
    return 0;
}

/* Everything but a folder, to a canonical path; what is there is replaced, unless it is a folder. */
static int copy_file(struct job *j, struct entry *e, const char *from_path, const char *dest,
                     struct wh_error *err)
{
    const char *name;
    wh_autoclose int parent = open_parent(j->c, dest, &name, err);
    if (parent < 0)
        return -1;
    if (name[0] == '\0' || (unlinkat(parent, name, 0) < 0 && errno == EISDIR))
        return wh_fail(err, WH_E_EXISTS, "cannot replace to directory /%s with file", dest);
    if (j->c->copied)
        copied_replace(j->c->copied, dest);
    if (!S_ISREG(e->st.st_mode))
        return copy_special(j->c, e, parent, name, err);
    int done = try_hardlink(j, e, parent, name, dest);
    if (done == 0)
        done = try_twin(j, e, parent, name, dest, err);
    if (done != 0)
        return done < 0 ? -1 : 0;
    if (copy_regular(j, e, from_path, parent, name, err) < 0)
        return -1;
    if (j->c->copied && j->c->rehash)
        copied_note(j->c->copied, dest, &e->digest);
    return 0;
}

/* A folder below the top of a copy: made, or its attributes taken over. */
static int copy_folder(struct job *j, const struct entry *e, const char *dest, struct wh_error *err)
{
    const char *name;
    wh_autoclose int parent = open_parent(j->c, dest, &name, err);
    if (parent < 0)
        return -1;
    if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
        return wh_fail_errno(err, "create folder /%s", dest);
    wh_autoclose int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return wh_fail(err, WH_E_EXISTS, "cannot copy to non-directory: /%s", dest);
    uid_t uid;
    gid_t gid;
    owner_of(j->c, &e->st, &uid, &gid);
    if (fchown(fd, uid, gid) < 0 || fchmod(fd, mode_of(j->c, e->st.st_mode, true)) < 0)
        return wh_fail_errno(err, "set owner and mode of /%s", dest);
    return 0;
}

/* Folder times come last: writing into them changes them. */
static int set_folder_time(struct copy *c, const char *dest, const struct stat *st, struct wh_error *err)
{
    wh_autoclose int fd = inroot_open_dir(c->root, dest, false, err);
    struct timespec times[2] = {st->st_mtim, st->st_mtim};
    if (fd < 0 || futimens(fd, times) < 0)
        return wh_fail_errno(err, "set time of /%s", dest);
    return 0;
}

static char *below(const char *a, const char *b)
{
    return a[0] == '\0' ? wh_strdup(b) : b[0] == '\0' ? wh_strdup(a) : wh_printf("%s/%s", a, b);
}

/* The contents of a folder into dest (canonical, there). */
static int copy_tree(struct job *j, const struct match *m, const char *dest, struct wh_error *err)
{
    for (size_t i = m->first + 1; i < m->first + m->count; i++) {
        struct entry *e = &j->s->entries[i];
        wh_autofree char *to = below(dest, e->path), *from = below(m->path, e->path);
        int status = S_ISDIR(e->st.st_mode) ? copy_folder(j, e, to, err) : copy_file(j, e, from, to, err);
        if (status < 0)
            return -1;
    }
    for (size_t i = m->first + m->count; i-- > m->first;) {
        const struct entry *e = &j->s->entries[i];
        wh_autofree char *to = below(dest, e->path);
        if (S_ISDIR(e->st.st_mode) && set_folder_time(j->c, to, &e->st, err) < 0)
            return -1;
    }
    return 0;
}

int copy_make_dirs(int root, const char *path, uid_t uid, gid_t gid, int mode, bool *created,
                   struct wh_error *err)
{
    *created = false;
    size_t len = strlen(path);
    for (size_t at = 0; at < len;) {
        at += strcspn(path + at, "/");
        wh_autofree char *prefix = wh_strndup(path, at);
        const char *slash = strrchr(prefix, '/'), *name = slash ? slash + 1 : prefix;
        wh_autofree char *parent = wh_strndup(prefix, slash ? (size_t)(slash - prefix) : 0);
        at += strspn(path + at, "/");
        wh_autoclose int dirfd = inroot_open_dir(root, parent, false, err);
        if (dirfd < 0)
            return -1;
        *created = mkdirat(dirfd, name, 0755) == 0;
        if (!*created && errno != EEXIST)
            return wh_fail_errno(err, "create folder /%s", prefix);
        if (*created && (fchownat(dirfd, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
                         fchmodat(dirfd, name, mode >= 0 ? (mode_t)mode : 0755, 0) < 0))
            return wh_fail_errno(err, "set owner and mode of /%s", prefix);
    }
    return 0;
}

/* The mode of folders that are made on the way: an octal chmod counts for these too [X]. */
static int parents_mode(const struct copy *c)
{
    return c->chmod && c->chmod->given && !c->chmod->symbolic ? (int)c->chmod->octal : -1;
}

static bool is_folder(int root, const char *canonical)
{
    wh_autoclose int fd = inroot_open_dir(root, canonical, false, NULL);
    return fd >= 0;
}

static int make_dirs(const struct copy *c, const char *path, struct wh_error *err)
{
    bool created;
    return copy_make_dirs(c->root, path, c->chown ? c->uid : 0, c->chown ? c->gid : 0, parents_mode(c),
                          &created, err);
}

/* Where a file named `name` goes: its canonical path, with the folders above made. */
static int file_place(const struct copy *c, const char *name, char **out, struct wh_error *err)
{
    wh_autofree char *dest = NULL;
    if (inroot_resolve(c->root, c->dest, true, false, &dest, err) < 0)
        return -1;
    if (wh_ends_with(c->dest, "/") || is_folder(c->root, dest)) {
        if (make_dirs(c, dest, err) < 0)
            return -1;
        *out = below(dest, name);
        return 0;
    }
    const char *slash = strrchr(dest, '/');
    wh_autofree char *parent = wh_strndup(dest, slash ? (size_t)(slash - dest) : 0);
    if (make_dirs(c, parent, err) < 0)
        return -1;
    *out = wh_steal(&dest);
    return 0;
}

/* A copy that nobody else can write to, hashed on the way. Returns its descriptor, at the beginning. */
static int private_copy(const struct copy *c, int from, struct entry *e, struct wh_error *err)
{
    wh_autoclose int to = open(c->scratch, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0)
        return wh_fail_errno(err, "create %s", c->scratch);
    (void)unlink(c->scratch);
    wh_autosha256 *hash = wh_sha256_new();
    if (lseek(from, 0, SEEK_SET) < 0 || copy_bytes(from, to, hash, c->cancel, err) < 0)
        return wh_wrap(err, "copy of the archive");
    wh_sha256_final(hash, &e->digest);
    if (lseek(to, 0, SEEK_SET) < 0)
        return wh_fail_errno(err, "rewind the archive");
    return wh_steal_fd(&to);
}

static int unpack_archive(struct job *j, const struct match *m, bool *is_archive, struct wh_error *err)
{
    struct copy *c = j->c;
    wh_autoclose int fd = source_open(j->s, m->path, err);
    if (fd < 0)
        return -1;
    *is_archive = wh_archive_is(fd);
    if (!*is_archive)
        return 0;
    if (c->rehash) {
        int copy = private_copy(c, fd, &j->s->entries[m->first], err);
        if (copy < 0)
            return -1;
        close(fd);
        fd = copy;
    }
    wh_autofree char *dest = NULL;
    if (inroot_resolve(c->root, c->dest, true, false, &dest, err) < 0)
        return -1;
    bool created;
    if (copy_make_dirs(c->root, dest, c->chown ? c->uid : 0, c->chown ? c->gid : 0, -1, &created, err) < 0)
        return -1;
    wh_autoclose int dirfd = inroot_open_dir(c->root, dest, false, err);
    if (dirfd < 0)
        return -1;
    struct wh_archive_options options = {
        .uid = c->chown ? (int64_t)c->uid : -1, .gid = c->chown ? (int64_t)c->gid : -1, .cancel = c->cancel};
    if (c->copied)
        copied_unknown(c->copied);
    return wh_archive_unpack_fd(fd, dirfd, &options, err);
}

/* What was no archive when we looked may have become one until it was copied: as a plain file it belongs to
 * no key that is known. */
static void check_still_plain(const struct copy *c, struct entry *e, const char *dest)
{
    wh_autoclose int fd = wh_open_in_root(c->root, dest, O_RDONLY | O_NOFOLLOW, 0, false, NULL);
    if (fd < 0 || wh_archive_is(fd))
        e->digest = (struct wh_digest){0};
}

static int copy_match(struct job *j, const struct match *m, struct wh_error *err)
{
    struct copy *c = j->c;
    if (m->dir) {
        wh_autofree char *dest = NULL;
        if (inroot_resolve(c->root, c->dest, true, false, &dest, err) < 0)
            return -1;
        if (make_dirs(c, dest, err) < 0)
            return -1;
        if (!is_folder(c->root, dest))
            return wh_fail(err, WH_E_EXISTS, "cannot copy to non-directory: /%s", dest);
        return copy_tree(j, m, dest, err);
    }
    struct entry *e = &j->s->entries[m->first];
    bool is_archive = false;
    if (c->unpack && S_ISREG(e->st.st_mode) && unpack_archive(j, m, &is_archive, err) < 0)
        return -1;
    if (is_archive)
        return 0;
    wh_autofree char *dest = NULL;
    if (file_place(c, m->name, &dest, err) < 0)
        return -1;
    if (copy_file(j, e, m->path, dest, err) < 0)
        return -1;
    if (c->unpack && c->rehash && S_ISREG(e->st.st_mode))
        check_still_plain(c, e, dest);
    return 0;
}

int copy_source(struct copy *c, struct source *s, struct wh_error *err)
{
    struct job j = {.c = c, .s = s};
    int status = 0;
    for (size_t i = 0; i < s->nmatches && status == 0; i++)
        status = copy_match(&j, &s->matches[i], err);
    for (size_t i = 0; i < j.nlinks; i++)
        free(j.links[i].dest);
    free(j.links);
    return status;
}

int copy_content(struct copy *c, const char *name, const char *content, size_t len, struct wh_error *err)
{
    wh_autofree char *dest = NULL;
    const char *last;
    if (file_place(c, name, &dest, err) < 0)
        return -1;
    wh_autoclose int parent = open_parent(c, dest, &last, err);
    if (parent < 0)
        return -1;
    if (unlinkat(parent, last, 0) < 0 && errno == EISDIR)
        return wh_fail(err, WH_E_EXISTS, "cannot replace to directory /%s with file", dest);
    wh_autoclose int fd = openat(parent, last, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return wh_fail_errno(err, "create /%s", dest);
    if (wh_write_all(fd, content, len, err) < 0)
        return wh_wrap(err, "/%s", dest);
    if (fchown(fd, c->chown ? c->uid : 0, c->chown ? c->gid : 0) < 0 ||
        fchmod(fd, mode_of(c, 0644, false)) < 0)
        return wh_fail_errno(err, "set owner and mode of /%s", dest);
    return 0;
}
