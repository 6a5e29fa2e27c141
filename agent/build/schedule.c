/* Runs what is missing: a thread per stage that must run, each step as soon as what it needs is there
 * (builder.md §2). */
#include "build/output.h"

static bool misses(const struct stage *s)
{
    for (size_t i = 0; i < s->nnodes; i++)
        if (s->nodes[i].state == NODE_MISS)
            return true;
    return false;
}

/* ---- which stages must be complete ---- */

static void need(struct build *b, bool *needed, size_t index);

static void need_source(struct build *b, bool *needed, const struct wh_df_source *from)
{
    if (from->kind == WH_DF_SOURCE_STAGE)
        need(b, needed, from->stage);
}

static void need(struct build *b, bool *needed, size_t index)
{
    if (needed[index])
        return;
    needed[index] = true;
    const struct stage *s = &b->stages[index];
    need_source(b, needed, &b->plan->stages[index].base);
    for (size_t i = 0; i < s->nnodes; i++) {
        const struct wh_df_step *step = s->nodes[i].step;
        if (s->nodes[i].state == NODE_HIT)
            continue;
        if (step->nsources > 0)
            need_source(b, needed, &step->from);
        for (size_t m = 0; m < step->nmounts; m++)
            need_source(b, needed, &step->mounts[m].from);
    }
}

/* ---- one stage ---- */

/* Waits until another stage is complete; false if the build failed meanwhile. */
static bool wait_stage(struct build *b, const struct wh_df_source *from)
{
    if (from->kind != WH_DF_SOURCE_STAGE)
        return true;
    pthread_mutex_lock(&b->lock);
    while (!b->stages[from->stage].done && !b->failed)
        pthread_cond_wait(&b->changed, &b->lock);
    bool ok = !b->failed;
    pthread_mutex_unlock(&b->lock);
    return ok;
}

static bool wait_inputs(struct build *b, const struct wh_df_step *step)
{
    if (step->nsources > 0 && !wait_stage(b, &step->from))
        return false;
    for (size_t m = 0; m < step->nmounts; m++)
        if (!wait_stage(b, &step->mounts[m].from))
            return false;
    return true;
}

static void show_from(struct build *b, const struct stage *s)
{
    for (size_t i = 0; i < s->eval->nsteps; i++)
        if (s->eval->steps[i].kind == WH_DF_FROM && s->eval->steps[i].title)
            report_cached(&b->report, s->eval->steps[i].title);
}

static int run_node(struct build *b, struct stage *s, struct node *node, struct wh_error *err)
{
    bool hit = node->state == NODE_HIT;
    if (hit) {
        report_cached(&b->report, node->step->title);
    } else {
        if (!wait_inputs(b, node->step) || channel_canceled(&b->channel))
            return wh_fail(err, WH_E_CANCELED, "canceled");
        if (step_execute(b, s, node, &s->state, err) < 0)
            return -1;
    }
    state_push(&s->state, &node->layer);
    blobs_begin(b, s, &node->layer);
    return 0;
}

static int run_stage(struct build *b, struct stage *s, struct wh_error *err)
{
    const struct wh_df_source *base = &b->plan->stages[s->index].base;
    if (!wait_stage(b, base))
        return wh_fail(err, WH_E_CANCELED, "canceled");
    if (base->kind == WH_DF_SOURCE_STAGE)
        state_copy(&s->state, &b->stages[base->stage].state);
    else if (s->image)
        state_from_image(&s->state, s->image);
    else if (s->folder.id > 0) {
        state_push(&s->state, &s->folder);
        blobs_begin(b, s, &s->folder);
    }
    show_from(b, s);
    for (size_t i = 0; i < s->nnodes; i++) {
        if (run_node(b, s, &s->nodes[i], err) < 0) {
            struct wh_df_range where = s->nodes[i].step->range;
            build_fail(b, err, &where);
            return -1;
        }
    }
    return 0;
}

static void *stage_thread(void *arg)
{
    struct stage *s = arg;
    struct build *b = s->build;
    wh_autoerror err = {0};
    int status = run_stage(b, s, &err);
    if (status < 0 && err.code != WH_OK)
        build_fail(b, &err, NULL);
    pthread_mutex_lock(&b->lock);
    s->done = status == 0;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

void build_fail(struct build *b, struct wh_error *from, const struct wh_df_range *where)
{
    pthread_mutex_lock(&b->lock);
    /* The first cause counts; what others say after it comes from the cancellation. */
    if (!b->failed) {
        wh_error_move(&b->error, from);
        if (where)
            b->where = *where;
    }
    b->failed = true;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    wh_error_clear(from);
    channel_cancel(&b->channel);
}

static void count(struct build *b, const struct stage *s)
{
    b->steps += (unsigned)s->nnodes;
    for (size_t i = 0; i < s->nnodes; i++)
        b->cached += s->nodes[i].state == NODE_HIT;
}

int stages_run(struct build *b, struct wh_error *err)
{
    wh_autofree bool *needed = wh_calloc(b->df->nstages, sizeof(*needed));
    need(b, needed, b->plan->target);
    for (size_t i = 0; i < b->df->nstages; i++) {
        struct stage *s = &b->stages[i];
        if (!needed[i]) {
            /* Its files were never asked for: what the store has of it is only shown. */
            for (size_t n = 0; n < s->nnodes; n++)
                if (s->nodes[n].state == NODE_HIT)
                    report_cached(&b->report, s->nodes[n].step->title);
            continue;
        }
        count(b, s);
        if (misses(s) && pthread_create(&s->thread, NULL, stage_thread, s) == 0)
            s->started = true;
    }
    for (size_t i = 0; i < b->df->nstages; i++)
        if (needed[i] && !b->stages[i].started)
            stage_thread(&b->stages[i]); /* all there: nothing of it takes time */
    for (size_t i = 0; i < b->df->nstages; i++)
        if (needed[i] && b->stages[i].started)
            pthread_join(b->stages[i].thread, NULL);
    for (size_t i = 0; i < b->df->nstages; i++)
        for (size_t n = 0; needed[i] && n < b->stages[i].nnodes; n++)
            b->cached += b->stages[i].nodes[n].found_late;
    return b->failed ? wh_error_move(err, &b->error) : 0;
}
