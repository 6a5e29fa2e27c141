/* docker/login-action v2 to v4 (actions.md §5): checks the credentials against the registry and leaves them
 * in the job's own docker configuration, where `docker`, skopeo and build-push find them. */
#include "actions/list.h"
#include "wherry/base/json.h"
#include "wherry/base/secret.h"
#include "wherry/oci/registry.h"

static const struct wh_action_input inputs[] = {
    {.name = "registry"},
    {.name = "username"},
    {.name = "password"},
    {.name = "scope", .min_major = 3, .published = true},
    {.name = "ecr", .default_value = "auto"},
    {.name = "logout", .default_value = "true"},
    {.name = "registry-auth", .min_major = 3, .published = true},
};

static bool is_ecr(const char *host)
{
    const char *at = strstr(host, ".dkr.ecr");
    return (at && strstr(at, ".amazonaws.com")) || strcmp(host, "public.ecr.aws") == 0;
}

static int check_inputs(struct wh_action_run *run, const char *registry, struct wh_error *err)
{
    const char *ecr = wh_action_input(run, "ecr");
    if (wh_action_input(run, "registry-auth")[0])
        return wh_fail(
            err, WH_E_UNSUPPORTED,
            "Input 'registry-auth' is not supported yet by wherry: use one login step for each registry");
    if (wh_action_input(run, "scope")[0])
        return wh_fail(err, WH_E_UNSUPPORTED, "Input 'scope' is not supported yet by wherry");
    if (strcmp(ecr, "true") == 0 || (strcmp(ecr, "false") != 0 && is_ecr(registry)))
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "Input 'ecr': logging in to Amazon ECR by AWS keys is not supported yet by wherry "
                       "(set ecr: false and give a token)");
    bool user = wh_action_input(run, "username")[0] != '\0',
         password = wh_action_input_raw(run, "password")[0] != '\0';
    if (!user && !password)
        return wh_fail(err, WH_E_ARGUMENT, "Username and password required");
    if (!user)
        return wh_fail(err, WH_E_ARGUMENT, "Username required");
    return password ? 0 : wh_fail(err, WH_E_ARGUMENT, "Password required");
}

static int save_state(struct wh_action_run *run, const char *registry, struct wh_error *err)
{
    bool logout;
    wh_autojson *list = cJSON_CreateArray();
    cJSON *item = cJSON_CreateObject();
    wh_json_add_string(item, "registry", registry);
    wh_json_add_string(item, "configDir", "");
    cJSON_AddItemToArray(list, item);
    wh_autofree char *text = wh_json_print(list);
    if (wh_action_input_bool(run, "logout", &logout, err) < 0 ||
        wh_action_save_state(run, "registries", text, err) < 0)
        return -1;
    return wh_action_save_state(run, "logout", logout ? "true" : "false", err);
}

static int log_in(struct wh_action_run *run, const char *registry, struct wh_error *err)
{
    const char *user = wh_action_input(run, "username"), *text = wh_action_input(run, "password");
    wh_autosecret *password = wh_secret_new(text, strlen(text));
    struct wh_registry_options options = {0};
    struct wh_registry *client = wh_registry_new(NULL, &options, err);
    if (!client)
        return -1;
    wh_action_print("Logging into %s...", registry);
    int status = wh_registry_check_login(client, registry, user, password, err);
    wh_registry_free(client);
    if (status < 0 || wh_docker_config_login(NULL, registry, user, password, err) < 0)
        return -1;
    wh_action_print("Login Succeeded!");
    return 0;
}

static int stage_main(struct wh_action_run *run)
{
    wh_autoerror err = {0};
    const char *given = wh_action_input(run, "registry");
    const char *registry = given[0] ? given : "docker.io";
    if (save_state(run, registry, &err) < 0 || check_inputs(run, registry, &err) < 0 ||
        log_in(run, registry, &err) < 0)
        return wh_action_fail(&err);
    return 0;
}

static void log_out(const char *registry)
{
    wh_autoerror err = {0};
    wh_action_group("Logout from %s", registry);
    if (wh_docker_config_logout(NULL, registry, &err) < 0)
        wh_action_warning("%s", wh_error_text(&err));
    else
        wh_action_print("Removing login credentials for %s", registry);
    wh_action_group_end();
}

static int stage_post(struct wh_action_run *run)
{
    const char *text = wh_action_state(run, "registries");
    if (strcmp(wh_action_state(run, "logout"), "false") == 0 || text[0] == '\0')
        return 0;
    wh_autojson *list = wh_json_parse(text, strlen(text), 65536, "state registries", NULL);
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const char *registry = wh_json_string(item, "registry");
        if (registry)
            log_out(registry);
    }
    return 0;
}

const struct wh_action wh_action_login = {
    .repository = "docker/login-action",
    .min_major = 2,
    .max_major = 4,
    .inputs = inputs,
    .ninputs = WH_COUNT(inputs),
    .main = stage_main,
    .post = stage_post,
};
