/* Records of a job of the service: step states, live lines, logs, and the completion (runner-protocol.md
 * §4.5, §5). Nothing here makes a step wait: all of it runs on the loop while steps run. */
#include "wherry/base/log.h"
#include "wherry/github/feed.h"
#include "wherry/github/plan.h"
#include "wherry/github/results.h"
#include "worker/record.h"

#define FINISH_BUDGET_MS 60000u /* for what could not be uploaded while the job ran */

struct service {
    struct wh_sink sink;
    struct wh_http_client *http;
    struct wh_github_job *job;
    struct wh_spool *spool;
    struct wh_results *results;
    struct wh_plan *plan;
    struct wh_feed *feed;
    uint64_t lost_bytes; /* that the spool didn't take */
    const struct wh_github_completion *completion;
    wh_sink_done_fn done;
    void *data;
    int finishing; /* feed, results and plan, then the completion */
    bool completed;
};

static void state(struct wh_sink *s, const struct wh_timeline *r)
{
    struct service *v = (struct service *)s;
    struct wh_step_record view = wh_timeline_view(r);
    wh_autojson *json = wh_step_record_json(&view);
    wh_spool_note_step(v->spool, json);
    wh_results_step(v->results, &view);
    wh_plan_step(v->plan, &view);
}

static void flush(struct wh_sink *s, wh_sink_done_fn done, void *data)
{
    struct service *v = (struct service *)s;
    if (wh_plan_wanted(v->job))
        wh_plan_flush(v->plan, done, data);
    else
        wh_results_flush_steps(v->results, done, data);
}

static void line(struct wh_sink *s, const struct wh_timeline *r, uint64_t number, const char *text,
                 size_t len)
{
    if (len > 0)
        wh_feed_line(((struct service *)s)->feed, r->id, (int64_t)number, text, len);
}

static void grown(struct service *v, int log)
{
    wh_results_log(v->results, log);
    wh_plan_log(v->plan, log);
}

static void log_lines(struct wh_sink *s, struct wh_timeline *r, const char *data, size_t len, uint64_t lines)
{
    struct service *v = (struct service *)s;
    wh_autoerror err = {0};
    if (r->log == 0)
        r->log = WH_MAX(wh_spool_log(v->spool, r->id, &err), 0);
    /* How much may come was asked before (full): what comes all the same is the runner's own. */
    if (r->log == 0 || wh_spool_write(v->spool, r->log, data, len, lines, true, &err) < 0) {
        if (v->lost_bytes == 0)
            wh_log_warning("lines of a log are lost: %s", wh_error_text(&err));
        v->lost_bytes += len;
        return;
    }
    grown(v, r->log);
    grown(v, WH_SPOOL_JOB);
}

static void log_end(struct wh_sink *s, struct wh_timeline *r)
{
    struct service *v = (struct service *)s;
    if (r->log == 0)
        return;
    wh_spool_end(v->spool, r->log);
    grown(v, r->log);
    r->log = 0;
}

static void whole_text(struct service *v, enum wh_spool_kind kind, const char *step, const char *name,
                       const char *text, size_t len)
{
    wh_autoerror err = {0};
    if (len == 0)
        return;
    int log = wh_spool_text(v->spool, kind, step, name, text, len, &err);
    if (log < 0)
        wh_log_warning("%s", wh_error_text(&err));
    else
        grown(v, log);
}

static void summary(struct wh_sink *s, const struct wh_timeline *r, const char *text, size_t len)
{
    whole_text((struct service *)s, WH_SPOOL_SUMMARY, r->id, NULL, text, len);
}

static void diagnostics(struct wh_sink *s, const char *name, const char *data, size_t len)
{
    whole_text((struct service *)s, WH_SPOOL_DIAGNOSTICS, NULL, name, data, len);
}

static bool full(struct wh_sink *s)
{
    return wh_spool_full(((struct service *)s)->spool);
}

static void completed(void *data, struct wh_error *err)
{
    struct service *v = data;
    v->completed = err == NULL;
    v->done(v->data, err);
}

static void drained(void *data, struct wh_error *err)
{
    struct service *v = data;
    (void)err; /* logs that are lost fail no job; what they were was said */
    if (--v->finishing == 0)
        wh_github_job_complete(v->job, v->completion, completed, v);
}

static void finish(struct wh_sink *s, const struct wh_github_completion *completion, wh_sink_done_fn done,
                   void *data)
{
    struct service *v = (struct service *)s;
    v->completion = completion;
    v->done = done;
    v->data = data;
    v->finishing = 3;
    wh_spool_end(v->spool, WH_SPOOL_JOB);
    wh_feed_finish(v->feed, drained, v);
    wh_results_finish(v->results, FINISH_BUDGET_MS, drained, v);
    wh_plan_finish(v->plan, completion, FINISH_BUDGET_MS, drained, v);
}

/* The spool of a job that is complete has done its work; else whoever completes the job needs it. */
static void service_free(struct wh_sink *s)
{
    struct service *v = (struct service *)s;
    wh_feed_free(v->feed);
    wh_results_free(v->results);
    wh_plan_free(v->plan);
    if (v->completed)
        wh_spool_delete(v->spool);
    else
        wh_spool_free(v->spool);
    wh_github_job_free(v->job);
    wh_http_client_free(v->http);
    free(v);
}

static const struct wh_sink_ops ops = {.state = state,
                                       .flush = flush,
                                       .line = line,
                                       .log = log_lines,
                                       .log_end = log_end,
                                       .summary = summary,
                                       .diagnostics = diagnostics,
                                       .full = full,
                                       .finish = finish,
                                       .free = service_free};

static int make(struct service *v, uv_loop_t *loop, const cJSON *message, const struct wh_sink_place *p,
                struct wh_error *err)
{
    v->http = wh_http_client_new(loop, NULL);
    v->job = wh_github_job_new(v->http, message, err);
    if (!v->job)
        return -1;
    struct wh_spool_options o = {.max_bytes = p->spool_bytes};
    if (wh_results_wanted(v->job))
        o.consumers |= 1u << WH_SPOOL_BLOB;
    if (wh_plan_wanted(v->job))
        o.consumers |= 1u << WH_SPOOL_PAGE;
    v->spool = wh_spool_create(p->spool, &o, err);
    if (!v->spool)
        return -1;
    v->results = wh_results_new(v->job, v->spool);
    v->plan = wh_plan_new(v->job, v->spool, p->runner_name);
    v->feed = wh_feed_new(v->job);
    return 0;
}

struct wh_sink *wh_sink_service(uv_loop_t *loop, const cJSON *message, const struct wh_sink_place *place,
                                struct wh_error *err)
{
    struct service *v = wh_calloc(1, sizeof *v);
    v->sink.ops = &ops;
    if (make(v, loop, message, place, err) < 0) {
        service_free(&v->sink);
        return NULL;
    }
    return &v->sink;
}
