/* Registration at a V1 server: an agent of a pool (runner-protocol.md §1.5). */
#include <stdio.h>
#include <sys/utsname.h>

#include "github/register_internal.h"
#include "github/rsa_key.h"
#include "github/token_request.h"
#include "wherry/base/log.h"

/* What V1 wants where it looks over all pools. */
#define ANY_POOL "0"

int gh_pool_call(struct wh_registration *r, struct gh_rest_call *call, struct wh_route *route,
                 struct gh_rest_answer *out, struct wh_error *err)
{
    call->scope = r->url;
    call->version = r->version;
    call->by_app = r->by_app;
    call->route = route;
    call->url = route->url;
    call->auth = GH_AUTH_BEARER;
    if (!call->secret)
        call->secret = r->tenant.token;
    return gh_rest(r->http, call, out, err);
}

int gh_pool_connect(struct wh_registration *r, struct wh_error *err)
{
    r->locations = wh_locations_fetch(r->http, r->tenant.url, r->tenant.token, err);
    return r->locations ? 0 : -1;
}

static int list_pools(struct wh_registration *r, enum gh_purpose purpose, const struct wh_secret *token,
                      struct gh_rest_answer *answer, struct wh_error *err)
{
    wh_autoroute route = {0};
    if (wh_locations_route(r->locations, WH_RESOURCE_POOLS, NULL, &route, err))
        return -1;
    wh_route_query(&route, "poolType", "Automation");
    struct gh_rest_call call = {.purpose = purpose, .method = "GET", .secret = token};
    return gh_pool_call(r, &call, &route, answer, err);
}

int gh_pool_groups(struct wh_registration *r, struct wh_error *err)
{
    gh_autoanswer answer = {0};
    if (list_pools(r, GH_FOR_GROUPS, NULL, &answer, err))
        return wh_wrap(err, "list the runner groups");
    gh_groups_read(answer.json, true, &r->groups, &r->ngroups);
    return 0;
}

static int route_of(struct wh_registration *r, const char *pool, int64_t agent, struct wh_route *route,
                    struct wh_error *err)
{
    char id[24] = "";
    snprintf(id, sizeof id, "%lld", (long long)agent);
    const struct wh_route_value values[] = {{"poolId", pool}, {"agentId", agent ? id : NULL}, {NULL, NULL}};
    return wh_locations_route(r->locations, WH_RESOURCE_AGENTS, values, route, err);
}

int gh_pool_find(struct wh_registration *r, const char *name, int64_t *id, struct wh_error *err)
{
    gh_autoanswer answer = {0};
    wh_autoroute route = {0};
    if (route_of(r, ANY_POOL, 0, &route, err))
        return -1;
    wh_route_query(&route, "agentName", name);
    wh_route_query(&route, "includeCapabilities", "False");
    struct gh_rest_call call = {.purpose = GH_FOR_FIND, .method = "GET", .name = name};
    if (gh_pool_call(r, &call, &route, &answer, err))
        return wh_wrap(err, "look for a runner of this name");
    *id = gh_runner_id_in(answer.json, true, name);
    return 0;
}

int gh_pool_remove(struct wh_registration *r, int64_t id, struct wh_error *err)
{
    gh_autoanswer answer = {0};
    wh_autoerror why = {0};
    wh_autoroute route = {0};
    if (route_of(r, ANY_POOL, id, &route, err))
        return -1;
    struct gh_rest_call call = {.purpose = GH_FOR_REMOVE, .method = "DELETE"};
    if (gh_pool_call(r, &call, &route, &answer, &why) == 0 || answer.status == 404)
        return 0;
    return wh_error_move(err, &why);
}

static char *os_description(void)
{
    struct utsname un;
    return uname(&un) ? wh_strdup("Linux") : wh_printf("%s %s %s", un.sysname, un.release, un.version);
}

static int body_of(const struct wh_registration *r, const struct wh_register_options *o,
                   const struct wh_rsa_key *key, struct wh_runner_config *config, cJSON *body,
                   struct wh_error *err)
{
    wh_autofree char *os = os_description(), *modulus = gh_rsa_modulus(key), *exponent = gh_rsa_exponent(key);
    wh_json_add_int(body, "id", o->replace_id);
    wh_json_add_string(body, "name", o->name);
    wh_json_add_string(body, "version", r->version);
    wh_json_add_string(body, "osDescription", os);
    cJSON_AddBoolToObject(body, "ephemeral", o->ephemeral);
    cJSON_AddBoolToObject(body, "disableUpdate", true);
    wh_json_add_int(body, "maxParallelism", 1);
    if (gh_labels(o, config, body, err))
        return -1;
    cJSON *authorization = cJSON_AddObjectToObject(body, "authorization");
    cJSON *public_key = cJSON_AddObjectToObject(authorization, "publicKey");
    wh_json_add_string(public_key, "exponent", exponent);
    wh_json_add_string(public_key, "modulus", modulus);
    wh_json_add_int(body, "status", 0);
    wh_json_add_string(body, "provisioningState", "Provisioned");
    wh_json_add_string(body, "createdOn", "0001-01-01T00:00:00");
    return 0;
}

/* A server that knows nothing of an option leaves it out of its answer. */
static int check_age(struct wh_registration *r, const cJSON *answer, const struct wh_register_options *o,
                     struct wh_error *err)
{
    const char *option = NULL;
    if (o->ephemeral && !wh_json_bool(answer, "ephemeral", false))
        option = "--ephemeral";
    else if (o->disable_update && !wh_json_bool(answer, "disableUpdate", false))
        option = "--disableupdate";
    if (!option)
        return 0;
    wh_autoerror ignored = {0};
    if (gh_pool_remove(r, wh_json_int(answer, "id", 0), &ignored))
        wh_log_warning("%s", wh_error_text(&ignored));
    return wh_fail(
        err, WH_E_UNSUPPORTED,
        "%s is too old for %s: the server takes it and does not know it. The runner was deleted there "
        "again; register without the option, or on a newer GitHub Enterprise Server",
        r->url->host, option);
}

/* The new runner's own token opens the service: a wrong clock shows here, not in the first night. */
static int check_credentials(struct wh_registration *r, const struct wh_rsa_key *key,
                             const struct wh_runner_config *config, struct wh_error *err)
{
    gh_autoanswer answer = {0};
    wh_autosecret *token = gh_token_fetch(r->http, key, config, err);
    if (!token)
        return -1;
    return list_pools(r, GH_FOR_CREDENTIALS, token, &answer, err);
}

static int enter(struct wh_registration *r, const struct wh_register_options *o, const struct wh_rsa_key *key,
                 struct wh_runner_config *config, struct gh_rest_answer *answer, struct wh_error *err)
{
    wh_autoroute route = {0};
    char pool[24];
    snprintf(pool, sizeof pool, "%lld", (long long)o->group->id);
    wh_autojson *body = cJSON_CreateObject();
    if (route_of(r, pool, o->replace_id, &route, err) || body_of(r, o, key, config, body, err))
        return -1;
    struct gh_rest_call call = {
        .purpose = GH_FOR_REGISTER, .method = o->replace_id ? "PUT" : "POST", .body = body, .name = o->name};
    return gh_pool_call(r, &call, &route, answer, err);
}

int gh_pool_add(struct wh_registration *r, const struct wh_register_options *o, const struct wh_rsa_key *key,
                struct wh_runner_config *config, struct wh_error *err)
{
    gh_autoanswer answer = {0};
    wh_autoerror refused = {0};
    struct wh_register_options again = *o;
    int code = enter(r, o, key, config, &answer, &refused);
    /* The answer to an earlier try was lost, and that try took the name: the agent there is ours. */
    if (code && answer.lost && answer.status == 409 && !o->replace_id &&
        gh_pool_find(r, o->name, &again.replace_id, err) == 0 && again.replace_id) {
        gh_rest_answer_clear(&answer);
        wh_error_clear(&refused);
        code = enter(r, &again, key, config, &answer, &refused);
    }
    if (code) {
        wh_error_move(err, &refused);
        return wh_wrap(err, "register \"%s\"", o->name);
    }
    if (check_age(r, answer.json, o, err))
        return -1;
    config->server_url = wh_strdup(r->tenant.url);
    config->ephemeral = o->ephemeral;
    if (gh_pool_answer_read(answer.json, config, err))
        return -1;
    if (!config->use_v2 && check_credentials(r, key, config, err))
        return wh_wrap(err, "runner \"%s\" is registered, but cannot log in", o->name);
    return 0;
}
