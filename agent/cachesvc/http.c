/* libmicrohttpd on the loop: its epoll descriptor is polled, its time-outs are a timer. A request is an
 * object from its first header to its last byte; what takes long runs on a thread while the connection
 * sleeps. */
#include <openssl/evp.h>
#include <unistd.h>

#include "cachesvc/internal.h"

#define CONNECTION_MEMORY ((size_t)128 << 10) /* headers, and what a read of a body takes at once */
#define SWALLOW                                                                                              \
    ((uint64_t)64 << 20) /* of a body that nobody wants: so far it is read, so that the answer arrives */

/* ---- turning ---- */

static void plan(struct wh_cachesvc *svc);

static void on_timer(uv_timer_t *timer)
{
    svc_http_turn(timer->data);
}

static void on_idle(uv_idle_t *idle)
{
    svc_http_turn(idle->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    svc_http_turn(poll->data);
}

static void plan(struct wh_cachesvc *svc)
{
    MHD_UNSIGNED_LONG_LONG ms = 0;
    bool timed = MHD_get_timeout(svc->daemon, &ms) == MHD_YES;
    if (timed && ms == 0)
        uv_idle_start(&svc->idle, on_idle); /* a timer of 0 would starve the polling */
    else
        uv_idle_stop(&svc->idle);
    if (timed && ms > 0)
        uv_timer_start(&svc->timer, on_timer, ms, 0);
    else
        uv_timer_stop(&svc->timer);
}

void svc_http_turn(struct wh_cachesvc *svc)
{
    if (!svc->daemon || svc->running)
        return;
    svc->running = true;
    (void)MHD_run(svc->daemon);
    svc->running = false;
    plan(svc);
}

/* ---- a request's life ---- */

static void request_free(struct request *r)
{
    wh_upload_part_abort(r->part);
    if (r->live)
        svc_live_leave(r->live);
    EVP_MD_CTX_free(r->md5);
    wh_http_free(r->upstream);
    if (r->answer.file >= 0)
        close(r->answer.file);
    wh_str_free(&r->answer.body);
    wh_strv_free(r->answer.headers);
    wh_str_free(&r->body);
    wh_error_clear(&r->err);
    char **texts[] = {&r->method, &r->path,    &r->job, &r->md5_want, &r->repository,
                      &r->scope,  &r->version, &r->key, &r->charge,   &r->mime};
    for (size_t i = 0; i < WH_COUNT(texts); i++)
        free(*texts[i]);
    free(r);
}

const char *svc_header(const struct request *r, const char *name)
{
    return MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name);
}

bool svc_argument(const struct request *r, const char *name, const char **out)
{
    size_t len = 0;
    *out = NULL;
    if (MHD_lookup_connection_value_n(r->conn, MHD_GET_ARGUMENT_KIND, name, strlen(name), out, &len) ==
            MHD_YES &&
        *out && strlen(*out) != len)
        return false;
    return true;
}

static enum MHD_Result add_size(void *arg, enum MHD_ValueKind kind, const char *key, const char *value)
{
    (void)kind;
    *(size_t *)arg += (key ? strlen(key) : 0) + (value ? strlen(value) : 0) + 4;
    return MHD_YES;
}

static bool headers_ok(struct request *r)
{
    size_t size = strlen(r->path);
    (void)MHD_get_connection_values(r->conn, MHD_HEADER_KIND, add_size, &size);
    (void)MHD_get_connection_values(r->conn, MHD_GET_ARGUMENT_KIND, add_size, &size);
    if (size <= WH_MAX_CACHE_HEADERS)
        return true;
    svc_refuse_status(r, 431, "invalid_argument", "the request's headers have more than %zu bytes",
                      WH_MAX_CACHE_HEADERS);
    return false;
}

static struct request *request_new(struct wh_cachesvc *svc, struct MHD_Connection *conn, const char *url,
                                   const char *method)
{
    struct request *r = wh_calloc(1, sizeof(*r));
    r->svc = svc;
    r->conn = conn;
    r->method = wh_strdup(method);
    r->path = wh_strdup(url);
    r->body_max = WH_MAX_CACHE_BODY;
    r->answer.file = -1;
    r->size = -1;
    svc->counts.requests++;
    (void)MHD_set_connection_option(conn, MHD_CONNECTION_OPTION_TIMEOUT, WH_CACHE_STALL_SECONDS);
    return r;
}

/* ---- the answer ---- */

static struct MHD_Response *response_of(struct request *r)
{
    struct answer *a = &r->answer;
    if (a->file >= 0 && a->length > 0) {
        r->svc->counts.bytes_out += a->length;
        struct MHD_Response *response =
            MHD_create_response_from_fd_at_offset64(a->length, a->file, a->offset);
        if (response)
            a->file = -1; /* it closes it */
        return response;
    }
    size_t len = a->body.len;
    return MHD_create_response_from_buffer(len, len ? a->body.data : (char *)"", MHD_RESPMEM_MUST_COPY);
}

static enum MHD_Result send_answer(struct request *r)
{
    struct answer *a = &r->answer;
    struct MHD_Response *response = response_of(r);
    if (!response)
        return MHD_NO;
    if (a->type)
        (void)MHD_add_response_header(response, "Content-Type", a->type);
    for (size_t i = 0; a->headers && a->headers[i] && a->headers[i + 1]; i += 2)
        (void)MHD_add_response_header(response, a->headers[i], a->headers[i + 1]);
    /* The save step of actions/cache v3 lives as long as its connection does. */
    if (r->api == API_V1)
        (void)MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result rc = MHD_queue_response(r->conn, a->status, response);
    MHD_destroy_response(response);
    return rc;
}

/* ---- what the server calls ---- */

static void take(struct request *r, const char *data, size_t len)
{
    r->svc->counts.bytes_in += len;
    if (r->answer.status != 0)
        return; /* nobody wants it any more */
    if (r->take) {
        r->take(r, data, len);
        return;
    }
    if (len > r->body_max - WH_MIN(r->body.len, r->body_max))
        svc_refuse(r, "too_large", "the body has more than %zu bytes", r->body_max);
    else
        wh_str_addn(&r->body, data, len);
}

/* An answer before the body was read would cut the connection under a client that still writes. */
static bool swallows(const struct request *r)
{
    uint64_t length = 0;
    const char *text = svc_header(r, "Content-Length");
    return !text || (wh_parse_u64(text, UINT64_MAX, &length) && length <= SWALLOW);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *conn, const char *url, const char *method,
                                  const char *version, const char *data, size_t *len, void **state)
{
    (void)version;
    struct wh_cachesvc *svc = arg;
    struct request *r = *state;
    if (!r) {
        *state = r = request_new(svc, conn, url, method);
        if (headers_ok(r))
            svc_route(r);
        return r->answer.status != 0 && !swallows(r) ? send_answer(r) : MHD_YES;
    }
    if (*len > 0) {
        take(r, data, *len);
        *len = 0;
        return MHD_YES;
    }
    if (r->answer.status == 0 && r->end) {
        void (*end)(struct request *) = r->end;
        r->end = NULL;
        end(r);
    }
    if (r->suspended)
        return MHD_YES;
    if (r->answer.status == 0)
        svc_refuse(r, "internal", "no answer");
    return send_answer(r);
}

static void on_completed(void *arg, struct MHD_Connection *conn, void **state,
                         enum MHD_RequestTerminationCode code)
{
    (void)arg;
    (void)code;
    struct request *r = *state;
    *state = NULL;
    (void)MHD_set_connection_option(conn, MHD_CONNECTION_OPTION_TIMEOUT, WH_CACHE_IDLE_SECONDS);
    if (r)
        request_free(r);
}

/* ---- work ---- */

void svc_sleep(struct request *r)
{
    r->suspended = true;
    MHD_suspend_connection(r->conn);
}

void svc_wake(struct request *r)
{
    struct wh_cachesvc *svc = r->svc;
    r->suspended = false;
    MHD_resume_connection(r->conn);
    svc_http_turn(svc);
}

static void on_work(uv_work_t *work)
{
    struct request *r = work->data;
    r->run(r);
}

static void after_work(uv_work_t *work, int status)
{
    (void)status;
    struct request *r = work->data;
    r->svc->works--;
    r->done(r);
    if (r->answer.status == 0)
        return; /* it began something else */
    svc_wake(r);
}

void svc_work(struct request *r, void (*run)(struct request *), void (*done)(struct request *))
{
    r->run = run;
    r->done = done;
    r->work.data = r;
    if (!r->suspended)
        svc_sleep(r);
    r->svc->works++;
    (void)uv_queue_work(r->svc->loop, &r->work, on_work, after_work);
}

/* ---- start and stop ---- */

int svc_http_start(struct wh_cachesvc *svc, int listener, struct wh_error *err)
{
    svc->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, svc, MHD_OPTION_LISTEN_SOCKET,
        listener, MHD_OPTION_NOTIFY_COMPLETED, on_completed, svc, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)WH_MAX_CACHE_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, WH_CACHE_IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_CONNECTION_MEMORY_INCREMENT,
        CONNECTION_MEMORY, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (!svc->daemon)
        return wh_fail(err, WH_E_FAILED, "the cache service's HTTP server can't start");
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(svc->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    uv_poll_init(svc->loop, &svc->poll, info->epoll_fd);
    uv_timer_init(svc->loop, &svc->timer);
    uv_idle_init(svc->loop, &svc->idle);
    svc->poll.data = svc->timer.data = svc->idle.data = svc;
    uv_poll_start(&svc->poll, UV_READABLE, on_poll);
    plan(svc);
    return 0;
}

void svc_http_stop(struct wh_cachesvc *svc)
{
    if (!svc->daemon)
        return;
    uv_poll_stop(&svc->poll);
    struct MHD_Daemon *daemon = wh_steal(&svc->daemon);
    MHD_stop_daemon(daemon);
}
