/* Shared by the two halves of the action.yml reader. */
#ifndef WH_JOB_MANIFEST_IMPL_H
#define WH_JOB_MANIFEST_IMPL_H

#include "wherry/job/convert.h"
#include "wherry/job/manifest.h"

/* The steps of a composite; 0 or -1 with the error's place in err. */
int wh_action_manifest_read_steps(struct wh_action_manifest *m, struct wh_convert *t,
                                  const struct wh_yaml *steps, struct wh_error *err);
/* Every key of the mapping is one of the names (NULL-terminated). */
int wh_action_manifest_check_keys(const struct wh_convert *t, const struct wh_yaml *map,
                                  const char *const *names, struct wh_error *err);

#endif
