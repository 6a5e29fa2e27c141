/* Resolving actions at a V1 server: its action download info (runner-protocol.md §4.3). */
#include "github/actions_internal.h"
#include "wherry/github/location.h"

#define RESOLVE_TIMEOUT_MS 100000u

static cJSON *request_body(const cJSON *facts, const struct wh_action_download *list, size_t n)
{
    cJSON *body = cJSON_CreateObject();
    cJSON *actions = cJSON_AddArrayToObject(body, "actions");
    for (size_t i = 0; i < n; i++) {
        cJSON *one = cJSON_CreateObject();
        wh_json_add_string(one, "nameWithOwner", list[i].name);
        wh_json_add_string(one, "ref", list[i].ref);
        wh_json_add_string(one, "path", list[i].path && list[i].path[0] ? list[i].path : NULL);
        cJSON_AddItemToArray(actions, one);
    }
    const cJSON *dependencies = wh_json_get(facts, "dependencies");
    if (dependencies)
        cJSON_AddItemToObject(body, "dependencies", cJSON_Duplicate(dependencies, true));
    return body;
}

/* That the action isn't there is the user's to mend; all else may pass. */
static int refused(const struct wh_http *request, struct wh_error *err)
{
    int status = wh_http_status(request);
    wh_autofree char *type = wh_v1_error_type(request);
    wh_autojson *json = wh_http_response_json(request, NULL);
    const char *message = wh_json_string(json, "message");
    bool missing = type && wh_starts_with_ci(type, "UnresolvableActionDownloadInfo");
    if (message && (missing || status == 422))
        return wh_fail(err, WH_E_NOT_FOUND, "%s", message);
    (void)wh_http_check(request, err);
    return status == 401 || status == 403 || status == 404 || status == 429 ? -1 : 0;
}

int gh_actions_ask_v1(struct wh_http_client *http, const cJSON *facts, struct wh_action_download *list,
                      size_t n, struct wh_error *err)
{
    const cJSON *v1 = wh_json_get(facts, "v1");
    const char *token = wh_json_string(facts, "token"), *base = wh_json_string(v1, "url");
    if (!token || !base)
        return wh_fail(err, WH_E_PROTOCOL, "the job's message names no server to ask for actions");
    wh_autosecret *secret = wh_secret_new(token, strlen(token));
    wh_autolocations *locations = wh_locations_fetch(http, base, secret, err);
    if (!locations)
        return 0;
    struct wh_route_value values[] = {{"scopeIdentifier", wh_json_string(v1, "scopeIdentifier")},
                                      {"hubName", wh_json_string(v1, "planType")},
                                      {"planId", wh_json_string(facts, "plan")},
                                      {0}};
    wh_autoroute route = {0};
    if (wh_locations_route(locations, WH_RESOURCE_ACTION_DOWNLOAD_INFO, values, &route, err))
        return -1;
    const char *job = wh_json_string(facts, "job");
    wh_route_query(&route, "jobId", job ? job : "");
    wh_autojson *body = request_body(facts, list, n);
    wh_autohttp *request = wh_route_request(http, "POST", &route, secret, body);
    wh_http_timeouts(request, RESOLVE_TIMEOUT_MS, 0, 0);
    if (wh_http_do(request, err) < 0)
        return 0;
    if (wh_http_status(request) / 100 != 2)
        return refused(request, err);
    wh_autojson *json = wh_http_response_json(request, err);
    if (!json)
        return 0;
    return gh_actions_take(list, n, json, err) < 0 ? -1 : 1;
}
