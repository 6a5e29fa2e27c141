/* The results service of a job: what its three files share. */
#ifndef WH_GITHUB_RESULTS_INTERNAL_H
#define WH_GITHUB_RESULTS_INTERNAL_H

#include "github/call.h"
#include "github/job_internal.h"
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

/* ---- uploads (results_upload.c): a log, or a summary ---- */
enum gh_upload_kind { GH_STEP_LOG, GH_JOB_LOG, GH_SUMMARY };
enum gh_upload_state {
    GH_UPLOAD_OPEN,   /* grows, or has bytes to send */
    GH_UPLOAD_SEALED, /* all bytes are there; the metadata is not */
    GH_UPLOAD_DONE,
    GH_UPLOAD_LOST /* given up; why says the cause */
};
struct wh_results_log {
    struct wh_results *r;
    enum gh_upload_kind kind;
    char *step_id;
    enum gh_upload_state state;
    bool closed;
    int spool; /* -1 until the first byte */
    uint64_t written, uploaded, lines;

    char *url;         /* signed */
    bool azure;        /* x-ms-* headers are wanted */
    bool created;      /* the append blob */
    bool appended_all; /* SDK way: the last block is there, the seal is not */
    uint64_t sending;  /* bytes of the block under way */
    bool sending_last;
    struct gh_call *call;
    struct wh_http *put;
    struct wh_later *retry;
    struct wh_backoff backoff;
    unsigned refused; /* 403s in a row */
    char *why;        /* the latest trouble */
    struct wh_results_log *next, *prev;
};
void gh_upload_write(struct wh_results_log *u, const char *data, size_t len);
void gh_upload_pump(struct wh_results_log *u); /* does the next thing, if nothing is under way */
void gh_upload_clear(struct wh_results_log *u);

struct wh_results {
    struct wh_github_job *job;
    char *spool;
    bool off; /* no endpoint */
    struct gh_steps *steps;
    struct wh_results_log *uploads;
    bool finishing;
    bool away; /* the latest try found no service */
    uint64_t finishing_since_ms;
    struct wh_later *check, *budget;
    wh_github_done_fn done;
    void *done_data;
};
/* How the latest try ended: err NULL, or what it failed by. */
void gh_results_note(struct wh_results *r, const struct wh_error *err);
/* Something came to its end: results_finish may be complete. Its callback comes later, not from within. */
void gh_results_moved(struct wh_results *r);
uv_loop_t *gh_results_loop(const struct wh_results *r);
/* A twirp call with the job's ids in body (taken over). */
struct gh_call *gh_results_call(struct wh_results *r, const char *path, cJSON *body, gh_answer_fn done,
                                void *data);

#endif
