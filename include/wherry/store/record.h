/* Build records: what an instruction made, by the digest of all that it depends on, filed under a scope
 * (design.md, "Trust"). */
#ifndef WH_STORE_RECORD_H
#define WH_STORE_RECORD_H

#include "wherry/store/store.h"

#define WH_MAX_RECORD_META ((size_t)1 << 20)
#define WH_MAX_SCOPES 16

/* A repository's and a ref's scopes. Records of COPY and WORKDIR: repository alone. Records of RUN, and by
 * definition of what stands on one: written to refs[0], read from refs[0], refs[1], ... */
struct wh_scopes {
    char *repository;          /* "repo:o/r"; for builds without a repository "local" */
    char *refs[WH_MAX_SCOPES]; /* "repo:o/r@refs/pull/7/merge", "repo:o/r@refs/heads/main" */
    size_t nrefs;
};
/* ref, base_ref (a pull request's) and default_ref may be NULL; repository NULL: all scopes are "local".
 * Owned: wh_scopes_clear(). */
void wh_scopes_make(struct wh_scopes *out, const char *repository, const char *ref, const char *base_ref,
                    const char *default_ref);
void wh_scopes_clear(struct wh_scopes *scopes);
#define wh_autoscopes __attribute__((cleanup(wh_scopes_clear))) struct wh_scopes

struct wh_record {
    struct wh_digest key;
    char *scope;   /* owned */
    int64_t layer; /* the tree's id; 0: none (no layer at all, or only a blob by diffid, or its tree was
                      collected) */
    bool empty;    /* the instruction made no layer */
    bool has_diffid;
    struct wh_digest diffid;
    char *
        slot; /* owned; which instruction of which Dockerfile: "o/r:docker/Dockerfile:build:7"; may be NULL */
    char *meta; /* owned JSON text: config edits, resolved digests, instruction text, list of inputs; may be
                   NULL */
    int64_t created; /* ns; set by the store where 0 is given */
};
void wh_record_clear(struct wh_record *r);
#define wh_autorecord __attribute__((cleanup(wh_record_clear))) struct wh_record

/* Files a record; one with the same scope and key is replaced. Nothing is taken from r: the strings are
 * copied. WH_E_NOT_FOUND if its layer is gone. */
int wh_record_put(struct wh_store *s, const struct wh_record *r, struct wh_error *err);
/* 1: found in the first scope of the list that has it, its layer leased; 0: a miss. A record whose result is
 * gone altogether (neither tree nor any blob of its diffID) counts as a miss. With layer == 0, !empty and
 * has_diffid the layer must be unpacked from a blob (wh_layer_blob). */
int wh_record_find(struct wh_store *s, const char *const *scopes, size_t nscopes, const struct wh_digest *key,
                   struct wh_record *out, struct wh_error *err);
/* The newest earlier record of the same slot in these scopes, result or not: for saying why this run missed.
 */
int wh_record_previous(struct wh_store *s, const char *const *scopes, size_t nscopes, const char *slot,
                       struct wh_record *out, struct wh_error *err);

/* ---- digests of files, remembered ---- */
struct wh_file_stamp {
    uint64_t dev, ino;
    int64_t size, mtime, ctime; /* ns */
};
struct wh_file_digest {
    struct wh_file_stamp stamp;
    struct wh_digest digest;
    bool known; /* set by wh_files_find() */
};
struct stat;
void wh_file_stamp(const struct stat *st, struct wh_file_stamp *out);
/* Fills digest and known of each; one read transaction for all. scope keeps what a job could have faked to
 * those who trust it. Returns the number known. */
int wh_files_find(struct wh_store *s, const char *scope, struct wh_file_digest *list, size_t n,
                  struct wh_error *err);
/* One transaction for all. `hashed_at`: wh_now_ns() before the first of them was read; those changed less
 * than 2 s before it are not remembered, since a later change could bear the same stamp. */
int wh_files_add(struct wh_store *s, const char *scope, const struct wh_file_digest *list, size_t n,
                 int64_t hashed_at, struct wh_error *err);

/* ---- image references: name -> manifest ---- */
struct wh_image_ref {
    char *name; /* "docker.io/library/debian:12", normalised; with platform where it was resolved:
                   "...#linux/amd64" */
    char
        *visible; /* "" for all (it was read without credentials), else the scope whose credentials read it */
    struct wh_digest manifest;
    char *media_type;
    int64_t seen; /* ns: when the registry last said so; set to now where 0 is given */
};
void wh_image_ref_clear(struct wh_image_ref *ref);
int wh_image_ref_put(struct wh_store *s, const struct wh_image_ref *ref, struct wh_error *err);
/* Among rows visible to all or to `scope` (may be NULL) the newest: 1 with *out, 0 none. */
int wh_image_ref_find(struct wh_store *s, const char *name, const char *scope, struct wh_image_ref *out,
                      struct wh_error *err);

#endif
