/* Builds of a job: the worker asks for a builder by handing over the far end of a channel. */
#include <unistd.h>

#include "daemon/daemon.h"
#include "wherry/base/log.h"

/* ContextData: a bare string, or {"t":0,"s":"..."}. */
static const char *context_text(const cJSON *value)
{
    if (cJSON_IsString(value))
        return value->valuestring;
    return wh_json_string(value, "s");
}

/* A member of ContextData {"t":2,"d":[{"k","v"}]}. */
static const cJSON *context_member(const cJSON *dictionary, const char *name)
{
    const cJSON *pair;
    cJSON_ArrayForEach(pair, wh_json_get(dictionary, "d")) if (wh_streq_ci(wh_json_string(pair, "k"),
                                                                           name)) return wh_json_get(pair,
                                                                                                     "v");
    return NULL;
}

cJSON *builds_scope(const cJSON *message)
{
    const cJSON *github = wh_json_get(wh_json_get(message, "contextData"), "github");
    const char *repository = context_text(context_member(github, "repository"));
    const char *base = context_text(context_member(github, "base_ref"));
    const cJSON *event_repository = context_member(context_member(github, "event"), "repository");
    const char *standard = context_text(context_member(event_repository, "default_branch"));
    cJSON *scope = cJSON_CreateObject();
    /* Without a repository the scope would be that of command line builds: never for a job. */
    wh_json_add_string(scope, "repository", repository && *repository ? repository : "unknown/unknown");
    wh_json_add_string(scope, "ref", context_text(context_member(github, "ref")));
    if (base && *base) {
        wh_autofree char *ref =
            wh_starts_with(base, "refs/") ? wh_strdup(base) : wh_printf("refs/heads/%s", base);
        wh_json_add_string(scope, "baseRef", ref);
    }
    if (standard && *standard) {
        wh_autofree char *ref = wh_printf("refs/heads/%s", standard);
        wh_json_add_string(scope, "defaultRef", ref);
    }
    return scope;
}

static void on_build_exit(struct wh_build_process *p, int exit_code, int signal, void *arg)
{
    struct jobrun *j = arg;
    wh_log_debug("builder ended (%s %d)", signal ? "signal" : "exit code", signal ? signal : exit_code);
    for (size_t i = 0; i < WH_MAX_JOB_BUILDS; i++)
        if (j->builds[i] == p)
            j->builds[i] = NULL;
    jobrun_check_end(j);
}

static bool takes_orders(const struct jobrun *j)
{
    return j->state == JOB_RUNNING || j->state == JOB_CANCELLING || j->state == JOB_LOST;
}

void builds_launch(struct jobrun *j, int channel_fd)
{
    wh_autoerror err = {0};
    const struct job_user *user = &j->r->user;
    size_t free_place = 0;
    /* Else the last words of a worker that was killed: nobody would end this build. */
    if (!takes_orders(j)) {
        close(channel_fd);
        return;
    }
    while (free_place < WH_MAX_JOB_BUILDS && j->builds[free_place])
        free_place++;
    if (free_place == WH_MAX_JOB_BUILDS) {
        wh_log_warning("job %s asks for more than %d builds at once", j->display_name, WH_MAX_JOB_BUILDS);
        close(channel_fd);
        return;
    }
    struct wh_build_launch_options o = {.state = j->r->d->options->state,
                                        .job_uid = user->change ? user->user.uid : geteuid(),
                                        .job_gid = user->change ? user->user.gid : getegid(),
                                        .scope = j->scope};
    j->builds[free_place] = wh_build_launch(&j->r->d->loop, &o, channel_fd, on_build_exit, j, &err);
    if (!j->builds[free_place])
        wh_log_error("start a builder: %s", wh_error_text(&err)); /* the client sees the channel close */
}

static void on_fetch_exit(struct wh_fetch_process *p, int exit_code, int signal, void *arg)
{
    struct jobrun *j = arg;
    wh_log_debug("fetcher ended (%s %d)", signal ? "signal" : "exit code", signal ? signal : exit_code);
    for (size_t i = 0; i < WH_MAX_JOB_FETCHES; i++)
        if (j->fetches[i] == p)
            j->fetches[i] = NULL;
    jobrun_check_end(j);
}

void fetches_launch(struct jobrun *j, int channel_fd)
{
    wh_autoerror err = {0};
    const struct job_user *user = &j->r->user;
    size_t free_place = 0;
    while (free_place < WH_MAX_JOB_FETCHES && j->fetches[free_place])
        free_place++;
    if (!takes_orders(j) || free_place == WH_MAX_JOB_FETCHES) {
        close(channel_fd);
        return;
    }
    struct wh_fetch_options o = {.state = j->r->d->options->state,
                                 .job_uid = user->change ? user->user.uid : geteuid(),
                                 .job_gid = user->change ? user->user.gid : getegid(),
                                 .facts = j->facts};
    j->fetches[free_place] = wh_fetch_launch(&j->r->d->loop, &o, channel_fd, on_fetch_exit, j, &err);
    if (!j->fetches[free_place])
        wh_log_error("%s", wh_error_text(&err)); /* the worker sees the channel close */
}

void builds_kill(struct jobrun *j)
{
    for (size_t i = 0; i < WH_MAX_JOB_FETCHES; i++)
        if (j->fetches[i])
            wh_fetch_kill(j->fetches[i]);
    for (size_t i = 0; i < WH_MAX_JOB_BUILDS; i++)
        if (j->builds[i])
            wh_build_kill(j->builds[i]);
}

bool builds_any(const struct jobrun *j)
{
    for (size_t i = 0; i < WH_MAX_JOB_FETCHES; i++)
        if (j->fetches[i])
            return true;
    for (size_t i = 0; i < WH_MAX_JOB_BUILDS; i++)
        if (j->builds[i])
            return true;
    return false;
}
