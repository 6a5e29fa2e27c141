/* Reading, writing, resolving. */
#include "wherry/base/fs.h"

#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

char *wh_path_join(const char *a, const char *b)
{
    if (b[0] == '/' || a[0] == '\0')
        return wh_strdup(b);
    return wh_printf("%s%s%s", a, wh_ends_with(a, "/") ? "" : "/", b);
}

int wh_read_fd(int fd, size_t max, const char *what, struct wh_str *out, struct wh_error *err)
{
    size_t total = 0;
    for (;;) {
        wh_str_reserve(out, 16384);
        ssize_t n = read(fd, out->data + out->len, out->cap - out->len - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wh_fail_errno(err, "read %s", what);
        if (n == 0)
            break;
        total += (size_t)n;
        if (total > max)
            return wh_fail(err, WH_E_LIMIT, "%s is larger than the limit of %zu bytes", what, max);
        out->len += (size_t)n;
    }
    out->data[out->len] = '\0';
    return 0;
}

int wh_read_file(int dirfd, const char *path, size_t max, struct wh_str *out, struct wh_error *err)
{
    wh_autoclose int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return wh_fail_errno(err, "open %s", path);
    return wh_read_fd(fd, max, path, out, err);
}

int wh_write_all(int fd, const void *data, size_t len, struct wh_error *err)
{
    const char *at = data;
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wh_fail_errno(err, "write");
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return wh_strdup(".");
    return slash == path ? wh_strdup("/") : wh_strndup(path, (size_t)(slash - path));
}

int wh_fsync_dir(int dirfd, const char *path, struct wh_error *err)
{
    wh_autoclose int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return wh_fail_errno(err, "flush folder %s", path);
    return 0;
}

static int write_new(int fd, const void *data, size_t len, mode_t mode, bool flush, struct wh_error *err)
{
    if (fchmod(fd, mode) < 0)
        return wh_fail_errno(err, "set mode");
    if (wh_write_all(fd, data, len, err) < 0)
        return -1;
    if (flush && fsync(fd) < 0)
        return wh_fail_errno(err, "flush");
    return 0;
}

static int replace_file(int dirfd, const char *path, const void *data, size_t len, mode_t mode, bool flush,
                        struct wh_error *err)
{
    static unsigned counter;
    unsigned number = __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED);
    wh_autofree char *beside = wh_printf("%s.%d.%u.new", path, (int)getpid(), number);
    wh_autoclose int fd = openat(dirfd, beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return wh_fail_errno(err, "create %s", beside);
    if (write_new(fd, data, len, mode, flush, err) < 0) {
        unlinkat(dirfd, beside, 0);
        return wh_wrap(err, "%s", path);
    }
    if (renameat(dirfd, beside, dirfd, path) < 0) {
        wh_fail_errno(err, "rename to %s", path);
        unlinkat(dirfd, beside, 0);
        return -1;
    }
    return 0;
}

int wh_write_file(int dirfd, const char *path, const void *data, size_t len, mode_t mode,
                  struct wh_error *err)
{
    if (replace_file(dirfd, path, data, len, mode, true, err) < 0)
        return -1;
    wh_autofree char *parent = parent_of(path);
    return wh_fsync_dir(dirfd, parent, err);
}

int wh_write_file_quick(int dirfd, const char *path, const void *data, size_t len, mode_t mode,
                        struct wh_error *err)
{
    return replace_file(dirfd, path, data, len, mode, false, err);
}

int wh_mkdir_p(const char *path, mode_t mode, struct wh_error *err)
{
    if (mkdir(path, mode) == 0)
        return 0;
    if (errno == ENOENT) {
        wh_autofree char *parent = parent_of(path);
        if (strcmp(parent, path) == 0)
            return wh_fail_errno(err, "create folder %s", path);
        if (wh_mkdir_p(parent, mode, err) < 0)
            return -1;
        if (mkdir(path, mode) == 0)
            return 0;
    }
    int number = errno;
    struct stat st;
    if (number == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    errno = number;
    return wh_fail_errno(err, "create folder %s", path);
}

int wh_open_in_root(int root, const char *path, int flags, mode_t mode, bool no_xdev, struct wh_error *err)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .mode = (flags & (O_CREAT | __O_TMPFILE)) ? mode : 0,
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | (no_xdev ? RESOLVE_NO_XDEV : 0),
    };
    int fd, tries = 0;
    do { /* EAGAIN: a rename raced with the walk */
        fd = (int)syscall(SYS_openat2, root, path[0] ? path : ".", &how, sizeof(how));
    } while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < 64)));
    if (fd < 0)
        return wh_fail_errno(err, "open %s", path);
    return fd;
}

char *wh_self_path(void)
{
    char buf[4096];
    ssize_t n = readlink("/proc/self/exe", buf, sizeof(buf) - 1);
    return n > 0 ? wh_strndup(buf, (size_t)n) : wh_strdup("/proc/self/exe");
}

/* Processes that it is told to stand in other folders. */
static char *absolute(const char *path)
{
    wh_autofree char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
    return here ? wh_path_join(here, path) : wh_strdup(path);
}

char *wh_state_dir(const char *option)
{
    if (option)
        return absolute(option);
    const char *value = getenv("WHERRY_STATE");
    if (value && *value)
        return absolute(value);
    if (geteuid() == 0)
        return wh_strdup("/var/lib/wherry");
    value = getenv("XDG_STATE_HOME");
    if (value && value[0] == '/')
        return wh_path_join(value, "wherry");
    const char *home = getenv("HOME");
    return wh_path_join(home && *home ? home : "/tmp", ".local/state/wherry");
}
