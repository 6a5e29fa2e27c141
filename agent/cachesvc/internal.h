/* Between the files of the cache service. */
#ifndef WH_CACHESVC_INTERNAL_H
#define WH_CACHESVC_INTERNAL_H

#include <microhttpd.h>
#include <uthash.h>

#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/json.h"
#include "wherry/base/log.h"
#include "wherry/cachesvc/cachesvc.h"
#include "wherry/net/http.h"
#include "wherry/store/blob.h"
#include "wherry/store/cache.h"

#define SVC_SIGN_KEY 32

struct svc_scope {
    char *name;
    unsigned permission;
};

struct svc_job {
    char *id, *repository, *run, *backend, *results;
    struct wh_digest token;
    int64_t expires;
    struct svc_scope scopes[WH_MAX_CACHE_SCOPES]; /* the one to write first */
    size_t nscopes;
    const char *write; /* of scopes; NULL: it may not */
    bool artifacts;
    UT_hash_handle hh;
};

/* An upload with a request under way, or that had one lately. */
struct svc_live {
    int64_t id;
    struct wh_cachesvc *svc;
    struct wh_upload *upload;
    unsigned users;
    bool following; /* its digest, on a thread */
    bool finishing; /* a request arranges or commits it */
    bool dropped;   /* goes with its last user */
    uint64_t last_ms;
    uv_work_t work;
    struct request *waiter; /* begins when the following ends */
    UT_hash_handle hh;
};

struct svc_rate {
    char *repository;
    double tokens;
    uint64_t at_ms;
    UT_hash_handle hh;
};

struct wh_cachesvc {
    uv_loop_t *loop;
    char *state, *origin;
    uint64_t repository_max, least_free;
    unsigned per_minute, reserve_seconds;
    unsigned char key[SVC_SIGN_KEY];
    struct wh_store *reads, *writes; /* two handles: a commit's fsync holds no look-up up */
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t timer, upkeep;
    uv_idle_t idle;
    unsigned handles; /* open ones */
    unsigned works;   /* on threads */
    bool ending, running;
    struct wh_http_client *http;
    struct svc_job *jobs;
    struct svc_live *lives;
    struct svc_rate *rates;
    int64_t *touched;
    size_t ntouched;
    int64_t *roots; /* index entries that were hit: their blobs are used too */
    size_t nroots;
    struct wh_cachesvc_counts counts;
};

/* ---- a request ---- */
enum request_api { API_OTHER, API_V1, API_TWIRP, API_BLOB };

struct answer {
    unsigned status; /* 0: none yet */
    const char *type;
    struct wh_str body;
    char **headers; /* name, value, name, value */
    int file;       /* -1: none; then the bytes [offset, offset + length) are the body */
    uint64_t offset, length;
};

struct request {
    struct wh_cachesvc *svc;
    struct MHD_Connection *conn;
    enum request_api api;
    char *method, *path;
    char *job;                                                     /* its id */
    bool protobuf;                                                 /* asks for it */
    const struct call *call;                                       /* of twirp */
    void (*take)(struct request *r, const char *data, size_t len); /* NULL: into body */
    void (*end)(struct request *r);                                /* the body is whole */
    struct wh_str body;
    size_t body_max;
    struct answer answer;
    bool suspended;
    /* an upload's part */
    struct svc_live *live;
    struct wh_upload_part *part;
    void *md5; /* EVP_MD_CTX of a Content-MD5 */
    char *md5_want;
    /* work on a thread */
    uv_work_t work;
    void (*run)(struct request *r);  /* there */
    void (*done)(struct request *r); /* then here */
    int rc;
    int64_t id, size;
    char *repository, *scope, *version, *key, *charge, *mime;
    int64_t expires;
    bool keep; /* a failure leaves the upload as it is */
    struct wh_error err;
    /* proxy */
    struct wh_http *upstream;
};

/* ---- http.c ---- */
int svc_http_start(struct wh_cachesvc *svc, int listener, struct wh_error *err);
void svc_http_stop(struct wh_cachesvc *svc);
void svc_http_turn(struct wh_cachesvc *svc); /* lets the server do what it can, and waits anew */
/* run on a thread, done on the loop; the connection sleeps meanwhile. */
void svc_work(struct request *r, void (*run)(struct request *), void (*done)(struct request *));
void svc_sleep(struct request *r); /* until svc_wake() */
void svc_wake(struct request *r);
const char *svc_header(const struct request *r, const char *name); /* NULL: none */
/* An argument of the query, decoded; NULL: none. "" also for one without "=". False: it holds a NUL byte. */
bool svc_argument(const struct request *r, const char *name, const char **out);

/* ---- answer.c ---- */
void svc_answer(struct request *r, unsigned status, const char *type, const char *body);
void svc_answer_json(struct request *r, unsigned status, cJSON *json); /* owns json */
void svc_answer_empty(struct request *r, unsigned status);
void svc_answer_header(struct request *r, const char *name, const char *value);
/* In the manner of the request's API. code: twirp's; the HTTP status and the other APIs' words follow from
 * it. */
void svc_refuse(struct request *r, const char *code, const char *fmt, ...) WH_PRINTF(3, 4);
void svc_refuse_status(struct request *r, unsigned status, const char *code, const char *fmt, ...)
    WH_PRINTF(4, 5);
/* What went wrong inside; logs it. */
void svc_trouble(struct request *r, const struct wh_error *err);

/* ---- route.c ---- */
void svc_route(struct request *r);
struct svc_job *svc_job_of(const struct request *r); /* NULL: it has ended */
bool svc_authenticate(struct request *r);            /* by bearer token; refuses */

/* ---- fields.c ---- */
struct field {
    const char *name;
    unsigned number;
    char type; /* s string, S strings, i int64, b bool */
};
struct call {
    const char *name;
    void (*end)(struct request *r, const cJSON *in);
    const struct field *in, *out; /* NULL: JSON alone */
    size_t nin, nout;
};
/* The body as JSON with the fields' own names; refuses. */
cJSON *svc_fields_read(struct request *r);
void svc_fields_answer(struct request *r, cJSON *json);        /* 200; owns json */
const cJSON *svc_field(const cJSON *object, const char *name); /* snake_case or camelCase */
/* Refuses what is no text, is empty or holds too much. NULL then. */
const char *svc_field_text(struct request *r, const cJSON *object, const char *name, size_t max);
bool svc_field_int(struct request *r, const cJSON *object, const char *name, int64_t *out);
cJSON *svc_protobuf_read(const void *data, size_t len, const struct field *fields, size_t n,
                         struct wh_error *err);
void svc_protobuf_write(const cJSON *json, const struct field *fields, size_t n, struct wh_str *out);

/* ---- keys.c: names and scopes ---- */
bool svc_check_key(struct request *r, const char *key);
/* Splits and checks a v1 list; refuses. */
char **svc_split_keys(struct request *r, const char *text);
/* 1 found, 0 a miss, -1 refused. */
int svc_match(struct request *r, const struct svc_job *job, char *const *keys, const char *version,
              struct wh_cache_entry *out);
void svc_used(struct wh_cachesvc *svc, const struct wh_cache_entry *e);
/* The names of an entry to be made, into r; refuses a job that may not write, a repository that asks too
 * often, and where the disk is full. hint: its size; -1: not known. */
bool svc_reserve(struct request *r, const char *key, const char *version, int64_t hint);

/* ---- sign.c ---- */
int svc_key_load(struct wh_cachesvc *svc, struct wh_error *err);
char *svc_sign(const struct request *r, const char *what, int64_t id, char permission); /* the URL */
/* Of this request's own URL; refuses. */
bool svc_sign_check(struct request *r, const char *what, int64_t id, char permission);

/* ---- live.c: uploads under way ---- */
struct svc_live *svc_live(struct wh_cachesvc *svc, int64_t id, struct wh_error *err); /* one more user */
void svc_live_leave(struct svc_live *live);
void svc_live_follow(struct svc_live *live); /* if there is enough to hash */
void svc_live_drop(struct wh_cachesvc *svc,
                   int64_t id); /* its row and its bytes, now or with its last user */
/* Arranges, or commits: alone on the upload. run and done as svc_work(). Refuses if it is busy. */
void svc_live_finish(struct request *r, void (*run)(struct request *), void (*done)(struct request *));
void svc_lives_close(struct wh_cachesvc *svc, bool all);

/* ---- save.c: from an upload to an entry ---- */
/* r->id, r->size, names; then done. Works with the upload of r->live. order: ranges (v1). */
void svc_save(struct request *r, bool ranges, void (*done)(struct request *));
void svc_saved_or_refuse(struct request *r, const char *what);

/* ---- upkeep.c ---- */
void svc_upkeep_start(struct wh_cachesvc *svc);

/* ---- ranges.c ---- */
/* "bytes S-E/...": both known, S <= E. */
bool svc_content_range(const char *text, uint64_t *start, uint64_t *end);
enum svc_range { RANGE_NONE, RANGE_PART, RANGE_OUTSIDE };
/* "bytes=a-b", "bytes=a-", "bytes=-n"; what is no such thing is none. */
enum svc_range svc_range(const char *text, uint64_t size, uint64_t *start, uint64_t *end);
/* The ids of a block list, in order (owned; NULL-terminated). NULL: it is none. */
char **svc_block_list(const char *xml, size_t len, size_t *n);
bool svc_block_id_ok(const char *id);

/* ---- the APIs: each takes its requests ---- */
void svc_v1(struct request *r, const char *rest); /* after _apis/artifactcache/ */
void svc_blob(struct request *r, const char *what, const char *id);
const struct call *svc_cache_call(const char *method);
const struct call *svc_artifact_call(const char *method);
void svc_proxy(struct request *r); /* refuses where there is no results service */

#endif
