/* Which files a cache holds: the paths of its input, found. */
#include <dirent.h>
#include <errno.h>

#include "actions/cache_archive.h"
#include "wherry/base/fs.h"

struct search {
    const char *workspace;
    const struct wh_globs *globs;
    char **found;
    size_t nfound, room;
};

/* As path.relative() of Node.js. */
static char *relative(const char *from, const char *to)
{
    wh_autostrv char **a = wh_strv_split(from, '/');
    wh_autostrv char **b = wh_strv_split(to, '/');
    size_t same = 0;
    while (a[same] && b[same] && wh_streq(a[same], b[same]))
        same++;
    wh_autostr out = {0};
    for (size_t i = same; a[i]; i++)
        if (a[i][0])
            wh_str_add(&out, out.len ? "/.." : "..");
    for (size_t i = same; b[i]; i++)
        if (b[i][0])
            wh_str_addf(&out, "%s%s", out.len ? "/" : "", b[i]);
    if (out.len == 0)
        wh_str_addc(&out, '.');
    return wh_str_steal(&out);
}

static void take(struct search *s, const char *path)
{
    if (s->nfound + 1 >= s->room)
        s->found = wh_reallocarray(s->found, s->room = s->room * 2 + 16, sizeof(*s->found));
    s->found[s->nfound++] = relative(s->workspace, path);
    s->found[s->nfound] = NULL;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int visit(struct search *s, const char *path, struct wh_error *err);

static int visit_children(struct search *s, const char *path, struct wh_error *err)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, by_bytes);
    if (n < 0)
        return wh_fail_errno(err, "%s", path);
    int rc = 0;
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        if (rc == 0 && !wh_streq(name, ".") && !wh_streq(name, "..")) {
            wh_autofree char *child = wh_printf("%s/%s", wh_streq(path, "/") ? "" : path, name);
            rc = visit(s, child, err);
        }
        free(names[i]);
    }
    free(names);
    return rc;
}

static int visit(struct search *s, const char *path, struct wh_error *err)
{
    struct stat st;
    enum wh_glob_match match = wh_globs_match(s->globs, path);
    if (match == WH_GLOB_NONE && !wh_globs_may_match_below(s->globs, path))
        return 0;
    if (lstat(path, &st) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : wh_fail_errno(err, "%s", path);
    bool link = S_ISLNK(st.st_mode);
    if (link && stat(path, &st) < 0)
        return 0; /* it leads nowhere */
    if (match & (S_ISDIR(st.st_mode) ? WH_GLOB_DIRECTORY : WH_GLOB_FILE)) {
        take(s, path); /* with all that is in it */
        return 0;
    }
    /* Not through links: what they lead to has a path of its own, and there may be circles. */
    return S_ISDIR(st.st_mode) && !link ? visit_children(s, path, err) : 0;
}

char **cache_paths(const char *workspace, const struct wh_globs *globs, struct wh_error *err)
{
    struct search s = {.workspace = workspace, .globs = globs};
    for (size_t i = 0; i < globs->count; i++) {
        bool again = globs->items[i].negate;
        for (size_t k = 0; k < i && !again; k++)
            again =
                !globs->items[k].negate && wh_streq(globs->items[k].search_path, globs->items[i].search_path);
        if (!again && visit(&s, globs->items[i].search_path, err) < 0) {
            wh_strv_free(s.found);
            return NULL;
        }
    }
    return s.found;
}
