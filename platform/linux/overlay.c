/* Mounting an overlay of many layers. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include "wherry/base/log.h"
#include "wherry/base/str.h"
#include "wherry/platform/mount.h"

/* With these the upper is a plain tree: no redirects or metadata-only files in it, that other lowers could
 * not answer. */
static const char *const fixed[][2] = {{"redirect_dir", "nofollow"}, {"metacopy", "off"}, {"index", "off"}};
#define FD_PATH "/proc/self/fd/%d"

static int set(int fs, const char *key, const char *value)
{
    return fsconfig(fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0);
}

static int set_lowers(int fs, const struct wh_overlay *o)
{
    for (size_t i = 0; i < o->nlowers; i++) {
        char path[128];
        int len = snprintf(path, sizeof path, FD_PATH "/%s", o->lowers_fd, o->lowers[i]);
        if (len < 0 || (size_t)len >= sizeof path) {
            errno = ENAMETOOLONG;
            return -1;
        }
        if (set(fs, "lowerdir+", path) < 0)
            return -1;
    }
    return 0;
}

static int set_upper(int fs, const struct wh_overlay *o)
{
    char path[64];
    if (o->upper < 0)
        return 0;
    (void)snprintf(path, sizeof path, FD_PATH, o->upper);
    if (set(fs, "upperdir", path) < 0)
        return -1;
    (void)snprintf(path, sizeof path, FD_PATH, o->work);
    /* volatile: an fsync inside a RUN is for nothing, since the store flushes what it keeps. */
    return set(fs, "workdir", path) < 0 || set(fs, "volatile", NULL) < 0 ? -1 : 0;
}

/* The kernel's own words about the last failure ("overlay: ..."), which a mount descriptor keeps; "" if none.
 */
static void kernel_words(int fs, char *text, size_t size)
{
    ssize_t len = read(fs, text, size - 1);
    text[len > 0 ? len : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
}

/* By fsopen: a list of any length. -1 with errno; said is what the kernel said. */
static int mount_by_config(const struct wh_overlay *o, const char *target, char *said, size_t said_size)
{
    wh_autoclose int fs = fsopen("overlay", FSOPEN_CLOEXEC);
    if (fs < 0)
        return -1;
    int result = set(fs, "source", "overlay") < 0 || set_lowers(fs, o) < 0 || set_upper(fs, o) < 0 ? -1 : 0;
    for (size_t i = 0; result == 0 && i < WH_COUNT(fixed); i++)
        result = set(fs, fixed[i][0], fixed[i][1]);
    if (result == 0 &&
        (set(fs, "userxattr", NULL) < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0))
        result = -1;
    if (result < 0) {
        int saved = errno;
        kernel_words(fs, said, said_size);
        errno = saved;
        return -1;
    }
    wh_autoclose int tree = fsmount(fs, FSMOUNT_CLOEXEC, 0);
    if (tree < 0)
        return -1;
    return move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
}

/* ---- kernels before 6.5: mount(2), whose options must fit in a page ---- */

struct old_mount {
    const struct wh_overlay *o;
    const char *target;
    int saved_errno; /* 0: done */
};

/* A thread of its own, since the names are relative to its current folder and other threads must keep theirs.
 */
static void *mount_in_thread(void *arg)
{
    struct old_mount *m = arg;
    wh_autostr data = {0};
    for (size_t i = 0; i < m->o->nlowers; i++)
        wh_str_addf(&data, "%s%s", i == 0 ? "lowerdir=" : ":", m->o->lowers[i]);
    if (m->o->upper >= 0)
        wh_str_addf(&data, ",upperdir=" FD_PATH ",workdir=" FD_PATH ",volatile", m->o->upper, m->o->work);
    for (size_t i = 0; i < WH_COUNT(fixed); i++)
        wh_str_addf(&data, ",%s=%s", fixed[i][0], fixed[i][1]);
    wh_str_add(&data, ",userxattr");
    if (data.len >= (size_t)sysconf(_SC_PAGESIZE))
        m->saved_errno = E2BIG;
    else if (unshare(CLONE_FS) < 0 || fchdir(m->o->lowers_fd) < 0 ||
             mount("overlay", m->target, "overlay", 0, wh_str_text(&data)) < 0)
        m->saved_errno = errno;
    return NULL;
}

static int mount_by_data(const struct wh_overlay *o, const char *target)
{
    struct old_mount m = {o, target, 0};
    pthread_t thread;
    int failed = pthread_create(&thread, NULL, mount_in_thread, &m);
    if (failed == 0)
        failed = pthread_join(thread, NULL);
    errno = failed != 0 ? failed : m.saved_errno;
    return errno == 0 ? 0 : -1;
}

int wh_overlay_mount(const struct wh_overlay *o, const char *target, struct wh_error *err)
{
    if (o->nlowers == 0 || o->nlowers > WH_MAX_OVERLAY_LOWERS)
        return wh_fail(err, WH_E_LIMIT, "an overlay of %zu layers: it must be 1 to %d", o->nlowers,
                       WH_MAX_OVERLAY_LOWERS);
    for (size_t i = 0; i < o->nlowers; i++)
        if (strpbrk(o->lowers[i], ":,\\") != NULL)
            return wh_fail(err, WH_E_ARGUMENT, "a layer folder can't be named %s", o->lowers[i]);
    char said[256] = "";
    if (mount_by_config(o, target, said, sizeof said) == 0)
        return 0;
    int first_errno = errno;
    if (mount_by_data(o, target) == 0)
        return 0;
    if (errno != E2BIG && first_errno != EINVAL && first_errno != ENOSYS)
        errno = first_errno;
    return wh_fail_errno(err, "mount an overlay of %zu layers on %s%s%s%s", o->nlowers, target,
                         said[0] ? " (" : "", said, said[0] ? ")" : "");
}
