/* Where the resources of a V1 server are (runner-protocol.md §1.5, appendix A): its connectionData names a
 * path template and a range of versions for each, by GUID. No path of V1 is written down in this program.
 *
 * The map is a plain value; this header has it and the blocking way to get it, for commands. On a loop,
 * struct gh_tenant (agent/github/tenant.h) asks for the map itself and makes calls by resource. */
#ifndef WH_GITHUB_LOCATION_H
#define WH_GITHUB_LOCATION_H

#include "wherry/net/http.h"

#define WH_MAX_LOCATIONS 4096                    /* definitions of one server; more are refused */
#define WH_MAX_CONNECTION_DATA ((size_t)4 << 20) /* bytes of the answer */
#define WH_MAX_ROUTE_TEMPLATE 1024               /* characters; longer ones are skipped */

enum wh_resource {
    WH_RESOURCE_POOLS,          /* poolId */
    WH_RESOURCE_AGENTS,         /* poolId, agentId */
    WH_RESOURCE_SESSIONS,       /* poolId, sessionId */
    WH_RESOURCE_MESSAGES,       /* poolId: to get the next one */
    WH_RESOURCE_MESSAGE,        /* poolId, messageId: to delete one (the same resource, of another version) */
    WH_RESOURCE_JOBREQUESTS,    /* poolId, requestId */
    WH_RESOURCE_AGENT_UPDATES,  /* poolId, agentId */
    WH_RESOURCE_CONFIG_REFRESH, /* agentId */
    WH_RESOURCE_JOB_MESSAGE,    /* messageId */
    /* All of these: scopeIdentifier, hubName (plan.planType), planId, and */
    WH_RESOURCE_TIMELINES,   /* timelineId */
    WH_RESOURCE_RECORDS,     /* timelineId */
    WH_RESOURCE_FEED,        /* timelineId, recordId */
    WH_RESOURCE_LOGS,        /* logId */
    WH_RESOURCE_ATTACHMENTS, /* timelineId, recordId, type, name */
    WH_RESOURCE_PLAN_EVENTS,
    WH_RESOURCE_ACTION_DOWNLOAD_INFO,
    WH_RESOURCES
};
const char *wh_resource_text(enum wh_resource resource); /* "pools", for errors and logs */

/* ---- the map ---- */
struct wh_locations;
/* From the body of connectionData, or of OPTIONS _apis/ (a list): whichever it is. base: the server's URL, to
 * which templates are appended. NULL with an error where it has no definitions at all. */
struct wh_locations *wh_locations_parse(const char *text, size_t len, const char *base, struct wh_error *err);
void wh_locations_free(struct wh_locations *l);
void wh_locations_free_ptr(struct wh_locations **l);
#define wh_autolocations __attribute__((cleanup(wh_locations_free_ptr))) struct wh_locations
bool wh_locations_has(const struct wh_locations *l, enum wh_resource resource);

struct wh_route_value { /* a list ends with {NULL} */
    const char *name;   /* any case */
    const char *value;  /* NULL: unset; its segment falls away */
};
struct wh_route {
    char *url;        /* values are percent-encoded */
    char version[40]; /* what to name as api-version: "5.1-preview.1" */
};
/* values may be NULL. Fails where the server does not have the resource, or only in newer versions than ours.
 */
int wh_locations_route(const struct wh_locations *l, enum wh_resource resource,
                       const struct wh_route_value *values, struct wh_route *out, struct wh_error *err);
void wh_route_clear(struct wh_route *route);
#define wh_autoroute __attribute__((cleanup(wh_route_clear))) struct wh_route
/* One parameter of the query, percent-encoded. */
void wh_route_query(struct wh_route *route, const char *name, const char *value);

/* ---- blocking, on a private client ---- */
/* connectionData of base (up to 5 tries, 100 ms apart), else OPTIONS. token (Bearer) may be NULL: it is
 * public. */
struct wh_locations *wh_locations_fetch(struct wh_http_client *http, const char *base,
                                        const struct wh_secret *token, struct wh_error *err);
/* A request that names the version as V1 wants it: in Accept, and in Content-Type of a body (JSON, may be
 * NULL). Owned by the caller, who sends it. */
struct wh_http *wh_route_request(struct wh_http_client *http, const char *method,
                                 const struct wh_route *route, const struct wh_secret *token,
                                 const cJSON *body);

/* ---- errors of V1 (§0.3) ---- */
#define WH_MAX_ERROR_TYPE 120 /* characters; the rest is cut */
/* The body's typeKey (or what the header X-TFS-ServiceError names) without a namespace, such as
 * "TaskAgentExistsException"; NULL if there is none. Owned by the caller. */
char *wh_v1_error_type(const struct wh_http *r);

#endif
