/* The live console of one job: lines over a WebSocket while it runs (runner-protocol.md §5.4). Best effort by
 * design: lines are dropped when the peer is slow or away, since the log blobs are complete; nothing here
 * ever fails a job. */
#ifndef WH_GITHUB_FEED_H
#define WH_GITHUB_FEED_H

#include "wherry/github/job.h"

#define WH_FEED_LINE_CHARS 1024  /* longer lines are cut and end in "..." */
#define WH_FEED_QUEUE_LINES 1024 /* lines that wait; beyond that new ones are dropped */

struct wh_feed;

/* A job without a feed URL gives an object that drops everything. Connects when the first line comes. The job
 * must outlive it. */
struct wh_feed *wh_feed_new(struct wh_github_job *job);
/* One masked line without time stamp and LF; number counts from 1 within the step. Empty lines need not be
 * given. */
void wh_feed_line(struct wh_feed *f, const char *step_id, int64_t number, const char *text, size_t len);
/* Sends the last two batches of each step, closes the socket, then calls done (err is always NULL), within 2
 * s. */
void wh_feed_finish(struct wh_feed *f, wh_github_done_fn done, void *data);
void wh_feed_free(struct wh_feed *f); /* drops what waits; NULL is fine */

#endif
