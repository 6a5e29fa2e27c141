/* Mount points that the image lacks, and the working folder. No process of the image runs while these work,
 * so what is resolved stays so; links in the image are followed inside its root only. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "wherry/base/fs.h"

#define MAX_LINKS 40
#define MAX_DEPTH 256

struct wh_stub {
    char *parent; /* resolved path of the folder above, without links; "/" at the top */
    char *name;
    bool folder;
    struct timespec before[2]; /* the parent's times before the stub was made */
    struct timespec after;     /* its mtime after */
};

/* ---- a walk that follows links inside the root and says what is missing ---- */

/* A path so far is a vector of components without links. */

static char *place_path(char *const *parts)
{
    if (!parts || !parts[0])
        return wh_strdup("/");
    wh_autofree char *joined = wh_strv_join(parts, "/");
    return wh_printf("/%s", joined);
}

static void drop_last(char **parts)
{
    size_t n = wh_strv_len(parts);
    if (!parts || n == 0)
        return;
    free(parts[n - 1]);
    parts[n - 1] = NULL;
}

static int open_place(int root, char *const *parts, struct wh_error *err)
{
    wh_autofree char *path = place_path(parts);
    return wh_open_in_root(root, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, false, err);
}

/* What to do about a component that is missing. last: the end of the wanted path. */
typedef int (*missing_fn)(void *arg, int dir, char *const *parts, const char *name, bool last,
                          struct wh_error *err);

/* Puts the components of text before those that are still to go. */
static void push_front(char ***todo, const char *text)
{
    char **parts = wh_strv_split(text, '/');
    for (size_t i = 0; *todo && (*todo)[i]; i++)
        wh_strv_add(&parts, (*todo)[i]);
    wh_strv_free(*todo);
    *todo = parts;
}

static char *pop_front(char **todo)
{
    char *first = todo ? todo[0] : NULL;
    for (size_t i = 0; first && todo[i]; i++)
        todo[i] = todo[i + 1];
    return first;
}

static bool more_to_go(char *const *todo)
{
    for (size_t i = 0; todo && todo[i]; i++)
        if (todo[i][0] != '\0' && strcmp(todo[i], ".") != 0)
            return true;
    return false;
}

/* Steps into one component; 1 if it was a link, whose text is in front of *todo now. */
static int step(int root, char ***done, char ***todo, const char *name, missing_fn missing, void *arg,
                struct wh_error *err)
{
    wh_autoclose int dir = open_place(root, *done, err);
    if (dir < 0)
        return -1;
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT)
            return wh_fail_errno(err, "look at %s in the image", name);
        if (missing(arg, dir, *done, name, !more_to_go(*todo), err) < 0)
            return -1;
    } else if (S_ISLNK(st.st_mode)) {
        char target[4096];
        ssize_t len = readlinkat(dir, name, target, sizeof target - 1);
        if (len < 0)
            return wh_fail_errno(err, "read the link %s in the image", name);
        target[len] = '\0';
        if (target[0] == '/') {
            wh_strv_free(*done);
            *done = NULL;
        }
        push_front(todo, target);
        return 1;
    }
    wh_strv_add(done, name);
    return 0;
}

static int walk_path(int root, const char *path, missing_fn missing, void *arg, struct wh_error *err)
{
    wh_autostrv char **done = NULL;
    wh_autostrv char **todo = wh_strv_split(path, '/');
    int links = 0;
    for (;;) {
        wh_autofree char *name = pop_front(todo);
        if (!name)
            return 0;
        if (name[0] == '\0' || strcmp(name, ".") == 0)
            continue;
        if (strcmp(name, "..") == 0) {
            drop_last(done);
            continue;
        }
        int followed = step(root, &done, &todo, name, missing, arg, err);
        if (followed < 0)
            return wh_wrap(err, "%s", path);
        links += followed;
        if (links > MAX_LINKS || wh_strv_len(done) > MAX_DEPTH)
            return wh_fail(err, WH_E_LIMIT, "%s: too many links or folders in the image", path);
    }
}

/* ---- stubs ---- */

struct stub_maker {
    struct wh_stubs *stubs;
    int root_fd;
    bool folder;
    struct wh_copied *copied; /* or NULL */
};

/* The folder above a stub, and those above it: overlayfs is about to copy them up. */
static void note_parents(struct wh_copied *copied, int root_fd, const char *parent)
{
    wh_autofree char *path = wh_strdup(parent);
    for (char *slash; (slash = strrchr(path, '/')) && slash[1] != '\0'; *slash = '\0')
        wh_copied_note(copied, root_fd, path);
}

static int make_stub(void *arg, int dir, char *const *parts, const char *name, bool last,
                     struct wh_error *err)
{
    const struct stub_maker *m = arg;
    struct stat before;
    struct stat after;
    bool folder = !last || m->folder;
    wh_autofree char *parent = place_path(parts);
    if (fstat(dir, &before) < 0)
        return wh_fail_errno(err, "look at the folder above %s", name);
    if (m->copied)
        note_parents(m->copied, m->root_fd, parent);
    if (folder) {
        if (mkdirat(dir, name, 0755) < 0)
            return wh_fail_errno(err, "make the mount point %s", name);
    } else {
        wh_autoclose int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (fd < 0)
            return wh_fail_errno(err, "make the mount point %s", name);
    }
    if (fstat(dir, &after) < 0)
        return wh_fail_errno(err, "look at the folder above %s", name);
    struct wh_stubs *s = m->stubs;
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 8;
        s->items = wh_reallocarray(s->items, s->cap, sizeof *s->items);
    }
    s->items[s->n++] = (struct wh_stub){
        .parent = wh_steal(&parent),
        .name = wh_strdup(name),
        .folder = folder,
        .before = {before.st_atim, before.st_mtim},
        .after = after.st_mtim,
    };
    return 0;
}

int wh_stubs_add(struct wh_stubs *s, int root_fd, const char *target, bool folder, struct wh_copied *copied,
                 struct wh_error *err)
{
    struct stub_maker maker = {s, root_fd, folder, copied};
    return walk_path(root_fd, target, make_stub, &maker, err);
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static void clean_stub(const struct wh_stub *stub, int root_fd)
{
    /* O_PATH descriptors take no utimensat(fd, NULL): hence a real one. O_NOFOLLOW ends at a link that took
     * its place. */
    wh_autoclose int dir = wh_open_in_root(root_fd, stub->parent,
                                           O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, false, NULL);
    struct stat above;
    struct stat st;
    if (dir < 0 || fstat(dir, &above) < 0 || fstatat(dir, stub->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    bool still_stub = stub->folder ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode) && st.st_size == 0;
    if (!still_stub || unlinkat(dir, stub->name, stub->folder ? AT_REMOVEDIR : 0) < 0)
        return;
    /* A parent that the RUN itself did not touch gets its old times back; another keeps those that the RUN
     * gave it. */
    bool untouched = same_time(&above.st_mtim, &stub->after);
    const struct timespec touched[2] = {above.st_atim, above.st_mtim};
    (void)futimens(dir, untouched ? stub->before : touched);
}

void wh_stubs_clean(struct wh_stubs *s, int root_fd)
{
    while (s->n > 0) {
        struct wh_stub *stub = &s->items[--s->n];
        clean_stub(stub, root_fd);
        free(stub->parent);
        free(stub->name);
    }
    free(s->items);
    *s = (struct wh_stubs){0};
}

/* ---- the working folder ---- */

struct cwd_maker {
    uid_t uid;
    gid_t gid;
};

static int make_folder(void *arg, int dir, char *const *parts, const char *name, bool last,
                       struct wh_error *err)
{
    const struct cwd_maker *m = arg;
    (void)parts;
    (void)last;
    if (mkdirat(dir, name, 0755) < 0 || fchownat(dir, name, m->uid, m->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return wh_fail_errno(err, "make the working folder %s", name);
    return 0;
}

int wh_make_cwd(int root_fd, const char *cwd, uid_t uid, gid_t gid, struct wh_error *err)
{
    struct cwd_maker maker = {uid, gid};
    return walk_path(root_fd, cwd, make_folder, &maker, err);
}
