/* docker/build-push-action, in parts: inputs to a request, what the log shows. Private to agent/actions/. */
#ifndef WH_ACTIONS_BUILD_PUSH_H
#define WH_ACTIONS_BUILD_PUSH_H

#include "wherry/actions/action.h"
#include "wherry/build/request.h"

/* An output whose bytes this side takes: a file, or a folder that a tar stream is unpacked into. */
struct wh_push_dest {
    int pipe;     /* owned: the read end of a tar stream, or -1 for a plain file */
    char *folder; /* owned */
};
struct wh_push_plan {
    struct wh_build_request *request; /* owned */
    struct wh_push_dest dests[WH_MAX_BUILD_OUTPUTS];
    size_t ndests;
    bool has_output; /* any, by push, load or outputs */
};
/* Reads every input; fails with its name if it breaks its format or can't be done yet. */
int wh_build_push_inputs(struct wh_action_run *run, struct wh_push_plan *plan, struct wh_error *err);
void wh_push_plan_clear(struct wh_push_plan *plan);

/* The groups before the build. 0, or negative if there is no such builder. */
int wh_build_push_head(struct wh_action_run *run, char **builder, struct wh_error *err);
/* Outputs imageid, digest, metadata, and the groups after the build. */
int wh_build_push_tail(struct wh_action_run *run, const char *builder, const struct wh_build_result *result,
                       struct wh_error *err);

#endif
