/* `container:` and `services:` (job-execution.md §10): started before the first step, by the job's engine.
 * They share the machine's network: a service is at 127.0.0.1 and its own port, and its alias means that
 * address in the other containers. */
#include <stdio.h>
#include <unistd.h>

#include "wherry/base/clock.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "wherry/build/engine.h"
#include "worker/container.h"

#define HEALTH_FIRST_MS 2000u
#define HEALTH_LAST_MS 32000u

/* ---- where things are in the job's container ---- */

enum { MAPPINGS = 6 };

/* From the longest to the shortest. The first two texts are owned by the caller. */
static void fill_map(const struct wh_job *j, struct wh_mapping map[MAPPINGS], char **workflow, char **actions)
{
    *workflow = wh_path_join(j->dirs.temp, "_github_workflow");
    *actions = wh_path_join(j->dirs.work, "_actions");
    const struct wh_mapping all[MAPPINGS] = {{*workflow, "/github/workflow"}, {j->dirs.home, "/github/home"},
                                             {j->dirs.temp, "/__w/_temp"},    {*actions, "/__w/_actions"},
                                             {j->dirs.tools, "/__t"},         {j->dirs.work, "/__w"}};
    memcpy(map, all, sizeof all);
}

char *wh_container_path(const struct wh_job *j, const char *path)
{
    struct wh_mapping map[MAPPINGS];
    wh_autofree char *workflow = NULL;
    wh_autofree char *actions = NULL;
    fill_map(j, map, &workflow, &actions);
    return wh_mapped_path(map, MAPPINGS, path);
}

struct wh_child *wh_container_child(struct wh_job *j, char *const *argv, char *const *environment,
                                    const char *cwd, struct wh_error *err)
{
    struct wh_mapping map[MAPPINGS];
    wh_autofree char *workflow = NULL;
    wh_autofree char *actions = NULL;
    fill_map(j, map, &workflow, &actions);
    wh_autojson *request = cJSON_CreateObject();
    wh_json_add_string(request, "type", "exec");
    wh_json_add_string(request, "container", j->container->id);
    wh_autofree char *folder = wh_mapped_path(map, MAPPINGS, cwd);
    wh_json_add_string(request, "workdir", folder);
    cJSON *list = cJSON_AddArrayToObject(request, "argv");
    for (size_t i = 0; argv[i]; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(argv[i]));
    cJSON *env = wh_container_env(j, environment, map, MAPPINGS);
    cJSON_AddItemToObject(request, "env", env);
    cJSON_AddItemToArray(env, cJSON_CreateString("HOME=/github/home"));
    if (wh_strv_len(j->prepends) > 0) {
        wh_autofree char *path = wh_environ_path(j, j->container->path);
        wh_autofree char *mapped = wh_mapped_path(map, MAPPINGS, path);
        wh_autofree char *entry = wh_printf("PATH=%s", mapped);
        cJSON_AddItemToArray(env, cJSON_CreateString(entry));
    }
    return wh_engine_step(j, request, err);
}

/* ---- starting one ---- */

static void add_mount(cJSON *mounts, const char *source, const char *target, bool readonly)
{
    cJSON *one = cJSON_CreateObject();
    wh_json_add_string(one, "source", source);
    wh_json_add_string(one, "target", target);
    if (readonly)
        cJSON_AddBoolToObject(one, "readonly", true);
    cJSON_AddItemToArray(mounts, one);
}

/* source:target[:ro]; a target alone is a folder that ends with the container. */
static int add_volume(cJSON *mounts, const char *text, struct wh_error *err)
{
    wh_autostrv char **parts = wh_strv_split(text, ':');
    size_t n = wh_strv_len(parts);
    if (n == 1 && parts[0][0] == '/') {
        add_mount(mounts, NULL, parts[0], false);
        return 0;
    }
    if (n < 2 || n > 3 || parts[0][0] != '/' || parts[1][0] != '/')
        return wh_fail(
            err, WH_E_UNSUPPORTED,
            "the volume '%s' is not supported by wherry: /folder:/target[:ro] is, named volumes are "
            "not",
            text);
    add_mount(mounts, parts[0], parts[1], n == 3 && strstr(parts[2], "ro"));
    return 0;
}

static void add_hosts(const struct wh_job *j, cJSON *request)
{
    cJSON *hosts = cJSON_AddArrayToObject(request, "hosts");
    for (size_t i = 0; i < j->nservices; i++) {
        cJSON *one = cJSON_CreateObject();
        wh_json_add_string(one, "name", j->services[i]->alias);
        wh_json_add_string(one, "address", "127.0.0.1");
        cJSON_AddItemToArray(hosts, one);
    }
}

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

/* What the image says of its health, unless the options do. */
static void take_health(struct wh_jobcontainer *c, const cJSON *config)
{
    const cJSON *test = wh_json_get(wh_json_get(wh_json_get(config, "config"), "Healthcheck"), "Test");
    const cJSON *first = cJSON_GetArrayItem(test, 0);
    const cJSON *second = cJSON_GetArrayItem(test, 1);
    if (c->options.health_cmd || !cJSON_IsString(first) || !cJSON_IsString(second))
        return;
    if (wh_streq(first->valuestring, "CMD-SHELL"))
        c->options.health_cmd = wh_strdup(second->valuestring);
    if (!wh_streq(first->valuestring, "CMD"))
        return;
    wh_autostr words = {0};
    for (const cJSON *word = second; word; word = word->next)
        wh_str_addf(&words, "%s%s", words.len ? " " : "", cJSON_IsString(word) ? word->valuestring : "");
    c->options.health_cmd = wh_str_steal(&words);
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
    const cJSON *config = wh_json_get(result, "config");
    c->path = wh_strdup(image_path(config));
    take_health(c, config);
    return 0;
}

static void add_env(const struct wh_jobcontainer *c, cJSON *request)
{
    cJSON *env = cJSON_AddArrayToObject(request, "env");
    bool ci = false;
    for (size_t i = 0; i < wh_value_count(c->env); i++) {
        wh_autofree char *value = wh_value_to_string(wh_object_value_at(c->env, i));
        wh_autofree char *entry = wh_printf("%s=%s", wh_object_key_at(c->env, i), value);
        cJSON_AddItemToArray(env, cJSON_CreateString(entry));
        ci = ci || wh_streq(wh_object_key_at(c->env, i), "CI");
    }
    for (size_t i = 0; c->options.env && c->options.env[i]; i++)
        cJSON_AddItemToArray(env, cJSON_CreateString(c->options.env[i]));
    cJSON_AddItemToArray(env, cJSON_CreateString("GITHUB_ACTIONS=true"));
    if (!ci)
        cJSON_AddItemToArray(env, cJSON_CreateString("CI=true"));
}

static void add_job_mounts(const struct wh_job *j, cJSON *request, cJSON *mounts)
{
    wh_autofree char *workflow = wh_path_join(j->dirs.temp, "_github_workflow");
    const char *externals = wh_json_string(j->options, "externals");
    if (!externals)
        externals = getenv("WHERRY_EXTERNALS");
    add_mount(mounts, j->dirs.work, "/__w", false);
    if (externals && access(externals, F_OK) == 0)
        add_mount(mounts, externals, "/__e", true);
    add_mount(mounts, j->dirs.temp, "/__w/_temp", false);
    add_mount(mounts, j->dirs.tools, "/__t", false);
    add_mount(mounts, j->dirs.home, "/github/home", false);
    add_mount(mounts, workflow, "/github/workflow", false);
    cJSON *own = cJSON_AddArrayToObject(request, "own");
    const char *const folders[] = {j->dirs.workspace, j->dirs.temp, j->dirs.tools};
    for (size_t i = 0; i < WH_COUNT(folders); i++)
        cJSON_AddItemToArray(own, cJSON_CreateString(folders[i]));
    static const char *const idle[] = {"tail", "-f", "/dev/null"};
    wh_json_add_string(request, "workdir", "/__w");
    cJSON_AddItemToArray(cJSON_AddArrayToObject(request, "entrypoint"), cJSON_CreateString(idle[0]));
    cJSON *args = cJSON_AddArrayToObject(request, "args");
    for (size_t i = 1; i < WH_COUNT(idle); i++)
        cJSON_AddItemToArray(args, cJSON_CreateString(idle[i]));
}

static int start(struct wh_job *j, struct wh_jobcontainer *c, struct wh_error *err)
{
    wh_autojson *request = cJSON_CreateObject();
    wh_autojson *result = NULL;
    if (pull(j, c, err) < 0)
        return -1;
    wh_json_add_string(request, "type", "run");
    wh_json_add_string(request, "image", c->image);
    wh_json_add_string(request, "name", c->name);
    cJSON_AddBoolToObject(request, "detach", true);
    wh_json_add_string(request, "user", c->options.user);
    add_login(c, request);
    add_env(c, request);
    add_hosts(j, request);
    cJSON *mounts = cJSON_AddArrayToObject(request, "mounts");
    if (!c->alias)
        add_job_mounts(j, request, mounts);
    else if (c->options.workdir)
        wh_json_add_string(request, "workdir", c->options.workdir);
    if (c->alias && c->options.entrypoint)
        cJSON_AddItemToArray(cJSON_AddArrayToObject(request, "entrypoint"),
                             cJSON_CreateString(c->options.entrypoint));
    for (size_t i = 0; c->volumes && c->volumes[i]; i++)
        if (add_volume(mounts, c->volumes[i], err) < 0)
            return -1;
    wh_say(j, "##[command]wherry docker run --detach --name %s %s", c->name, c->image);
    if (wh_engine_ask(j, request, &result, err) < 0)
        return -1;
    c->id = wh_strdup(wh_json_string(result, "id"));
    return 0;
}

/* ---- contexts ---- */

static void set_context(struct wh_job *j, const struct wh_jobcontainer *c, struct wh_value *into)
{
    wh_object_set_text(into, "id", c->id);
    wh_object_set_text(into, "network", "host");
    if (!c->alias)
        return;
    wh_autovalue *ports = wh_value_object();
    for (size_t i = 0; c->ports && c->ports[i]; i++)
        wh_object_set_text(ports, c->ports[i], c->ports[i]);
    wh_object_set(into, "ports", ports);
    (void)j;
}

static void set_contexts(struct wh_job *j)
{
    if (j->container) {
        wh_autovalue *one = wh_value_object();
        set_context(j, j->container, one);
        wh_object_set(j->job, "container", one);
    }
    wh_autovalue *all = wh_value_object();
    for (size_t i = 0; i < j->nservices; i++) {
        wh_autovalue *one = wh_value_object();
        set_context(j, j->services[i], one);
        wh_object_set(all, j->services[i]->alias, one);
    }
    if (j->nservices > 0)
        wh_object_set(j->job, "services", all);
}

/* ---- health ---- */

static void dump_logs(struct wh_job *j, const struct wh_jobcontainer *c)
{
    wh_autojson *request = cJSON_CreateObject();
    wh_autojson *result = NULL;
    wh_json_add_string(request, "type", "logs");
    wh_json_add_string(request, "container", c->id);
    if (wh_engine_ask(j, request, &result, NULL) < 0)
        return;
    const char *log = wh_json_string(result, "log");
    struct wh_reader r = wh_reader_of(log ? log : "", log ? strlen(log) : 0);
    for (struct wh_view line; wh_reader_line(&r, &line);)
        wh_say_text(j, "", line.data, line.len);
}

static bool is_running(struct wh_job *j, const struct wh_jobcontainer *c)
{
    wh_autojson *request = cJSON_CreateObject();
    wh_autojson *result = NULL;
    wh_json_add_string(request, "type", "list");
    if (wh_engine_ask(j, request, &result, NULL) < 0)
        return false;
    const cJSON *one;
    cJSON_ArrayForEach(one, wh_json_get(result, "containers"))
    {
        if (wh_streq(wh_json_string(one, "id"), c->id))
            return wh_streq(wh_json_string(one, "state"), "running");
    }
    return false;
}

static bool is_healthy(struct wh_job *j, const struct wh_jobcontainer *c)
{
    wh_autojson *request = cJSON_CreateObject();
    wh_autojson *result = NULL;
    wh_json_add_string(request, "type", "exec");
    wh_json_add_string(request, "container", c->id);
    const char *const words[] = {"/bin/sh", "-c", c->options.health_cmd};
    cJSON *argv = cJSON_AddArrayToObject(request, "argv");
    for (size_t i = 0; i < WH_COUNT(words); i++)
        cJSON_AddItemToArray(argv, cJSON_CreateString(words[i]));
    return wh_engine_ask(j, request, &result, NULL) == 0 && wh_json_int(result, "code", 1) == 0;
}

struct pause {
    uv_timer_t timer;
    bool over, closed;
};

static void on_pause(uv_timer_t *timer)
{
    ((struct pause *)timer->data)->over = true;
}

static void on_pause_closed(uv_handle_t *handle)
{
    ((struct pause *)handle->data)->closed = true;
}

static void pause_for(struct wh_job *j, uint64_t ms)
{
    struct pause p = {0};
    uv_timer_init(&j->loop, &p.timer);
    p.timer.data = &p;
    wh_timer_start(&p.timer, on_pause, ms, 0);
    while (!p.over && j->cancel == WH_CANCEL_NONE)
        wh_job_turn(j);
    uv_close((uv_handle_t *)&p.timer, on_pause_closed);
    while (!p.closed)
        uv_run(&j->loop, UV_RUN_NOWAIT);
}

static int wait_healthy(struct wh_job *j, const struct wh_jobcontainer *c, struct wh_error *err)
{
    uint64_t wait = HEALTH_FIRST_MS;
    for (unsigned tries = 0;; tries++) {
        bool running = is_running(j, c);
        if (running && (!c->options.health_cmd || is_healthy(j, c))) {
            if (c->options.health_cmd)
                wh_say(j, "%s service is healthy.", c->alias);
            return 0;
        }
        if (!running || tries >= c->options.health_retries || j->cancel != WH_CANCEL_NONE) {
            wh_say(j, "%s service is %s.", c->alias, running ? "unhealthy" : "not running any more");
            dump_logs(j, c);
            return wh_fail(err, WH_E_FAILED, "One or more containers failed to start.");
        }
        wh_say(j, "%s service is starting, waiting %llu seconds before checking again.", c->alias,
               (unsigned long long)(wait / 1000));
        pause_for(j, wait);
        wait = WH_MIN(wait * 2, HEALTH_LAST_MS);
    }
}

/* ---- the two steps ---- */

static int initialize(struct wh_job *j, struct wh_error *err)
{
    int n = 0;
    for (size_t i = 0; i < j->nservices && n == 0; i++) {
        wh_say(j, "##[group]Starting %s service container", j->services[i]->alias);
        n = start(j, j->services[i], err);
        wh_say(j, "##[endgroup]");
    }
    if (n == 0 && j->container) {
        wh_say(j, "##[group]Starting job container");
        n = start(j, j->container, err);
        wh_say(j, "##[endgroup]");
    }
    if (n < 0 || j->nservices == 0)
        return n;
    wh_say(j, "##[group]Waiting for all services to be ready");
    for (size_t i = 0; i < j->nservices && n == 0; i++)
        n = wait_healthy(j, j->services[i], err);
    wh_say(j, "##[endgroup]");
    return n;
}

static void stop_one(struct wh_job *j, const struct wh_jobcontainer *c)
{
    if (!c || !c->id)
        return;
    if (c->alias) {
        wh_say(j, "Print service container logs: %s", c->name);
        dump_logs(j, c);
    }
    wh_say(j, "Stop and remove container: %s", c->name);
    wh_autojson *request = cJSON_CreateObject();
    wh_autoerror err = {0};
    wh_json_add_string(request, "type", "rm");
    wh_json_add_string(request, "container", c->id);
    if (wh_engine_ask(j, request, NULL, &err) < 0)
        wh_say(j, "%s", wh_error_text(&err));
}

static void execute_stop(struct wh_job *j, struct wh_run *run)
{
    /* They are stopped after a cancel, too: nothing may hold the helpers up. */
    enum wh_cancel asked = j->cancel;
    j->cancel = WH_CANCEL_NONE;
    stop_one(j, j->container);
    for (size_t i = 0; i < j->nservices; i++)
        stop_one(j, j->services[i]);
    if (asked > j->cancel)
        j->cancel = asked;
    run->result = WH_TASK_SUCCEEDED;
}

static void execute_initialize(struct wh_job *j, struct wh_run *run)
{
    static const struct wh_special stop = {.condition = "always()", .execute = execute_stop};
    wh_autoerror err = {0};
    wh_special_add_post(j, wh_special_new(&stop, "Stop containers", NULL));
    int n = initialize(j, &err);
    set_contexts(j);
    run->result = n < 0 ? WH_TASK_FAILED : WH_TASK_SUCCEEDED;
    if (n < 0)
        wh_say_error(j, "%s", wh_error_text(&err));
}

void wh_containers_add_pre(struct wh_job *j)
{
    static const struct wh_special special = {.condition = "success()", .execute = execute_initialize};
    if (j->container || j->nservices > 0)
        wh_special_add_pre(j, wh_special_new(&special, "Initialize containers", NULL));
}
