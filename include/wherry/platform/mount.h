/* Mounts inside a builder's private mount namespace. */
#ifndef WH_PLATFORM_MOUNT_H
#define WH_PLATFORM_MOUNT_H

#include "wherry/base/err.h"

#define WH_MAX_OVERLAY_LOWERS 500 /* overlayfs' own limit */

/* An overlay of folders that lie below one folder. */
struct wh_overlay {
    int lowers_fd;             /* the folder that holds the lower trees; borrowed */
    const char *const *lowers; /* their names below it, newest (top) first */
    size_t nlowers;
    int upper; /* the upper folder; borrowed; -1: a read-only view without one */
    int work;  /* an empty folder on the same file system; borrowed */
};

/* Mounts it on target (an existing folder). Takes up to WH_MAX_OVERLAY_LOWERS, by fsconfig `lowerdir+` where
 * the kernel has it, else by mount(2) with short relative names. Always redirect_dir=nofollow, metacopy=off,
 * index=off, userxattr, so that the upper is a plain layer tree after a true umount. */
int wh_overlay_mount(const struct wh_overlay *o, const char *target, struct wh_error *err);

/* Binds the folder source_fd on target; read-only if ro. */
int wh_bind_mount(int source_fd, const char *target, bool ro, struct wh_error *err);
/* The same with the mounts below it. They all go at once, now or when nobody uses them any more. */
int wh_bind_mount_all(int source_fd, const char *target, struct wh_error *err);
void wh_umount_all(const char *target);
int wh_tmpfs_mount(const char *target, const char *options, struct wh_error *err);
/* A true umount (never lazy): WH_E_BUSY if something still uses it after timeout_ms. */
int wh_umount(const char *target, unsigned timeout_ms, struct wh_error *err);

#endif
