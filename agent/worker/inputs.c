/* The inputs of actions, native or not (job-execution.md §5.2, §7.1). */
#include "worker/job.h"

/* ---- what an action declares, from either kind of table ---- */

struct declared {
    const char *name, *deprecation;
    const char *text;             /* native: a template; NULL: "" */
    const struct wh_token *token; /* foreign */
};

static bool exists(const struct wh_action_input *in, const struct wh_action_version *v)
{
    return (in->min_major == 0 || v->major >= in->min_major) &&
           (in->max_major == 0 || v->major <= in->max_major);
}

static size_t count_of(const struct wh_run *run)
{
    if (run->action)
        return run->action->ninputs;
    return run->foreign ? run->foreign->manifest->ninputs : 0;
}

static bool declared_at(const struct wh_run *run, size_t i, struct declared *out)
{
    if (run->action) {
        const struct wh_action_input *in = &run->action->inputs[i];
        *out = (struct declared){.name = in->name, .deprecation = in->deprecation, .text = in->default_value};
        return exists(in, &run->version);
    }
    const struct wh_action_manifest_input *in = &run->foreign->manifest->inputs[i];
    *out = (struct declared){.name = in->name, .deprecation = in->deprecation, .token = in->value};
    return true;
}

static bool find(const struct wh_run *run, const char *name, struct declared *out)
{
    for (size_t i = 0; i < count_of(run); i++)
        if (declared_at(run, i, out) && wh_streq_ci(out->name, name))
            return true;
    return false;
}

/* ---- warnings ---- */

static void add_name(struct wh_str *list, const char *name)
{
    wh_str_addf(list, "%s'%s'", list->len ? ", " : "", name);
}

static bool is_docker(const struct wh_run *run)
{
    return run->step->reference.type == WH_REFERENCE_CONTAINER ||
           (run->foreign && run->foreign->manifest->kind == WH_MANIFEST_DOCKER);
}

static bool is_docker_input(const struct wh_run *run, const char *name)
{
    return is_docker(run) && (wh_streq_ci(name, "entryPoint") || wh_streq_ci(name, "args"));
}

/* About what the author gave; unknown inputs are passed on all the same. */
static void check(struct wh_job *j, const struct wh_run *run, const struct wh_value *given)
{
    wh_autostr unknown = {0};
    for (size_t i = 0; i < wh_value_count(given); i++) {
        const char *name = wh_object_key_at(given, i);
        struct declared in;
        if (!find(run, name, &in)) {
            if (!is_docker_input(run, name))
                add_name(&unknown, name);
        } else if (in.deprecation) {
            wh_say_warning(j, "Input '%s' has been deprecated with message: %s", name, in.deprecation);
        }
    }
    /* A bare image declares nothing. */
    if (unknown.len == 0 || run->step->reference.type == WH_REFERENCE_CONTAINER)
        return;
    wh_autostr valid = {0};
    if (is_docker(run)) {
        add_name(&valid, "entryPoint");
        add_name(&valid, "args");
    }
    for (size_t i = 0; i < count_of(run); i++) {
        struct declared in;
        if (declared_at(run, i, &in))
            add_name(&valid, in.name);
    }
    wh_say_warning(j, "Unexpected input(s) %s, valid inputs are [%s]", unknown.data, wh_str_text(&valid));
}

/* ---- evaluation ---- */

static int add_default(struct wh_job *j, const struct declared *in, struct wh_value *inputs,
                       struct wh_error *err)
{
    struct wh_template_env env = wh_context_template(j, WH_PLACE_ACTION_INPUT);
    wh_autotoken *made = NULL;
    const struct wh_token *token = in->token;
    if (in->text) {
        made = wh_template_from_text(in->text, strlen(in->text), false, env.allows, err);
        if (!made)
            return wh_wrap(err, "default of input '%s'", in->name);
        token = made;
    }
    wh_autofree char *value = NULL;
    int n = wh_token_eval_string(token, &env, &value, err);
    wh_strv_free(env.errors);
    if (n < 0)
        return wh_wrap(err, "default of input '%s'", in->name);
    wh_object_set_text(inputs, in->name, value ? value : "");
    return 0;
}

struct wh_value *wh_inputs_evaluate(struct wh_job *j, struct wh_run *run, struct wh_error *err)
{
    wh_autovalue *inputs = NULL;
    wh_say_debug(j, "Loading inputs");
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
    if (run->stage == WH_STAGE_MAIN && (run->action || run->foreign))
        check(j, run, inputs);
    for (size_t i = 0; i < count_of(run); i++) {
        struct declared in;
        if (declared_at(run, i, &in) && !wh_object_has(inputs, in.name) &&
            add_default(j, &in, inputs, err) < 0)
            return NULL;
    }
    wh_say_debug(j, "Loading env");
    return wh_steal(&inputs);
}

void wh_inputs_say_header(struct wh_job *j, const struct wh_run *run, const struct wh_value *inputs)
{
    if (run->stage == WH_STAGE_POST) {
        wh_say(j, "Post job cleanup.");
        return;
    }
    wh_autofree char *reference = wh_step_reference_text(&run->step->reference);
    wh_logtext_action_header(reference, inputs, run->env, wh_say_line, j);
    if (run->action && !run->version.known)
        wh_say_debug(j, "%s: the commit is not a release that is known here; taken as the newest one",
                     reference);
}
