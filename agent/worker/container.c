/* `container:` and `services:` (job-execution.md §10): started before the first step, in a network of the
 * job's own, where each is known by its name; stopped after the last. */
#include <stdio.h>
#include <unistd.h>

#include "wherry/base/clock.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
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

size_t wh_container_folders(const struct wh_job *j, struct wh_container_folder out[WH_CONTAINER_FOLDERS])
{
    const char *externals = wh_json_string(j->options, "externals");
    wh_autofree char *actions = wh_path_join(j->dirs.work, "_actions");
    size_t n = 0;
    if (!externals)
        externals = getenv("WHERRY_EXTERNALS");
    out[n++] = (struct wh_container_folder){wh_strdup(j->dirs.work), "/__w", false};
    if (externals && access(externals, F_OK) == 0)
        out[n++] = (struct wh_container_folder){wh_strdup(externals), "/__e", true};
    out[n++] = (struct wh_container_folder){wh_strdup(j->dirs.temp), "/__w/_temp", false};
    if (access(actions, F_OK) == 0)
        out[n++] = (struct wh_container_folder){wh_steal(&actions), "/__w/_actions", false};
    out[n++] = (struct wh_container_folder){wh_strdup(j->dirs.tools), "/__t", false};
    out[n++] = (struct wh_container_folder){wh_strdup(j->dirs.home), "/github/home", false};
    out[n++] = (struct wh_container_folder){wh_path_join(j->dirs.temp, "_github_workflow"),
                                            "/github/workflow", false};
    return n;
}

void wh_container_folders_clear(struct wh_container_folder *folders, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(folders[i].source);
}

struct wh_child *wh_container_child(struct wh_job *j, char *const *argv, char *const *environment,
                                    const char *cwd, struct wh_error *err)
{
    struct wh_mapping map[MAPPINGS];
    wh_autofree char *workflow = NULL;
    wh_autofree char *actions = NULL;
    fill_map(j, map, &workflow, &actions);
    wh_autofree char *folder = wh_mapped_path(map, MAPPINGS, cwd);
    wh_autojson *env = wh_container_env(j, environment, map, MAPPINGS);
    if (j->hooks)
        return wh_hooks_script_step(j, argv, env, folder, err);
    cJSON_AddItemToArray(env, cJSON_CreateString("HOME=/github/home"));
    if (wh_strv_len(j->prepends) > 0) {
        wh_autofree char *path = wh_environ_path(j, j->container->path);
        wh_autofree char *mapped = wh_mapped_path(map, MAPPINGS, path);
        wh_autofree char *entry = wh_printf("PATH=%s", mapped);
        cJSON_AddItemToArray(env, cJSON_CreateString(entry));
    }
    return j->container_host->exec(j, argv, env, folder, err);
}

bool wh_container_is_alpine(struct wh_job *j)
{
    if (!j->container_known && !j->hooks) {
        j->container_alpine = j->container_host->is_alpine(j);
        j->container_known = true;
    }
    return j->container_alpine;
}

/* ---- what a container may reach of the machine's loopback ---- */

static int port_of(const char *url)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "[::1]"};
    const char *start = strstr(url, "://");
    uint64_t port;
    if (!start || !(wh_starts_with_ci(url, "http://") || wh_starts_with_ci(url, "https://")))
        return 0;
    start += 3;
    const char *at = strpbrk(start, "@/");
    if (at && *at == '@') /* a proxy's user and password */
        start = at + 1;
    for (size_t i = 0; i < WH_COUNT(hosts); i++) {
        if (!wh_starts_with_ci(start, hosts[i]))
            continue;
        const char *rest = start + strlen(hosts[i]);
        if (*rest != ':')
            return *rest == '\0' || *rest == '/' ? (wh_starts_with_ci(url, "https://") ? 443 : 80) : 0;
        wh_autofree char *digits = wh_strndup(rest + 1, strspn(rest + 1, "0123456789"));
        return wh_parse_u64(digits, 65535, &port) ? (int)port : 0;
    }
    return 0;
}

cJSON *wh_container_loopback(char *const *environment)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; environment && environment[i]; i++) {
        const char *equals = strchr(environment[i], '=');
        int port = equals ? port_of(equals + 1) : 0;
        bool known = port == 0;
        const cJSON *item;
        cJSON_ArrayForEach(item, list) known = known || item->valueint == port;
        if (!known)
            cJSON_AddItemToArray(list, cJSON_CreateNumber(port));
    }
    return list;
}

/* ---- contexts ---- */

static void set_contexts(struct wh_job *j)
{
    wh_autovalue *own = wh_value_object();
    wh_autovalue *all = wh_value_object();
    if (j->network)
        wh_object_set_text(own, "network",
                           j->container && j->container->network ? j->container->network : j->network);
    if (j->container && j->container->id)
        wh_object_set_text(own, "id", j->container->id);
    wh_object_set(j->job, "container", own);
    for (size_t i = 0; i < j->nservices; i++) {
        const struct wh_jobcontainer *c = j->services[i];
        wh_autovalue *one = wh_value_object();
        wh_autovalue *none = wh_value_object();
        if (!c->id)
            continue;
        wh_object_set_text(one, "id", c->id);
        wh_object_set(one, "ports", c->mapped ? c->mapped : none);
        if (c->network)
            wh_object_set_text(one, "network", c->network);
        wh_object_set(all, c->alias, one);
    }
    if (j->nservices > 0)
        wh_object_set(j->job, "services", all);
}

/* ---- health ---- */

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

void wh_container_pause(struct wh_job *j, uint64_t ms)
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

static bool wait_healthy(struct wh_job *j, const struct wh_jobcontainer *c)
{
    enum wh_health health = j->container_host->health(j, c, 0);
    for (uint64_t wait = HEALTH_FIRST_MS; health == WH_HEALTH_STARTING && j->cancel == WH_CANCEL_NONE;
         wait = WH_MIN(wait * 2, HEALTH_LAST_MS)) {
        wh_say(j, "%s service is starting, waiting %llu seconds before checking again.", c->alias,
               (unsigned long long)(wait / 1000));
        health = j->container_host->health(j, c, wait);
    }
    if (health == WH_HEALTH_NONE || health == WH_HEALTH_HEALTHY)
        wh_say(j, "%s service is healthy.", c->alias);
    return health == WH_HEALTH_NONE || health == WH_HEALTH_HEALTHY;
}

static int wait_services(struct wh_job *j, struct wh_error *err)
{
    bool failed = false;
    wh_say(j, "##[group]Waiting for all services to be ready");
    for (size_t i = 0; i < j->nservices; i++) {
        j->services[i]->failed = !wait_healthy(j, j->services[i]);
        failed = failed || j->services[i]->failed;
    }
    wh_say(j, "##[endgroup]");
    for (size_t i = 0; i < j->nservices; i++) {
        if (!j->services[i]->failed)
            continue;
        wh_say(j, "##[group]Service container %s failed.", j->services[i]->alias);
        j->container_host->logs(j, j->services[i]);
        wh_say_error(j, "Failed to initialize container %s", j->services[i]->image);
        wh_say(j, "##[endgroup]");
    }
    return failed ? wh_fail(err, WH_E_FAILED, "One or more containers failed to start.") : 0;
}

/* ---- the two steps ---- */

static int start_one(struct wh_job *j, struct wh_jobcontainer *c, struct wh_error *err)
{
    if (c->alias)
        wh_say(j, "##[group]Starting %s service container", c->alias);
    else
        wh_say(j, "##[group]Starting job container");
    int n = j->container_host->start(j, c, err);
    wh_say(j, "##[endgroup]");
    return n;
}

static int initialize(struct wh_job *j, struct wh_error *err)
{
    char guid[37];
    if (j->hooks)
        return wh_hooks_prepare_job(j, err);
    wh_guid(guid);
    j->network =
        wh_printf("github_network_%.8s%.4s%.4s%.4s%.12s", guid, guid + 9, guid + 14, guid + 19, guid + 24);
    if (j->container_host->open(j, err) < 0)
        return -1;
    if (j->container && start_one(j, j->container, err) < 0)
        return -1;
    for (size_t i = 0; i < j->nservices; i++)
        if (start_one(j, j->services[i], err) < 0)
            return -1;
    return wait_services(j, err);
}

static void stop_one(struct wh_job *j, const struct wh_jobcontainer *c)
{
    wh_autoerror err = {0};
    if (!c || !c->id)
        return;
    if (c->alias && !c->failed) {
        wh_say(j, "Print service container logs: %s", c->name);
        j->container_host->logs(j, c);
    }
    wh_say(j, "Stop and remove container: %s", c->name);
    if (j->container_host->remove(j, c, &err) < 0)
        wh_say_warning(j, "%s", wh_error_text(&err));
}

static void execute_stop(struct wh_job *j, struct wh_run *run)
{
    /* They are stopped after a cancel, too: nothing may hold the helpers up. */
    enum wh_cancel asked = j->cancel;
    wh_autoerror err = {0};
    j->cancel = WH_CANCEL_NONE;
    run->result = WH_TASK_SUCCEEDED;
    if (j->hooks) {
        if (wh_hooks_cleanup_job(j, &err) < 0) {
            run->result = WH_TASK_FAILED;
            wh_say_error(j, "%s", wh_error_text(&err));
        }
    } else {
        stop_one(j, j->container);
        for (size_t i = 0; i < j->nservices; i++)
            stop_one(j, j->services[i]);
        if (j->network)
            j->container_host->close(j);
    }
    if (asked > j->cancel)
        j->cancel = asked;
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
