/* hashFiles(): which files, in which order, and their hash (job-execution.md §2.5). The order of the walk
 * decides the hash: the literal folder before the first wildcard of each pattern, in the order of the
 * patterns, each depth first in byte order. */
#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#include "wherry/base/clock.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "wherry/job/expr.h"
#include "wherry/job/glob.h"

struct ancestor { /* folders on the way down, to find cycles of links */
    const struct ancestor *up;
    const char *real_path;
};

struct walk {
    const char *workspace;
    size_t workspace_len;
    struct wh_globs globs;
    bool follow;
    uint64_t deadline;
    struct wh_sha256 *total, *file;
    size_t hashed;
    struct wh_error *err;
};

static int check_time(struct walk *w)
{
    if (wh_mono_ms() < w->deadline)
        return 0;
    return wh_fail(w->err, WH_E_TIMEOUT, "not finished within %d seconds", WH_MAX_HASHFILES_SECONDS);
}

static int hash_content(struct walk *w, int fd, const char *path)
{
    static char buffer[1 << 16];
    for (;;) {
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return wh_fail_errno(w->err, "read %s", path);
        if (n == 0)
            return 0;
        wh_sha256_update(w->file, buffer, (size_t)n);
        if (check_time(w) < 0)
            return -1;
    }
}

static int hash_file(struct walk *w, const char *path)
{
    if (strncmp(path, w->workspace, w->workspace_len) != 0 || path[w->workspace_len] != '/')
        return 0; /* outside of the workspace */
    struct stat st;
    if (stat(path, &st) < 0)
        return wh_fail_errno(w->err, "%s", path);
    if (S_ISDIR(st.st_mode))
        return 0;
    if (!S_ISREG(st.st_mode))
        return wh_fail(w->err, WH_E_ARGUMENT, "%s is no regular file", path);
    wh_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return wh_fail_errno(w->err, "%s", path);
    if (hash_content(w, fd, path) < 0)
        return -1;
    struct wh_digest digest;
    wh_sha256_final(w->file, &digest);
    wh_sha256_update(w->total, digest.bytes, sizeof digest.bytes);
    w->hashed++;
    return 0;
}

static int visit(struct walk *w, const char *path, const struct ancestor *up);

/* alphasort() would follow the locale. */
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int visit_children(struct walk *w, const char *path, const struct ancestor *self)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, by_bytes);
    if (n < 0)
        return wh_fail_errno(w->err, "%s", path);
    int r = 0;
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        if (r == 0 && !wh_streq(name, ".") && !wh_streq(name, "..")) {
            wh_autofree char *child = wh_printf("%s/%s", wh_streq(path, "/") ? "" : path, name);
            r = visit(w, child, self);
        }
        free(names[i]);
    }
    free(names);
    return r;
}

static bool is_cycle(const struct ancestor *up, const char *real_path)
{
    for (; up; up = up->up) {
        if (wh_streq(up->real_path, real_path))
            return true;
    }
    return false;
}

static int visit_directory(struct walk *w, const char *path, enum wh_glob_match match, bool below,
                           const struct ancestor *up)
{
    if (!(match & WH_GLOB_DIRECTORY) && !below)
        return 0;
    if (!w->follow)
        return visit_children(w, path, NULL);
    wh_autofree char *real_path = realpath(path, NULL);
    if (!real_path)
        return wh_fail_errno(w->err, "%s", path);
    if (is_cycle(up, real_path))
        return 0;
    struct ancestor self = {up, real_path};
    return visit_children(w, path, &self);
}

static int visit(struct walk *w, const char *path, const struct ancestor *up)
{
    enum wh_glob_match match = wh_globs_match(&w->globs, path);
    bool below = match != WH_GLOB_NONE || wh_globs_may_match_below(&w->globs, path);
    if (!below)
        return 0;
    if (check_time(w) < 0)
        return -1;
    struct stat st;
    if ((w->follow ? stat(path, &st) : lstat(path, &st)) < 0) {
        if (w->follow && errno == ENOENT)
            return 0; /* a broken link */
        return wh_fail_errno(w->err, "%s", path);
    }
    if (S_ISDIR(st.st_mode))
        return visit_directory(w, path, match, below, up);
    return match & WH_GLOB_FILE ? hash_file(w, path) : 0;
}

/* True if another pattern starts the walk at a folder above this path, or an earlier one at the same. */
static bool is_covered(const struct wh_globs *g, size_t at)
{
    const char *path = g->items[at].search_path;
    for (size_t i = 0; i < g->count; i++) {
        const char *other = g->items[i].search_path;
        size_t n = strlen(other);
        if (g->items[i].negate)
            continue;
        if (wh_streq(other, path) ? i < at
                                  : strncmp(path, other, n) == 0 && (path[n] == '/' || wh_streq(other, "/")))
            return true;
    }
    return false;
}

static int visit_all(struct walk *w)
{
    for (size_t i = 0; i < w->globs.count; i++) {
        const char *start = w->globs.items[i].search_path;
        struct stat st;
        if (w->globs.items[i].negate || is_covered(&w->globs, i))
            continue;
        if (lstat(start, &st) < 0) {
            if (errno == ENOENT)
                continue;
            return wh_fail_errno(w->err, "%s", start);
        }
        if (visit(w, start, NULL) < 0)
            return -1;
    }
    return 0;
}

char *wh_hash_files(const char *workspace, const char *patterns, bool follow_links, struct wh_error *err)
{
    struct walk w = {.follow = follow_links, .err = err};
    wh_autofree char *root = wh_strdup(workspace);
    for (size_t n = strlen(root); n > 1 && root[n - 1] == '/'; n--)
        root[n - 1] = '\0';
    struct stat st;
    if (stat(root, &st) < 0) {
        wh_fail_errno(err, "%s", root);
        return NULL;
    }
    w.workspace = root;
    w.workspace_len = strlen(root);
    w.deadline = wh_mono_ms() + WH_MAX_HASHFILES_SECONDS * 1000u;
    if (wh_globs_parse(&w.globs, root, patterns, true, err) < 0)
        return NULL;
    wh_autosha256 *total = wh_sha256_new();
    wh_autosha256 *file = wh_sha256_new();
    w.total = total;
    w.file = file;
    int r = visit_all(&w);
    wh_globs_free(&w.globs);
    if (r < 0)
        return NULL;
    struct wh_digest digest;
    wh_sha256_final(total, &digest);
    return w.hashed > 0 ? wh_hex(digest.bytes, sizeof digest.bytes) : wh_strdup("");
}
