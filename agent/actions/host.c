/* The host of native actions: one stage as the life of a forked child, and what it sees of its job. */
#include <cjson/cJSON.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "wherry/actions/action.h"
#include "wherry/base/digest.h"
#include "wherry/base/frame.h"
#include "wherry/base/fs.h"

#define MAX_EVENT ((size_t)32 << 20)

struct wh_action_run {
    const struct wh_action_stage *stage;
    char **kept; /* values that were handed out */
    cJSON *event;
};

extern char **environ;

/* The toolkit's rule: blanks become underscores, then upper case; a hyphen stays. */
static char *variable(const char *prefix, const char *name, bool upper)
{
    char *text = wh_printf("%s%s", prefix, name);
    for (char *p = text + strlen(prefix); *p && upper; p++)
        if (*p == ' ')
            *p = '_';
    if (upper)
        wh_ascii_upper(text);
    return text;
}

const struct wh_action_version *wh_action_version(const struct wh_action_run *run)
{
    return &run->stage->version;
}

const char *wh_action_ref(const struct wh_action_run *run)
{
    return run->stage->ref;
}

const char *wh_action_env(const char *name)
{
    const char *value = wh_env_get(environ, name);
    return value ? value : "";
}

const char *wh_action_input_raw(struct wh_action_run *run, const char *name)
{
    (void)run;
    wh_autofree char *key = variable("INPUT_", name, true);
    return wh_action_env(key);
}

const char *wh_action_input(struct wh_action_run *run, const char *name)
{
    const char *raw = wh_action_input_raw(run, name);
    struct wh_view trimmed = wh_view_trim(wh_view_of(raw));
    if (trimmed.len == strlen(raw))
        return raw;
    char *copy = wh_view_dup(trimmed);
    wh_strv_take(&run->kept, copy);
    return copy;
}

int wh_action_input_bool(struct wh_action_run *run, const char *name, bool *out, struct wh_error *err)
{
    static const char *const yes[] = {"true", "True", "TRUE"};
    static const char *const no[] = {"false", "False", "FALSE"};
    const char *text = wh_action_input(run, name);
    for (size_t i = 0; i < WH_COUNT(yes); i++) {
        if (wh_streq(text, yes[i]) || wh_streq(text, no[i])) {
            *out = wh_streq(text, yes[i]);
            return 0;
        }
    }
    return wh_fail(err, WH_E_ARGUMENT,
                   "Input does not meet YAML 1.2 \"Core Schema\" specification: %s\n"
                   "Support boolean input list: `true | True | TRUE | false | False | FALSE`",
                   name);
}

const char *wh_action_state(struct wh_action_run *run, const char *name)
{
    (void)run;
    wh_autofree char *key = variable("STATE_", name, false);
    return wh_action_env(key);
}

const struct cJSON *wh_action_event(struct wh_action_run *run)
{
    if (!run->event) {
        const char *path = wh_action_env("GITHUB_EVENT_PATH");
        run->event = path[0] ? wh_json_read_file(path, MAX_EVENT, NULL) : NULL;
        if (!run->event)
            run->event = cJSON_CreateObject();
    }
    return run->event;
}

bool wh_action_debug_enabled(void)
{
    return wh_streq(wh_action_env("RUNNER_DEBUG"), "1");
}

/* ---- cancellation ---- */

static volatile sig_atomic_t canceled;
static volatile sig_atomic_t watching;

static void note_signal(int signal)
{
    (void)signal;
    canceled = 1;
}

bool wh_action_canceled(void)
{
    if (!watching) {
        watching = 1;
        struct sigaction action = {.sa_handler =
                                       note_signal}; /* no SA_RESTART: blocking calls return EINTR */
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
    }
    return canceled != 0;
}

/* ---- results ---- */

/* Appends NAME<<DELIMITER blocks as the toolkit does; the delimiter is random, so no value can end it early.
 */
static int append_pair(const char *file_variable, const char *name, const char *value, struct wh_error *err)
{
    const char *path = wh_action_env(file_variable);
    if (path[0] == '\0')
        return wh_fail(err, WH_E_ARGUMENT, "%s is not set: '%s' can't be handed to the runner", file_variable,
                       name);
    char guid[37];
    wh_guid(guid);
    wh_autostr text = {0};
    wh_str_addf(&text, "%s<<ghadelimiter_%s\n%s\nghadelimiter_%s\n", name, guid, value, guid);
    wh_autoclose int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return wh_fail_errno(err, "open %s (%s)", path, file_variable);
    return wh_write_all(fd, text.data, text.len, err);
}

static int append_text(const char *file_variable, const char *text, struct wh_error *err)
{
    const char *path = wh_action_env(file_variable);
    wh_autoclose int fd = path[0] ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (fd < 0)
        return wh_fail(err, WH_E_IO, "%s can't be written to (%s)", file_variable, path);
    return wh_write_all(fd, text, strlen(text), err);
}

int wh_action_set_output(struct wh_action_run *run, const char *name, const char *value, struct wh_error *err)
{
    (void)run;
    return append_pair("GITHUB_OUTPUT", name, value, err);
}

int wh_action_save_state(struct wh_action_run *run, const char *name, const char *value, struct wh_error *err)
{
    (void)run;
    return append_pair("GITHUB_STATE", name, value, err);
}

int wh_action_export_env(struct wh_action_run *run, const char *name, const char *value, struct wh_error *err)
{
    (void)run;
    /* Not wh_env_set(): the vector may be the C library's by now, with a room of its own reckoning. */
    if (setenv(name, value, 1) < 0)
        return wh_fail_errno(err, "set the variable '%s'", name);
    return append_pair("GITHUB_ENV", name, value, err);
}

int wh_action_add_path(struct wh_action_run *run, const char *folder, struct wh_error *err)
{
    (void)run;
    wh_autofree char *path = wh_printf("%s:%s", folder, wh_action_env("PATH"));
    if (setenv("PATH", path, 1) < 0)
        return wh_fail_errno(err, "set PATH");
    wh_autofree char *line = wh_printf("%s\n", folder);
    return append_text("GITHUB_PATH", line, err);
}

int wh_action_add_summary(struct wh_action_run *run, const char *markdown, struct wh_error *err)
{
    (void)run;
    return append_text("GITHUB_STEP_SUMMARY", markdown, err);
}

int wh_action_build_channel(struct wh_action_run *run, struct wh_error *err)
{
    if (run->stage->control < 0)
        return wh_fail(err, WH_E_UNSUPPORTED, "no builder can be asked for here");
    wh_autoclose int near = -1;
    wh_autoclose int far = -1;
    int pair[2];
    if (wh_frame_pair(pair, err) < 0)
        return -1;
    near = pair[0];
    far = pair[1];
    wh_autojson *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "build");
    if (wh_frame_send(run->stage->control, frame, &far, 1, err) < 0)
        return wh_wrap(err, "ask for a builder");
    return wh_steal_fd(&near);
}

/* ---- the stage ---- */

int wh_action_stage_main(void *data)
{
    const struct wh_action_stage *stage = data;
    struct wh_action_run run = {.stage = stage};
    setvbuf(stdout, NULL, _IOLBF, 0);
    wh_action_stage_fn stage_fn = stage->post ? stage->action->post : stage->action->main;
    int code = stage_fn ? stage_fn(&run) : 0;
    fflush(stdout);
    cJSON_Delete(run.event);
    wh_strv_free(run.kept);
    return code;
}
