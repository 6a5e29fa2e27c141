/* The builder's first steps: ids, namespaces, run folder. One thread, and nothing foreign was read yet. */
#include "wherry/build/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "launch_internal.h"
#include "wherry/base/frame.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "wherry/container/run.h"
#include "wherry/platform/mount.h"

#define CGROUP_POINT "/sys/fs/cgroup"
#define CGROUP2_MAGIC 0x63677270UL
#define RUN_TMPFS "mode=0700,size=256m,nr_inodes=200k"

/* ---- the launcher's frame ---- */

static int *fd_place(struct wh_builder_env *env, const char *name, int *state)
{
    if (wh_streq(name, WH_LAUNCH_FD_CGROUP_V2))
        return &env->cgroup_v2;
    if (wh_streq(name, WH_LAUNCH_FD_CGROUP_MEMORY))
        return &env->cgroup_v1_memory;
    if (wh_streq(name, WH_LAUNCH_FD_BOUNDED))
        return &env->bounded;
    return wh_streq(name, WH_LAUNCH_FD_STATE) ? state : NULL;
}

static int read_launch(struct wh_builder_env *env, int *state, struct wh_error *err)
{
    wh_autoframe frame = {0};
    int got = wh_frame_recv(env->launcher, &frame, err);
    if (got < 0)
        return wh_wrap(err, "the launcher's message");
    if (got == 0)
        return wh_fail(err, WH_E_PROTOCOL, "the launcher went away before it said what to build");
    const char *path = wh_json_need_string(frame.json, "state", "the launcher's message", err);
    if (!path)
        return -1;
    env->state = wh_strdup(path);
    const cJSON *names = wh_json_get(frame.json, "fds");
    for (size_t i = 0; i < frame.nfds; i++) {
        const cJSON *name = cJSON_GetArrayItem(names, (int)i);
        int *place = cJSON_IsString(name) ? fd_place(env, name->valuestring, state) : NULL;
        if (place && *place < 0)
            *place = wh_steal_fd(&frame.fds[i]);
    }
    env->scope = cJSON_DetachItemFromObject(frame.json, "scope");
    env->options = cJSON_DetachItemFromObject(frame.json, "options");
    return 0;
}

/* ---- ids ---- */

static int become_root(struct wh_error *err)
{
    if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        return wh_fail_errno(err, "become root of the build's user namespace");
    /* Keys of the launcher's session are not ours, nor a RUN's. */
    (void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    /* After the change of ids, which clears it. A launcher that died before is seen by its socket. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    (void)umask(022);
    return 0;
}

/* ---- mounts ---- */

/* crun looks at /sys/fs/cgroup to know what the machine has, and Debian 12's refuses v1 and v2 side by side.
 * No cgroup namespace of ours unless it must be: with nsdelegate its border would keep us from putting a RUN
 * into a group beside our own. */
static void mount_cgroup2(void)
{
    struct statfs fs;
    if (statfs(CGROUP_POINT, &fs) == 0 && (unsigned long)fs.f_type == CGROUP2_MAGIC)
        return;
    if (statfs(CGROUP_POINT "/unified", &fs) == 0 && (unsigned long)fs.f_type == CGROUP2_MAGIC &&
        mount(CGROUP_POINT "/unified", CGROUP_POINT, NULL, MS_BIND, NULL) == 0)
        return;
    if (unshare(CLONE_NEWCGROUP) < 0 ||
        mount("cgroup2", CGROUP_POINT, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        wh_log_debug("builder: cgroup2 on " CGROUP_POINT ": %s", strerror(errno));
}

static int private_mounts(struct wh_builder_env *env, int state, struct wh_error *err)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return wh_fail_errno(err, "make the builder's mounts private");
    /* Refused where parts of /proc are covered (inside another container): the old one serves, RUN will say
     * what it lacks. */
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        wh_log_debug("builder: mount /proc: %s", strerror(errno));
    mount_cgroup2();
    if (state >= 0 && move_mount(state, "", AT_FDCWD, env->state, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return wh_fail_errno(err, "mount the state folder on %s", env->state);
    env->run_dir = wh_path_join(env->state, WH_BUILD_RUN_FOLDER);
    wh_autofree char *quiet = wh_printf("%s,noswap", RUN_TMPFS);
    /* noswap keeps secrets off the disk where the kernel (6.4) knows it. */
    if (wh_tmpfs_mount(env->run_dir, quiet, NULL) < 0 && wh_tmpfs_mount(env->run_dir, RUN_TMPFS, err) < 0)
        return -1;
    if (chdir("/") < 0)
        return wh_fail_errno(err, "change to /");
    return 0;
}

/* ---- public ---- */

static int take_fds(struct wh_builder_env *env, struct wh_error *err)
{
    struct stat st;
    const int fds[] = {WH_BUILDER_CHANNEL_FD, WH_BUILDER_LAUNCH_FD};
    for (size_t i = 0; i < WH_COUNT(fds); i++)
        if (fstat(fds[i], &st) < 0 || !S_ISSOCK(st.st_mode) || fcntl(fds[i], F_SETFD, FD_CLOEXEC) < 0)
            return wh_fail(err, WH_E_ARGUMENT,
                           "`wherry builder` is started by wherry itself; use `wherry build`");
    env->channel = WH_BUILDER_CHANNEL_FD;
    env->launcher = WH_BUILDER_LAUNCH_FD;
    return 0;
}

int wh_builder_setup(struct wh_builder_env *out, struct wh_error *err)
{
    *out = (struct wh_builder_env){
        .channel = -1, .launcher = -1, .bounded = -1, .cgroup_v2 = -1, .cgroup_v1_memory = -1};
    wh_autoclose int state = -1;
    if (take_fds(out, err) < 0)
        return -1;
    /* newuidmap wants a /proc entry of its caller's; there is no secret in this memory yet. */
    if (geteuid() != 0)
        (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    (void)send(out->launcher, "r", 1, MSG_NOSIGNAL);
    if (read_launch(out, &state, err) < 0 || become_root(err) < 0 || private_mounts(out, state, err) < 0)
        return -1;
    const struct wh_container_options options = {
        .run_dir = out->run_dir,
        .state_dir = out->state,
        .runtime = wh_json_string(out->options, "runtime"),
        .bounded_fd = out->bounded,
        .cgroup_v2 = out->cgroup_v2,
        .cgroup_v1_memory = out->cgroup_v1_memory,
    };
    return wh_container_init(&options, err);
}

void wh_builder_env_clear(struct wh_builder_env *env)
{
    const int fds[] = {env->channel, env->launcher, env->cgroup_v2, env->cgroup_v1_memory};
    for (size_t i = 0; i < WH_COUNT(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(env->state);
    free(env->run_dir);
    cJSON_Delete(env->scope);
    cJSON_Delete(env->options);
    *env = (struct wh_builder_env){.channel = -1, .launcher = -1, .cgroup_v2 = -1, .cgroup_v1_memory = -1};
}
