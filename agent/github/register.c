/* Registration and removal: what both generations have in common (runner-protocol.md §1.2, §1.3, §1.9). */
#include "github/register_internal.h"
#include "wherry/base/log.h"

/* ---- the tenant credential ---- */

enum presence { PRESENT, ABSENT, A_USER, UNTOLD };

/* Whether the world can see the repository or organisation: a wrong token and a wrong URL get the same
 * answer. */
static enum presence look_for(struct wh_http_client *http, const struct wh_github_url *url)
{
    gh_autoanswer answer = {0};
    wh_autoerror ignored = {0};
    wh_autofree char *address = url->repo ? wh_printf("%s/repos/%s/%s", url->api, url->owner, url->repo)
                                          : wh_printf("%s/users/%s", url->api, url->owner);
    struct gh_rest_call call = {.purpose = GH_FOR_FIND, .method = "GET", .url = address, .scope = url};
    if (url->scope == WH_SCOPE_ENTERPRISE) /* those have no public page */
        return UNTOLD;
    if (gh_rest(http, &call, &answer, &ignored))
        return answer.status == 404 ? ABSENT : UNTOLD;
    if (!url->repo && wh_streq_ci(wh_json_string(answer.json, "type"), "User"))
        return A_USER;
    return PRESENT;
}

static int explain_absence(struct wh_http_client *http, const struct wh_github_url *url,
                           struct wh_error *refused, struct wh_error *err)
{
    switch (look_for(http, url)) {
    case A_USER:
        return wh_fail(
            err, WH_E_ARGUMENT,
            "%s is a user's page: runners belong to one of the user's repositories (%s/REPO), to an "
            "organisation or to an enterprise",
            url->url, url->url);
    case ABSENT:
        wh_error_move(err, refused);
        return wh_wrap(err, "there is no %s %s that everybody can see: it is misspelt, or private, and then",
                       wh_scope_text(url->scope), url->url);
    default:
        return wh_error_move(err, refused);
    }
}

int gh_tenant_ask(struct wh_http_client *http, const struct wh_github_url *url, const struct wh_secret *token,
                  enum gh_runner_event event, bool by_app, struct gh_tenant_answer *out, struct wh_error *err)
{
    gh_autoanswer answer = {0};
    wh_autoerror refused = {0};
    wh_autojson *body = cJSON_CreateObject();
    wh_autofree char *address = wh_printf("%s/actions/runner-registration", url->api);
    wh_json_add_string(body, "url", url->url);
    wh_json_add_string(body, "runner_event", event == GH_REMOVE ? "remove" : "register");
    struct gh_rest_call call = {.purpose = event == GH_REMOVE ? GH_FOR_TENANT_REMOVE : GH_FOR_TENANT_REGISTER,
                                .method = "POST",
                                .url = address,
                                .body = body,
                                .auth = GH_AUTH_REMOTE,
                                .secret = token,
                                .scope = url,
                                .by_app = by_app};
    if (gh_rest(http, &call, &answer, &refused))
        return answer.status == 404 ? explain_absence(http, url, &refused, err)
                                    : wh_error_move(err, &refused);
    return gh_tenant_answer_read(answer.json, out, err);
}

/* The services of a GHES are its own, or below it (§1.3); anything else would get the runner's credentials.
 */
static int check_tenant(const struct wh_github_url *url, const struct gh_tenant_answer *tenant,
                        struct wh_error *err)
{
    if (url->hosted || !tenant->url)
        return 0;
    const char *host = strstr(tenant->url, "://");
    host = host ? host + 3 : "";
    const char *at = memchr(host, '@', strcspn(host, "/?#"));
    size_t len = at ? 0 : strcspn(host, "/?#");
    wh_autofree char *whole = wh_strndup(host, len);
    char *colon = strrchr(whole, ':');
    if (colon && !strchr(colon, ']'))
        *colon = '\0';
    wh_autofree char *below = wh_printf(".%s", url->host);
    wh_ascii_lower(whole);
    if (wh_streq(whole, url->host) || wh_ends_with(whole, below))
        return 0;
    return wh_fail(err, WH_E_PROTOCOL,
                   "%s sends runners to %s, which is not its own: GitHub Actions is not set up right on this "
                   "server",
                   url->host, tenant->url);
}

/* ---- opening ---- */

static struct wh_registration *registration_new(struct wh_http_client *http, const struct wh_github_url *url,
                                                const struct wh_authority *authority, const char *version)
{
    struct wh_registration *r = wh_calloc(1, sizeof *r);
    r->http = http;
    r->url = url;
    r->version = wh_strdup(version);
    r->by_app = authority->kind == GH_BY_APP;
    return r;
}

void wh_registration_free(struct wh_registration *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->ngroups; i++)
        free(r->groups[i].name);
    free(r->groups);
    wh_locations_free(r->locations);
    gh_tenant_answer_clear(&r->tenant);
    wh_secret_free(r->token);
    free(r->version);
    free(r);
}

void wh_registration_free_ptr(struct wh_registration **r)
{
    wh_registration_free(*r);
    *r = NULL;
}

/* Token, tenant, and for V1 the map of its resources. */
static int connect_with(struct wh_registration *r, struct wh_authority *authority, enum gh_runner_event event,
                        struct wh_error *err)
{
    r->token = gh_authority_runner_token(authority, r->http, r->url, event, err);
    if (!r->token || gh_tenant_ask(r->http, r->url, r->token, event, r->by_app, &r->tenant, err) ||
        check_tenant(r->url, &r->tenant, err))
        return -1;
    return r->tenant.admin ? 0 : gh_pool_connect(r, err);
}

struct wh_registration *wh_registration_open(struct wh_http_client *http, const struct wh_github_url *url,
                                             struct wh_authority *authority, const char *version,
                                             struct wh_error *err)
{
    wh_autoregistration *r = registration_new(http, url, authority, version);
    if (connect_with(r, authority, GH_REGISTER, err) ||
        (r->tenant.admin ? gh_admin_groups(r, err) : gh_pool_groups(r, err)))
        return NULL;
    return wh_steal(&r);
}

/* ---- groups and names ---- */

const struct wh_runner_group *wh_registration_groups(const struct wh_registration *r, size_t *count)
{
    *count = r->ngroups;
    return r->groups;
}

const struct wh_runner_group *wh_registration_group(const struct wh_registration *r, const char *name,
                                                    struct wh_error *err)
{
    wh_autostr names = {0};
    for (size_t i = 0; i < r->ngroups; i++) {
        const struct wh_runner_group *group = &r->groups[i];
        if (name ? wh_streq_ci(group->name, name) : group->is_default)
            return group;
        wh_str_addf(&names, "%s%s", names.len ? ", " : "", group->name);
    }
    /* "default" is what the official program takes where nothing is named. */
    if (name && wh_streq_ci(name, "default"))
        return wh_registration_group(r, NULL, err);
    if (name)
        wh_fail(err, WH_E_NOT_FOUND, "there is no runner group \"%s\"; this token sees: %s", name,
                names.len ? names.data : "none");
    else
        wh_fail(err, WH_E_NOT_FOUND, "no default runner group is listed; name one with --runnergroup (%s)",
                names.len ? names.data : "none is visible");
    return NULL;
}

int wh_registration_find(struct wh_registration *r, const char *name, int64_t *id, struct wh_error *err)
{
    *id = 0;
    return r->tenant.admin ? gh_admin_find(r, name, id, err) : gh_pool_find(r, name, id, err);
}

int wh_registration_add(struct wh_registration *r, const struct wh_register_options *o,
                        const struct wh_rsa_key *key, struct wh_runner_config *config, struct wh_error *err)
{
    free(config->group);
    free(config->url);
    config->group = wh_strdup(o->group->name);
    config->group_id = o->group->id;
    config->url = wh_strdup(r->url->url);
    config->disable_update = o->disable_update;
    return r->tenant.admin ? gh_admin_add(r, o, key, config, err) : gh_pool_add(r, o, key, config, err);
}

/* ---- removal ---- */

/* By id; *gone where the service knows none. */
static int remove_admin(struct wh_registration *r, const struct wh_runner_config *config, bool *gone,
                        struct wh_error *err)
{
    gh_autoanswer answer = {0};
    wh_autoerror why = {0};
    wh_autofree char *address = wh_printf("%s/runners/%lld", r->url->entity, (long long)config->id);
    struct gh_rest_call call = {
        .purpose = GH_FOR_REMOVE, .method = "DELETE", .url = address, .name = config->name};
    if (gh_admin_call(r, &call, &answer, &why) == 0)
        return 0;
    *gone = answer.status == 404;
    return *gone ? 0 : wh_error_move(err, &why);
}

static int remove_pool(struct wh_registration *r, const struct wh_runner_config *config, bool *gone,
                       struct wh_error *err)
{
    int64_t id = 0;
    if (gh_pool_find(r, config->name, &id, err))
        return -1;
    *gone = id != config->id; /* nobody, or another one under this name */
    return *gone ? 0 : gh_pool_remove(r, id, err);
}

int wh_unregister(struct wh_http_client *http, const struct wh_github_url *url,
                  struct wh_authority *authority, const struct wh_runner_config *config, bool *gone,
                  struct wh_error *err)
{
    wh_autoregistration *r = registration_new(http, url, authority, config->version);
    *gone = false;
    r->token = gh_authority_runner_token(authority, http, url, GH_REMOVE, err);
    if (!r->token || gh_tenant_ask(http, url, r->token, GH_REMOVE, r->by_app, &r->tenant, err) ||
        check_tenant(url, &r->tenant, err))
        return -1;
    /* What it was registered by, not what the service would take now, says how it goes. */
    if (config->runner_admin || r->tenant.admin)
        return remove_admin(r, config, gone, err);
    return gh_pool_connect(r, err) ? -1 : remove_pool(r, config, gone, err);
}
