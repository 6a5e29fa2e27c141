/* The engine's connections: one request each. */
#include "build/engine.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wherry/base/log.h"
#include "wherry/oci/load.h"
#include "wherry/platform/cgroup.h"
#include "wherry/store/record.h"

struct connection {
    struct engine *engine;
    int sock; /* owned */
};

static int send_result(int sock, cJSON *result_taken, const struct wh_error *err)
{
    wh_autojson *result = result_taken ? result_taken : cJSON_CreateObject();
    wh_json_add_string(result, "type", "result");
    cJSON_AddBoolToObject(result, "ok", err == NULL);
    if (err)
        wh_json_add_string(result, "error", wh_error_text(err));
    return wh_frame_send(sock, result, NULL, 0, NULL);
}

static cJSON *code_result(int code)
{
    cJSON *result = cJSON_CreateObject();
    wh_json_add_int(result, "code", code);
    return result;
}

/* A signal for the process, or the client's end, which is a kill. */
static int take_control(int sock, int *signal_number)
{
    wh_autoframe frame = {0};
    *signal_number = 0;
    if (wh_frame_recv(sock, &frame, NULL) != 1)
        return -1;
    if (wh_streq(wh_json_string(frame.json, "type"), "signal")) {
        int64_t number = wh_json_int(frame.json, "number", 0);
        *signal_number = number > 0 && number < 65 ? (int)number : 0;
    }
    return 0;
}

/* ---- run ---- */

static int watch_run(struct connection *n, struct engine_container *c)
{
    for (;;) {
        pthread_mutex_lock(&n->engine->lock);
        bool over = c->state == CONTAINER_EXITED;
        pthread_mutex_unlock(&n->engine->lock);
        if (over)
            return engine_wait(c);
        struct pollfd fd = {n->sock, POLLIN, 0};
        if (poll(&fd, 1, 20) <= 0)
            continue;
        int number;
        /* A container's first process takes no signals that it does not ask for: any of ours ends it. */
        if (take_control(n->sock, &number) < 0 || number > 0)
            engine_stop(c);
    }
}

/* Where it is, for who started it: {"network","why","ports"}. It may be over, and even removed, already. */
static cJSON *started_result(struct engine *e, const char *id)
{
    cJSON *result = cJSON_CreateObject();
    pthread_mutex_lock(&e->lock);
    const struct engine_container *c = engine_find(e, id);
    if (c)
        cJSON_AddItemToObject(result, "ports", cJSON_Duplicate(c->ports, true));
    if (c && c->network) {
        wh_json_add_string(result, "network", c->network->netns >= 0 ? c->network->name : "host");
        wh_json_add_string(result, "why", c->network->why);
    }
    pthread_mutex_unlock(&e->lock);
    return result;
}

static void on_run(struct connection *n, struct wh_frame *frame)
{
    wh_autoerror err = {0};
    bool detach = wh_json_bool(frame->json, "detach", false);
    struct engine_container *c = engine_create(n->engine, frame->json, &err);
    if (!c) {
        send_result(n->sock, NULL, &err);
        return;
    }
    for (size_t i = 0; i < 2 && i < frame->nfds; i++)
        c->out[i] = wh_steal_fd(&frame->fds[i]);
    wh_autofree char *id = wh_strdup(c->id);
    if (engine_start(c, &err) < 0) {
        engine_remove(n->engine, c);
        send_result(n->sock, NULL, &err);
        return;
    }
    cJSON *result = detach ? started_result(n->engine, id) : code_result(watch_run(n, c));
    wh_json_add_string(result, "id", id);
    if (!detach && c->oom) /* it is over: nobody else writes it */
        cJSON_AddBoolToObject(result, "oom", true);
    if (!detach)
        engine_remove(n->engine, c);
    send_result(n->sock, result, NULL);
}

/* ---- exec ---- */

static int on_exec_control(void *arg, pid_t pid)
{
    const struct connection *n = arg;
    int number;
    if (take_control(n->sock, &number) < 0)
        return -1;
    if (number > 0)
        (void)kill(pid, number);
    return 0;
}

static void add_lines(char ***out, const cJSON *list)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (cJSON_IsString(item))
            wh_strv_add(out, item->valuestring);
    }
}

static int do_exec(struct connection *n, struct wh_frame *frame, int *code, struct wh_error *err)
{
    const char *name = wh_json_string(frame->json, "container");
    wh_autostrv char **argv = NULL;
    wh_autostrv char **env = NULL;
    pthread_mutex_lock(&n->engine->lock);
    struct engine_container *c = engine_find(n->engine, name);
    bool runs = c && c->state == CONTAINER_RUNNING;
    wh_autofree char *box = runs ? wh_strdup(c->box) : NULL;
    env = runs ? wh_strv_dup(c->env) : NULL;
    wh_autofree char *user = runs ? wh_strdup(c->user) : NULL;
    wh_autofree char *cwd = runs ? wh_strdup(c->cwd) : NULL;
    pthread_mutex_unlock(&n->engine->lock);
    if (!runs)
        return wh_fail(err, WH_E_NOT_FOUND, c ? "container %s is not running" : "No such container: %s",
                       name ? name : "");
    const cJSON *item;
    cJSON_ArrayForEach(item, wh_json_get(frame->json, "env"))
    {
        const char *equals = cJSON_IsString(item) ? strchr(item->valuestring, '=') : NULL;
        wh_autofree char *key =
            equals ? wh_strndup(item->valuestring, (size_t)(equals - item->valuestring)) : NULL;
        if (key)
            wh_env_set(&env, key, equals + 1);
    }
    add_lines(&argv, wh_json_get(frame->json, "argv"));
    if (!argv)
        return wh_fail(err, WH_E_ARGUMENT, "no program to run");
    const char *own_user = wh_json_string(frame->json, "user");
    const char *own_cwd = wh_json_string(frame->json, "workdir");
    struct wh_run_spec spec = {.argv = (const char *const *)argv,
                               .env = (const char *const *)env,
                               .cwd = own_cwd ? own_cwd : cwd,
                               .user = own_user ? own_user : user,
                               .rootfs = &c->root};
    struct wh_exec_io io = {.fds = {-1, -1, -1}, .control = n->sock, .on_control = on_exec_control, .arg = n};
    for (size_t i = 0; i < 3 && i < frame->nfds; i++)
        io.fds[i] = frame->fds[i];
    int status = wh_container_exec(box, &spec, &io, code, err);
    engine_give_back(n->engine, wh_json_get(c->request, "own"));
    return status;
}

static void on_exec(struct connection *n, struct wh_frame *frame)
{
    wh_autoerror err = {0};
    int code = 126;
    const struct wh_builder_env *env = n->engine->env;
    int64_t before = wh_cgroup_oom_kills(env->cgroup_v2, env->cgroup_v1_memory);
    if (do_exec(n, frame, &code, &err) < 0) {
        send_result(n->sock, NULL, &err);
        return;
    }
    cJSON *result = code_result(code);
    if (code != 0 && before >= 0 && wh_cgroup_oom_kills(env->cgroup_v2, env->cgroup_v1_memory) > before)
        cJSON_AddBoolToObject(result, "oom", true);
    send_result(n->sock, result, NULL);
}

/* ---- the rest ---- */

static struct engine_container *take(struct connection *n, const cJSON *request, struct wh_error *err)
{
    const char *name = wh_json_string(request, "container");
    pthread_mutex_lock(&n->engine->lock);
    struct engine_container *c = engine_find(n->engine, name);
    pthread_mutex_unlock(&n->engine->lock);
    if (!c)
        wh_fail(err, WH_E_NOT_FOUND, "No such container: %s", name ? name : "");
    return c;
}

static void on_stop(struct connection *n, struct wh_frame *frame, bool remove)
{
    wh_autoerror err = {0};
    struct engine_container *c = take(n, frame->json, &err);
    if (c) {
        if (remove)
            engine_remove(n->engine, c);
        else
            engine_stop(c);
    }
    send_result(n->sock, NULL, c ? NULL : &err);
}

static void set_name(struct engine *e, const char *full, const char *pinned)
{
    pthread_mutex_lock(&e->lock);
    cJSON_DeleteItemFromObjectCaseSensitive(e->images, full);
    cJSON_AddStringToObject(e->images, full, pinned);
    pthread_mutex_unlock(&e->lock);
}

static void on_pull(struct connection *n, struct wh_frame *frame)
{
    wh_autoerror err = {0};
    struct wh_oci_image *image = NULL;
    wh_autofree int64_t *ids = NULL;
    const char *name = wh_json_string(frame->json, "image");
    if (!wh_json_get(frame->json, "pull"))
        cJSON_AddBoolToObject(frame->json, "pull", true);
    if (engine_image(n->engine, frame->json, name ? name : "", &image, &ids, &err) < 0) {
        send_result(n->sock, NULL, &err);
        return;
    }
    char digest[WH_DIGEST_TEXT];
    cJSON *result = cJSON_CreateObject();
    wh_json_add_string(result, "digest", wh_digest_text(&image->resolved, digest));
    cJSON_AddItemToObject(result, "config", cJSON_Duplicate(image->config, true));
    wh_autofree char *full = wh_ref_text(&image->ref);
    wh_autofree char *pinned = wh_printf("%s/%s@%s", image->ref.host, image->ref.path, digest);
    if (!image->ref.has_digest)
        set_name(n->engine, full, pinned);
    wh_json_add_string(result, "name", pinned);
    wh_oci_image_free(image);
    send_result(n->sock, result, NULL);
}

/* A further name, for this job. */
static void on_tag(struct connection *n, struct wh_frame *frame)
{
    wh_autoerror err = {0};
    wh_autoref source = {0};
    wh_autoref target = {0};
    struct wh_oci_image *image = NULL;
    wh_autofree int64_t *ids = NULL;
    const char *from = wh_json_string(frame->json, "source");
    const char *to = wh_json_string(frame->json, "target");
    if (wh_ref_parse(from ? from : "", &source, &err) < 0 || wh_ref_parse(to ? to : "", &target, &err) < 0 ||
        engine_image(n->engine, frame->json, from, &image, &ids, &err) < 0) {
        send_result(n->sock, NULL, &err);
        return;
    }
    char digest[WH_DIGEST_TEXT];
    wh_autofree char *full = wh_ref_text(&target);
    wh_autofree char *pinned =
        wh_printf("%s/%s@%s", image->ref.host, image->ref.path, wh_digest_text(&image->resolved, digest));
    wh_oci_image_free(image);
    set_name(n->engine, full, pinned);
    send_result(n->sock, NULL, NULL);
}

/* Whether it is here, under a name that says what it is: an archive or an image that was pushed is not. */
static bool is_kept(struct engine *e, const char *pinned)
{
    struct wh_image_ref row = {0};
    bool found = wh_image_ref_find(e->store, pinned, e->scope, &row, NULL) > 0;
    wh_image_ref_clear(&row);
    return found;
}

static bool has_name(struct engine *e, const char *full)
{
    pthread_mutex_lock(&e->lock);
    bool has = wh_json_string(e->images, full) != NULL;
    pthread_mutex_unlock(&e->lock);
    return has;
}

static void on_load(struct connection *n, struct wh_frame *frame)
{
    wh_autoerror err = {0};
    cJSON *result = cJSON_CreateObject();
    cJSON *loaded = cJSON_AddArrayToObject(result, "loaded");
    int status = frame->nfds == 1
                     ? wh_oci_load(n->engine->store, frame->fds[0], n->engine->scope, loaded, &err)
                     : wh_fail(&err, WH_E_ARGUMENT, "an archive to load comes as one descriptor");
    const cJSON *one;
    cJSON_ArrayForEach(one, loaded)
    {
        const char *name = wh_json_string(one, "name");
        if (status == 0 && name)
            set_name(n->engine, name, wh_json_string(one, "pinned"));
    }
    send_result(n->sock, result, status < 0 ? &err : NULL);
}

/* What was built has the names that it was given, for the job's later runs. */
static void on_build(struct connection *n, struct wh_frame *frame)
{
    wh_autojson *result = NULL;
    (void)builder_serve(n->engine->env, n->sock, frame, &result);
    const char *digest = wh_json_string(result, "digest");
    const char *names = wh_json_string(result, "name");
    if (!digest || !names)
        return;
    wh_autostrv char **list = wh_strv_split(names, ',');
    for (size_t i = 0; list[i]; i++) {
        wh_autoref ref = {0};
        if (wh_ref_parse(list[i], &ref, NULL) < 0)
            continue;
        wh_autofree char *full = wh_ref_text(&ref);
        wh_autofree char *pinned = wh_printf("%s/%s@%s", ref.host, ref.path, digest);
        if (is_kept(n->engine, pinned) || !has_name(n->engine, full))
            set_name(n->engine, full, pinned);
    }
}

/* What needs no more than words. */
static void answer(struct connection *n, struct wh_frame *frame)
{
    wh_autoerror err = {0};
    cJSON *result = cJSON_CreateObject();
    int status = engine_answer(n->engine, frame->json, result, &err);
    send_result(n->sock, result, status < 0 ? &err : NULL);
}

static void serve(struct connection *n)
{
    wh_autoframe frame = {0};
    if (wh_frame_recv(n->sock, &frame, NULL) != 1)
        return;
    const char *type = wh_json_string(frame.json, "type");
    if (wh_streq(type, "build"))
        on_build(n, &frame);
    else if (wh_streq(type, "run"))
        on_run(n, &frame);
    else if (wh_streq(type, "exec"))
        on_exec(n, &frame);
    else if (wh_streq(type, "stop") || wh_streq(type, "rm"))
        on_stop(n, &frame, wh_streq(type, "rm"));
    else if (wh_streq(type, "pull"))
        on_pull(n, &frame);
    else if (wh_streq(type, "load"))
        on_load(n, &frame);
    else if (wh_streq(type, "tag"))
        on_tag(n, &frame);
    else
        answer(n, &frame);
}

static void *connection_main(void *arg)
{
    struct connection *n = arg;
    serve(n);
    (void)close(n->sock);
    free(n);
    return NULL;
}

static void accept_one(struct engine *e, int listener)
{
    int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (sock < 0)
        return;
    struct connection *n = wh_calloc(1, sizeof *n);
    pthread_t thread;
    pthread_attr_t attr;
    *n = (struct connection){e, sock};
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attr, connection_main, n) != 0) {
        (void)close(sock);
        free(n);
    }
    pthread_attr_destroy(&attr);
}

int engine_main(struct wh_builder_env *env, struct wh_frame *first)
{
    wh_autoerror err = {0};
    struct wh_store_options options = {.dir = env->state};
    struct engine e = {.env = env, .images = cJSON_CreateObject()};
    struct wh_scopes scopes;
    wh_scopes_make(&scopes, wh_json_string(env->scope, "repository"), NULL, NULL, NULL);
    e.scope = wh_strdup(scopes.repository ? scopes.repository : "");
    wh_scopes_clear(&scopes);
    pthread_mutex_init(&e.lock, NULL);
    pthread_mutex_init(&e.network_lock, NULL);
    pthread_cond_init(&e.changed, NULL);
    e.store = first->nfds == 1 ? wh_store_open(&options, &err) : NULL;
    cJSON *hello = cJSON_CreateObject();
    (void)send_result(env->channel, hello, e.store ? NULL : &err);
    while (e.store) {
        struct pollfd fds[] = {
            {first->fds[0], POLLIN, 0}, {env->channel, POLLIN, 0}, {env->launcher, POLLIN, 0}};
        if (poll(fds, WH_COUNT(fds), -1) < 0 && errno != EINTR)
            break;
        if (fds[1].revents || fds[2].revents)
            break; /* the worker's or the agent's end is ours */
        if (fds[0].revents)
            accept_one(&e, first->fds[0]);
    }
    for (;;) { /* with their root file systems unmounted */
        pthread_mutex_lock(&e.lock);
        struct engine_container *c = e.ncontainers > 0 ? e.containers[0] : NULL;
        pthread_mutex_unlock(&e.lock);
        if (!c)
            break;
        engine_remove(&e, c);
    }
    engine_networks_free(&e);
    engine_volumes_free(&e);
    wh_store_close(e.store);
    return 0;
}
