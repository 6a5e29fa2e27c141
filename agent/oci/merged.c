/* The resolver of member names. Nothing here lets the kernel follow a link: a hostile layer can only name
 * places below its root. */
#include "oci/merged.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "wherry/base/fs.h"

struct oci_merged {
    int root;
    bool overlay;
    int (*lowers)(void *, const int **, size_t *, struct wh_error *);
    void *lowers_data;
    bool asked, used;
    const int *lower_fds; /* newest first; the callback's */
    size_t nlowers;
    /* the last parent: as the member named it, and what it came to */
    struct wh_str asked_path, folder;
    int fd;
    unsigned links;
};

struct oci_merged *oci_merged_new(int root, bool overlay,
                                  int (*lowers)(void *, const int **, size_t *, struct wh_error *),
                                  void *lowers_data)
{
    struct oci_merged *m = wh_calloc(1, sizeof(*m));
    m->root = root;
    m->overlay = overlay;
    m->lowers = lowers;
    m->lowers_data = lowers_data;
    m->fd = -1;
    return m;
}

void oci_merged_free(struct oci_merged *m)
{
    if (!m)
        return;
    oci_merged_forget(m);
    wh_str_free(&m->asked_path);
    wh_str_free(&m->folder);
    free(m);
}

void oci_merged_forget(struct oci_merged *m)
{
    if (m->fd >= 0)
        close(m->fd);
    m->fd = -1;
}

bool oci_merged_used_lowers(const struct oci_merged *m)
{
    return m->used;
}

const char *oci_merged_folder(const struct oci_merged *m)
{
    return wh_str_text(&m->folder);
}

int oci_clean_path(const char *path, struct wh_str *out, bool *absolute, struct wh_error *err)
{
    struct wh_view rest = wh_view_of(path), part;
    size_t depth = 0;
    bool more = true;
    wh_str_clear(out);
    *absolute = path[0] == '/';
    if (rest.len > WH_MAX_LAYER_PATH)
        return wh_fail(err, WH_E_LIMIT, "the name \"%.80s...\" is longer than %d bytes", path,
                       WH_MAX_LAYER_PATH);
    while (more) {
        more = wh_view_split(rest, '/', &part, &rest);
        if (part.len == 0 || wh_view_eq(part, "."))
            continue;
        if (wh_view_eq(part, ".."))
            return wh_fail(err, WH_E_PARSE, "the name \"%.200s\" leads out of the layer by \"..\"", path);
        if (part.len > 255)
            return wh_fail(err, WH_E_LIMIT, "a component of \"%.80s...\" is longer than 255 bytes", path);
        if (++depth > WH_MAX_LAYER_DEPTH)
            return wh_fail(err, WH_E_LIMIT, "the name \"%.80s...\" has more than %d components", path,
                           WH_MAX_LAYER_DEPTH);
        if (out->len)
            wh_str_addc(out, '/');
        wh_str_addn(out, part.data, part.len);
    }
    return 0;
}

const char *oci_fd_path(int fd, char buf[40])
{
    snprintf(buf, 40, "/proc/self/fd/%d", fd);
    return buf;
}

bool oci_is_whiteout(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

int oci_set_opaque(int dirfd, const char *name, struct wh_error *err)
{
    wh_autoclose int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fsetxattr(fd, "user.overlay.opaque", "y", 1, 0) < 0)
        return wh_fail_errno(err, "mark folder %s as opaque", name);
    return 0;
}

bool oci_is_opaque(int dirfd, const char *name)
{
    char value[4];
    wh_autoclose int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = fgetxattr(fd, "user.overlay.opaque", value, sizeof(value));
    return n == 1 && value[0] == 'y';
}

/* Opens a path that holds no links below root. */
int oci_open_plain(int root, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, root, path[0] ? path : ".", &how, sizeof(how));
}

/* ---- the trees below ---- */

static int ask_lowers(struct oci_merged *m, struct wh_error *err)
{
    if (m->asked || !m->lowers)
        return 0;
    if (m->lowers(m->lowers_data, &m->lower_fds, &m->nlowers, err) < 0)
        return -1;
    m->asked = true;
    return 0;
}

/* Whether a folder of this tree hides what the lower layers have in it. */
static bool hidden_by_own(struct oci_merged *m)
{
    wh_autostr prefix = {0};
    struct wh_view rest = {wh_str_text(&m->folder), m->folder.len}, part;
    bool more = rest.len > 0;
    while (more) {
        more = wh_view_split(rest, '/', &part, &rest);
        if (prefix.len)
            wh_str_addc(&prefix, '/');
        wh_str_addn(&prefix, part.data, part.len);
        wh_autoclose int fd = oci_open_plain(m->root, wh_str_text(&prefix), O_RDONLY | O_DIRECTORY);
        if (fd >= 0 && oci_is_opaque(fd, "."))
            return true;
    }
    return false;
}

/* Looks path up in one tree. Returns an O_PATH descriptor, -1: not there, look further down; -2: not there
 * and hidden below. */
static int look_in(int root, const char *path, struct stat *st)
{
    wh_autostr prefix = {0};
    struct wh_view rest = wh_view_of(path), part;
    bool more = true, opaque = false;
    while (more) {
        more = wh_view_split(rest, '/', &part, &rest);
        if (prefix.len)
            wh_str_addc(&prefix, '/');
        wh_str_addn(&prefix, part.data, part.len);
        wh_autoclose int fd = oci_open_plain(root, wh_str_text(&prefix), O_PATH);
        if (fd < 0)
            return opaque ? -2 : -1;
        if (fstat(fd, st) < 0 || oci_is_whiteout(st) || (more && !S_ISDIR(st->st_mode)))
            return -2;
        if (!more)
            return wh_steal_fd(&fd);
        wh_autoclose int dir = oci_open_plain(root, wh_str_text(&prefix), O_RDONLY | O_DIRECTORY);
        opaque = opaque || (dir >= 0 && oci_is_opaque(dir, "."));
    }
    return -1;
}

int oci_merged_lower(struct oci_merged *m, const char *name, struct stat *st, struct wh_error *err)
{
    if (!m->lowers || (m->overlay && hidden_by_own(m)))
        return -2;
    if (ask_lowers(m, err) < 0)
        return -1;
    m->used = true;
    wh_autofree char *path =
        m->folder.len ? wh_printf("%s/%s", wh_str_text(&m->folder), name) : wh_strdup(name);
    for (size_t i = 0; i < m->nlowers; i++) {
        int fd = look_in(m->lower_fds[i], path, st);
        if (fd >= 0 || fd == -2)
            return fd;
    }
    return -2;
}

/* ---- attributes ---- */

static bool xattr_copied(const char *name)
{
    return !wh_starts_with(name, "trusted.") && !wh_starts_with(name, "user.overlay.") &&
           !wh_starts_with(name, "security.selinux");
}

/* Attributes that this file system or kind of file can't hold are left out. */
static void copy_xattrs(const char *from, const char *to)
{
    char list[4096], value[65536];
    ssize_t n = listxattr(from, list, sizeof(list));
    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(list + at) + 1) {
        if (!xattr_copied(list + at))
            continue;
        ssize_t len = getxattr(from, list + at, value, sizeof(value));
        if (len >= 0)
            (void)setxattr(to, list + at, value, (size_t)len, 0);
    }
}

int oci_copy_attributes(int from, const struct stat *st, int dirfd, const char *name, struct wh_error *err)
{
    char from_path[40], to_path[40];
    bool link = S_ISLNK(st->st_mode);
    struct timespec times[2] = {st->st_mtim, st->st_mtim};
    if (fchownat(dirfd, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return wh_fail_errno(err, "give %s to %u:%u", name, st->st_uid, st->st_gid);
    if (!link) {
        wh_autoclose int to = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (to < 0)
            return wh_fail_errno(err, "open %s", name);
        copy_xattrs(oci_fd_path(from, from_path), oci_fd_path(to, to_path));
        if (chmod(to_path, st->st_mode & 07777) < 0)
            return wh_fail_errno(err, "set the mode of %s", name);
    }
    if (utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return wh_fail_errno(err, "set the times of %s", name);
    return 0;
}

/* ---- the walk to a parent ---- */

struct steps {
    struct wh_str rest; /* components still to go, links already put in */
};

/* Goes back to the folder above: what was resolved so far holds no links, so its text can be cut. */
static int go_up(struct oci_merged *m, struct wh_error *err)
{
    size_t len = m->folder.len;
    while (len > 0 && m->folder.data[len - 1] != '/')
        len--;
    wh_str_truncate(&m->folder, len > 0 ? len - 1 : 0);
    oci_merged_forget(m);
    m->fd = oci_open_plain(m->root, wh_str_text(&m->folder), O_RDONLY | O_DIRECTORY);
    return m->fd < 0 ? wh_fail_errno(err, "open folder /%s", wh_str_text(&m->folder)) : 0;
}

static int go_root(struct oci_merged *m, struct wh_error *err)
{
    wh_str_clear(&m->folder);
    oci_merged_forget(m);
    m->fd = openat(m->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return m->fd < 0 ? wh_fail_errno(err, "open the tree's root") : 0;
}

static int go_down(struct oci_merged *m, const char *name, struct wh_error *err)
{
    int fd = openat(m->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return wh_fail_errno(err, "open folder /%s/%s", wh_str_text(&m->folder), name);
    close(m->fd);
    m->fd = fd;
    if (m->folder.len)
        wh_str_addc(&m->folder, '/');
    wh_str_add(&m->folder, name);
    return 0;
}

/* Puts a link's target in front of what is still to go. */
static int follow(struct oci_merged *m, struct steps *s, const char *name, const char *target,
                  struct wh_error *err)
{
    if (++m->links > OCI_MAX_LINKS)
        return wh_fail(err, WH_E_LIMIT, "/%s/%s leads through more than %d links", wh_str_text(&m->folder),
                       name, OCI_MAX_LINKS);
    wh_autofree char *rest = wh_printf("%s/%s", target, wh_str_text(&s->rest));
    if (strlen(rest) > 4 * (size_t)WH_MAX_LAYER_PATH)
        return wh_fail(err, WH_E_LIMIT, "the links at /%s/%s make a path that is too long",
                       wh_str_text(&m->folder), name);
    wh_str_clear(&s->rest);
    wh_str_add(&s->rest, rest);
    return target[0] == '/' ? go_root(m, err) : 0;
}

static int follow_at(struct oci_merged *m, struct steps *s, int dirfd, const char *at, const char *name,
                     struct wh_error *err)
{
    char target[WH_MAX_LAYER_PATH + 1];
    ssize_t n = readlinkat(dirfd, at, target, sizeof(target) - 1);
    if (n < 0)
        return wh_fail_errno(err, "read link /%s/%s", wh_str_text(&m->folder), name);
    target[n] = '\0';
    return follow(m, s, name, target, err);
}

static int make_folder(struct oci_merged *m, const char *name, struct wh_error *err)
{
    static const struct timespec zero[2] = {{0}, {0}};
    if (mkdirat(m->fd, name, 0755) < 0)
        return wh_fail_errno(err, "make folder /%s/%s", wh_str_text(&m->folder), name);
    /* The umask must not show in a layer, nor may the time of unpacking. */
    if (fchmodat(m->fd, name, 0755, 0) < 0 || utimensat(m->fd, name, zero, AT_SYMLINK_NOFOLLOW) < 0)
        return wh_fail_errno(err, "make folder /%s/%s", wh_str_text(&m->folder), name);
    return 0;
}

/* A component that this tree lacks: as the trees below have it. */
static int step_missing(struct oci_merged *m, struct steps *s, const char *name, struct wh_error *err)
{
    struct stat st;
    wh_autoclose int lower = oci_merged_lower(m, name, &st, err);
    if (lower == -1)
        return -1;
    if (lower >= 0 && S_ISLNK(st.st_mode))
        return follow_at(m, s, lower, "", name, err);
    if (make_folder(m, name, err) < 0)
        return -1;
    if (lower >= 0 && S_ISDIR(st.st_mode) && oci_copy_attributes(lower, &st, m->fd, name, err) < 0)
        return -1;
    return go_down(m, name, err);
}

static int step(struct oci_merged *m, struct steps *s, const char *name, struct wh_error *err)
{
    struct stat st;
    if (wh_streq(name, ".."))
        return go_up(m, err);
    if (fstatat(m->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT)
            return wh_fail_errno(err, "look at /%s/%s", wh_str_text(&m->folder), name);
        return step_missing(m, s, name, err);
    }
    if (S_ISDIR(st.st_mode))
        return go_down(m, name, err);
    if (S_ISLNK(st.st_mode))
        return follow_at(m, s, m->fd, name, name, err);
    if (!m->overlay || !oci_is_whiteout(&st))
        return wh_fail(err, WH_E_PARSE, "/%s/%s is no folder, but a member lies in it",
                       wh_str_text(&m->folder), name);
    /* Deleted below and made anew here: nothing of the lower layers shows through. */
    if (unlinkat(m->fd, name, 0) < 0)
        return wh_fail_errno(err, "replace /%s/%s", wh_str_text(&m->folder), name);
    if (make_folder(m, name, err) < 0 || oci_set_opaque(m->fd, name, err) < 0)
        return -1;
    return go_down(m, name, err);
}

static int walk(struct oci_merged *m, struct steps *s, struct wh_error *err)
{
    m->links = 0;
    if (go_root(m, err) < 0)
        return -1;
    while (s->rest.len > 0) {
        size_t len = strcspn(wh_str_text(&s->rest), "/");
        wh_autofree char *name = wh_strndup(wh_str_text(&s->rest), len);
        wh_str_consume(&s->rest, len < s->rest.len ? len + 1 : len);
        if (len == 0 || wh_streq(name, "."))
            continue;
        if (step(m, s, name, err) < 0)
            return -1;
    }
    return 0;
}

int oci_merged_parent(struct oci_merged *m, const char *path, const char **name, struct wh_error *err)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    *name = slash ? slash + 1 : path;
    if (m->fd >= 0 && m->asked_path.len == len && (len == 0 || memcmp(m->asked_path.data, path, len) == 0))
        return m->fd;
    struct steps s = {0};
    wh_str_addn(&s.rest, path, len);
    int failed = walk(m, &s, err);
    wh_str_free(&s.rest);
    if (failed < 0) {
        oci_merged_forget(m);
        return -1;
    }
    wh_str_clear(&m->asked_path);
    wh_str_addn(&m->asked_path, path, len);
    return m->fd;
}
