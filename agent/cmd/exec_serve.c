/* Caches and artifacts of a local run: one service for all its jobs, so that one downloads what another left.
 */
#include <unistd.h>

#include "cmd/exec.h"
#include "wherry/base/digest.h"
#include "wherry/base/log.h"
#include "wherry/serve/serve.h"

/* Scripts alone never ask for it. */
static bool has_actions(const cJSON *message)
{
    const cJSON *step;
    cJSON_ArrayForEach(step, wh_json_get(message, "steps"))
    {
        if (!wh_streq(wh_json_string(wh_json_get(step, "reference"), "type"), "script"))
            return true;
    }
    return false;
}

static struct wh_serve *serve_of(struct exec_run *run, struct wh_error *err)
{
    const struct exec_place *place = run->place;
    struct wh_serve_options options = {.state = run->state,
                                       .job_uid = place->other ? place->user.uid : getuid(),
                                       .job_gid = place->other ? place->user.gid : getgid(),
                                       .artifacts = WH_ARTIFACTS_LOCAL};
    if (!run->serve) {
        wh_guid(run->run_id);
        run->serve = wh_serve_new(&run->loop, &options, err);
    }
    return run->serve;
}

char *exec_serve_job(struct exec_run *run, cJSON *frame)
{
    cJSON *message = cJSON_GetObjectItem(frame, "message");
    const char *id = wh_json_string(message, "jobId");
    wh_autoerror err = {0};
    if (!id || !has_actions(message))
        return NULL;
    struct wh_serve *serve = serve_of(run, &err);
    cJSON *services = serve ? wh_serve_job(serve, id, message, run->run_id, &err) : NULL;
    if (!services) {
        wh_log_warning("no cache and no artifacts for this job: %s", wh_error_text(&err));
        return NULL;
    }
    /* As a secret variable, so that the worker masks it. */
    cJSON *variables = cJSON_GetObjectItem(message, "variables");
    cJSON *variable = cJSON_AddObjectToObject(variables, "wherry.services.token");
    wh_json_add_string(variable, "value", wh_json_string(services, "token"));
    cJSON_AddBoolToObject(variable, "isSecret", true);
    cJSON_AddItemToObject(cJSON_GetObjectItem(frame, "options"), "services", services);
    return wh_strdup(id);
}

void exec_serve_job_end(struct exec_run *run, const char *id)
{
    if (id)
        wh_serve_job_end(run->serve, id);
}
