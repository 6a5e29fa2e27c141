/* Giving trees to a user. Somebody hostile may change the tree meanwhile: every file is held by a descriptor
 * of its own before it is looked at. */
#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#include "wherry/base/fs.h"

#define MAX_GIVE_DEPTH 512 /* each level holds a descriptor open */

struct giving {
    uid_t uid;
    gid_t gid;
    dev_t dev;
    bool linked;
};

static void give_below(const struct giving *g, int folder, int depth)
{
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    if (!list) {
        wh_close_fd(&copy);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(list));) {
        struct stat st;
        if (wh_streq(entry->d_name, ".") || wh_streq(entry->d_name, ".."))
            continue;
        wh_autoclose int fd = openat(folder, entry->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0 || st.st_dev != g->dev)
            continue;
        bool is_folder = S_ISDIR(st.st_mode);
        if (st.st_uid != g->uid && (is_folder || g->linked || st.st_nlink == 1))
            (void)!fchownat(fd, "", g->uid, g->gid, AT_EMPTY_PATH);
        if (is_folder && depth < MAX_GIVE_DEPTH)
            give_below(g, fd, depth + 1);
    }
    (void)closedir(list);
}

int wh_give_tree(int folder, uid_t uid, gid_t gid, bool linked, struct wh_error *err)
{
    struct stat st;
    if (fstat(folder, &st) < 0)
        return wh_fail_errno(err, "look at a folder");
    const struct giving g = {uid, gid, st.st_dev, linked};
    give_below(&g, folder, 0);
    return 0;
}
