/* Results service of one job (runner-protocol.md §5.1, §5.2): the state of steps, logs as blobs that grow
 * while the step runs, summaries and diagnostics. Asynchronous on the job's loop; trouble here never fails a
 * job: each thing is tried again until wh_results_finish()'s budget is over, and then named in one warning of
 * the diagnostic log.
 *
 * What is to be uploaded lies in the job's spool, masked already, and so does how far each upload came: a
 * process that opens the spool of a dead one makes this object of it and goes on. */
#ifndef WH_GITHUB_RESULTS_H
#define WH_GITHUB_RESULTS_H

#include "wherry/github/job.h"
#include "wherry/github/spool.h"

#define WH_LOG_BLOCK ((size_t)2 << 20)        /* bytes of one append block */
#define WH_MAX_STEP_SUMMARY ((size_t)1 << 20) /* more is refused by the caller (§5.3) */
#define WH_STEPS_UPDATE_MS 500                /* changed steps are sent that often */
#define WH_MAX_UPLOADS 8                      /* blobs that are worked on at once */

struct wh_results;

/* True if the job's message names a results service: then the spool's logs have WH_SPOOL_BLOB as consumer. */
bool wh_results_wanted(const struct wh_github_job *job);
/* Goes on with what the spool holds (nothing, for a new one). Without a results service the object does
 * nothing. Job and spool must outlive it. */
struct wh_results *wh_results_new(struct wh_github_job *job, struct wh_spool *spool);
/* Ends uploads under way. NULL is fine. */
void wh_results_free(struct wh_results *r);

/* The full present state of one step (copied); sent with others that changed, at most each 500 ms. */
void wh_results_step(struct wh_results *r, const struct wh_step_record *step);
/* Sends changed steps now (before the first step when an id token may be asked for, §6). done may be NULL. */
void wh_results_flush_steps(struct wh_results *r, wh_github_done_fn done, void *data);

/* The log of this number in the spool is new, has grown or is at its end. */
void wh_results_log(struct wh_results *r, int log);

/* All logs are at their end. Sends everything that waits, then calls done: with NULL if all was accepted,
 * else with an error that says what was lost. budget_ms is how long a service that takes nothing is waited
 * for (three times as long where requests go unanswered, 10 minutes where all do). Call before
 * wh_github_job_complete(). */
void wh_results_finish(struct wh_results *r, unsigned budget_ms, wh_github_done_fn done, void *data);

#endif
