/* Members of a layer or an archive (builder.md §8): what is there already is replaced unless both are
 * folders; nothing is written through a link or into a shared inode. */
#include "oci/member.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "wherry/base/fs.h"

static void warn(struct oci_members *m, const char *fmt, ...) WH_PRINTF(2, 3);
static void warn(struct oci_members *m, const char *fmt, ...)
{
    va_list args;
    if (!m->warn)
        return;
    va_start(args, fmt);
    wh_autofree char *line = wh_vprintf(fmt, args);
    va_end(args);
    m->warn(m->warn_data, line);
}

/* What one member is about. */
struct place {
    const char *path; /* clean */
    int dirfd;        /* borrowed from the resolver */
    const char *name;
    bool hides; /* a whiteout of the same layer was there: a folder made here must be opaque */
};

static struct timespec mtime_of(struct archive_entry *entry)
{
    struct timespec t = {archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)};
    const time_t max = (time_t)1 << 40; /* what no file system holds is cut to what it can */
    if (!archive_entry_mtime_is_set(entry))
        return (struct timespec){0, 0};
    t.tv_sec = t.tv_sec < -max ? -max : t.tv_sec > max ? max : t.tv_sec;
    if (t.tv_nsec < 0 || t.tv_nsec >= 1000000000L)
        t.tv_nsec = 0;
    return t;
}

/* ---- attributes ---- */

static int set_owner(struct oci_members *m, const struct place *p, struct archive_entry *entry,
                     struct wh_error *err)
{
    int64_t uid = m->uid >= 0 ? m->uid : archive_entry_uid(entry);
    int64_t gid = m->gid >= 0 ? m->gid : archive_entry_gid(entry);
    if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
        return wh_fail(err, WH_E_PARSE, "owner %lld:%lld is out of range", (long long)uid, (long long)gid);
    if (fchownat(p->dirfd, p->name, (uid_t)uid, (gid_t)gid, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    if (errno == EINVAL)
        return wh_fail(
            err, WH_E_DENIED,
            "owner %lld:%lld is outside of the user ids that this builder may use; give its user more "
            "subordinate ids in /etc/subuid and /etc/subgid",
            (long long)uid, (long long)gid);
    return wh_fail_errno(err, "set owner %lld:%lld", (long long)uid, (long long)gid);
}

static bool xattr_dropped(const char *name)
{
    return wh_starts_with(name, "trusted.") || wh_starts_with(name, "user.overlay.") ||
           wh_starts_with(name, "security.selinux");
}

static int set_xattr(struct oci_members *m, const struct place *p, int fd, const char *name,
                     const void *value, size_t len, struct wh_error *err)
{
    char at[40];
    if (setxattr(oci_fd_path(fd, at), name, value, len, 0) == 0)
        return 0;
    if (errno == ENOSPC || errno == EDQUOT)
        return wh_fail_errno(err, "set attribute %s", name);
    warn(m, "/%s: attribute %s is left out: %s", p->path, name, strerror(errno));
    return 0;
}

static int set_xattrs(struct oci_members *m, const struct place *p, struct archive_entry *entry,
                      struct wh_error *err)
{
    const char *name;
    const void *value;
    size_t len, sum = 0;
    if (archive_entry_xattr_count(entry) == 0)
        return 0;
    wh_autoclose int fd = openat(p->dirfd, p->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return wh_fail_errno(err, "open it");
    archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &name, &value, &len) == ARCHIVE_OK) {
        sum += len;
        if (!name || sum > WH_MAX_LAYER_XATTRS)
            return wh_fail(err, WH_E_LIMIT, "its attributes hold more than %zu bytes", WH_MAX_LAYER_XATTRS);
        if (xattr_dropped(name))
            warn(m, "/%s: attribute %s is the host's own and is left out", p->path, name);
        else if (set_xattr(m, p, fd, name, value, len, err) < 0)
            return -1;
    }
    return 0;
}

/* Owner, attributes, mode, times, in this order: chown clears set-id bits and file capabilities. */
static int finish_member(struct oci_members *m, const struct place *p, struct archive_entry *entry,
                         struct wh_error *err)
{
    struct timespec mtime = mtime_of(entry), times[2] = {mtime, mtime};
    bool link = archive_entry_filetype(entry) == AE_IFLNK;
    if (set_owner(m, p, entry, err) < 0)
        return -1;
    if (!link && set_xattrs(m, p, entry, err) < 0)
        return -1;
    if (!link && fchmodat(p->dirfd, p->name, archive_entry_perm(entry) & 07777, 0) < 0)
        return wh_fail_errno(err, "set its mode");
    if (utimensat(p->dirfd, p->name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return wh_fail_errno(err, "set its times");
    return 0;
}

/* ---- making room ---- */

/* Removes what is at the place. */
static int clear_place(struct oci_members *m, struct place *p, const struct stat *st, struct wh_error *err)
{
    if (m->layer && oci_is_whiteout(st))
        p->hides = true;
    if (S_ISDIR(st->st_mode) || S_ISLNK(st->st_mode)) {
        m->forget = true;
        return wh_remove_tree(p->dirfd, p->name, err);
    }
    if (unlinkat(p->dirfd, p->name, 0) < 0)
        return wh_fail_errno(err, "replace what is there");
    return 0;
}

/* After this nothing is at the place. */
static int make_room(struct oci_members *m, struct place *p, struct wh_error *err)
{
    struct stat st;
    if (fstatat(p->dirfd, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : wh_fail_errno(err, "look at it");
    return clear_place(m, p, &st, err);
}

/* ---- kinds of members ---- */

static void remember_folder(struct oci_members *m, const char *path, struct timespec mtime)
{
    if (m->nfolders == m->folders_cap) {
        m->folders_cap = m->folders_cap ? m->folders_cap * 2 : 64;
        m->folders = wh_reallocarray(m->folders, m->folders_cap, sizeof(*m->folders));
    }
    m->folders[m->nfolders++] = (struct oci_folder_time){wh_strdup(path), mtime};
}

static char *resolved(const struct oci_members *m, const char *name)
{
    const char *folder = oci_merged_folder(m->merged);
    return folder[0] ? wh_printf("%s/%s", folder, name) : wh_strdup(name);
}

static int unpack_folder(struct oci_members *m, struct place *p, struct archive_entry *entry,
                         struct wh_error *err)
{
    struct stat st;
    bool there = fstatat(p->dirfd, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (there && !S_ISDIR(st.st_mode)) {
        if (clear_place(m, p, &st, err) < 0)
            return -1;
        there = false;
    }
    if (!there && mkdirat(p->dirfd, p->name, 0700) < 0)
        return wh_fail_errno(err, "make the folder");
    if (p->hides && oci_set_opaque(p->dirfd, p->name, err) < 0)
        return -1;
    wh_autofree char *path = resolved(m, p->name);
    remember_folder(m, path, mtime_of(entry));
    return finish_member(m, p, entry, err);
}

static int write_at(int fd, const char *data, size_t len, off_t offset, struct wh_error *err)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, data, len, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wh_fail_errno(err, "write its content");
        data += n;
        len -= (size_t)n;
        offset += n;
    }
    return 0;
}

static int broken_archive(struct archive *a, struct wh_error *err)
{
    const char *text = archive_error_string(a);
    return wh_fail(err, WH_E_PARSE, "%s", text ? text : "the tar stream is damaged");
}

static int copy_content(struct archive *a, int fd, uint64_t size, struct wh_error *err)
{
    const void *data;
    size_t len;
    la_int64_t offset, end = 0;
    int code;
    while ((code = archive_read_data_block(a, &data, &len, &offset)) == ARCHIVE_OK) {
        if (offset < 0 || (uint64_t)offset > size || len > size - (uint64_t)offset)
            return wh_fail(err, WH_E_PARSE, "its content is longer than its header says");
        if (write_at(fd, data, len, offset, err) < 0)
            return -1;
        end = offset + (la_int64_t)len;
    }
    if (code != ARCHIVE_EOF)
        return broken_archive(a, err);
    if ((uint64_t)end < size && ftruncate(fd, (off_t)size) < 0)
        return wh_fail_errno(err, "set its size");
    return 0;
}

static int unpack_file(struct oci_members *m, struct place *p, struct archive *a, struct archive_entry *entry,
                       struct wh_error *err)
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int64_t size = archive_entry_size(entry);
    if (size < 0 || (uint64_t)size > m->max_bytes - m->bytes)
        return wh_fail(err, WH_E_LIMIT, "the unpacked files are larger than %llu bytes in sum",
                       (unsigned long long)m->max_bytes);
    m->bytes += (uint64_t)size;
    wh_autoclose int fd = openat(p->dirfd, p->name, flags, 0600);
    if (fd < 0 && errno == EEXIST) {
        if (make_room(m, p, err) < 0)
            return -1;
        fd = openat(p->dirfd, p->name, flags, 0600);
    }
    if (fd < 0)
        return wh_fail_errno(err, "make the file");
    if (copy_content(a, fd, (uint64_t)size, err) < 0)
        return -1;
    return finish_member(m, p, entry, err);
}

static int unpack_symlink(struct oci_members *m, struct place *p, struct archive_entry *entry,
                          struct wh_error *err)
{
    const char *target = archive_entry_symlink(entry);
    if (!target || !target[0] || strlen(target) > WH_MAX_LAYER_PATH)
        return wh_fail(err, WH_E_PARSE, "the link's target is missing or too long");
    if (make_room(m, p, err) < 0)
        return -1;
    if (symlinkat(target, p->dirfd, p->name) < 0)
        return wh_fail_errno(err, "make the link");
    return finish_member(m, p, entry, err);
}

static int unpack_fifo(struct oci_members *m, struct place *p, struct archive_entry *entry,
                       struct wh_error *err)
{
    if (make_room(m, p, err) < 0)
        return -1;
    if (mkfifoat(p->dirfd, p->name, 0600) < 0)
        return wh_fail_errno(err, "make the fifo");
    return finish_member(m, p, entry, err);
}

/* ---- hard links ---- */

static int copy_file(int from, int to, struct wh_error *err)
{
    char buf[65536];
    off_t offset = 0;
    for (;;) {
        ssize_t n = read(from, buf, sizeof(buf));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wh_fail_errno(err, "read the lower layer's file");
        if (n == 0)
            return 0;
        if (write_at(to, buf, (size_t)n, offset, err) < 0)
            return -1;
        offset += n;
    }
}

/* A file of a lower layer becomes one of this layer, as overlayfs would copy it up before linking. */
static int copy_up(int lower, const struct stat *st, int dirfd, const char *name, struct wh_error *err)
{
    char at[40], target[WH_MAX_LAYER_PATH + 1];
    if (S_ISLNK(st->st_mode)) {
        ssize_t n = readlinkat(lower, "", target, sizeof(target) - 1);
        if (n < 0)
            return wh_fail_errno(err, "read the lower layer's link");
        target[n] = '\0';
        if (symlinkat(target, dirfd, name) < 0)
            return wh_fail_errno(err, "copy the lower layer's link");
    } else if (S_ISREG(st->st_mode)) {
        wh_autoclose int from = open(oci_fd_path(lower, at), O_RDONLY | O_CLOEXEC);
        wh_autoclose int to = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (from < 0 || to < 0)
            return wh_fail_errno(err, "copy the lower layer's file");
        if (copy_file(from, to, err) < 0)
            return -1;
    } else {
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "the link's target in a lower layer is neither file nor symlink");
    }
    return oci_copy_attributes(lower, st, dirfd, name, err);
}

/* A descriptor (O_PATH, the caller's) of the target, which is copied up if only a lower layer has it. */
static int open_target(struct oci_members *m, const char *path, struct wh_error *err)
{
    const char *name;
    struct stat st;
    int dirfd = oci_merged_parent(m->merged, path, &name, err);
    if (dirfd < 0)
        return -1;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        wh_autoclose int lower = oci_merged_lower(m->merged, name, &st, err);
        if (lower == -1)
            return -1;
        if (lower < 0)
            return wh_fail(err, WH_E_PARSE, "it is a hard link to /%s, which is not there", path);
        if (copy_up(lower, &st, dirfd, name, err) < 0)
            return -1;
    } else if (S_ISDIR(st.st_mode) || (m->layer && oci_is_whiteout(&st))) {
        return wh_fail(err, WH_E_PARSE, "it is a hard link to /%s, which is no file", path);
    }
    int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? wh_fail_errno(err, "open the link's target /%s", path) : fd;
}

static bool same_file(int fd, const struct place *p)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && fstatat(p->dirfd, p->name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int unpack_hardlink(struct oci_members *m, const char *path, const char *link, struct wh_error *err)
{
    wh_autostr clean = {0};
    bool absolute;
    char at[40];
    if (oci_clean_path(link, &clean, &absolute, err) < 0)
        return wh_wrap(err, "the hard link's target");
    if (clean.len == 0)
        return wh_fail(err, WH_E_PARSE, "it is a hard link to the root");
    wh_autoclose int fd = open_target(m, wh_str_text(&clean), err);
    if (fd < 0)
        return -1;
    struct place p = {.path = path};
    if ((p.dirfd = oci_merged_parent(m->merged, path, &p.name, err)) < 0)
        return -1;
    if (same_file(fd, &p))
        return 0;
    if (make_room(m, &p, err) < 0)
        return -1;
    /* AT_EMPTY_PATH asks for a capability that an unprivileged process lacks; the descriptor's own link does
     * as well. */
    if (linkat(AT_FDCWD, oci_fd_path(fd, at), p.dirfd, p.name, AT_SYMLINK_FOLLOW) < 0)
        return wh_fail_errno(err, "link it to /%s", wh_str_text(&clean));
    return 0;
}

/* ---- whiteouts ---- */

static int make_whiteout(const struct place *p, const char *name, struct wh_error *err)
{
    struct stat st;
    if (name[0] == '\0' || wh_streq(name, ".") || wh_streq(name, ".."))
        return wh_fail(err, WH_E_PARSE, "invalid whiteout name");
    if (fstatat(p->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        /* The layer has something of this name itself: the mark only says that nothing of the lower one shows
         * through. */
        if (S_ISDIR(st.st_mode))
            return oci_set_opaque(p->dirfd, name, err);
        return 0;
    }
    if (mknodat(p->dirfd, name, S_IFCHR, 0) < 0)
        return wh_fail_errno(err, "make the whiteout");
    return 0;
}

static int unpack_mark(const struct place *p, struct wh_error *err)
{
    if (wh_streq(p->name, ".wh..wh..opq"))
        return oci_set_opaque(p->dirfd, ".", err);
    if (wh_starts_with(p->name, ".wh..wh.")) /* aufs's own files */
        return 0;
    return make_whiteout(p, p->name + strlen(".wh."), err);
}

/* ---- the member ---- */

static int unpack_at(struct oci_members *m, const char *path, struct archive *a, struct archive_entry *entry,
                     struct wh_error *err)
{
    struct place p = {.path = path};
    const char *link = archive_entry_hardlink(entry), *slash = strrchr(path, '/');
    bool mark = m->layer && wh_starts_with(slash ? slash + 1 : path, ".wh.");
    if (link && !mark)
        return unpack_hardlink(m, path, link, err);
    if ((p.dirfd = oci_merged_parent(m->merged, path, &p.name, err)) < 0)
        return -1;
    if (mark)
        return unpack_mark(&p, err);
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
        return unpack_file(m, &p, a, entry, err);
    case AE_IFDIR:
        return unpack_folder(m, &p, entry, err);
    case AE_IFLNK:
        return unpack_symlink(m, &p, entry, err);
    case AE_IFIFO:
        return unpack_fifo(m, &p, entry, err);
    case AE_IFCHR:
    case AE_IFBLK:
        warn(m, "/%s: device node is skipped: a build may have no devices of its own", path);
        return 0;
    case AE_IFSOCK:
        warn(m, "/%s: socket is skipped", path);
        return 0;
    default:
        return wh_fail(err, WH_E_UNSUPPORTED, "unknown type of member");
    }
}

int oci_member_unpack(struct oci_members *m, struct archive *a, struct archive_entry *entry,
                      struct wh_error *err)
{
    wh_autostr clean = {0};
    bool absolute = false;
    const char *path = archive_entry_pathname(entry);
    if (!path)
        return wh_fail(err, WH_E_PARSE, "a member has no name");
    if (oci_clean_path(path, &clean, &absolute, err) < 0)
        return -1;
    if (clean.len == 0) /* the root itself: its metadata are the image's, not a layer's */
        return 0;
    if (absolute)
        warn(m, "\"%.200s\" is an absolute name; it is put below the root", path);
    int failed = unpack_at(m, wh_str_text(&clean), a, entry, err);
    if (m->forget)
        oci_merged_forget(m->merged);
    m->forget = false;
    return failed < 0 ? wh_wrap(err, "member \"%.200s\"", path) : 0;
}

/* ---- times of folders ---- */

int oci_members_finish(struct oci_members *m, struct wh_error *err)
{
    for (size_t i = 0; i < m->nfolders; i++) {
        const struct oci_folder_time *f = &m->folders[i];
        struct timespec times[2] = {f->mtime, f->mtime};
        wh_autoclose int fd = oci_open_plain(m->root, f->path, O_RDONLY | O_DIRECTORY);
        if (fd < 0) /* replaced by something else since */
            continue;
        if (futimens(fd, times) < 0)
            return wh_fail_errno(err, "set the times of /%s", f->path);
    }
    return 0;
}

void oci_members_clear(struct oci_members *m)
{
    for (size_t i = 0; i < m->nfolders; i++)
        free(m->folders[i].path);
    free(m->folders);
    m->folders = NULL;
    m->nfolders = 0;
}
