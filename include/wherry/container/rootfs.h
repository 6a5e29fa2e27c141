/* The root file system of a RUN (or of a COPY that must see the layers below): layers' trees below, one upper
 * folder that becomes the next layer's tree by a rename. builder.md §4 "Rootfs", "Stubs"; design.md "The
 * builder" 1.
 *
 *     struct wh_tree *tree = wh_tree_begin(store, err);
 *     options = {wh_layer_layers_fd(store), ids, n, wh_tree_path(tree), wh_tree_work(tree)};
 *     wh_rootfs_mount(&options, &root, err);
 *     wh_container_run(&spec, &result, err);      any number of times
 *     wh_rootfs_finish(&root, err);               a true umount: the upper is a plain layer tree now
 *     wh_tree_commit(tree, ...);
 */
#ifndef WH_CONTAINER_ROOTFS_H
#define WH_CONTAINER_ROOTFS_H

#include "wherry/base/err.h"

struct wh_rootfs_options {
    int layers_fd;         /* the store's layers folder (wh_layer_layers_fd); borrowed */
    const int64_t *layers; /* ids, newest (top) first; may be none (FROM scratch) */
    size_t nlayers;
    const char *upper;  /* absolute: the tree that takes the changes, still empty; NULL: a read-only view */
    const char *work;   /* absolute: an empty folder beside it */
    const char *target; /* an existing folder to mount on; NULL: one is made in the builder's run folder */
};

struct wh_rootfs {
    char *path;               /* owned: where it is mounted */
    int fd;                   /* owned: O_PATH of its root; resolve below it by wh_open_in_root() only */
    int upper;                /* owned: the upper folder; -1 for a view */
    struct wh_copied *copied; /* owned: folders that were only copied up for a mount point; NULL for a view */
    bool mounted;
    bool own_target;
};
#define WH_ROOTFS_NONE ((struct wh_rootfs){.fd = -1, .upper = -1})

/* An empty upper takes mode and owner of the newest layer's own root folder (else it stays as it is). With
 * one layer and no upper it is a bind mount, with no layer at all the upper itself is bound: overlayfs is
 * used where it is needed. */
int wh_rootfs_mount(const struct wh_rootfs_options *options, struct wh_rootfs *out, struct wh_error *err);
/* Umounts for sure; an error says that a process still holds it: the upper must not become a layer then.
 * Frees what root owns, also on error. Fine on a root that was never mounted. */
int wh_rootfs_finish(struct wh_rootfs *root, struct wh_error *err);

#endif
