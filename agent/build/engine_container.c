/* A container of an engine: from an image and a request to processes, and its end. */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "build/engine.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"

struct engine_container *engine_find(struct engine *e, const char *name)
{
    size_t len = name ? strlen(name) : 0;
    for (size_t i = 0; i < e->ncontainers && len > 0; i++) {
        struct engine_container *c = e->containers[i];
        if (wh_streq(c->name, name) || (len >= 3 && wh_starts_with(c->id, name)) ||
            (len > 12 && strncmp(c->id, name, 12) == 0))
            return c;
    }
    return NULL;
}

/* ---- what it is made of ---- */

static void add_strings(char ***out, const cJSON *list)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (cJSON_IsString(item))
            wh_strv_add(out, item->valuestring);
    }
}

static void add_env(char ***env, const cJSON *list)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const char *equals = cJSON_IsString(item) ? strchr(item->valuestring, '=') : NULL;
        if (!equals)
            continue;
        wh_autofree char *name = wh_strndup(item->valuestring, (size_t)(equals - item->valuestring));
        wh_env_set(env, name, equals + 1);
    }
}

/* An entrypoint of the caller's lets the image's command go, as docker has it. */
static int choose_argv(struct engine_container *c, const cJSON *config, struct wh_error *err)
{
    const cJSON *entrypoint = wh_json_get(c->request, "entrypoint");
    const cJSON *args = wh_json_get(c->request, "args");
    bool own = cJSON_IsArray(entrypoint) && entrypoint->child;
    add_strings(&c->argv, own ? entrypoint : wh_json_get(config, "Entrypoint"));
    if (cJSON_IsArray(args) && args->child)
        add_strings(&c->argv, args);
    else if (!own)
        add_strings(&c->argv, wh_json_get(config, "Cmd"));
    return c->argv ? 0 : wh_fail(err, WH_E_ARGUMENT, "no command specified: the image %s has none", c->image);
}

static int fill(struct engine_container *c, const struct wh_oci_image *image, struct wh_error *err)
{
    const cJSON *config = wh_json_get(image->config, "config");
    const char *user = wh_json_string(c->request, "user");
    const char *cwd = wh_json_string(c->request, "workdir");
    const char *image_user = wh_json_string(config, "User");
    const char *image_cwd = wh_json_string(config, "WorkingDir");
    c->user = wh_strdup(user && *user ? user : image_user);
    c->cwd = wh_strdup(cwd && *cwd ? cwd : image_cwd && *image_cwd ? image_cwd : "/");
    add_env(&c->env, wh_json_get(config, "Env"));
    add_env(&c->env, wh_json_get(c->request, "env"));
    return choose_argv(c, config, err);
}

/* ---- its life, on a thread of its own ---- */

static void keep_log(struct engine_container *c, const char *data, size_t len)
{
    pthread_mutex_lock(&c->engine->lock);
    wh_str_addn(&c->log, data, len);
    if (c->log.len > WH_MAX_ENGINE_LOG) {
        c->log_dropped += c->log.len - WH_MAX_ENGINE_LOG / 2;
        wh_str_consume(&c->log, c->log.len - WH_MAX_ENGINE_LOG / 2);
    }
    pthread_cond_broadcast(&c->engine->changed);
    pthread_mutex_unlock(&c->engine->lock);
}

static void on_output(void *arg, int stream, const char *data, size_t len)
{
    struct engine_container *c = arg;
    int fd = c->out[stream - 1];
    if (fd < 0 || wh_write_all(fd, data, len, NULL) < 0)
        keep_log(c, data, len);
}

static void on_box(void *arg, const char *box)
{
    struct engine_container *c = arg;
    pthread_mutex_lock(&c->engine->lock);
    c->box = wh_strdup(box);
    c->state = CONTAINER_RUNNING;
    engine_hosts_refresh(c->engine, c->network); /* who joined since its own was written */
    engine_health_start(c, c->config);
    pthread_cond_broadcast(&c->engine->changed);
    pthread_mutex_unlock(&c->engine->lock);
}

/* Sources by descriptor: a path could lead elsewhere by the time that it is mounted. */
static int mount_source(struct engine_container *c, const cJSON *item, struct wh_run_mount *mount,
                        struct wh_error *err)
{
    const char *source = wh_json_string(item, "source");
    const char *volume = wh_json_string(item, "volume");
    if (volume) {
        mount->source_path = engine_volume(c, volume, mount->target, err);
        return mount->source_path ? 0 : -1;
    }
    if (!source)
        return 0;
    mount->source_fd = engine_open_source(c->engine, source, err);
    mount->recursive = true;
    return mount->source_fd < 0 ? -1 : 0;
}

static int read_mounts(struct engine_container *c, struct wh_run_mount *out, size_t *n, struct wh_error *err)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, wh_json_get(c->request, "mounts"))
    {
        const char *target = wh_json_string(item, "target");
        if (*n == WH_MAX_ENGINE_MOUNTS || !target || target[0] != '/' || target[1] == '\0')
            return wh_fail(err, WH_E_ARGUMENT, "a mount has no absolute target, or there are more than %d",
                           WH_MAX_ENGINE_MOUNTS);
        struct wh_run_mount mount = {.target = target,
                                     .source_fd = -1,
                                     .size = (uint64_t)wh_json_int(item, "size", 0),
                                     .readonly = wh_json_bool(item, "readonly", false)};
        if (mount_source(c, item, &mount, err) < 0)
            return -1;
        mount.type = mount.source_path || mount.source_fd >= 0 ? WH_RUN_BIND : WH_RUN_TMPFS;
        out[(*n)++] = mount;
    }
    return 0;
}

static int run_spec(struct engine_container *c, struct wh_run_spec *spec, int *code, struct wh_error *err)
{
    wh_autofree struct wh_run_host *hosts = wh_calloc(WH_MAX_ENGINE_HOSTS, sizeof *hosts);
    wh_autostrv char **keep = NULL;
    struct wh_run_result result = {0};
    pthread_mutex_lock(&c->engine->lock);
    engine_network_spec(c, spec, hosts, WH_MAX_ENGINE_HOSTS, &keep);
    pthread_mutex_unlock(&c->engine->lock);
    int n = wh_container_run(spec, &result, err);
    engine_health_stop(c);
    *code = n < 0 ? 125 : result.exit_code;
    c->oom = n == 0 && result.oom;
    return n;
}

/* Ends when the container is over. */
static int run_in(struct engine_container *c, int *code, struct wh_error *err)
{
    struct wh_run_mount mounts[WH_MAX_ENGINE_MOUNTS];
    size_t nmounts = 0;
    int n = read_mounts(c, mounts, &nmounts, err);
    if (n == 0)
        n = engine_join(c, err);
    struct wh_run_spec spec = {.argv = (const char *const *)c->argv,
                               .env = (const char *const *)c->env,
                               .cwd = c->cwd,
                               .user = c->user,
                               .rootfs = &c->root,
                               .readonly_rootfs = wh_json_bool(c->request, "read-only", false),
                               .mounts = mounts,
                               .nmounts = nmounts,
                               .shm_size = (uint64_t)wh_json_int(c->request, "shm-size", 0),
                               .on_output = on_output,
                               .on_box = on_box,
                               .arg = c,
                               .cancel_fd = c->cancel_event};
    if (n == 0)
        n = run_spec(c, &spec, code, err);
    for (size_t i = 0; i < nmounts; i++)
        wh_close_fd(&mounts[i].source_fd);
    return n;
}

static int mount_and_run(struct engine_container *c, int *code, struct wh_error *err)
{
    struct engine *e = c->engine;
    struct wh_oci_image *image = NULL;
    wh_autofree int64_t *ids = NULL;
    if (engine_image(e, c->request, c->image, &image, &ids, err) < 0)
        return -1;
    wh_autotree *tree = wh_tree_begin(e->store, err);
    wh_autojson *config = cJSON_Duplicate(wh_json_get(image->config, "config"), true);
    int n = tree ? fill(c, image, err) : -1;
    struct wh_rootfs_options options = {.layers_fd = wh_layer_layers_fd(e->store),
                                        .layers = ids,
                                        .nlayers = image->nlayers,
                                        .upper = tree ? wh_tree_path(tree) : NULL,
                                        .work = tree ? wh_tree_work(tree) : NULL};
    wh_oci_image_free(image);
    if (n == 0)
        n = wh_rootfs_mount(&options, &c->root, err);
    c->config = config;
    if (n == 0)
        n = run_in(c, code, err);
    engine_leave(c);
    engine_volumes_end(c);
    if (wh_rootfs_finish(&c->root, NULL) < 0)
        wh_log_warning("container %s: its root file system stays mounted", c->name);
    return n;
}

static void *live(void *arg)
{
    struct engine_container *c = arg;
    wh_autoerror err = {0};
    int code = 125;
    int n = mount_and_run(c, &code, &err);
    engine_give_back(c->engine, wh_json_get(c->request, "own"));
    pthread_mutex_lock(&c->engine->lock);
    c->state = CONTAINER_EXITED;
    c->code = n < 0 && err.code == WH_E_CANCELED ? 137 : code;
    if (n < 0 && err.code != WH_E_CANCELED)
        c->error = wh_strdup(wh_error_text(&err));
    free(wh_steal(&c->box));
    for (int i = 0; i < 2; i++)
        if (c->out[i] >= 0)
            (void)close(wh_steal_fd(&c->out[i]));
    pthread_cond_broadcast(&c->engine->changed);
    pthread_mutex_unlock(&c->engine->lock);
    return NULL;
}

/* ---- what connections do with it ---- */

struct engine_container *engine_create(struct engine *e, const cJSON *request, struct wh_error *err)
{
    const char *image = wh_json_string(request, "image");
    const char *name = wh_json_string(request, "name");
    if (!image || !*image) {
        wh_fail(err, WH_E_ARGUMENT, "a container needs an image");
        return NULL;
    }
    struct engine_container *c = wh_calloc(1, sizeof *c);
    char guid[37];
    wh_guid(guid);
    memcpy(c->id, guid, 8);
    memcpy(c->id + 8, guid + 9, 4);
    c->engine = e;
    c->name = wh_strdup(name && *name ? name : c->id);
    c->image = wh_strdup(image);
    c->request = cJSON_Duplicate(request, true);
    c->root = WH_ROOTFS_NONE;
    c->out[0] = c->out[1] = c->netns = c->health_timer = -1;
    c->cancel_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_lock(&e->lock);
    bool taken = engine_find(e, c->name) != NULL;
    bool full = e->ncontainers == WH_MAX_ENGINE_CONTAINERS;
    if (!taken && !full)
        e->containers[e->ncontainers++] = c;
    pthread_mutex_unlock(&e->lock);
    if (!taken && !full)
        return c;
    wh_fail(err, taken ? WH_E_EXISTS : WH_E_LIMIT,
            taken ? "The container name \"/%s\" is already in use" : "too many containers (%s)", c->name);
    engine_remove(e, c);
    return NULL;
}

int engine_start(struct engine_container *c, struct wh_error *err)
{
    if (pthread_create(&c->thread, NULL, live, c) != 0)
        return wh_fail(err, WH_E_LIMIT, "no thread for a container");
    c->started = true;
    pthread_mutex_lock(&c->engine->lock);
    while (c->state == CONTAINER_CREATED)
        pthread_cond_wait(&c->engine->changed, &c->engine->lock);
    wh_autofree char *error = wh_strdup(c->error);
    pthread_mutex_unlock(&c->engine->lock);
    return error ? wh_fail(err, WH_E_FAILED, "%s", error) : 0;
}

int engine_wait(struct engine_container *c)
{
    pthread_mutex_lock(&c->engine->lock);
    while (c->started && c->state != CONTAINER_EXITED)
        pthread_cond_wait(&c->engine->changed, &c->engine->lock);
    int code = c->code;
    pthread_mutex_unlock(&c->engine->lock);
    return code;
}

void engine_stop(struct engine_container *c)
{
    const uint64_t one = 1;
    ssize_t written = write(c->cancel_event, &one, sizeof one);
    (void)written;
    (void)engine_wait(c);
}

void engine_remove(struct engine *e, struct engine_container *c)
{
    if (c->started && !c->joined) {
        engine_stop(c);
        (void)pthread_join(c->thread, NULL);
        c->joined = true;
    }
    pthread_mutex_lock(&e->lock);
    for (size_t i = 0; i < e->ncontainers; i++)
        if (e->containers[i] == c)
            e->containers[i] = e->containers[--e->ncontainers];
    pthread_mutex_unlock(&e->lock);
    wh_close_fd(&c->cancel_event);
    cJSON_Delete(c->request);
    cJSON_Delete(c->ports);
    wh_str_free(&c->log);
    wh_strv_free(c->env);
    wh_strv_free(c->argv);
    free(c->name);
    free(c->image);
    free(c->error);
    free(c->box);
    free(c->user);
    free(c->cwd);
    free(c);
}
