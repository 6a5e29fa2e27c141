/* Locations inside this room. */
#ifndef WH_GITHUB_LOCATION_INTERNAL_H
#define WH_GITHUB_LOCATION_INTERNAL_H

#include "wherry/github/location.h"

/* connectionData below a server's URL. */
#define GH_CONNECTION_DATA "_apis/connectionData?connectOptions=1&lastChangeId=-1&lastChangeId64=-1"
#define GH_OPTIONS "_apis/"
#define GH_CONNECT_TRIES 5
#define GH_CONNECT_PAUSE_MS 100

struct wh_locations *gh_locations_read(const cJSON *json, const char *base, struct wh_error *err);
/* "application/json; charset=utf-8; api-version=5.1-preview.1" and the like; owned by the caller. */
char *gh_versioned(const char *type, const char *version);

#endif
