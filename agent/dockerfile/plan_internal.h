/* Parts of the stage graph that plan.c, edges.c and eval.c share. */
#ifndef WH_DOCKERFILE_PLAN_INTERNAL_H
#define WH_DOCKERFILE_PLAN_INTERNAL_H

#include "wherry/dockerfile/expand.h"
#include "wherry/dockerfile/plan.h"

/* Sets a variable; it moves to the end, as BuildKit's environment does. */
void df_env_put(char ***env, const char *name, const char *value);
/* The option's own name of the named context that stands for name, or NULL. platform may be NULL. */
const char *df_named_context(const struct wh_df_plan *plan, const char *name, const char *platform);
/* What a name means that is no stage: scratch, named context or image. */
void df_outside_source(const struct wh_df_plan *plan, const char *name, const char *platform,
                       struct wh_df_source *out);
/* By name in any case; of several the last. */
bool df_stage_by_name(const struct wh_df_plan *plan, const char *name, size_t *out);
/* Dependencies, circles, what is needed, and the triggers of stages that stand on stages. */
int df_plan_edges(struct wh_df_plan *plan, struct wh_df_range *where, struct wh_error *err);
/* The i-th instruction that runs in a stage: triggers first. NULL past the end. */
const struct wh_df_instr *df_stage_instr(const struct wh_df_plan_stage *st, size_t i, bool *trigger);

#endif
