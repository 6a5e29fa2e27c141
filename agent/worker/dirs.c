/* The folders of a job (job-execution.md §3). */
#include <unistd.h>

#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "worker/job.h"

static const char *repository_name(const struct wh_job *j)
{
    const char *full = wh_value_text(wh_object_get(j->github, "repository"));
    const char *slash = strrchr(full, '/');
    return slash ? slash + 1 : full;
}

/* A name that is one folder: what comes from the message must not lead out of the work folder. */
static bool is_plain_name(const char *name)
{
    return name[0] != '\0' && !strchr(name, '/') && !wh_streq(name, ".") && !wh_streq(name, "..");
}

/* What earlier jobs of the repository left is cleaned as `workspace.clean` says. */
static int clean(struct wh_job *j, struct wh_error *err)
{
    const char *how = j->message->workspace_clean;
    if (wh_streq_ci(how, "all"))
        return wh_remove_tree(AT_FDCWD, j->dirs.pipeline, err);
    if (wh_streq_ci(how, "resources"))
        return wh_remove_tree(AT_FDCWD, j->dirs.workspace, err);
    if (!wh_streq_ci(how, "outputs"))
        return 0;
    /* Everything but the repository: it steps aside for a moment. */
    wh_autofree char *aside = wh_printf("%s/_keep_%d", j->dirs.work, (int)getpid());
    bool moved = rename(j->dirs.workspace, aside) == 0;
    int n = wh_remove_tree(AT_FDCWD, j->dirs.pipeline, err);
    if (moved && (wh_mkdir_p(j->dirs.pipeline, 0755, err) < 0 || rename(aside, j->dirs.workspace) < 0))
        return wh_fail_errno(err, "put %s back", j->dirs.workspace);
    return n;
}

static int write_mapping(struct wh_job *j, const char *name, struct wh_error *err)
{
    const char *repository = wh_value_text(wh_object_get(j->github, "repository"));
    wh_autofree char *folder = wh_printf("%s/_PipelineMapping/%s", j->dirs.work, repository);
    wh_autofree char *path = wh_printf("%s/PipelineFolder.json", folder);
    wh_autofree char *workspace = wh_printf("%s/%s", name, name);
    char now[40];
    wh_time_iso(wh_now_ns(), 7, now);
    wh_autojson *json = cJSON_CreateObject();
    wh_json_add_string(json, "repositoryName", repository);
    wh_json_add_string(json, "pipelineDirectory", name);
    wh_json_add_string(json, "workspaceDirectory", workspace);
    cJSON *one = cJSON_AddObjectToObject(cJSON_AddObjectToObject(json, "repositories"), repository);
    wh_json_add_string(one, "repositoryPath", workspace);
    wh_json_add_string(one, "lastRunOn", now);
    wh_json_add_string(json, "lastRunOn", now);
    wh_autofree char *text = wh_json_print_indented(json);
    if (wh_mkdir_p(folder, 0755, err) < 0)
        return -1;
    /* No fsync: it is a note for people, written anew by each job. */
    wh_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return wh_fail_errno(err, "write %s", path);
    return wh_write_all(fd, text, strlen(text), err);
}

int wh_dirs_empty_temp(struct wh_job *j, struct wh_error *err)
{
    return wh_remove_contents(AT_FDCWD, j->dirs.temp, err);
}

static int make_all(struct wh_job *j, struct wh_error *err)
{
    wh_autofree char *workflow = wh_path_join(j->dirs.temp, "_github_workflow");
    wh_autofree char *actions = wh_path_join(j->dirs.work, "_actions");
    if (wh_remove_tree(AT_FDCWD, actions, err) < 0)
        return -1;
    const char *const folders[] = {actions,           j->dirs.temp, workflow,     j->dirs.commands,
                                   j->dirs.workspace, j->dirs.home, j->dirs.tools};
    for (size_t i = 0; i < WH_COUNT(folders); i++)
        if (wh_mkdir_p(folders[i], 0755, err) < 0)
            return -1;
    return 0;
}

int wh_dirs_prepare(struct wh_job *j, struct wh_error *err)
{
    struct wh_dirs *d = &j->dirs;
    const char *work = wh_json_string(j->runner, "workDir");
    if (!work || work[0] != '/')
        return wh_fail(err, WH_E_PROTOCOL, "the runner's work folder is not given as an absolute path");
    const char *name = repository_name(j);
    if (!is_plain_name(name))
        return wh_fail(err, WH_E_PARSE, "github.repository '%s' gives no folder name",
                       wh_value_text(wh_object_get(j->github, "repository")));
    const char *temp = wh_json_string(j->runner, "temp");
    const char *tools = wh_json_string(j->runner, "toolCache");
    d->work = wh_strdup(work);
    d->temp = temp ? wh_strdup(temp) : wh_path_join(work, "_temp");
    d->tools = tools ? wh_strdup(tools) : wh_path_join(work, "_tool");
    d->pipeline = wh_path_join(work, name);
    d->workspace = wh_path_join(d->pipeline, name);
    d->commands = wh_path_join(d->temp, "_runner_file_commands");
    d->event = wh_path_join(d->temp, "_github_workflow/event.json");
    d->home = wh_path_join(d->temp, "_github_home");
    if (wh_mkdir_p(d->work, 0755, err) < 0 || wh_mkdir_p(d->temp, 0755, err) < 0 ||
        wh_dirs_empty_temp(j, err) < 0 || clean(j, err) < 0 || make_all(j, err) < 0)
        return wh_wrap(err, "prepare the work folder");
    return write_mapping(j, name, err);
}

void wh_dirs_clear(struct wh_dirs *d)
{
    char **all[] = {&d->work,      &d->temp,     &d->tools, &d->pipeline,
                    &d->workspace, &d->commands, &d->event, &d->home};
    for (size_t i = 0; i < WH_COUNT(all); i++)
        wh_free_ptr(all[i]);
}

/* Nobody but the system sets the time of change, so a step that touched the file is noticed. */
static bool event_is_untouched(const struct wh_dirs *d)
{
    struct stat st;
    return d->written.st_ino != 0 && lstat(d->event, &st) == 0 && st.st_ino == d->written.st_ino &&
           st.st_dev == d->written.st_dev && st.st_size == d->written.st_size &&
           st.st_ctim.tv_sec == d->written.st_ctim.tv_sec && st.st_ctim.tv_nsec == d->written.st_ctim.tv_nsec;
}

int wh_dirs_write_event(struct wh_job *j, struct wh_error *err)
{
    if (event_is_untouched(&j->dirs))
        return 0;
    const struct wh_value *event = wh_object_get(j->github, "event");
    wh_autostr text = {0};
    if (wh_value_kind(event) == WH_OBJECT)
        wh_value_add_event_json(&text, event);
    else
        wh_str_add(&text, "{}");
    wh_autoclose int fd = open(j->dirs.event, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return wh_fail_errno(err, "write %s", j->dirs.event);
    if (wh_write_all(fd, text.data, text.len, err) < 0)
        return -1;
    if (fstat(fd, &j->dirs.written) < 0)
        j->dirs.written.st_ino = 0;
    return 0;
}
