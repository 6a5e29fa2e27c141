/* Unpacking an archive that anybody may have made: its members stay below the folders that the step's paths
 * name, whatever their names and links say. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <linux/openat2.h>
#include <locale.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "actions/cache_archive.h"
#include "wherry/base/fs.h"

#define READ_SIZE ((size_t)256 << 10)
#define MAX_NAME 8192

/* A folder or file that the step names, or the folder before a wildcard. */
struct root {
    char *path; /* absolute; owned */
    int parent; /* of the folder that holds it; opened when it is needed; -1 */
};

struct folder { /* whose mode and time are set last */
    size_t root;
    char *below;
    mode_t mode;
    struct timespec mtime;
};

struct unpack {
    int fd;
    const char *workspace;
    struct root *roots;
    size_t nroots;
    struct folder *folders;
    size_t nfolders, room;
    struct archive *archive;
    char *buffer;
    mode_t mask;
    bool owner; /* root: who the files belong to */
    uint64_t members;
    struct wh_error *err;
};

static la_ssize_t on_read(struct archive *a, void *data, const void **buffer)
{
    struct unpack *u = data;
    *buffer = u->buffer;
    ssize_t n;
    do
        n = read(u->fd, u->buffer, READ_SIZE);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        archive_set_error(a, errno, "read: %s", strerror(errno));
    return n;
}

/* ---- names ---- */

/* The absolute path that a member's name means, without "." and "..": links don't count here. */
static char *resolve(const struct unpack *u, const char *name)
{
    wh_autofree char *whole = name[0] == '/' ? wh_strdup(name) : wh_printf("%s/%s", u->workspace, name);
    wh_autostrv char **parts = wh_strv_split(whole, '/');
    wh_autostr out = {0};
    for (size_t i = 0; parts[i]; i++) {
        if (parts[i][0] == '\0' || wh_streq(parts[i], "."))
            continue;
        if (!wh_streq(parts[i], "..")) {
            wh_str_addf(&out, "/%s", parts[i]);
            continue;
        }
        const char *slash = out.len ? strrchr(out.data, '/') : NULL;
        if (slash)
            wh_str_truncate(&out, (size_t)(slash - out.data));
    }
    if (out.len == 0)
        wh_str_addc(&out, '/');
    return wh_str_steal(&out);
}

/* The root that a path is at or below, and the rest of it; false: none. */
static bool find_root(const struct unpack *u, const char *path, size_t *root, const char **below)
{
    for (size_t i = 0; i < u->nroots; i++) {
        size_t len = strlen(u->roots[i].path);
        if (strncmp(path, u->roots[i].path, len) != 0 || (path[len] != '/' && path[len] != '\0'))
            continue;
        *root = i;
        /* From the folder that holds it on, so that a root which is a file is no special case. */
        *below = strrchr(u->roots[i].path, '/') - u->roots[i].path + path + 1;
        return true;
    }
    return false;
}

static int open_parent(struct unpack *u, struct root *r)
{
    if (r->parent >= 0)
        return r->parent;
    wh_autofree char *folder = wh_strndup(r->path, (size_t)(strrchr(r->path, '/') - r->path));
    const char *path = folder[0] ? folder : "/";
    if (wh_mkdir_p(path, 0777 & ~u->mask, u->err) < 0)
        return -1;
    r->parent = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return r->parent < 0 ? wh_fail_errno(u->err, "%s", path) : r->parent;
}

/* ---- below a root: no link leads out of it ---- */

static int open_below(int parent, const char *below, int flags)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, parent, below, &how, sizeof(how));
}

/* The folder of a member, made where it is missing; *name is its last part. */
static int open_folder(struct unpack *u, int parent, const char *below, const char **name)
{
    const char *slash = strrchr(below, '/');
    *name = slash ? slash + 1 : below;
    if (!slash)
        return fcntl(parent, F_DUPFD_CLOEXEC, 3);
    wh_autofree char *folder = wh_strndup(below, (size_t)(slash - below));
    int fd = open_below(parent, folder, O_RDONLY | O_DIRECTORY);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    const char *last;
    wh_autoclose int up = open_folder(u, parent, folder, &last);
    if (up < 0 || (mkdirat(up, last, 0777 & ~u->mask) < 0 && errno != EEXIST))
        return -1;
    return open_below(parent, folder, O_RDONLY | O_DIRECTORY);
}

/* ---- members ---- */

static mode_t mode_of(const struct unpack *u, struct archive_entry *e)
{
    mode_t mode = archive_entry_perm(e);
    return u->owner ? mode : mode & 0777 & ~u->mask;
}

static void finish(const struct unpack *u, int dir, const char *name, struct archive_entry *e, bool link)
{
    struct timespec times[2] = {{0, UTIME_NOW}, {archive_entry_mtime(e), archive_entry_mtime_nsec(e)}};
    if (u->owner)
        (void)!fchownat(dir, name, (uid_t)archive_entry_uid(e), (gid_t)archive_entry_gid(e),
                        AT_SYMLINK_NOFOLLOW);
    if (!link && u->owner)
        (void)!fchmodat(dir, name, mode_of(u, e), 0);
    (void)utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW);
}

static int make_file(struct unpack *u, int dir, const char *name, struct archive_entry *e)
{
    (void)unlinkat(dir, name, 0);
    wh_autoclose int fd =
        openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode_of(u, e) & 0777);
    if (fd < 0)
        return wh_fail_errno(u->err, "%s", archive_entry_pathname(e));
    const void *data;
    size_t len;
    la_int64_t at, end = 0;
    int rc;
    while ((rc = archive_read_data_block(u->archive, &data, &len, &at)) == ARCHIVE_OK) {
        const char *bytes = data;
        end = at + (la_int64_t)len;
        while (len > 0) {
            ssize_t n = pwrite(fd, bytes, len, at);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0)
                return wh_fail_errno(u->err, "%s", archive_entry_pathname(e));
            bytes += n;
            at += n;
            len -= (size_t)n;
        }
    }
    if (rc != ARCHIVE_EOF)
        return wh_fail(u->err, WH_E_PARSE, "%s: %s", archive_entry_pathname(e),
                       archive_error_string(u->archive));
    if (end < archive_entry_size(e) && ftruncate(fd, archive_entry_size(e)) < 0)
        return wh_fail_errno(u->err, "%s", archive_entry_pathname(e));
    finish(u, dir, name, e, false);
    return 0;
}

static int make_folder(struct unpack *u, int dir, const char *name, size_t root, const char *below,
                       struct archive_entry *e)
{
    struct stat st;
    if (mkdirat(dir, name, 0700) < 0) {
        if (errno != EEXIST || fstatat(dir, name, &st, 0) < 0 || !S_ISDIR(st.st_mode))
            return wh_fail(u->err, WH_E_EXISTS, "%s: there is a file of that name",
                           archive_entry_pathname(e));
    }
    if (u->nfolders == u->room)
        u->folders = wh_reallocarray(u->folders, u->room = u->room * 2 + 64, sizeof(*u->folders));
    u->folders[u->nfolders++] = (struct folder){
        root, wh_strdup(below), mode_of(u, e), {archive_entry_mtime(e), archive_entry_mtime_nsec(e)}};
    return 0;
}

/* To another member: below a root, too. */
static int make_hard_link(struct unpack *u, int dir, const char *name, const char *target)
{
    wh_autofree char *path = resolve(u, target);
    size_t root;
    const char *below, *last;
    if (!find_root(u, path, &root, &below))
        return wh_fail(u->err, WH_E_DENIED,
                       "the archive's hard link to %s leads out of the paths of this step", target);
    int parent = open_parent(u, &u->roots[root]);
    if (parent < 0)
        return -1;
    wh_autoclose int from = open_folder(u, parent, below, &last);
    /* A file that two patterns name is in tar's archives twice: the second time as a link to itself. */
    struct stat there;
    struct stat here;
    if (from >= 0 && fstatat(from, last, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
        fstatat(dir, name, &here, AT_SYMLINK_NOFOLLOW) == 0 && there.st_dev == here.st_dev &&
        there.st_ino == here.st_ino)
        return 0;
    (void)unlinkat(dir, name, 0);
    if (from < 0 || linkat(from, last, dir, name, 0) < 0)
        return wh_fail_errno(u->err, "a hard link to %s", target);
    return 0;
}

static int make_symlink(struct unpack *u, int dir, const char *name, struct archive_entry *e)
{
    const char *target = archive_entry_symlink(e);
    (void)unlinkat(dir, name, 0);
    if (!target || symlinkat(target, dir, name) < 0)
        return wh_fail_errno(u->err, "%s", archive_entry_pathname(e));
    finish(u, dir, name, e, true);
    return 0;
}

static int make_member(struct unpack *u, int dir, const char *name, size_t root, const char *below,
                       struct archive_entry *e)
{
    const char *link = archive_entry_hardlink(e);
    if (link)
        return make_hard_link(u, dir, name, link);
    switch (archive_entry_filetype(e)) {
    case AE_IFREG:
        return make_file(u, dir, name, e);
    case AE_IFDIR:
        return make_folder(u, dir, name, root, below, e);
    case AE_IFLNK:
        return make_symlink(u, dir, name, e);
    case AE_IFIFO:
        (void)unlinkat(dir, name, 0);
        return mkfifoat(dir, name, mode_of(u, e) & 0777) < 0
                   ? wh_fail_errno(u->err, "%s", archive_entry_pathname(e))
                   : 0;
    default:
        return wh_fail(u->err, WH_E_UNSUPPORTED, "%s is a device, which a job can't make",
                       archive_entry_pathname(e));
    }
}

static int unpack_one(struct unpack *u, struct archive_entry *e)
{
    const char *given = archive_entry_pathname(e), *below, *name;
    size_t root;
    if (!given || strlen(given) > MAX_NAME)
        return wh_fail(u->err, WH_E_PARSE, "the archive has a member without a usable name");
    if (++u->members > WH_MAX_CACHE_MEMBERS)
        return wh_fail(u->err, WH_E_LIMIT, "the archive has more than %llu members",
                       (unsigned long long)WH_MAX_CACHE_MEMBERS);
    wh_autofree char *path = resolve(u, given);
    if (!find_root(u, path, &root, &below))
        return wh_fail(u->err, WH_E_DENIED, "the archive's member %s lies outside of the paths of this step",
                       given);
    if (below[0] == '\0')
        return 0; /* the root folder of everything */
    int parent = open_parent(u, &u->roots[root]);
    if (parent < 0)
        return -1;
    wh_autoclose int dir = open_folder(u, parent, below, &name);
    if (dir < 0)
        return errno == EXDEV || errno == ELOOP
                   ? wh_fail(u->err, WH_E_DENIED,
                             "the archive's member %s leads through a link out of the paths of this step",
                             given)
                   : wh_fail_errno(u->err, "%s", given);
    return make_member(u, dir, name, root, below, e);
}

/* Inner ones first, so that a folder that may not be written to is closed last. */
static void finish_folders(struct unpack *u)
{
    for (size_t i = u->nfolders; i-- > 0;) {
        const struct folder *f = &u->folders[i];
        struct timespec times[2] = {{0, UTIME_NOW}, f->mtime};
        wh_autoclose int fd =
            open_below(u->roots[f->root].parent, f->below, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (fd < 0)
            continue;
        (void)fchmod(fd, f->mode);
        (void)futimens(fd, times);
    }
}

/* ---- the archive ---- */

static int unpack_all(struct unpack *u)
{
    struct archive_entry *e;
    int rc;
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    if (archive_read_support_format_tar(u->archive) != ARCHIVE_OK ||
        archive_read_support_filter_zstd(u->archive) != ARCHIVE_OK ||
        archive_read_support_filter_gzip(u->archive) != ARCHIVE_OK ||
        archive_read_open(u->archive, u, NULL, on_read, NULL) != ARCHIVE_OK)
        return wh_fail(u->err, WH_E_PARSE, "the archive can't be read: %s", archive_error_string(u->archive));
    while ((rc = archive_read_next_header(u->archive, &e)) == ARCHIVE_OK || rc == ARCHIVE_WARN)
        if (unpack_one(u, e) < 0)
            return -1;
    return rc == ARCHIVE_EOF
               ? 0
               : wh_fail(u->err, WH_E_PARSE, "the archive is damaged: %s", archive_error_string(u->archive));
}

int cache_archive_read(int fd, const char *workspace, const struct wh_globs *allowed, struct wh_error *err)
{
    wh_autoerror why = {0};
    struct unpack u = {.fd = fd, .workspace = workspace, .err = &why, .owner = geteuid() == 0};
    u.mask = umask(0);
    (void)umask(u.mask);
    u.roots = wh_calloc(allowed->count + 1, sizeof(*u.roots));
    for (size_t i = 0; i < allowed->count; i++)
        if (!allowed->items[i].negate)
            u.roots[u.nroots++] = (struct root){wh_strdup(allowed->items[i].search_path), -1};
    u.buffer = wh_malloc(READ_SIZE);
    u.archive = archive_read_new();
    int rc = lseek(fd, 0, SEEK_SET) < 0 ? wh_fail_errno(&why, "the archive") : unpack_all(&u);
    finish_folders(&u);
    archive_read_free(u.archive);
    for (size_t i = 0; i < u.nfolders; i++)
        free(u.folders[i].below);
    for (size_t i = 0; i < u.nroots; i++) {
        free(u.roots[i].path);
        wh_close_fd(&u.roots[i].parent);
    }
    free(u.folders);
    free(u.roots);
    free(u.buffer);
    return rc < 0 ? wh_error_move(err, &why) : 0;
}
