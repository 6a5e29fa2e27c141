/* One tar member -> the file system. */
#ifndef OCI_MEMBER_H
#define OCI_MEMBER_H

#include <archive.h>
#include <archive_entry.h>

#include "oci/merged.h"

struct oci_folder_time {
    char *path; /* owned */
    struct timespec mtime;
};

struct oci_members {
    struct oci_merged *merged;
    int root;
    bool layer;         /* .wh. names are marks; else plain files */
    bool forget;        /* a folder or link was removed: the resolver must look anew */
    int64_t uid, gid;   /* -1: the member's own */
    uint64_t max_bytes; /* of all files' contents, holes counted */
    uint64_t bytes;
    void (*warn)(void *data, const char *line);
    void *warn_data;
    struct oci_folder_time *folders; /* owned; times are set last */
    size_t nfolders, folders_cap;
};

/* Unpacks one member; its content is read from a. Errors name it. */
int oci_member_unpack(struct oci_members *m, struct archive *a, struct archive_entry *entry,
                      struct wh_error *err);
/* Sets the folders' times, when nothing is written any more. */
int oci_members_finish(struct oci_members *m, struct wh_error *err);
void oci_members_clear(struct oci_members *m);

#endif
