/* The proxy's thread and its TCP half: two ends and a buffer each way. */
#include "wherry/container/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy_internal.h"
#include "wherry/platform/netns.h"

#define BACKLOG 128
#define CHUNK 65536
#define MAX_QUEUED                                                                                           \
    ((size_t)256 << 10) /* written to one end and not gone: the other is not read meanwhile                  \
                         */

struct proxy_pair;

struct half {
    struct proxy_pair *pair;
    uv_tcp_t tcp;
    uv_shutdown_t shutdown;
    bool read_ended, closed, paused;
};

struct proxy_pair {
    struct proxy_pair *next, **at;
    struct proxy_port *port;
    struct half half[2]; /* who came; where it goes */
    uv_connect_t connect;
    bool closing;
};

enum order_kind { ORDER_NONE, ORDER_ADD, ORDER_REMOVE, ORDER_END };

struct wh_proxy {
    uv_loop_t loop;
    uv_async_t wake;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t done;
    int netns;
    bool ready;
    struct wh_error *start_error;
    int start_result;

    enum order_kind order; /* under the lock; one at a time */
    unsigned tag;
    struct proxy_port *port;
    int *result; /* its giver's; a uv error */

    struct proxy_port *ports; /* the thread's own, as the next two */
    unsigned nports, nconnections;
    bool removing; /* an order waits for ports to close */
};

uv_loop_t *proxy_loop(struct wh_proxy *p)
{
    return &p->loop;
}

static void order_done(struct wh_proxy *p, int result)
{
    pthread_mutex_lock(&p->lock);
    *p->result = result;
    p->order = ORDER_NONE;
    p->removing = false;
    pthread_cond_broadcast(&p->done);
    pthread_mutex_unlock(&p->lock);
}

static bool any_of(const struct wh_proxy *p, bool all, unsigned tag)
{
    for (const struct proxy_port *port = p->ports; port; port = port->next)
        if (all || port->tag == tag)
            return true;
    return false;
}

static void check_removed(struct wh_proxy *p)
{
    if (!p->removing || any_of(p, p->order == ORDER_END, p->tag))
        return;
    if (p->order == ORDER_END)
        uv_close((uv_handle_t *)&p->wake, NULL);
    else
        order_done(p, 0);
}

void proxy_port_release(struct proxy_port *port)
{
    struct wh_proxy *p = port->proxy;
    if (--port->open > 0)
        return;
    struct proxy_port **at = &p->ports;
    while (*at != port)
        at = &(*at)->next;
    *at = port->next;
    p->nports--;
    free(port);
    check_removed(p);
}

/* ---- TCP ---- */

static void on_half_closed(uv_handle_t *handle)
{
    struct half *h = handle->data;
    struct proxy_pair *pair = h->pair;
    struct proxy_port *port = pair->port;
    h->closed = true;
    if (pair->half[0].closed && pair->half[1].closed) {
        *pair->at = pair->next;
        if (pair->next)
            pair->next->at = pair->at;
        port->proxy->nconnections--;
        free(pair);
    }
    proxy_port_release(port);
}

static void close_pair(struct proxy_pair *pair)
{
    if (pair->closing)
        return;
    pair->closing = true;
    for (int i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&pair->half[i].tcp, on_half_closed);
}

static struct half *other(struct half *h)
{
    return h == &h->pair->half[0] ? &h->pair->half[1] : &h->pair->half[0];
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(wh_malloc(CHUNK), CHUNK);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf);

struct write {
    uv_write_t request;
    char *data; /* owned */
};

static void on_written(uv_write_t *request, int status)
{
    struct write *w = (struct write *)request;
    struct half *to = request->handle->data;
    struct half *from = other(to);
    free(w->data);
    free(w);
    if (to->pair->closing)
        return;
    if (status < 0) {
        close_pair(to->pair);
    } else if (from->paused && uv_stream_get_write_queue_size((uv_stream_t *)&to->tcp) < MAX_QUEUED / 2) {
        from->paused = false;
        if (uv_read_start((uv_stream_t *)&from->tcp, on_alloc, on_read) != 0)
            close_pair(to->pair);
    }
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct half *h = request->handle->data;
    if (!h->pair->closing && (status < 0 || (h->read_ended && other(h)->read_ended)))
        close_pair(h->pair);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    struct half *from = stream->data;
    struct half *to = other(from);
    if (got <= 0) {
        free(buf->base);
        if (got == 0)
            return;
        from->read_ended = true;
        (void)uv_read_stop(stream);
        if (got != UV_EOF || uv_shutdown(&to->shutdown, (uv_stream_t *)&to->tcp, on_shutdown) != 0)
            close_pair(from->pair);
        return;
    }
    struct write *w = wh_calloc(1, sizeof *w);
    w->data = buf->base;
    uv_buf_t out = uv_buf_init(buf->base, (unsigned)got);
    if (uv_write(&w->request, (uv_stream_t *)&to->tcp, &out, 1, on_written) != 0) {
        free(w->data);
        free(w);
        close_pair(from->pair);
        return;
    }
    if (uv_stream_get_write_queue_size((uv_stream_t *)&to->tcp) > MAX_QUEUED) {
        from->paused = true;
        (void)uv_read_stop(stream);
    }
}

static void on_connected(uv_connect_t *request, int status)
{
    struct proxy_pair *pair = request->data;
    if (pair->closing)
        return;
    for (int i = 0; i < 2 && status == 0; i++) {
        (void)uv_tcp_nodelay(&pair->half[i].tcp, 1);
        status = uv_read_start((uv_stream_t *)&pair->half[i].tcp, on_alloc, on_read);
    }
    if (status != 0)
        close_pair(pair);
}

/* One that can't be served (too many, no service) is accepted and closed: it would wait for ever otherwise.
 */
static void on_connection(uv_stream_t *listener, int status)
{
    struct proxy_port *port = listener->data;
    struct wh_proxy *p = port->proxy;
    if (status < 0 || port->closing)
        return;
    struct proxy_pair *pair = wh_calloc(1, sizeof *pair);
    pair->port = port;
    pair->connect.data = pair;
    pair->at = &port->pairs;
    pair->next = port->pairs;
    if (pair->next)
        pair->next->at = &pair->next;
    port->pairs = pair;
    for (int i = 0; i < 2; i++) {
        (void)uv_tcp_init(&p->loop, &pair->half[i].tcp);
        pair->half[i].pair = pair;
        pair->half[i].tcp.data = &pair->half[i];
    }
    port->open += 2;
    p->nconnections++;
    if (uv_accept(listener, (uv_stream_t *)&pair->half[0].tcp) != 0 ||
        p->nconnections > WH_MAX_PROXY_CONNECTIONS ||
        uv_tcp_connect(&pair->connect, &pair->half[1].tcp, (const struct sockaddr *)&port->target,
                       on_connected) != 0)
        close_pair(pair);
}

static int start_tcp(struct proxy_port *port)
{
    port->listener.tcp.data = port;
    return uv_listen((uv_stream_t *)&port->listener.tcp, BACKLOG, on_connection);
}

/* ---- ports ---- */

static void on_listener_closed(uv_handle_t *handle)
{
    proxy_port_release(handle->data);
}

static void close_port(struct proxy_port *port)
{
    if (port->closing)
        return;
    port->closing = true;
    for (struct proxy_pair *pair = port->pairs; pair; pair = pair->next)
        close_pair(pair);
    if (port->protocol == WH_PROXY_UDP)
        proxy_udp_close(port);
    port->listener.handle.data = port;
    uv_close(&port->listener.handle, on_listener_closed);
}

/* The port brought its socket as `open`, for want of a better place. */
static void take_port(struct wh_proxy *p, struct proxy_port *port)
{
    const int sock = (int)port->open;
    const bool udp = port->protocol == WH_PROXY_UDP;
    port->open = 1;
    port->next = p->ports;
    p->ports = port;
    p->nports++;
    int n = udp ? uv_udp_init(&p->loop, &port->listener.udp) : uv_tcp_init(&p->loop, &port->listener.tcp);
    port->listener.handle.data = port;
    if (n == 0 && p->nports > WH_MAX_PROXY_PORTS)
        n = UV_EMFILE;
    if (n == 0)
        n = udp ? uv_udp_open(&port->listener.udp, sock) : uv_tcp_open(&port->listener.tcp, sock);
    if (n != 0)
        (void)close(sock);
    if (n == 0)
        n = udp ? proxy_udp_start(port) : start_tcp(port);
    if (n != 0)
        close_port(port);
    order_done(p, n);
}

static void on_wake(uv_async_t *wake)
{
    struct wh_proxy *p = wake->data;
    pthread_mutex_lock(&p->lock);
    enum order_kind order = p->removing ? ORDER_NONE : p->order;
    unsigned tag = p->tag;
    struct proxy_port *added = p->port;
    p->removing = order == ORDER_REMOVE || order == ORDER_END || p->removing;
    pthread_mutex_unlock(&p->lock);
    if (order == ORDER_ADD)
        take_port(p, added);
    if (order != ORDER_REMOVE && order != ORDER_END)
        return;
    for (struct proxy_port *port = p->ports; port; port = port->next)
        if (order == ORDER_END || port->tag == tag)
            close_port(port);
    check_removed(p);
}

static void *proxy_main(void *arg)
{
    struct wh_proxy *p = arg;
    int n = p->netns < 0 ? 0 : wh_netns_enter(p->netns, p->start_error);
    pthread_mutex_lock(&p->lock);
    p->start_result = n;
    p->ready = true;
    pthread_cond_broadcast(&p->done);
    pthread_mutex_unlock(&p->lock);
    if (n == 0)
        (void)uv_run(&p->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* ---- what others call ---- */

#define WORKING 1 /* no uv error is positive */

static int give_order(struct wh_proxy *p, enum order_kind kind, unsigned tag, struct proxy_port *port)
{
    int result = WORKING;
    pthread_mutex_lock(&p->lock);
    while (p->order != ORDER_NONE)
        pthread_cond_wait(&p->done, &p->lock);
    p->order = kind;
    p->tag = tag;
    p->port = port;
    p->result = &result;
    (void)uv_async_send(&p->wake);
    while (kind != ORDER_END && result == WORKING)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return result;
}

static void destroy(struct wh_proxy *p)
{
    (void)uv_loop_close(&p->loop);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->done);
    free(p);
}

struct wh_proxy *wh_proxy_new(int netns, struct wh_error *err)
{
    struct wh_proxy *p = wh_calloc(1, sizeof *p);
    p->netns = netns;
    p->start_error = err;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->done, NULL);
    (void)uv_loop_init(&p->loop);
    (void)uv_async_init(&p->loop, &p->wake, on_wake);
    p->wake.data = p;
    bool started = pthread_create(&p->thread, NULL, proxy_main, p) == 0;
    if (!started)
        p->start_result = wh_fail(err, WH_E_LIMIT, "no thread for forwarding ports");
    pthread_mutex_lock(&p->lock);
    while (started && !p->ready)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
    p->start_error = NULL;
    if (p->start_result == 0)
        return p;
    if (started)
        (void)pthread_join(p->thread, NULL);
    uv_close((uv_handle_t *)&p->wake, NULL);
    (void)uv_run(&p->loop, UV_RUN_DEFAULT);
    destroy(p);
    return NULL;
}

void wh_proxy_free(struct wh_proxy *p)
{
    if (!p)
        return;
    (void)give_order(p, ORDER_END, 0, NULL);
    (void)pthread_join(p->thread, NULL);
    destroy(p);
}

int wh_proxy_add(struct wh_proxy *p, unsigned tag, enum wh_proxy_protocol protocol, int listener,
                 const struct sockaddr_in *target, struct wh_error *err)
{
    struct proxy_port *port = wh_calloc(1, sizeof *port);
    port->proxy = p;
    port->tag = tag;
    port->protocol = protocol;
    port->target = *target;
    port->open = (size_t)listener;
    int n = give_order(p, ORDER_ADD, tag, port);
    return n == 0 ? 0 : wh_fail(err, WH_E_FAILED, "forward a port: %s", uv_strerror(n));
}

void wh_proxy_remove(struct wh_proxy *p, unsigned tag)
{
    (void)give_order(p, ORDER_REMOVE, tag, NULL);
}

int wh_proxy_listen(enum wh_proxy_protocol protocol, const char *address, unsigned *port,
                    struct wh_error *err)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } where = {.v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)*port)}};
    bool v6 = strchr(address, ':') != NULL;
    if (!v6)
        where.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    if (inet_pton(v6 ? AF_INET6 : AF_INET, address,
                  v6 ? (void *)&where.v6.sin6_addr : (void *)&where.v4.sin_addr) != 1)
        return wh_fail(err, WH_E_ARGUMENT, "'%s' is no address to listen at", address);
    socklen_t len = v6 ? sizeof where.v6 : sizeof where.v4;
    bool tcp = protocol == WH_PROXY_TCP;
    wh_autoclose int sock = socket(where.any.sa_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
    const int on = 1;
    if (sock < 0 || (tcp && setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) ||
        (v6 && setsockopt(sock, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0) ||
        bind(sock, &where.any, len) < 0 || (tcp && listen(sock, BACKLOG) < 0))
        return wh_fail_errno(err, "listen at %s, port %u (%s)", address, *port, tcp ? "tcp" : "udp");
    if (getsockname(sock, &where.any, &len) < 0)
        return wh_fail_errno(err, "look at a port");
    *port = ntohs(v6 ? where.v6.sin6_port : where.v4.sin_port);
    return wh_steal_fd(&sock);
}
