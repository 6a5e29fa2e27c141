/* Reading `container:` and `services:` of the job message. */
#include "wherry/base/digest.h"
#include "worker/container.h"

static void container_free(struct wh_jobcontainer *c)
{
    if (!c)
        return;
    char *const texts[] = {c->alias,   c->image, c->name,     c->id,   c->options, c->entrypoint,
                           c->command, c->user,  c->password, c->path, c->network};
    for (size_t i = 0; i < WH_COUNT(texts); i++)
        free(texts[i]);
    wh_value_unref(c->env);
    wh_value_unref(c->mapped);
    wh_strv_free(c->ports);
    wh_strv_free(c->volumes);
    free(c);
}

void wh_containers_free(struct wh_job *j)
{
    container_free(j->container);
    for (size_t i = 0; i < j->nservices; i++)
        container_free(j->services[i]);
    free(j->services);
    free(j->network);
    free(j->hooks);
    free(j->docker);
    free(j->hook_response);
    cJSON_Delete(j->hook_state);
    free(j->engine);
    cJSON_Delete(j->built);
    wh_close_fd(&j->engine_channel);
    wh_close_fd(&j->engine_listener);
}

/* ---- all of one ---- */

char *wh_container_clean_name(const char *image)
{
    wh_autostr clean = {0};
    for (const char *p = image; *p; p++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", *p))
            wh_str_addc(&clean, *p);
    return wh_str_steal(&clean);
}

char *wh_container_registry(const char *image)
{
    const char *slash = strchr(image, '/');
    wh_autofree char *first = slash ? wh_strndup(image, (size_t)(slash - image)) : NULL;
    if (first && (strchr(slash + 1, '/') || strpbrk(first, ".:")))
        return wh_steal(&first);
    return wh_strdup("");
}

/* GitHub's own registries take the job's token, where the workflow gives no other. */
static void use_token(const struct wh_job *j, struct wh_jobcontainer *c)
{
    wh_autofree char *registry = wh_container_registry(c->image);
    const struct wh_value *server = wh_object_get(j->github, "server_url");
    const struct wh_value *actor = wh_object_get(j->github, "actor");
    const struct wh_value *token = wh_object_get(j->github, "token");
    if (c->user || c->password || !server || !actor || !token ||
        !wh_streq_ci(wh_value_text(server), "https://github.com") ||
        (!wh_streq_ci(registry, "ghcr.io") && !wh_streq_ci(registry, "containers.pkg.github.com")))
        return;
    c->user = wh_strdup(wh_value_text(actor));
    c->password = wh_strdup(wh_value_text(token));
}

static char *text_of(const struct wh_value *map, const char *key)
{
    const struct wh_value *v = wh_object_get(map, key);
    return v && !wh_value_is_null(v) ? wh_value_to_string(v) : NULL;
}

static char **texts_of(const struct wh_value *list)
{
    char **texts = NULL;
    for (size_t i = 0; i < wh_value_count(list); i++)
        wh_strv_take(&texts, wh_value_to_string(wh_array_at(list, i)));
    return texts;
}

static int fill(struct wh_job *j, struct wh_jobcontainer *c, const struct wh_value *value,
                struct wh_error *err)
{
    bool plain = wh_value_is_primitive(value);
    char guid[37];
    wh_autofree char *image = plain ? wh_value_to_string(value) : text_of(value, "image");
    const char *name = image ? image : "";
    c->image = wh_strdup(wh_starts_with_ci(name, "docker://") ? name + strlen("docker://") : name);
    wh_autofree char *clean = wh_container_clean_name(c->image);
    c->name = wh_printf("%s_%.100s_%.6s", c->alias ? c->alias : "job", clean, wh_guid(guid));
    if (plain || c->image[0] == '\0')
        return 0;
    const struct wh_value *credentials = wh_object_get(value, "credentials");
    c->env = wh_value_ref(wh_object_get(value, "env"));
    c->user = text_of(credentials, "username");
    c->password = text_of(credentials, "password");
    c->options = text_of(value, "options");
    c->entrypoint = text_of(value, "entrypoint");
    c->command = text_of(value, "command");
    c->ports = texts_of(wh_object_get(value, "ports"));
    c->volumes = texts_of(wh_object_get(value, "volumes"));
    use_token(j, c);
    if (j->container_host != &wh_container_builtin)
        return 0;
    return wh_container_builtin_check(c, err) == 0
               ? 0
               : wh_wrap(err, "%s%s%s", c->alias ? "service '" : "the job's container",
                         c->alias ? c->alias : "", c->alias ? "'" : "");
}

static struct wh_jobcontainer *new_container(const char *alias)
{
    struct wh_jobcontainer *c = wh_calloc(1, sizeof *c);
    c->alias = wh_strdup(alias);
    return c;
}

static struct wh_value *evaluate(struct wh_job *j, const struct wh_token *token, struct wh_error *err)
{
    struct wh_template_env env = wh_context_template(j, WH_PLACE_CONTAINER_ENV);
    struct wh_value *value = wh_token_eval(token, &env, err);
    if (!value)
        wh_context_say_errors(j, &env, NULL);
    wh_strv_free(wh_steal(&env.errors));
    return value;
}

static int read_services(struct wh_job *j, struct wh_error *err)
{
    wh_autovalue *services = evaluate(j, j->message->job_services, err);
    if (!services)
        return -1;
    j->services = wh_calloc(wh_value_count(services) + 1, sizeof(struct wh_jobcontainer *));
    for (size_t i = 0; wh_value_kind(services) == WH_OBJECT && i < wh_value_count(services); i++) {
        const char *alias = wh_object_key_at(services, i);
        struct wh_jobcontainer *c = new_container(alias);
        int n = fill(j, c, wh_object_value_at(services, i), err);
        if (n == 0 && c->image[0] == '\0') {
            wh_say(
                j,
                "The service '%s' will not be started because the container definition has an empty image.",
                alias);
            container_free(c);
            continue;
        }
        j->services[j->nservices++] = c;
        if (n < 0)
            return -1;
    }
    return 0;
}

bool wh_containers_by_docker(void)
{
    return wh_streq(getenv("WHERRY_CONTAINERS_ENGINE"), "docker");
}

/* Who runs them. A docker that is missing is told where it is needed: not every job has containers. */
static int choose_host(struct wh_job *j, struct wh_error *err)
{
    bool docker = wh_containers_by_docker();
    if (wh_hooks_choose(j))
        return 0;
    j->container_host = docker ? &wh_container_docker : &wh_container_builtin;
    if (docker && (j->message->job_container || j->message->job_services))
        return wh_container_docker_choose(j, err);
    return 0;
}

int wh_containers_prepare(struct wh_job *j, struct wh_error *err)
{
    if (choose_host(j, err) < 0)
        return -1;
    const struct wh_token *token = j->message->job_container;
    if (j->message->job_services && read_services(j, err) < 0)
        return -1;
    if (token) {
        wh_autovalue *value = evaluate(j, token, err);
        struct wh_jobcontainer *c = value ? new_container(NULL) : NULL;
        if (!c)
            return -1;
        j->container = c;
        if (fill(j, c, value, err) < 0)
            return -1;
        if (c->image[0] == '\0') {
            container_free(c);
            j->container = NULL;
        }
    }
    const char *required = wh_env_get(j->base_env, "ACTIONS_RUNNER_REQUIRE_JOB_CONTAINER");
    if (!j->container && wh_streq_ci(required, "true"))
        return wh_fail(err, WH_E_DENIED,
                       "Jobs without a job container are forbidden on this runner, please add a 'container:' "
                       "to your job or contact your self-hosted runner administrator.");
    return 0;
}
