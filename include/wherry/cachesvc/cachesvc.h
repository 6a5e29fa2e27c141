/* The services of GitHub's that jobs talk to for caches and artifacts, from the local store: Actions cache v1
 * and v2, the subset of Azure's block blobs that their clients use, artifacts v4 (cache-service.md). What is
 * none of these goes on to the job's own results service, where it has one.
 *
 * Everything lives on the caller's loop; hashing, fsync and writes to the index run on libuv's threads. */
#ifndef WH_CACHESVC_CACHESVC_H
#define WH_CACHESVC_CACHESVC_H

#include <uv.h>

#include "wherry/base/digest.h"

#define WH_MAX_CACHE_CONNECTIONS 512
#define WH_MAX_CACHE_HEADERS ((size_t)32 << 10) /* of one request in sum */
#define WH_MAX_CACHE_BODY ((size_t)1 << 20)     /* of an API call */
#define WH_MAX_CACHE_LIST ((size_t)8 << 20)     /* of a block list */
#define WH_MAX_CACHE_BLOCKS 50000               /* in one */
#define WH_MAX_CACHE_BLOCK (INT64_C(4000) << 20)
#define WH_MAX_CACHE_BLOCK_ID 64                  /* bytes, decoded */
#define WH_MAX_CACHE_KEY 512                      /* characters */
#define WH_MAX_CACHE_KEYS 10                      /* of one look-up */
#define WH_MAX_CACHE_VERSION 512                  /* bytes */
#define WH_MAX_CACHE_SCOPES 16                    /* of one job */
#define WH_MAX_CACHE_JOBS 1024                    /* at once */
#define WH_MAX_CACHE_ARTIFACTS 1000               /* of one list */
#define WH_CACHE_URL_SECONDS (INT64_C(24) * 3600) /* a signed URL's life; it ends with its job, too */
#define WH_CACHE_IDLE_SECONDS 5u    /* a connection without a request (cache-service.md §0.10) */
#define WH_CACHE_STALL_SECONDS 120u /* within one */

enum wh_cache_permission { WH_CACHE_READ = 1, WH_CACHE_WRITE = 2 };

struct wh_cachesvc_options {
    uv_loop_t *loop;
    const char *state;        /* the state folder */
    int listener;             /* a listening socket; taken over */
    const char *origin;       /* "http://127.0.0.1:4711": where a request names no host of its own */
    uint64_t repository_max;  /* bytes of one repository's entries; 0: the store's bounds alone */
    uint64_t least_free;      /* bytes of the disk below which no upload begins; 0: 64 MiB */
    unsigned per_minute;      /* new entries of one repository; 0: 2000 */
    unsigned reserve_seconds; /* how long a reservation stays without a byte; 0: 900 */
};

struct wh_cachesvc;
struct wh_cachesvc *wh_cachesvc_new(const struct wh_cachesvc_options *options, struct wh_error *err);
/* Ends all connections. The loop must run until its handles are closed; then the memory goes. NULL is fine.
 */
void wh_cachesvc_free(struct wh_cachesvc *svc);

/* What a job may do: the agent's own reading of its message. Texts are copied. */
struct wh_cachesvc_scope {
    const char *scope;
    unsigned permission; /* bits of wh_cache_permission */
};
struct wh_cachesvc_job {
    const char *id;         /* letters, digits, '-', '_', '.' */
    struct wh_digest token; /* SHA-256 of its bearer token */
    int64_t expires;        /* of the token, seconds since 1970; 0: with the job */
    const char *repository; /* "owner/name" */
    const struct wh_cachesvc_scope *scopes;
    size_t nscopes;
    const char *run, *backend; /* of the token's scp; NULL: none, so no artifacts */
    const char *results;       /* URL of its own results service; NULL: none */
    bool artifacts;            /* they stay here, also where there is a results service */
};
int wh_cachesvc_add(struct wh_cachesvc *svc, const struct wh_cachesvc_job *from, struct wh_error *err);
/* Its token and its URLs are refused from now on, what it began to upload is dropped. Unknown: fine. */
void wh_cachesvc_end(struct wh_cachesvc *svc, const char *id);

/* Since the start. */
struct wh_cachesvc_counts {
    uint64_t requests, hits, misses, saved, bytes_in, bytes_out, refused, connections;
};
void wh_cachesvc_count(const struct wh_cachesvc *svc, struct wh_cachesvc_counts *out);

#endif
