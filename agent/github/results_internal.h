/* The results service of a job: what its three files share. */
#ifndef WH_GITHUB_RESULTS_INTERNAL_H
#define WH_GITHUB_RESULTS_INTERNAL_H

#include "github/call.h"
#include "github/job_internal.h"
#include "github/patience.h"
#include "wherry/github/results.h"
#include "wherry/net/backoff.h"
#include "wherry/net/later.h"

#define GH_RECEIVER "twirp/results.services.receiver.Receiver/"

/* ---- steps (results_steps.c) ---- */
struct gh_steps;
struct gh_steps *gh_steps_new(struct wh_results *r);
void gh_steps_free(struct gh_steps *s);
void gh_steps_set(struct gh_steps *s, const struct wh_step_record *record);
void gh_steps_flush(struct gh_steps *s, wh_github_done_fn done, void *data);
bool gh_steps_idle(const struct gh_steps *s); /* nothing waits and nothing is under way */
bool gh_steps_unheard(const struct gh_steps *s);

/* ---- uploads (results_upload.c): one blob of the spool's ---- */
enum gh_blob_flags {                       /* of its mark in the spool */
                     GH_BLOB_CREATED = 1,  /* the append blob is there */
                     GH_BLOB_APPENDED = 2, /* all bytes are; the SDK way seals by a call of its own */
                     GH_BLOB_SEALED = 4,   /* the metadata is missing */
                     GH_BLOB_CREATING = 8  /* an append blob was asked for: it may be there */
};
struct gh_upload {
    struct wh_results *r;
    int log;
    enum wh_spool_kind kind;
    struct wh_spool_mark mark;
    bool lost; /* given up; why says the cause */

    bool working;     /* holds one of WH_MAX_UPLOADS places */
    char *url;        /* signed */
    bool azure;       /* x-ms-* headers are wanted */
    uint64_t sending; /* bytes of the block under way */
    bool sending_last;
    struct gh_call *call;
    struct wh_http *put;
    struct wh_later *retry;
    struct wh_backoff backoff;
    unsigned refused; /* 403s in a row */
    bool unheard;     /* nobody answered the latest try */
    char *why;        /* the latest trouble */
    struct gh_upload *next, *prev;
};
struct gh_blob_url { /* of an answer; url is borrowed from it */
    const char *url;
    bool azure;     /* x-ms-* headers are wanted */
    uint64_t limit; /* bytes; 0: none */
};
int gh_blob_url_read(const cJSON *answer, enum wh_spool_kind kind, struct gh_blob_url *out,
                     struct wh_error *err);
void gh_upload_pump(struct gh_upload *u); /* does the next thing, if nothing is under way */
void gh_upload_clear(struct gh_upload *u);

struct wh_results {
    struct wh_github_job *job;
    struct wh_spool *spool;
    bool off; /* no endpoint */
    struct gh_steps *steps;
    struct gh_upload *uploads; /* in the order of the spool's logs */
    struct gh_upload **by_log; /* NULL where there is nothing to do */
    size_t nlogs;              /* of by_log */
    unsigned working;
    bool finishing;
    struct gh_patience patience;
    struct wh_later *check;
    wh_github_done_fn done;
    void *done_data;
};
/* Something came to its end: results_finish may be complete. Its callback comes later, not from within. */
void gh_results_moved(struct wh_results *r);
/* An upload has nothing to do now: another one may. */
void gh_results_place(struct gh_upload *u, bool working);
uv_loop_t *gh_results_loop(const struct wh_results *r);
/* A twirp call with the job's ids in body (taken over). */
struct gh_call *gh_results_call(struct wh_results *r, const char *path, cJSON *body, gh_answer_fn done,
                                void *data);

#endif
