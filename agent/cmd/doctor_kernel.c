/* What the kernel lets us do, found out by doing it: a child enters namespaces of its own as a builder does,
 * and reports line by line. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/magic.h>

#include "cmd/doctor.h"
#include "wherry/base/fs.h"
#include "wherry/platform/cgroup.h"
#include "wherry/platform/clone.h"
#include "wherry/platform/mount.h"
#include "wherry/platform/process.h"
#include "wherry/platform/userns.h"

#ifndef __NR_fsopen
#define __NR_fsopen 430
#endif

#define NO_USERNS                                                                                            \
    "allow them: `sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000`, and on "     \
    "Ubuntu "                                                                                                \
    "`sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` or an AppArmor profile for wherry; in a "    \
    "container, run it "                                                                                     \
    "with --privileged"
#define NEW_KERNEL "use a newer kernel: Debian 12's 6.1 or later is what wherry is tested with"

static void check_version(struct doctor *d)
{
    struct utsname u;
    unsigned major = 0, minor = 0;
    if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2) {
        doctor_say(d, DOCTOR_WARN, "kernel", NULL, "of unknown version");
        return;
    }
    bool old = major < 5 || (major == 5 && minor < 11);
    doctor_say(d, old ? DOCTOR_FAIL : DOCTOR_OK, "kernel", NEW_KERNEL, "Linux %s on %s%s", u.release,
               u.machine, old ? "; overlayfs in user namespaces needs 5.11" : "");
}

static void check_calls(struct doctor *d)
{
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = (int)syscall(SYS_openat2, root, "..", &how, sizeof(how));
    doctor_say(d, fd < 0 ? DOCTOR_FAIL : DOCTOR_OK, "openat2", NEW_KERNEL, "%s",
               fd < 0 ? strerror(errno) : "works");
    if (fd >= 0)
        close(fd);
    close(root);
    fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    doctor_say(d, fd < 0 ? DOCTOR_FAIL : DOCTOR_OK, "pidfd", NEW_KERNEL, "%s",
               fd < 0 ? strerror(errno) : "works");
    if (fd >= 0)
        close(fd);
    uint32_t action = SECCOMP_RET_ERRNO;
    int rc = (int)syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
    doctor_say(d, rc < 0 ? DOCTOR_FAIL : DOCTOR_OK, "seccomp", "use a kernel with CONFIG_SECCOMP_FILTER",
               "%s", rc < 0 ? strerror(errno) : "filters can be installed");
}

/* ---- the child ---- */

/* One line a step: "name" and the reason why not, or nothing where it worked. */
static void report(int out, const char *name, const char *reason)
{
    dprintf(out, "%s\t%s\n", name, reason ? reason : "");
}

static int file_in(int dirfd, const char *path)
{
    int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0)
        close(fd);
    return fd;
}

/* A layer below, one above: writes, and a deletion must come out as overlayfs' mark. */
static void try_overlay(int scratch, int out)
{
    wh_autoerror err = {0};
    if (mkdirat(scratch, "lower", 0755) < 0 || mkdirat(scratch, "upper", 0755) < 0 ||
        mkdirat(scratch, "work", 0755) < 0 || mkdirat(scratch, "merged", 0755) < 0 ||
        file_in(scratch, "lower/old") < 0) {
        report(out, "overlay", strerror(errno));
        return;
    }
    wh_autoclose int upper = openat(scratch, "upper", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    wh_autoclose int work = openat(scratch, "work", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const char *lowers[] = {"lower"};
    struct wh_overlay o = {
        .lowers_fd = scratch, .lowers = lowers, .nlowers = 1, .upper = upper, .work = work};
    if (wh_overlay_mount(&o, "merged", &err) < 0) {
        report(out, "overlay", wh_error_text(&err));
        return;
    }
    struct stat st;
    bool wrote = file_in(scratch, "merged/new") >= 0 && unlinkat(scratch, "merged/old", 0) == 0;
    int saved = errno;
    bool marked = fstatat(scratch, "upper/old", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) &&
                  st.st_rdev == 0;
    bool umounted = wh_umount("merged", 2000, &err) == 0;
    if (!wrote)
        report(out, "overlay", strerror(saved));
    else if (!marked)
        report(out, "overlay", "a deleted file leaves no whiteout");
    else
        report(out, "overlay", umounted ? NULL : wh_error_text(&err));
}

static void try_mounts(int out)
{
    int fs = (int)syscall(__NR_fsopen, "tmpfs", 1u /* FSOPEN_CLOEXEC */);
    report(out, "mountapi", fs < 0 ? strerror(errno) : NULL);
    if (fs >= 0)
        close(fs);
}

/* The kernel makes no user namespace in a chroot: there the builder's start leaves it, and so does this. */
static int enter_userns(const char *path, int *scratch)
{
    if (unshare(CLONE_NEWUSER) == 0)
        return 0;
    if (errno != EPERM || geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || wh_child_leave_chroot() < 0)
        return -1;
    *scratch = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* the folder of this namespace */
    return *scratch < 0 ? -1 : unshare(CLONE_NEWUSER);
}

/* In a user and a mount namespace; `go` is closed when the maps are written. */
static int child(int scratch, const char *path, int go, int out)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (enter_userns(path, &scratch) < 0) {
        report(out, "userns", strerror(errno));
        return 0;
    }
    report(out, "userns", NULL);
    char byte;
    if (read(go, &byte, 1) != 1) /* no maps: the parent says why */
        return 0;
    /* A descriptor stays in its mount namespace, the current folder goes along. */
    if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0 || fchdir(scratch) < 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        report(out, "mountns", strerror(errno));
        return 0;
    }
    report(out, "mountns", NULL);
    try_mounts(out);
    wh_autoclose int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    try_overlay(here, out);
    report(out, "end", NULL);
    /* Stays for the idmapped mount's test until the parent lets go. */
    return read(go, &byte, 1) < 0;
}

/* ---- the parent ---- */

/* A folder on the state folder's file system; its descriptor, its path in *path. */
static int scratch_make(struct doctor *d, char **path)
{
    wh_autofree char *above = wh_strdup(d->state);
    while (access(above, W_OK | X_OK) < 0 && strrchr(above, '/') != above)
        *strrchr(above, '/') = '\0';
    *path = wh_path_join(above, ".wherry-doctor-XXXXXX");
    if (!mkdtemp(*path)) {
        free(wh_steal(path));
        return -1;
    }
    return open(*path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void check_idmap(struct doctor *d, pid_t pid, int scratch)
{
    if (geteuid() != 0)
        return;
    wh_autofree char *ns = wh_printf("/proc/%ld/ns/user", (long)pid);
    wh_autoclose int userns = open(ns, O_RDONLY | O_CLOEXEC);
    wh_autoerror err = {0};
    wh_autoclose int mnt = userns < 0 ? -1 : wh_idmap_clone(scratch, userns, &err);
    if (mnt >= 0)
        doctor_say(d, DOCTOR_OK, "idmapped mounts", NULL, "work on the state folder's file system");
    else
        doctor_say(d, DOCTOR_WARN, "idmapped mounts",
                   "builds go on without them, but then don't see files that only root can read; ext4, xfs "
                   "or btrfs with Linux "
                   "5.19 or later has them",
                   "%s", err.message ? wh_error_text(&err) : strerror(errno));
}

static void show(struct doctor *d, const char *name, const char *reason)
{
    static const struct {
        const char *name, *what, *works, *advice;
    } known[] = {
        {"userns", "user namespaces", "can be made", NO_USERNS},
        {"mountns", "mount namespaces", "can be made inside", NO_USERNS},
        {"mountapi", "mount API", "fsopen works", NEW_KERNEL},
        {"overlay", "overlayfs", "works in a user namespace, on the state folder's file system",
         "put the state folder (--state) on ext4, xfs or btrfs, and use Linux 5.11 or later; `modprobe "
         "overlay` if it is a module"},
    };
    for (size_t i = 0; i < WH_COUNT(known); i++)
        if (strcmp(name, known[i].name) == 0)
            doctor_say(d, reason[0] ? DOCTOR_FAIL : DOCTOR_OK, known[i].what, known[i].advice, "%s",
                       reason[0] ? reason : known[i].works);
}

/* Shows the lines of the child up to the one called `last`. */
static bool show_until(struct doctor *d, FILE *in, const char *last)
{
    char line[1024];
    while (fgets(line, sizeof(line), in)) {
        line[strcspn(line, "\n")] = '\0';
        char *tab = strchr(line, '\t');
        if (!tab)
            continue;
        *tab = '\0';
        show(d, line, tab + 1);
        if (strcmp(line, last) == 0)
            return tab[1] == '\0';
    }
    return false;
}

static void check_namespaces(struct doctor *d)
{
    wh_autoerror err = {0};
    struct wh_userns_map map;
    uid_t job = geteuid();
    if (wh_userns_map_choose(job ? job : WH_NO_ID, job ? getegid() : (gid_t)WH_NO_ID, &map, &err) < 0) {
        doctor_say(d, DOCTOR_FAIL, "sub-id range",
                   "`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER` as root, and "
                   "install uidmap",
                   "%s", wh_error_text(&err));
        return;
    }
    doctor_say(d, DOCTOR_OK, "sub-id range", NULL, "uids from %u, gids from %u", (unsigned)map.first_uid,
               (unsigned)map.first_gid);
    wh_autofree char *path = NULL;
    wh_autoclose int scratch = scratch_make(d, &path);
    int go[2], out[2];
    if (scratch < 0 || pipe2(go, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0) {
        doctor_say(d, DOCTOR_FAIL, "state folder", "name a folder that you may write to by --state", "%s: %s",
                   d->state, strerror(errno));
        return;
    }
    if (fchmod(scratch, 0777) < 0 || (geteuid() == 0 && fchown(scratch, map.first_uid, map.first_gid) < 0))
        doctor_say(d, DOCTOR_WARN, "state folder", NULL, "%s: %s", path, strerror(errno));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        close(go[1]);
        close(out[0]);
        _exit(child(scratch, path, go[0], out[1]));
    }
    close(go[0]);
    close(out[1]);
    FILE *in = fdopen(out[0], "r");
    if (show_until(d, in, "userns")) {
        if (wh_userns_write_maps(pid, &map, &err) < 0)
            doctor_say(d, DOCTOR_FAIL, "id maps",
                       "install uidmap (newuidmap and newgidmap), or run wherry as root", "%s",
                       wh_error_text(&err));
        else if (write(go[1], "g", 1) == 1 && show_until(d, in, "end"))
            check_idmap(d, pid, scratch);
    }
    fclose(in);
    close(go[1]);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    /* As an ordinary user we may not own what the child made: a namespace's root removes it. */
    if (wh_remove_tree(AT_FDCWD, path, NULL) < 0)
        doctor_say(d, DOCTOR_WARN, "scratch folder", "remove it by hand", "%s stays", path);
}

/* ---- control groups ---- */

static void check_cgroups(struct doctor *d)
{
    struct statfs fs;
    bool v2 = statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
    struct wh_build_cgroup g = WH_BUILD_CGROUP_NONE;
    struct wh_build_cgroup_limits limits = {0};
    wh_autoerror err = {0};
    if (wh_build_cgroup_create(&limits, geteuid(), getegid(), &g, &err) < 0) {
        doctor_say(d, geteuid() == 0 ? DOCTOR_FAIL : DOCTOR_WARN, "control groups",
                   "nothing would bound a build: mount cgroup2 on /sys/fs/cgroup, in a container run it with "
                   "--privileged "
                   "--cgroupns=private",
                   "%s", wh_error_text(&err));
        return;
    }
    wh_autostr have = {0};
    if (g.v2 >= 0)
        wh_str_add(&have, " v2");
    if (g.v1_pids >= 0)
        wh_str_add(&have, " pids");
    if (g.v1_memory >= 0)
        wh_str_add(&have, " memory");
    if (g.v1_devices >= 0)
        wh_str_add(&have, " devices");
    if (have.len > 0)
        doctor_say(d, DOCTOR_OK, "control groups", NULL, "%s; a build gets groups of its own (%s)",
                   v2 ? "version 2" : "version 1", wh_str_text(&have) + 1);
    else
        doctor_say(d, DOCTOR_WARN, "control groups",
                   "builds work, but nothing bounds them and left-overs are found by their environment only; "
                   "have the agent started "
                   "by systemd with Delegate=yes",
                   "%s; none is delegated to this user", v2 ? "version 2" : "version 1");
    wh_build_cgroup_destroy(&g);
}

void doctor_kernel(struct doctor *d)
{
    check_version(d);
    check_calls(d);
    check_namespaces(d);
    check_cgroups(d);
}
