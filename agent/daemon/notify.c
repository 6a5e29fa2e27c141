/* What a service manager is told: sd_notify(3)'s datagrams, without its library. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "wherry/base/clock.h"
#include "wherry/base/log.h"

#define STATUS_MS 500 /* changes are told together */

struct notify {
    struct daemon *d;
    int fd;
    struct sockaddr_un address;
    socklen_t address_len;
    uv_timer_t watchdog; /* on the loop: a loop that hangs feeds no dog */
    struct wh_later *status_later;
};

static void send_text(const struct notify *n, const char *text)
{
    if (n && sendto(n->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
                    (const struct sockaddr *)&n->address, n->address_len) < 0)
        wh_log_debug("tell the service manager: %s", strerror(errno));
}

/* A path, or "@name" of the abstract kind. */
static bool address_of(const char *socket, struct notify *n)
{
    size_t len = strlen(socket);
    if ((socket[0] != '/' && socket[0] != '@') || len < 2 || len >= sizeof n->address.sun_path)
        return false;
    n->address.sun_family = AF_UNIX;
    memcpy(n->address.sun_path, socket, len);
    if (socket[0] == '@')
        n->address.sun_path[0] = '\0';
    n->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return true;
}

static void on_watchdog(uv_timer_t *timer)
{
    send_text(timer->data, "WATCHDOG=1");
}

/* Twice as often as wanted. In the machine's time: the manager knows no other. */
static void start_watchdog(struct notify *n)
{
    const char *pid = getenv("WATCHDOG_PID"), *usec = getenv("WATCHDOG_USEC");
    uint64_t every_us, for_pid;
    uv_timer_init(&n->d->loop, &n->watchdog);
    n->watchdog.data = n;
    if (!usec || !wh_parse_u64(usec, INT64_MAX, &every_us) || every_us == 0)
        return;
    if (pid && (!wh_parse_u64(pid, INT32_MAX, &for_pid) || (pid_t)for_pid != getpid()))
        return;
    uint64_t every_ms = WH_MAX(every_us / 2000, (uint64_t)1);
    uv_timer_start(&n->watchdog, on_watchdog, 0, every_ms);
}

struct notify *notify_new(struct daemon *d)
{
    const char *socket_path = getenv("NOTIFY_SOCKET");
    struct notify *n = wh_calloc(1, sizeof *n);
    n->d = d;
    n->fd = -1;
    if (!socket_path || !address_of(socket_path, n) ||
        (n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0) {
        free(n);
        n = NULL;
    } else {
        start_watchdog(n);
    }
    unsetenv("NOTIFY_SOCKET"); /* nothing that we start is the service's main process */
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return n;
}

static void on_closed(uv_handle_t *handle)
{
    struct notify *n = handle->data;
    close(n->fd);
    free(n);
}

void notify_free(struct notify *n)
{
    if (!n)
        return;
    wh_later_cancel(&n->status_later);
    uv_close((uv_handle_t *)&n->watchdog, on_closed);
}

static void tell_status(void *data)
{
    const struct notify *n = data;
    const struct daemon *d = n->d;
    unsigned online = 0, jobs = 0, trouble = 0;
    for (size_t i = 0; i < d->nrunners; i++) {
        const struct runner *r = d->runners[i];
        online += r->state == RUNNER_LISTENING;
        jobs += r->job != NULL;
        trouble += runner_exit_code(r) != 0 || (r->state == RUNNER_CONNECTING && r->error);
    }
    wh_autofree char *bad = trouble ? wh_printf(", %u in trouble", trouble) : wh_strdup("");
    wh_autofree char *text = wh_printf("STATUS=%u of %zu runners online, %u jobs%s%s", online, d->nrunners,
                                       jobs, bad, d->draining ? "; ending" : "");
    send_text(n, text);
}

void notify_changed(struct notify *n)
{
    if (n && !n->status_later)
        wh_later(&n->status_later, &n->d->loop, STATUS_MS, tell_status, n);
}

void notify_ready(struct notify *n)
{
    send_text(n, "READY=1");
    if (n)
        tell_status(n);
}

void notify_reloading(struct notify *n)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    wh_autofree char *text =
        wh_printf("RELOADING=1\nMONOTONIC_USEC=%llu",
                  (unsigned long long)now.tv_sec * 1000000ULL + (unsigned long long)now.tv_nsec / 1000ULL);
    send_text(n, text);
}

void notify_stopping(struct notify *n)
{
    send_text(n, "STOPPING=1");
    if (n)
        tell_status(n);
}
