/* Paths of a foreign tree: resolved by hand, one component at a time, so that links stay inside. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "build/solve.h"

#include "wherry/base/fs.h"

/* The target of path if it is a link below root: 1 with *out, 0 if it is no link or not there. */
static int link_target(int root, const char *path, bool no_xdev, char **out, struct wh_error *err)
{
    wh_autoerror mine = {0};
    wh_autoclose int fd = wh_open_in_root(root, path, O_PATH | O_NOFOLLOW, 0, no_xdev, &mine);
    if (fd < 0)
        return mine.code == WH_E_NOT_FOUND ? 0 : wh_error_move(err, &mine);
    char buf[4096];
    ssize_t n = readlinkat(fd, "", buf, sizeof(buf));
    if (n < 0)
        return errno == EINVAL || errno == ENOENT ? 0 : wh_fail_errno(err, "read link %s", path);
    if ((size_t)n == sizeof(buf))
        return wh_fail(err, WH_E_LIMIT, "link %s is longer than %zu bytes", path, sizeof(buf) - 1);
    *out = wh_strndup(buf, (size_t)n);
    return 1;
}

static void drop_last(struct wh_str *path)
{
    const char *text = wh_str_text(path), *slash = strrchr(text, '/');
    wh_str_truncate(path, slash ? (size_t)(slash - text) : 0);
}

int inroot_resolve(int root, const char *path, bool follow, bool no_xdev, char **out, struct wh_error *err)
{
    wh_autostr done = {0};
    wh_autofree char *rest = wh_strdup(path);
    size_t at = 0;
    unsigned links = 0;
    for (;;) {
        at += strspn(rest + at, "/");
        size_t len = strcspn(rest + at, "/");
        if (len == 0)
            break;
        wh_autofree char *name = wh_strndup(rest + at, len);
        at += len;
        bool last = rest[at + strspn(rest + at, "/")] == '\0';
        if (strcmp(name, ".") == 0)
            continue;
        if (strcmp(name, "..") == 0) {
            drop_last(&done);
            continue;
        }
        size_t parent = done.len;
        wh_str_addf(&done, "%s%s", done.len ? "/" : "", name);
        if (last && !follow)
            break;
        wh_autofree char *target = NULL;
        int is_link = link_target(root, wh_str_text(&done), no_xdev, &target, err);
        if (is_link < 0)
            return -1;
        if (!is_link || !target)
            continue;
        if (++links > WH_MAX_LINKS)
            return wh_fail(err, WH_E_LIMIT, "%s: too many links", path);
        char *joined = wh_printf("%s/%s", target, rest + at);
        wh_str_truncate(&done, target[0] == '/' ? 0 : parent);
        free(rest);
        rest = joined;
        at = 0;
    }
    *out = wh_str_steal(&done);
    return 0;
}

int inroot_open_dir(int root, const char *path, bool no_xdev, struct wh_error *err)
{
    return wh_open_in_root(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, no_xdev, err);
}
