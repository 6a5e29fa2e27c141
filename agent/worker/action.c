/* Native actions: the child that runs a stage (job-execution.md §5.2, §7.2). */
#include "worker/job.h"
#include "worker/local_checkout.h"

void wh_action_frame(void *job, struct wh_frame *frame)
{
    struct wh_job *j = job;
    if (!wh_streq(wh_json_string(frame->json, "type"), "build") || frame->nfds != 1)
        return;
    wh_autojson *request = cJSON_CreateObject();
    wh_json_add_string(request, "type", "build");
    wh_job_send(j, request, frame->fds, 1);
}

struct wh_child *wh_action_start(struct wh_job *j, struct wh_run *run, struct wh_error *err)
{
    wh_autovalue *inputs = wh_inputs_evaluate(j, run, err);
    if (!inputs)
        return NULL;
    wh_autostrv char **environment = wh_environ_of(j, run, inputs);
    wh_inputs_say_header(j, run, inputs);
    char *name[] = {run->main ? "wherry: post" : "wherry: main", NULL};
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.argv = name;
    options.env = environment;
    options.cwd = j->dirs.workspace;
    struct wh_action_stage stage = {.action = run->action,
                                    .version = run->version,
                                    .ref = run->step->reference.ref,
                                    .post = run->main != NULL,
                                    .control = 3};
    const char *source = wh_json_string(j->options, "localRepository");
    struct wh_local_checkout local = {.source = source, .workspace = j->dirs.workspace};
    return run->local_checkout ? wh_run_child(j, &options, wh_local_checkout_main, &local, err)
                               : wh_run_child(j, &options, wh_action_stage_main, &stage, err);
}
