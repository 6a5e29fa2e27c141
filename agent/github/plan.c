/* V1: the timeline's records (runner-protocol.md §4.7), and the end of all reporting. */
#include "github/plan_internal.h"

#include <utlist.h>

#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define RECORDS_RETRY_MIN_MS 1000
#define RECORDS_RETRY_MAX_MS 16000
#define RECORDS_TRIES 3
#define THE_JOB 0

bool wh_plan_wanted(const struct wh_github_job *job)
{
    return job->tenant != NULL;
}

uv_loop_t *gh_plan_loop(const struct wh_plan *p)
{
    return wh_http_client_loop(p->job->http);
}

bool gh_plan_gone(const struct gh_answer *answer)
{
    static const char *const types[] = {"TaskOrchestrationPlanNotFound", "TaskOrchestrationPlanSecurity",
                                        "TaskOrchestrationPlanTerminated"};
    wh_autofree char *type = answer->err && answer->http ? wh_v1_error_type(answer->http) : NULL;
    for (size_t i = 0; type && i < WH_COUNT(types); i++)
        if (wh_starts_with_ci(type, types[i]))
            return true;
    return false;
}

struct gh_tenant_call *gh_plan_call(struct wh_github_job *job, struct gh_tenant_request *request,
                                    const struct gh_plan_place *place, gh_answer_fn done, void *data)
{
    const struct wh_route_value values[] = {{"scopeIdentifier", job->scope},
                                            {"hubName", job->hub},
                                            {"planId", job->plan_id},
                                            {"timelineId", place->timeline ? job->timeline_id : NULL},
                                            {"recordId", place->record},
                                            {"logId", place->log},
                                            {"type", place->type},
                                            {"name", place->name},
                                            {NULL, NULL}};
    request->values = values;
    return gh_tenant_start(job->tenant, request, done, data);
}

/* ---- records ---- */

static bool any_dirty(const struct wh_plan *p)
{
    for (size_t i = 0; i < p->nrecords; i++)
        if (p->records[i].dirty)
            return true;
    return false;
}

static bool records_idle(const struct wh_plan *p)
{
    return p->gone || (!p->call && !any_dirty(p));
}

static void answer_flush(struct wh_plan *p, struct wh_error *err)
{
    wh_github_done_fn flushed = p->flushed;
    p->flushed = NULL;
    if (flushed)
        flushed(p->flushed_data, err);
}

static void send_now(void *data);

static void send_after(struct wh_plan *p, uint64_t ms)
{
    if (!p->call && !p->later && !p->gone)
        wh_later(&p->later, gh_plan_loop(p), ms, send_now, p);
}

static void pump_all(struct wh_plan *p)
{
    struct gh_pages *g;
    DL_FOREACH(p->uploads, g)
    {
        gh_pages_pump(g);
    }
}

static void on_records(void *data, struct gh_answer *answer)
{
    struct wh_plan *p = data;
    p->call = NULL;
    p->unheard = gh_patience_note(&p->patience, answer->err);
    for (size_t i = 0; i < p->nrecords; i++) {
        p->records[i].dirty |= answer->err && p->records[i].under_way;
        p->records[i].told |= !answer->err && p->records[i].under_way;
        p->records[i].under_way = false;
    }
    if (answer->err)
        wh_log_warning("%s", wh_error_text(answer->err));
    if (gh_plan_gone(answer)) {
        p->gone = true;
    } else if (answer->err) {
        send_after(p, wh_backoff_next(&p->backoff));
    } else {
        wh_backoff_reset(&p->backoff);
        gh_patience_moved(&p->patience);
        if (any_dirty(p))
            send_after(p, p->finishing ? 0 : WH_RECORDS_UPDATE_MS);
    }
    answer_flush(p, answer->err);
    pump_all(p);
    gh_plan_moved(p);
}

static cJSON *record_json(const struct wh_plan *p, const struct gh_plan_record *record)
{
    if (record->step)
        return gh_plan_step(p->job, record->step, p->worker, record->log);
    cJSON *json = p->job_record ? cJSON_Duplicate(p->job_record, true)
                                : gh_plan_job(p->job, p->worker, p->started_ns, NULL, 0);
    if (record->log > 0 && !wh_json_get(json, "log"))
        wh_json_add_int(cJSON_AddObjectToObject(json, "log"), "id", record->log);
    return json;
}

static void send_now(void *data)
{
    struct wh_plan *p = data;
    if (p->call || p->gone)
        return;
    wh_autojson *body = cJSON_CreateObject();
    cJSON *list = cJSON_CreateArray();
    int count = 0;
    for (size_t i = 0; i < p->nrecords && count < WH_MAX_RECORDS_UPDATE; i++) {
        if (!p->records[i].dirty)
            continue;
        cJSON_AddItemToArray(list, record_json(p, &p->records[i]));
        p->records[i].dirty = false;
        p->records[i].under_way = true;
        count++;
    }
    wh_json_add_int(body, "count", count);
    cJSON_AddItemToObject(body, "value", list);
    if (count == 0) {
        answer_flush(p, NULL);
        gh_plan_moved(p);
        return;
    }
    p->last_ms = wh_mono_ms();
    struct gh_tenant_request r = {
        .resource = WH_RESOURCE_RECORDS, .method = "PATCH", .body = body, .tries = RECORDS_TRIES};
    p->call = gh_plan_call(p->job, &r, &(struct gh_plan_place){.timeline = true}, on_records, p);
}

static struct gh_plan_record *find(struct wh_plan *p, const char *step_id)
{
    if (!step_id)
        return &p->records[THE_JOB];
    for (size_t i = THE_JOB + 1; i < p->nrecords; i++)
        if (wh_streq(p->records[i].step->id, step_id))
            return &p->records[i];
    return NULL;
}

static void set_dirty(struct wh_plan *p, struct gh_plan_record *record)
{
    record->dirty = true;
    uint64_t since = wh_mono_ms() - p->last_ms;
    send_after(p, p->finishing ? 0 : since >= WH_RECORDS_UPDATE_MS ? 5 : WH_RECORDS_UPDATE_MS - since);
}

bool gh_plan_told(struct wh_plan *p, const char *step_id)
{
    const struct gh_plan_record *record = find(p, step_id);
    return p->gone || !record || record->told;
}

void gh_plan_name_log(struct wh_plan *p, const char *step_id, int64_t log)
{
    struct gh_plan_record *record = find(p, step_id);
    if (!record)
        return;
    record->log = log;
    set_dirty(p, record);
}

static void set_step(struct wh_plan *p, struct wh_step_record *step)
{
    struct gh_plan_record *record = step ? find(p, step->id) : NULL;
    if (!step)
        return;
    if (record) {
        wh_step_record_free(record->step);
    } else {
        p->records = wh_reallocarray(p->records, p->nrecords + 1, sizeof *p->records);
        record = &p->records[p->nrecords++];
        *record = (struct gh_plan_record){0};
    }
    record->step = step;
    set_dirty(p, record);
}

void wh_plan_step(struct wh_plan *p, const struct wh_step_record *step)
{
    if (p->off)
        return;
    wh_autojson *json = wh_step_record_json(step);
    set_step(p, wh_step_record_read(json));
}

void wh_plan_flush(struct wh_plan *p, wh_github_done_fn done, void *data)
{
    p->flushed = done;
    p->flushed_data = data;
    if (p->call)
        return; /* its answer serves the flush */
    wh_later_cancel(&p->later);
    if (p->off || p->gone)
        wh_later(&p->later, gh_plan_loop(p), 0, send_now, p);
    else
        send_after(p, 0);
}

/* ---- life ---- */

static void take_logs(struct wh_plan *p)
{
    size_t count = wh_spool_count(p->spool);
    if (p->nlogs == count)
        return;
    p->by_log = wh_reallocarray(p->by_log, count, sizeof(struct gh_pages *));
    for (; p->nlogs < count; p->nlogs++) {
        struct wh_spool_mark mark = wh_spool_mark(p->spool, (int)p->nlogs, WH_SPOOL_PAGE);
        p->by_log[p->nlogs] = NULL;
        if (mark.pos > 0 && mark.value > 0 &&
            !(mark.flags & GH_PAGE_CREATED)) /* of a process that died: its record may not have said so yet */
            gh_plan_name_log(p, wh_spool_step_id(p->spool, (int)p->nlogs), mark.value);
        if (mark.done)
            continue;
        struct gh_pages *g = wh_calloc(1, sizeof *g);
        g->p = p;
        g->log = (int)p->nlogs;
        g->kind = wh_spool_kind_of(p->spool, g->log);
        g->mark = mark;
        g->mark.flags =
            0; /* what of the page under way is there died with that process: anew, in a new log */
        g->backoff = (struct wh_backoff){.min_ms = RECORDS_RETRY_MIN_MS, .max_ms = RECORDS_RETRY_MAX_MS};
        DL_APPEND(p->uploads, g);
        p->by_log[p->nlogs] = g;
    }
}

struct wh_plan *wh_plan_new(struct wh_github_job *job, struct wh_spool *spool, const char *worker)
{
    struct wh_plan *p = wh_calloc(1, sizeof *p);
    p->job = job;
    p->spool = spool;
    p->worker = wh_strdup(worker);
    p->off = !wh_plan_wanted(job);
    p->started_ns = wh_now_ns();
    p->backoff = (struct wh_backoff){.min_ms = RECORDS_RETRY_MIN_MS, .max_ms = RECORDS_RETRY_MAX_MS};
    if (p->off)
        return p;
    p->records = wh_calloc(1, sizeof *p->records);
    p->nrecords = 1;
    set_dirty(p, &p->records[THE_JOB]);
    const cJSON *step;
    cJSON_ArrayForEach(step, wh_spool_steps(spool))
    {
        set_step(p, wh_step_record_read(step));
    }
    take_logs(p);
    return p;
}

void wh_plan_free(struct wh_plan *p)
{
    if (!p)
        return;
    gh_tenant_cancel(&p->call);
    wh_later_cancel(&p->later);
    wh_later_cancel(&p->check);
    gh_patience_stop(&p->patience);
    while (p->uploads) {
        struct gh_pages *g = p->uploads;
        DL_DELETE(p->uploads, g);
        gh_pages_clear(g);
        free(g->why);
        free(g);
    }
    for (size_t i = 0; i < p->nrecords; i++)
        wh_step_record_free(p->records[i].step);
    cJSON_Delete(p->job_record);
    free(p->records);
    free(p->by_log);
    free(p->worker);
    free(p);
}

void wh_plan_log(struct wh_plan *p, int log)
{
    if (p->off)
        return;
    take_logs(p);
    if (p->by_log[log])
        gh_pages_pump(p->by_log[log]);
}

void gh_plan_place(struct gh_pages *g, bool working)
{
    struct wh_plan *p = g->p;
    if (g->working == working)
        return;
    g->working = working;
    p->working += working ? 1 : -1u;
    struct gh_pages *other;
    if (!working)
        DL_FOREACH(p->uploads, other)
        {
            if (other != g)
                gh_pages_pump(other);
        }
}

/* ---- the end ---- */

static bool logs_ended(const struct wh_plan *p)
{
    const struct gh_pages *g;
    DL_FOREACH(p->uploads, g)
    {
        if (!g->mark.done)
            return false;
    }
    return true;
}

static bool say_lost(const struct wh_plan *p, struct wh_error *err)
{
    const struct gh_pages *g;
    unsigned lost = 0;
    wh_autostr text = {0};
    DL_FOREACH(p->uploads, g)
    {
        if (g->mark.done && !g->lost)
            continue;
        const char *step = wh_spool_step_id(p->spool, g->log);
        if (lost++ == 0)
            wh_str_addf(&text, "log of %s: %s", step ? step : "the job",
                        g->why ? g->why : "not finished in time");
    }
    if (lost > 1)
        wh_str_addf(&text, " (and %u more)", lost - 1);
    if (!records_idle(p) || p->gone)
        wh_str_addf(&text, "%sthe last state of the steps", text.len ? "; " : "");
    if (!text.len)
        return false;
    wh_fail(err, WH_E_NETWORK, "not everything reached the server: %s", text.data);
    return true;
}

static void end_now(void *data)
{
    struct wh_plan *p = data;
    wh_autoerror err = {0};
    wh_later_cancel(&p->check);
    gh_patience_stop(&p->patience);
    wh_github_done_fn done = p->done;
    p->done = NULL;
    if (!done)
        return;
    bool lost = !p->off && say_lost(p, &err);
    if (lost)
        wh_log_warning("%s", wh_error_text(&err));
    done(p->done_data, lost ? &err : NULL);
}

static bool unheard(const void *data)
{
    const struct wh_plan *p = data;
    const struct gh_pages *g;
    DL_FOREACH(p->uploads, g)
    {
        if (!g->mark.done && (g->call || g->unheard))
            return true;
    }
    return p->call || (p->unheard && any_dirty(p));
}

static void check_end(void *data)
{
    struct wh_plan *p = data;
    if (records_idle(p) && logs_ended(p))
        end_now(p);
}

void gh_plan_moved(struct wh_plan *p)
{
    if (p->finishing && p->done && !p->check && records_idle(p) && logs_ended(p))
        wh_later(&p->check, gh_plan_loop(p), 0, check_end, p);
}

void wh_plan_finish(struct wh_plan *p, const struct wh_github_completion *completion, unsigned budget_ms,
                    wh_github_done_fn done, void *data)
{
    p->finishing = true;
    p->done = done;
    p->done_data = data;
    if (p->off) {
        wh_later(&p->check, gh_plan_loop(p), 0, end_now, p);
        return;
    }
    take_logs(p);
    p->job_record = gh_plan_job(p->job, p->worker, p->started_ns, completion, 0);
    p->job->record_ended = true;
    set_dirty(p, &p->records[THE_JOB]);
    pump_all(p);
    wh_later_cancel(&p->later);
    send_after(p, 0);
    gh_patience_start(&p->patience, gh_plan_loop(p), budget_ms, unheard, end_now, p);
    gh_plan_moved(p);
}
