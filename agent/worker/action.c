/* Native actions: their inputs and the child that runs a stage (job-execution.md §5.2, §7.2). */
#include "worker/job.h"
#include "worker/local_checkout.h"

static bool input_exists(const struct wh_action_input *in, const struct wh_action_version *v)
{
    return (in->min_major == 0 || v->major >= in->min_major) &&
           (in->max_major == 0 || v->major <= in->max_major);
}

static const struct wh_action_input *declared(const struct wh_run *run, const char *name)
{
    for (size_t i = 0; i < run->action->ninputs; i++) {
        const struct wh_action_input *in = &run->action->inputs[i];
        if (input_exists(in, &run->version) && wh_streq_ci(in->name, name))
            return in;
    }
    return NULL;
}

/* Warnings about what the author gave; unknown inputs are passed on all the same. */
static void check_inputs(struct wh_job *j, const struct wh_run *run, const struct wh_value *given)
{
    wh_autostr unknown = {0};
    for (size_t i = 0; i < wh_value_count(given); i++) {
        const char *name = wh_object_key_at(given, i);
        const struct wh_action_input *in = declared(run, name);
        if (!in)
            wh_str_addf(&unknown, "%s'%s'", unknown.len ? ", " : "", name);
        else if (in->deprecation)
            wh_say_warning(j, "Input '%s' has been deprecated with message: %s", name, in->deprecation);
    }
    if (unknown.len == 0)
        return;
    wh_autostr valid = {0};
    for (size_t i = 0; i < run->action->ninputs; i++)
        if (input_exists(&run->action->inputs[i], &run->version))
            wh_str_addf(&valid, "%s'%s'", valid.len ? ", " : "", run->action->inputs[i].name);
    wh_say_warning(j, "Unexpected input(s) %s, valid inputs are [%s]", unknown.data, wh_str_text(&valid));
}

static int add_default(struct wh_job *j, const struct wh_action_input *in, struct wh_value *inputs,
                       struct wh_error *err)
{
    const char *text = in->default_value ? in->default_value : "";
    struct wh_template_env env = wh_context_template(j, WH_PLACE_ACTION_INPUT);
    wh_autotoken *token = wh_template_from_text(text, strlen(text), false, env.allows, err);
    if (!token)
        return wh_wrap(err, "default of input '%s'", in->name);
    wh_autofree char *value = NULL;
    int n = wh_token_eval_string(token, &env, &value, err);
    wh_strv_free(env.errors);
    if (n < 0)
        return wh_wrap(err, "default of input '%s'", in->name);
    wh_object_set_text(inputs, in->name, value ? value : "");
    return 0;
}

/* The author's, evaluated now, then defaults in the manifest's order. */
static struct wh_value *evaluate_inputs(struct wh_job *j, struct wh_run *run, struct wh_error *err)
{
    wh_autovalue *inputs = NULL;
    if (run->step->inputs) {
        struct wh_template_env env = wh_context_template(j, WH_PLACE_STEP);
        inputs = wh_token_eval_strings(run->step->inputs, false, &env, err);
        if (!inputs) {
            wh_context_say_errors(j, &env, NULL);
            return NULL;
        }
    } else {
        inputs = wh_value_object();
    }
    if (!run->main && run->action)
        check_inputs(j, run, inputs);
    for (size_t i = 0; run->action && i < run->action->ninputs; i++) {
        const struct wh_action_input *in = &run->action->inputs[i];
        if (input_exists(in, &run->version) && !wh_object_has(inputs, in->name) &&
            add_default(j, in, inputs, err) < 0)
            return NULL;
    }
    return wh_steal(&inputs);
}

void wh_action_frame(void *job, struct wh_frame *frame)
{
    struct wh_job *j = job;
    if (!wh_streq(wh_json_string(frame->json, "type"), "build") || frame->nfds != 1)
        return;
    wh_autojson *request = cJSON_CreateObject();
    wh_json_add_string(request, "type", "build");
    wh_job_send(j, request, frame->fds, 1);
}

static void say_header(struct wh_job *j, const struct wh_run *run, const struct wh_value *inputs)
{
    if (run->main) {
        wh_say(j, "Post job cleanup.");
        return;
    }
    wh_autofree char *reference = wh_step_reference_text(&run->step->reference);
    wh_logtext_action_header(reference, inputs, run->env, wh_say_line, j);
    if (run->action && !run->version.known)
        wh_say_debug(j, "%s: the commit is not a release that is known here; taken as the newest one",
                     reference);
}

struct wh_child *wh_action_start(struct wh_job *j, struct wh_run *run, struct wh_error *err)
{
    const struct wh_step_reference *ref = &run->step->reference;
    wh_object_set_text(j->github, "action_repository", ref->name);
    wh_object_set_text(j->github, "action_ref", ref->ref);
    wh_autovalue *inputs = evaluate_inputs(j, run, err);
    wh_autostrv char **environment = inputs ? wh_environ_of(j, run, inputs) : NULL;
    struct wh_child *child = NULL;
    if (inputs) {
        say_header(j, run, inputs);
        char *name[] = {run->main ? "wherry: post" : "wherry: main", NULL};
        struct wh_process_options options = WH_PROCESS_OPTIONS;
        options.argv = name;
        options.env = environment;
        options.cwd = j->dirs.workspace;
        struct wh_action_stage stage = {.action = run->action,
                                        .version = run->version,
                                        .ref = ref->ref,
                                        .post = run->main != NULL,
                                        .control = 3};
        const char *source = wh_json_string(j->options, "localRepository");
        struct wh_local_checkout local = {.source = source, .workspace = j->dirs.workspace};
        child = run->local_checkout ? wh_run_child(j, &options, wh_local_checkout_main, &local, err)
                                    : wh_run_child(j, &options, wh_action_stage_main, &stage, err);
    }
    /* They belong to this step alone. */
    wh_object_set_text(j->github, "action_repository", "");
    wh_object_set_text(j->github, "action_ref", "");
    return child;
}
