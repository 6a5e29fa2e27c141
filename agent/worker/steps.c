/* The steps of a job: their order, conditions, results (job-execution.md §5.1 to §5.4). */
#include "wherry/base/clock.h"
#include "wherry/net/later.h"
#include "worker/job.h"

/* ---- the queue ---- */

static struct wh_run *new_run(const struct wh_step *step)
{
    struct wh_run *run = wh_calloc(1, sizeof *run);
    run->step = step;
    run->result = WH_TASK_NONE;
    return run;
}

void wh_run_free(struct wh_run *run)
{
    if (!run)
        return;
    free(run->display);
    wh_value_unref(run->state);
    wh_value_unref(run->env);
    wh_command_state_clear(&run->commands);
    for (size_t i = 0; i < WH_COUNT(run->files); i++)
        free(run->files[i]);
    free(run);
}

/* What kind of thing the step is, as the service shows it. */
static void describe_record(struct wh_run *run)
{
    const struct wh_step_reference *ref = &run->step->reference;
    struct wh_timeline *r = run->record;
    switch (ref->type) {
    case WH_REFERENCE_SCRIPT:
        r->type = "run";
        return;
    case WH_REFERENCE_CONTAINER:
        r->type = "docker";
        r->action_name = wh_strdup(ref->image);
        return;
    default:
        r->type = run->action ? "node20" : "repository"; /* what the action that we stand for would be */
        r->action_name = wh_strdup(ref->name ? ref->name : ref->path);
        r->ref = wh_strdup(ref->ref);
    }
}

static bool is_own_repository(const struct wh_job *j, const struct wh_step *step)
{
    const struct wh_token *repository = wh_token_get(step->inputs, "repository");
    if (!repository)
        return true;
    return repository->type == WH_TOKEN_STRING &&
           wh_streq_ci(repository->text, wh_value_text(wh_object_get(j->github, "repository")));
}

static void find_action(struct wh_job *j, struct wh_run *run)
{
    const struct wh_step_reference *ref = &run->step->reference;
    if (ref->type != WH_REFERENCE_REPOSITORY || !ref->name)
        return;
    if (j->local && wh_json_string(j->options, "localRepository") &&
        wh_streq_ci(ref->name, "actions/checkout") && is_own_repository(j, run->step)) {
        run->local_checkout = true;
        return;
    }
    run->action = wh_action_find(ref->name, ref->path, ref->ref, &run->version, NULL);
}

int wh_steps_prepare(struct wh_job *j, struct wh_error *err)
{
    (void)err;
    for (size_t i = 0; i < j->message->nsteps; i++) {
        const struct wh_step *step = &j->message->steps[i];
        struct wh_run *run = new_run(step);
        run->state = wh_value_object_case_sensitive();
        find_action(j, run);
        struct wh_template_env env = wh_context_template(j, WH_PLACE_STEP);
        env.eval.trace = NULL;
        run->display = wh_step_display_name(step, &env);
        wh_strv_free(env.errors);
        run->record = wh_job_record(j, step->id, run->display, j->next_number++);
        run->record->ref_name = wh_strdup(step->name);
        describe_record(run);
        j->mains = wh_reallocarray(j->mains, j->nmains + 1, sizeof(struct wh_run *));
        j->mains[j->nmains++] = run;
        j->sink->ops->state(j->sink, run->record);
    }
    return 0;
}

static void register_post(struct wh_job *j, struct wh_run *main)
{
    if (main->post_registered || !main->action || !main->action->post)
        return;
    main->post_registered = true;
    /* The first one doubles the counter, so that posts, which run in reverse, still have rising numbers. */
    if (j->post_number == 0) {
        j->post_number = 2 * (j->next_number - 1);
        j->next_number = j->post_number + 1;
    }
    struct wh_run *run = new_run(main->step);
    run->main = main;
    run->action = main->action;
    run->version = main->version;
    run->display = wh_printf("Post %s", main->display);
    run->record = wh_job_record(j, NULL, run->display, j->post_number--);
    run->record->ref_name = wh_strdup(run->record->id);
    describe_record(run);
    j->posts = wh_reallocarray(j->posts, j->nposts + 1, sizeof(struct wh_run *));
    j->posts[j->nposts++] = run;
    j->sink->ops->state(j->sink, run->record);
}

/* ---- results ---- */

void wh_job_merge_result(struct wh_job *j, enum wh_task_result r)
{
    if (j->result > WH_TASK_FAILED)
        return;
    if (r > j->result)
        j->result = r;
    wh_context_status(j);
}

static enum wh_task_result apply_continue_on_error(struct wh_job *j, const struct wh_run *run)
{
    if (run->result != WH_TASK_FAILED || run->main || !run->step->continue_on_error)
        return run->result;
    struct wh_template_env env = wh_context_template(j, WH_PLACE_STEP);
    wh_autoerror err = {0};
    bool set = false;
    bool go_on = false;
    if (wh_token_eval_bool(run->step->continue_on_error, &env, &set, &go_on, &err) < 0) {
        wh_say_error(j, "The step failed and an error occurred when attempting to determine whether to "
                        "continue on error.");
        wh_context_say_errors(j, &env, &err);
        return run->result;
    }
    return set && go_on ? WH_TASK_SUCCEEDED : run->result;
}

static void complete(struct wh_job *j, struct wh_run *run, enum wh_task_result conclusion)
{
    if (!run->main)
        wh_context_result(j, run->step, run->result, conclusion);
    if (conclusion == WH_TASK_FAILED)
        wh_job_merge_result(j, WH_TASK_FAILED);
    wh_job_complete_record(j, run->record, conclusion);
}

/* ---- cancellation and time ---- */

static const char *condition_of(const struct wh_run *run)
{
    if (!run->main)
        return run->step->condition;
    return run->action->post_if ? run->action->post_if : "always()";
}

/* Takes notice of a cancel; the running step is asked anew whether it would run. */
static void see_cancel(struct wh_job *j)
{
    if (j->cancel == WH_CANCEL_NONE || j->cancel_seen)
        return;
    j->cancel_seen = true;
    wh_job_merge_result(j, j->cancel == WH_CANCEL_SHUTDOWN ? WH_TASK_FAILED
                           : j->cancel == WH_CANCEL_LOST   ? WH_TASK_ABANDONED
                                                           : WH_TASK_CANCELED);
    if (j->cancel == WH_CANCEL_SHUTDOWN)
        wh_say_error(j, "The runner has received a shutdown signal. This can happen when the runner service "
                        "is stopped, or a "
                        "manually started runner is canceled.");
    if (!j->running || !j->child)
        return;
    bool stays = j->cancel == WH_CANCEL_USER && wh_context_condition(j, condition_of(j->running), NULL) == 1;
    if (!stays) {
        j->running->canceled = true;
        wh_child_cancel(j->child);
    }
}

struct timeout {
    uv_timer_t timer;
    struct wh_job *job;
    bool closed;
};

static void on_timeout(uv_timer_t *timer)
{
    struct wh_job *j = ((struct timeout *)timer->data)->job;
    if (!j->running || !j->child || j->running->canceled)
        return;
    j->running->timed_out = true;
    wh_child_cancel(j->child);
}

static void on_timer_closed(uv_handle_t *handle)
{
    ((struct timeout *)handle->data)->closed = true;
}

static double timeout_minutes(struct wh_job *j, const struct wh_run *run)
{
    if (run->main || !run->step->timeout_minutes)
        return 0;
    struct wh_template_env env = wh_context_template(j, WH_PLACE_STEP);
    wh_autoerror err = {0};
    bool set = false;
    double minutes = 0;
    if (wh_token_eval_number(run->step->timeout_minutes, &env, &set, &minutes, &err) < 0) {
        wh_say_error(j, "An error occurred when attempting to determine the step timeout.");
        wh_context_say_errors(j, &env, &err);
        return 0;
    }
    if (!set || !(minutes >= 1))
        return 0;
    return (double)(int64_t)WH_MIN(minutes, 1e6);
}

/* Lets the loop turn until the step's process is through. */
static void wait_for_child(struct wh_job *j, double minutes)
{
    struct timeout t = {.job = j};
    uv_timer_init(&j->loop, &t.timer);
    t.timer.data = &t;
    if (minutes > 0)
        wh_timer_start(&t.timer, on_timeout, (uint64_t)(minutes * 60000), 0);
    while (!wh_child_finished(j->child)) {
        wh_job_turn(j);
        see_cancel(j);
    }
    uv_close((uv_handle_t *)&t.timer, on_timer_closed);
    while (!t.closed)
        uv_run(&j->loop, UV_RUN_NOWAIT);
}

/* ---- one step ---- */

static void judge(struct wh_job *j, struct wh_run *run, double minutes)
{
    int code = wh_child_exit(j->child)->code;
    if (run->timed_out) {
        wh_say_error(j, "The action '%s' has timed out after %.0f minutes.", run->display, minutes);
        run->result = WH_TASK_FAILED;
    } else if (run->canceled) {
        wh_say_error(j, "The operation was canceled.");
        run->result = WH_TASK_CANCELED;
    } else if (code != 0) {
        /* Actions say themselves what went wrong. */
        if (run->step->reference.type == WH_REFERENCE_SCRIPT)
            wh_say_error(j, "Process completed with exit code %d.", code);
        run->result = WH_TASK_FAILED;
    } else {
        run->result = WH_TASK_SUCCEEDED;
    }
}

static struct wh_child *start(struct wh_job *j, struct wh_run *run, struct wh_error *err)
{
    const struct wh_step_reference *ref = &run->step->reference;
    if (ref->type == WH_REFERENCE_SCRIPT)
        return wh_script_start(j, run, err);
    if (run->action || run->local_checkout)
        return wh_action_start(j, run, err);
    if (ref->type == WH_REFERENCE_REPOSITORY && ref->name) { /* once more, for the sentence */
        struct wh_action_version version;
        (void)wh_action_find(ref->name, ref->path, ref->ref, &version, err);
        return NULL;
    }
    wh_autofree char *text = wh_step_reference_text(ref);
    wh_fail(err, WH_E_UNSUPPORTED, "Action '%s' is not supported yet by wherry: %s.", text,
            ref->type == WH_REFERENCE_CONTAINER ? "it runs no Docker actions" : "it runs no local actions");
    return NULL;
}

static void execute(struct wh_job *j, struct wh_run *run, double minutes)
{
    wh_autoerror err = {0};
    if (wh_dirs_write_event(j, &err) < 0 || wh_files_make(j, run, &err) < 0) {
        wh_say_error(j, "%s", wh_error_text(&err));
        run->result = WH_TASK_FAILED;
        return;
    }
    j->running = run;
    wh_room_step(j);
    j->child = start(j, run, &err);
    if (j->child) {
        wait_for_child(j, minutes);
        wh_room_step_end(j);
        judge(j, run, minutes);
        wh_child_free(wh_steal(&j->child));
    } else {
        wh_say_error(j, "%s", wh_error_text(&err));
        run->result = WH_TASK_FAILED;
    }
    j->running = NULL;
    wh_files_process(j, run);
    if (run->command_failed && run->result == WH_TASK_SUCCEEDED)
        run->result = WH_TASK_FAILED;
}

/* env of the step, evaluated with the job's own env in sight. */
static int evaluate_env(struct wh_job *j, struct wh_run *run)
{
    wh_context_set_env(j, j->env);
    wh_autovalue *own = NULL;
    if (run->step->environment) {
        struct wh_template_env env = wh_context_template(j, WH_PLACE_STEP);
        wh_autoerror err = {0};
        own = wh_token_eval_strings(run->step->environment, true, &env, &err);
        if (!own) {
            wh_context_say_errors(j, &env, &err);
            return -1;
        }
    }
    wh_value_unref(run->env);
    run->env = wh_context_env(j, own);
    wh_context_set_env(j, run->env);
    return 0;
}

static void name_again(struct wh_job *j, struct wh_run *run)
{
    if (run->main)
        return;
    struct wh_template_env env = wh_context_template(j, WH_PLACE_STEP);
    env.eval.trace = NULL;
    char *display = wh_step_display_name(run->step, &env);
    wh_strv_free(env.errors);
    free(run->display);
    run->display = display;
    wh_autofree char *masked = wh_mask_text(j->masker, display);
    if (!wh_streq(masked, run->record->name)) {
        wh_timeline_set_name(run->record, masked);
        j->sink->ops->state(j->sink, run->record);
    }
}

static void run_step(struct wh_job *j, struct wh_run *run)
{
    see_cancel(j);
    wh_job_start_record(j, run->record);
    run->commands.echo = j->debug;
    wh_object_set_text(j->github, "action", run->step->name);
    if (evaluate_env(j, run) < 0) {
        run->result = WH_TASK_FAILED;
        complete(j, run, WH_TASK_FAILED);
        return;
    }
    name_again(j, run);
    wh_autoerror err = {0};
    wh_say_debug(j, "Evaluating condition for step: '%s'", run->display);
    bool blind = j->cancel == WH_CANCEL_SHUTDOWN || j->cancel == WH_CANCEL_LOST;
    int wanted = blind ? 0 : wh_context_condition(j, condition_of(run), &err);
    if (wanted <= 0) {
        if (wanted < 0)
            wh_say_error(j, "%s", wh_error_text(&err));
        run->result = wanted < 0 ? WH_TASK_FAILED : WH_TASK_SKIPPED;
        complete(j, run, run->result);
        return;
    }
    wh_say_debug(j, "Starting: %s", run->display);
    double minutes = timeout_minutes(j, run);
    if (!run->main)
        register_post(j, run);
    execute(j, run, minutes);
    enum wh_task_result conclusion = apply_continue_on_error(j, run);
    wh_say_debug(j, "Finishing: %s", run->display);
    complete(j, run, conclusion);
}

void wh_steps_run(struct wh_job *j)
{
    for (size_t i = 0; i < j->nmains; i++)
        run_step(j, j->mains[i]);
    for (size_t i = j->nposts; i-- > 0;)
        run_step(j, j->posts[i]);
}
