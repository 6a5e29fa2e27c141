/* Results service of one job, used inside the worker (runner-protocol.md §5.1, §5.2): the state of steps,
 * logs as blobs that grow while the step runs, step summaries. Asynchronous on the job's loop; trouble here
 * never fails a job: each thing is tried again until wh_results_finish()'s budget is over, and then named in
 * one warning of the diagnostic log.
 *
 * Everything handed in must be masked already. */
#ifndef WH_GITHUB_RESULTS_H
#define WH_GITHUB_RESULTS_H

#include "wherry/github/job.h"

#define WH_LOG_BLOCK ((size_t)2 << 20)        /* bytes of one append block */
#define WH_MAX_STEP_SUMMARY ((size_t)1 << 20) /* more is refused by the caller (§5.3) */
#define WH_STEPS_UPDATE_MS 500                /* changed steps are sent that often */

struct wh_results;
struct wh_results_log;

/* spool: an existing folder for the bytes that wait to be uploaded (files without a name; nothing stays
 * behind). A job without a results endpoint gives an object that drops everything. The job must outlive it.
 */
struct wh_results *wh_results_new(struct wh_github_job *job, const char *spool);
/* Ends uploads under way. Logs of it die with it. NULL is fine. */
void wh_results_free(struct wh_results *r);

/* The full present state of one step (copied); sent with others that changed, at most each 500 ms. */
void wh_results_step(struct wh_results *r, const struct wh_step_record *step);
/* Sends changed steps now (before the first step when an id token may be asked for, §6). done may be NULL. */
void wh_results_flush_steps(struct wh_results *r, wh_github_done_fn done, void *data);

/* A log: of a step, or of the whole job (step_id NULL). Owned by r. */
struct wh_results_log *wh_results_log_open(struct wh_results *r, const char *step_id);
/* Whole lines in the format of §5.3, each ended by LF; lines is their number. */
void wh_results_log_write(struct wh_results_log *log, const char *data, size_t len, uint64_t lines);
/* No more lines: uploads the rest, seals, and sends the metadata. An empty log uploads nothing. Don't use log
 * after. */
void wh_results_log_close(struct wh_results_log *log);

/* A step's summary: one blob, then its metadata. Copied. */
void wh_results_summary(struct wh_results *r, const char *step_id, const char *text, size_t len);

/* Closes every open log, sends everything that waits, then calls done: with NULL if all was accepted, else
 * with an error that says what was lost. budget_ms is for a service that answers; while none can be reached
 * it grows, up to 10 minutes in all. Call before wh_github_job_complete(). Nothing may be added after it. */
void wh_results_finish(struct wh_results *r, unsigned budget_ms, wh_github_done_fn done, void *data);

#endif
