/* Mounting and umounting the root file system of a RUN. */
#include "wherry/container/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "wherry/base/fs.h"
#include "wherry/platform/mount.h"

#define UMOUNT_TIMEOUT_MS 5000
#define NAME_SIZE 24 /* a layer's id */

/* The root folder of a layer's own: what `/` looks like must not change by being built upon. */
static int copy_root_attributes(const struct wh_rootfs_options *o, int upper, struct wh_error *err)
{
    char name[NAME_SIZE];
    struct stat st;
    if (o->nlayers == 0)
        return 0;
    (void)snprintf(name, sizeof name, "%lld", (long long)o->layers[0]);
    if (fstatat(o->layers_fd, name, &st, 0) < 0)
        return wh_fail_errno(err, "look at layer %s", name);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    if (fchown(upper, st.st_uid, st.st_gid) < 0 || fchmod(upper, st.st_mode & 07777) < 0 ||
        futimens(upper, times) < 0)
        return wh_fail_errno(err, "give the new layer's root folder the mode and owner of layer %s's", name);
    return 0;
}

static int mount_overlay(const struct wh_rootfs_options *o, int upper, const char *target,
                         struct wh_error *err)
{
    wh_autoclose int work = -1;
    if (upper >= 0) {
        work = open(o->work, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (work < 0)
            return wh_fail_errno(err, "open the work folder %s", o->work);
    }
    wh_autofree char(*names)[NAME_SIZE] = wh_calloc(o->nlayers, sizeof *names);
    wh_autofree const char **lowers = wh_calloc(o->nlayers, sizeof *lowers);
    for (size_t i = 0; i < o->nlayers; i++) {
        (void)snprintf(names[i], sizeof names[i], "%lld", (long long)o->layers[i]);
        lowers[i] = names[i];
    }
    const struct wh_overlay overlay = {
        .lowers_fd = o->layers_fd,
        .lowers = lowers,
        .nlowers = o->nlayers,
        .upper = upper,
        .work = work,
    };
    return wh_overlay_mount(&overlay, target, err);
}

static int mount_any(const struct wh_rootfs_options *o, int upper, const char *target, struct wh_error *err)
{
    if (o->nlayers > 1 || (o->nlayers == 1 && upper >= 0))
        return mount_overlay(o, upper, target, err);
    if (upper >= 0)
        return wh_bind_mount(upper, target, false, err);
    if (o->nlayers == 0)
        return wh_fail(err, WH_E_ARGUMENT, "a view of no layers");
    char name[NAME_SIZE];
    (void)snprintf(name, sizeof name, "%lld", (long long)o->layers[0]);
    wh_autoclose int layer = openat(o->layers_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return layer < 0 ? wh_fail_errno(err, "open layer %s", name) : wh_bind_mount(layer, target, true, err);
}

static int do_mount(const struct wh_rootfs_options *o, struct wh_rootfs *out, struct wh_error *err)
{
    if (o->nlayers > WH_MAX_OVERLAY_LOWERS)
        return wh_fail(err, WH_E_LIMIT, "the image has %zu layers; %d can be stacked", o->nlayers,
                       WH_MAX_OVERLAY_LOWERS);
    out->path = o->target ? wh_strdup(o->target) : wh_container_box("rootfs", err);
    if (!out->path)
        return -1;
    out->own_target = !o->target;
    if (o->upper) {
        out->upper = open(o->upper, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (out->upper < 0)
            return wh_fail_errno(err, "open the new layer's folder %s", o->upper);
        out->copied = wh_copied_new();
        if (copy_root_attributes(o, out->upper, err) < 0)
            return -1;
    }
    if (mount_any(o, out->upper, out->path, err) < 0)
        return -1;
    out->mounted = true;
    out->fd = open(out->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return out->fd < 0 ? wh_fail_errno(err, "open %s", out->path) : 0;
}

int wh_rootfs_mount(const struct wh_rootfs_options *options, struct wh_rootfs *out, struct wh_error *err)
{
    *out = WH_ROOTFS_NONE;
    if (do_mount(options, out, err) == 0)
        return 0;
    (void)wh_rootfs_finish(out, NULL);
    return -1;
}

int wh_rootfs_finish(struct wh_rootfs *root, struct wh_error *err)
{
    int result = 0;
    if (root->fd >= 0)
        (void)close(root->fd);
    if (root->mounted)
        result = wh_umount(root->path, UMOUNT_TIMEOUT_MS, err);
    if (result == 0 && root->copied)
        wh_copied_drop(root->copied, root->upper);
    wh_copied_free(root->copied);
    if (root->upper >= 0)
        (void)close(root->upper);
    if (result == 0 && root->own_target)
        (void)rmdir(root->path);
    free(root->path);
    *root = WH_ROOTFS_NONE;
    return result;
}
