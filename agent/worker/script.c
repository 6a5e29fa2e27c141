/* `run` steps: shell, script file, command line (job-execution.md §6). */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "worker/job.h"

struct shell {
    char *command; /* as named */
    char *path;    /* as found */
    char *format;  /* arguments with {0} */
    const char *extension;
};

static void shell_clear(struct shell *s)
{
    free(s->command);
    free(s->path);
    free(s->format);
}

static const struct built_in {
    const char *name, *format, *extension;
} built_in[] = {{"bash", "--noprofile --norc -e -o pipefail {0}", ".sh"},
                {"sh", "-e {0}", ".sh"},
                {"python", "{0}", ".py"},
                {"pwsh", "-command \". '{0}'\"", ".ps1"},
                {"powershell", "-command \". '{0}'\"", ".ps1"},
                {"cmd", "/D /E:ON /V:OFF /S /C \"CALL \"{0}\"\"", ".cmd"}};

static const struct built_in *built_in_named(const char *command)
{
    for (size_t i = 0; i < WH_COUNT(built_in); i++)
        if (wh_streq_ci(built_in[i].name, command))
            return &built_in[i];
    return NULL;
}

/* The value of `shell` (NULL or empty: the default): the first word is the command, the rest its arguments,
 * or those of the built-in of that name. */
static int find_shell(struct wh_job *j, const char *option, struct shell *s, struct wh_error *err)
{
    wh_autofree char *path = wh_environ_path(j, wh_env_get(j->base_env, "PATH"));
    bool inside = j->container != NULL; /* what is there is the image's business */
    if (!option || option[0] == '\0') {
        s->command = wh_strdup("sh");
        s->path = inside ? NULL : wh_find_program("bash", path, true);
        s->format = wh_strdup("-e {0}");
    } else {
        struct wh_view command = wh_view_of(option);
        struct wh_view rest = {0};
        (void)wh_view_split(command, ' ', &command, &rest);
        while (rest.len > 0 && rest.data[0] == ' ')
            rest = (struct wh_view){rest.data + 1, rest.len - 1};
        s->command = wh_view_dup(command);
        const struct built_in *known = built_in_named(s->command);
        s->format = rest.len > 0 || !known ? wh_view_dup(rest) : wh_strdup(known->format);
    }
    const struct built_in *known = built_in_named(s->command);
    s->extension = known ? known->extension : "";
    if (!s->path)
        s->path = inside ? wh_strdup(s->command) : wh_find_program(s->command, path, true);
    return s->path ? 0 : wh_fail(err, WH_E_NOT_FOUND, "%s: command not found", s->command);
}

/* The arguments with the script's path in place of {0}; other braces are doubled in the format. */
static char *fill_format(const char *format, const char *script, struct wh_error *err)
{
    wh_autostr out = {0};
    for (const char *p = format; *p; p++) {
        if (wh_starts_with(p, "{0}")) {
            wh_str_add(&out, script);
            p += 2;
        } else if ((p[0] == '{' && p[1] == '{') || (p[0] == '}' && p[1] == '}')) {
            wh_str_addc(&out, *p++);
        } else if (*p == '{' || *p == '}') {
            wh_fail(err, WH_E_ARGUMENT,
                    "Invalid shell option. '%s' holds a brace that is neither {0} nor doubled", format);
            return NULL;
        } else {
            wh_str_addc(&out, *p);
        }
    }
    return wh_str_steal(&out);
}

char **wh_split_arguments(const char *text)
{
    char **out = NULL;
    wh_autostr word = {0};
    bool quoted = false;
    bool in_word = false;
    for (const char *p = text;;) {
        size_t slashes = 0;
        while (p[slashes] == '\\')
            slashes++;
        if (slashes > 0) {
            bool before_quote = p[slashes] == '"';
            for (size_t i = 0; i < (before_quote ? slashes / 2 : slashes); i++)
                wh_str_addc(&word, '\\');
            p += slashes;
            in_word = true;
            if (before_quote && slashes % 2 == 1)
                wh_str_addc(&word, *p++);
            continue;
        }
        if (*p == '\0' || (!quoted && (*p == ' ' || *p == '\t'))) {
            if (in_word)
                wh_strv_add(&out, wh_str_text(&word));
            wh_str_clear(&word);
            in_word = false;
            if (*p++ == '\0')
                return out;
            continue;
        }
        in_word = true;
        if (*p == '"' && quoted && p[1] == '"') { /* "" within quotes is one */
            wh_str_addc(&word, '"');
            p += 2;
        } else if (*p == '"') {
            quoted = !quoted;
            p++;
        } else {
            wh_str_addc(&word, *p++);
        }
    }
}

static int write_script(const char *path, const struct shell *s, const char *script, struct wh_error *err)
{
    wh_autostr text = {0};
    bool powershell = wh_streq(s->extension, ".ps1");
    if (powershell)
        wh_str_add(&text, "$ErrorActionPreference = 'stop'\n");
    wh_str_add(&text, script);
    if (powershell)
        wh_str_add(&text, "\nif ((Test-Path -LiteralPath variable:\\LASTEXITCODE)) { exit $LASTEXITCODE }");
    wh_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return wh_fail_errno(err, "write the script %s", path);
    return wh_write_all(fd, wh_str_text(&text), text.len, err);
}

static char *text_of(const struct wh_value *inputs, const char *name)
{
    const struct wh_value *v = wh_object_get(inputs, name);
    return v ? wh_value_to_string(v) : NULL;
}

static char *working_directory(struct wh_job *j, const struct wh_run *run, const struct wh_value *inputs)
{
    wh_autofree char *own = text_of(inputs, "workingDirectory");
    const char *wanted = own ? own : run->parent ? NULL : j->default_directory;
    return wanted && wanted[0] ? wh_path_join(j->dirs.workspace, wanted) : wh_strdup(j->dirs.workspace);
}

/* What is listed under "env:": the env context and the state. */
static struct wh_value *shown_env(const struct wh_run *run)
{
    struct wh_value *env = wh_value_copy_shallow(run->env);
    for (size_t i = 0; i < wh_value_count(run->state); i++) {
        wh_autofree char *name = wh_printf("STATE_%s", wh_object_key_at(run->state, i));
        wh_object_set(env, name, wh_object_value_at(run->state, i));
    }
    return env;
}

static int prepare_command(struct wh_job *j, struct wh_run *run, const struct wh_value *inputs,
                           struct shell *s, char ***argv, struct wh_error *err)
{
    wh_autofree char *given = text_of(inputs, "script");
    const char *script = given ? given : "";
    wh_autofree char *own_shell = text_of(inputs, "shell");
    /* The job's defaults are not for what runs within a composite. */
    const char *standard = run->parent ? NULL : j->default_shell;
    bool own = own_shell && own_shell[0];
    wh_logtext_run_script(script, wh_say_line, j);
    if (find_shell(j, own ? own_shell : standard, s, err) < 0)
        return -1;
    wh_autofree char *shown = wh_printf("%s %s", s->path, s->format);
    wh_autovalue *env = shown_env(run);
    wh_logtext_run_shell(shown, env, wh_say_line, j);
    wh_autofree char *own_directory = text_of(inputs, "workingDirectory");
    if (!own_directory && !run->parent && j->default_directory)
        wh_say_debug(j, "Overwrite 'working-directory' base on job defaults.");
    if (standard && !own)
        wh_say_debug(j, "Overwrite 'shell' base on job defaults.");
    if (!strstr(s->format, "{0}"))
        return wh_fail(
            err, WH_E_ARGUMENT,
            "Invalid shell option. Shell must be a valid built-in (bash, sh, cmd, powershell, pwsh) or a "
            "format string containing '{0}'");
    char guid[37];
    wh_autofree char *path = wh_printf("%s/%s%s", j->dirs.temp, wh_guid(guid), s->extension);
    wh_autofree char *seen = j->container ? wh_container_path(j, path) : wh_strdup(path);
    wh_autofree char *filled = fill_format(s->format, seen, err);
    if (!filled)
        return -1;
    wh_say_debug(j, "%s %s", s->path, filled);
    wh_strv_add(argv, s->path);
    wh_autostrv char **rest = wh_split_arguments(filled);
    for (size_t i = 0; rest && rest[i]; i++)
        wh_strv_add(argv, rest[i]);
    return write_script(path, s, script, err);
}

struct wh_child *wh_run_child(struct wh_job *j, struct wh_process_options *options, int (*fn)(void *),
                              void *data, struct wh_error *err)
{
    options->set_oom_score = true;
    options->oom_score_adj = 500;
    const char *score = wh_env_get(j->base_env, "PIPELINE_JOB_OOMSCOREADJ");
    int64_t value;
    if (score && wh_parse_i64(score, -1000, 1000, &value))
        options->oom_score_adj = (int)value;
    wh_autofree char *name = wh_printf("step-%zu", j->ncgroups + 1);
    int cgroup = wh_job_cgroup_leaf(name);
    if (cgroup >= 0) {
        j->cgroups = wh_reallocarray(j->cgroups, j->ncgroups + 1, sizeof(int));
        j->cgroups[j->ncgroups++] = cgroup;
        options->cgroups[options->ncgroups++] = cgroup;
    }
    struct wh_child_events events = {
        .line = wh_run_line, .frame = wh_run_frame, .hold = wh_run_hold, .data = j->running};
    j->running->job = j;
    return wh_child_start(&j->loop, options, fn, data, &events, NULL, err);
}

struct wh_child *wh_script_start(struct wh_job *j, struct wh_run *run, struct wh_error *err)
{
    wh_say_debug(j, "Loading inputs");
    struct wh_template_env env = wh_context_template(j, WH_PLACE_STEP);
    wh_autovalue *inputs = wh_token_eval_strings(run->step->inputs, false, &env, err);
    if (!inputs) {
        wh_context_say_errors(j, &env, NULL);
        return NULL;
    }
    wh_say_debug(j, "Loading env");
    struct shell s __attribute__((cleanup(shell_clear))) = {0};
    wh_autostrv char **argv = NULL;
    if (prepare_command(j, run, inputs, &s, &argv, err) < 0)
        return NULL;
    wh_autofree char *directory = working_directory(j, run, inputs);
    wh_autostrv char **environment = wh_environ_of(j, run, NULL);
    if (j->container)
        return wh_container_child(j, argv, environment, directory, err);
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.path = s.path;
    options.argv = argv;
    options.env = environment;
    options.cwd = directory;
    wh_autoerror cause = {0};
    struct wh_child *child = wh_run_child(j, &options, NULL, NULL, &cause);
    if (!child)
        wh_fail(err, WH_E_FAILED,
                "An error occurred trying to start process '%s' with working directory '%s'. %s", s.path,
                directory, cause.sys_errno ? strerror(cause.sys_errno) : wh_error_text(&cause));
    return child;
}
