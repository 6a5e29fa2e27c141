/* A job's object, as results and feed of this room see it. */
#ifndef WH_GITHUB_JOB_INTERNAL_H
#define WH_GITHUB_JOB_INTERNAL_H

#include "wherry/github/job.h"
#include "wherry/net/backoff.h"
#include "wherry/net/later.h"

struct gh_call;

struct wh_github_job {
    struct wh_http_client *http;
    char *id, *plan_id, *url, *results_url, *feed_url, *billing_owner_id;
    struct wh_secret *token;
    bool sdk_upload; /* blobs by Azure's true calls (§5.2) */

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
