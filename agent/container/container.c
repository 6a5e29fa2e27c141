/* What a builder sets up once for all its RUNs: the runtime on PATH, the seccomp profile, places for bundles.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "internal.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "wherry/platform/process.h"

#define BOUNDED_TIMEOUT_MS 30000

static struct wh_container container = {.bounded_fd = -1, .cgroup_v2 = -1, .cgroup_v1_memory = -1};
static bool known;

static pthread_mutex_t ready_lock = PTHREAD_MUTEX_INITIALIZER;
static bool ready; /* guarded by ready_lock */

int wh_container_init(const struct wh_container_options *options, struct wh_error *err)
{
    if (known)
        return wh_fail(err, WH_E_BUSY, "containers are set up already");
    container.run_dir = wh_strdup(options->run_dir);
    container.state_dir = wh_strdup(options->state_dir);
    container.runtime_name = wh_strdup(options->runtime);
    container.bounded_fd = options->bounded_fd;
    container.cgroup_v2 = options->cgroup_v2;
    container.cgroup_v1_memory = options->cgroup_v1_memory;
    known = true;
    return 0;
}

const struct wh_container *wh_container_get(void)
{
    return known ? &container : NULL;
}

static char *find_runtime(const char *name)
{
    static const char fallback[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    const char *path = getenv("PATH");
    return wh_find_program(name, path ? path : fallback, false);
}

static int choose_runtime(struct wh_error *err)
{
    if (container.runtime_name) {
        container.runtime = find_runtime(container.runtime_name);
        if (!container.runtime)
            return wh_fail(err, WH_E_NOT_FOUND, "RUN needs the container runtime %s, which is not installed",
                           container.runtime_name);
    } else {
        container.runtime = find_runtime("crun");
        if (!container.runtime)
            container.runtime = find_runtime("runc");
        if (!container.runtime)
            return wh_fail(err, WH_E_NOT_FOUND,
                           "RUN needs crun or runc, and neither is installed (apt install crun)");
    }
    const char *slash = strrchr(container.runtime, '/');
    container.is_crun = wh_starts_with(slash ? slash + 1 : container.runtime, "crun");
    return 0;
}

/* The launcher moves us into our groups while we work; a RUN must not start outside of them. */
static int wait_bounded(struct wh_error *err)
{
    struct pollfd pfd = {.fd = container.bounded_fd, .events = POLLIN};
    int n = container.bounded_fd < 0 ? 1 : 0;
    while (n == 0 || (n < 0 && errno == EINTR)) {
        n = poll(&pfd, 1, BOUNDED_TIMEOUT_MS);
        if (n == 0)
            return wh_fail(err, WH_E_TIMEOUT, "the builder was not put into its control groups within %d s",
                           BOUNDED_TIMEOUT_MS / 1000);
    }
    return n < 0 ? wh_fail_errno(err, "wait for the control groups") : 0;
}

static int make_ready(struct wh_error *err)
{
    wh_autostr program = {0};
    if (choose_runtime(err) < 0 || wait_bounded(err) < 0)
        return -1;
    if (container.is_crun) {
        if (wh_seccomp_load(container.state_dir, &program, err) < 0)
            return -1;
        container.seccomp = wh_base64(program.data, program.len);
    }
    /* A detached container's first process becomes our child, also where we are not the first of a pid
     * namespace. */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    return 0;
}

const struct wh_container *wh_container_ready(struct wh_error *err)
{
    if (!known) {
        (void)wh_fail(err, WH_E_FAILED, "containers are not set up");
        return NULL;
    }
    (void)pthread_mutex_lock(&ready_lock);
    if (!ready)
        ready = make_ready(err) == 0;
    bool ok = ready;
    (void)pthread_mutex_unlock(&ready_lock);
    return ok ? &container : NULL;
}

char *wh_container_box(const char *hint, struct wh_error *err)
{
    static atomic_uint counter;
    if (!known) {
        (void)wh_fail(err, WH_E_FAILED, "containers are not set up");
        return NULL;
    }
    wh_autofree char *path = wh_printf("%s/%s-%u", container.run_dir, hint, atomic_fetch_add(&counter, 1));
    if (mkdir(path, 0700) < 0) {
        (void)wh_fail_errno(err, "make %s", path);
        return NULL;
    }
    return wh_steal(&path);
}
