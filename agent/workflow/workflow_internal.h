/* Shared by the files of this room. */
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

/* ---- check.c: keys and what is literal ---- */
int wh_workflow_check(struct wh_workflow *w, struct wh_error *err); /* sets root and jobs */
bool wh_workflow_is_nothing(const struct wh_yaml *node);            /* absent or empty */

const struct wh_yaml *wh_workflow_job(const struct wh_workflow *w, const char *id);
/* `on.EVENT` where it has more than its name; NULL. */
const struct wh_yaml *wh_workflow_event_node(const struct wh_workflow *w, const char *event);
/* `needs` of a job, be it one name or a list of them (lint_jobs.c). */
size_t wh_workflow_need_count(const struct wh_yaml *job);
const struct wh_yaml *wh_workflow_need(const struct wh_yaml *job, size_t i);

/* ---- eval.c: errors begin with file and place. contexts: an object ---- */
struct wh_value *wh_workflow_eval(const struct wh_workflow *w, const struct wh_yaml *node,
                                  enum wh_place place, const struct wh_value *contexts, struct wh_error *err);
char *wh_workflow_eval_text(const struct wh_workflow *w, const struct wh_yaml *node, enum wh_place place,
                            const struct wh_value *contexts, struct wh_error *err); /* owned */
int wh_workflow_eval_bool(const struct wh_workflow *w, const struct wh_yaml *node, enum wh_place place,
                          const struct wh_value *contexts, bool *out, struct wh_error *err);
int wh_workflow_eval_number(const struct wh_workflow *w, const struct wh_yaml *node, enum wh_place place,
                            const struct wh_value *contexts, double *out, struct wh_error *err);

/* The expressions of a job that are evaluated before there is a message. */
int wh_workflow_check_places(const struct wh_workflow *w, const struct wh_yaml *job, struct wh_error *err);

/* ---- inputs.c ---- */
/* The inputs context: values as the event's declarations have them, defaults filled in. given: object or
 * NULL. from: the caller's place, for errors; NULL: the command line gave them. */
struct wh_value *wh_workflow_inputs(const struct wh_workflow *w, const char *event,
                                    const struct wh_value *given, const struct wh_value *contexts,
                                    const char *from, struct wh_error *err);

#endif
