/* What would run: lists, drawings, and a run in which nothing is done. */
#include <stdio.h>

#include "cmd/exec.h"

int exec_list(const struct exec_files *f)
{
    for (size_t k = 0; k < f->n; k++) {
        const struct wh_workflow *w = f->workflows[k];
        if (f->n > 1)
            printf("%s%s\n", k ? "\n" : "", wh_workflow_name(w));
        for (size_t i = 0; i < wh_workflow_job_count(w); i++) {
            wh_autofree char *name = wh_workflow_job_name(w, i);
            printf("%-24s %s\n", wh_workflow_job_id(w, i), name);
        }
    }
    return 0;
}
