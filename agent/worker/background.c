/* Background steps and the steps that control them (job-execution.md §1): a background step runs beside those
 * after it; what it leaves (outputs, variables, PATH, its outcome) is seen only by whoever waits for it.
 *
 * The worker is one loop that looks at one step. What comes from a background step's process is handled as if
 * the job looked at that step for a moment (enter, leave). */
#include "wherry/net/later.h"
#include "worker/job.h"

struct wh_background {
    struct wh_child *child; /* NULL: it waits for a place, or is through */
    struct wh_later *later; /* the end of its time */
    struct wh_value *outputs, *env;
    char **path;
    bool queued, done;
    bool collected; /* somebody waited for it */
    bool dropped;   /* a step cancelled it: that is no failure of the job */
    enum wh_task_result conclusion;
};

void wh_background_free(struct wh_background *b)
{
    if (!b)
        return;
    wh_later_cancel(&b->later);
    wh_child_free(b->child);
    wh_value_unref(b->outputs);
    wh_value_unref(b->env);
    wh_strv_free(b->path);
    free(b);
}

/* ---- looking at another step ---- */

struct look {
    struct wh_run *running, *left[WH_MAX_COMPOSITE_DEPTH + 2];
    struct wh_timeline *current;
    struct wh_child *child;
    struct wh_value *env;
    size_t n;
};

static void enter(struct wh_job *j, struct wh_run *run, struct look *l)
{
    *l = (struct look){.running = j->running, .current = j->current, .child = j->child};
    while (j->composite && l->n < WH_COUNT(l->left)) {
        l->left[l->n++] = j->composite;
        wh_scope_leave(j);
    }
    l->env = wh_value_ref((struct wh_value *)wh_object_get(j->contexts, "env"));
    j->running = run;
    j->current = run->record;
    j->child = run->background->child;
    if (run->env)
        wh_context_set_env(j, run->env);
}

static void leave(struct wh_job *j, struct look *l)
{
    wh_context_set_env(j, l->env);
    wh_value_unref(l->env);
    j->running = l->running;
    j->current = l->current;
    j->child = l->child;
    while (l->n > 0)
        wh_scope_enter(j, l->left[--l->n]);
}

void wh_run_line(void *data, const char *line, size_t len)
{
    struct wh_run *run = data;
    struct wh_job *j = run->job;
    if (!run->background) {
        wh_output_line(j, line, len);
        return;
    }
    struct wh_run *running = j->running;
    struct wh_timeline *current = j->current;
    j->running = run;
    j->current = run->record;
    wh_output_line(j, line, len);
    j->running = running;
    j->current = current;
}

void wh_run_frame(void *data, struct wh_frame *frame)
{
    wh_action_frame(((struct wh_run *)data)->job, frame);
}

bool wh_run_hold(void *data)
{
    return wh_room_hold(((struct wh_run *)data)->job);
}

void wh_background_resume(struct wh_job *j)
{
    for (size_t i = 0; i < j->nbackgrounds; i++)
        if (j->backgrounds[i]->background->child)
            wh_child_resume(j->backgrounds[i]->background->child);
}

/* ---- what a step leaves ---- */

int wh_run_leave_output(struct wh_job *j, const struct wh_run *run, const char *name, const char *value,
                        struct wh_error *err)
{
    return run->background ? wh_context_keep(j, run->background->outputs, name, value, err)
                           : wh_context_output(j, run->step, name, value, err);
}

int wh_run_leave_env(struct wh_job *j, const struct wh_run *run, const char *name, const char *value,
                     struct wh_error *err)
{
    return wh_context_keep(j, run->background ? run->background->env : j->env, name, value, err);
}

void wh_run_leave_path(struct wh_job *j, const struct wh_run *run, const char *folder)
{
    if (run->background)
        wh_strv_add(&run->background->path, folder);
    else
        wh_environ_add_path(j, folder);
}

/* Now the other steps see it. */
static void collect(struct wh_job *j, struct wh_run *run)
{
    struct wh_background *b = run->background;
    wh_autoerror err = {0};
    if (b->collected)
        return;
    b->collected = true;
    for (size_t i = 0; i < wh_value_count(b->outputs); i++)
        if (wh_context_output(j, run->step, wh_object_key_at(b->outputs, i),
                              wh_value_text(wh_object_value_at(b->outputs, i)), &err) < 0)
            wh_say_error(j, "%s", wh_error_text(&err));
    for (size_t i = 0; i < wh_value_count(b->env); i++)
        wh_object_set(j->env, wh_object_key_at(b->env, i), wh_object_value_at(b->env, i));
    for (size_t i = 0; b->path && b->path[i]; i++)
        wh_environ_add_path(j, b->path[i]);
    wh_context_result(j, run->step, run->result, b->conclusion);
}

/* ---- its life ---- */

static void finish(struct wh_job *j, struct wh_run *run)
{
    struct wh_background *b = run->background;
    struct look l;
    enter(j, run, &l);
    wh_later_cancel(&b->later);
    if (b->child)
        wh_run_judge(j, run);
    wh_child_free(wh_steal(&b->child));
    wh_files_process(j, run);
    if (run->command_failed && run->result == WH_TASK_SUCCEEDED)
        run->result = WH_TASK_FAILED;
    b->done = true;
    b->conclusion = wh_run_conclusion(j, run);
    wh_job_complete_record(j, run->record, b->queued ? WH_TASK_SKIPPED : b->conclusion);
    b->queued = false;
    leave(j, &l);
}

static void on_time(void *data)
{
    struct wh_run *run = data;
    if (!run->background->child || run->canceled)
        return;
    run->timed_out = true;
    wh_child_cancel(run->background->child);
}

static void launch(struct wh_job *j, struct wh_run *run)
{
    struct wh_background *b = run->background;
    struct look l;
    enter(j, run, &l);
    b->queued = false;
    wh_job_start_record(j, run->record);
    b->child = wh_run_begin(j, run);
    if (b->child && run->minutes > 0)
        wh_later(&b->later, &j->loop, (uint64_t)(run->minutes * 60000), on_time, run);
    leave(j, &l);
    if (!b->child)
        finish(j, run);
}

static size_t count_running(const struct wh_job *j)
{
    size_t n = 0;
    for (size_t i = 0; i < j->nbackgrounds; i++)
        n += j->backgrounds[i]->background->child != NULL;
    return n;
}

static size_t most_at_once(const struct wh_job *j)
{
    const char *text = wh_message_variable(j->message, "system.runner.maxbackgroundsteps");
    uint64_t n;
    return text && wh_parse_u64(text, WH_MAX_MESSAGE_STEPS, &n) && n > 0 ? (size_t)n : WH_BACKGROUND_STEPS;
}

void wh_background_turn(struct wh_job *j)
{
    if (j->background_busy)
        return;
    j->background_busy = true; /* what is started may let the loop turn */
    for (size_t i = 0; i < j->nbackgrounds; i++) {
        struct wh_background *b = j->backgrounds[i]->background;
        if (b->child && wh_child_finished(b->child))
            finish(j, j->backgrounds[i]);
    }
    for (size_t i = 0; i < j->nbackgrounds && count_running(j) < most_at_once(j); i++)
        if (j->backgrounds[i]->background->queued)
            launch(j, j->backgrounds[i]);
    j->background_busy = false;
}

void wh_background_start(struct wh_job *j, struct wh_run *run)
{
    run->background = wh_calloc(1, sizeof *run->background);
    run->background->outputs = wh_value_object();
    run->background->env = wh_value_object_case_sensitive();
    run->background->queued = true;
    j->backgrounds = wh_reallocarray(j->backgrounds, j->nbackgrounds + 1, sizeof(struct wh_run *));
    j->backgrounds[j->nbackgrounds++] = run;
    wh_background_turn(j);
}

static void cancel(struct wh_job *j, struct wh_run *run)
{
    struct wh_background *b = run->background;
    if (b->done || run->canceled)
        return;
    run->canceled = true;
    if (b->child) {
        wh_child_cancel(b->child);
    } else if (b->queued) {
        run->result = WH_TASK_CANCELED;
        finish(j, run);
    }
}

void wh_background_cancel(struct wh_job *j)
{
    for (size_t i = 0; i < j->nbackgrounds; i++)
        cancel(j, j->backgrounds[i]);
}

void wh_background_flush_lines(struct wh_job *j)
{
    for (size_t i = 0; i < j->nbackgrounds; i++)
        if (!j->backgrounds[i]->background->done)
            wh_job_flush_record(j, j->backgrounds[i]->record);
}

/* ---- waiting ---- */

static struct wh_run *find(struct wh_job *j, const char *id)
{
    for (size_t i = 0; i < j->nbackgrounds; i++)
        if (wh_streq_ci(j->backgrounds[i]->step->context_name, id))
            return j->backgrounds[i];
    return NULL;
}

static void wait_for(struct wh_job *j, char *const *ids)
{
    for (size_t i = 0; ids && ids[i]; i++) {
        const struct wh_run *run = find(j, ids[i]);
        while (run && !run->background->done) {
            wh_job_turn(j);
            wh_job_see_cancel(j);
        }
    }
}

static enum wh_task_result merge(enum wh_task_result a, enum wh_task_result b)
{
    return a > WH_TASK_FAILED ? a : WH_MAX(a, b);
}

static enum wh_task_result collect_all(struct wh_job *j, char *const *ids)
{
    enum wh_task_result result = WH_TASK_SUCCEEDED;
    for (size_t i = 0; ids && ids[i]; i++) {
        struct wh_run *run = find(j, ids[i]);
        if (!run)
            continue;
        collect(j, run);
        result = merge(result, run->background->conclusion);
    }
    return result;
}

/* Those that nobody waited for yet. Owned; NULL: none. */
static char **rest(struct wh_job *j)
{
    char **ids = NULL;
    for (size_t i = 0; i < j->nbackgrounds; i++)
        if (!j->backgrounds[i]->background->collected)
            wh_strv_add(&ids, j->backgrounds[i]->step->context_name);
    return ids;
}

/* "Start server, __run_2": names, or ids of steps that did not start. Owned. */
static char *describe(struct wh_job *j, char *const *ids)
{
    wh_autostr out = {0};
    for (size_t i = 0; ids && ids[i]; i++) {
        const struct wh_run *run = find(j, ids[i]);
        wh_str_addf(&out, "%s%s", i ? ", " : "", run ? run->display : ids[i]);
    }
    return out.len ? wh_str_steal(&out) : wh_strdup("(none)");
}

static void say_results(struct wh_job *j, const char *summary, char *const *ids)
{
    static const char *const words[] = {"Succeeded", "SucceededWithIssues", "Failed", "Canceled", "Skipped",
                                        "Abandoned"};
    wh_say(j, "%s", summary);
    for (size_t i = 0; ids && ids[i]; i++) {
        const struct wh_run *run = find(j, ids[i]);
        if (run)
            wh_say(j, "  %s: %s", run->display, words[run->background->conclusion]);
    }
}

static void control_wait(struct wh_job *j, struct wh_run *run, char *const *ids)
{
    wh_autofree char *names = describe(j, ids);
    wh_say(j, "Waiting for background step(s) to complete: %s", names);
    wait_for(j, ids);
    run->result = collect_all(j, ids);
    say_results(j, "Finished waiting for background step(s).", ids);
}

static void control_wait_all(struct wh_job *j, struct wh_run *run)
{
    wh_autostrv char **ids = rest(j);
    wh_autofree char *names = describe(j, ids);
    if (ids)
        wh_say(j, "Waiting for all background step(s) to complete: %s", names);
    else
        wh_say(j, "No background steps remaining to wait for.");
    wait_for(j, ids);
    run->result = collect_all(j, ids);
    say_results(j, "Finished waiting for all background step(s).", ids);
}

static void control_cancel(struct wh_job *j, struct wh_run *run, char *const *ids)
{
    wh_autofree char *names = describe(j, ids);
    wh_say(j, "Cancelling background step(s): %s", names);
    for (size_t i = 0; ids && ids[i]; i++) {
        struct wh_run *other = find(j, ids[i]);
        if (!other)
            continue;
        other->background->dropped = true;
        cancel(j, other);
    }
    wait_for(j, ids);
    (void)collect_all(j, ids);
    run->result = WH_TASK_SUCCEEDED;
    say_results(j, "Finished cancelling background step(s).", ids);
}

static void execute_control(struct wh_job *j, struct wh_run *run)
{
    if (wh_streq(run->step->control, "wait"))
        control_wait(j, run, run->step->step_ids);
    else if (wh_streq(run->step->control, "cancel"))
        control_cancel(j, run, run->step->step_ids);
    else
        control_wait_all(j, run);
}

const struct wh_special wh_background_control = {.condition = "always()", .execute = execute_control};

void wh_background_end(struct wh_job *j)
{
    wh_autostrv char **ids = rest(j);
    wait_for(j, ids);
    (void)collect_all(j, ids);
    for (size_t i = 0; i < j->nbackgrounds; i++) {
        const struct wh_background *b = j->backgrounds[i]->background;
        if (!b->dropped || b->conclusion != WH_TASK_CANCELED)
            wh_job_merge_result(j, b->conclusion);
    }
}

/* ---- before the first step ---- */

/* Those that no step waits for get one at the end. */
void wh_background_add_wait(struct wh_job *j)
{
    bool any = false;
    bool open = false;
    for (size_t i = 0; i < j->message->nsteps && !open; i++) {
        const struct wh_step *step = &j->message->steps[i];
        if (!step->background)
            continue;
        any = open = true;
        for (size_t k = 0; k < j->message->nsteps && open; k++) {
            const struct wh_step *other = &j->message->steps[k];
            open = !(wh_streq(other->control, "wait-all") && k > i);
            for (size_t n = 0; other->control && other->step_ids && other->step_ids[n]; n++)
                open = open && !wh_streq_ci(other->step_ids[n], step->context_name);
        }
    }
    if (!any || !open)
        return;
    struct wh_run *run = wh_special_new(&wh_background_control, "Wait for all background steps", "");
    run->own_step->control = wh_strdup("wait-all");
    free(run->own_step->name);
    run->own_step->name = wh_strdup("__implicit_wait_all");
    j->mains = wh_reallocarray(j->mains, j->nmains + 1, sizeof(struct wh_run *));
    j->mains[j->nmains++] = run;
}

/* Ids of records without dashes, with commas between them, of the background steps before main i that it
 * controls. Owned; NULL: none. */
static char *controlled(const struct wh_job *j, size_t i)
{
    const struct wh_step *control = j->mains[i]->step;
    bool all = wh_streq(control->control, "wait-all");
    wh_autostr out = {0};
    for (size_t k = 0; k < i; k++) {
        const struct wh_step *step = j->mains[k]->step;
        bool named = all;
        for (size_t n = 0; control->step_ids && control->step_ids[n]; n++)
            named = named || wh_streq_ci(control->step_ids[n], step->context_name);
        if (!step->background || !named)
            continue;
        if (out.len)
            wh_str_addc(&out, ',');
        for (const char *p = step->id; *p; p++)
            if (*p != '-')
                wh_str_addc(&out, *p);
    }
    return out.len ? wh_str_steal(&out) : NULL;
}

void wh_background_describe(struct wh_job *j, size_t i)
{
    const struct wh_step *step = j->mains[i]->step;
    struct wh_timeline *r = j->mains[i]->record;
    r->background = step->background;
    r->control = step->control;
    r->parallel_group = step->parallel_group;
    r->control_ids = step->control ? controlled(j, i) : NULL;
}
