/* Health of a container, as docker has it: a command in it every interval, so many failures in a row and it
 * is unhealthy. While it starts it is also asked between, so that a job needn't wait for an interval to pass;
 * a failure then does not count. */
#include <errno.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "build/engine.h"
#include "wherry/base/clock.h"

#define EARLY_MS 500
#define DEFAULT_MS INT64_C(30000) /* interval and timeout */
#define DEFAULT_RETRIES 3
#define NS_PER_MS INT64_C(1000000)
#define MAX_MS (INT64_C(366) * 24 * 3600 * 1000)

struct plan {
    struct engine_container *container;
    char **argv; /* owned */
    int64_t interval, timeout, start_period;
    int64_t retries;
};

const char *engine_health_text(enum engine_health health)
{
    static const char *const texts[] = {NULL, "starting", "healthy", "unhealthy"};
    return texts[health];
}

/* ---- how ---- */

static int64_t choose(const cJSON *own, const char *own_name, const cJSON *image, const char *image_name,
                      int64_t scale, int64_t preset)
{
    int64_t value = wh_json_int(own, own_name, 0);
    if (value <= 0)
        value = wh_json_int(image, image_name, 0) / scale;
    return value > 0 ? WH_MIN(value, MAX_MS) : preset;
}

/* Test: ["CMD", word...], ["CMD-SHELL", text], ["NONE"]. */
static char **command_of(const cJSON *test)
{
    const cJSON *kind = cJSON_GetArrayItem(test, 0);
    char **argv = NULL;
    if (!cJSON_IsString(kind) || !kind->next)
        return NULL;
    const bool shell = wh_streq(kind->valuestring, "CMD-SHELL");
    if (!shell && !wh_streq(kind->valuestring, "CMD"))
        return NULL;
    if (shell) {
        wh_strv_add(&argv, "/bin/sh");
        wh_strv_add(&argv, "-c");
    }
    for (const cJSON *word = kind->next; word; word = word->next)
        if (cJSON_IsString(word))
            wh_strv_add(&argv, word->valuestring);
    return argv;
}

static struct plan *plan_of(struct engine_container *c, const cJSON *image_config)
{
    const cJSON *own = wh_json_get(c->request, "health");
    const cJSON *image = wh_json_get(image_config, "Healthcheck");
    const cJSON *test = wh_json_get(own, "test");
    char **argv = wh_json_bool(c->request, "no-healthcheck", false)
                      ? NULL
                      : command_of(test ? test : wh_json_get(image, "Test"));
    if (!argv)
        return NULL;
    struct plan *plan = wh_calloc(1, sizeof *plan);
    plan->container = c;
    plan->argv = argv;
    plan->interval = choose(own, "interval", image, "Interval", NS_PER_MS, DEFAULT_MS);
    plan->timeout = choose(own, "timeout", image, "Timeout", NS_PER_MS, DEFAULT_MS);
    plan->start_period = choose(own, "start-period", image, "StartPeriod", NS_PER_MS, 0);
    plan->retries = choose(own, "retries", image, "Retries", 1, DEFAULT_RETRIES);
    return plan;
}

/* ---- asking ---- */

static int on_timeout(void *arg, pid_t pid)
{
    (void)arg;
    (void)pid;
    return -1; /* its time is over */
}

static bool probe(const struct plan *plan)
{
    struct engine_container *c = plan->container;
    wh_autoclose int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    const struct itimerspec when = {
        .it_value = {.tv_sec = plan->timeout / 1000, .tv_nsec = plan->timeout % 1000 * NS_PER_MS}};
    int code = 1;
    if (timer < 0 || timerfd_settime(timer, 0, &when, NULL) < 0)
        return false;
    pthread_mutex_lock(&c->engine->lock);
    wh_autofree char *box = c->health_stopped ? NULL : wh_strdup(c->box);
    c->health_timer = timer;
    pthread_mutex_unlock(&c->engine->lock);
    struct wh_run_spec spec = {.argv = (const char *const *)plan->argv,
                               .env = (const char *const *)c->env,
                               .cwd = c->cwd,
                               .user = c->user,
                               .rootfs = &c->root};
    const struct wh_exec_io io = {.fds = {-1, -1, -1}, .control = timer, .on_control = on_timeout};
    bool good = box && wh_container_exec(box, &spec, &io, &code, NULL) == 0 && code == 0;
    pthread_mutex_lock(&c->engine->lock);
    c->health_timer = -1;
    pthread_mutex_unlock(&c->engine->lock);
    return good;
}

/* false: the container is over. */
static bool wait_until(struct engine_container *c, uint64_t when)
{
    struct engine *e = c->engine;
    pthread_mutex_lock(&e->lock);
    bool over;
    while (!(over = c->state == CONTAINER_EXITED || c->health_stopped)) {
        uint64_t now = wh_machine_ms();
        if (now >= when)
            break;
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        uint64_t ns = (uint64_t)until.tv_nsec + WH_MIN(when - now, (uint64_t)60000) * (uint64_t)NS_PER_MS;
        until.tv_sec += (time_t)(ns / 1000000000);
        until.tv_nsec = (long)(ns % 1000000000);
        (void)pthread_cond_timedwait(&e->changed, &e->lock, &until);
    }
    pthread_mutex_unlock(&e->lock);
    return !over;
}

static void set_health(struct engine_container *c, enum engine_health health)
{
    pthread_mutex_lock(&c->engine->lock);
    c->health = health;
    pthread_cond_broadcast(&c->engine->changed);
    pthread_mutex_unlock(&c->engine->lock);
}

static void *health_main(void *arg)
{
    struct plan *plan = arg;
    struct engine_container *c = plan->container;
    const uint64_t begin = wh_machine_ms();
    uint64_t tick = begin + (uint64_t)plan->interval;
    enum engine_health health = HEALTH_STARTING;
    int64_t failures = 0;
    for (uint64_t next = begin; wait_until(c, next);) {
        bool good = probe(plan);
        uint64_t now = wh_machine_ms();
        bool counts = now >= tick;
        if (counts)
            tick = now + (uint64_t)plan->interval;
        if (good) {
            failures = 0;
            health = HEALTH_HEALTHY;
        } else if (counts && (health != HEALTH_STARTING || now >= begin + (uint64_t)plan->start_period)) {
            failures++;
        }
        if (failures >= plan->retries)
            health = HEALTH_UNHEALTHY;
        set_health(c, health);
        next = health == HEALTH_STARTING ? WH_MIN(tick, now + EARLY_MS) : tick;
    }
    wh_strv_free(plan->argv);
    free(plan);
    return NULL;
}

void engine_health_start(struct engine_container *c, const cJSON *image_config)
{
    struct plan *plan = plan_of(c, image_config);
    if (!plan)
        return;
    c->health = HEALTH_STARTING;
    if (pthread_create(&c->health_thread, NULL, health_main, plan) == 0) {
        c->health_started = true;
        return;
    }
    c->health = HEALTH_UNHEALTHY;
    wh_strv_free(plan->argv);
    free(plan);
}

void engine_health_stop(struct engine_container *c)
{
    if (!c->health_started)
        return;
    pthread_mutex_lock(&c->engine->lock);
    const struct itimerspec now = {.it_value = {.tv_nsec = 1}};
    c->health_stopped = true;
    if (c->health_timer >= 0) /* what is asked in a container that ended may never be answered */
        (void)timerfd_settime(c->health_timer, 0, &now, NULL);
    pthread_cond_broadcast(&c->engine->changed);
    pthread_mutex_unlock(&c->engine->lock);
    (void)pthread_join(c->health_thread, NULL);
    c->health_started = false;
    set_health(c, HEALTH_UNHEALTHY); /* as docker says of a container that ended */
}
