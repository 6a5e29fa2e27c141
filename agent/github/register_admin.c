/* Registration by the runner-admin API, V2 (runner-protocol.md §1.4). */
#include "github/call.h"
#include "github/register_internal.h"
#include "wherry/base/log.h"

int gh_admin_call(struct wh_registration *r, struct gh_rest_call *call, struct gh_rest_answer *out,
                  struct wh_error *err)
{
    wh_autoerror refused = {0};
    call->scope = r->url;
    call->version = r->version;
    call->by_app = r->by_app;
    call->auth = r->bearer ? GH_AUTH_BEARER : GH_AUTH_REMOTE;
    call->secret = r->bearer ? r->tenant.token : r->token;
    if (gh_rest(r->http, call, out, &refused) == 0)
        return 0;
    /* Which of the two the service wants is uncertain: RemoteAuth first. */
    if (out->status != 401 || r->bearer || !r->tenant.token)
        return wh_error_move(err, &refused);
    wh_log_debug("%s; trying the tenant's token", wh_error_text(&refused));
    r->bearer = true;
    gh_rest_answer_clear(out);
    call->auth = GH_AUTH_BEARER;
    call->secret = r->tenant.token;
    return gh_rest(r->http, call, out, err);
}

int gh_admin_groups(struct wh_registration *r, struct wh_error *err)
{
    gh_autoanswer answer = {0};
    wh_autofree char *address = wh_printf("%s/runner-groups", r->url->entity);
    struct gh_rest_call call = {.purpose = GH_FOR_GROUPS, .method = "GET", .url = address};
    if (gh_admin_call(r, &call, &answer, err))
        return wh_wrap(err, "list the runner groups");
    gh_groups_read(answer.json, false, &r->groups, &r->ngroups);
    return 0;
}

int gh_admin_find(struct wh_registration *r, const char *name, int64_t *id, struct wh_error *err)
{
    gh_autoanswer answer = {0};
    wh_autostr address = {0};
    wh_str_addf(&address, "%s/runners", r->url->entity);
    gh_query_add(&address, "name", name);
    struct gh_rest_call call = {.purpose = GH_FOR_FIND, .method = "GET", .url = address.data, .name = name};
    if (gh_admin_call(r, &call, &answer, err))
        return wh_wrap(err, "look for a runner of this name");
    *id = gh_runner_id_in(answer.json, false, name);
    return 0;
}

static cJSON *body_of(const struct wh_registration *r, const struct wh_register_options *o,
                      const struct wh_rsa_key *key)
{
    cJSON *body = cJSON_CreateObject();
    wh_autofree char *xml = wh_rsa_key_xml(key);
    wh_json_add_string(body, "url", r->url->url);
    wh_json_add_int(body, "group_id", o->group->id);
    wh_json_add_string(body, "name", o->name);
    wh_json_add_string(body, "version", r->version);
    /* Never by GitHub's own binary, whatever the option says. */
    cJSON_AddBoolToObject(body, "updates_disabled", true);
    cJSON_AddBoolToObject(body, "ephemeral", o->ephemeral);
    wh_json_add_string(body, "public_key", xml);
    return body;
}

static void replace_in(cJSON *body, int64_t id)
{
    wh_json_add_int(body, "runner_id", id);
    cJSON_AddBoolToObject(body, "replace", true);
}

int gh_admin_add(struct wh_registration *r, const struct wh_register_options *o, const struct wh_rsa_key *key,
                 struct wh_runner_config *config, struct wh_error *err)
{
    gh_autoanswer answer = {0};
    wh_autoerror refused = {0};
    wh_autojson *body = body_of(r, o, key);
    wh_autofree char *address = wh_printf("%s/actions/runners/register", r->url->api);
    struct gh_rest_call call = {
        .purpose = GH_FOR_REGISTER, .method = "POST", .url = address, .body = body, .name = o->name};
    if (gh_labels(o, config, body, err))
        return -1;
    if (o->replace_id)
        replace_in(body, o->replace_id);
    int code = gh_admin_call(r, &call, &answer, &refused);
    int64_t ours = 0;
    /* The answer to an earlier try was lost, and that try took the name: the runner there is ours. */
    if (code && answer.lost && answer.status == 409 && !o->replace_id &&
        gh_admin_find(r, o->name, &ours, err) == 0 && ours) {
        replace_in(body, ours);
        gh_rest_answer_clear(&answer);
        wh_error_clear(&refused);
        code = gh_admin_call(r, &call, &answer, &refused);
    }
    if (code) {
        wh_error_move(err, &refused);
        return wh_wrap(err, "register \"%s\"", o->name);
    }
    config->server_url = wh_strdup(r->tenant.url);
    config->ephemeral = wh_json_bool(answer.json, "ephemeral", o->ephemeral);
    return gh_admin_answer_read(answer.json, config, err);
}
