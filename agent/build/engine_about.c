/* What an engine tells of its containers and networks. */
#include <errno.h>
#include <time.h>

#include "build/engine.h"

#define MAX_WAIT_MS 60000
#define NS_PER_MS 1000000L
#define NS_PER_S 1000000000L

/* ---- one container ---- */

static const char *state_text(const struct engine_container *c)
{
    return c->state == CONTAINER_RUNNING ? "running" : c->state == CONTAINER_EXITED ? "exited" : "created";
}

static void describe(const struct engine_container *c, cJSON *one)
{
    wh_json_add_string(one, "id", c->id);
    wh_json_add_string(one, "name", c->name);
    wh_json_add_string(one, "image", c->image);
    wh_json_add_string(one, "state", state_text(c));
    wh_json_add_string(one, "health", engine_health_text(c->health));
    wh_json_add_int(one, "code", c->code);
    cJSON_AddBoolToObject(one, "oom", c->oom);
    wh_json_add_string(one, "error", c->error);
    if (c->network) {
        wh_json_add_string(one, "network", c->network->name);
        wh_json_add_string(one, "address", c->address);
    }
    cJSON_AddItemToObject(one, "ports", cJSON_Duplicate(c->ports, true));
    cJSON_AddItemToObject(one, "labels", cJSON_Duplicate(wh_json_get(c->request, "labels"), true));
}

/* Under the lock. */
static struct engine_container *named(struct engine *e, const cJSON *request, struct wh_error *err)
{
    const char *name = wh_json_string(request, "container");
    struct engine_container *c = engine_find(e, name);
    if (!c)
        (void)wh_fail(err, WH_E_NOT_FOUND, "No such container: %s", name ? name : "");
    return c;
}

static int do_list(struct engine *e, const cJSON *request, cJSON *result, struct wh_error *err)
{
    cJSON *list = cJSON_AddArrayToObject(result, "containers");
    (void)request;
    (void)err;
    for (size_t i = 0; i < e->ncontainers; i++) {
        cJSON *one = cJSON_CreateObject();
        describe(e->containers[i], one);
        cJSON_AddItemToArray(list, one);
    }
    cJSON_AddItemToObject(result, "images", cJSON_Duplicate(e->images, true));
    return 0;
}

/* ---- waiting; under the lock, which is let go meanwhile ---- */

static struct timespec deadline(const cJSON *request)
{
    int64_t ms = WH_MIN(WH_MAX(wh_json_int(request, "wait", 0), 0), MAX_WAIT_MS);
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    long ns = t.tv_nsec + ms % 1000 * NS_PER_MS;
    t.tv_sec += (time_t)(ms / 1000 + ns / NS_PER_S);
    t.tv_nsec = ns % NS_PER_S;
    return t;
}

static bool wait_change(struct engine *e, const struct timespec *until)
{
    return pthread_cond_timedwait(&e->changed, &e->lock, until) != ETIMEDOUT;
}

/* Until the container is over, or ("health") knows how it is. */
static int do_wait(struct engine *e, const cJSON *request, cJSON *result, struct wh_error *err)
{
    const struct timespec until = deadline(request);
    const bool health = wh_json_bool(request, "health", false);
    struct engine_container *c;
    do {
        c = named(e, request, err); /* anew each time: it may be removed */
        if (!c)
            return -1;
    } while (c->state != CONTAINER_EXITED && !(health && c->health != HEALTH_STARTING) &&
             wait_change(e, &until));
    describe(c, result);
    return 0;
}

/* From a byte on; with "wait" until there is more than nothing, or no more will come. */
static int do_logs(struct engine *e, const cJSON *request, cJSON *result, struct wh_error *err)
{
    const struct timespec until = deadline(request);
    const int64_t wanted = WH_MAX(wh_json_int(request, "from", 0), 0);
    struct engine_container *c;
    uint64_t from;
    do {
        c = named(e, request, err);
        if (!c)
            return -1;
        from = WH_MAX((uint64_t)wanted, c->log_dropped) - c->log_dropped;
    } while (from >= c->log.len && c->state != CONTAINER_EXITED && wh_json_int(request, "wait", 0) > 0 &&
             wait_change(e, &until));
    wh_autostr text = {0};
    if (from < c->log.len)
        wh_str_add_utf8(&text, c->log.data + from, c->log.len - from);
    wh_json_add_string(result, "log", wh_str_text(&text));
    wh_json_add_int(result, "next", (int64_t)(c->log_dropped + c->log.len));
    cJSON_AddBoolToObject(result, "over", c->state == CONTAINER_EXITED);
    return 0;
}

/* ---- networks; not under the lock ---- */

static void describe_network(const struct engine_network *network, cJSON *one)
{
    wh_json_add_string(one, "name", network->name);
    cJSON_AddBoolToObject(one, "own", network->netns >= 0);
    wh_json_add_string(one, "why", network->why);
}

static int do_network(struct engine *e, const cJSON *request, cJSON *result, struct wh_error *err)
{
    const char *name = wh_json_string(request, "name");
    if (!name || !*name || wh_streq(name, "host") || wh_streq(name, "none"))
        return wh_fail(err, WH_E_ARGUMENT, "a network needs a name of its own");
    const struct engine_network *network = engine_network_get(e, name, err);
    if (network)
        describe_network(network, result);
    return network ? 0 : -1;
}

static int do_network_rm(struct engine *e, const cJSON *request, cJSON *result, struct wh_error *err)
{
    const char *name = wh_json_string(request, "name");
    (void)result;
    return engine_network_remove(e, name ? name : "", err);
}

static int do_networks(struct engine *e, const cJSON *request, cJSON *result, struct wh_error *err)
{
    cJSON *list = cJSON_AddArrayToObject(result, "networks");
    (void)request;
    (void)err;
    pthread_mutex_lock(&e->network_lock);
    for (size_t i = 0; i < e->nnetworks; i++) {
        cJSON *one = cJSON_CreateObject();
        describe_network(e->networks[i], one);
        cJSON_AddItemToArray(list, one);
    }
    pthread_mutex_unlock(&e->network_lock);
    return 0;
}

/* ---- all ---- */

static const struct {
    const char *type;
    int (*answer)(struct engine *e, const cJSON *request, cJSON *result, struct wh_error *err);
    bool locked;
} answers[] = {
    {"list", do_list, true},
    {"wait", do_wait, true},
    {"logs", do_logs, true},
    {"network", do_network, false},
    {"network-rm", do_network_rm, false},
    {"networks", do_networks, false},
};

int engine_answer(struct engine *e, const cJSON *request, cJSON *result, struct wh_error *err)
{
    const char *type = wh_json_string(request, "type");
    for (size_t i = 0; i < WH_COUNT(answers); i++) {
        if (!wh_streq(type, answers[i].type))
            continue;
        if (answers[i].locked)
            pthread_mutex_lock(&e->lock);
        int n = answers[i].answer(e, request, result, err);
        if (answers[i].locked)
            pthread_mutex_unlock(&e->lock);
        return n;
    }
    return wh_fail(err, WH_E_UNSUPPORTED, "a request of type '%.40s' is not known", type ? type : "");
}
