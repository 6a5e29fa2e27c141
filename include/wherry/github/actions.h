/* Resolving actions to archives, as the launch service does (runner-protocol.md §4.3; job-execution.md §7.5).
 * Blocking: for the fetcher's process. */
#ifndef WH_GITHUB_ACTIONS_H
#define WH_GITHUB_ACTIONS_H

#include "wherry/net/http.h"

#define WH_MAX_ACTION_DOWNLOADS 1000
#define WH_RESOLVE_TRIES 3
#define WH_RESOLVE_RETRY_MIN_MS 10000u
#define WH_RESOLVE_RETRY_MAX_MS 30000u
#define WH_RESOLVE_LOCAL_MIN_MS 500u /* without a service */
#define WH_RESOLVE_LOCAL_MAX_MS 1500u

struct wh_action_download {
    char *name, *ref, *path; /* asked for: "owner/repo", "v4", "" */
    /* the answer; owned */
    char *resolved_name;
    char *sha; /* hexadecimal, checked */
    char *tar_url;
    struct wh_secret *token;                /* for tar_url alone; NULL: the job's own */
    char *package_version, *package_digest; /* of an immutable package; NULL */
};
void wh_action_download_clear(struct wh_action_download *d);

/* What a fetcher must know of a job, from the agent's own reading of the message: plan, job, launch (the
 * service's URL), token, githubToken, apiUrl, serverUrl, dependencies, bearerCodeload, helpfulErrors; for V1
 * messages v1 with what that needs. It holds tokens: wh_json_wipe() it. Owned by the caller. */
cJSON *wh_github_action_facts(const cJSON *message);
void wh_github_action_facts_free(cJSON *facts);

/* A line for the job's log while it goes on: "warning" or "". */
typedef void (*wh_resolve_say_fn)(void *data, const char *level, const char *text);
/* Fills in all of them, or fails with GitHub's sentence. Without a launch service (a local run) the REST API
 * is asked for the commit. */
int wh_github_actions_resolve(struct wh_http_client *http, const cJSON *facts,
                              struct wh_action_download *list, size_t n, wh_resolve_say_fn say, void *data,
                              struct wh_error *err);
/* The credential that may go to url: the download's own, else the job's, and that one only to the hosts of
 * the job's own server. Sets the request's header. */
void wh_github_action_authorize(struct wh_http *request, const cJSON *facts,
                                const struct wh_action_download *d);

#endif
