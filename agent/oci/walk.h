/* A walk over a directory tree, name by name in byte order, parents before what is in them. */
#ifndef OCI_WALK_H
#define OCI_WALK_H

#include <sys/stat.h>

#include "oci/tar.h"

#define OCI_MAX_WALK_DEPTH 512 /* open directories; a process has 1024 descriptors by default */

enum oci_walk_kind { OCI_WALK_ENTRY, OCI_WALK_WHITEOUT, OCI_WALK_OPAQUE };

struct oci_walk_entry {
    enum oci_walk_kind kind; /* OPAQUE comes right after its directory; path is the directory's */
    const char *path;        /* relative to the root; borrowed until the next call */
    const char *name;        /* last component; borrowed */
    int dirfd;               /* of the folder that holds it; borrowed until the next call */
    struct stat st;
    const char *link; /* a symlink's target, or a hard link's first path if is_hardlink; borrowed */
    bool is_hardlink;
    int fd;                         /* an open regular file (no hard link); the caller closes it; else -1 */
    const struct oci_xattr *xattrs; /* security.capability and user.*, sorted; borrowed */
    size_t nxattrs;
};

struct oci_walk;
/* overlay: overlayfs marks become WHITEOUT and OPAQUE; else they are what they are. root stays the caller's.
 */
struct oci_walk *oci_walk_new(int root, bool overlay, struct wh_error *err);
void oci_walk_free(struct oci_walk *w);
/* 1: an entry; 0: the end; negative: error. Sockets are skipped. */
int oci_walk_next(struct oci_walk *w, struct oci_walk_entry *out, struct wh_error *err);

#endif
