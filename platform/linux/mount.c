/* Bind mounts, tmpfs and umount, by the new mount interface where a descriptor is at hand. */
#include "wherry/platform/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <unistd.h>

#include "wherry/base/clock.h"

int wh_bind_mount(int source_fd, const char *target, bool ro, struct wh_error *err)
{
    wh_autoclose int tree = open_tree(source_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (tree < 0)
        return wh_fail_errno(err, "clone the mount for %s", target);
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    if (ro && mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
        return wh_fail_errno(err, "make the mount for %s read-only", target);
    if (move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return wh_fail_errno(err, "mount on %s", target);
    return 0;
}

int wh_bind_mount_all(int source_fd, const char *target, struct wh_error *err)
{
    wh_autoclose int tree =
        open_tree(source_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    if (tree < 0)
        return wh_fail_errno(err, "clone the mounts for %s", target);
    if (move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return wh_fail_errno(err, "mount on %s", target);
    return 0;
}

void wh_umount_all(const char *target)
{
    (void)umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW);
}

int wh_tmpfs_mount(const char *target, const char *options, struct wh_error *err)
{
    if (mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
        return wh_fail_errno(err, "mount a tmpfs on %s", target);
    return 0;
}

int wh_umount(const char *target, unsigned timeout_ms, struct wh_error *err)
{
    uint64_t deadline = wh_machine_ms() + timeout_ms;
    int pause_ms = 1;
    while (umount2(target, UMOUNT_NOFOLLOW) < 0) {
        if (errno != EBUSY)
            return wh_fail_errno(err, "umount %s", target);
        if (wh_machine_ms() >= deadline)
            return wh_fail(err, WH_E_BUSY, "umount %s: a process still uses it", target);
        (void)poll(NULL, 0, pause_ms);
        pause_ms = WH_MIN(pause_ms * 2, 50);
    }
    return 0;
}
