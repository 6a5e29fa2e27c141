/* Containers by the job's own engine (agent/build/engine.h). */
#include <unistd.h>

#include "wherry/base/digest.h"
#include "wherry/build/engine.h"
#include "wherry/container/create.h"
#include "worker/container.h"

/* ---- the network ---- */

static int open_network(struct wh_job *j, struct wh_error *err)
{
    wh_autojson *request = cJSON_CreateObject();
    wh_autojson *result = NULL;
    wh_json_add_string(request, "type", "network");
    wh_json_add_string(request, "name", j->network);
    wh_say(j, "##[group]Create local container network");
    wh_say(j, "##[command]wherry docker network create %s", j->network);
    int n = wh_engine_ask(j, request, &result, err);
    const char *why = wh_json_string(result, "why");
    if (why)
        wh_say(j, "Containers share the machine's network: %s", why);
    wh_say(j, "##[endgroup]");
    return n;
}

static void close_network(struct wh_job *j)
{
    wh_autojson *request = cJSON_CreateObject();
    wh_autoerror err = {0};
    wh_json_add_string(request, "type", "network-rm");
    wh_json_add_string(request, "name", j->network);
    wh_say(j, "Remove container network: %s", j->network);
    if (wh_engine_ask(j, request, NULL, &err) < 0)
        wh_say(j, "%s", wh_error_text(&err));
}

/* ---- starting one ---- */

static void add_login(const struct wh_jobcontainer *c, cJSON *request)
{
    wh_autoref ref = {0};
    if (!c->user || !c->password || wh_ref_parse(c->image, &ref, NULL) < 0) {
        wh_engine_add_login(request, c->image);
        return;
    }
    cJSON *one = cJSON_AddObjectToObject(cJSON_AddObjectToObject(request, "logins"), ref.host);
    wh_json_add_string(one, "user", c->user);
    wh_json_add_string(one, "password", c->password);
}

static const char *image_path(const cJSON *config)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, wh_json_get(wh_json_get(config, "config"), "Env"))
    {
        if (cJSON_IsString(item) && wh_starts_with(item->valuestring, "PATH="))
            return item->valuestring + strlen("PATH=");
    }
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

static int pull(struct wh_job *j, struct wh_jobcontainer *c, struct wh_error *err)
{
    wh_autojson *request = cJSON_CreateObject();
    wh_autojson *result = NULL;
    wh_json_add_string(request, "type", "pull");
    wh_json_add_string(request, "image", c->image);
    add_login(c, request);
    wh_say(j, "##[command]wherry docker pull %s", c->image);
    if (wh_engine_ask(j, request, &result, err) < 0)
        return -1;
    c->path = wh_strdup(image_path(wh_json_get(result, "config")));
    return 0;
}

static void add_env(const struct wh_jobcontainer *c, cJSON *request)
{
    for (size_t i = 0; i < wh_value_count(c->env); i++) {
        wh_autofree char *value = wh_value_to_string(wh_object_value_at(c->env, i));
        wh_autofree char *entry = wh_printf("%s=%s", wh_object_key_at(c->env, i), value);
        wh_create_env(request, entry);
    }
    wh_create_env(request, "GITHUB_ACTIONS=true");
    if (!wh_object_has(c->env, "CI"))
        wh_create_env(request, "CI=true");
}

static void add_words(cJSON *request, const char *name, char *const *words)
{
    cJSON_DeleteItemFromObjectCaseSensitive(request, name);
    cJSON *list = cJSON_AddArrayToObject(request, name);
    for (size_t i = 0; words && words[i]; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(words[i]));
}

static void add_job(const struct wh_job *j, cJSON *request, cJSON *folders_list)
{
    static char *const entrypoint[] = {"tail", NULL};
    static char *const args[] = {"-f", "/dev/null", NULL};
    struct wh_container_folder folders[WH_CONTAINER_FOLDERS];
    size_t n = wh_container_folders(j, folders);
    for (size_t i = 0; i < n; i++) {
        cJSON *one = cJSON_CreateObject();
        wh_json_add_string(one, "source", folders[i].source);
        wh_json_add_string(one, "target", folders[i].target);
        if (folders[i].readonly)
            cJSON_AddBoolToObject(one, "readonly", true);
        cJSON_AddItemToArray(folders_list, one);
    }
    wh_container_folders_clear(folders, n);
    cJSON *own = cJSON_GetObjectItemCaseSensitive(request, "own");
    if (!own)
        own = cJSON_AddArrayToObject(request, "own");
    const char *const given_back[] = {j->dirs.workspace, j->dirs.temp, j->dirs.tools};
    for (size_t i = 0; i < WH_COUNT(given_back); i++)
        cJSON_AddItemToArray(own, cJSON_CreateString(given_back[i]));
    add_words(request, "entrypoint", entrypoint);
    add_words(request, "args", args);
}

/* What the workflow says of it, in the order of docker's own words: later ones win. */
static int add_declared(const struct wh_jobcontainer *c, cJSON *request, struct wh_error *err)
{
    size_t used = 0;
    wh_autostrv char **words = c->options ? wh_create_split(c->options, err) : NULL;
    if (c->options && c->options[0] && !words && err && err->code != WH_OK)
        return -1;
    for (size_t i = 0; c->ports && c->ports[i]; i++)
        if (wh_create_port(request, c->ports[i], err) < 0)
            return -1;
    if (wh_create_options(request, words, &used, err) < 0)
        return -1;
    if (words && words[used])
        return wh_fail(err, WH_E_ARGUMENT, "'%s' of its options is none", words[used]);
    if (wh_json_string(request, "network"))
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "the option '--network' is not supported: all containers of a job are "
                       "in the job's network");
    const char *user = wh_json_string(request, "user");
    if (!c->alias && user && !wh_streq(user, "root") && !wh_starts_with(user, "root:") &&
        !wh_streq(user, "0") && !wh_starts_with(user, "0:"))
        return wh_fail(
            err, WH_E_UNSUPPORTED,
            "the option '--user %s' is not supported by wherry's own engine of containers: the work "
            "folder is closed to all but the job's user, whom the container's root stands for",
            user);
    for (size_t i = 0; c->volumes && c->volumes[i]; i++)
        if (wh_create_volume(request, c->volumes[i], err) < 0)
            return -1;
    return 0;
}

int wh_container_builtin_check(const struct wh_jobcontainer *c, struct wh_error *err)
{
    wh_autojson *request = cJSON_CreateObject();
    return add_declared(c, request, err);
}

static int make_request(struct wh_job *j, const struct wh_jobcontainer *c, cJSON *request,
                        struct wh_error *err)
{
    if (!c->alias)
        wh_json_add_string(request, "workdir", "/__w");
    if (add_declared(c, request, err) < 0)
        return -1;
    cJSON *mounts = cJSON_GetObjectItemCaseSensitive(request, "mounts");
    if (!mounts)
        mounts = cJSON_AddArrayToObject(request, "mounts");
    cJSON_DeleteItemFromObjectCaseSensitive(request, "name");
    wh_json_add_string(request, "type", "run");
    wh_json_add_string(request, "image", c->image);
    wh_json_add_string(request, "name", c->name);
    wh_json_add_string(request, "network", j->network);
    cJSON_DeleteItemFromObjectCaseSensitive(request, "detach");
    cJSON_AddBoolToObject(request, "detach", true);
    if (c->alias) {
        cJSON *aliases = cJSON_GetObjectItemCaseSensitive(request, "aliases");
        cJSON_AddItemToArray(aliases ? aliases : cJSON_AddArrayToObject(request, "aliases"),
                             cJSON_CreateString(c->alias));
    }
    if (c->entrypoint && c->entrypoint[0]) {
        char *const words[] = {c->entrypoint, NULL};
        add_words(request, "entrypoint", words);
    }
    if (c->command && c->command[0]) {
        wh_autostrv char **words = wh_split_arguments(c->command);
        add_words(request, "args", words);
    }
    add_login(c, request);
    add_env(c, request);
    if (!c->alias)
        add_job(j, request, mounts);
    return 0;
}

static void add_loopback(struct wh_job *j, cJSON *request)
{
    struct wh_run *run = j->running;
    wh_autovalue *inputs = wh_value_object();
    wh_autostrv char **environment = wh_environ_of(j, run, inputs);
    cJSON_AddItemToObject(request, "loopback", wh_container_loopback(environment));
}

static void take_ports(struct wh_jobcontainer *c, const cJSON *ports)
{
    const cJSON *port;
    c->mapped = wh_value_object();
    cJSON_ArrayForEach(port, ports)
    {
        const char *inner = wh_json_string(port, "container");
        const char *outer = wh_json_string(port, "host");
        if (inner && outer)
            wh_object_set_text(c->mapped, inner, outer);
    }
}

static int start(struct wh_job *j, struct wh_jobcontainer *c, struct wh_error *err)
{
    wh_autojson *request = cJSON_CreateObject();
    wh_autojson *result = NULL;
    if (pull(j, c, err) < 0)
        return -1;
    if (make_request(j, c, request, err) < 0)
        return wh_wrap(err, "%s%s%s", c->alias ? "service '" : "the job's container",
                       c->alias ? c->alias : "", c->alias ? "'" : "");
    add_loopback(j, request);
    wh_say(j, "##[command]wherry docker run --detach --name %s --network %s %s", c->name, j->network,
           c->image);
    if (wh_engine_ask(j, request, &result, err) < 0)
        return -1;
    c->id = wh_strdup(wh_json_string(result, "id"));
    c->network = wh_strdup(wh_json_string(result, "network"));
    take_ports(c, wh_json_get(result, "ports"));
    return 0;
}

/* ---- while it runs, and its end ---- */

static cJSON *about(const struct wh_jobcontainer *c, const char *type)
{
    cJSON *request = cJSON_CreateObject();
    wh_json_add_string(request, "type", type);
    wh_json_add_string(request, "container", c->id);
    return request;
}

static enum wh_health health(struct wh_job *j, const struct wh_jobcontainer *c, uint64_t wait_ms)
{
    wh_autojson *request = about(c, "wait");
    wh_autojson *result = NULL;
    cJSON_AddBoolToObject(request, "health", true);
    wh_json_add_int(request, "wait", (int64_t)wait_ms);
    if (wh_engine_ask(j, request, &result, NULL) < 0)
        return WH_HEALTH_UNHEALTHY;
    const char *text = wh_json_string(result, "health");
    if (!text)
        return WH_HEALTH_NONE;
    return wh_streq(text, "healthy")    ? WH_HEALTH_HEALTHY
           : wh_streq(text, "starting") ? WH_HEALTH_STARTING
                                        : WH_HEALTH_UNHEALTHY;
}

static void logs(struct wh_job *j, const struct wh_jobcontainer *c)
{
    wh_autojson *request = about(c, "logs");
    wh_autojson *result = NULL;
    wh_say(j, "##[command]wherry docker logs %s", c->id);
    if (wh_engine_ask(j, request, &result, NULL) < 0)
        return;
    const char *log = wh_json_string(result, "log");
    struct wh_reader r = wh_reader_of(log ? log : "", log ? strlen(log) : 0);
    for (struct wh_view line; wh_reader_line(&r, &line);)
        wh_say_text(j, "", line.data, line.len);
}

static int remove_one(struct wh_job *j, const struct wh_jobcontainer *c, struct wh_error *err)
{
    wh_autojson *request = about(c, "rm");
    wh_say(j, "##[command]wherry docker rm --force %s", c->id);
    return wh_engine_ask(j, request, NULL, err);
}

static struct wh_child *exec(struct wh_job *j, char *const *argv, const cJSON *environment,
                             const char *folder, struct wh_error *err)
{
    wh_autojson *request = about(j->container, "exec");
    wh_json_add_string(request, "workdir", folder);
    cJSON *list = cJSON_AddArrayToObject(request, "argv");
    for (size_t i = 0; argv[i]; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(argv[i]));
    cJSON_AddItemToObject(request, "env", cJSON_Duplicate(environment, true));
    return wh_engine_step(j, request, err);
}

static bool is_alpine(struct wh_job *j)
{
    static const char *const words[] = {
        "sh", "-c", "cat /etc/*release | grep '^ID' | grep -qi alpine"}; /* as GitHub's runner looks */
    wh_autojson *request = about(j->container, "exec");
    wh_autojson *result = NULL;
    cJSON *argv = cJSON_AddArrayToObject(request, "argv");
    for (size_t i = 0; i < WH_COUNT(words); i++)
        cJSON_AddItemToArray(argv, cJSON_CreateString(words[i]));
    return wh_engine_ask(j, request, &result, NULL) == 0 && wh_json_int(result, "code", 1) == 0;
}

const struct wh_container_host wh_container_builtin = {
    open_network, start, health, logs, remove_one, close_network, exec, is_alpine,
};
