/* Resolving actions, inside this room. */
#ifndef WH_GITHUB_ACTIONS_INTERNAL_H
#define WH_GITHUB_ACTIONS_INTERNAL_H

#include "wherry/github/actions.h"

/* Reads {"actions": {"owner/repo@ref": {...}}}, in the words of the launch service or of V1. */
int gh_actions_take(struct wh_action_download *list, size_t n, const cJSON *json, struct wh_error *err);
/* The V1 server's resource (§4.3). 1: done; 0: try again, err says why; negative: final. */
int gh_actions_ask_v1(struct wh_http_client *http, const cJSON *facts, struct wh_action_download *list,
                      size_t n, struct wh_error *err);

#endif
