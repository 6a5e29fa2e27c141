/* Where a tar member goes: its parent, resolved below the root of the tree that is being unpacked, with the
 * trees below in view (builder.md §8). Names are opened one by one with O_NOFOLLOW; links are followed as
 * text, inside the root. */
#ifndef OCI_MERGED_H
#define OCI_MERGED_H

#include <sys/stat.h>

#include "wherry/oci/layer.h"

#define OCI_MAX_LINKS 255 /* symlinks that one path may lead through */

struct oci_merged; /* one thread */
/* overlay: whiteouts and opaque marks count. lowers may be NULL. root stays the caller's. */
struct oci_merged *oci_merged_new(int root, bool overlay,
                                  int (*lowers)(void *, const int **, size_t *, struct wh_error *),
                                  void *lowers_data);
void oci_merged_free(struct oci_merged *m);
/* Relative, without empty and "." components. Fails on "..", on what is too long or too deep; sets *absolute.
 * "" is the root itself. */
int oci_clean_path(const char *path, struct wh_str *out, bool *absolute, struct wh_error *err);

/* The folder of a clean path, made with its parents where it is missing (mode and owner of the lower layers'
 * one; else 0755 0:0). Returns a descriptor that m keeps until the next call; *name is the last component,
 * inside path. */
int oci_merged_parent(struct oci_merged *m, const char *path, const char **name, struct wh_error *err);
/* The resolved path of the folder that oci_merged_parent() returned last. Borrowed. */
const char *oci_merged_folder(const struct oci_merged *m);
/* An object of the trees below at that folder: an open O_PATH descriptor (the caller's) and its status; -2:
 * there is none; -1: error. */
int oci_merged_lower(struct oci_merged *m, const char *name, struct stat *st, struct wh_error *err);
/* Call after something that may be a folder or a link on a path was removed. */
void oci_merged_forget(struct oci_merged *m);
bool oci_merged_used_lowers(const struct oci_merged *m);

/* Opens a path that leads through no links, below root. Negative with errno. */
int oci_open_plain(int root, const char *path, int flags);

/* Copies mode, owner, attributes and times from one object to another that is at (dirfd, name). from may be
 * O_PATH. */
int oci_copy_attributes(int from, const struct stat *st, int dirfd, const char *name, struct wh_error *err);
int oci_set_opaque(int dirfd, const char *name, struct wh_error *err);
bool oci_is_opaque(int dirfd, const char *name);
bool oci_is_whiteout(const struct stat *st);
/* "/proc/self/fd/N" for calls that take no descriptor of O_PATH; buf holds 40 bytes. */
const char *oci_fd_path(int fd, char buf[40]);

#endif
