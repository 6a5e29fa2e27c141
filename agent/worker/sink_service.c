/* Records of a job of the service: step states, live lines, logs, and the completion (runner-protocol.md
 * §4.5, §5). Nothing here makes a step wait: all of it runs on the loop while steps run. */
#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/github/feed.h"
#include "wherry/github/plan.h"
#include "wherry/github/results.h"
#include "wherry/job/logtext.h"
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

static void tell(struct service *v, const struct wh_step_record *record)
{
    wh_autojson *json = wh_step_record_json(record);
    wh_spool_note_step(v->spool, json);
    wh_results_step(v->results, record);
    wh_plan_step(v->plan, record);
}

static void state(struct wh_sink *s, const struct wh_timeline *r)
{
    struct wh_step_record view = wh_timeline_view(r);
    tell((struct service *)s, &view);
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
    if (r->log == 0) {
        int log = wh_spool_log(v->spool, r->id, &err);
        r->log = log > 0 ? log : 0;
    }
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

/* NULL: there is nothing to go on with. */
static struct wh_spool *resume(const char *folder, const struct wh_spool_options *options)
{
    wh_autoerror err = {0};
    struct wh_spool *s = wh_spool_open(folder, options, &err);
    if (!s && err.code != WH_E_NOT_FOUND)
        wh_log_warning("the logs of the job that was cut off are lost: %s", wh_error_text(&err));
    return s;
}

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
    if (p->resume) {
        wh_github_job_completed_perhaps(v->job);
        v->spool = resume(p->spool, &o);
    }
    if (!v->spool)
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

/* ---- in a dead worker's place ---- */

static void last_line(struct service *v, const char *step_id, const char *reason)
{
    wh_autostr line = {0};
    wh_autofree char *text = wh_printf("##[error]%s", reason);
    wh_logtext_line(&line, wh_now_ns(), text, strlen(text));
    int log = 0;
    for (size_t i = 1; i < wh_spool_count(v->spool); i++)
        if (wh_spool_kind_of(v->spool, (int)i) == WH_SPOOL_STEP_LOG &&
            wh_streq(wh_spool_step_id(v->spool, (int)i), step_id))
            log = (int)i;
    if (log == 0) /* it had said nothing yet */
        log = wh_spool_log(v->spool, step_id, NULL);
    if (log > 0 && !wh_spool_ended(v->spool, log))
        (void)wh_spool_write(v->spool, log, line.data, line.len, 1, true, NULL);
}

static void add_reason(struct wh_step_record *r, const char *reason)
{
    struct wh_annotation *all = (struct wh_annotation *)(uintptr_t)r->annotations;
    all = wh_reallocarray(all, r->nannotations + 1, sizeof *all);
    all[r->nannotations++] =
        (struct wh_annotation){.level = WH_ANNOTATION_FAILURE, .message = wh_strdup(reason)};
    r->annotations = all;
}

static void end_step(struct service *v, struct wh_step_record *r, enum wh_task_result conclusion,
                     const char *reason)
{
    bool ran = r->status == WH_STEP_IN_PROGRESS;
    r->status = WH_STEP_COMPLETED;
    r->conclusion = ran ? conclusion : WH_TASK_SKIPPED;
    r->completed_ns = wh_now_ns();
    if (ran && reason) {
        add_reason(r, reason);
        last_line(v, r->id, reason);
    }
    tell(v, r);
}

struct wh_step_record *wh_sink_service_end_steps(struct wh_sink *s, enum wh_task_result conclusion,
                                                 const char *reason, size_t *count)
{
    struct service *v = (struct service *)s;
    wh_autojson *steps = cJSON_Duplicate(wh_spool_steps(v->spool), true);
    struct wh_step_record *all = wh_calloc((size_t)cJSON_GetArraySize(steps) + 1, sizeof *all);
    const cJSON *step;
    *count = 0;
    cJSON_ArrayForEach(step, steps)
    {
        struct wh_step_record *r = wh_step_record_read(step);
        if (!r)
            continue;
        if (r->status != WH_STEP_COMPLETED)
            end_step(v, r, conclusion, reason);
        all[(*count)++] = *r;
        free(r); /* its texts moved */
    }
    return all;
}
