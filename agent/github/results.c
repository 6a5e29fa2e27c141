/* The results service of one job: its objects, and the end. */
#include "github/results_internal.h"

#include <stdio.h>
#include <utlist.h>

#include "wherry/base/log.h"

#define RESULTS_CALL_TRIES 3
#define RESULTS_CALL_MS 30000

bool wh_results_wanted(const struct wh_github_job *job)
{
    return job->results_url && *job->results_url;
}

static struct gh_upload *upload_new(struct wh_results *r, int log)
{
    struct gh_upload *u = wh_calloc(1, sizeof *u);
    u->r = r;
    u->log = log;
    u->kind = wh_spool_kind_of(r->spool, log);
    u->mark = wh_spool_mark(r->spool, log, WH_SPOOL_BLOB);
    u->backoff = (struct wh_backoff){.min_ms = 1000, .max_ms = 16000};
    DL_APPEND(r->uploads, u);
    return u;
}

/* Uploads of the logs that came since. */
static void take_logs(struct wh_results *r)
{
    size_t count = wh_spool_count(r->spool);
    if (r->nlogs == count)
        return;
    r->by_log = wh_reallocarray(r->by_log, count, sizeof(struct gh_upload *));
    for (; r->nlogs < count; r->nlogs++) {
        bool wanted = !wh_spool_mark(r->spool, (int)r->nlogs, WH_SPOOL_BLOB).done;
        r->by_log[r->nlogs] = wanted ? upload_new(r, (int)r->nlogs) : NULL;
    }
}

struct wh_results *wh_results_new(struct wh_github_job *job, struct wh_spool *spool)
{
    struct wh_results *r = wh_calloc(1, sizeof *r);
    r->job = job;
    r->spool = spool;
    r->off = !wh_results_wanted(job);
    r->steps = gh_steps_new(r);
    if (r->off)
        return r;
    take_logs(r);
    const cJSON *step;
    cJSON_ArrayForEach(step, wh_spool_steps(spool))
    {
        struct wh_step_record *record = wh_step_record_read(step);
        if (record)
            gh_steps_set(r->steps, record);
        wh_step_record_free(record);
    }
    return r;
}

void wh_results_free(struct wh_results *r)
{
    if (!r)
        return;
    wh_later_cancel(&r->check);
    gh_patience_stop(&r->patience);
    gh_steps_free(r->steps);
    while (r->uploads) {
        struct gh_upload *u = r->uploads;
        DL_DELETE(r->uploads, u);
        gh_upload_clear(u);
        free(u->why);
        free(u);
    }
    free(r->by_log);
    free(r);
}

uv_loop_t *gh_results_loop(const struct wh_results *r)
{
    return wh_http_client_loop(r->job->http);
}

struct gh_call *gh_results_call(struct wh_results *r, const char *path, cJSON *body, gh_answer_fn done,
                                void *data)
{
    wh_autojson *owned = body;
    wh_json_add_string(owned, "workflow_run_backend_id", r->job->plan_id);
    wh_json_add_string(owned, "workflow_job_run_backend_id", r->job->id);
    wh_autofree char *url = gh_url(r->job->results_url, path);
    struct gh_call_options o = {.http = r->job->http,
                                .method = "POST",
                                .url = url,
                                .body = owned,
                                .token = r->job->token,
                                .timeout_ms = RESULTS_CALL_MS,
                                .tries = RESULTS_CALL_TRIES};
    return gh_call_start(&o, done, data);
}

void wh_results_step(struct wh_results *r, const struct wh_step_record *step)
{
    if (!r->off)
        gh_steps_set(r->steps, step);
}

void wh_results_flush_steps(struct wh_results *r, wh_github_done_fn done, void *data)
{
    gh_steps_flush(r->steps, done, data);
}

void wh_results_log(struct wh_results *r, int log)
{
    if (r->off)
        return;
    take_logs(r);
    if (r->by_log[log])
        gh_upload_pump(r->by_log[log]);
}

/* A place that became free goes to the first that has something to send. */
void gh_results_place(struct gh_upload *u, bool working)
{
    struct wh_results *r = u->r;
    if (u->working == working)
        return;
    u->working = working;
    r->working += working ? 1 : -1u;
    struct gh_upload *other;
    if (!working)
        DL_FOREACH(r->uploads, other)
        {
            if (r->working >= WH_MAX_UPLOADS)
                break;
            if (other != u)
                gh_upload_pump(other);
        }
}

/* ---- the end ---- */

static bool all_ended(const struct wh_results *r)
{
    const struct gh_upload *u;
    DL_FOREACH(r->uploads, u)
    {
        if (!u->mark.done)
            return false;
    }
    return gh_steps_idle(r->steps);
}

static const char *kind_text(enum wh_spool_kind kind)
{
    static const char *const texts[] = {"log of the job", "log of step", "summary of step", "diagnostics"};
    return texts[kind];
}

/* Names what was not accepted; true if there is something. */
static bool say_lost(const struct wh_results *r, struct wh_error *err)
{
    const struct gh_upload *u;
    unsigned lost = 0;
    wh_autostr text = {0};
    DL_FOREACH(r->uploads, u)
    {
        if (u->mark.done && !u->lost)
            continue;
        const char *step = wh_spool_step_id(r->spool, u->log);
        if (lost++ == 0)
            wh_str_addf(&text, "%s %s: %s", kind_text(u->kind), step ? step : "",
                        u->why ? u->why : "not finished in time");
    }
    if (!gh_steps_idle(r->steps))
        wh_str_addf(&text, "%sthe last state of the steps", text.len ? "; " : "");
    if (lost > 1)
        wh_str_addf(&text, " (and %u more)", lost - 1);
    if (!text.len)
        return false;
    wh_fail(err, WH_E_NETWORK, "not everything reached the results service: %s", text.data);
    return true;
}

static void end_now(void *data)
{
    struct wh_results *r = data;
    wh_autoerror err = {0};
    wh_later_cancel(&r->check);
    gh_patience_stop(&r->patience);
    wh_github_done_fn done = r->done;
    r->done = NULL;
    if (!done)
        return;
    bool lost = say_lost(r, &err);
    if (lost)
        wh_log_warning("%s", wh_error_text(&err));
    done(r->done_data, lost ? &err : NULL);
}

static bool unheard(const void *data)
{
    const struct wh_results *r = data;
    const struct gh_upload *u;
    DL_FOREACH(r->uploads, u)
    {
        if (!u->mark.done && (u->call || u->put || u->unheard))
            return true;
    }
    return gh_steps_unheard(r->steps);
}

static void check_end(void *data)
{
    struct wh_results *r = data;
    if (all_ended(r))
        end_now(r);
}

void gh_results_moved(struct wh_results *r)
{
    if (r->finishing && r->done && !r->check && all_ended(r))
        wh_later(&r->check, gh_results_loop(r), 0, check_end, r);
}

void wh_results_finish(struct wh_results *r, unsigned budget_ms, wh_github_done_fn done, void *data)
{
    struct gh_upload *u;
    r->finishing = true;
    r->done = done;
    r->done_data = data;
    if (!r->off)
        take_logs(r);
    DL_FOREACH(r->uploads, u)
    {
        gh_upload_pump(u);
    }
    if (!gh_steps_idle(r->steps))
        gh_steps_flush(r->steps, NULL, NULL);
    gh_patience_start(&r->patience, gh_results_loop(r), budget_ms, unheard, end_now, r);
    gh_results_moved(r);
}
