/* Folders of containers: those of the machine, opened with the rights of the job's user; volumes, which are
 * trees in the store's ingest that end with the job; and what becomes the job user's again. */
#include <errno.h>
#include <fcntl.h>
#include <sys/fsuid.h>
#include <unistd.h>

#include "build/engine.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "wherry/platform/userns.h"

#define MAX_DEPTH 1024 /* of folders on the way to a root */

/* ---- the machine's folders ---- */

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Whether `above` is met on the way from `from` to the root, itself included. */
static bool lies_below(int from, const struct stat *above)
{
    struct stat st;
    struct stat last;
    wh_autoclose int at = openat(from, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0 || fstat(at, &st) < 0)
        return false;
    for (int depth = 0; depth < MAX_DEPTH; depth++) {
        if (same(&st, above))
            return true;
        int up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        wh_close_fd(&at);
        at = up;
        last = st;
        if (up < 0 || fstat(up, &st) < 0 || same(&st, &last))
            return false;
    }
    return true; /* too deep to know: no */
}

/* A container's root owns the store: it must not get to see it, whole or in part or from above. */
static int check_apart(const struct engine *e, int fd, const char *path, struct wh_error *err)
{
    struct stat source;
    struct stat state;
    wh_autoclose int store = open(e->env->state, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (store < 0 || fstat(store, &state) < 0 || fstat(fd, &source) < 0)
        return wh_fail_errno(err, "look at %s", path);
    if (lies_below(store, &source) || (S_ISDIR(source.st_mode) && lies_below(fd, &state)))
        return wh_fail(err, WH_E_DENIED,
                       "the folder %s holds wherry's store or lies in it: it can't be a volume", path);
    return 0;
}

int engine_open_source(const struct engine *e, const char *path, struct wh_error *err)
{
    (void)setfsgid(WH_USERNS_JOB_ID); /* where it is not mapped, nothing changes */
    (void)setfsuid(WH_USERNS_JOB_ID);
    wh_autoclose int fd = open(path, O_PATH | O_CLOEXEC);
    int why = errno;
    (void)setfsuid(geteuid());
    (void)setfsgid(getegid());
    errno = why;
    if (fd < 0)
        return wh_fail_errno(err, "open the volume %s", path);
    return check_apart(e, fd, path, err) < 0 ? -1 : wh_steal_fd(&fd);
}

/* ---- volumes ---- */

struct engine_volume {
    struct engine_volume *next;
    char *name; /* of a container's own: "" */
    const struct engine_container *owner;
    struct wh_tree *tree;
};

/* What the image has there: owner and mode. Its files stay below, as the volume covers them. */
static void take_likeness(const struct engine_container *c, const char *target, int tree)
{
    struct stat st;
    wh_autoclose int there = wh_open_in_root(c->root.fd, target, O_PATH | O_DIRECTORY, 0, false, NULL);
    if (there >= 0 && fstat(there, &st) == 0) {
        if (fchown(tree, st.st_uid, st.st_gid) < 0 || fchmod(tree, st.st_mode & 07777) < 0)
            wh_log_debug("volume at %s: owner and mode of the image's folder: %s", target, strerror(errno));
    }
}

const char *engine_volume(struct engine_container *c, const char *name, const char *target,
                          struct wh_error *err)
{
    struct engine *e = c->engine;
    pthread_mutex_lock(&e->network_lock);
    struct engine_volume *volume = e->volumes;
    while (volume && (!*name || !wh_streq(volume->name, name)))
        volume = volume->next;
    struct wh_tree *tree = volume ? volume->tree : wh_tree_begin(e->store, err);
    if (!volume && tree) {
        take_likeness(c, target, wh_tree_fd(tree));
        volume = wh_calloc(1, sizeof *volume);
        *volume = (struct engine_volume){e->volumes, wh_strdup(name), *name ? NULL : c, tree};
        e->volumes = volume;
    }
    pthread_mutex_unlock(&e->network_lock);
    return tree ? wh_tree_path(tree) : NULL;
}

/* owner NULL: all. */
static void end_volumes(struct engine *e, const struct engine_container *owner)
{
    pthread_mutex_lock(&e->network_lock);
    for (struct engine_volume **at = &e->volumes; *at;) {
        struct engine_volume *volume = *at;
        if (owner && volume->owner != owner) {
            at = &volume->next;
            continue;
        }
        *at = volume->next;
        wh_tree_abort(volume->tree);
        free(volume->name);
        free(volume);
    }
    pthread_mutex_unlock(&e->network_lock);
}

void engine_volumes_end(struct engine_container *c)
{
    end_volumes(c->engine, c);
}

void engine_volumes_free(struct engine *e)
{
    end_volumes(e, NULL);
}

/* ---- whose files are whose ---- */

void engine_give_back(const struct engine *e, const cJSON *paths)
{
    const cJSON *path;
    cJSON_ArrayForEach(path, paths)
    {
        struct stat st;
        wh_autoclose int fd = cJSON_IsString(path) ? engine_open_source(e, path->valuestring, NULL) : -1;
        /* Where the job's user is the containers' root itself, there is nothing to do. */
        if (fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == WH_USERNS_JOB_ID)
            (void)wh_give_tree(fd, WH_USERNS_JOB_ID, WH_USERNS_JOB_ID, true, NULL);
    }
}
