/* Registration and removal, the V2 ("runner-admin") way (runner-protocol.md §1.2 to §1.4). */
#include "wherry/github/register.h"
#include "wherry/base/clock.h"

#include <unistd.h>

#include "github/call.h"
#include "wherry/base/log.h"
#include "wherry/net/backoff.h"

#define REGISTER_TRIES 3
#define REGISTER_CALL_MS 60000

const char *wh_runner_architecture(void)
{
#if defined(__x86_64__)
    return "X64";
#elif defined(__aarch64__)
    return "ARM64";
#elif defined(__arm__)
    return "ARM";
#else
#error "the service knows no name for this architecture"
#endif
}

const char *const *wh_system_labels(void)
{
    static const char *labels[4] = {"self-hosted", "Linux"};
    labels[2] = wh_runner_architecture();
    return labels;
}

/* ---- one call, blocking ---- */

struct remote {
    struct wh_http_client *http;
    const struct wh_secret *token; /* registration or remove token */
    struct wh_secret *tenant;      /* Bearer, where RemoteAuth is refused */
    bool bearer;
};

static struct wh_http *remote_request(const struct remote *remote, const char *method, const char *url,
                                      const cJSON *body)
{
    struct wh_http *r = wh_http_new(remote->http, method, url);
    wh_http_header(r, "Accept", "application/json");
    if (remote->bearer)
        wh_http_bearer(r, remote->tenant);
    else
        wh_http_secret_header(r, "Authorization", "RemoteAuth ", remote->token);
    if (body)
        wh_http_body_json(r, body);
    wh_http_redirects(r, WH_HTTP_REDIRECT_FOLLOW);
    wh_http_timeouts(r, REGISTER_CALL_MS, 0, 0);
    return r;
}

static bool worth_another(int status)
{
    return status == 0 || status == 408 || status == 429 || status >= 500;
}

/* status gets the last answer's; json (may be NULL) its body. Fails unless 2xx. */
static int remote_call(struct remote *remote, const char *method, const char *url, const cJSON *body,
                       int *status, cJSON **json, struct wh_error *err)
{
    for (unsigned try = 1;; try++) {
        wh_autoerror why = {0};
        wh_autohttp *r = remote_request(remote, method, url, body);
        int code = wh_http_do(r, &why);
        *status = wh_http_status(r);
        if (code == 0 && wh_http_check(r, &why) == 0) {
            if (json && !(*json = wh_http_response_json(r, err)))
                return -1;
            return 0;
        }
        /* Which of the two the service wants is uncertain: RemoteAuth first. */
        if (*status == 401 && !remote->bearer && remote->tenant) {
            remote->bearer = true;
            continue;
        }
        if (!worth_another(*status) || try >= REGISTER_TRIES)
            return wh_error_move(err, &why);
        int64_t after = *status ? wh_http_retry_after(r, 60000) : -1;
        wh_log_warning("%s; trying again", wh_error_text(&why));
        uint64_t wait = after > 0 ? (uint64_t)after : wh_wait_ms(1000, 5000);
        wh_sleep_ms(wait);
    }
}

/* ---- tokens ---- */

static bool is_personal(const struct wh_secret *token)
{
    static const char *const prefixes[] = {"ghp_", "github_pat_", "gho_", "ghu_", "ghs_"};
    for (size_t i = 0; i < WH_COUNT(prefixes); i++)
        if (wh_starts_with(wh_secret_text(token), prefixes[i]))
            return true;
    return false;
}

/* A personal access token buys a registration or remove token (§1.2). */
static struct wh_secret *buy_token(struct wh_http_client *http, const struct wh_github_url *url,
                                   const struct wh_secret *pat, const char *what, struct wh_error *err)
{
    wh_autofree char *address = wh_printf("%s/runners/%s", url->entity, what);
    wh_autohttp *r = wh_http_new(http, "POST", address);
    wh_http_header(r, "Accept", "application/vnd.github.v3+json");
    wh_http_basic(r, "github", pat);
    if (wh_http_do(r, err) || wh_http_check(r, err)) {
        wh_wrap(err, "get a %s with the personal access token", what);
        return NULL;
    }
    wh_autojson *json = wh_http_response_json(r, err);
    const char *token = json ? wh_json_need_string(json, "token", what, err) : NULL;
    return token ? wh_secret_new(token, strlen(token)) : NULL;
}

/* The tenant credential (§1.3): proves the token, and tells the flow. */
static int tenant_call(struct remote *remote, const struct wh_github_url *url, const char *event,
                       struct wh_error *err)
{
    int status;
    wh_autojson *answer = NULL;
    wh_autojson *body = cJSON_CreateObject();
    wh_autofree char *address = wh_printf("%s/actions/runner-registration", url->api);
    wh_json_add_string(body, "url", url->url);
    wh_json_add_string(body, "runner_event", event);
    if (remote_call(remote, "POST", address, body, &status, &answer, err)) {
        if (status == 401 || status == 403 || status == 404)
            return wh_wrap(
                err,
                "GitHub refuses this token for %s. Tokens live one hour and belong to one repository, "
                "organisation or enterprise; get a new one at Settings > Actions > Runners",
                url->url);
        return -1;
    }
    const char *token = wh_json_string(answer, "token");
    if (token && *token)
        remote->tenant = wh_secret_new(token, strlen(token));
    return 0;
}

static int remote_open(struct remote *remote, struct wh_http_client *http, const struct wh_github_url *url,
                       const struct wh_secret *token, const char *event, struct wh_secret **bought,
                       struct wh_error *err)
{
    memset(remote, 0, sizeof *remote);
    remote->http = http;
    remote->token = token;
    *bought = NULL;
    if (is_personal(token)) {
        bool remove = strcmp(event, "remove") == 0;
        *bought = buy_token(http, url, token, remove ? "remove-token" : "registration-token", err);
        if (!*bought)
            return -1;
        remote->token = *bought;
    }
    return tenant_call(remote, url, event, err);
}

/* ---- registration ---- */

static int find_group(struct remote *remote, const struct wh_register_options *o,
                      struct wh_runner_config *config, struct wh_error *err)
{
    int status;
    wh_autojson *answer = NULL;
    wh_autofree char *address = wh_printf("%s/runner-groups", o->url->entity);
    if (remote_call(remote, "GET", address, NULL, &status, &answer, err))
        return wh_wrap(err, "list the runner groups");
    const cJSON *list = wh_json_get(answer, "runner_groups"), *group;
    wh_autostr names = {0};
    cJSON_ArrayForEach(group, list)
    {
        const char *name = wh_json_string(group, "name");
        bool hosted = wh_json_bool(group, "is_hosted", false), first = wh_json_bool(group, "default", false);
        if (!name || hosted)
            continue;
        wh_str_addf(&names, "%s%s", names.len ? ", " : "", name);
        if (o->group ? wh_streq_ci(name, o->group) : first) {
            config->group_id = wh_json_int(group, "id", 0);
            config->group = wh_strdup(name);
            return 0;
        }
    }
    if (o->group)
        return wh_fail(err, WH_E_NOT_FOUND, "there is no runner group \"%s\"; this token sees: %s", o->group,
                       names.len ? names.data : "none");
    return wh_fail(err, WH_E_NOT_FOUND, "no default runner group is listed; name one with --group (%s)",
                   names.len ? names.data : "none is visible");
}

static int find_runner(struct remote *remote, const struct wh_register_options *o, int64_t *id,
                       struct wh_error *err)
{
    int status;
    wh_autojson *answer = NULL;
    wh_autostr address = {0};
    wh_str_addf(&address, "%s/runners", o->url->entity);
    gh_query_add(&address, "name", o->name);
    if (remote_call(remote, "GET", address.data, NULL, &status, &answer, err))
        return wh_wrap(err, "look for a runner of this name");
    const cJSON *list = wh_json_get(answer, "runners"), *runner;
    *id = 0;
    cJSON_ArrayForEach(runner, list) if (wh_streq_ci(wh_json_string(runner, "name"), o->name)) *id =
        wh_json_int(runner, "id", 0);
    if (*id && !o->replace)
        return wh_fail(
            err, WH_E_EXISTS,
            "a runner named \"%s\" is registered already. Use --replace to take its place, or another "
            "--name",
            o->name);
    return 0;
}

static void add_label(cJSON *list, struct wh_runner_config *config, const char *name, const char *type)
{
    for (char **have = config->labels; have && *have; have++)
        if (wh_streq_ci(*have, name))
            return;
    cJSON *label = cJSON_CreateObject();
    wh_json_add_int(label, "id", 0);
    wh_json_add_string(label, "name", name);
    wh_json_add_string(label, "type", type);
    cJSON_AddItemToArray(list, label);
    wh_strv_add(&config->labels, name);
}

static int add_labels(cJSON *body, const struct wh_register_options *o, struct wh_runner_config *config,
                      struct wh_error *err)
{
    cJSON *list = cJSON_AddArrayToObject(body, "labels");
    if (!o->no_default_labels)
        for (const char *const *label = wh_system_labels(); *label; label++)
            add_label(list, config, *label, "system");
    for (char *const *label = o->labels; label && *label; label++) {
        if (strlen(*label) > WH_MAX_LABEL_CHARS)
            return wh_fail(err, WH_E_LIMIT, "label \"%.40s...\" is longer than %d characters", *label,
                           WH_MAX_LABEL_CHARS);
        if (**label)
            add_label(list, config, *label, "user");
    }
    int count = cJSON_GetArraySize(list);
    if (count == 0)
        return wh_fail(err, WH_E_ARGUMENT, "--no-default-labels needs --labels");
    if (count > WH_MAX_LABELS)
        return wh_fail(err, WH_E_LIMIT, "%d labels are more than the %d that GitHub takes", count,
                       WH_MAX_LABELS);
    return 0;
}

static int read_registered(const cJSON *answer, struct wh_runner_config *config, struct wh_error *err)
{
    const char *what = "answer to the registration";
    const cJSON *authorization = wh_json_need_object(answer, "authorization", what, err);
    const char *server = authorization ? wh_json_need_string(authorization, "server_url", what, err) : NULL;
    const char *client = server ? wh_json_need_string(authorization, "client_id", what, err) : NULL;
    if (!client)
        return -1;
    const char *legacy = wh_json_string(authorization, "legacy_authorization_url");
    const char *url =
        legacy && *legacy ? legacy : wh_json_need_string(authorization, "authorization_url", what, err);
    if (!url)
        return -1;
    config->id = wh_json_int(answer, "id", 0);
    if (config->id <= 0)
        return wh_fail(err, WH_E_PROTOCOL, "%s: field id is missing", what);
    config->server_url_v2 = wh_strdup(server);
    config->client_id = wh_strdup(client);
    config->authorization_url = wh_strdup(url);
    config->ps256 = wh_json_bool(authorization, "require_fips_cryptography", true);
    config->use_v2 = config->runner_admin = config->disable_update = true;
    config->ephemeral = wh_json_bool(answer, "ephemeral", config->ephemeral);
    return 0;
}

static int register_with(struct remote *remote, const struct wh_register_options *o,
                         const struct wh_rsa_key *key, struct wh_runner_config *config, struct wh_error *err)
{
    int64_t old = 0;
    int status;
    if (find_group(remote, o, config, err) || find_runner(remote, o, &old, err))
        return -1;
    wh_autojson *body = cJSON_CreateObject();
    wh_autofree char *xml = wh_rsa_key_xml(key);
    wh_json_add_string(body, "url", o->url->url);
    wh_json_add_int(body, "group_id", config->group_id);
    wh_json_add_string(body, "name", o->name);
    wh_json_add_string(body, "version", o->version);
    cJSON_AddBoolToObject(body, "updates_disabled", true);
    cJSON_AddBoolToObject(body, "ephemeral", o->ephemeral);
    wh_json_add_string(body, "public_key", xml);
    if (add_labels(body, o, config, err))
        return -1;
    if (old) {
        wh_json_add_int(body, "runner_id", old);
        cJSON_AddBoolToObject(body, "replace", true);
    }
    wh_autojson *answer = NULL;
    wh_autofree char *address = wh_printf("%s/actions/runners/register", o->url->api);
    config->ephemeral = o->ephemeral;
    if (remote_call(remote, "POST", address, body, &status, &answer, err))
        return wh_wrap(err, "register \"%s\"", o->name);
    return read_registered(answer, config, err);
}

int wh_register(struct wh_http_client *http, const struct wh_register_options *o,
                const struct wh_rsa_key *key, struct wh_runner_config *config, struct wh_error *err)
{
    struct remote remote;
    wh_autosecret *bought = NULL;
    int code = remote_open(&remote, http, o->url, o->token, "register", &bought, err);
    if (code == 0)
        code = register_with(&remote, o, key, config, err);
    wh_secret_free(remote.tenant);
    return code;
}

int wh_unregister(struct wh_http_client *http, const struct wh_github_url *url, const struct wh_secret *token,
                  int64_t runner_id, struct wh_error *err)
{
    struct remote remote;
    int status = 0;
    wh_autosecret *bought = NULL;
    int code = remote_open(&remote, http, url, token, "remove", &bought, err);
    if (code == 0) {
        wh_autofree char *address = wh_printf("%s/runners/%lld", url->entity, (long long)runner_id);
        wh_autoerror why = {0};
        if (remote_call(&remote, "DELETE", address, NULL, &status, NULL, &why) && status != 404)
            code = wh_error_move(err, &why);
    }
    wh_secret_free(remote.tenant);
    return code;
}
