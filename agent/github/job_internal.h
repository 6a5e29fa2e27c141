/* A job's object, as results and feed of this room see it. */
#ifndef WH_GITHUB_JOB_INTERNAL_H
#define WH_GITHUB_JOB_INTERNAL_H

#include "wherry/github/job.h"
#include "wherry/net/backoff.h"
#include "wherry/net/later.h"

struct gh_call;
struct gh_tenant;
struct gh_tenant_call;

struct wh_github_job {
    struct wh_http_client *http;
    char *id, *plan_id, *url, *results_url, *feed_url, *billing_owner_id;
    struct wh_secret *token;
    bool sdk_upload; /* blobs by Azure's true calls (§5.2) */
    char *job_name, *display_name, *environment_name;
    bool job_annotations; /* actions_send_job_level_annotations */

    /* V1 (PipelineAgentJobRequest) */
    struct gh_tenant *tenant; /* of the job's endpoint; NULL: not a job of V1 */
    char *scope, *hub, *timeline_id;
    int64_t request_id, plan_version;
    bool record_ended; /* the job's record was told of its end */
    struct gh_tenant_call *tenant_call;
    cJSON *last_record; /* that this object itself has to send before the end */

    cJSON *completion;
    struct gh_call *complete_call;
    struct wh_later *complete_later;
    struct wh_backoff complete_backoff;
    uint64_t complete_since_ms;
    bool complete_lost; /* the answer of an earlier try never came */
    wh_github_done_fn complete_done;
    void *complete_data;

    struct gh_call *renew_call;
    wh_github_renewed_fn renewed;
    void *renew_data;
};

#endif
