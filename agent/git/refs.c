/* HEAD and refs, from loose files and packed-refs (gitrepository-layout(5)). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/git/repo.h"

#define MAX_REF_FILE 4096
#define MAX_REF_DEPTH 5 /* of symbolic refs, as git's SYMREF_MAXDEPTH */
#define MAX_FOLDER_DEPTH 32

static bool is_object(const char *text, size_t len)
{
    if (len != 40)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
    return true;
}

/* Only layouts that this file reads right. */
static int plain(const char *gitdir, struct wh_error *err)
{
    static const char *const other[] = {"reftable", "commondir"};
    for (size_t i = 0; i < WH_COUNT(other); i++) {
        wh_autofree char *path = wh_path_join(gitdir, other[i]);
        if (access(path, F_OK) == 0)
            return wh_fail(err, WH_E_UNSUPPORTED, "%s has a %s", gitdir, other[i]);
    }
    return 0;
}

static bool name_ok(const char *name)
{
    return !strstr(name, "..") && !strstr(name, "//") && name[0] != '/' && name[0] != '\0';
}

/* 1 with the file's one line, 0 there is none. */
static int loose(const char *gitdir, const char *name, char **line, struct wh_error *err)
{
    wh_autofree char *path = wh_path_join(gitdir, name);
    wh_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : wh_fail_errno(err, "%s", path);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return wh_fail_errno(err, "%s", path);
    if (S_ISDIR(st.st_mode))
        return 0;
    wh_autostr text = {0};
    if (!S_ISREG(st.st_mode) || wh_read_fd(fd, MAX_REF_FILE, path, &text, err) < 0)
        return wh_fail(err, WH_E_PARSE, "%s is no ref", path);
    *line = wh_view_dup(wh_view_trim((struct wh_view){wh_str_text(&text), text.len}));
    return 1;
}

static int read_packed(const char *gitdir, struct wh_str *out, struct wh_error *err)
{
    wh_autofree char *path = wh_path_join(gitdir, "packed-refs");
    wh_autoerror no = {0};
    if (wh_read_file(AT_FDCWD, path, WH_MAX_GIT_PACKED_REFS, out, &no) < 0 && no.code != WH_E_NOT_FOUND)
        return wh_error_move(err, &no);
    return 0;
}

/* The next "object name" line; 1, 0 at the end, -1. */
static int next_packed(struct wh_reader *r, struct wh_view *object, struct wh_view *name,
                       struct wh_error *err)
{
    struct wh_view line;
    while (wh_reader_line(r, &line)) {
        if (line.len == 0 || line.data[0] == '#' || line.data[0] == '^')
            continue;
        if (!wh_view_split(line, ' ', object, name) || !is_object(object->data, object->len) ||
            name->len == 0)
            return wh_fail(err, WH_E_PARSE, "packed-refs: a line that is no ref");
        return 1;
    }
    return 0;
}

static int packed(const char *gitdir, const char *name, char **object, struct wh_error *err)
{
    wh_autostr text = {0};
    if (read_packed(gitdir, &text, err) < 0)
        return -1;
    struct wh_reader r = wh_reader_of(wh_str_text(&text), text.len);
    struct wh_view o, n;
    int rc;
    while ((rc = next_packed(&r, &o, &n, err)) == 1)
        if (wh_view_eq(n, name)) {
            *object = wh_view_dup(o);
            return 1;
        }
    return rc;
}

static int resolve(const char *gitdir, const char *name, int depth, char **object, struct wh_error *err)
{
    if (depth > MAX_REF_DEPTH || !name_ok(name))
        return wh_fail(err, WH_E_PARSE, "%s: refs that go in circles", name);
    wh_autofree char *line = NULL;
    int rc = loose(gitdir, name, &line, err);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return packed(gitdir, name, object, err);
    if (wh_starts_with(line, "ref:")) {
        wh_autofree char *next = wh_view_dup(wh_view_trim(wh_view_of(line + strlen("ref:"))));
        return resolve(gitdir, next, depth + 1, object, err);
    }
    if (!is_object(line, strlen(line)))
        return wh_fail(err, WH_E_PARSE, "%s/%s is no ref", gitdir, name);
    *object = wh_steal(&line);
    return 1;
}

int wh_git_ref(const char *gitdir, const char *name, char **object, struct wh_error *err)
{
    return plain(gitdir, err) < 0 ? -1 : resolve(gitdir, name, 0, object, err);
}

int wh_git_head(const char *gitdir, char **ref, struct wh_error *err)
{
    wh_autofree char *line = NULL;
    if (plain(gitdir, err) < 0)
        return -1;
    int rc = loose(gitdir, "HEAD", &line, err);
    if (rc < 0)
        return -1;
    if (rc == 1 && wh_starts_with(line, "ref:")) {
        *ref = wh_view_dup(wh_view_trim(wh_view_of(line + strlen("ref:"))));
        return 1;
    }
    if (rc == 0 || !is_object(line, strlen(line)))
        return wh_fail(err, WH_E_PARSE, "%s/HEAD is no ref", gitdir);
    *ref = wh_steal(&line);
    return 0;
}

/* ---- listing ---- */

static int list_loose(const char *gitdir, const char *prefix, int depth, char ***names, struct wh_error *err)
{
    wh_autofree char *path = wh_path_join(gitdir, prefix);
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT ? 0 : wh_fail_errno(err, "%s", path);
    int rc = depth > MAX_FOLDER_DEPTH ? wh_fail(err, WH_E_LIMIT, "%s: folders too deep", path) : 0;
    for (struct dirent *e; rc == 0 && (e = readdir(dir));) {
        if (e->d_name[0] == '.' || wh_ends_with(e->d_name, ".lock"))
            continue;
        wh_autofree char *name = wh_printf("%s%s", prefix, e->d_name);
        wh_autofree char *below = wh_printf("%s/", name);
        wh_autofree char *line = NULL;
        int found = loose(gitdir, name, &line, err);
        if (found < 0)
            rc = -1;
        else if (found == 0)
            rc = list_loose(gitdir, below, depth + 1, names, err);
        else if (!line || !is_object(line, strlen(line)))
            rc = wh_fail(err, WH_E_UNSUPPORTED, "%s is a symbolic ref", name);
        else if (wh_strv_len(*names) >= WH_MAX_GIT_REFS)
            rc = wh_fail(err, WH_E_LIMIT, "%s: too many refs", gitdir);
        else
            wh_strv_add(names, name);
    }
    closedir(dir);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t sort_unique(char **names)
{
    if (!names)
        return 0;
    size_t n = wh_strv_len(names), kept = 0;
    if (n > 1)
        qsort(names, n, sizeof(*names), by_name);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && strcmp(names[kept - 1], names[i]) == 0)
            free(names[i]);
        else
            names[kept++] = names[i];
    }
    names[kept] = NULL;
    return kept;
}

int wh_git_refs(const char *gitdir, const char *prefix, char ***names, struct wh_error *err)
{
    wh_autostrv char **all = NULL;
    wh_autostr text = {0};
    if (plain(gitdir, err) < 0 || list_loose(gitdir, prefix, 0, &all, err) < 0 ||
        read_packed(gitdir, &text, err) < 0)
        return -1;
    struct wh_reader r = wh_reader_of(wh_str_text(&text), text.len);
    struct wh_view object, name;
    int rc;
    size_t count = wh_strv_len(all);
    while ((rc = next_packed(&r, &object, &name, err)) == 1) {
        if (name.len <= strlen(prefix) || memcmp(name.data, prefix, strlen(prefix)) != 0)
            continue;
        if (++count > WH_MAX_GIT_REFS)
            return wh_fail(err, WH_E_LIMIT, "%s: too many refs", gitdir);
        all = wh_reallocarray(all, count + 1, sizeof(*all));
        all[count - 1] = wh_view_dup(name);
        all[count] = NULL;
    }
    if (rc < 0)
        return -1;
    size_t n = sort_unique(all);
    *names = wh_steal(&all);
    return (int)n;
}
