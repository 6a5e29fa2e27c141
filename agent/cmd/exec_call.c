/* Workflows that jobs call. */
#include <stdio.h>

#include "cmd/exec.h"
#include "wherry/base/fs.h"

void exec_call(struct exec_run *run, struct wh_graph_job *job)
{
    struct wh_workflow_reference ref = {0};
    wh_autoerror err = {0};
    struct wh_workflow *called = NULL;
    if (wh_workflow_reference_parse(wh_graph_uses(job), &ref, &err) == 0) {
        if (ref.repository)
            wh_fail(&err, WH_E_UNSUPPORTED, "%s: workflows of other repositories are not fetched yet",
                    wh_graph_uses(job));
        else
            called = exec_file_read(ref.path, ref.path, &err);
    }
    wh_workflow_reference_clear(&ref);
    if (called) {
        (void)wh_graph_call(job, called, NULL, NULL);
        return;
    }
    wh_graph_start(job);
    wh_graph_fail(job, wh_error_text(&err));
    (void)run;
}
