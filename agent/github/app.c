/* A GitHub App: it proves itself by a JWT, and gets tokens of its installation for an hour each. */
#include "github/authority.h"
#include "github/jwt.h"
#include "github/rest.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define APP_JWT_BACK_S 60  /* for a clock that runs ahead of GitHub's */
#define APP_JWT_LIFE_S 540 /* GitHub takes at most ten minutes ahead of its own clock */
#define APP_TOKEN_EARLY_S 300
#define APP_TOKEN_DEFAULT_S 3600 /* where the answer does not say */

char *gh_app_jwt(const struct wh_rsa_key *key, const char *id, int64_t now_s, struct wh_error *err)
{
    wh_autojson *claims = cJSON_CreateObject();
    wh_json_add_int(claims, "iat", now_s - APP_JWT_BACK_S);
    wh_json_add_int(claims, "exp", now_s - APP_JWT_BACK_S + APP_JWT_LIFE_S);
    wh_json_add_string(claims, "iss", id);
    return gh_jwt_sign(key, false, claims, err);
}

static int64_t service_now_s(const struct wh_http_client *http)
{
    return wh_now_ns() / 1000000000 + wh_http_client_clock_skew(http);
}

static int try_call(struct gh_app *app, struct wh_http_client *http, struct gh_rest_call *call,
                    struct gh_rest_answer *answer, struct wh_error *err)
{
    char *jwt = gh_app_jwt(app->key, app->id, service_now_s(http), err);
    if (!jwt)
        return -1;
    wh_autosecret *bearer = wh_secret_new(jwt, strlen(jwt));
    wh_wipe(jwt, strlen(jwt));
    free(jwt);
    call->auth = GH_AUTH_BEARER;
    call->secret = bearer;
    call->by_app = true;
    return gh_rest(http, call, answer, err);
}

/* A call that bears the App's JWT. The first answer tells the service's clock: where ours is wrong, a second
 * JWT goes by that. */
static int app_call(struct gh_app *app, struct wh_http_client *http, struct gh_rest_call *call,
                    struct gh_rest_answer *answer, struct wh_error *err)
{
    wh_autoerror refused = {0};
    int64_t before = wh_http_client_clock_skew(http);
    if (try_call(app, http, call, answer, &refused) == 0)
        return 0;
    int64_t change = wh_http_client_clock_skew(http) - before;
    if (answer->status != 401 || (change > -APP_JWT_BACK_S && change < APP_JWT_BACK_S))
        return wh_error_move(err, &refused);
    wh_log_warning("this machine's clock is %lld s off GitHub's; going by GitHub's", (long long)-change);
    gh_rest_answer_clear(answer);
    return try_call(app, http, call, answer, err);
}

static char *installation_address(const struct wh_github_url *url)
{
    switch (url->scope) {
    case WH_SCOPE_REPOSITORY:
        return wh_printf("%s/repos/%s/%s/installation", url->api, url->owner, url->repo);
    case WH_SCOPE_ORGANISATION:
        return wh_printf("%s/orgs/%s/installation", url->api, url->owner);
    default:
        return wh_printf("%s/enterprises/%s/installation", url->api, url->owner);
    }
}

static int find_installation(struct gh_app *app, struct wh_http_client *http, const struct wh_github_url *url,
                             struct wh_error *err)
{
    gh_autoanswer answer = {0};
    wh_autofree char *address = installation_address(url);
    struct gh_rest_call call = {
        .purpose = GH_FOR_INSTALLATION, .method = "GET", .url = address, .scope = url};
    if (app_call(app, http, &call, &answer, err))
        return wh_wrap(err, "look for the App's installation");
    app->installation = wh_json_text(answer.json, "id");
    if (!app->installation)
        return wh_fail(err, WH_E_PROTOCOL, "the answer about the App's installation has no id");
    return 0;
}

static int renew(struct gh_app *app, struct wh_http_client *http, const struct wh_github_url *url,
                 struct wh_error *err)
{
    gh_autoanswer answer = {0};
    wh_autofree char *address =
        wh_printf("%s/app/installations/%s/access_tokens", url->api, app->installation);
    struct gh_rest_call call = {.purpose = GH_FOR_APP_TOKEN, .method = "POST", .url = address, .scope = url};
    int64_t ends_ns;
    if (app_call(app, http, &call, &answer, err))
        return wh_wrap(err, "get a token of the App's installation %s", app->installation);
    struct wh_secret *token = gh_take_secret(answer.json, "token");
    if (!token)
        return wh_fail(err, WH_E_PROTOCOL, "the answer for the App's installation has no token");
    wh_secret_free(app->token);
    app->token = token;
    const char *ends = wh_json_string(answer.json, "expires_at");
    app->good_until_s = ends && wh_time_parse_iso(ends, &ends_ns) ? ends_ns / 1000000000
                                                                  : service_now_s(http) + APP_TOKEN_DEFAULT_S;
    return 0;
}

const struct wh_secret *gh_app_token(struct gh_app *app, struct wh_http_client *http,
                                     const struct wh_github_url *url, struct wh_error *err)
{
    if (app->token && service_now_s(http) + APP_TOKEN_EARLY_S < app->good_until_s)
        return app->token;
    if (!app->installation && find_installation(app, http, url, err))
        return NULL;
    return renew(app, http, url, err) ? NULL : app->token;
}
