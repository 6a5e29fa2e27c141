/* The client: curl's multi handle driven by a libuv loop, and the ways in from other threads. */
#include "net/http_internal.h"

#include <pthread.h>
#include <utlist.h>

#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "wherry/net/later.h"

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_start(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- sockets and time-outs, as curl asks for them ---- */

struct sock {
    uv_poll_t poll;
    struct wh_http_client *client;
    curl_socket_t fd;
};

static void collect_done(struct wh_http_client *c);

static void drive(struct wh_http_client *c, curl_socket_t fd, int flags)
{
    int running;
    c->in_curl++;
    curl_multi_socket_action(c->multi, fd, flags, &running);
    c->in_curl--;
    collect_done(c);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct sock *s = poll->data;
    /* An error of the socket: reading it tells curl which one. */
    int flags = status < 0 ? CURL_CSELECT_IN | CURL_CSELECT_OUT : 0;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    drive(s->client, s->fd, flags);
}

static void sock_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
    (void)easy;
    struct wh_http_client *c = data;
    struct sock *s = socket_data;
    if (what == CURL_POLL_REMOVE) {
        if (s) {
            curl_multi_assign(c->multi, fd, NULL);
            uv_poll_stop(&s->poll);
            uv_close((uv_handle_t *)&s->poll, sock_closed);
        }
        return 0;
    }
    if (!s) {
        s = wh_calloc(1, sizeof *s);
        s->client = c;
        s->fd = fd;
        if (uv_poll_init_socket(c->loop, &s->poll, fd)) {
            free(s);
            return -1;
        }
        s->poll.data = s;
        curl_multi_assign(c->multi, fd, s);
    }
    int events = 0;
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    return uv_poll_start(&s->poll, events, on_poll) ? -1 : 0;
}

static void on_idle(uv_idle_t *idle)
{
    struct wh_http_client *c = idle->data;
    uv_idle_stop(idle);
    drive(c, CURL_SOCKET_TIMEOUT, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct wh_http_client *c = timer->data;
    drive(c, CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *data)
{
    (void)multi;
    struct wh_http_client *c = data;
    if (c->closing)
        return 0;
    uv_timer_stop(&c->timer);
    uv_idle_stop(&c->idle);
    if (timeout_ms == 0)
        uv_idle_start(&c->idle, on_idle);
    else if (timeout_ms > 0)
        uv_timer_start(&c->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

/* ---- stall watch: curl's own does not know a paused upload ---- */

static void check_stall(struct wh_http *r, uint64_t now)
{
    curl_off_t up = 0, down = 0;
    curl_easy_getinfo(r->easy, CURLINFO_SIZE_UPLOAD_T, &up);
    curl_easy_getinfo(r->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
    uint64_t bytes = (uint64_t)up + (uint64_t)down;
    if (bytes != r->seen_bytes || r->sink_paused || r->pull_paused) {
        r->seen_bytes = bytes;
        r->seen_at_ms = now;
        return;
    }
    if (now - r->seen_at_ms < wh_machine_time(r->stall_ms))
        return;
    if (r->error.code == WH_OK)
        wh_fail(&r->error, WH_E_TIMEOUT, "%s: no byte moved for %u s", r->label, r->stall_ms / 1000);
    wh_http_client_finish(r, CURLE_OPERATION_TIMEDOUT);
}

static void on_stall(uv_timer_t *timer)
{
    struct wh_http_client *c = timer->data;
    uint64_t now = uv_now(c->loop);
    bool any = false;
    struct wh_http *r, *next;
    /* Finishing one runs its callback, which may free others: so only one a round. */
    DL_FOREACH_SAFE(c->active, r, next)
    {
        if (!r->stall_ms || r->zombie)
            continue;
        any = true;
        if (now - r->seen_at_ms >= wh_machine_time(1000)) {
            unsigned before = c->nactive;
            check_stall(r, now);
            if (c->nactive != before)
                return;
        }
    }
    if (!any)
        uv_timer_stop(timer);
}

/* ---- adding, ending ---- */

/* An idle client does not keep its loop running; one with requests does. */
static void count_active(struct wh_http_client *c, int by)
{
    unsigned before = c->nactive;
    c->nactive = (unsigned)((int)before + by);
    if (before == 0 && c->nactive > 0)
        uv_ref((uv_handle_t *)&c->timer), uv_ref((uv_handle_t *)&c->async);
    else if (before > 0 && c->nactive == 0) {
        uv_unref((uv_handle_t *)&c->timer);
        if (!c->own_thread)
            uv_unref((uv_handle_t *)&c->async);
    }
}

static void activate(struct wh_http *r)
{
    struct wh_http_client *c = r->client;
    wh_autoerror err = {0};
    r->state = WH_HTTP_ACTIVE;
    DL_APPEND(c->active, r);
    if (r->waiter)
        count_active(c, 1); /* those started on the loop were counted there */
    r->started_ms = r->seen_at_ms = uv_now(c->loop);
    if (wh_http_transfer_setup(r, &err)) {
        wh_error_move(&r->error, &err);
        wh_http_client_finish(r, CURLE_FAILED_INIT);
        return;
    }
    if (r->stall_ms && !uv_is_active((uv_handle_t *)&c->stall))
        wh_timer_start(&c->stall, on_stall, 1000, 1000);
    CURLMcode code = curl_multi_add_handle(c->multi, r->easy);
    if (code != CURLM_OK) {
        wh_fail(&r->error, WH_E_FAILED, "%s: %s", r->label, curl_multi_strerror(code));
        wh_http_client_finish(r, CURLE_FAILED_INIT);
    }
}

void wh_http_client_drop(struct wh_http *r)
{
    struct wh_http_client *c = r->client;
    if (r->state == WH_HTTP_STARTING) {
        uv_mutex_lock(&c->lock);
        DL_DELETE(c->starting, r);
        uv_mutex_unlock(&c->lock);
        count_active(c, -1);
    } else if (r->state == WH_HTTP_ACTIVE) {
        DL_DELETE(c->active, r);
        if (r->easy)
            curl_multi_remove_handle(c->multi, r->easy);
        count_active(c, -1);
    } else if (r->state == WH_HTTP_DONE && r->connect_only && r->easy) {
        curl_multi_remove_handle(c->multi, r->easy);
    }
    r->state = WH_HTTP_DONE;
}

void wh_http_client_finish(struct wh_http *r, CURLcode code)
{
    struct wh_http_client *c = r->client;
    const char *before = wh_log_enter(r->about);
    wh_http_transfer_result(r, code, &r->error);
    bool keep = r->connect_only && r->error.code == WH_OK;
    DL_DELETE(c->active, r);
    count_active(c, -1);
    r->state = WH_HTTP_DONE;
    if (!keep && r->easy) {
        curl_multi_remove_handle(c->multi, r->easy);
        curl_easy_cleanup(r->easy);
        r->easy = NULL;
    }
    if (r->waiter) {
        uv_mutex_lock(&c->lock);
        r->finished = true;
        uv_cond_signal(r->waiter);
        uv_mutex_unlock(&c->lock);
        (void)wh_log_enter(before);
        return; /* r may be gone */
    }
    wh_http_done_fn done = r->done;
    wh_autoerror err = {0};
    if (r->error.code != WH_OK)
        wh_error_move(&err, &r->error);
    if (done)
        done(r, err.code != WH_OK ? &err : NULL, r->done_data);
    (void)wh_log_enter(before);
}

static void collect_done(struct wh_http_client *c)
{
    CURLMsg *msg;
    int left;
    while (!c->closing && (msg = curl_multi_info_read(c->multi, &left))) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        struct wh_http *r = NULL;
        CURLcode code = msg->data.result;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&r);
        if (r->zombie || r->state != WH_HTTP_ACTIVE)
            continue;
        wh_http_client_finish(r, code);
    }
}

/* ---- wake-ups ---- */

void wh_http_client_wake(struct wh_http_client *client)
{
    uv_async_send(&client->async);
}

void wh_http_client_queue(struct wh_http *r)
{
    struct wh_http_client *c = r->client;
    if (!r->waiter)
        count_active(c, 1);
    uv_mutex_lock(&c->lock);
    r->state = WH_HTTP_STARTING;
    DL_APPEND(c->starting, r);
    uv_mutex_unlock(&c->lock);
    wh_http_client_wake(c);
}

static struct wh_http *take_starting(struct wh_http_client *c)
{
    uv_mutex_lock(&c->lock);
    struct wh_http *r = c->starting;
    if (r)
        DL_DELETE(c->starting, r);
    uv_mutex_unlock(&c->lock);
    return r;
}

static bool serve_flags(struct wh_http *r)
{
    if (r->zombie) {
        wh_http_client_drop(r);
        wh_http_destroy(r);
        return true;
    }
    if (atomic_exchange(&r->want_cancel, false)) {
        if (r->error.code == WH_OK)
            wh_fail(&r->error, WH_E_CANCELED, "%s: canceled", r->label);
        wh_http_client_finish(r, CURLE_ABORTED_BY_CALLBACK);
        return true;
    }
    if (atomic_exchange(&r->want_resume, false)) {
        r->sink_paused = r->pull_paused = false;
        r->seen_at_ms = uv_now(r->client->loop);
        r->client->in_curl++;
        curl_easy_pause(r->easy, CURLPAUSE_CONT);
        r->client->in_curl--;
        return true;
    }
    return false;
}

static void on_async(uv_async_t *async)
{
    struct wh_http_client *c = async->data;
    struct wh_http *r;
    if (c->own_thread && atomic_load(&c->stop)) {
        uv_stop(c->loop);
        return;
    }
    while ((r = take_starting(c)))
        activate(r);
    /* Each served flag may change the list: start over until a whole round finds none. */
    bool again = true;
    while (again) {
        again = false;
        DL_FOREACH(c->active, r)
        {
            if (serve_flags(r)) {
                again = true;
                break;
            }
        }
    }
    collect_done(c);
}

/* ---- life ---- */

static char *env_text(const char *name)
{
    const char *env = getenv(name);
    return wh_strdup(env && *env ? env : NULL);
}

/* A file of ours comes beside the system's; OpenSSL's own variables are in the place of it. */
static void pick_trust(struct wh_http_client *c, const struct wh_http_options *o)
{
    c->ca_file = o && o->ca_file ? wh_strdup(o->ca_file) : env_text(WH_CA_FILE_ENV);
    c->ca_more = c->ca_file != NULL;
    if (!c->ca_file)
        c->ca_file = env_text("SSL_CERT_FILE");
    c->ca_folder = env_text("SSL_CERT_DIR");
}

static struct wh_http_client *client_base(const struct wh_http_options *o)
{
    pthread_once(&curl_once, curl_start);
    struct wh_http_client *c = wh_calloc(1, sizeof *c);
    const char *off = getenv("GITHUB_ACTIONS_RUNNER_TLS_NO_VERIFY");
    c->user_agent = wh_strdup(o && o->user_agent ? o->user_agent : "wherry/" WH_VERSION);
    pick_trust(c, o);
    c->insecure = (o && o->insecure) || (off && strcmp(off, "1") == 0);
    uv_mutex_init(&c->lock);
    c->multi = curl_multi_init();
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)(o && o->max_idle ? o->max_idle : 8));
    return c;
}

void wh_http_client_max_idle(struct wh_http_client *client, unsigned connections)
{
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)connections);
}

static void client_attach(struct wh_http_client *c, uv_loop_t *loop)
{
    c->loop = loop;
    c->handles = 4;
    uv_timer_init(loop, &c->timer);
    uv_timer_init(loop, &c->stall);
    uv_idle_init(loop, &c->idle);
    uv_async_init(loop, &c->async, on_async);
    c->timer.data = c->stall.data = c->idle.data = c->async.data = c;
    uv_unref((uv_handle_t *)&c->timer);
    uv_unref((uv_handle_t *)&c->stall);
    if (!c->own_thread)
        uv_unref((uv_handle_t *)&c->async);
}

struct wh_http_client *wh_http_client_new(uv_loop_t *loop, const struct wh_http_options *options)
{
    struct wh_http_client *c = client_base(options);
    client_attach(c, loop);
    return c;
}

static void client_memory_free(struct wh_http_client *c)
{
    uv_mutex_destroy(&c->lock);
    free(c->user_agent);
    free(c->ca_file);
    free(c->ca_folder);
    free(c);
}

static void on_closed(uv_handle_t *handle)
{
    struct wh_http_client *c = handle->data;
    if (--c->handles == 0 && !c->own_thread)
        client_memory_free(c);
}

/* On the loop's thread: ends everything and closes the handles. */
static void client_shut(struct wh_http_client *c)
{
    struct wh_http *r;
    while ((r = take_starting(c))) {
        if (r->waiter)
            count_active(c, 1);
        r->state = WH_HTTP_ACTIVE;
        DL_APPEND(c->active, r);
    }
    while ((r = c->active)) {
        if (r->zombie) {
            wh_http_client_drop(r);
            wh_http_destroy(r);
            continue;
        }
        if (r->error.code == WH_OK)
            wh_fail(&r->error, WH_E_CANCELED, "%s: canceled", r->label);
        wh_http_client_finish(r, CURLE_ABORTED_BY_CALLBACK);
    }
    c->closing = true;
    curl_multi_cleanup(c->multi); /* its socket callbacks close the polls */
    c->multi = NULL;
    uv_close((uv_handle_t *)&c->timer, on_closed);
    uv_close((uv_handle_t *)&c->stall, on_closed);
    uv_close((uv_handle_t *)&c->idle, on_closed);
    uv_close((uv_handle_t *)&c->async, on_closed);
}

static void private_thread(void *data)
{
    struct wh_http_client *c = data;
    uv_run(c->loop, UV_RUN_DEFAULT);
    client_shut(c);
    uv_run(c->loop, UV_RUN_DEFAULT);
}

struct wh_http_client *wh_http_client_new_private(const struct wh_http_options *options, struct wh_error *err)
{
    struct wh_http_client *c = client_base(options);
    c->own_thread = true;
    int code = uv_loop_init(&c->own_loop);
    if (code == 0) {
        client_attach(c, &c->own_loop);
        code = uv_thread_create(&c->thread, private_thread, c);
        if (code == 0)
            return c;
        client_shut(c);
        uv_run(&c->own_loop, UV_RUN_DEFAULT);
        uv_loop_close(&c->own_loop);
    }
    client_memory_free(c);
    wh_fail(err, WH_E_FAILED, "HTTP client: cannot start its thread: %s", uv_strerror(code));
    return NULL;
}

void wh_http_client_free(struct wh_http_client *client)
{
    if (!client)
        return;
    if (!client->own_thread) {
        client_shut(client);
        return;
    }
    atomic_store(&client->stop, true);
    uv_async_send(&client->async);
    uv_thread_join(&client->thread);
    uv_loop_close(&client->own_loop);
    client_memory_free(client);
}

void wh_http_client_renew(struct wh_http_client *client)
{
    uv_update_time(client->loop);
    client->renewed_ms = uv_now(client->loop);
}

const char *wh_http_client_local_address(const struct wh_http_client *client)
{
    return client->local_address;
}

uv_loop_t *wh_http_client_loop(const struct wh_http_client *client)
{
    return client->loop;
}

int64_t wh_http_client_clock_skew(const struct wh_http_client *client)
{
    return atomic_load(&client->skew_s);
}
