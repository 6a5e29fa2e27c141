/* Which files a COPY, ADD or bind mount takes: patterns matched, ignore rules applied, trees walked
 * (builder.md §1.4 "Rules", §1.7). The tree may belong to a job that changes it while we look: everything is
 * opened below the root's descriptor, and on the context's own file system only. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "build/solve.h"

#include "wherry/base/fs.h"

#define WH_MAX_SOURCE_ENTRIES ((size_t)4 << 20)
#define WH_MAX_SOURCE_DEPTH 256

void source_clear(struct source *s)
{
    for (size_t i = 0; i < s->nmatches; i++) {
        free(s->matches[i].path);
        free(s->matches[i].name);
    }
    for (size_t i = 0; i < s->nentries; i++) {
        free(s->entries[i].path);
        free(s->entries[i].link);
    }
    free(s->matches);
    free(s->entries);
    s->matches = NULL;
    s->entries = NULL;
    s->nmatches = s->nentries = 0;
}

/* Room for one more, doubling at powers of two. */
static void *grow(void *list, size_t n, size_t size)
{
    return n == 0 || (n >= 8 && (n & (n - 1)) == 0) ? wh_reallocarray(list, n < 8 ? 8 : n * 2, size) : list;
}

static struct entry *add_entry(struct source *s, const char *path, const struct stat *st,
                               struct wh_error *err)
{
    if (s->nentries == WH_MAX_SOURCE_ENTRIES) {
        wh_fail(err, WH_E_LIMIT, "more than %zu files in one COPY", WH_MAX_SOURCE_ENTRIES);
        return NULL;
    }
    s->entries = grow(s->entries, s->nentries, sizeof(*s->entries));
    struct entry *e = &s->entries[s->nentries++];
    *e = (struct entry){.path = wh_strdup(path), .st = *st};
    return e;
}

static int read_link(int dirfd, const char *name, struct entry *e, struct wh_error *err)
{
    char buf[4096];
    ssize_t n = readlinkat(dirfd, name, buf, sizeof(buf));
    if (n < 0 || (size_t)n == sizeof(buf))
        return wh_fail_errno(err, "read link %s", e->path);
    e->link = wh_strndup(buf, (size_t)n);
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted: keys and layers must not depend on the file system's order. */
int folder_names(int dirfd, char ***out, struct wh_error *err)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return wh_fail_errno(err, "read folder");
    }
    for (struct dirent *d; (d = readdir(dir));)
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            wh_strv_add(out, d->d_name);
    closedir(dir);
    if (*out)
        qsort(*out, wh_strv_len(*out), sizeof(char *), compare_names);
    return 0;
}

static char *join(const char *a, const char *b)
{
    return a[0] ? wh_printf("%s/%s", a, b) : wh_strdup(b);
}

struct walk {
    struct source *s;
    const char *top;                 /* the match's path in the root */
    const struct wh_ignore *include; /* --parents: only what this lets through; NULL: all */
};

/* What the patterns that matched a folder mean for what is in it. */
struct filters {
    struct wh_ignore_state ignore, exclude, include;
};

static void filters_clear(struct filters *f)
{
    wh_ignore_state_clear(&f->ignore);
    wh_ignore_state_clear(&f->exclude);
    wh_ignore_state_clear(&f->include);
}

static enum wh_ignore_answer ask(const struct wh_ignore *ig, const struct wh_ignore_state *parent,
                                 const char *path, bool dir, struct wh_ignore_state *mine)
{
    return ig ? wh_ignore_walk(ig, parent, path, dir, dir ? mine : NULL) : WH_IGNORE_INCLUDED;
}

/* The strictest of the answers. */
static enum wh_ignore_answer ask_all(const struct walk *w, const struct filters *parent, const char *path,
                                     bool dir, struct filters *mine)
{
    wh_autofree char *full = w->s->ignore ? join(w->top, path) : NULL;
    const enum wh_ignore_answer answers[] = {ask(w->s->ignore, &parent->ignore, full, dir, &mine->ignore),
                                             ask(w->s->exclude, &parent->exclude, path, dir, &mine->exclude),
                                             ask(w->include, &parent->include, path, dir, &mine->include)};
    enum wh_ignore_answer strictest = WH_IGNORE_INCLUDED;
    for (size_t i = 0; i < WH_COUNT(answers); i++) {
        if (answers[i] == WH_IGNORE_EXCLUDED)
            return WH_IGNORE_EXCLUDED;
        if (answers[i] == WH_IGNORE_EXCLUDED_LOOK)
            strictest = WH_IGNORE_EXCLUDED_LOOK;
    }
    return strictest;
}

static int walk_dir(struct walk *w, int dirfd, const char *path, const struct filters *filters,
                    unsigned depth, struct wh_error *err);

/* A folder: opened, shown (now, or only once something below is), walked. */
static int walk_child_dir(struct walk *w, int dirfd, const char *name, const char *path,
                          const struct stat *st, const struct filters *filters, unsigned depth, bool shown,
                          struct wh_error *err)
{
    wh_autoclose int fd =
        wh_open_in_root(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, w->s->no_xdev, err);
    if (fd < 0)
        return wh_wrap(err, "%s", path);
    size_t at = w->s->nentries;
    if (!add_entry(w->s, path, st, err) || walk_dir(w, fd, path, filters, depth + 1, err) < 0)
        return -1;
    if (!shown && w->s->nentries == at + 1) { /* excluded, and nothing below came back */
        free(w->s->entries[at].path);
        w->s->nentries = at;
    }
    return 0;
}

static int walk_entry(struct walk *w, int dirfd, const char *name, const char *path,
                      const struct filters *filters, unsigned depth, struct wh_error *err)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : wh_fail_errno(err, "look at %s", path);
    if (S_ISSOCK(st.st_mode))
        return 0;
    bool dir = S_ISDIR(st.st_mode);
    struct filters mine = {0};
    enum wh_ignore_answer answer = ask_all(w, filters, path, dir, &mine);
    int status = 0;
    if (answer != WH_IGNORE_EXCLUDED && dir) {
        status = walk_child_dir(w, dirfd, name, path, &st, &mine, depth, answer == WH_IGNORE_INCLUDED, err);
    } else if (answer == WH_IGNORE_INCLUDED) {
        struct entry *e = add_entry(w->s, path, &st, err);
        status = !e ? -1 : S_ISLNK(st.st_mode) ? read_link(dirfd, name, e, err) : 0;
    }
    filters_clear(&mine);
    return status;
}

static int walk_dir(struct walk *w, int dirfd, const char *path, const struct filters *filters,
                    unsigned depth, struct wh_error *err)
{
    if (depth > WH_MAX_SOURCE_DEPTH)
        return wh_fail(err, WH_E_LIMIT, "%s: folders nested deeper than %d", path, WH_MAX_SOURCE_DEPTH);
    wh_autostrv char **names = NULL;
    if (folder_names(dirfd, &names, err) < 0)
        return wh_wrap(err, "%s", path);
    for (char **name = names; name && *name; name++) {
        wh_autofree char *child = join(path, *name);
        if (walk_entry(w, dirfd, *name, child, filters, depth, err) < 0)
            return -1;
    }
    return 0;
}

/* The ignore state of a folder inside the root: its parents' patterns may have matched already. */
static void state_of(const struct wh_ignore *ig, const char *path, struct wh_ignore_state *out)
{
    *out = (struct wh_ignore_state){0};
    struct wh_ignore_state parent = {0};
    for (size_t at = 0; ig && path[at];) {
        at += strcspn(path + at, "/");
        wh_autofree char *prefix = wh_strndup(path, at);
        struct wh_ignore_state mine = {0};
        wh_ignore_walk(ig, &parent, prefix, true, &mine);
        wh_ignore_state_clear(&parent);
        parent = mine;
        at += strspn(path + at, "/");
    }
    *out = parent;
}

/* Adds one match: canonical path, and the name that the copy takes. include (NULL: all): what of a folder is
 * taken. 1: added; 0: ignored or not there. */
static int add_match(struct source *s, const char *path, const char *name, const struct wh_ignore *include,
                     struct wh_error *err)
{
    wh_autoerror mine = {0};
    wh_autoclose int fd = wh_open_in_root(s->root, path, O_PATH | O_NOFOLLOW, 0, s->no_xdev, &mine);
    if (fd < 0)
        return mine.code == WH_E_NOT_FOUND ? 0 : wh_error_move(err, &mine);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return wh_fail_errno(err, "look at %s", path);
    bool dir = S_ISDIR(st.st_mode);
    enum wh_ignore_answer answer =
        path[0] && s->ignore ? wh_ignore_match(s->ignore, path, dir) : WH_IGNORE_INCLUDED;
    if (answer == WH_IGNORE_EXCLUDED || (answer != WH_IGNORE_INCLUDED && !dir) || S_ISSOCK(st.st_mode))
        return 0;
    size_t first = s->nentries;
    struct entry *top = add_entry(s, "", &st, err);
    if (!top || (S_ISLNK(st.st_mode) && read_link(fd, "", top, err) < 0))
        return -1;
    if (dir) {
        wh_autoclose int dirfd = inroot_open_dir(s->root, path, s->no_xdev, err);
        if (dirfd < 0)
            return -1;
        struct walk w = {s, path, include};
        struct filters filters = {0};
        state_of(s->ignore, path, &filters.ignore);
        int status = walk_dir(&w, dirfd, "", &filters, 0, err);
        filters_clear(&filters);
        if (status < 0)
            return -1;
        if (answer != WH_IGNORE_INCLUDED && s->nentries == first + 1) { /* excluded, nothing came back */
            free(s->entries[first].path);
            s->nentries = first;
            return 0;
        }
    }
    s->matches = grow(s->matches, s->nmatches, sizeof(*s->matches));
    s->matches[s->nmatches++] = (struct match){.path = wh_strdup(path),
                                               .name = wh_strdup(name),
                                               .dir = dir,
                                               .first = first,
                                               .count = s->nentries - first};
    return 1;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Walks the folders where the pattern may match and adds each match. */
static int expand(struct source *s, const struct wh_glob *glob, const char *folder, unsigned depth,
                  const struct wh_ignore *include, struct wh_error *err)
{
    wh_autofree char *canonical = NULL;
    if (inroot_resolve(s->root, folder, true, s->no_xdev, &canonical, err) < 0)
        return -1;
    wh_autoerror mine = {0};
    wh_autoclose int fd = inroot_open_dir(s->root, canonical, s->no_xdev, &mine);
    if (fd < 0)
        return mine.code == WH_E_NOT_FOUND ? 0 : wh_error_move(err, &mine);
    wh_autostrv char **names = NULL;
    if (folder_names(fd, &names, err) < 0)
        return -1;
    for (char **name = names; name && *name; name++) {
        wh_autofree char *path = join(folder, *name);
        if (wh_glob_match(glob, path)) {
            wh_autofree char *real = NULL;
            if (inroot_resolve(s->root, path, true, s->no_xdev, &real, err) < 0 ||
                add_match(s, real, *name, include, err) < 0)
                return -1;
            continue;
        }
        struct stat st;
        if (depth > 0 && fstatat(fd, *name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
            expand(s, glob, path, depth - 1, include, err) < 0)
            return -1;
    }
    return 0;
}

static unsigned slashes(const char *text)
{
    unsigned n = 0;
    for (; *text; text++)
        n += *text == '/';
    return n;
}

/* Relative and clean, `..` clamped: as a pattern is matched. */
static char *clean_pattern(const char *pattern)
{
    wh_autostrv char **parts = wh_strv_split(pattern, '/');
    char **kept = NULL;
    for (char **p = parts; *p; p++) {
        size_t n = wh_strv_len(kept);
        if ((*p)[0] == '\0' || strcmp(*p, ".") == 0)
            continue;
        if (strcmp(*p, "..") == 0) {
            if (kept && n > 0) {
                free(kept[n - 1]);
                kept[n - 1] = NULL;
            }
            continue;
        }
        wh_strv_add(&kept, *p);
    }
    char *text = wh_strv_join(kept, "/");
    wh_strv_free(kept);
    return text;
}

static int collect(struct source *s, const char *pattern, const struct wh_ignore *include,
                   struct wh_error *err)
{
    wh_autofree char *clean = clean_pattern(pattern);
    if (wh_glob_has_wildcard(clean)) {
        struct wh_glob *glob = NULL;
        if (wh_glob_compile(clean, false, &glob, err) < 0)
            return wh_wrap(err, "%s", pattern);
        wh_autofree char *prefix = wh_glob_literal_prefix(clean);
        unsigned depth = slashes(clean) - (prefix[0] ? slashes(prefix) + 1 : 0);
        int status = expand(s, glob, prefix, depth, include, err);
        wh_glob_free(glob);
        return status;
    }
    wh_autofree char *real = NULL;
    if (inroot_resolve(s->root, clean, true, s->no_xdev, &real, err) < 0)
        return -1;
    int added = add_match(s, real, base_name(clean), include, err);
    if (added == 0)
        return wh_fail(err, WH_E_NOT_FOUND, "\"/%s\": not found", clean);
    return added < 0 ? -1 : 0;
}

int source_collect(struct source *s, const char *pattern, struct wh_error *err)
{
    source_enter(s);
    int status = collect(s, pattern, NULL, err);
    source_leave(s);
    return status;
}

/* COPY --parents: the folder before the pivot `/./` (the root without one) is copied, of it only what the
 * rest of the pattern names, with all folders above that. */
static int collect_parents(struct source *s, const char *pattern, struct wh_error *err)
{
    const char *pivot = strstr(pattern, "/./");
    wh_autofree char *top = wh_strndup(pattern, pivot ? (size_t)(pivot - pattern) : 0);
    wh_autofree char *rest = clean_pattern(pivot ? pivot + 3 : pattern);
    if (!wh_glob_has_wildcard(top) && !wh_glob_has_wildcard(rest)) { /* it must be there */
        wh_autofree char *clean = clean_pattern(pattern);
        struct source probe = {.root = s->root, .no_xdev = s->no_xdev, .ignore = s->ignore};
        int status = collect(&probe, clean, NULL, err);
        source_clear(&probe);
        if (status < 0)
            return -1;
    }
    wh_autofree char *again = wh_printf("!%s", rest);
    char *patterns[] = {(char *)"**", again, NULL};
    struct wh_ignore *include = NULL;
    if (wh_ignore_from_patterns(patterns, pattern, &include, err) < 0)
        return -1;
    int status = collect(s, top, rest[0] ? include : NULL, err);
    wh_ignore_free(include);
    return status;
}

int source_collect_parents(struct source *s, const char *pattern, struct wh_error *err)
{
    source_enter(s);
    int status = collect_parents(s, pattern, err);
    source_leave(s);
    return status;
}

void source_key(const struct source *s, struct key *k)
{
    key_number(k, s->nmatches);
    for (size_t m = 0; m < s->nmatches; m++) {
        const struct match *match = &s->matches[m];
        /* A folder's own name never counts: its contents are what is copied. */
        key_text(k, match->dir ? NULL : match->name);
        key_number(k, match->count);
        for (size_t i = match->first; i < match->first + match->count; i++) {
            const struct entry *e = &s->entries[i];
            key_text(k, e->path);
            key_number(k, e->st.st_mode);
            key_text(k, e->link);
            if (s->whole) {
                key_number(k, e->st.st_uid);
                key_number(k, e->st.st_gid);
                key_number(k, S_ISCHR(e->st.st_mode) || S_ISBLK(e->st.st_mode) ? e->st.st_rdev : 0);
            }
            if (S_ISREG(e->st.st_mode))
                key_digest(k, &e->digest);
        }
    }
}
