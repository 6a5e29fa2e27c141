/* One job at the service: what its message says of endpoint, token and ids; renew and complete. */
#include <stdio.h>

#include "github/call.h"
#include "github/job_internal.h"
#include "github/wire.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/net/backoff.h"

/* A job that isn't completed holds its place until its lock runs out: as long as somebody renews the lock,
 * trying is worth it. */
#define COMPLETE_FOR_MS ((uint64_t)15 * 60 * 1000)
#define COMPLETE_PAUSE_MIN_MS 2000
#define COMPLETE_PAUSE_MAX_MS 20000
#define RENEW_CALL_MS 60000

/* ---- reading the message ---- */

static const cJSON *find_endpoint(const cJSON *message)
{
    const cJSON *list = wh_json_get(wh_json_get(message, "resources"), "endpoints"), *endpoint;
    cJSON_ArrayForEach(endpoint, list) if (wh_streq_ci(wh_json_string(endpoint, "name"),
                                                       "SystemVssConnection")) return endpoint;
    return NULL;
}

static char *variable(const cJSON *message, const char *name)
{
    const char *text = wh_json_string(wh_json_get(wh_json_get(message, "variables"), name), "value");
    return wh_strdup(text && *text ? text : NULL);
}

static bool is_http(const char *url)
{
    return wh_starts_with_ci(url, "http://") || wh_starts_with_ci(url, "https://");
}

static int read_message(struct wh_github_job *job, const cJSON *message, struct wh_error *err)
{
    const cJSON *plan = wh_json_need_object(message, "plan", "job message", err);
    const char *plan_id = plan ? wh_json_need_string(plan, "planId", "job message: plan", err) : NULL;
    const char *job_id = plan_id ? wh_json_need_string(message, "jobId", "job message", err) : NULL;
    if (!job_id)
        return -1;
    const cJSON *endpoint = find_endpoint(message);
    if (!endpoint)
        return wh_fail(err, WH_E_PROTOCOL, "job message: resources.endpoints has no SystemVssConnection");
    const char *url = wh_json_need_string(endpoint, "url", "job message: SystemVssConnection", err);
    if (!url)
        return -1;
    if (!is_http(url))
        return wh_fail(err, WH_E_PROTOCOL,
                       "job message: the URL of SystemVssConnection is not http or https");
    const cJSON *parameters = wh_json_get(wh_json_get(endpoint, "authorization"), "parameters");
    const char *token =
        wh_json_need_string(parameters, "AccessToken", "job message: SystemVssConnection", err);
    if (!token)
        return -1;
    const cJSON *data = wh_json_get(endpoint, "data");
    job->id = wh_strdup(job_id);
    job->plan_id = wh_strdup(plan_id);
    job->url = wh_strdup(url);
    job->token = wh_secret_new(token, strlen(token));
    job->results_url = variable(message, "system.github.results_endpoint");
    if (!job->results_url)
        job->results_url = wh_strdup(wh_json_string(data, "ResultsServiceUrl"));
    job->feed_url = wh_strdup(wh_json_string(data, "FeedStreamUrl"));
    job->billing_owner_id = wh_strdup(wh_json_string(message, "billingOwnerId"));
    wh_autofree char *sdk = variable(message, "system.github.results_upload_with_sdk");
    job->sdk_upload = wh_streq_ci(sdk, "true");
    return 0;
}

struct wh_github_job *wh_github_job_new(struct wh_http_client *http, const cJSON *message,
                                        struct wh_error *err)
{
    struct wh_github_job *job = wh_calloc(1, sizeof *job);
    job->http = http;
    if (read_message(job, message, err)) {
        wh_github_job_free(job);
        return NULL;
    }
    return job;
}

void wh_github_job_free(struct wh_github_job *job)
{
    if (!job)
        return;
    wh_later_cancel(&job->complete_later);
    gh_call_cancel(&job->complete_call);
    gh_call_cancel(&job->renew_call);
    cJSON_Delete(job->completion);
    free(job->id);
    free(job->plan_id);
    free(job->url);
    free(job->results_url);
    free(job->feed_url);
    free(job->billing_owner_id);
    wh_secret_free(job->token);
    free(job);
}

void wh_github_job_free_ptr(struct wh_github_job **job)
{
    wh_github_job_free(*job);
    *job = NULL;
}

const char *wh_github_job_id(const struct wh_github_job *job)
{
    return job->id;
}

/* ---- completejob ---- */

static void complete_send(void *data);

static void on_completed(void *data, struct gh_answer *answer)
{
    struct wh_github_job *job = data;
    job->complete_call = NULL;
    job->complete_lost |= answer->lost;
    /* A repeat after a lost answer finds the job completed: that is what we wanted. */
    bool done_before = job->complete_lost && (answer->status == 404 || answer->status == 409);
    if (!answer->err || done_before) {
        job->complete_done(job->complete_data, NULL);
        return;
    }
    bool final =
        answer->status >= 400 && answer->status <= 499 && answer->status != 408 && answer->status != 429;
    if (!final && wh_mono_ms() - job->complete_since_ms < COMPLETE_FOR_MS) {
        wh_log_warning("completing the job: %s; trying again", wh_error_text(answer->err));
        uint64_t wait = wh_backoff_next(&job->complete_backoff);
        int64_t after = answer->http ? wh_http_retry_after(answer->http, 60000) : -1;
        if (after > 0)
            wait = WH_MAX(wait, wh_wait_ms((uint64_t)after, (uint64_t)after));
        wh_later(&job->complete_later, wh_http_client_loop(job->http), wait, complete_send, job);
        return;
    }
    wh_wrap(answer->err, "complete the job");
    job->complete_done(job->complete_data, answer->err);
}

static void complete_send(void *data)
{
    struct wh_github_job *job = data;
    wh_autofree char *url = gh_url(job->url, "completejob");
    struct gh_call_options o = {
        .http = job->http, .method = "POST", .url = url, .body = job->completion, .token = job->token};
    job->complete_call = gh_call_start(&o, on_completed, job);
}

void wh_github_job_complete(struct wh_github_job *job, const struct wh_github_completion *completion,
                            wh_github_done_fn done, void *data)
{
    cJSON_Delete(job->completion);
    job->completion = gh_completion_body(job->plan_id, job->id, job->billing_owner_id, completion);
    job->complete_since_ms = wh_mono_ms();
    job->complete_backoff =
        (struct wh_backoff){.min_ms = COMPLETE_PAUSE_MIN_MS, .max_ms = COMPLETE_PAUSE_MAX_MS};
    job->complete_lost = false;
    job->complete_done = done;
    job->complete_data = data;
    complete_send(job);
}

/* ---- renewjob ---- */

static void on_renewed(void *data, struct gh_answer *answer)
{
    struct wh_github_job *job = data;
    int64_t locked_until = 0;
    job->renew_call = NULL;
    const char *text = wh_json_string(answer->json, "lockedUntil");
    if (!text || !wh_time_parse_iso(text, &locked_until) || locked_until < 0)
        locked_until = 0; /* "0001-01-01..." is unset */
    job->renewed(job->renew_data, answer->status, locked_until, answer->err);
}

void wh_github_job_renew(struct wh_github_job *job, wh_github_renewed_fn done, void *data)
{
    wh_autofree char *url = gh_url(job->url, "renewjob");
    wh_autojson *body = cJSON_CreateObject();
    wh_json_add_string(body, "planId", job->plan_id);
    wh_json_add_string(body, "jobId", job->id);
    struct gh_call_options o = {.http = job->http,
                                .method = "POST",
                                .url = url,
                                .body = body,
                                .token = job->token,
                                .timeout_ms = RENEW_CALL_MS,
                                .tries = 1};
    gh_call_cancel(&job->renew_call);
    job->renewed = done;
    job->renew_data = data;
    job->renew_call = gh_call_start(&o, on_renewed, job);
}
