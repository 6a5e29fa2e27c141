/* Resolving actions: the launch service's answer, or the REST API's (runner-protocol.md §4.3). */
#include <ctype.h>

#include "github/actions_internal.h"
#include "github/call.h"
#include "wherry/base/clock.h"
#include "wherry/base/digest.h"

#define RESOLVE_TIMEOUT_MS 100000u

void wh_action_download_clear(struct wh_action_download *d)
{
    char *const texts[] = {
        d->name,          d->ref, d->path, d->resolved_name, d->sha, d->tar_url, d->package_version,
        d->package_digest};
    for (size_t i = 0; i < WH_COUNT(texts); i++)
        free(texts[i]);
    wh_secret_free(d->token);
    *d = (struct wh_action_download){0};
}

/* ---- facts ---- */

static const char *context_text(const cJSON *dictionary, const char *name)
{
    const cJSON *pair;
    cJSON_ArrayForEach(pair, wh_json_get(dictionary, "d"))
    {
        if (!wh_streq_ci(wh_json_string(pair, "k"), name))
            continue;
        const cJSON *value = wh_json_get(pair, "v");
        return cJSON_IsString(value) ? value->valuestring : wh_json_string(value, "s");
    }
    return NULL;
}

static const char *variable(const cJSON *message, const char *name)
{
    return wh_json_string(wh_json_get(wh_json_get(message, "variables"), name), "value");
}

static const cJSON *system_endpoint(const cJSON *message)
{
    const cJSON *endpoint;
    cJSON_ArrayForEach(endpoint, wh_json_get(wh_json_get(message, "resources"), "endpoints"))
    {
        if (wh_streq_ci(wh_json_string(endpoint, "name"), "SystemVssConnection"))
            return endpoint;
    }
    return NULL;
}

cJSON *wh_github_action_facts(const cJSON *message)
{
    cJSON *facts = cJSON_CreateObject();
    const cJSON *plan = wh_json_get(message, "plan");
    const cJSON *endpoint = system_endpoint(message);
    const cJSON *github = wh_json_get(wh_json_get(message, "contextData"), "github");
    const char *token = variable(message, "system.github.token");
    wh_json_add_string(facts, "plan", wh_json_string(plan, "planId"));
    wh_json_add_string(facts, "job", wh_json_string(message, "jobId"));
    wh_json_add_string(facts, "launch", variable(message, "system.github.launch_endpoint"));
    wh_json_add_string(
        facts, "token",
        wh_json_string(wh_json_get(wh_json_get(endpoint, "authorization"), "parameters"), "AccessToken"));
    wh_json_add_string(facts, "githubToken", token ? token : context_text(github, "token"));
    wh_json_add_string(facts, "apiUrl", context_text(github, "api_url"));
    wh_json_add_string(facts, "serverUrl", context_text(github, "server_url"));
    const char *bearer = variable(message, "actions_use_bearer_token_for_codeload");
    cJSON_AddBoolToObject(facts, "bearerCodeload", wh_streq_ci(bearer, "true"));
    const cJSON *dependencies = wh_json_get(message, "dependencies");
    if (cJSON_IsArray(dependencies) && dependencies->child)
        cJSON_AddItemToObject(facts, "dependencies", cJSON_Duplicate(dependencies, true));
    if (wh_streq_ci(wh_json_string(message, "messageType"), "PipelineAgentJobRequest")) {
        cJSON *v1 = cJSON_AddObjectToObject(facts, "v1");
        wh_json_add_string(v1, "url", wh_json_string(endpoint, "url"));
        wh_json_add_string(v1, "scopeIdentifier", wh_json_string(plan, "scopeIdentifier"));
        wh_json_add_string(v1, "planType", wh_json_string(plan, "planType"));
    }
    return facts;
}

void wh_github_action_facts_free(cJSON *facts)
{
    static const char *const secrets[] = {"token", "githubToken"};
    for (size_t i = 0; i < WH_COUNT(secrets); i++) {
        const cJSON *item = facts ? wh_json_get(facts, secrets[i]) : NULL;
        if (item && cJSON_IsString(item))
            wh_wipe(item->valuestring, strlen(item->valuestring));
    }
    cJSON_Delete(facts);
}

/* ---- credentials ---- */

/* The host (and port) of a URL. */
static struct wh_view host_of(const char *url)
{
    const char *scheme = url ? strstr(url, "://") : NULL;
    if (!scheme)
        return (struct wh_view){0};
    const char *host = scheme + 3;
    return (struct wh_view){host, strcspn(host, "/?#")};
}

static bool same_host(const char *a, const char *b)
{
    struct wh_view x = host_of(a);
    struct wh_view y = host_of(b);
    return x.len > 0 && x.len == y.len && wh_strcmp_ci(x.data, y.data, x.len) == 0;
}

static bool is_codeload(const char *url, const char *server)
{
    struct wh_view host = host_of(server);
    if (host.len == 0)
        return false;
    wh_autofree char *codeload = wh_printf("https://codeload.%.*s/", (int)host.len, host.data);
    return same_host(url, codeload);
}

void wh_github_action_authorize(struct wh_http *request, const cJSON *facts,
                                const struct wh_action_download *d)
{
    const char *server = wh_json_string(facts, "serverUrl");
    const char *own = wh_json_string(facts, "githubToken");
    const char *token = wh_secret_text(d->token);
    bool codeload = is_codeload(d->tar_url, server);
    /* The launch service has the job's tokens anyway. */
    bool home = codeload || same_host(d->tar_url, server) ||
                same_host(d->tar_url, wh_json_string(facts, "apiUrl")) ||
                same_host(d->tar_url, wh_json_string(facts, "launch"));
    if (token[0] == '\0' && home && own)
        token = own;
    if (token[0] == '\0')
        return;
    wh_autosecret *secret = wh_secret_new(token, strlen(token));
    if (wh_json_bool(facts, "bearerCodeload", false) && (codeload || strstr(d->tar_url, "/_codeload/")))
        wh_http_bearer(request, secret);
    else
        wh_http_basic(request, "x-access-token", secret);
}

/* ---- the launch service ---- */

static cJSON *resolve_body(const cJSON *facts, const struct wh_action_download *list, size_t n)
{
    cJSON *body = cJSON_CreateObject();
    cJSON *actions = cJSON_AddArrayToObject(body, "actions");
    for (size_t i = 0; i < n; i++) {
        cJSON *one = cJSON_CreateObject();
        wh_json_add_string(one, "action", list[i].name);
        wh_json_add_string(one, "version", list[i].ref);
        if (list[i].path && list[i].path[0])
            wh_json_add_string(one, "path", list[i].path);
        cJSON_AddItemToArray(actions, one);
    }
    const cJSON *dependencies = wh_json_get(facts, "dependencies");
    if (dependencies)
        cJSON_AddItemToObject(body, "actions_dependencies", cJSON_Duplicate(dependencies, true));
    return body;
}

static bool is_sha(const char *text)
{
    size_t len = text ? strlen(text) : 0;
    if (len != 40 && len != 64)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isxdigit((unsigned char)text[i]))
            return false;
    return true;
}

/* The launch service's word for it, or V1's. */
static const char *either(const cJSON *object, const char *name, const char *v1)
{
    const char *text = wh_json_string(object, name);
    return text ? text : wh_json_string(object, v1);
}

static int take_answer(struct wh_action_download *d, const cJSON *one, struct wh_error *err)
{
    const char *sha = either(one, "resolved_sha", "resolvedSha");
    const char *url = either(one, "tar_url", "tarballUrl");
    const char *name = either(one, "resolved_name", "resolvedNameWithOwner");
    if (!is_sha(sha) || !url || (!wh_starts_with(url, "https://") && !wh_starts_with(url, "http://")))
        return wh_fail(err, WH_E_PROTOCOL, "the service's answer for action '%s@%s' has no commit or no URL",
                       d->name, d->ref);
    d->sha = wh_strdup(sha);
    wh_ascii_lower(d->sha);
    d->tar_url = wh_strdup(url);
    d->resolved_name = wh_strdup(name && name[0] ? name : d->name);
    const char *token = wh_json_string(wh_json_get(one, "authentication"), "token");
    if (token && token[0])
        d->token = wh_secret_new(token, strlen(token));
    const cJSON *package = wh_json_get(one, "package_details");
    if (!package)
        package = wh_json_get(one, "packageDetails");
    d->package_version = wh_strdup(wh_json_string(package, "version"));
    d->package_digest = wh_strdup(either(package, "manifest_digest", "manifestDigest"));
    return 0;
}

int gh_actions_take(struct wh_action_download *list, size_t n, const cJSON *json, struct wh_error *err)
{
    const cJSON *actions = wh_json_get(json, "actions");
    for (size_t i = 0; i < n; i++) {
        wh_autofree char *key = wh_printf("%s@%s", list[i].name, list[i].ref);
        const cJSON *one = wh_json_get(actions, key);
        if (!cJSON_IsObject(one))
            return wh_fail(err, WH_E_NOT_FOUND, "Unable to resolve action `%s`, it is not in the answer",
                           key);
        if (take_answer(&list[i], one, err) < 0)
            return -1;
    }
    return 0;
}

/* What the service says of actions that are not there: one sentence each. */
static int refused(const struct wh_http *http, struct wh_error *err)
{
    wh_autoerror why = {0};
    struct wh_view body = wh_http_response_body(http);
    wh_autojson *json = wh_json_parse(body.data, body.len, WH_HTTP_DEFAULT_BODY, "answer", NULL);
    wh_autostr text = {0};
    const cJSON *one;
    cJSON_ArrayForEach(one, wh_json_get(json, "errors"))
    {
        const char *message = wh_json_string(one, "message");
        wh_str_addf(&text, "%s%s", text.len ? "\n" : "", message ? message : one->string);
    }
    if (text.len == 0) {
        (void)wh_http_check(http, &why);
        wh_str_add(&text, wh_error_text(&why));
    }
    return wh_fail(err, WH_E_NOT_FOUND, "%s", wh_str_text(&text));
}

/* 1: done; 0: try again, err says why; negative: final. */
static int ask_launch(struct wh_http_client *http, const cJSON *facts, struct wh_action_download *list,
                      size_t n, struct wh_error *err)
{
    wh_autofree char *path = wh_printf("actions/build/%s/jobs/%s/runnerresolve/actions",
                                       wh_json_string(facts, "plan"), wh_json_string(facts, "job"));
    wh_autofree char *url = gh_url(wh_json_string(facts, "launch"), path);
    wh_autohttp *request = wh_http_new(http, "POST", url);
    const char *token = wh_json_string(facts, "token");
    wh_autosecret *secret = wh_secret_new(token ? token : "", token ? strlen(token) : 0);
    wh_autojson *body = resolve_body(facts, list, n);
    wh_http_bearer(request, secret);
    wh_http_header(request, "Accept", "application/json");
    wh_http_body_json(request, body);
    wh_http_timeouts(request, RESOLVE_TIMEOUT_MS, 0, 0);
    if (wh_http_do(request, err) < 0)
        return 0;
    int status = wh_http_status(request);
    if (status == 422 || status == 429 || status == 404)
        return refused(request, err);
    if (wh_http_check(request, err) < 0)
        return 0;
    wh_autojson *json = wh_http_response_json(request, err);
    if (!json)
        return 0;
    return gh_actions_take(list, n, json, err) < 0 ? -1 : 1;
}

/* ---- no service: a local run ---- */

static int ask_rest(struct wh_http_client *http, const cJSON *facts, struct wh_action_download *d,
                    struct wh_error *err)
{
    const char *api = wh_json_string(facts, "apiUrl");
    if (!api || api[0] == '\0')
        api = "https://api.github.com";
    wh_autofree char *path = wh_printf("repos/%s/commits/%s", d->name, d->ref);
    wh_autofree char *url = gh_url(api, path);
    wh_autohttp *request = wh_http_new(http, "GET", url);
    const char *token = wh_json_string(facts, "githubToken");
    if (token && token[0]) {
        wh_autosecret *secret = wh_secret_new(token, strlen(token));
        wh_http_bearer(request, secret);
    }
    wh_http_header(request, "Accept", "application/vnd.github.sha");
    if (wh_http_do(request, err) < 0)
        return 0;
    int status = wh_http_status(request);
    if (status == 404 || status == 422)
        return wh_fail(err, WH_E_NOT_FOUND, "Unable to resolve action `%s@%s`, unable to find version `%s`",
                       d->name, d->ref, d->ref);
    if (wh_http_check(request, err) < 0)
        return status == 401 || status == 403 ? -1 : 0;
    struct wh_view body = wh_view_trim(wh_http_response_body(request));
    wh_autofree char *sha = wh_view_dup(body);
    if (!is_sha(sha))
        return wh_fail(err, WH_E_PROTOCOL, "%s gave no commit", wh_http_label(request));
    d->sha = wh_steal(&sha);
    wh_ascii_lower(d->sha);
    d->resolved_name = wh_strdup(d->name);
    wh_autofree char *tarball = wh_printf("repos/%s/tarball/%s", d->name, d->sha);
    d->tar_url = gh_url(api, tarball);
    return 1;
}

static int ask_rest_all(struct wh_http_client *http, const cJSON *facts, struct wh_action_download *list,
                        size_t n, struct wh_error *err)
{
    for (size_t i = 0; i < n; i++) {
        int code = list[i].sha ? 1 : ask_rest(http, facts, &list[i], err);
        if (code <= 0)
            return code;
    }
    return 1;
}

int wh_github_actions_resolve(struct wh_http_client *http, const cJSON *facts,
                              struct wh_action_download *list, size_t n, wh_resolve_say_fn say, void *data,
                              struct wh_error *err)
{
    bool launch = wh_json_string(facts, "launch") && wh_json_string(facts, "plan");
    bool v1 = !launch && wh_json_get(facts, "v1");
    for (int try = 1;; try++) {
        wh_autoerror why = {0};
        int code = launch ? ask_launch(http, facts, list, n, &why)
                   : v1   ? gh_actions_ask_v1(http, facts, list, n, &why)
                          : ask_rest_all(http, facts, list, n, &why);
        if (code > 0)
            return 0;
        if (code < 0 || try == WH_RESOLVE_TRIES)
            return wh_error_move(err, &why);
        /* Nobody else hurries a person's own run, and its errors are mostly that there is no network. */
        uint64_t wait = launch || v1 ? wh_jitter(WH_RESOLVE_RETRY_MIN_MS, WH_RESOLVE_RETRY_MAX_MS)
                                     : wh_jitter(WH_RESOLVE_LOCAL_MIN_MS, WH_RESOLVE_LOCAL_MAX_MS);
        wh_autofree char *text =
            wh_printf("Failed to resolve action download info. Error: %s", wh_error_text(&why));
        wh_autofree char *soon = wh_printf("Retrying in %.3f seconds", (double)wait / 1000);
        say(data, "", text);
        say(data, "", soon);
        wh_sleep_ms(wait);
    }
}
