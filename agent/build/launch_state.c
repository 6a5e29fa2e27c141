/* The state folder before a builder starts: it exists, is 0700, and belongs to the builder's root. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include "launch_internal.h"
#include "wherry/base/fs.h"
#include "wherry/build/launch.h"

#define MAX_OPEN_FOLDERS 32

/* What the store keeps in there (design.md "The store"); other files in the folder are not the builder's. */
static const char *const store_rooms[] = {
    "blobs",    "layers", "mounts", "git", "actions", "tools", "ingest", "leases", WH_BUILD_RUN_FOLDER,
    "index.db",
};

static _Thread_local struct wh_userns_map new_owner;

static int give_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)type;
    (void)at;
    return st->st_uid == 0 ? lchown(path, new_owner.root_uid, new_owner.root_gid) : 0;
}

/* A store that root made before any build. */
static int give_store(const char *state, const struct wh_userns_map *map, struct wh_error *err)
{
    new_owner = *map;
    for (size_t i = 0; i < WH_COUNT(store_rooms); i++) {
        wh_autofree char *path = wh_path_join(state, store_rooms[i]);
        if (nftw(path, give_one, MAX_OPEN_FOLDERS, FTW_PHYS | FTW_MOUNT) != 0 && errno != ENOENT)
            return wh_fail_errno(err, "give %s to the builder's user", path);
    }
    return 0;
}

/* A folder of root's becomes the builder's and nobody else's only if it is new, or ours by what lies in it:
 * `--state /srv` must not close a folder of the machine. */
static int check_ours(int dir, const char *state, struct wh_error *err)
{
    bool foreign = false;
    bool ours = false;
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    if (!list) {
        wh_close_fd(&copy);
        return wh_fail_errno(err, "look into the state folder %s", state);
    }
    for (const struct dirent *entry; (entry = readdir(list));) {
        foreign = foreign || entry->d_name[0] != '.';
        ours = ours || strcmp(entry->d_name, "index.db") == 0 || strcmp(entry->d_name, "runners") == 0;
    }
    (void)closedir(list);
    if (foreign && !ours)
        return wh_fail(
            err, WH_E_ARGUMENT,
            "%s holds other things than a store (neither index.db nor runners lies in it): name an empty "
            "or new folder with --state",
            state);
    return 0;
}

static int take_over(int dir, const char *state, struct wh_userns_map *map, struct wh_error *err)
{
    struct stat st;
    if (fstat(dir, &st) < 0)
        return wh_fail_errno(err, "look at the state folder %s", state);
    if (st.st_uid == 0) {
        if (check_ours(dir, state, err) < 0 || give_store(state, map, err) < 0)
            return -1;
        if (fchown(dir, map->root_uid, map->root_gid) < 0 || fchmod(dir, 0700) < 0)
            return wh_fail_errno(err, "give the state folder %s to the builder's user", state);
        return 0;
    }
    if (st.st_uid < WH_USERNS_SIZE || getpwuid(st.st_uid) != NULL)
        return wh_fail(
            err, WH_E_ARGUMENT,
            "the state folder %s belongs to user %u: root's builds need a folder of their own (--state)",
            state, st.st_uid);
    /* Its owner says which range it was made with, whatever /etc/subuid says today. */
    map->root_uid = map->first_uid = st.st_uid;
    map->root_gid = map->first_gid = st.st_gid;
    return 0;
}

/* Whether the builder's root, a stranger to the machine, can walk down to the folder. */
static bool reachable(const char *state)
{
    wh_autofree char *path = wh_strdup(state);
    for (char *slash = strrchr(path, '/'); slash && slash != path; slash = strrchr(path, '/')) {
        *slash = '\0';
        struct stat st;
        if (stat(path, &st) < 0 || !(st.st_mode & S_IXOTH))
            return false;
    }
    return true;
}

int wh_build_state_prepare(const char *state, struct wh_userns_map *map, int *detached, struct wh_error *err)
{
    *detached = -1;
    if (wh_mkdir_p(state, 0700, err) < 0)
        return -1;
    wh_autoclose int dir = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return wh_fail_errno(err, "open the state folder %s", state);
    if (geteuid() == 0 && take_over(dir, state, map, err) < 0)
        return -1;
    if (mkdirat(dir, WH_BUILD_RUN_FOLDER, 0700) < 0 && errno != EEXIST)
        return wh_fail_errno(err, "make %s/" WH_BUILD_RUN_FOLDER, state);
    if (geteuid() != 0)
        return 0;
    if (fchownat(dir, WH_BUILD_RUN_FOLDER, map->root_uid, map->root_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return wh_fail_errno(err, "give %s/" WH_BUILD_RUN_FOLDER " to the builder's user", state);
    if (reachable(state))
        return 0;
    if (mkdir(WH_BUILD_STATE_POINT, 0755) < 0 && errno != EEXIST)
        return wh_fail_errno(err, "make " WH_BUILD_STATE_POINT);
    /* Private, or what the builder mounts below it would appear in the machine's own mount namespace. */
    struct mount_attr attr = {.propagation = MS_PRIVATE};
    *detached = open_tree(dir, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (*detached < 0 || mount_setattr(*detached, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
        return wh_fail_errno(err, "clone the mount of %s for the builder", state);
    return 0;
}

int wh_build_state_owner(const char *state, uid_t job_uid, gid_t job_gid, uid_t *uid, gid_t *gid,
                         struct wh_error *err)
{
    struct wh_userns_map map;
    wh_autoclose int detached = -1;
    *uid = geteuid();
    *gid = getegid();
    /* Without root it is the caller's, and needs no range of sub-ids. */
    if (geteuid() != 0)
        return wh_mkdir_p(state, 0700, err);
    if (wh_userns_map_choose(job_uid, job_gid, &map, err) < 0 ||
        wh_build_state_prepare(state, &map, &detached, err) < 0)
        return -1;
    *uid = map.root_uid;
    *gid = map.root_gid;
    return 0;
}
