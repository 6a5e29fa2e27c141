/* "Complete job": outputs, environment url, what the job left running (job-execution.md §5.5, §9). */
#include <signal.h>

#include "wherry/job/filecmd.h"
#include "wherry/job/logtext.h"
#include "worker/job.h"

/* GitHub's runner sends whatever there is; what GitHub makes of too much is not to be seen here, so it is
 * told. */
static bool has_room(struct wh_job *j, const char *name, const char *value)
{
    size_t before = j->output_units;
    size_t bytes = strlen(name) + strlen(value);
    if (j->output_bytes + bytes > WH_MAX_JOB_OUTPUTS) {
        wh_say_error(j, "Skip output '%s' since the job's outputs are larger than %zu KiB.", name,
                     WH_MAX_JOB_OUTPUTS >> 10);
        return false;
    }
    j->output_bytes += bytes;
    j->output_units += wh_utf16_length(name, strlen(name)) + wh_utf16_length(value, strlen(value));
    if (before * 2 <= WH_JOB_OUTPUTS_UTF16 && j->output_units * 2 > WH_JOB_OUTPUTS_UTF16)
        wh_say_warning(
            j,
            "The job's outputs are larger than %zu KiB in UTF-16, which is what GitHub keeps of a job: with "
            "'%s' it may drop them.",
            WH_JOB_OUTPUTS_UTF16 >> 10, name);
    return true;
}

static void add_output(struct wh_job *j, const char *name, const char *value)
{
    if (value[0] == '\0') {
        wh_say_debug(j, "Skip output '%s' since it's empty", name);
        return;
    }
    wh_autofree char *masked = wh_mask_text(j->masker, value);
    if (!wh_streq(masked, value)) {
        wh_say_warning(j, "Skip output '%s' since it may contain secret.", name);
        return;
    }
    if (!has_room(j, name, value))
        return;
    wh_say(j, "Set output '%s'", name);
    j->outputs = wh_reallocarray(j->outputs, j->noutputs + 1, sizeof *j->outputs);
    j->outputs[j->noutputs++] = (struct wh_github_output){.name = wh_strdup(name), .value = wh_strdup(value)};
}

static void evaluate_outputs(struct wh_job *j)
{
    if (!j->message->job_outputs)
        return;
    wh_say(j, "Evaluate and set job outputs");
    struct wh_template_env env = wh_context_template(j, WH_PLACE_JOB_OUTPUTS);
    wh_autoerror err = {0};
    wh_autovalue *outputs = wh_token_eval_strings(j->message->job_outputs, false, &env, &err);
    if (!outputs) {
        wh_say_error(j, "Fail to evaluate job outputs");
        wh_context_say_errors(j, &env, &err);
        wh_job_merge_result(j, WH_TASK_FAILED);
        return;
    }
    for (size_t i = 0; i < wh_value_count(outputs); i++)
        add_output(j, wh_object_key_at(outputs, i), wh_value_text(wh_object_value_at(outputs, i)));
}

static void evaluate_environment_url(struct wh_job *j)
{
    if (!j->message->environment_url)
        return;
    wh_say(j, "Evaluate and set environment url");
    struct wh_template_env env = wh_context_template(j, WH_PLACE_ENVIRONMENT_URL);
    wh_autoerror err = {0};
    wh_autofree char *url = NULL;
    if (wh_token_eval_string(j->message->environment_url, &env, &url, &err) < 0) {
        wh_say_error(j, "Failed to evaluate environment url");
        wh_context_say_errors(j, &env, &err);
        wh_job_merge_result(j, WH_TASK_FAILED);
        return;
    }
    if (!url || url[0] == '\0')
        return;
    wh_autofree char *masked = wh_mask_text(j->masker, url);
    if (!wh_streq(masked, url)) {
        const char *name = j->message->environment_name;
        wh_say_warning(j, "Skip setting environment url as environment '%s' may contain secret.",
                       name ? name : "");
        return;
    }
    wh_say(j, "Evaluated environment url: %s", url);
    j->environment_url = wh_steal(&url);
}

static void kill_orphan(void *data, pid_t pid, const char *comm)
{
    struct wh_job *j = data;
    wh_say(j, "Terminate orphan process: pid (%d) (%s)", (int)pid, comm);
    kill(pid, SIGKILL);
}

static void clean_up_orphans(struct wh_job *j)
{
    wh_say(j, "Cleaning up orphan processes");
    wh_job_turn_now(j);
    if (!wh_message_variable_bool(j->message, "process.clean", true))
        return;
    wh_autoerror err = {0};
    if (wh_process_find_env("RUNNER_TRACKING_ID", j->tracking, kill_orphan, j, &err) < 0)
        wh_say_debug(j, "%s", wh_error_text(&err));
    for (size_t i = 0; i < j->ncgroups; i++) /* and what got rid of the variable */
        (void)wh_cgroup_kill(j->cgroups[i], NULL);
}

void wh_finish(struct wh_job *j)
{
    struct wh_timeline *record = wh_job_record(j, NULL, "Complete job", j->next_number++);
    record->type = "runner";
    record->ref_name = wh_strdup("JobExtension_Final");
    wh_job_start_record(j, record);
    wh_say_debug(j, "Starting: Complete job");
    wh_context_set_env(j, j->env);
    enum wh_task_result before = j->result;
    evaluate_outputs(j);
    evaluate_environment_url(j);
    wh_diagnostics_end(j);
    clean_up_orphans(j);
    wh_ownership_restore(j);
    wh_say_debug(j, "Finishing: Complete job");
    bool failed_here = j->result == WH_TASK_FAILED && before != WH_TASK_FAILED;
    wh_job_complete_record(j, record, failed_here ? WH_TASK_FAILED : WH_TASK_SUCCEEDED);
}
