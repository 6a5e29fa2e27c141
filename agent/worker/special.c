/* Steps of the runner's own, and the hooks of the machine's owner (job-execution.md §10). */
#include <unistd.h>

#include "wherry/base/digest.h"
#include "worker/job.h"

struct wh_run *wh_special_new(const struct wh_special *special, const char *display, const char *text)
{
    char guid[37];
    struct wh_step *step = wh_calloc(1, sizeof *step);
    step->id = wh_strdup(wh_guid(guid));
    step->name = wh_strdup("__runner");
    step->condition = wh_strdup(special->condition);
    step->reference.type = WH_REFERENCE_SCRIPT;
    struct wh_run *run = wh_run_new(step);
    run->own_step = step;
    run->special = special;
    run->state = wh_value_object_case_sensitive();
    run->display = wh_strdup(display);
    run->text = wh_strdup(text);
    return run;
}

/* ---- hooks ---- */

char **wh_hook_argv(struct wh_job *j, const char *path)
{
    static const struct {
        const char *ending, *program, *other, *option;
    } kinds[] = {
        {".sh", "bash", "sh", "-e"}, {".ps1", "pwsh", "powershell", NULL}, {".js", "node", NULL, NULL}};
    const char *search = wh_env_get(j->base_env, "PATH");
    char **argv = NULL;
    for (size_t i = 0; i < WH_COUNT(kinds); i++) {
        if (!wh_ends_with(path, kinds[i].ending))
            continue;
        char *program = wh_find_program(kinds[i].program, search, false);
        if (!program && kinds[i].other)
            program = wh_find_program(kinds[i].other, search, false);
        if (!program)
            return NULL;
        wh_strv_take(&argv, program);
        if (kinds[i].option)
            wh_strv_add(&argv, kinds[i].option);
        wh_strv_add(&argv, path);
    }
    return argv;
}

static void fail(struct wh_job *j, struct wh_run *run, const char *text)
{
    wh_say_error(j, "%s", text);
    run->result = WH_TASK_FAILED;
}

/* No env context and none of the services' variables: it is the machine owner's own program. */
static void execute_hook(struct wh_job *j, struct wh_run *run, const char *which)
{
    wh_autoerror err = {0};
    wh_say(j, "A %s hook has been configured by the self-hosted runner administrator", which);
    if (access(run->text, F_OK) < 0) {
        wh_autofree char *text = wh_printf("File doesn't exist: '%s'", run->text);
        fail(j, run, text);
        return;
    }
    wh_autostrv char **argv = wh_hook_argv(j, run->text);
    if (!argv) {
        wh_autofree char *text = wh_printf(
            "%s is not a valid path to a script. Make sure it ends in '.sh', '.ps1' or '.js' and that its "
            "interpreter is installed.",
            run->text);
        fail(j, run, text);
        return;
    }
    wh_say(j, "##[group]Run '%s'", run->text);
    wh_autofree char *shown = wh_strv_join(argv, " ");
    wh_say(j, "shell: %s", shown);
    wh_say(j, "##[endgroup]");
    wh_value_unref(run->env);
    run->env = wh_value_object_case_sensitive();
    wh_autostrv char **environment = wh_environ_of(j, run, NULL);
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.path = argv[0];
    options.argv = argv;
    options.env = environment;
    options.cwd = j->dirs.workspace;
    j->child = wh_run_child(j, &options, NULL, NULL, &err);
    if (!j->child)
        fail(j, run, wh_error_text(&err));
    else
        wh_run_wait(j, run);
}

static void execute_started(struct wh_job *j, struct wh_run *run)
{
    execute_hook(j, run, "job started");
}

static void execute_completed(struct wh_job *j, struct wh_run *run)
{
    execute_hook(j, run, "job completed");
}

void wh_hooks_add_started(struct wh_job *j)
{
    static const struct wh_special hook = {.condition = "always()", .execute = execute_started};
    const char *path = wh_env_get(j->base_env, "ACTIONS_RUNNER_HOOK_JOB_STARTED");
    if (path && path[0])
        wh_special_add_pre(j, wh_special_new(&hook, "Set up runner", path));
}

void wh_hooks_add_completed(struct wh_job *j)
{
    static const struct wh_special hook = {.condition = "always()", .execute = execute_completed};
    const char *path = wh_env_get(j->base_env, "ACTIONS_RUNNER_HOOK_JOB_COMPLETED");
    if (path && path[0])
        wh_special_add_post(j, wh_special_new(&hook, "Complete runner", path));
}
