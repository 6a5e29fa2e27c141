/* The id maps of an ordinary user's builder: its word that it stands, newgidmap, newuidmap, one after the
 * other on the loop. The helpers look users up, which a name service of the network can make slow. */
#include "build/launch_maps.h"

#include <sys/socket.h>
#include <unistd.h>

#include "wherry/base/mem.h"
#include "wherry/net/later.h"

/* "Call this when the descriptor is readable, once." */
struct ready {
    uv_poll_t poll;
    struct ready **slot;
    void (*fn)(void *data);
    void *data;
};

struct wh_launch_maps {
    struct wh_launch_maps **slot;
    uv_loop_t *loop;
    pid_t builder;
    int launch;
    struct wh_userns_map map;
    enum wh_userns_helper kind;
    struct wh_process helper;
    struct ready *ready;
    struct wh_later *late;
    wh_launch_maps_fn done;
    void *data;
};

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void ready_stop(struct ready **slot)
{
    if (*slot)
        uv_close((uv_handle_t *)&(*slot)->poll, on_closed);
    *slot = NULL;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct ready *ready = poll->data;
    void (*fn)(void *) = ready->fn;
    void *data = ready->data;
    (void)status; /* whoever reads sees what is wrong */
    (void)events;
    ready_stop(ready->slot);
    fn(data);
}

static int ready_start(struct ready **slot, uv_loop_t *loop, int fd, void (*fn)(void *data), void *data,
                       struct wh_error *err)
{
    struct ready *ready = wh_calloc(1, sizeof *ready);
    *ready = (struct ready){.slot = slot, .fn = fn, .data = data};
    ready->poll.data = ready;
    int failed = uv_poll_init(loop, &ready->poll, fd);
    if (failed != 0) {
        free(ready);
        return wh_fail(err, WH_E_FAILED, "watch the builder's start: %s", uv_strerror(failed));
    }
    *slot = ready;
    failed = uv_poll_start(&ready->poll, UV_READABLE, on_ready);
    if (failed == 0)
        return 0;
    ready_stop(slot);
    return wh_fail(err, WH_E_FAILED, "watch the builder's start: %s", uv_strerror(failed));
}

static void on_reaped(void *data)
{
    struct wh_launch_maps *m = data;
    struct wh_process_exit ended;
    if (wh_process_reap(&m->helper, &ended, NULL) == 0 &&
        ready_start(&m->ready, m->loop, m->helper.pidfd, on_reaped, m, NULL) == 0)
        return;
    wh_process_forget(&m->helper);
    free(m);
}

void wh_launch_maps_stop(struct wh_launch_maps **slot)
{
    struct wh_launch_maps *m = *slot;
    if (!m)
        return;
    *slot = NULL;
    ready_stop(&m->ready);
    wh_later_cancel(&m->late);
    wh_process_signal(&m->helper, SIGKILL);
    /* Nobody waits for its end but the loop. */
    if (m->helper.pid <= 0 || ready_start(&m->ready, m->loop, m->helper.pidfd, on_reaped, m, NULL) < 0) {
        wh_process_forget(&m->helper);
        free(m);
    }
}

static void end(struct wh_launch_maps *m, struct wh_error *err)
{
    wh_launch_maps_fn done = m->done;
    void *data = m->data;
    wh_launch_maps_stop(m->slot);
    done(data, err);
}

static void on_helper(void *data);

static void start_helper(struct wh_launch_maps *m, enum wh_userns_helper kind)
{
    wh_autoerror err = {0};
    m->kind = kind;
    if (wh_userns_helper_start(kind, m->builder, &m->map, &m->helper, &err) < 0 ||
        ready_start(&m->ready, m->loop, m->helper.pidfd, on_helper, m, &err) < 0)
        end(m, &err);
}

static void on_helper(void *data)
{
    struct wh_launch_maps *m = data;
    struct wh_process_exit ended = {0};
    wh_autoerror err = {0};
    int over = wh_process_reap(&m->helper, &ended, &err);
    if (over == 0)
        over = ready_start(&m->ready, m->loop, m->helper.pidfd, on_helper, m, &err) < 0 ? -1 : 0;
    else if (over > 0 && wh_userns_helper_result(m->kind, &ended, &m->map, &err) < 0)
        over = -1;
    if (over < 0)
        end(m, &err);
    else if (over > 0 && m->kind == WH_USERNS_NEWGIDMAP)
        start_helper(m, WH_USERNS_NEWUIDMAP);
    else if (over > 0)
        end(m, NULL);
}

static void on_builder(void *data)
{
    struct wh_launch_maps *m = data;
    wh_autoerror err = {0};
    char byte;
    if (recv(m->launch, &byte, 1, MSG_DONTWAIT) == 1) {
        start_helper(m, WH_USERNS_NEWGIDMAP);
        return;
    }
    (void)wh_fail(&err, WH_E_FAILED, "the builder ended while it started");
    end(m, &err);
}

static void on_late(void *data)
{
    struct wh_launch_maps *m = data;
    wh_autoerror err = {0};
    if (m->helper.pid > 0)
        (void)wh_fail(
            &err, WH_E_TIMEOUT,
            "%s did not end within %d s (does a name service of the network hang? it looks users up)",
            wh_userns_helper_name(m->kind), WH_LAUNCH_MAPS_MS / 1000);
    else
        (void)wh_fail(&err, WH_E_TIMEOUT, "the builder did not come up within %d s",
                      WH_LAUNCH_MAPS_MS / 1000);
    end(m, &err);
}

static void on_not_started(void *data)
{
    struct wh_launch_maps *m = data;
    wh_autoerror err = {0};
    (void)wh_fail(&err, WH_E_FAILED, "the builder's start cannot be watched");
    end(m, &err);
}

void wh_launch_maps_start(struct wh_launch_maps **slot, uv_loop_t *loop, pid_t builder, int launch,
                          const struct wh_userns_map *map, wh_launch_maps_fn done, void *data)
{
    struct wh_launch_maps *m = wh_calloc(1, sizeof *m);
    *m = (struct wh_launch_maps){.slot = slot,
                                 .loop = loop,
                                 .builder = builder,
                                 .launch = launch,
                                 .map = *map,
                                 .helper = WH_PROCESS_NONE,
                                 .done = done,
                                 .data = data};
    *slot = m;
    if (ready_start(&m->ready, loop, launch, on_builder, m, NULL) < 0)
        wh_later(&m->late, loop, 0, on_not_started, m);
    else
        wh_later(&m->late, loop, WH_LAUNCH_MAPS_MS, on_late, m);
}
