/* Reading `container:` and `services:` of the job message. */
#include "wherry/base/digest.h"
#include "worker/container.h"

static void container_free(struct wh_jobcontainer *c)
{
    if (!c)
        return;
    char *const texts[] = {c->alias,
                           c->image,
                           c->name,
                           c->id,
                           c->user,
                           c->password,
                           c->path,
                           c->options.health_cmd,
                           c->options.user,
                           c->options.workdir,
                           c->options.entrypoint};
    for (size_t i = 0; i < WH_COUNT(texts); i++)
        free(texts[i]);
    wh_value_unref(c->env);
    wh_strv_free(c->ports);
    wh_strv_free(c->volumes);
    wh_strv_free(c->options.env);
    free(c);
}

void wh_containers_free(struct wh_job *j)
{
    container_free(j->container);
    for (size_t i = 0; i < j->nservices; i++)
        container_free(j->services[i]);
    free(j->services);
    free(j->engine);
    cJSON_Delete(j->built);
    wh_close_fd(&j->engine_channel);
    wh_close_fd(&j->engine_listener);
}

/* ---- options ---- */

static void replace(char **text, const char *value)
{
    free(*text);
    *text = wh_strdup(value);
}

static int set_option(struct wh_jobcontainer *c, const char *name, const char *value, struct wh_error *err)
{
    static const char *const without_effect[] = {
        "--health-interval", "--health-timeout", "--health-start-period", "--name", "--hostname", "-h",
        "--restart"};
    uint64_t number;
    if (wh_streq(name, "--health-cmd")) {
        replace(&c->options.health_cmd, value);
    } else if (wh_streq(name, "--health-retries")) {
        if (!wh_parse_u64(value, 1000, &number))
            return wh_fail(err, WH_E_ARGUMENT, "--health-retries '%s' is no number", value);
        c->options.health_retries = (unsigned)number;
    } else if (wh_streq(name, "--user") || wh_streq(name, "-u")) {
        replace(&c->options.user, value);
    } else if (wh_streq(name, "--workdir") || wh_streq(name, "-w")) {
        replace(&c->options.workdir, value);
    } else if (wh_streq(name, "--entrypoint")) {
        replace(&c->options.entrypoint, value);
    } else if (wh_streq(name, "--env") || wh_streq(name, "-e")) {
        wh_strv_add(&c->options.env, value);
    } else if (wh_streq(name, "--volume") || wh_streq(name, "-v")) {
        wh_strv_add(&c->volumes, value);
    } else {
        for (size_t i = 0; i < WH_COUNT(without_effect); i++)
            if (wh_streq(name, without_effect[i]))
                return 0;
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "the option '%s' of %s%s%s is not supported by wherry's own engine of containers",
                       name, c->alias ? "service '" : "the job's container", c->alias ? c->alias : "",
                       c->alias ? "'" : "");
    }
    return 0;
}

/* Words as a shell would have them: quotes of both kinds. */
static char **split_words(const char *text)
{
    char **words = NULL;
    wh_autostr word = {0};
    bool open = false;
    char quote = 0;
    for (const char *p = text; *p; p++) {
        if (quote ? *p == quote : *p == '"' || *p == '\'') {
            quote = quote ? 0 : *p;
            open = true;
        } else if (!quote && (*p == ' ' || *p == '\n' || *p == '\t')) {
            if (open)
                wh_strv_add(&words, wh_str_text(&word));
            wh_str_clear(&word);
            open = false;
        } else {
            if (*p == '\\' && p[1])
                p++;
            wh_str_addc(&word, *p);
            open = true;
        }
    }
    if (open)
        wh_strv_add(&words, wh_str_text(&word));
    return words;
}

static int read_options(struct wh_jobcontainer *c, const char *text, struct wh_error *err)
{
    wh_autostrv char **words = split_words(text);
    for (size_t i = 0; words && words[i]; i++) {
        const char *equals = words[i][0] == '-' && words[i][1] == '-' ? strchr(words[i], '=') : NULL;
        wh_autofree char *name =
            equals ? wh_strndup(words[i], (size_t)(equals - words[i])) : wh_strdup(words[i]);
        static const char *const flags[] = {"--init", "--privileged",  "--tty", "-t",
                                            "-i",     "--interactive", "--rm"};
        for (size_t k = 0; k < WH_COUNT(flags); k++)
            if (wh_streq(name, flags[k]))
                return set_option(c, name, "", err);
        const char *value = equals ? equals + 1 : words[i + 1];
        if (!value)
            return wh_fail(err, WH_E_ARGUMENT, "the container option '%s' needs a value", name);
        if (set_option(c, name, value, err) < 0)
            return -1;
        i += equals ? 0 : 1;
    }
    return 0;
}

/* ---- ports ---- */

/* [ip:][host:]container[/tcp]: the network is the machine's, so both must be the same. */
static int add_port(struct wh_jobcontainer *c, const char *text, struct wh_error *err)
{
    wh_autofree char *copy = wh_strdup(text);
    char *protocol = strchr(copy, '/');
    if (protocol)
        *protocol = '\0';
    const char *inner = strrchr(copy, ':');
    inner = inner ? inner + 1 : copy;
    uint64_t port;
    if (!wh_parse_u64(inner, 65535, &port) || port == 0)
        return wh_fail(err, WH_E_ARGUMENT, "the port '%s' of service '%s' is none", text, c->alias);
    if (inner != copy) {
        copy[inner - copy - 1] = '\0';
        const char *outer = strrchr(copy, ':');
        outer = outer ? outer + 1 : copy;
        if (!wh_streq(outer, inner))
            return wh_fail(err, WH_E_UNSUPPORTED,
                           "the port '%s' of service '%s' is not supported by wherry's own engine: services "
                           "share the machine's network, so their port can't be mapped to another",
                           text, c->alias);
    }
    wh_strv_add(&c->ports, inner);
    return 0;
}

/* ---- all of one ---- */

static char *text_of(const struct wh_value *map, const char *key)
{
    const struct wh_value *v = wh_object_get(map, key);
    return v && !wh_value_is_null(v) ? wh_value_to_string(v) : NULL;
}

static int read_lists(struct wh_jobcontainer *c, const struct wh_value *map, struct wh_error *err)
{
    const struct wh_value *ports = wh_object_get(map, "ports");
    const struct wh_value *volumes = wh_object_get(map, "volumes");
    for (size_t i = 0; c->alias && i < wh_value_count(ports); i++) {
        wh_autofree char *text = wh_value_to_string(wh_array_at(ports, i));
        if (add_port(c, text, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < wh_value_count(volumes); i++) {
        wh_autofree char *text = wh_value_to_string(wh_array_at(volumes, i));
        wh_strv_add(&c->volumes, text);
    }
    return 0;
}

static int fill(struct wh_jobcontainer *c, const struct wh_value *value, struct wh_error *err)
{
    bool plain = wh_value_is_primitive(value);
    wh_autofree char *image = plain ? wh_value_to_string(value) : text_of(value, "image");
    const char *name = image ? image : "";
    c->image = wh_strdup(wh_starts_with_ci(name, "docker://") ? name + strlen("docker://") : name);
    c->options.health_retries = 3;
    if (plain || c->image[0] == '\0')
        return 0;
    const struct wh_value *credentials = wh_object_get(value, "credentials");
    c->env = wh_value_ref(wh_object_get(value, "env"));
    c->user = text_of(credentials, "username");
    c->password = text_of(credentials, "password");
    wh_autofree char *options = text_of(value, "options");
    if (options && read_options(c, options, err) < 0)
        return -1;
    return read_lists(c, value, err);
}

static struct wh_jobcontainer *new_container(const char *alias)
{
    char guid[37];
    struct wh_jobcontainer *c = wh_calloc(1, sizeof *c);
    c->alias = wh_strdup(alias);
    c->name = wh_printf("%s_%.6s", alias ? alias : "job", wh_guid(guid));
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
        int n = fill(c, wh_object_value_at(services, i), err);
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

int wh_containers_prepare(struct wh_job *j, struct wh_error *err)
{
    const struct wh_token *token = j->message->job_container;
    if (j->message->job_services && read_services(j, err) < 0)
        return -1;
    if (token) {
        wh_autovalue *value = evaluate(j, token, err);
        struct wh_jobcontainer *c = value ? new_container(NULL) : NULL;
        if (!c)
            return -1;
        j->container = c;
        if (fill(c, value, err) < 0)
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
