/* The live console inside: the queue of lines, and the two ways that messages go. */
#ifndef WH_GITHUB_FEED_INTERNAL_H
#define WH_GITHUB_FEED_INTERNAL_H

#include "github/job_internal.h"
#include "github/tenant.h"
#include "wherry/github/feed.h"
#include "wherry/net/ws.h"

#define FEED_LINES_PER_PASS 500
#define FEED_LINES_PER_MESSAGE 100

struct feed_line {
    int64_t number;
    unsigned step;      /* in the table of ids */
    struct wh_str text; /* its memory is used again and again */
    bool skip;
};

struct wh_feed {
    struct wh_github_job *job;
    /* a ring: when it is full the oldest line goes, so that the newest are shown */
    struct feed_line lines[WH_FEED_QUEUE_LINES];
    size_t head, count;
    uint64_t dropped;
    char (*steps)[37];
    unsigned nsteps;

    /* feed_send.c */
    struct wh_ws *ws;
    bool open;
    unsigned failures; /* in a row */
    unsigned batches, failed_batches;
    bool no_ws; /* for this job no more */
    uint64_t opened_ms, off_until_ms;
    size_t stalled_at; /* bytes that waited in the socket when it was last looked at */
    uint64_t stalled_since_ms;
    struct gh_tenant_call *post;

    uint64_t started_ms;
    struct wh_later *tick, *budget;
    bool finishing;
    wh_github_done_fn done;
    void *done_data;
};

/* ---- feed.c ---- */
uv_loop_t *feed_loop(const struct wh_feed *f);
/* Takes the first lines that belong together (one step, numbers without a gap) as a message; false: none. */
bool feed_take(struct wh_feed *f, cJSON **message);
bool feed_empty(const struct wh_feed *f);
void feed_drop_all(struct wh_feed *f);
void feed_tick_in(struct wh_feed *f, uint64_t ms); /* unless one is under way */
void feed_end_soon(struct wh_feed *f);

/* ---- feed_send.c ---- */
/* Sends what waits, as much as one pass may; asks for another tick where that helps. */
void feed_send(struct wh_feed *f);
/* There is no way at present; nothing is kept for it. */
bool feed_is_off(const struct wh_feed *f);
bool feed_idle(const struct wh_feed *f); /* nothing is under way */
void feed_close(struct wh_feed *f);      /* a normal end */
void feed_cut(struct wh_feed *f);        /* now */

#endif
