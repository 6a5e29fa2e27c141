/* Composite actions: their steps run within the composite's own step, in a scope of their own
 * (job-execution.md §7.3). */
#include "wherry/base/clock.h"
#include "worker/job.h"

/* ---- the scope ---- */

void wh_scope_enter(struct wh_job *j, struct wh_run *composite)
{
    const struct wh_scope *scope = &wh_run_owner(composite)->scope;
    composite->outer = (struct wh_scope){j->contexts, j->github, j->steps};
    j->contexts = scope->contexts;
    j->github = scope->github;
    j->steps = scope->steps;
    j->composite = composite;
}

void wh_scope_leave(struct wh_job *j)
{
    const struct wh_scope *outer = &j->composite->outer;
    j->contexts = outer->contexts;
    j->github = outer->github;
    j->steps = outer->steps;
    j->composite = j->composite->parent;
}

/* Made anew at each stage, save `steps`, which post steps still see. No secrets. */
static void make_scope(struct wh_job *j, struct wh_run *run, const struct wh_value *inputs)
{
    static const char *const kept[] = {"strategy", "matrix", "job", "runner", "vars", "needs"};
    struct wh_run *owner = wh_run_owner(run);
    struct wh_value *contexts = wh_value_object();
    struct wh_value *github = wh_value_copy_shallow(j->github);
    wh_object_set_take(contexts, "github", github);
    for (size_t i = 0; i < WH_COUNT(kept); i++)
        wh_object_set(contexts, kept[i], wh_object_get(j->contexts, kept[i]));
    wh_object_set(contexts, "inputs", inputs);
    wh_object_set(contexts, "env", run->env);
    if (owner->scope.steps)
        wh_object_set(contexts, "steps", owner->scope.steps);
    else
        wh_object_set_take(contexts, "steps", wh_value_object());
    wh_object_set_text(github, "action_path", run->foreign->directory);
    wh_value_unref(owner->scope.contexts);
    owner->scope = (struct wh_scope){contexts, github, (struct wh_value *)wh_object_get(contexts, "steps")};
}

static void set_status(struct wh_job *j, const struct wh_run *run)
{
    const char *status = run->result == WH_TASK_FAILED     ? "failure"
                         : run->result == WH_TASK_CANCELED ? "cancelled"
                                                           : "success";
    wh_object_set_text(j->github, "action_status", status);
}

/* ---- one step of it ---- */

static void merge(struct wh_run *composite, enum wh_task_result r)
{
    if ((r == WH_TASK_FAILED || r == WH_TASK_CANCELED) && composite->result <= WH_TASK_FAILED &&
        r > composite->result)
        composite->result = r;
}

static void name(struct wh_job *j, struct wh_run *child)
{
    struct wh_template_env env = wh_context_template(j, WH_PLACE_STEP);
    env.eval.trace = NULL;
    free(child->display);
    child->display = wh_step_display_name(child->step, &env);
    wh_strv_free(env.errors);
}

/* Its output goes to the log of the job's step; its summary is its own. */
static void prepare(struct wh_job *j, struct wh_run *composite, struct wh_run *child)
{
    child->parent = composite;
    child->deadline_ms = composite->deadline_ms;
    child->minutes = composite->minutes;
    child->commands.echo = j->debug;
    if (!child->record) {
        child->record = wh_calloc(1, sizeof *child->record);
        memcpy(child->record->id, child->step->id,
               WH_MIN(strlen(child->step->id), sizeof child->record->id - 1));
        child->record->number = composite->record->number;
    }
}

/* False: the composite ends here. */
static bool run_child(struct wh_job *j, struct wh_run *composite, struct wh_run *child)
{
    wh_autoerror err = {0};
    prepare(j, composite, child);
    set_status(j, composite);
    bool env_failed = wh_run_evaluate_env(j, child) < 0;
    name(j, child);
    wh_say_debug(j, "Evaluating condition for step: '%s'", child->display);
    bool blind = j->cancel == WH_CANCEL_SHUTDOWN || j->cancel == WH_CANCEL_LOST;
    int wanted = blind ? 0 : wh_context_condition(j, wh_run_condition(child), &err);
    if (wanted <= 0) {
        child->result = wanted < 0 ? WH_TASK_FAILED : WH_TASK_SKIPPED;
        if (child->stage == WH_STAGE_MAIN)
            wh_context_result(j, child->step, child->result, child->result);
        if (wanted == 0)
            return true;
        wh_say_error(j, "%s", wh_error_text(&err));
        composite->result = WH_TASK_FAILED;
        return false;
    }
    wh_say_debug(j, "Starting: %s", child->display);
    wh_run_start(j, child);
    if (env_failed && child->result == WH_TASK_SUCCEEDED)
        child->result = WH_TASK_FAILED;
    /* What the step's inner steps left in the contexts is not its neighbours'. */
    wh_context_set_env(j, child->env);
    enum wh_task_result conclusion = wh_run_conclusion(j, child);
    wh_say_debug(j, "Finished: %s", child->display);
    if (child->stage == WH_STAGE_MAIN)
        wh_context_result(j, child->step, child->result, conclusion);
    merge(composite, conclusion);
    return true;
}

static struct wh_run *stage_of(struct wh_run *child, enum wh_stage stage)
{
    struct wh_run *run = wh_run_new(child->step);
    run->stage = stage;
    run->main = child;
    run->action = child->action;
    run->foreign = child->foreign;
    run->version = child->version;
    return run;
}

/* ---- all of it ---- */

static bool over(struct wh_job *j, const struct wh_run *composite)
{
    wh_job_see_cancel(j);
    return composite->canceled || (composite->deadline_ms > 0 && wh_mono_ms() >= composite->deadline_ms);
}

static void run_mains(struct wh_job *j, struct wh_run *run)
{
    for (size_t i = 0; i < run->nchildren && !over(j, run); i++)
        if (!run_child(j, run, run->children[i]))
            break;
}

static bool belongs(const struct wh_run *child, enum wh_stage stage)
{
    return stage == WH_STAGE_PRE ? wh_run_has_pre(child) : child->post_registered;
}

/* Pre steps in order, post steps in reverse, each for the steps that have one. */
static void run_others(struct wh_job *j, struct wh_run *run)
{
    const struct wh_run *owner = run->main;
    for (size_t k = 0; k < owner->nchildren && !over(j, run); k++) {
        struct wh_run *child = owner->children[run->stage == WH_STAGE_PRE ? k : owner->nchildren - 1 - k];
        if (!belongs(child, run->stage))
            continue;
        struct wh_run *other = stage_of(child, run->stage);
        bool goes_on = run_child(j, run, other);
        wh_run_free(other);
        if (!goes_on)
            break;
    }
}

static void set_outputs(struct wh_job *j, struct wh_run *run)
{
    const struct wh_token *outputs = run->foreign->manifest->outputs;
    if (!outputs || run->stage != WH_STAGE_MAIN)
        return;
    struct wh_template_env env = wh_context_template(j, WH_PLACE_COMPOSITE_OUTPUTS);
    wh_autoerror err = {0};
    wh_autovalue *values = wh_token_eval_strings(outputs, false, &env, &err);
    struct wh_run *inner = j->composite;
    if (!values) {
        wh_context_say_errors(j, &env, &err);
        run->result = WH_TASK_FAILED;
        return;
    }
    wh_scope_leave(j);
    for (size_t i = 0; i < wh_value_count(values); i++) {
        const char *value = wh_value_text(wh_object_value_at(values, i));
        if (wh_context_output(j, run->step, wh_object_key_at(values, i), value, &err) < 0) {
            wh_say_error(j, "%s", wh_error_text(&err));
            run->result = WH_TASK_FAILED;
            break;
        }
        wh_say_debug(j, "Set output %s = %s", wh_object_key_at(values, i), value);
    }
    wh_scope_enter(j, inner);
}

void wh_composite_execute(struct wh_job *j, struct wh_run *run)
{
    wh_autoerror err = {0};
    wh_autovalue *inputs = wh_inputs_evaluate(j, run, &err);
    if (!inputs) {
        wh_say_error(j, "%s", wh_error_text(&err));
        run->result = WH_TASK_FAILED;
        return;
    }
    wh_inputs_say_header(j, run, inputs);
    make_scope(j, run, inputs);
    run->result = WH_TASK_SUCCEEDED;
    wh_scope_enter(j, run);
    if (run->stage == WH_STAGE_MAIN)
        run_mains(j, run);
    else
        run_others(j, run);
    if (run->canceled)
        run->result = WH_TASK_CANCELED;
    else if (run->deadline_ms > 0 && wh_mono_ms() >= run->deadline_ms)
        run->timed_out = true;
    wh_context_set_env(j, run->env);
    set_outputs(j, run);
    wh_scope_leave(j);
    if (run->timed_out && !run->parent) {
        wh_say_error(j, "The action '%s' has timed out after %.0f minutes.", run->display, run->minutes);
        run->result = WH_TASK_FAILED;
    }
}
