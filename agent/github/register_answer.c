/* Reading what the service answers while a runner is registered (runner-protocol.md §1.3 to §1.5). */
#include "github/register_internal.h"

static bool is_web(const char *url)
{
    return url && (wh_starts_with_ci(url, "https://") || wh_starts_with_ci(url, "http://")) &&
           !strpbrk(url, " \r\n\t");
}

static int need_url(const cJSON *object, const char *name, const char *what, char **out, struct wh_error *err)
{
    const char *text = wh_json_need_string(object, name, what, err);
    if (!text)
        return -1;
    if (!is_web(text))
        return wh_fail(err, WH_E_PROTOCOL, "%s: field %s is no web address", what, name);
    free(*out);
    *out = wh_strdup(text);
    return 0;
}

/* ---- the tenant ---- */

void gh_tenant_answer_clear(struct gh_tenant_answer *answer)
{
    free(answer->url);
    wh_secret_free(answer->token);
    memset(answer, 0, sizeof *answer);
}

int gh_tenant_answer_read(cJSON *json, struct gh_tenant_answer *out, struct wh_error *err)
{
    static const char what[] = "the answer to the registration token";
    memset(out, 0, sizeof *out);
    out->admin = wh_json_bool(json, "use_v2_flow", false);
    const char *schema = wh_json_string(json, "token_schema");
    if (!out->admin && schema && !wh_streq_ci(schema, "OAuthAccessToken"))
        return wh_fail(err, WH_E_UNSUPPORTED, "%s: tokens of the kind \"%.60s\" are not known", what, schema);
    const char *url = wh_json_string(json, "url");
    if ((!out->admin || (url && *url)) && need_url(json, "url", what, &out->url, err))
        return -1;
    out->token = gh_take_secret(json, "token");
    if (!out->admin && !out->token) {
        gh_tenant_answer_clear(out);
        return wh_fail(err, WH_E_PROTOCOL, "%s: field token is missing", what);
    }
    return 0;
}

/* ---- lists ---- */

void gh_groups_read(const cJSON *json, bool v1, struct wh_runner_group **groups, size_t *count)
{
    const cJSON *list = wh_json_get(json, v1 ? "value" : "runner_groups"), *item;
    cJSON_ArrayForEach(item, list)
    {
        const char *name = wh_json_string(item, "name");
        int64_t id = wh_json_int(item, "id", 0);
        if (!name || !*name || id <= 0 || *count >= GH_MAX_GROUPS ||
            wh_json_bool(item, v1 ? "isHosted" : "is_hosted", false))
            continue;
        *groups = wh_reallocarray(*groups, *count + 1, sizeof **groups);
        (*groups)[(*count)++] =
            (struct wh_runner_group){.id = id,
                                     .name = wh_strdup(name),
                                     .is_default = wh_json_bool(item, v1 ? "isInternal" : "default", false)};
    }
}

int64_t gh_runner_id_in(const cJSON *json, bool v1, const char *name)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, wh_json_get(json, v1 ? "value" : "runners"))
    {
        if (wh_streq_ci(wh_json_string(item, "name"), name))
            return WH_MAX(wh_json_int(item, "id", 0), 0);
    }
    return 0;
}

/* ---- the new runner ---- */

static int need_id(const cJSON *json, const char *what, struct wh_runner_config *config, struct wh_error *err)
{
    config->id = wh_json_int(json, "id", 0);
    if (config->id <= 0)
        return wh_fail(err, WH_E_PROTOCOL, "%s: field id is missing", what);
    return 0;
}

int gh_admin_answer_read(const cJSON *json, struct wh_runner_config *config, struct wh_error *err)
{
    static const char what[] = "the answer to the registration";
    const cJSON *authorization = wh_json_need_object(json, "authorization", what, err);
    const char *client = authorization ? wh_json_need_string(authorization, "client_id", what, err) : NULL;
    if (!client || need_id(json, what, config, err) ||
        need_url(authorization, "server_url", what, &config->server_url_v2, err))
        return -1;
    const char *legacy = wh_json_string(authorization, "legacy_authorization_url");
    bool migrates = legacy && *legacy;
    if (need_url(authorization, migrates ? "legacy_authorization_url" : "authorization_url", what,
                 &config->authorization_url, err))
        return -1;
    if (migrates && need_url(authorization, "authorization_url", what, &config->authorization_url_v2, err))
        return -1;
    config->auth_migration = migrates;
    config->client_id = wh_strdup(client);
    config->ps256 = wh_json_bool(authorization, "require_fips_cryptography", true);
    config->use_v2 = config->runner_admin = true;
    return 0;
}

/* A member of a V1 property bag: {"$type", "$value"}, or the value itself. */
static const cJSON *property(const cJSON *bag, const char *name)
{
    const cJSON *item = wh_json_get(bag, name);
    return cJSON_IsObject(item) ? wh_json_get(item, "$value") : item;
}

static bool property_bool(const cJSON *bag, const char *name, bool absent)
{
    const cJSON *item = property(bag, name);
    cJSON holder = {.type = cJSON_Object};
    if (!item)
        return absent;
    cJSON value = *item; /* a shallow copy under a name of its own, so that the lenient getter reads it */
    value.next = value.prev = NULL;
    value.string = (char *)"v";
    holder.child = &value;
    return wh_json_bool(&holder, "v", absent);
}

static int property_url(const cJSON *bag, const char *name, const char *what, char **out,
                        struct wh_error *err)
{
    const char *text = cJSON_GetStringValue(property(bag, name));
    if (!text || !*text)
        return 0;
    if (!is_web(text))
        return wh_fail(err, WH_E_PROTOCOL, "%s: property %s is no web address", what, name);
    free(*out);
    *out = wh_strdup(text);
    return 0;
}

int gh_pool_answer_read(const cJSON *json, struct wh_runner_config *config, struct wh_error *err)
{
    static const char what[] = "the answer to the registration";
    const cJSON *authorization = wh_json_need_object(json, "authorization", what, err);
    const char *client = authorization ? wh_json_need_string(authorization, "clientId", what, err) : NULL;
    if (!client || need_id(json, what, config, err) ||
        need_url(authorization, "authorizationUrl", what, &config->authorization_url, err))
        return -1;
    const cJSON *bag = wh_json_get(json, "properties");
    if (property_url(bag, "ServerUrl", what, &config->server_url, err) ||
        property_url(bag, "ServerUrlV2", what, &config->server_url_v2, err) ||
        property_url(bag, "AuthorizationUrlV2", what, &config->authorization_url_v2, err))
        return -1;
    config->client_id = wh_strdup(client);
    config->ps256 = property_bool(bag, "RequireFipsCryptography", true);
    config->use_v2 = property_bool(bag, "UseV2Flow", false);
    config->runner_admin = false;
    config->auth_migration =
        property_bool(bag, "EnableAuthMigrationByDefault", false) && config->authorization_url_v2;
    if (config->use_v2 && !config->server_url_v2)
        return wh_fail(err, WH_E_PROTOCOL, "%s: property ServerUrlV2 is missing where UseV2Flow is set",
                       what);
    return 0;
}
