/* The environment of a step's process, layer by layer (job-execution.md §4). */
#include <ctype.h>

#include "worker/job.h"

static void add_object(char ***env, const struct wh_value *object, const char *prefix, bool as_input)
{
    for (size_t i = 0; i < wh_value_count(object); i++) {
        wh_autofree char *name = wh_printf("%s%s", prefix, wh_object_key_at(object, i));
        if (as_input) {
            for (char *p = name; *p; p++)
                if (*p == ' ')
                    *p = '_';
            wh_ascii_upper(name);
        }
        wh_autofree char *value = wh_value_to_string(wh_object_value_at(object, i));
        /* A name that can't be one (with '=', or empty) would turn into another variable. */
        if (name[0] != '\0' && !strchr(name, '='))
            wh_env_set(env, name, value);
    }
}

char *wh_environ_path(const struct wh_job *j, const char *base)
{
    wh_autostr path = {0};
    for (size_t i = wh_strv_len(j->prepends); i-- > 0;) {
        wh_str_add(&path, j->prepends[i]);
        if (i > 0)
            wh_str_addc(&path, ':');
    }
    if (path.len == 0)
        return wh_strdup(base ? base : "");
    if (base && base[0] && !wh_starts_with(base, path.data))
        wh_str_addf(&path, ":%s", base);
    else if (base && base[0])
        return wh_strdup(base);
    return wh_str_steal(&path);
}

void wh_environ_add_path(struct wh_job *j, const char *folder)
{
    char **kept = NULL;
    for (size_t i = 0; j->prepends && j->prepends[i]; i++)
        if (!wh_streq(j->prepends[i], folder))
            wh_strv_add(&kept, j->prepends[i]);
    wh_strv_add(&kept, folder);
    wh_strv_free(j->prepends);
    j->prepends = kept;
}

static void add_path(const struct wh_job *j, char ***env)
{
    if (wh_strv_len(j->prepends) == 0)
        return;
    const char *base = wh_message_variable(j->message, "PATH");
    if (!base || base[0] == '\0')
        base = wh_env_get(*env, "PATH"); /* the env context's, else the worker's */
    wh_autofree char *path = wh_environ_path(j, base);
    wh_env_set(env, "PATH", path);
}

static void set_if(char ***env, const char *name, const char *value)
{
    if (value && value[0] != '\0')
        wh_env_set(env, name, value);
}

/* Of the agent's cache service, in the place of GitHub's: clients of both versions find it under both URLs.
 * It listens on the machine's loopback alone, which a container with a network of its own doesn't see. */
static void add_local_service(const struct wh_job *j, const struct wh_run *run, char ***env)
{
    const cJSON *services = wh_json_get(j->options, "services");
    const char *url = wh_json_string(services, "url");
    if (!url || (j->container && !run->action) || wh_is_docker(run))
        return;
    wh_env_set(env, "ACTIONS_CACHE_URL", url);
    wh_env_set(env, "ACTIONS_RESULTS_URL", url);
    wh_env_set(env, "ACTIONS_CACHE_SERVICE_V2", "True");
    set_if(env, "ACTIONS_RUNTIME_TOKEN", wh_json_string(services, "token"));
}

/* ACTIONS_*: the id token's for every step, the rest for actions alone. */
static void add_service(const struct wh_job *j, const struct wh_run *run, bool action, char ***env)
{
    const struct wh_job_message *m = j->message;
    const char *token = wh_message_access_token(m);
    const char *id_token_url = wh_message_endpoint_data(m, "GenerateIdTokenUrl");
    if (id_token_url) {
        wh_env_set(env, "ACTIONS_ID_TOKEN_REQUEST_URL", id_token_url);
        set_if(env, "ACTIONS_ID_TOKEN_REQUEST_TOKEN", token);
    }
    set_if(env, "ACTIONS_ORCHESTRATION_ID", wh_message_variable(m, "system.orchestrationId"));
    if (!action)
        return;
    if (j->local) {
        add_local_service(j, run, env);
        return;
    }
    const char *pipelines = wh_message_endpoint_data(m, "PipelinesServiceUrl");
    set_if(env, "ACTIONS_RUNTIME_URL", pipelines ? pipelines : wh_message_system_endpoint(m)->url);
    set_if(env, "ACTIONS_RUNTIME_TOKEN", token);
    set_if(env, "ACTIONS_CACHE_URL", wh_message_endpoint_data(m, "CacheServerUrl"));
    set_if(env, "ACTIONS_RESULTS_URL", wh_message_endpoint_data(m, "ResultsServiceUrl"));
    if (wh_message_variable_bool(m, "actions_uses_cache_service_v2", false))
        wh_env_set(env, "ACTIONS_CACHE_SERVICE_V2", "True");
    set_if(env, "ACTIONS_CACHE_MODE", wh_message_variable(m, "actions_cache_mode"));
    add_local_service(j, run, env);
}

char **wh_environ_of(struct wh_job *j, const struct wh_run *run, const struct wh_value *inputs)
{
    char **env = wh_strv_dup(j->base_env);
    add_object(&env, run->env, "", false);
    if (inputs) {
        add_object(&env, run->main ? run->main->state : run->state, "STATE_", false);
        add_object(&env, inputs, "INPUT_", true);
    }
    add_path(j, &env);
    wh_context_export(j->github, j->runner_context, &env);
    add_service(j, run, inputs != NULL, &env);
    wh_env_set(&env, "GITHUB_ACTIONS", "true");
    if (!wh_env_get(env, "CI"))
        wh_env_set(&env, "CI", "true");
    return env;
}
