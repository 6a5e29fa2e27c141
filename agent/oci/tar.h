/* Tar headers, byte for byte as Go's archive/tar writes them (builder.md §5 Tar). */
#ifndef OCI_TAR_H
#define OCI_TAR_H

#include <sys/types.h>

#include "wherry/base/str.h"

#define OCI_TAR_BLOCK 512

struct oci_xattr {
    char *name;  /* owned */
    char *value; /* owned; any bytes */
    size_t len;
};

struct oci_tar_entry {
    const char *path; /* relative; directories without the final slash, which is added here */
    char type;        /* '0' file, '1' hard link, '2' symlink, '3' char, '4' block, '5' directory, '6' fifo */
    mode_t mode;      /* permission and set-id bits */
    int64_t uid, gid;
    uint64_t size;    /* of a file's content */
    int64_t mtime;    /* seconds */
    const char *link; /* target of links; NULL otherwise */
    unsigned devmajor, devminor;
    const struct oci_xattr *xattrs; /* sorted by name */
    size_t nxattrs;
};

/* Adds the header, after a PAX header where one is needed. Returns 0 or negative with err (a NUL byte in a
 * name can't occur). */
void oci_tar_header(struct wh_str *out, const struct oci_tar_entry *entry);
/* Bytes that fill up to a block after n bytes of content. */
static inline size_t oci_tar_padding(uint64_t n)
{
    return (size_t)((OCI_TAR_BLOCK - n % OCI_TAR_BLOCK) % OCI_TAR_BLOCK);
}

#endif
