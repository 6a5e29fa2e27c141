/* "Set up job": contexts, folders, the job's environment, and a log that users and tools know byte for byte
 * (job-execution.md §5.1). */
#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "worker/job.h"

extern char **environ;

static void say_group(struct wh_job *j, const char *title)
{
    wh_say(j, "##[group]%s", title);
}

static void say_runner(struct wh_job *j)
{
    static const char *const lines[][2] = {{"name", "Runner name: '%s'"},
                                           {"group", "Runner group name: '%s'"},
                                           {"machine", "Machine name: '%s'"}};
    const char *version = wh_json_string(j->runner, "version");
    wh_say(j, "Current runner version: '%s'", version ? version : WH_VERSION);
    for (size_t i = 0; i < WH_COUNT(lines); i++) {
        const char *value = wh_json_string(j->runner, lines[i][0]);
        if (i == 1 && !value)
            value = wh_message_variable(j->message, "system.runnerGroupName");
        if (!value || value[0] == '\0')
            continue;
        wh_autostr line = {0};
        const char *at = strstr(lines[i][1], "%s");
        wh_str_addn(&line, lines[i][1], (size_t)(at - lines[i][1]));
        wh_str_add(&line, value);
        wh_str_add(&line, at + 2);
        wh_say_text(j, "", line.data, line.len);
    }
}

/* {"contents":"read"} to "Contents: read". */
static void say_permissions(struct wh_job *j)
{
    const char *text = wh_message_variable(j->message, "system.github.token.permissions");
    wh_autojson *json =
        text ? wh_json_parse(text, strlen(text), WH_MAX_JSON_BYTES, "token permissions", NULL) : NULL;
    if (!json || !cJSON_IsObject(json) || !json->child)
        return;
    say_group(j, "GITHUB_TOKEN Permissions");
    for (const cJSON *item = json->child; item; item = item->next)
        if (cJSON_IsString(item) && item->string[0])
            wh_say(j, "%c%s: %s", toupper((unsigned char)item->string[0]), item->string + 1,
                   item->valuestring);
    wh_say(j, "##[endgroup]");
}

static void say_proxies(struct wh_job *j)
{
    static const char *const names[][3] = {{"http_proxy", "HTTP_PROXY", "HTTP"},
                                           {"https_proxy", "HTTPS_PROXY", "HTTPS"}};
    for (size_t i = 0; i < WH_COUNT(names); i++) {
        const char *url = wh_env_get(j->base_env, names[i][0]);
        if (!url || url[0] == '\0')
            url = wh_env_get(j->base_env, names[i][1]);
        if (!url || url[0] == '\0')
            continue;
        /* Credentials before '@' are nobody's business. */
        const char *scheme = strstr(url, "://");
        const char *rest = scheme ? scheme + 3 : url;
        const char *at = strchr(rest, '@');
        wh_say(j, "Runner is running behind proxy server '%.*s%s' for all %s requests.", (int)(rest - url),
               url, at ? at + 1 : rest, names[i][2]);
    }
}

static void say_workflow(struct wh_job *j)
{
    const char *path = wh_message_variable(j->message, "system.workflowFileFullPath");
    const char *ref = wh_message_variable(j->message, "system.workflowFileRef");
    const char *sha = wh_message_variable(j->message, "system.workflowFileSha");
    if (!path || path[0] == '\0')
        return;
    if (ref && ref[0])
        wh_say(j, "Uses: %s@%s (%s)", path, ref, sha ? sha : "");
    else
        wh_say(j, "Uses: %s@%s", path, sha ? sha : "");
    const struct wh_value *inputs = wh_object_get(j->contexts, "inputs");
    if (wh_value_count(inputs) == 0)
        return;
    say_group(j, " Inputs");
    for (size_t i = 0; i < wh_value_count(inputs); i++) {
        wh_autofree char *value = wh_value_to_string(wh_object_value_at(inputs, i));
        wh_say(j, "  %s: %s", wh_object_key_at(inputs, i), value);
    }
    wh_say(j, "##[endgroup]");
}

/* ---- environment of the job ---- */

/* What the starter's environment holds for wherry itself is not the job's; its mark is: by it the agent finds
 * what the job leaves. */
static bool is_ours(const char *entry)
{
    if (wh_starts_with(entry, "WHERRY_JOB="))
        return false;
    static const char *const names[] = {"WHERRY_",
                                        "NOTIFY_SOCKET=", "JOURNAL_STREAM=", "INVOCATION_ID=", "LISTEN_"};
    for (size_t i = 0; i < WH_COUNT(names); i++)
        if (wh_starts_with(entry, names[i]))
            return true;
    return false;
}

static void start_environment(struct wh_job *j)
{
    for (char **e = environ; *e; e++)
        if (!is_ours(*e))
            wh_strv_add(&j->base_env, *e);
    char guid[37];
    snprintf(j->tracking, sizeof j->tracking, "github_%s", wh_guid(guid));
    wh_env_set(&j->base_env, "RUNNER_TRACKING_ID", j->tracking);
    /* What one job logs in to is no other job's business. */
    wh_autofree char *docker = wh_printf("%s/.docker_%s", j->dirs.temp, guid);
    if (wh_mkdir_p(docker, 0700, NULL) == 0)
        wh_env_set(&j->base_env, "DOCKER_CONFIG", docker);
    if (!wh_env_get(j->base_env, "PATH"))
        wh_env_set(&j->base_env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
}

/* env of workflow and job: each layer sees the ones before. */
static int evaluate_layers(struct wh_job *j, struct wh_error *err)
{
    wh_say_debug(j, "Evaluating job-level environment variables");
    for (size_t i = 0; i < j->message->nenvironment; i++) {
        struct wh_template_env env = wh_context_template(j, WH_PLACE_STEP);
        wh_autovalue *layer = wh_token_eval_strings(j->message->environment[i], true, &env, err);
        if (!layer) {
            wh_context_say_errors(j, &env, NULL);
            return -1;
        }
        for (size_t k = 0; k < wh_value_count(layer); k++)
            wh_object_set(j->env, wh_object_key_at(layer, k), wh_object_value_at(layer, k));
        wh_context_set_env(j, j->env);
    }
    return 0;
}

/* A token with `run` takes the place of all before it. */
static int evaluate_defaults(struct wh_job *j, struct wh_error *err)
{
    wh_say_debug(j, "Evaluating job defaults");
    for (size_t i = 0; i < j->message->ndefaults; i++) {
        const struct wh_token *run = wh_token_get(j->message->defaults[i], "run");
        if (!run)
            continue;
        struct wh_template_env env = wh_context_template(j, WH_PLACE_JOB_DEFAULTS);
        wh_autovalue *values = wh_token_eval_strings(run, false, &env, err);
        if (!values) {
            wh_context_say_errors(j, &env, NULL);
            return -1;
        }
        free(j->default_shell);
        free(j->default_directory);
        const struct wh_value *shell = wh_object_get(values, "shell");
        const struct wh_value *directory = wh_object_get(values, "working-directory");
        j->default_shell = shell ? wh_strdup(wh_value_text(shell)) : NULL;
        j->default_directory = directory ? wh_strdup(wh_value_text(directory)) : NULL;
    }
    return 0;
}

static void say_native(struct wh_job *j)
{
    wh_autostrv char **said = NULL;
    for (size_t i = 0; i < j->nmains; i++) {
        if (!j->mains[i]->action)
            continue;
        wh_autofree char *text = wh_step_reference_text(&j->mains[i]->step->reference);
        if (wh_strv_has(said, text))
            continue;
        wh_strv_add(&said, text);
        wh_say(j, "Action '%s' is built in: nothing to download", text);
    }
}

static int prepare_actions(struct wh_job *j, struct wh_error *err)
{
    wh_steps_find(j);
    wh_say(j, "Prepare all required actions");
    say_native(j);
    return wh_actions_prepare(j, err);
}

static int set_up(struct wh_job *j, struct wh_error *err)
{
    wh_say_debug(j, "Starting: Set up job");
    say_runner(j);
    say_permissions(j);
    const char *source = wh_value_text(wh_object_get(j->github, "secret_source"));
    if (source[0])
        wh_say(j, "Secret source: %s", source);
    const char *mode = wh_message_variable(j->message, "actions_cache_mode");
    if (mode && mode[0])
        wh_say(j, "Cache mode: %s", mode);
    wh_say_debug(j, "Primary repository: %s", wh_value_text(wh_object_get(j->github, "repository")));
    say_proxies(j);
    wh_say(j, "Prepare workflow directory");
    wh_say_debug(j, "Update context data");
    if (evaluate_layers(j, err) < 0 || evaluate_defaults(j, err) < 0 || wh_containers_prepare(j, err) < 0 ||
        prepare_actions(j, err) < 0)
        return -1;
    say_workflow(j);
    wh_say(j, "Complete job name: %s", j->message->job_display_name ? j->message->job_display_name : "");
    if (wh_message_variable_bool(j->message, "process.clean", true))
        wh_say_debug(j, "Collect running processes for tracking orphan processes.");
    wh_say_debug(j, "Finishing: Set up job");
    return 0;
}

int wh_setup(struct wh_job *j)
{
    wh_autoerror err = {0};
    struct wh_timeline *record = wh_job_record(j, NULL, "Set up job", j->next_number++);
    record->type = "runner";
    record->ref_name = wh_strdup("JobExtension_Init");
    wh_job_start_record(j, record);
    int n = wh_context_start(j, &err);
    if (n == 0) {
        start_environment(j);
        wh_engine_offer(j);
        wh_oom_start(j);
        n = set_up(j, &err);
    }
    if (n == 0)
        wh_steps_queue(j);
    if (n < 0)
        wh_say_error(j, "%s", wh_error_text(&err));
    enum wh_task_result result = n < 0 ? WH_TASK_FAILED : WH_TASK_SUCCEEDED;
    wh_job_complete_record(j, record, result);
    if (n < 0 && j->job)
        wh_job_merge_result(j, WH_TASK_FAILED);
    j->result = n < 0 ? WH_TASK_FAILED : j->result;
    return n;
}
