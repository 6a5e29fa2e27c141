/* Idmapped clones of a folder's mount. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "wherry/platform/userns.h"

int wh_idmap_clone(int dirfd, int userns, struct wh_error *err)
{
    wh_autoclose int tree = open_tree(dirfd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (tree < 0)
        return wh_fail(err, WH_E_UNSUPPORTED, "clone the folder's mount: %s", strerror(errno));
    struct mount_attr attr = {
        .attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
        .propagation = MS_PRIVATE,
        .userns_fd = (uint64_t)userns,
    };
    if (mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
        return wh_fail(err, WH_E_UNSUPPORTED, "map the owners of the folder's files: %s", strerror(errno));
    int fd = openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return wh_fail_errno(err, "open the mapped folder");
    return fd;
}
