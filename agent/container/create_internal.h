/* Private to the options of a container. */
#ifndef WH_CONTAINER_CREATE_INTERNAL_H
#define WH_CONTAINER_CREATE_INTERNAL_H

#include "wherry/base/json.h"
#include "wherry/container/create.h"

int create_mount(cJSON *request, const char *text, struct wh_error *err);
int create_tmpfs(cJSON *request, const char *text, struct wh_error *err);

#endif
