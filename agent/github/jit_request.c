/* Asking for a just-in-time runner (runner-protocol.md §1.8). */
#include <stdio.h>

#include "github/register_internal.h"

#define DEFAULT_GROUP_ID 1 /* of a repository, whose groups nobody can list */

static int find_group(struct wh_http_client *http, struct gh_rest_call *call, const struct wh_github_url *url,
                      const char *name, int64_t *id, struct wh_error *err)
{
    gh_autoanswer answer = {0};
    struct wh_registration groups = {.url = url}; /* only to look names up in */
    wh_autofree char *address = wh_printf("%s/runner-groups", url->entity);
    call->purpose = GH_FOR_GROUPS;
    call->method = "GET";
    call->url = address;
    if (gh_rest(http, call, &answer, err))
        return wh_wrap(err, "list the runner groups");
    gh_groups_read(answer.json, false, &groups.groups, &groups.ngroups);
    const struct wh_runner_group *group = wh_registration_group(&groups, name, err);
    if (group)
        *id = group->id;
    for (size_t i = 0; i < groups.ngroups; i++)
        free(groups.groups[i].name);
    free(groups.groups);
    return group ? 0 : -1;
}

static int group_id(struct wh_http_client *http, struct gh_rest_call *call, const struct wh_github_url *url,
                    const char *group, int64_t *id, struct wh_error *err)
{
    if (group && wh_parse_i64(group, 1, INT32_MAX, id))
        return 0;
    *id = DEFAULT_GROUP_ID;
    if (!group || wh_streq_ci(group, "default"))
        return url->repo ? 0 : find_group(http, call, url, NULL, id, err);
    if (url->repo)
        return wh_fail(
            err, WH_E_ARGUMENT,
            "a repository's runners have no group but the default one: leave --runnergroup away, or "
            "give its number");
    return find_group(http, call, url, group, id, err);
}

static int add_labels(cJSON *body, char *const *labels, struct wh_error *err)
{
    struct wh_register_options o = {.labels = labels, .no_default_labels = true};
    wh_autorunner *names = wh_calloc(1, sizeof *names);
    wh_autojson *unused = cJSON_CreateObject();
    if (!labels || !*labels)
        return wh_fail(err, WH_E_ARGUMENT,
                       "a just-in-time runner has the labels that it is given, and no others: "
                       "--labels is missing");
    if (gh_labels(&o, names, unused, err))
        return -1;
    cJSON *list = cJSON_AddArrayToObject(body, "labels");
    for (char **label = names->labels; label && *label; label++)
        cJSON_AddItemToArray(list, cJSON_CreateString(*label));
    return 0;
}

struct wh_secret *wh_jit_request(struct wh_http_client *http, const struct wh_github_url *url,
                                 struct wh_authority *authority, const struct wh_jit_options *o,
                                 struct wh_error *err)
{
    int64_t group;
    gh_autoanswer answer = {0};
    wh_autojson *body = cJSON_CreateObject();
    struct gh_rest_call call = {.auth = GH_AUTH_BEARER,
                                .secret = gh_authority_bearer(authority, http, url, err),
                                .scope = url,
                                .name = o->name,
                                .by_app = authority->kind == GH_BY_APP};
    if (!call.secret || group_id(http, &call, url, o->group, &group, err))
        return NULL;
    wh_json_add_string(body, "name", o->name);
    wh_json_add_int(body, "runner_group_id", group);
    if (add_labels(body, o->labels, err))
        return NULL;
    wh_json_add_string(body, "work_folder", o->work_folder ? o->work_folder : "_work");
    wh_autofree char *address = wh_printf("%s/runners/generate-jitconfig", url->entity);
    call.purpose = GH_FOR_JIT;
    call.method = "POST";
    call.url = address;
    call.body = body;
    call.secret = gh_authority_bearer(authority, http, url, err);
    if (!call.secret || gh_rest(http, &call, &answer, err)) {
        wh_wrap(err, "ask for a just-in-time runner \"%s\"", o->name);
        return NULL;
    }
    struct wh_secret *config = gh_take_secret(answer.json, "encoded_jit_config");
    if (!config)
        wh_fail(err, WH_E_PROTOCOL, "the answer has no encoded_jit_config");
    return config;
}
