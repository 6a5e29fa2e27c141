/* File commands: fresh files for a step, and what it wrote into them (job-execution.md §5.7). */
#include <unistd.h>

#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "wherry/job/filecmd.h"
#include "worker/job.h"

static const struct {
    const char *prefix, *member, *shown;
} kinds[] = {
    [WH_FILE_ENV] = {"set_env_", "env", "env"},
    [WH_FILE_PATH] = {"add_path_", "path", "path"},
    [WH_FILE_OUTPUT] = {"set_output_", "output", "output"},
    [WH_FILE_STATE] = {"save_state_", "state", "state"},
    [WH_FILE_SUMMARY] = {"step_summary_", "step_summary", "step_summary"},
    [WH_FILE_ARTIFACTS] = {"artifacts_", "artifacts", "artifacts"},
    [WH_FILE_ARTIFACTS_LIST] = {"artifacts_list_", "artifacts_list", "artifacts_list"},
};

int wh_files_make(struct wh_job *j, struct wh_run *run, struct wh_error *err)
{
    char guid[37];
    wh_guid(guid);
    for (size_t i = 0; i < WH_COUNT(kinds); i++) {
        free(run->files[i]);
        run->files[i] = wh_printf("%s/%s%s", j->dirs.commands, kinds[i].prefix, guid);
        wh_autoclose int fd = open(run->files[i], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0)
            return wh_fail_errno(err, "make the file command %s", run->files[i]);
        wh_object_set_text(j->github, kinds[i].member, run->files[i]);
    }
    return 0;
}

struct target {
    struct wh_job *job;
    struct wh_run *run;
};

static int need_name(struct wh_view name, struct wh_error *err)
{
    return name.len > 0 ? 0 : wh_fail(err, WH_E_ARGUMENT, "Value cannot be null. (Parameter 'name')");
}

static int env_pair(void *arg, struct wh_view name, struct wh_view value, struct wh_error *err)
{
    const struct target *t = arg;
    wh_autoerror refused = {0};
    if (need_name(name, err) < 0)
        return -1;
    if (wh_filecmd_env_allowed(name, &refused) < 0) {
        wh_say_error(t->job, "%s", wh_error_text(&refused));
        return 0;
    }
    wh_autofree char *name_text = wh_view_dup(name);
    wh_autovalue *text = wh_value_stringn(value.data, value.len);
    if (wh_run_leave_env(t->job, t->run, name_text, wh_value_text(text), err) < 0)
        return -1;
    wh_say_debug(t->job, "%s='%s'", name_text, wh_value_text(text));
    return 0;
}

static int output_pair(void *arg, struct wh_view name, struct wh_view value, struct wh_error *err)
{
    const struct target *t = arg;
    if (need_name(name, err) < 0)
        return -1;
    wh_autofree char *name_text = wh_view_dup(name);
    wh_autovalue *text = wh_value_stringn(value.data, value.len);
    if (wh_run_leave_output(t->job, t->run, name_text, wh_value_text(text), err) < 0)
        return -1;
    wh_say_debug(t->job, "Set output %s = %s", name_text, wh_value_text(text));
    return 0;
}

static int state_pair(void *arg, struct wh_view name, struct wh_view value, struct wh_error *err)
{
    const struct target *t = arg;
    wh_autofree char *name_text = wh_view_dup(name);
    wh_autovalue *text = wh_value_stringn(value.data, value.len);
    struct wh_run *owner = t->run->main ? t->run->main : t->run;
    if (wh_context_keep(t->job, owner->state, name_text, wh_value_text(text), err) < 0)
        return -1;
    wh_say_debug(t->job, "Save intra-action state %s = %s", name_text, wh_value_text(text));
    return 0;
}

static int path_line(void *arg, struct wh_view line, struct wh_error *err)
{
    (void)err;
    const struct target *t = arg;
    wh_autofree char *folder = wh_view_dup(line);
    wh_run_leave_path(t->job, t->run, folder);
    return 0;
}

/* Masked line by line, as the log is. */
static int summary(struct target *t, const struct wh_str *text, struct wh_error *err)
{
    (void)err;
    wh_autoerror too_large = {0};
    int n = wh_filecmd_summary(text->len, &too_large);
    if (n < 0)
        wh_say_error(t->job, "%s", wh_error_text(&too_large));
    if (n <= 0)
        return 0;
    wh_autostr out = {0};
    struct wh_reader r = wh_reader_of(text->data, text->len);
    for (struct wh_view line; wh_reader_line(&r, &line);) {
        wh_autostr clean = {0};
        wh_autostr masked = {0};
        wh_str_add_utf8(&clean, line.data, line.len);
        bool hit = wh_mask(t->job->masker, wh_str_text(&clean), clean.len, &masked);
        wh_str_addn(&out, hit ? wh_str_text(&masked) : wh_str_text(&clean), hit ? masked.len : clean.len);
        if (!wh_reader_end(&r) || text->data[text->len - 1] == '\n')
            wh_str_addc(&out, '\n');
    }
    t->job->sink->ops->summary(t->job->sink, t->run->record, out.data, out.len);
    return 0;
}

static int process(struct target *t, size_t kind, const struct wh_str *text, struct wh_error *err)
{
    switch (kind) {
    case WH_FILE_ENV:
        return wh_filecmd_pairs(text->data, text->len, env_pair, t, err);
    case WH_FILE_PATH:
        return wh_filecmd_lines(text->data, text->len, path_line, t, err);
    case WH_FILE_OUTPUT:
        return wh_filecmd_pairs(text->data, text->len, output_pair, t, err);
    case WH_FILE_STATE:
        return wh_filecmd_pairs(text->data, text->len, state_pair, t, err);
    case WH_FILE_SUMMARY:
        return summary(t, text, err);
    default:
        return 0; /* artifacts need a feature that is off */
    }
}

void wh_files_process(struct wh_job *j, struct wh_run *run)
{
    struct target t = {j, run};
    for (size_t i = 0; i < WH_COUNT(kinds); i++) {
        if (!run->files[i])
            continue;
        wh_autostr text = {0};
        wh_autoerror err = {0};
        struct stat st;
        /* Mostly nothing was written. A deleted one is ignored; what is no plain file is not read. */
        if (lstat(run->files[i], &st) < 0 || (S_ISREG(st.st_mode) && st.st_size == 0))
            continue;
        int n = S_ISREG(st.st_mode) ? wh_read_file(AT_FDCWD, run->files[i], WH_MAX_FILECMD_BYTES, &text, &err)
                                    : wh_fail(&err, WH_E_ARGUMENT, "%s is not a regular file", run->files[i]);
        if (n >= 0)
            n = process(&t, i, &text, &err);
        if (n >= 0)
            continue;
        wh_say_error(j, "Unable to process file command '%s' successfully.", kinds[i].shown);
        wh_say_error(j, "%s", wh_error_text(&err));
        run->command_failed = true;
    }
}
