/* The results service of one job: its objects, and the end. */
#include "github/results_internal.h"

#include <stdio.h>
#include <utlist.h>

#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define RESULTS_CALL_TRIES 3
#define RESULTS_CALL_MS 30000
#define RESULTS_AWAY_MS ((uint64_t)10 * 60 * 1000)
#define RESULTS_AWAY_STEP_MS 30000

struct wh_results *wh_results_new(struct wh_github_job *job, const char *spool)
{
    struct wh_results *r = wh_calloc(1, sizeof *r);
    r->job = job;
    r->spool = wh_strdup(spool);
    r->off = !job->results_url || !*job->results_url;
    r->steps = gh_steps_new(r);
    return r;
}

void wh_results_free(struct wh_results *r)
{
    if (!r)
        return;
    wh_later_cancel(&r->check);
    wh_later_cancel(&r->budget);
    gh_steps_free(r->steps);
    while (r->uploads) {
        struct wh_results_log *u = r->uploads;
        DL_DELETE(r->uploads, u);
        gh_upload_clear(u);
        free(u->step_id);
        free(u->why);
        free(u);
    }
    free(r->spool);
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

static struct wh_results_log *upload_new(struct wh_results *r, enum gh_upload_kind kind, const char *step_id)
{
    struct wh_results_log *u = wh_calloc(1, sizeof *u);
    u->r = r;
    u->kind = kind;
    u->step_id = wh_strdup(step_id);
    u->spool = -1;
    u->backoff = (struct wh_backoff){.min_ms = 1000, .max_ms = 16000};
    DL_APPEND(r->uploads, u);
    return u;
}

struct wh_results_log *wh_results_log_open(struct wh_results *r, const char *step_id)
{
    return upload_new(r, step_id ? GH_STEP_LOG : GH_JOB_LOG, step_id);
}

void wh_results_log_write(struct wh_results_log *log, const char *data, size_t len, uint64_t lines)
{
    if (log->r->off || log->closed || len == 0)
        return;
    log->lines += lines;
    gh_upload_write(log, data, len);
    gh_upload_pump(log);
}

void wh_results_log_close(struct wh_results_log *log)
{
    log->closed = true;
    gh_upload_pump(log);
}

void wh_results_summary(struct wh_results *r, const char *step_id, const char *text, size_t len)
{
    if (r->off || len == 0)
        return;
    struct wh_results_log *u = upload_new(r, GH_SUMMARY, step_id);
    gh_upload_write(u, text, len);
    u->closed = true;
    gh_upload_pump(u);
}

/* ---- the end ---- */

static bool all_ended(const struct wh_results *r)
{
    const struct wh_results_log *u;
    DL_FOREACH(r->uploads, u)
    {
        if (u->state != GH_UPLOAD_DONE && u->state != GH_UPLOAD_LOST)
            return false;
    }
    return gh_steps_idle(r->steps);
}

static const char *kind_text(enum gh_upload_kind kind)
{
    static const char *const texts[] = {"log of step", "log of the job", "summary of step"};
    return texts[kind];
}

/* Names what was not accepted; true if there is something. */
static bool say_lost(const struct wh_results *r, struct wh_error *err)
{
    const struct wh_results_log *u;
    unsigned lost = 0;
    wh_autostr text = {0};
    DL_FOREACH(r->uploads, u)
    {
        if (u->state == GH_UPLOAD_DONE)
            continue;
        if (lost++ == 0)
            wh_str_addf(&text, "%s %s: %s", kind_text(u->kind), u->step_id ? u->step_id : "",
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
    wh_later_cancel(&r->budget);
    wh_github_done_fn done = r->done;
    r->done = NULL;
    if (!done)
        return;
    bool lost = say_lost(r, &err);
    if (lost)
        wh_log_warning("%s", wh_error_text(&err));
    done(r->done_data, lost ? &err : NULL);
}

/* The budget is for a service that answers. While there is none, there is nobody to hand the logs to, and
 * nobody who waits. */
static void budget_over(void *data)
{
    struct wh_results *r = data;
    if (r->away && wh_mono_ms() - r->finishing_since_ms < RESULTS_AWAY_MS)
        wh_later(&r->budget, gh_results_loop(r), RESULTS_AWAY_STEP_MS, budget_over, r);
    else
        end_now(r);
}

void gh_results_note(struct wh_results *r, const struct wh_error *err)
{
    r->away = err && (err->code == WH_E_NETWORK || err->code == WH_E_TIMEOUT);
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
    struct wh_results_log *u;
    r->finishing = true;
    r->done = done;
    r->done_data = data;
    DL_FOREACH(r->uploads, u)
    {
        if (!u->closed)
            wh_results_log_close(u);
    }
    if (!gh_steps_idle(r->steps))
        gh_steps_flush(r->steps, NULL, NULL);
    r->finishing_since_ms = wh_mono_ms();
    wh_later(&r->budget, gh_results_loop(r), budget_ms, budget_over, r);
    gh_results_moved(r);
}
