/* Out of a chroot: the kernel makes no user namespace for a process whose root is not its mount namespace's.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wherry/platform/clone.h"

#define MAX_DEPTH 256

/* To the real root of the namespace: with a root below the current folder, `..` knows no end but that one. */
static int climb(int top)
{
    struct stat here;
    struct stat above;
    if (chroot("/proc") < 0 || fchdir(top) < 0)
        return -1;
    for (int i = 0; i < MAX_DEPTH; i++) {
        if (stat(".", &here) < 0 || stat("..", &above) < 0)
            return -1;
        if (here.st_dev == above.st_dev && here.st_ino == above.st_ino)
            return chroot(".");
        if (chdir("..") < 0)
            return -1;
    }
    errno = ELOOP;
    return -1;
}

int wh_child_leave_chroot(void)
{
    wh_autoclose int tree = open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    wh_autoclose int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (tree < 0 || top < 0 || climb(top) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -1;
    /* What was the chroot's root lies on top of the real one now, and is the namespace's root. */
    if (move_mount(tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 || fchdir(tree) < 0)
        return -1;
    return chroot(".");
}
