#include "launch_requests.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wherry/base/frame.h"
#include "wherry/base/log.h"
#include "wherry/container/proxy.h"
#include "wherry/container/uplink.h"

struct launch_requests {
    uv_poll_t poll;
    struct wh_frame_conn *conn;
    bool greeted, closed, stopped;
    unsigned working;
    char *subnet;  /* NULL: the default */
    char *refused; /* why no network is made; NULL: they are */
    void (*done)(void *arg);
    void *arg;
};

struct work {
    uv_work_t work;
    struct launch_requests *requests;
    struct wh_frame frame; /* owned */
};

/* ---- on a thread ---- */

static int make_uplink(const struct work *w, cJSON *answer, struct wh_error *err)
{
    uint32_t gateway;
    char text[INET_ADDRSTRLEN];
    if (w->frame.nfds < 2)
        return wh_fail(err, WH_E_PROTOCOL, "an uplink needs a namespace");
    if (w->requests->refused)
        return wh_fail(err, WH_E_DENIED, "%s", w->requests->refused);
    if (wh_uplink_make(w->frame.fds[0], w->requests->subnet, &gateway, err) < 0)
        return -1;
    wh_json_add_string(answer, "gateway", inet_ntop(AF_INET, &gateway, text, sizeof text));
    return 0;
}

static int make_listener(const struct work *w, cJSON *answer, int *sock, struct wh_error *err)
{
    const char *address = wh_json_string(w->frame.json, "address");
    int64_t number = wh_json_int(w->frame.json, "port", -1);
    bool udp = wh_streq(wh_json_string(w->frame.json, "protocol"), "udp");
    if (number < 0 || number > 65535)
        return wh_fail(err, WH_E_PROTOCOL, "a listener needs a port");
    unsigned port = (unsigned)number;
    *sock = wh_proxy_listen(udp ? WH_PROXY_UDP : WH_PROXY_TCP, address ? address : "", &port, err);
    wh_json_add_int(answer, "port", port);
    return *sock < 0 ? -1 : 0;
}

static void work(uv_work_t *request)
{
    struct work *w = request->data;
    wh_autoerror err = {0};
    wh_autojson *answer = cJSON_CreateObject();
    wh_autoclose int sock = -1;
    const char *type = wh_json_string(w->frame.json, "type");
    int n = -1;
    if (wh_streq(type, "uplink"))
        n = make_uplink(w, answer, &err);
    else if (wh_streq(type, "listen"))
        n = make_listener(w, answer, &sock, &err);
    else
        (void)wh_fail(&err, WH_E_PROTOCOL, "the launcher does not know this request");
    cJSON_AddBoolToObject(answer, "ok", n == 0);
    if (n < 0)
        wh_json_add_string(answer, "error", wh_error_text(&err));
    /* Small enough for any socket's buffer: a builder that does not read it can't hold the thread. */
    int out = w->frame.fds[w->frame.nfds - 1];
    (void)fcntl(out, F_SETFL, O_NONBLOCK);
    (void)wh_frame_send(out, answer, &sock, sock >= 0 ? 1 : 0, NULL);
}

/* ---- on the loop ---- */

static void check_done(struct launch_requests *r)
{
    if (!r->stopped || !r->closed || r->working > 0)
        return;
    void (*done)(void *) = r->done;
    void *arg = r->arg;
    wh_frame_conn_free(r->conn);
    free(r->subnet);
    free(r->refused);
    free(r);
    done(arg);
}

static void on_closed(uv_handle_t *handle)
{
    struct launch_requests *r = handle->data;
    r->closed = true;
    check_done(r);
}

static void after_work(uv_work_t *request, int status)
{
    struct work *w = request->data;
    struct launch_requests *r = w->requests;
    (void)status;
    wh_frame_clear(&w->frame);
    free(w);
    r->working--;
    check_done(r);
}

static void take(struct launch_requests *r, struct wh_frame *frame)
{
    if (frame->nfds == 0 || r->working >= WH_MAX_LAUNCH_REQUESTS)
        return; /* the asker sees its socket close */
    struct work *w = wh_calloc(1, sizeof *w);
    w->work.data = w;
    w->requests = r;
    w->frame = *frame;
    *frame = (struct wh_frame){0};
    if (uv_queue_work(r->poll.loop, &w->work, work, after_work) != 0) {
        wh_frame_clear(&w->frame);
        free(w);
        return;
    }
    r->working++;
}

/* The first byte of a builder only says that it is there. */
static bool greet(struct launch_requests *r)
{
    char byte;
    ssize_t n;
    do
        n = r->greeted ? 1 : recv(wh_frame_conn_fd(r->conn), &byte, 1, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    r->greeted = r->greeted || n == 1;
    return n == 1 || (n < 0 && errno == EAGAIN);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct launch_requests *r = poll->data;
    wh_autoerror err = {0};
    bool open = status == 0 && greet(r);
    (void)events;
    for (int got = 1; open && r->greeted && got == 1;) {
        wh_autoframe frame = {0};
        got = wh_frame_conn_recv(r->conn, &frame, &err);
        if (got == 1)
            take(r, &frame);
        if (got == -1)
            wh_log_warning("a builder's request: %s", wh_error_text(&err));
        open = got >= 0;
    }
    if (!open)
        (void)uv_poll_stop(poll);
}

static char *refusal(void)
{
    if (wh_streq(getenv("WHERRY_CONTAINERS_NETWORK"), "host"))
        return wh_strdup("the settings say so (containers.network)");
    return geteuid() == 0 ? NULL : wh_strdup("only root can make networks for them");
}

struct launch_requests *launch_requests_start(uv_loop_t *loop, int launch, bool greeted, struct wh_error *err)
{
    int copy = fcntl(launch, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) {
        (void)wh_fail_errno(err, "watch the builder's requests");
        return NULL;
    }
    struct launch_requests *r = wh_calloc(1, sizeof *r);
    r->greeted = greeted;
    r->subnet = wh_strdup(getenv("WHERRY_CONTAINERS_SUBNET"));
    r->refused = refusal();
    r->conn = wh_frame_conn_new(copy);
    wh_frame_conn_limit(r->conn, WH_MAX_LAUNCH_REQUEST);
    int failed = uv_poll_init(loop, &r->poll, copy);
    if (failed != 0) {
        (void)wh_fail(err, WH_E_FAILED, "watch the builder's requests: %s", uv_strerror(failed));
        wh_frame_conn_free(r->conn);
        free(r->subnet);
        free(r->refused);
        free(r);
        return NULL;
    }
    r->poll.data = r;
    (void)uv_poll_start(&r->poll, UV_READABLE, on_readable);
    return r;
}

void launch_requests_stop(struct launch_requests *r, void (*done)(void *arg), void *arg)
{
    if (!r) {
        done(arg);
        return;
    }
    r->stopped = true;
    r->done = done;
    r->arg = arg;
    uv_close((uv_handle_t *)&r->poll, on_closed);
}
