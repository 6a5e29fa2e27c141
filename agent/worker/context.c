/* The contexts that expressions of this job see, and how they change while it runs (job-execution.md §3,
 * §5.3). */
#include "wherry/job/filecmd.h"
#include "worker/job.h"

/* Members of contexts that this job owns alone (wh_message_contexts() made them). */
static struct wh_value *live(struct wh_job *j, const char *name)
{
    return (struct wh_value *)wh_object_get(j->contexts, name);
}

static void set_or_variable(struct wh_job *j, struct wh_value *object, const char *key, const char *text)
{
    (void)j;
    if (text)
        wh_object_set_text(object, key, text);
}

static void fill_runner(struct wh_job *j)
{
    struct wh_value *r = j->runner_context;
    const char *environment = wh_message_variable(j->message, "system.runnerEnvironment");
    set_or_variable(j, r, "os", wh_json_string(j->runner, "os"));
    set_or_variable(j, r, "arch", wh_json_string(j->runner, "arch"));
    set_or_variable(j, r, "name", wh_json_string(j->runner, "name"));
    set_or_variable(j, r, "environment", environment ? environment : "self-hosted");
    set_or_variable(j, r, "tool_cache", j->dirs.tools);
    set_or_variable(j, r, "temp", j->dirs.temp);
    set_or_variable(j, r, "workspace", j->dirs.pipeline);
    if (j->debug)
        wh_object_set_text(r, "debug", "1");
}

static bool debug_wanted(const struct wh_job *j)
{
    if (wh_json_bool(j->options, "stepDebug", false))
        return true;
    const char *variable = wh_message_variable(j->message, "ACTIONS_STEP_DEBUG");
    if (variable)
        return wh_streq_ci(variable, "true");
    const struct wh_value *vars = wh_object_get(j->contexts, "vars");
    return wh_streq_ci(wh_value_text(wh_object_get(vars, "ACTIONS_STEP_DEBUG")), "true");
}

int wh_context_start(struct wh_job *j, struct wh_error *err)
{
    j->contexts = wh_message_contexts(j->message);
    j->github = live(j, "github");
    j->steps = live(j, "steps");
    j->job = live(j, "job");
    j->runner_context = live(j, "runner");
    j->env = wh_value_object_case_sensitive();
    j->debug = debug_wanted(j);
    if (wh_value_kind(j->github) != WH_OBJECT || wh_value_kind(j->job) != WH_OBJECT)
        return wh_fail(err, WH_E_PARSE, "job message: contextData.github is not an object");
    if (wh_dirs_prepare(j, err) < 0)
        return -1;
    wh_diagnostics_start(j);
    wh_object_set_text(j->github, "workspace", j->dirs.workspace);
    wh_object_set_text(j->github, "event_path", j->dirs.event);
    fill_runner(j);
    wh_context_status(j);
    wh_context_set_env(j, j->env);
    return 0;
}

struct wh_value *wh_context_env(const struct wh_job *j, const struct wh_value *overlay)
{
    struct wh_value *env = wh_value_copy_shallow(j->env);
    for (size_t i = 0; i < wh_value_count(overlay); i++)
        wh_object_set(env, wh_object_key_at(overlay, i), wh_object_value_at(overlay, i));
    return env;
}

void wh_context_set_env(struct wh_job *j, const struct wh_value *env)
{
    wh_object_set(j->contexts, "env", env);
}

/* Within a composite's main stage it is the composite's own steps that count; else the job's. */
static enum wh_task_result status_result(const struct wh_job *j)
{
    const struct wh_run *c = j->composite;
    if (!c || c->stage != WH_STAGE_MAIN)
        return j->result;
    return c->result == WH_TASK_NONE ? WH_TASK_SUCCEEDED : c->result;
}

static bool status_function(void *arg, enum wh_status_function which)
{
    const struct wh_job *j = arg;
    switch (which) {
    case WH_STATUS_SUCCESS:
        return status_result(j) == WH_TASK_SUCCEEDED;
    case WH_STATUS_FAILURE:
        return status_result(j) == WH_TASK_FAILED;
    case WH_STATUS_CANCELLED:
        return j->result == WH_TASK_CANCELED;
    default:
        return true;
    }
}

/* A composite's steps see less than those of the job. */
static enum wh_place place_here(const struct wh_job *j, enum wh_place place)
{
    if (j->composite && place == WH_PLACE_STEP)
        return WH_PLACE_COMPOSITE_STEP;
    if (j->composite && place == WH_PLACE_STEP_IF)
        return WH_PLACE_COMPOSITE_IF;
    return place;
}

static void trace_line(void *arg, const char *line)
{
    wh_say_debug(arg, "%s", line);
}

struct wh_template_env wh_context_template(struct wh_job *j, enum wh_place place)
{
    struct wh_eval eval = {.contexts = j->contexts,
                           .status = status_function,
                           .status_arg = j,
                           .workspace = j->dirs.workspace,
                           .trace = j->debug && j->current ? trace_line : NULL,
                           .trace_arg = j};
    return (struct wh_template_env){
        .eval = eval, .allows = wh_place_allows(place_here(j, place)), .file_table = j->message->file_table};
}

void wh_context_status(struct wh_job *j)
{
    const char *status = j->result == WH_TASK_SUCCEEDED  ? "success"
                         : j->result == WH_TASK_CANCELED ? "cancelled"
                                                         : "failure";
    wh_object_set_text(j->job, "status", status);
}

/* Steps without a name of their author never appear. */
static bool has_name(const struct wh_step *step)
{
    return step->context_name && step->context_name[0] && !wh_starts_with(step->context_name, "__");
}

static struct wh_value *entry_of(struct wh_job *j, const struct wh_step *step)
{
    struct wh_value *entry = (struct wh_value *)wh_object_get(j->steps, step->context_name);
    if (entry)
        return entry;
    entry = wh_value_object();
    wh_object_set_take(entry, "outputs", wh_value_object());
    wh_object_set_take(j->steps, step->context_name, entry);
    return (struct wh_value *)wh_object_get(j->steps, step->context_name);
}

int wh_context_keep(struct wh_job *j, struct wh_value *object, const char *name, const char *value,
                    struct wh_error *err)
{
    const struct wh_value *old = wh_object_get(object, name);
    size_t freed = old ? strlen(name) + wh_value_view(old).len : 0;
    size_t more = strlen(name) + strlen(value);
    if (more > freed && j->kept_bytes + (more - freed) > WH_MAX_KEPT_BYTES)
        return wh_fail(
            err, WH_E_LIMIT,
            "The outputs, state and variables of this job's steps are larger than %zu MiB: '%.200s' with %zu "
            "bytes is not taken.",
            WH_MAX_KEPT_BYTES >> 20, name, more);
    j->kept_bytes = j->kept_bytes + more - WH_MIN(freed, j->kept_bytes + more);
    wh_object_set_text(object, name, value);
    return 0;
}

int wh_context_output(struct wh_job *j, const struct wh_step *step, const char *name, const char *value,
                      struct wh_error *err)
{
    if (!has_name(step))
        return 0;
    struct wh_value *outputs = (struct wh_value *)wh_object_get(entry_of(j, step), "outputs");
    return wh_context_keep(j, outputs, name, value, err);
}

static const char *result_text(enum wh_task_result r)
{
    switch (r) {
    case WH_TASK_SUCCEEDED:
    case WH_TASK_SUCCEEDED_WITH_ISSUES:
        return "success";
    case WH_TASK_CANCELED:
        return "cancelled";
    case WH_TASK_SKIPPED:
        return "skipped";
    default:
        return "failure";
    }
}

void wh_context_result(struct wh_job *j, const struct wh_step *step, enum wh_task_result outcome,
                       enum wh_task_result conclusion)
{
    if (!has_name(step))
        return;
    struct wh_value *entry = entry_of(j, step);
    wh_object_set_text(entry, "outcome", result_text(outcome));
    wh_object_set_text(entry, "conclusion", result_text(conclusion));
}

int wh_context_condition(struct wh_job *j, const char *condition, struct wh_error *err)
{
    struct wh_template_env env = wh_context_template(j, WH_PLACE_STEP_IF);
    return wh_condition_eval(condition, env.allows, &env.eval, err);
}

void wh_context_say_errors(struct wh_job *j, struct wh_template_env *env, struct wh_error *err)
{
    for (size_t i = 0; env->errors && env->errors[i]; i++)
        wh_say_error(j, "%s", env->errors[i]);
    wh_strv_free(wh_steal(&env->errors));
    if (err)
        wh_say_error(j, "%s", wh_error_text(err));
}
