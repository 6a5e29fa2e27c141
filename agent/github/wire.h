/* The service's words for results and steps, and their JSON (runner-protocol.md §0.1, §4.5, §5.1). */
#ifndef WH_GITHUB_WIRE_H
#define WH_GITHUB_WIRE_H

#include "wherry/github/job.h"

/* One member of completejob's stepResults. */
cJSON *gh_step_result(const struct wh_step_record *step);
/* One member of WorkflowStepsUpdate's steps. */
cJSON *gh_step_update(const struct wh_step_record *step);
/* At most WH_MAX_ANNOTATIONS of each level; step_number 0: of the job. */
cJSON *gh_annotations(const struct wh_annotation *annotations, size_t count, int step_number);
/* An annotation in our own files; its texts are owned when it was read. */
cJSON *gh_annotation_json(const struct wh_annotation *a);
struct wh_annotation gh_annotation_read(const cJSON *json);
/* The whole body of completejob. */
cJSON *gh_completion_body(const char *plan_id, const char *job_id, const char *billing_owner_id,
                          const struct wh_github_completion *completion);

#endif
