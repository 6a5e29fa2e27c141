/* Programs and disk. */
#include <errno.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cmd/doctor.h"
#include "wherry/base/fs.h"
#include "wherry/platform/binfmt.h"
#include "wherry/platform/process.h"
#include "wherry/store/store.h"

#define LITTLE_DISK ((uint64_t)10 * 1000 * 1000 * 1000)
#define NO_DISK ((uint64_t)1000 * 1000 * 1000)

/* First line of `program --version`, or NULL. */
static char *version_of(const char *program, const char *option)
{
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    char *argv[] = {(char *)program, (char *)option, NULL};
    o.path = program;
    o.argv = argv;
    wh_autostr out = {0};
    if (wh_process_run(&o, 4096, &out, NULL, NULL) != 0 || out.len == 0)
        return NULL;
    return wh_strndup(out.data, strcspn(out.data, "\n"));
}

static void check_runtime(struct doctor *d, const char *path)
{
    static const char *const names[] = {"crun", "runc"};
    for (size_t i = 0; i < WH_COUNT(names); i++) {
        wh_autofree char *program = wh_find_program(names[i], path, false);
        if (!program)
            continue;
        wh_autofree char *version = version_of(program, "--version");
        if (!version) {
            doctor_say(d, DOCTOR_FAIL, "container runtime", "install it anew: `apt install crun`",
                       "%s does not run", program);
            return;
        }
        doctor_say(d, DOCTOR_OK, "container runtime", NULL, "%s (%s)", program, version);
        return;
    }
    doctor_say(d, DOCTOR_FAIL, "container runtime", "`apt install crun`",
               "neither crun nor runc is installed");
}

static void check_git(struct doctor *d, const char *path)
{
    wh_autofree char *program = wh_find_program("git", path, false);
    wh_autofree char *version = program ? version_of(program, "version") : NULL;
    unsigned major = 0, minor = 0;
    if (!version || sscanf(version, "git version %u.%u", &major, &minor) != 2) {
        doctor_say(d, DOCTOR_FAIL, "git", "`apt install git`", "%s",
                   program ? "does not run" : "is not installed");
        return;
    }
    bool old = major < 2 || (major == 2 && minor < 18), oldish = major == 2 && minor < 28;
    doctor_say(d,
               old      ? DOCTOR_FAIL
               : oldish ? DOCTOR_WARN
                        : DOCTOR_OK,
               "git", "checkout needs git 2.18, and 2.28 for sparse checkouts", "%s (%s)", program, version);
}

/* Only told: most machines build for themselves alone. */
static void check_emulation(struct doctor *d)
{
    wh_autostrv char **ready = wh_binfmt_ready(NULL);
    wh_autofree char *list = ready ? wh_strv_join(ready, ", ") : NULL;
    if (list)
        doctor_say(d, DOCTOR_OK, "emulation", NULL, "programs for %s run here", list);
    else
        doctor_say(d, DOCTOR_OK, "emulation", NULL,
                   "none: images are built for this machine's processor (`apt install qemu-user-static "
                   "binfmt-support` adds others)");
}

void doctor_tools(struct doctor *d)
{
    const char *path = getenv("PATH");
    if (!path)
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    check_runtime(d, path);
    check_git(d, path);
    check_emulation(d);
}

static const char *fs_name(long type)
{
    static const struct {
        long type;
        const char *name;
    } known[] = {{0xef53, "ext4"},           {0x58465342, "xfs"},           {0x9123683e, "btrfs"},
                 {0x01021994, "tmpfs"},      {0x794c7630, "overlayfs"},     {0x6969, "nfs"},
                 {0x2fc12fc1, "zfs"},        {0xf2f52010, "f2fs"},          {0x65735546, "fuse"},
                 {(long)0xff534d42, "cifs"}, {(long)0xca451a4e, "bcachefs"}};
    for (size_t i = 0; i < WH_COUNT(known); i++)
        if (known[i].type == type)
            return known[i].name;
    return NULL;
}

/* SQLite's shared memory and overlayfs' upper folders want a local disk. */
static bool fs_fits(const char *name)
{
    return !name || (strcmp(name, "nfs") != 0 && strcmp(name, "cifs") != 0 && strcmp(name, "fuse") != 0 &&
                     strcmp(name, "overlayfs") != 0);
}

static void check_store(struct doctor *d)
{
    wh_autoerror err = {0};
    struct wh_store *s = wh_store_open(
        &(struct wh_store_options){.dir = d->state, .must_exist = true, .foreground = true}, &err);
    if (s)
        doctor_say(d, DOCTOR_OK, "store", NULL, "%s can be opened", d->state);
    else if (err.code == WH_E_NOT_FOUND)
        doctor_say(d, DOCTOR_OK, "store", NULL, "none yet in %s; the first build makes it", d->state);
    else
        doctor_say(d, DOCTOR_FAIL, "store", "see what `wherry cache verify` says", "%s", wh_error_text(&err));
    wh_store_close(s);
}

void doctor_disk(struct doctor *d)
{
    wh_autofree char *above = wh_strdup(d->state);
    struct statvfs v;
    while (statvfs(above, &v) < 0 && strrchr(above, '/') != above)
        *strrchr(above, '/') = '\0';
    struct statfs fs;
    if (statvfs(above, &v) < 0 || statfs(above, &fs) < 0) {
        doctor_say(d, DOCTOR_FAIL, "disk", NULL, "%s: %s", above, strerror(errno));
        return;
    }
    const char *name = fs_name((long)fs.f_type);
    doctor_say(d, fs_fits(name) ? DOCTOR_OK : DOCTOR_FAIL, "file system",
               "put the state folder (--state) on a local disk with ext4, xfs or btrfs", "%s is on %s", above,
               name ? name : "a file system that wherry doesn't know");
    uint64_t free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
    wh_autofree char *left = wh_format_size(free_bytes);
    wh_autofree char *total = wh_format_size((uint64_t)v.f_blocks * v.f_frsize);
    doctor_say(d,
               free_bytes < NO_DISK       ? DOCTOR_FAIL
               : free_bytes < LITTLE_DISK ? DOCTOR_WARN
                                          : DOCTOR_OK,
               "disk space", "make room (`wherry cache prune --min-free 10g`), or use a larger disk",
               "%s of %s free", left, total);
    uint64_t nodes_free = v.f_files ? v.f_favail : UINT64_MAX;
    if (nodes_free < 100000)
        doctor_say(d, DOCTOR_WARN, "inodes",
                   "layers are trees of many small files: use a file system with more inodes",
                   "only %llu are free", (unsigned long long)nodes_free);
    check_store(d);
}
