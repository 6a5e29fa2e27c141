/* The map of a V1 server's resources and calls by it, blocking: for commands. */
#include <unistd.h>

#include "github/call.h"
#include "github/location_internal.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/net/backoff.h"

#define FETCH_CALL_MS 60000

char *gh_versioned(const char *type, const char *version)
{
    return wh_printf("%s; api-version=%s", type, version);
}

static struct wh_locations *fetch_once(struct wh_http_client *http, const char *base, bool options,
                                       const struct wh_secret *token, int *status, struct wh_error *err)
{
    wh_autofree char *url = gh_url(base, options ? GH_OPTIONS : GH_CONNECTION_DATA);
    wh_autohttp *r = wh_http_new(http, options ? "OPTIONS" : "GET", url);
    wh_http_header(r, "Accept", "application/json; api-version=1.0");
    wh_http_header(r, "X-TFS-FedAuthRedirect", "Suppress");
    if (token)
        wh_http_bearer(r, token);
    wh_http_timeouts(r, FETCH_CALL_MS, 0, 0);
    wh_http_max_body(r, WH_MAX_CONNECTION_DATA);
    *status = 0;
    if (wh_http_do(r, err))
        return NULL;
    *status = wh_http_status(r);
    if (wh_http_check(r, err))
        return NULL;
    wh_autojson *json = wh_http_response_json(r, err);
    return json ? gh_locations_read(json, base, err) : NULL;
}

struct wh_locations *wh_locations_fetch(struct wh_http_client *http, const char *base,
                                        const struct wh_secret *token, struct wh_error *err)
{
    int status = 0;
    wh_autoerror why = {0};
    for (unsigned try = 1; try <= GH_CONNECT_TRIES; try++) {
        wh_error_clear(&why);
        struct wh_locations *l = fetch_once(http, base, false, token, &status, &why);
        if (l)
            return l;
        if ((status >= 200 && status <= 499 && status != 429) || try == GH_CONNECT_TRIES)
            break;
        wh_log_debug("%s; trying again", wh_error_text(&why));
        wh_sleep_ms(GH_CONNECT_PAUSE_MS);
    }
    /* An answer without definitions, or none of this path: the server may list them in the older way. */
    wh_autoerror also = {0};
    bool refused = status == 401 || status == 403;
    struct wh_locations *l = status >= 200 && status <= 499 && !refused
                                 ? fetch_once(http, base, true, token, &status, &also)
                                 : NULL;
    if (l)
        return l;
    wh_error_move(err, &why);
    wh_wrap(err, "ask the service where its resources are");
    return NULL;
}

struct wh_http *wh_route_request(struct wh_http_client *http, const char *method,
                                 const struct wh_route *route, const struct wh_secret *token,
                                 const cJSON *body)
{
    struct wh_http *r = wh_http_new(http, method, route->url);
    wh_autofree char *accept = gh_versioned("application/json", route->version);
    wh_http_header(r, "Accept", accept);
    wh_http_header(r, "X-TFS-FedAuthRedirect", "Suppress");
    if (token)
        wh_http_bearer(r, token);
    if (body) {
        wh_autofree char *text = wh_json_print(body);
        wh_autofree char *type = gh_versioned("application/json; charset=utf-8", route->version);
        wh_http_header(r, "Content-Type", type);
        wh_http_body(r, text, strlen(text));
    }
    wh_http_timeouts(r, FETCH_CALL_MS, 0, 0);
    return r;
}

char *wh_v1_error_type(const struct wh_http *r)
{
    wh_autojson *json = wh_http_response_json(r, NULL);
    const char *name = wh_json_string(json, "typeKey");
    if (!name || !*name)
        name = wh_http_response_header(r, "X-TFS-ServiceError");
    if (!name || !*name)
        return NULL;
    const char *dot = strrchr(name, '.');
    name = dot ? dot + 1 : name;
    return wh_strndup(name, strnlen(name, WH_MAX_ERROR_TYPE));
}
