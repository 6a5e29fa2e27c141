/* Looking at the store, cleaning it up, checking it. None of these touches what a running process leases. */
#ifndef WH_STORE_GC_H
#define WH_STORE_GC_H

#include "wherry/store/store.h"

struct wh_store_usage {
    uint64_t blobs, blob_bytes;
    uint64_t layers, layer_bytes;
    uint64_t mounts, mount_bytes;
    uint64_t folders, folder_bytes; /* git mirrors, actions, tools */
    uint64_t records, files, segments;
    uint64_t index_bytes, ingest_bytes;
    uint64_t leased_bytes;
    uint64_t disk_free, disk_total;
};
/* Counts trees and folders of unknown size first. */
int wh_store_du(struct wh_store *s, struct wh_store_usage *out, struct wh_error *err);

struct wh_store_item {
    enum wh_store_kind kind;
    char name[128];       /* a digest's text, a layer's id, "scope id" of a mount, "git/host/o/r.git" */
    char detail[160];     /* diffID, or what it is */
    char repository[128]; /* whom it is charged to */
    uint64_t size;
    int64_t created, used; /* ns */
    bool leased;
};
/* Calls back for each, least recently used first; a non-zero return ends the listing and is returned. */
int wh_store_list(struct wh_store *s, int (*each)(void *arg, const struct wh_store_item *item), void *arg,
                  struct wh_error *err);

struct wh_prune {
    bool all;           /* everything that is not leased */
    uint64_t max_bytes; /* 0: no quota */
    uint64_t min_free;  /* bytes that stay free on the disk; 0: none */
    int64_t max_age;    /* ns since the last use; 0: any */
    bool dry_run;
    int (*progress)(void *arg, const struct wh_store_item *dropped); /* may be NULL; non-zero stops */
    void *arg;
};
struct wh_prune_result {
    uint64_t items, bytes; /* dropped, or would be */
    uint64_t orphans;      /* files and trees without a row that were swept */
    uint64_t left;         /* bytes that stay */
};
/* Least recently used first, from the repositories that hold more than their fair share before the others. */
int wh_store_prune(struct wh_store *s, const struct wh_prune *how, struct wh_prune_result *out,
                   struct wh_error *err);

struct wh_verify_progress {
    uint64_t done, total; /* bytes of blobs and trees */
    const char *bad;      /* set: a sentence about something damaged (borrowed, for the call) */
};
struct wh_verify_result {
    uint64_t blobs, layers, bytes;
    uint64_t damaged; /* moved to quarantine/ and their rows dropped */
    uint64_t orphans; /* without a row; swept */
};
/* Hashes every blob, compares every tree and row, checks the index itself. 0 also where damage was found (and
 * dealt with): see the result. */
int wh_store_verify(struct wh_store *s, void (*progress)(void *arg, const struct wh_verify_progress *p),
                    void *arg, struct wh_verify_result *out, struct wh_error *err);

#endif
