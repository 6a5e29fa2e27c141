/* One job at the service: what its message says of endpoint, token and ids; renew and complete. */
#include <stdio.h>

#include "github/call.h"
#include "github/job_internal.h"
#include "github/plan_internal.h"
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
#define PLAN_VERSION_EVENT 8 /* of V1: from it on the job's end is an event (§4.6) */
#define PIPELINES_MESSAGE "PipelineAgentJobRequest"

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

/* A job of V1 tells all of it to its endpoint's own resources. */
static int read_v1(struct wh_github_job *job, const cJSON *message, const cJSON *plan, struct wh_error *err)
{
    const char *scope = wh_json_need_string(plan, "scopeIdentifier", "job message: plan", err);
    const char *hub = scope ? wh_json_need_string(plan, "planType", "job message: plan", err) : NULL;
    const cJSON *timeline = hub ? wh_json_need_object(message, "timeline", "job message", err) : NULL;
    const char *id = timeline ? wh_json_need_string(timeline, "id", "job message: timeline", err) : NULL;
    if (!id)
        return -1;
    job->scope = wh_strdup(scope);
    job->hub = wh_strdup(hub);
    job->timeline_id = wh_strdup(id);
    job->request_id = wh_json_int(message, "requestId", 0);
    job->plan_version = wh_json_int(plan, "version", 0);
    job->tenant = gh_tenant_new(job->http, job->url, job->token, NULL);
    wh_autofree char *redirects = variable(message, "Actions.EnableHttpRedirects");
    gh_tenant_follow_redirects(job->tenant, wh_streq_ci(redirects, "true"));
    return 0;
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
    bool v1 = wh_streq_ci(wh_json_string(message, "messageType"), PIPELINES_MESSAGE);
    if (!job->results_url && !v1) /* beside V1 only where the message asks for it */
        job->results_url = wh_strdup(wh_json_string(data, "ResultsServiceUrl"));
    job->feed_url = wh_strdup(wh_json_string(data, "FeedStreamUrl"));
    job->billing_owner_id = wh_strdup(wh_json_string(message, "billingOwnerId"));
    wh_autofree char *sdk = variable(message, "system.github.results_upload_with_sdk");
    job->sdk_upload = wh_streq_ci(sdk, "true");
    wh_autofree char *annotations = variable(message, "actions_send_job_level_annotations");
    job->job_annotations = wh_streq_ci(annotations, "true");
    job->job_name = wh_strdup(wh_json_string(message, "jobName"));
    job->display_name = wh_strdup(wh_json_string(message, "jobDisplayName"));
    job->environment_name = wh_strdup(wh_json_string(wh_json_get(message, "actionsEnvironment"), "name"));
    return wh_streq_ci(wh_json_string(message, "messageType"), PIPELINES_MESSAGE)
               ? read_v1(job, message, plan, err)
               : 0;
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
    gh_tenant_cancel(&job->tenant_call);
    gh_tenant_free(job->tenant);
    cJSON_Delete(job->completion);
    cJSON_Delete(job->last_record);
    free(job->scope);
    free(job->hub);
    free(job->timeline_id);
    free(job->job_name);
    free(job->display_name);
    free(job->environment_name);
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

bool wh_github_job_ends_by_request(const struct wh_github_job *job)
{
    return job->tenant && job->plan_version < PLAN_VERSION_EVENT;
}

/* ---- completejob ---- */

static void complete_send(void *data);

static void complete_old(void *data)
{
    struct wh_github_job *job = data;
    job->complete_done(job->complete_data, NULL);
}

/* Whether it was taken or not: the end itself matters more. */
static void on_last_record(void *data, struct gh_answer *answer)
{
    struct wh_github_job *job = data;
    job->tenant_call = NULL;
    if (answer->err)
        wh_log_warning("%s", wh_error_text(answer->err));
    cJSON_Delete(job->last_record);
    job->last_record = NULL;
    complete_send(job);
}

static void on_completed(void *data, struct gh_answer *answer)
{
    struct wh_github_job *job = data;
    job->complete_call = NULL;
    job->tenant_call = NULL;
    job->complete_lost |= answer->lost;
    /* A repeat after a lost answer finds the job completed: that is what we wanted. */
    bool done_before = job->complete_lost && (answer->status == 404 || answer->status == 409);
    if (!answer->err || done_before) {
        job->complete_done(job->complete_data, NULL);
        return;
    }
    bool final = gh_plan_gone(answer);
    final |= answer->status >= 400 && answer->status <= 499 && answer->status != 408 && answer->status != 429;
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

/* V1: the job's record first, where nobody sent it; then the event. A plan that is too old for events is
 * ended by the agent, which closes the job request. */
static void complete_v1(struct wh_github_job *job)
{
    struct gh_tenant_request r = {
        .method = "POST", .resource = WH_RESOURCE_PLAN_EVENTS, .body = job->completion};
    struct gh_plan_place place = {0};
    if (job->last_record) {
        r = (struct gh_tenant_request){
            .method = "PATCH", .resource = WH_RESOURCE_RECORDS, .body = job->last_record, .tries = 3};
        place.timeline = true;
        job->tenant_call = gh_plan_call(job, &r, &place, on_last_record, job);
    } else if (wh_github_job_ends_by_request(job)) {
        wh_later(&job->complete_later, wh_http_client_loop(job->http), 0, complete_old, job);
    } else {
        job->tenant_call = gh_plan_call(job, &r, &place, on_completed, job);
    }
}

static void complete_send(void *data)
{
    struct wh_github_job *job = data;
    if (job->tenant) {
        complete_v1(job);
        return;
    }
    wh_autofree char *url = gh_url(job->url, "completejob");
    struct gh_call_options o = {
        .http = job->http, .method = "POST", .url = url, .body = job->completion, .token = job->token};
    job->complete_call = gh_call_start(&o, on_completed, job);
}

void wh_github_job_completed_perhaps(struct wh_github_job *job)
{
    job->complete_lost = true;
}

void wh_github_job_complete(struct wh_github_job *job, const struct wh_github_completion *completion,
                            wh_github_done_fn done, void *data)
{
    cJSON_Delete(job->completion);
    job->completion = job->tenant
                          ? gh_plan_event(job, completion)
                          : gh_completion_body(job->plan_id, job->id, job->billing_owner_id, completion);
    cJSON_Delete(job->last_record);
    job->last_record = NULL;
    if (job->tenant && !job->record_ended) {
        job->last_record = cJSON_CreateObject();
        wh_json_add_int(job->last_record, "count", 1);
        cJSON *list = cJSON_AddArrayToObject(job->last_record, "value");
        cJSON_AddItemToArray(list, gh_plan_job(job, NULL, 0, completion, 0));
    }
    job->complete_since_ms = wh_mono_ms();
    job->complete_backoff =
        (struct wh_backoff){.min_ms = COMPLETE_PAUSE_MIN_MS, .max_ms = COMPLETE_PAUSE_MAX_MS};
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
