/* Builders of the native engine, as files that setup-buildx leaves and build-push reads (actions.md §3). */
#ifndef WH_ACTIONS_BUILDX_H
#define WH_ACTIONS_BUILDX_H

#include "wherry/base/json.h"

/* $BUILDX_CONFIG, else $DOCKER_CONFIG/buildx, else ~/.docker/buildx. Owned. */
char *wh_buildx_config_dir(void);
/* Names that buildx takes: letters, digits, -_. ; WH_E_ARGUMENT otherwise. */
int wh_buildx_name_check(const char *name, struct wh_error *err);
/* 1: there; 0: not; *driver (owned, may be NULL) is set. */
int wh_buildx_find(const char *name, char **driver, struct wh_error *err);
int wh_buildx_create(const char *name, const char *driver, bool use, struct wh_error *err);
int wh_buildx_remove(const char *name, struct wh_error *err);
/* BUILDX_BUILDER, else the one in use, else "default". Owned. */
char *wh_buildx_current(void);
/* The nodes output: [{"name","endpoint","status","buildkit","platforms"}]; owned by the caller. */
cJSON *wh_buildx_nodes(const char *name);
/* "linux/amd64" of this machine; static. */
const char *wh_buildx_platform(void);

#endif
