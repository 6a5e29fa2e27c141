/* Acting on workflow commands (job-execution.md §5.8). */
#include "worker/job.h"

/* From the runner's environment or the env context. */
static bool env_true(struct wh_job *j, const struct wh_run *run, const char *name)
{
    const char *own = wh_env_get(j->base_env, name);
    return wh_streq_ci(own, "true") || wh_streq_ci(wh_value_text(wh_object_get(run->env, name)), "true");
}

static int need_name(const struct wh_command *c, const char **name, struct wh_error *err)
{
    *name = wh_command_property(c, "name");
    if (!*name || (*name)[0] == '\0')
        return wh_fail(err, WH_E_ARGUMENT, "Required field 'name' is missing in ##[%s] command.", c->name);
    return 0;
}

static void warn_deprecated(struct wh_job *j, const struct wh_command *c)
{
    wh_telemetry_add(j, WH_TELEMETRY_ACTION_COMMAND, "DeprecatedCommand: %s", c->name);
    if (wh_message_variable_bool(j->message, "DistributedTask.DeprecateStepOutputCommands", false))
        wh_say_warning(j,
                       "The `%s` command is deprecated and will be disabled soon. Please upgrade to using "
                       "Environment Files. For "
                       "more information see: "
                       "https://github.blog/changelog/"
                       "2022-10-11-github-actions-deprecating-save-state-and-set-output-commands/",
                       c->name);
}

static int refuse_unsecure(struct wh_job *j, const struct wh_run *run, const struct wh_command *c,
                           struct wh_error *err)
{
    if (env_true(j, run, "ACTIONS_ALLOW_UNSECURE_COMMANDS"))
        return 0;
    return wh_fail(
        err, WH_E_DENIED,
        "The `%s` command is disabled. Please upgrade to using Environment Files or opt into unsecure "
        "command "
        "execution by setting the `ACTIONS_ALLOW_UNSECURE_COMMANDS` environment variable to `true`. For more "
        "information see: "
        "https://github.blog/changelog/2020-10-01-github-actions-deprecating-set-env-and-add-path-commands/",
        c->name);
}

static void say_debug_lines(struct wh_job *j, const char *data)
{
    struct wh_reader r = wh_reader_of(data, strlen(data));
    for (struct wh_view line; wh_reader_line(&r, &line);)
        wh_say_debug(j, "%.*s", (int)line.len, line.data);
}

static void issue(struct wh_job *j, enum wh_annotation_level level, const struct wh_command *c)
{
    struct wh_issue where = {0};
    wh_autostr repairs = {0};
    wh_issue_from_command(c, j->dirs.workspace, &where, &repairs);
    if (repairs.len > 0)
        say_debug_lines(j, repairs.data);
    if (!wh_message_variable_bool(j->message, "DistributedTask.EnhancedAnnotations", false))
        wh_say_debug(j, "Enhanced Annotations not enabled on the server. The 'title', 'end_line', and "
                        "'end_column' fields "
                        "are unsupported.");
    wh_say_issue(j, level, c->data, &where);
    wh_issue_clear(&where);
}

/* Where the service knows no notices, they are lines like others. */
static void unknown_notice(struct wh_job *j, const char *line, size_t len)
{
    wh_say_debug(j,
                 "Enhanced Annotations not enabled on the server: 'notice' command will not be processed.");
    wh_say_text(j, "", line, len);
}

static int add_mask(struct wh_job *j, const struct wh_command *c, struct wh_error *err)
{
    bool blank = false;
    if (wh_masker_add_command(j->masker, c->data, &blank, err) < 0)
        return -1;
    if (blank)
        wh_say_warning(j, "Can't add secret mask for empty string in ##[add-mask] command.");
    return 0;
}

static int set_output(struct wh_job *j, const struct wh_run *run, const struct wh_command *c,
                      struct wh_error *err)
{
    const char *name;
    warn_deprecated(j, c);
    if (need_name(c, &name, err) < 0)
        return -1;
    if (wh_run_leave_output(j, run, name, c->data, err) < 0)
        return -1;
    wh_say_debug(j, "='%s'", c->data);
    return 0;
}

static int save_state(struct wh_job *j, struct wh_run *run, const struct wh_command *c, struct wh_error *err)
{
    const char *name;
    warn_deprecated(j, c);
    if (need_name(c, &name, err) < 0)
        return -1;
    if (wh_context_keep(j, run->main ? run->main->state : run->state, name, c->data, err) < 0)
        return -1;
    wh_say_debug(j, "Save intra-action state %s = %s", name, c->data);
    return 0;
}

static int set_env(struct wh_job *j, struct wh_run *run, const struct wh_command *c, struct wh_error *err)
{
    const char *name;
    if (refuse_unsecure(j, run, c, err) < 0 || need_name(c, &name, err) < 0)
        return -1;
    return wh_run_leave_env(j, run, name, c->data, err);
}

static int add_path(struct wh_job *j, struct wh_run *run, const struct wh_command *c, struct wh_error *err)
{
    if (refuse_unsecure(j, run, c, err) < 0)
        return -1;
    if (c->data[0] == '\0')
        return wh_fail(err, WH_E_ARGUMENT, "Required data is missing in ##[add-path] command.");
    wh_run_leave_path(j, run, c->data);
    return 0;
}

static int act(struct wh_job *j, struct wh_run *run, const struct wh_command *c, const char *line, size_t len,
               struct wh_error *err)
{
    switch (c->kind) {
    case WH_COMMAND_DEBUG:
        say_debug_lines(j, c->data);
        return 0;
    case WH_COMMAND_NOTICE:
        if (wh_message_variable_bool(j->message, "DistributedTask.EnhancedAnnotations", false))
            issue(j, WH_ANNOTATION_NOTICE, c);
        else
            unknown_notice(j, line, len);
        return 0;
    case WH_COMMAND_WARNING:
        issue(j, WH_ANNOTATION_WARNING, c);
        return 0;
    case WH_COMMAND_ERROR:
        issue(j, WH_ANNOTATION_FAILURE, c);
        return 0;
    case WH_COMMAND_GROUP:
        wh_say_text(j, "##[group]", c->data, c->data_len);
        return 0;
    case WH_COMMAND_ENDGROUP:
        wh_say(j, "##[endgroup]");
        return 0;
    case WH_COMMAND_ADD_MASK:
        return add_mask(j, c, err);
    case WH_COMMAND_SET_OUTPUT:
        return set_output(j, run, c, err);
    case WH_COMMAND_SAVE_STATE:
        return save_state(j, run, c, err);
    case WH_COMMAND_SET_ENV:
        return set_env(j, run, c, err);
    case WH_COMMAND_ADD_PATH:
        return add_path(j, run, c, err);
    case WH_COMMAND_STOP_COMMANDS: {
        bool unsecure = env_true(j, run, "ACTIONS_ALLOW_UNSECURE_STOPCOMMAND_TOKENS");
        if (wh_command_stop(&run->commands, c->data, unsecure, err) < 0) {
            wh_telemetry_add(j, WH_TELEMETRY_ACTION_COMMAND, "Invoked ::stopCommand:: with token: [%s]",
                             c->data);
            return -1;
        }
        if (c->data_len > 6 && wh_masker_add(j->masker, c->data, c->data_len, err) < 0)
            return -1;
        wh_say_text(j, "", line, len);
        wh_say_debug(
            j, "Paused processing commands until the token you called ::stopCommands:: with is received");
        return 0;
    }
    case WH_COMMAND_ECHO:
        if (wh_command_echo(&run->commands, c->data, err) < 0)
            return -1;
        wh_say_debug(j, "Setting echo command value to '%s'", run->commands.echo ? "on" : "off");
        return 0;
    case WH_COMMAND_ADD_MATCHER:
        return wh_matchers_add(j, c->data, err);
    case WH_COMMAND_REMOVE_MATCHER:
        return wh_matchers_remove(j, wh_command_property(c, "owner"), c->data, err);
    default: /* set-repo-path: the workspace does not move here */
        return 0;
    }
}

/* Lines of these kinds may hold anything, so the error names the command alone. */
static bool hides_line(enum wh_command_kind kind)
{
    return kind == WH_COMMAND_DEBUG || kind == WH_COMMAND_NOTICE || kind == WH_COMMAND_WARNING ||
           kind == WH_COMMAND_ERROR || kind == WH_COMMAND_ADD_MASK;
}

void wh_command_act(struct wh_job *j, struct wh_run *run, const struct wh_command *c, const char *line,
                    size_t len)
{
    wh_autoerror err = {0};
    if (wh_command_is_echoed(&run->commands, c->kind)) {
        if (c->kind == WH_COMMAND_ADD_MASK)
            wh_say(j, "::add-mask::***");
        else if (c->kind != WH_COMMAND_STOP_COMMANDS) /* that one shows its line by itself */
            wh_say_text(j, "", line, len);
    }
    if (act(j, run, c, line, len, &err) == 0)
        return;
    if (hides_line(c->kind))
        wh_say_error(j, "Unable to process command '%s' successfully.", c->name);
    else
        wh_say_error(j, "Unable to process command '%.*s' successfully.", (int)len, line);
    wh_say_error(j, "%s", wh_error_text(&err));
    run->command_failed = true;
}
