/* Keeps the store within its bounds: `wherry cache prune` as a child with low priority, never on the loop,
 * and never what a running build uses. */
#include <dirent.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "wherry/platform/cgroup.h"

#define EVERY_MS ((uint64_t)10 * 60 * 1000) /* at most, unless space is short when a job ends */
#define AFTER_JOB_MS 2000                   /* a next job may follow at once: let it start first */
#define FINISH_MS ((uint64_t)120 * 1000)    /* for the last time, when the agent ends after its one job */
#define LOOK_MS 1000                        /* whether the child has ended */
#define MIN_FREE_MAX ((uint64_t)10 << 30)
#define GROWTH                                                                                               \
    ((uint64_t)64 << 20) /* an idle agent cleans when so much was written since (by `wherry build`) */
#define IOPRIO_IDLE (3 << 13)

struct cleaner {
    struct daemon *d;
    struct wh_process process;
    struct wh_later *later;
    bool wanted;        /* a job ended since */
    uint64_t last_ms;   /* when it was started last; 0: never */
    uint64_t last_free; /* of the disk, when that one ended; 0: never looked */
};

/* What may be used and what stays free: options, else four fifths of the disk, and a tenth of it up to 10
 * GiB. False while there is no store. */
static bool bounds(const struct daemon *d, uint64_t *max_size, uint64_t *min_free, uint64_t *free_now)
{
    struct statvfs fs;
    wh_autofree char *index = wh_printf("%s/index.db", d->options->state);
    if (access(index, F_OK) < 0 || statvfs(d->options->state, &fs) < 0)
        return false;
    uint64_t total = (uint64_t)fs.f_blocks * fs.f_frsize;
    *free_now = (uint64_t)fs.f_bavail * fs.f_frsize;
    *max_size = d->options->cache_max_size ? d->options->cache_max_size : total / 5 * 4;
    *min_free = d->options->cache_min_free ? d->options->cache_min_free : WH_MIN(total / 10, MIN_FREE_MAX);
    return true;
}

static int start(struct cleaner *c, uint64_t max_size, uint64_t min_free, struct wh_error *err)
{
    wh_autofree char *self = wh_self_path();
    wh_autofree char *size = wh_printf("%llu", (unsigned long long)max_size);
    wh_autofree char *free_space = wh_printf("%llu", (unsigned long long)min_free);
    char *argv[] = {"wherry",     "cache", "prune",      "--state",  (char *)c->d->options->state,
                    "--max-size", size,    "--min-free", free_space, NULL};
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.path = self;
    options.argv = argv;
    options.stderr_fd = STDERR_FILENO;
    if (wh_process_spawn(&options, &c->process, err) < 0)
        return -1;
    (void)setpriority(PRIO_PROCESS, (id_t)c->process.pid, 10); /* best effort, as the next */
    (void)syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, c->process.pid, IOPRIO_IDLE);
    return 0;
}

static void idle(void *data);

static void look(void *data)
{
    struct cleaner *c = data;
    struct wh_process_exit end = {0};
    uint64_t max_size, min_free;
    int ended = wh_process_reap(&c->process, &end, NULL);
    if (ended == 0) {
        wh_later(&c->later, &c->d->loop, LOOK_MS, look, c);
        return;
    }
    if (ended < 0)
        wh_process_forget(&c->process);
    else if (end.code != 0)
        wh_log_warning("cleaning the store ended with exit code %d", end.code);
    (void)bounds(c->d, &max_size, &min_free, &c->last_free);
    wh_later(&c->later, &c->d->loop, EVERY_MS, idle, c);
}

static void clean(void *data)
{
    struct cleaner *c = data;
    uint64_t max_size, min_free, free_now;
    wh_autoerror err = {0};
    c->last_ms = wh_mono_ms();
    c->wanted = false;
    wh_build_cgroup_sweep();
    if (bounds(c->d, &max_size, &min_free, &free_now)) {
        if (start(c, max_size, min_free, &err) == 0) {
            wh_later(&c->later, &c->d->loop, LOOK_MS, look, c);
            return;
        }
        c->process = WH_PROCESS_NONE;
        wh_log_warning("cleaning the store: %s", wh_error_text(&err));
    }
    wh_later(&c->later, &c->d->loop, EVERY_MS, idle, c);
}

/* Others fill the store too. A look at the disk costs nothing; a child only where something was written. */
static void idle(void *data)
{
    struct cleaner *c = data;
    uint64_t max_size, min_free, free_now;
    if (bounds(c->d, &max_size, &min_free, &free_now) &&
        (c->last_free == 0 || free_now < min_free || free_now + GROWTH < c->last_free))
        clean(c);
    else
        wh_later(&c->later, &c->d->loop, EVERY_MS, idle, c);
}

struct cleaner *cleaner_new(struct daemon *d)
{
    struct cleaner *c = wh_calloc(1, sizeof(*c));
    c->d = d;
    c->process = WH_PROCESS_NONE;
    wh_later(&c->later, &d->loop, EVERY_MS, idle, c);
    return c;
}

void cleaner_job_ended(struct cleaner *c)
{
    uint64_t max_size, min_free, free_now;
    c->wanted = true;
    if (c->process.pid != 0 || !bounds(c->d, &max_size, &min_free, &free_now))
        return;
    uint64_t since = c->last_ms ? wh_mono_ms() - c->last_ms : EVERY_MS;
    uint64_t wait = since >= EVERY_MS || free_now < min_free ? AFTER_JOB_MS : EVERY_MS - since;
    wh_later(&c->later, &c->d->loop, WH_MAX(wait, (uint64_t)AFTER_JOB_MS), clean, c);
}

/* A builder's session (trees of containers, layers half made) has a folder in there while it lives. */
static bool any_session(const struct daemon *d)
{
    wh_autofree char *path = wh_path_join(d->options->state, "ingest");
    DIR *list = opendir(path);
    bool any = false;
    for (const struct dirent *entry; list && !any && (entry = readdir(list));)
        any = entry->d_name[0] != '.';
    if (list)
        (void)closedir(list);
    return any;
}

void cleaner_leftovers(struct cleaner *c)
{
    wh_build_cgroup_sweep();
    if (any_session(c->d))
        cleaner_job_ended(c); /* the child opens the store, which ends the sessions of the dead */
}

void cleaner_finish(struct cleaner *c)
{
    uint64_t began = wh_mono_ms();
    unsigned signals = c->d->signals;
    if (!c->wanted || signals > 0 || c->process.pid != 0)
        return;
    wh_later_cancel(&c->later);
    clean(c);
    while (c->process.pid != 0 && c->d->signals == signals && wh_mono_ms() - began < FINISH_MS)
        uv_run(&c->d->loop, UV_RUN_ONCE);
}

void cleaner_free(struct cleaner *c)
{
    if (!c)
        return;
    wh_later_cancel(&c->later);
    if (c->process.pid != 0)
        wh_process_forget(&c->process); /* it ends by itself */
    free(c);
}
