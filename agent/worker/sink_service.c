/* Records of a job of the service: step states, live lines, log blobs, and the completion (runner-protocol.md
 * §4.5, §5). Nothing here makes a step wait: all of it runs on the loop while later steps run. */
#include "wherry/base/log.h"
#include "wherry/github/feed.h"
#include "wherry/github/results.h"
#include "worker/record.h"

#define FINISH_BUDGET_MS 60000u /* for what could not be uploaded while the job ran */

struct service {
    struct wh_sink sink;
    struct wh_http_client *http;
    struct wh_github_job *job;
    struct wh_results *results;
    struct wh_results_log *job_log;
    struct wh_feed *feed;
    const struct wh_github_completion *completion;
    wh_sink_done_fn done;
    void *data;
    int finishing; /* feed and results, then the completion */
};

static void state(struct wh_sink *s, const struct wh_timeline *r)
{
    struct wh_step_record view = wh_timeline_view(r);
    wh_results_step(((struct service *)s)->results, &view);
}

static void flush(struct wh_sink *s, wh_sink_done_fn done, void *data)
{
    wh_results_flush_steps(((struct service *)s)->results, done, data);
}

static void line(struct wh_sink *s, const struct wh_timeline *r, uint64_t number, const char *text,
                 size_t len)
{
    if (len > 0)
        wh_feed_line(((struct service *)s)->feed, r->id, (int64_t)number, text, len);
}

static void log_lines(struct wh_sink *s, struct wh_timeline *r, const char *data, size_t len, uint64_t lines)
{
    struct service *v = (struct service *)s;
    if (!r->log)
        r->log = wh_results_log_open(v->results, r->id);
    wh_results_log_write(r->log, data, len, lines);
    wh_results_log_write(v->job_log, data, len, lines);
}

static void log_end(struct wh_sink *s, struct wh_timeline *r)
{
    (void)s;
    if (r->log)
        wh_results_log_close(r->log);
    r->log = NULL;
}

static void summary(struct wh_sink *s, const struct wh_timeline *r, const char *text, size_t len)
{
    wh_results_summary(((struct service *)s)->results, r->id, text, len);
}

static void completed(void *data, struct wh_error *err)
{
    struct service *v = data;
    v->done(v->data, err);
}

static void drained(void *data, struct wh_error *err)
{
    struct service *v = data;
    if (err)
        wh_log_warning("%s", wh_error_text(err)); /* logs that are lost fail no job */
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
    v->finishing = 2;
    wh_results_log_close(v->job_log);
    wh_feed_finish(v->feed, drained, v);
    wh_results_finish(v->results, FINISH_BUDGET_MS, drained, v);
}

static void service_free(struct wh_sink *s)
{
    struct service *v = (struct service *)s;
    wh_feed_free(v->feed);
    wh_results_free(v->results);
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
                                       .finish = finish,
                                       .free = service_free};

struct wh_sink *wh_sink_service(uv_loop_t *loop, const cJSON *message, const char *spool,
                                struct wh_error *err)
{
    struct service *v = wh_calloc(1, sizeof *v);
    v->sink.ops = &ops;
    v->http = wh_http_client_new(loop, NULL);
    v->job = wh_github_job_new(v->http, message, err);
    if (!v->job) {
        wh_http_client_free(v->http);
        free(v);
        return NULL;
    }
    v->results = wh_results_new(v->job, spool);
    v->job_log = wh_results_log_open(v->results, NULL);
    v->feed = wh_feed_new(v->job);
    return &v->sink;
}
