/* V1 reporting of one job (runner-protocol.md §4.7): the timeline's records, logs in pages, attachments, the
 * feed by POST. For jobs that came as PipelineAgentJobRequest; the results service may run beside it.
 * Asynchronous on the job's loop; as with the results, trouble here is tried again and never fails a job.
 *
 * Where the server's resources are is asked of the job's own endpoint. What is to be sent lies in the job's
 * spool, and so does how far it came. */
#ifndef WH_GITHUB_PLAN_H
#define WH_GITHUB_PLAN_H

#include "wherry/github/job.h"
#include "wherry/github/spool.h"

#define WH_LOG_PAGE ((uint64_t)8 << 20) /* a page ends after the line that reaches this */
#define WH_RECORDS_UPDATE_MS 500        /* changed records are sent that often, */
#define WH_MAX_RECORDS_UPDATE 25        /* so many at once */

struct wh_plan;

/* True if the job is one of V1: then the spool's logs have WH_SPOOL_PAGE as consumer. */
bool wh_plan_wanted(const struct wh_github_job *job);
/* worker: the runner's name. Goes on with what the spool holds. For another job the object does nothing. */
struct wh_plan *wh_plan_new(struct wh_github_job *job, struct wh_spool *spool, const char *worker);
void wh_plan_free(struct wh_plan *p); /* ends calls under way. NULL is fine */

/* The full present state of a step (copied). */
void wh_plan_step(struct wh_plan *p, const struct wh_step_record *step);
/* Sends changed records now. done may be NULL. */
void wh_plan_flush(struct wh_plan *p, wh_github_done_fn done, void *data);
/* The log of this number in the spool is new, has grown or is at its end. */
void wh_plan_log(struct wh_plan *p, int log);
/* All logs are at their end: the job's record gets its result and annotations, everything that waits is
 * sent, then done is called: with NULL if all was accepted, else with what was lost. */
void wh_plan_finish(struct wh_plan *p, const struct wh_github_completion *completion, unsigned budget_ms,
                    wh_github_done_fn done, void *data);

#endif
