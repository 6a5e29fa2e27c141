/* The steps of a job: their order, conditions, results (job-execution.md §5.1 to §5.4). */
#include "wherry/base/clock.h"
#include "wherry/net/later.h"
#include "worker/job.h"

/* ---- runs ---- */

struct wh_run *wh_run_new(const struct wh_step *step)
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
    for (size_t i = 0; i < run->nchildren; i++)
        wh_run_free(run->children[i]);
    free(run->children);
    if (run->parent && run->record) {
        wh_timeline_clear(run->record);
        free(run->record);
    }
    wh_background_free(run->background);
    free(run->display);
    free(run->text);
    if (run->own_step)
        wh_step_clear(run->own_step);
    free(run->own_step);
    wh_value_unref(run->scope.contexts);
    wh_value_unref(run->state);
    wh_value_unref(run->overlay);
    wh_value_unref(run->env);
    wh_command_state_clear(&run->commands);
    for (size_t i = 0; i < WH_COUNT(run->files); i++)
        free(run->files[i]);
    free(run);
}

static const char *type_of(const struct wh_run *run)
{
    if (run->action)
        return "node20"; /* what the action that we stand for would be */
    if (!run->foreign)
        return "repository";
    switch (run->foreign->manifest->kind) {
    case WH_MANIFEST_COMPOSITE:
        return "composite";
    case WH_MANIFEST_DOCKER:
        return "docker";
    default:
        return run->foreign->manifest->node > 20 ? "node24" : "node20";
    }
}

/* What kind of thing the step is, as the service shows it. */
static void describe_record(struct wh_run *run)
{
    const struct wh_step_reference *ref = &run->step->reference;
    struct wh_timeline *r = run->record;
    if (run->special) {
        r->type = "runner";
        return;
    }
    switch (ref->type) {
    case WH_REFERENCE_SCRIPT:
        r->type = "run";
        return;
    case WH_REFERENCE_CONTAINER:
        r->type = "docker";
        r->action_name = wh_strdup(ref->image);
        return;
    default:
        r->type = type_of(run);
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

/* Whose native stand-in the machine's owner or the author turned off: "all", or a list of repositories. */
static bool is_off(const struct wh_job *j, const char *name)
{
    const char *list = wh_json_string(j->options, "nativeOff");
    if (!list)
        list = getenv("WHERRY_NATIVE_OFF");
    if (!list || list[0] == '\0')
        return false;
    wh_autostrv char **names = wh_strv_split(list, ',');
    for (size_t i = 0; names[i]; i++) {
        wh_autofree char *one = wh_view_dup(wh_view_trim(wh_view_of(names[i])));
        if (wh_streq_ci(one, "all") || wh_streq_ci(one, name))
            return true;
    }
    return false;
}

/* The input that only the published action knows and that is given; NULL: none. What is evaluated later
 * counts as given. */
static const char *published_input(const struct wh_run *run)
{
    for (size_t i = 0; i < run->action->ninputs; i++) {
        const struct wh_action_input *input = &run->action->inputs[i];
        const struct wh_token *value = input->published ? wh_token_get(run->step->inputs, input->name) : NULL;
        if (!value || value->type == WH_TOKEN_NULL || (value->type == WH_TOKEN_BOOL && !value->boolean))
            continue;
        if (value->type != WH_TOKEN_STRING || (value->text[0] && !wh_streq_ci(value->text, "false")))
            return input->name;
    }
    return NULL;
}

void wh_run_find_native(struct wh_job *j, struct wh_run *run)
{
    const struct wh_step_reference *ref = &run->step->reference;
    if (ref->type != WH_REFERENCE_REPOSITORY || !ref->name || is_off(j, ref->name))
        return;
    if (j->local && wh_json_string(j->options, "localRepository") &&
        wh_streq_ci(ref->name, "actions/checkout") && is_own_repository(j, run->step)) {
        run->local_checkout = true;
        return;
    }
    run->action = wh_action_find(ref->name, ref->path, ref->ref, &run->version, NULL);
    if (run->action && run->action->host_only && j->message->job_container)
        run->action = NULL; /* as GitHub publishes it, in the container */
    const char *input = run->action ? published_input(run) : NULL;
    if (input) {
        wh_autofree char *text = wh_step_reference_text(ref);
        wh_say(j, "Action '%s' is built in without its input '%s': the published one runs", text, input);
        run->action = NULL;
    }
}

void wh_steps_find(struct wh_job *j)
{
    for (size_t i = 0; i < j->message->nsteps; i++) {
        struct wh_run *run = wh_run_new(&j->message->steps[i]);
        run->state = wh_value_object_case_sensitive();
        run->special = run->step->control ? &wh_background_control : NULL;
        if (!run->special)
            wh_run_find_native(j, run);
        j->mains = wh_reallocarray(j->mains, j->nmains + 1, sizeof(struct wh_run *));
        j->mains[j->nmains++] = run;
    }
    wh_background_add_wait(j);
}

/* Of a step that controls others: the literal, else its name. */
static char *control_name(const struct wh_step *step)
{
    const struct wh_token *t = step->display_name_token;
    return wh_strdup(t && t->type == WH_TOKEN_STRING ? t->text
                     : step->display_name            ? step->display_name
                                                     : step->name);
}

static struct wh_run *other_stage(struct wh_run *main, enum wh_stage stage)
{
    struct wh_run *run = wh_run_new(main->step);
    run->stage = stage;
    run->main = main;
    run->action = main->action;
    run->foreign = main->foreign;
    run->version = main->version;
    run->display = wh_printf("%s %s", stage == WH_STAGE_PRE ? "Pre" : "Post", main->display);
    return run;
}

static void make_record(struct wh_job *j, struct wh_run *run, const char *id, int number)
{
    run->record = wh_job_record(j, id, run->display, number);
    run->record->ref_name = wh_strdup(id ? run->step->name : run->record->id);
    describe_record(run);
}

static void show(struct wh_job *j, struct wh_run *run, const char *id, int number)
{
    make_record(j, run, id, number);
    j->sink->ops->state(j->sink, run->record);
}

static void show_main(struct wh_job *j, size_t i)
{
    make_record(j, j->mains[i], j->mains[i]->step->id, j->next_number++);
    wh_background_describe(j, i);
    j->sink->ops->state(j->sink, j->mains[i]->record);
}

void wh_special_add_pre(struct wh_job *j, struct wh_run *run)
{
    j->pres = wh_reallocarray(j->pres, j->npres + 1, sizeof(struct wh_run *));
    j->pres[j->npres++] = run;
    show(j, run, NULL, j->next_number++);
}

static void add_post(struct wh_job *j, struct wh_run *run)
{
    /* The first one doubles the counter, so that posts, which run in reverse, still have rising numbers. */
    if (j->post_number == 0) {
        j->post_number = 2 * (j->next_number - 1);
        j->next_number = j->post_number + 1;
    }
    j->posts = wh_reallocarray(j->posts, j->nposts + 1, sizeof(struct wh_run *));
    j->posts[j->nposts++] = run;
    show(j, run, NULL, j->post_number--);
}

void wh_special_add_post(struct wh_job *j, struct wh_run *run)
{
    add_post(j, run);
}

void wh_steps_queue(struct wh_job *j)
{
    for (size_t i = 0; i < j->nmains; i++) {
        struct wh_template_env env = wh_context_template(j, WH_PLACE_STEP);
        env.eval.trace = NULL;
        if (!j->mains[i]->special)
            j->mains[i]->display = wh_step_display_name(j->mains[i]->step, &env);
        else if (!j->mains[i]->display)
            j->mains[i]->display = control_name(j->mains[i]->step);
        wh_strv_free(env.errors);
    }
    wh_hooks_add_started(j);
    wh_docker_add_pres(j);
    wh_containers_add_pre(j);
    for (size_t i = 0; i < j->nmains; i++)
        if (wh_run_has_pre(j->mains[i]))
            wh_special_add_pre(j, other_stage(j->mains[i], WH_STAGE_PRE));
    for (size_t i = 0; i < j->nmains; i++)
        show_main(j, i);
    wh_hooks_add_completed(j);
}

/* ---- pre and post ---- */

bool wh_run_has_pre(const struct wh_run *run)
{
    /* That of a local action never runs: the action is not there yet when it would. */
    if (!run->foreign || !run->step->reference.name)
        return false;
    for (size_t i = 0; i < run->nchildren; i++)
        if (wh_run_has_pre(run->children[i]))
            return true;
    return run->foreign->manifest->pre != NULL;
}

bool wh_run_has_post(const struct wh_run *run)
{
    if (run->action)
        return run->action->post != NULL;
    for (size_t i = 0; i < run->nchildren; i++)
        if (wh_run_has_post(run->children[i]))
            return true;
    return run->foreign && run->foreign->manifest->post != NULL;
}

void wh_run_register_post(struct wh_job *j, struct wh_run *main)
{
    if (main->post_registered || !wh_run_has_post(main))
        return;
    main->post_registered = true;
    const struct wh_step_reference *ref = &main->step->reference;
    bool path = ref->path && ref->path[0];
    bool version = ref->ref && ref->ref[0];
    wh_say_debug(j, "Register post job cleanup for action: %s%s%s%s%s", ref->name ? ref->name : "",
                 path ? "/" : "", path ? ref->path : "", version ? "@" : "", version ? ref->ref : "");
    if (main->parent) /* its composite's post step runs it */
        return;
    add_post(j, other_stage(main, WH_STAGE_POST));
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

enum wh_task_result wh_run_conclusion(struct wh_job *j, const struct wh_run *run)
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
    if (!run->main && !run->step->background) /* of those that are skipped nothing is seen, as at GitHub */
        wh_context_result(j, run->step, run->result, conclusion);
    if (conclusion == WH_TASK_FAILED)
        wh_job_merge_result(j, WH_TASK_FAILED);
    wh_job_complete_record(j, run->record, conclusion);
}

/* ---- cancellation and time ---- */

const char *wh_run_condition(const struct wh_run *run)
{
    if (run->special)
        return run->special->condition;
    if (run->stage == WH_STAGE_MAIN)
        return run->step->condition;
    if (run->stage == WH_STAGE_PRE)
        return run->foreign->manifest->pre_if;
    const char *own = run->action ? run->action->post_if : run->foreign->manifest->post_if;
    return own ? own : "always()";
}

static bool wanted_still(struct wh_job *j, const struct wh_run *run)
{
    return j->cancel == WH_CANCEL_USER && wh_context_condition(j, wh_run_condition(run), NULL) == 1;
}

/* A step goes on after a cancel if it would still be started, and all composites around it would, each asked
 * with the contexts of its own place. */
static void ask_again(struct wh_job *j)
{
    struct wh_run *left[WH_MAX_COMPOSITE_DEPTH + 2];
    size_t n = 0;
    struct wh_run *refuser = wanted_still(j, j->running) ? NULL : j->running;
    while (j->composite && n < WH_COUNT(left)) {
        struct wh_run *around = j->composite;
        left[n++] = around;
        wh_scope_leave(j);
        if (!wanted_still(j, around))
            refuser = around;
    }
    while (n > 0)
        wh_scope_enter(j, left[--n]);
    for (struct wh_run *run = j->running; refuser; run = run->parent) {
        run->canceled = true;
        if (run == refuser)
            break;
    }
}

static const char shutdown_text[] =
    "The runner has received a shutdown signal. This can happen when the runner "
    "service is stopped, or a manually started runner is canceled.";

/* Takes notice of a cancel; the running step is asked anew whether it would run. */
void wh_job_see_cancel(struct wh_job *j)
{
    if (j->cancel == WH_CANCEL_NONE || j->cancel_seen)
        return;
    j->cancel_seen = true;
    wh_job_merge_result(j, j->cancel == WH_CANCEL_SHUTDOWN ? WH_TASK_FAILED
                           : j->cancel == WH_CANCEL_LOST   ? WH_TASK_ABANDONED
                                                           : WH_TASK_CANCELED);
    if (j->cancel == WH_CANCEL_SHUTDOWN) {
        wh_say_error(j, "%s", shutdown_text);
        wh_job_annotate(j, WH_ANNOTATION_FAILURE, shutdown_text);
    }
    wh_background_cancel(j);
    if (!j->running)
        return;
    wh_say_debug(j, "Re-evaluate condition on job cancellation for step: '%s'.", j->running->display);
    if (j->cancel == WH_CANCEL_SHUTDOWN)
        wh_say_debug(j, "Skip Re-evaluate condition on runner shutdown.");
    ask_again(j);
    if (j->running->canceled && j->child)
        wh_child_cancel(j->child);
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
static void wait_for_child(struct wh_job *j, const struct wh_run *run)
{
    struct timeout t = {.job = j};
    uv_timer_init(&j->loop, &t.timer);
    t.timer.data = &t;
    uint64_t now = wh_mono_ms();
    if (run->deadline_ms > 0)
        wh_timer_start(&t.timer, on_timeout, run->deadline_ms > now ? run->deadline_ms - now : 1, 0);
    while (!wh_child_finished(j->child)) {
        wh_job_turn(j);
        wh_job_see_cancel(j);
    }
    uv_close((uv_handle_t *)&t.timer, on_timer_closed);
    while (!t.closed)
        uv_run(&j->loop, UV_RUN_NOWAIT);
}

/* ---- one step ---- */

void wh_run_judge(struct wh_job *j, struct wh_run *run)
{
    int code = wh_child_exit(j->child)->code;
    bool docker = wh_is_docker(run);
    if (run->step->reference.type != WH_REFERENCE_SCRIPT && !run->canceled && !run->timed_out)
        wh_say_debug(j, "%s Action run completed with exit code %d", docker ? "Docker" : "Node", code);
    if (run->timed_out) {
        if (run->parent)
            wh_say_error(j, "The action has timed out.");
        else if (run->background)
            wh_say_error(j, "The background step '%s' has timed out after %.0f minutes.", run->display,
                         run->minutes);
        else
            wh_say_error(j, "The action '%s' has timed out after %.0f minutes.", run->display, run->minutes);
        run->result = WH_TASK_FAILED;
    } else if (run->canceled) {
        if (!run->background)
            wh_say_error(j, "The operation was canceled.");
        run->result = WH_TASK_CANCELED;
    } else if (code != 0) {
        /* Actions say themselves what went wrong. */
        if (run->step->reference.type == WH_REFERENCE_SCRIPT)
            wh_say_error(j, "Process completed with exit code %d.", code);
        wh_oom_note(j);
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
    if (run->foreign && run->foreign->manifest->kind == WH_MANIFEST_NODE)
        return wh_node_start(j, run, err);
    return wh_docker_start(j, run, err);
}

void wh_run_wait(struct wh_job *j, struct wh_run *run)
{
    wait_for_child(j, run);
    wh_room_step_end(j);
    wh_run_judge(j, run);
    wh_child_free(wh_steal(&j->child));
}

static void run_child(struct wh_job *j, struct wh_run *run)
{
    wh_autoerror err = {0};
    wh_room_step(j);
    j->child = start(j, run, &err);
    if (!j->child) {
        wh_say_error(j, "%s", wh_error_text(&err));
        run->result = WH_TASK_FAILED;
        return;
    }
    wh_run_wait(j, run);
    wh_hooks_step_end(j, run);
}

/* The step's own contexts: which action it is, and where its file commands go. */
static void set_action(struct wh_job *j, const struct wh_step_reference *ref)
{
    bool repository = ref && ref->type == WH_REFERENCE_REPOSITORY && ref->name;
    wh_object_set_text(j->github, "action_repository", repository ? ref->name : "");
    wh_object_set_text(j->github, "action_ref", repository && ref->ref ? ref->ref : "");
}

void wh_run_execute(struct wh_job *j, struct wh_run *run)
{
    wh_autoerror err = {0};
    struct wh_run *outer = j->running;
    if (wh_dirs_write_event(j, &err) < 0 || wh_files_make(j, run, &err) < 0) {
        wh_say_error(j, "%s", wh_error_text(&err));
        run->result = WH_TASK_FAILED;
        return;
    }
    j->running = run;
    set_action(j, &run->step->reference);
    if (run->special)
        run->special->execute(j, run);
    else if (run->foreign && run->foreign->manifest->kind == WH_MANIFEST_COMPOSITE)
        wh_composite_execute(j, run);
    else
        run_child(j, run);
    set_action(j, NULL); /* they belong to this step alone */
    j->running = outer;
    wh_files_process(j, run);
    if (run->command_failed && run->result == WH_TASK_SUCCEEDED)
        run->result = WH_TASK_FAILED;
}

/* env of the step, evaluated with the env around it in sight. */
int wh_run_evaluate_env(struct wh_job *j, struct wh_run *run)
{
    wh_autovalue *around = wh_context_env(j, run->parent ? run->parent->overlay : NULL);
    wh_context_set_env(j, around);
    wh_autovalue *own = NULL;
    int code = 0;
    if (run->step->environment) {
        struct wh_template_env env = wh_context_template(j, WH_PLACE_STEP);
        wh_autoerror err = {0};
        own = wh_token_eval_strings(run->step->environment, true, &env, &err);
        if (!own) {
            wh_context_say_errors(j, &env, &err);
            code = -1;
        }
    }
    wh_value_unref(run->overlay);
    run->overlay = run->parent && run->parent->overlay ? wh_value_copy_shallow(run->parent->overlay)
                                                       : wh_value_object_case_sensitive();
    for (size_t i = 0; i < wh_value_count(own); i++)
        wh_object_set(run->overlay, wh_object_key_at(own, i), wh_object_value_at(own, i));
    wh_value_unref(run->env);
    run->env = wh_context_env(j, run->overlay);
    wh_context_set_env(j, run->env);
    return code;
}

static void name_again(struct wh_job *j, struct wh_run *run)
{
    if (run->main || run->special)
        return;
    struct wh_template_env env = wh_context_template(j, WH_PLACE_STEP);
    env.eval.trace = NULL;
    char *display = wh_step_display_name(run->step, &env);
    wh_strv_free(env.errors);
    if (!wh_streq(display, run->display))
        wh_say_debug(j, "Set step '%s' display name to: '%s'", run->step->name ? run->step->name : "",
                     display);
    free(run->display);
    run->display = display;
    wh_autofree char *masked = wh_mask_text(j->masker, display);
    if (!wh_streq(masked, run->record->name)) {
        wh_timeline_set_name(run->record, masked);
        j->sink->ops->state(j->sink, run->record);
    }
}

static bool is_local(const struct wh_run *run)
{
    return run->step->reference.type == WH_REFERENCE_REPOSITORY && !run->step->reference.name;
}

void wh_run_start(struct wh_job *j, struct wh_run *run)
{
    wh_autoerror err = {0};
    /* A local action is there only now; one that is used twice is loaded twice, for it may have changed. */
    if (run->stage == WH_STAGE_MAIN && is_local(run) && wh_actions_prepare_local(j, run, &err) < 0) {
        wh_say_error(j, "%s", wh_error_text(&err));
        run->result = WH_TASK_FAILED;
        return;
    }
    if (run->stage != WH_STAGE_POST)
        wh_run_register_post(j, wh_run_owner(run));
    wh_run_execute(j, run);
}

struct wh_child *wh_run_begin(struct wh_job *j, struct wh_run *run)
{
    wh_autoerror err = {0};
    struct wh_child *child = NULL;
    run->result = WH_TASK_FAILED;
    if (is_local(run) && wh_actions_prepare_local(j, run, &err) < 0) {
        wh_say_error(j, "%s", wh_error_text(&err));
        return NULL;
    }
    if (run->foreign && run->foreign->manifest->kind == WH_MANIFEST_COMPOSITE) {
        wh_say_error(
            j, "A composite action can not run as a background step on this runner yet: let it run as an "
               "ordinary step, or put what it starts into a `run` step.");
        return NULL;
    }
    wh_run_register_post(j, run);
    if (wh_dirs_write_event(j, &err) == 0 && wh_files_make(j, run, &err) == 0) {
        set_action(j, &run->step->reference);
        child = start(j, run, &err);
        set_action(j, NULL);
    }
    if (!child)
        wh_say_error(j, "%s", wh_error_text(&err));
    return child;
}

static void run_step(struct wh_job *j, struct wh_run *run)
{
    wh_job_see_cancel(j);
    if (run->step->background)
        j->current = run->record; /* it starts when there is a place for it */
    else
        wh_job_start_record(j, run->record);
    run->commands.echo = j->debug;
    wh_object_set_text(j->github, "action", run->step->name);
    if (wh_run_evaluate_env(j, run) < 0) {
        run->result = WH_TASK_FAILED;
        complete(j, run, WH_TASK_FAILED);
        return;
    }
    wh_autoerror err = {0};
    wh_say_debug(j, "Evaluating condition for step: '%s'", run->display);
    bool blind = j->cancel == WH_CANCEL_SHUTDOWN || j->cancel == WH_CANCEL_LOST;
    if (blind)
        wh_say_debug(j, "Skip evaluate condition on runner shutdown.");
    else
        name_again(j, run);
    int wanted = blind ? 0 : wh_context_condition(j, wh_run_condition(run), &err);
    if (wanted <= 0) {
        if (wanted < 0)
            wh_say_error(j, "The template is not valid. %s", wh_error_text(&err));
        run->result = wanted < 0 ? WH_TASK_FAILED : WH_TASK_SKIPPED;
        complete(j, run, run->result);
        return;
    }
    if (run->step->background) {
        j->current = NULL; /* GitHub's runner says nothing of a time-out that can't be evaluated here */
        run->minutes = timeout_minutes(j, run);
        wh_background_start(j, run);
        return;
    }
    wh_say_debug(j, "Starting: %s", run->display);
    run->minutes = timeout_minutes(j, run);
    if (run->minutes > 0)
        run->deadline_ms = wh_mono_ms() + (uint64_t)(run->minutes * 60000);
    wh_run_start(j, run);
    enum wh_task_result conclusion = wh_run_conclusion(j, run);
    wh_say_debug(j, "Finishing: %s", run->display);
    complete(j, run, conclusion);
}

void wh_steps_run(struct wh_job *j)
{
    for (size_t i = 0; i < j->npres; i++)
        run_step(j, j->pres[i]);
    for (size_t i = 0; i < j->nmains; i++)
        run_step(j, j->mains[i]);
    wh_background_end(j);
    for (size_t i = j->nposts; i-- > 0;)
        run_step(j, j->posts[i]);
}
