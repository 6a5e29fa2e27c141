/* WorkflowStepsUpdate: the state of a job's steps (runner-protocol.md §5.1). */
#include "github/results_internal.h"
#include "github/wire.h"

#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define STEPS_PATH "twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate"
#define STEPS_RETRY_MIN_MS 1000
#define STEPS_RETRY_MAX_MS 16000

struct step {
    struct wh_step_record record; /* texts are ours */
    bool dirty, under_way;
};

struct gh_steps {
    struct wh_results *r;
    struct step *steps;
    size_t count;
    int64_t change_order;
    uint64_t last_ms; /* when the latest update was sent */
    struct gh_call *call;
    struct wh_later *later;
    struct wh_backoff backoff;
    bool unheard; /* nobody answered the latest try */
    wh_github_done_fn flushed;
    void *flushed_data;
};

struct gh_steps *gh_steps_new(struct wh_results *r)
{
    struct gh_steps *s = wh_calloc(1, sizeof *s);
    s->r = r;
    s->change_order = wh_spool_mark(r->spool, WH_SPOOL_JOB, WH_SPOOL_BLOB).value;
    s->backoff = (struct wh_backoff){.min_ms = STEPS_RETRY_MIN_MS, .max_ms = STEPS_RETRY_MAX_MS};
    return s;
}

void gh_steps_free(struct gh_steps *s)
{
    if (!s)
        return;
    gh_call_cancel(&s->call);
    wh_later_cancel(&s->later);
    for (size_t i = 0; i < s->count; i++) {
        free((char *)s->steps[i].record.id);
        free((char *)s->steps[i].record.name);
        free((char *)s->steps[i].record.control);
        free((char *)s->steps[i].record.control_ids);
        free((char *)s->steps[i].record.parallel_group);
    }
    free(s->steps);
    free(s);
}

static bool any_dirty(const struct gh_steps *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->steps[i].dirty)
            return true;
    return false;
}

bool gh_steps_idle(const struct gh_steps *s)
{
    return !s->call && !any_dirty(s);
}

bool gh_steps_unheard(const struct gh_steps *s)
{
    return s->call || (s->unheard && any_dirty(s));
}

static void answer_flush(struct gh_steps *s, struct wh_error *err)
{
    wh_github_done_fn flushed = s->flushed;
    s->flushed = NULL;
    if (flushed)
        flushed(s->flushed_data, err);
}

static void send_now(void *data);

static void send_after(struct gh_steps *s, uint64_t ms)
{
    if (!s->call && !s->later)
        wh_later(&s->later, gh_results_loop(s->r), ms, send_now, s);
}

static void on_answer(void *data, struct gh_answer *answer)
{
    struct gh_steps *s = data;
    wh_autoerror err = {0};
    s->call = NULL;
    if (answer->err)
        wh_error_move(&err, answer->err);
    else if (!wh_json_bool(answer->json, "ok", false))
        wh_fail(&err, WH_E_PROTOCOL, "steps update: the answer is not ok");
    bool failed = err.code != WH_OK;
    s->unheard = gh_patience_note(&s->r->patience, failed ? &err : NULL);
    for (size_t i = 0; i < s->count; i++) {
        s->steps[i].dirty |= failed && s->steps[i].under_way;
        s->steps[i].under_way = false;
    }
    if (failed) {
        wh_log_warning("%s", wh_error_text(&err));
        send_after(s, wh_backoff_next(&s->backoff));
    } else {
        wh_backoff_reset(&s->backoff);
        gh_patience_moved(&s->r->patience);
        if (any_dirty(s))
            send_after(s, s->r->finishing ? 0 : WH_STEPS_UPDATE_MS);
    }
    answer_flush(s, failed ? &err : NULL);
    gh_results_moved(s->r);
}

/* Rises over a restart too. */
static int64_t next_order(struct gh_steps *s)
{
    struct wh_spool_mark mark = wh_spool_mark(s->r->spool, WH_SPOOL_JOB, WH_SPOOL_BLOB);
    mark.value = ++s->change_order;
    wh_spool_set_mark(s->r->spool, WH_SPOOL_JOB, WH_SPOOL_BLOB, &mark);
    return s->change_order;
}

static void send_now(void *data)
{
    struct gh_steps *s = data;
    if (s->call)
        return;
    if (!any_dirty(s)) {
        answer_flush(s, NULL);
        gh_results_moved(s->r);
        return;
    }
    cJSON *body = cJSON_CreateObject();
    cJSON *list = cJSON_AddArrayToObject(body, "steps");
    for (size_t i = 0; i < s->count; i++) {
        if (!s->steps[i].dirty)
            continue;
        cJSON_AddItemToArray(list, gh_step_update(&s->steps[i].record));
        s->steps[i].dirty = false;
        s->steps[i].under_way = true;
    }
    wh_json_add_int(body, "change_order", next_order(s));
    s->last_ms = wh_mono_ms();
    s->call = gh_results_call(s->r, STEPS_PATH, body, on_answer, s);
}

static struct step *find(struct gh_steps *s, const char *id)
{
    for (size_t i = 0; i < s->count; i++)
        if (wh_streq(s->steps[i].record.id, id))
            return &s->steps[i];
    s->steps = wh_reallocarray(s->steps, s->count + 1, sizeof *s->steps);
    struct step *step = &s->steps[s->count++];
    memset(step, 0, sizeof *step);
    step->record.id = wh_strdup(id);
    return step;
}

void gh_steps_set(struct gh_steps *s, const struct wh_step_record *record)
{
    struct step *step = find(s, record->id);
    if (!step->record.name) { /* what never changes */
        step->record.background = record->background;
        step->record.control = wh_strdup(record->control);
        step->record.control_ids = wh_strdup(record->control_ids);
        step->record.parallel_group = wh_strdup(record->parallel_group);
    }
    free((char *)step->record.name);
    step->record.name = wh_strdup(record->name);
    step->record.number = record->number;
    step->record.status = record->status;
    step->record.conclusion = record->conclusion;
    step->record.started_ns = record->started_ns;
    step->record.completed_ns = record->completed_ns;
    step->dirty = true;
    /* At once after a quiet while, else with the others of this half second. A turn of the loop gathers what
     * changes together. */
    uint64_t since = wh_mono_ms() - s->last_ms;
    send_after(s, since >= WH_STEPS_UPDATE_MS ? 5 : WH_STEPS_UPDATE_MS - since);
}

void gh_steps_flush(struct gh_steps *s, wh_github_done_fn done, void *data)
{
    s->flushed = done;
    s->flushed_data = data;
    if (s->call)
        return; /* what changed since goes by its answer's timer; that answer serves the flush */
    wh_later_cancel(&s->later);
    send_after(s, 0);
}
