/* Shared by workflow.c (reading and checking) and message.c (the job message). */
#ifndef WH_WORKFLOW_INTERNAL_H
#define WH_WORKFLOW_INTERNAL_H

#include "wherry/base/yaml.h"
#include "wherry/job/convert.h"
#include "wherry/workflow/workflow.h"

struct wh_workflow {
    char *file; /* as shown */
    struct wh_yaml_doc doc;
    const struct wh_yaml *root;
    const struct wh_yaml *jobs; /* mapping */
};

/* Checks one step's keys and fills in what its kind is. */
int wh_workflow_check_step(const struct wh_convert *t, const struct wh_yaml *step, struct wh_error *err);
const struct wh_yaml *wh_workflow_job(const struct wh_workflow *w, const char *id);

#endif
