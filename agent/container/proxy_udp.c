/* The proxy's UDP half: a client of a port gets a socket of its own towards the target, which ends when it
 * was not used for a while. */
#include "proxy_internal.h"

#define DATAGRAM 65536

struct proxy_flow {
    struct proxy_flow *next;
    struct proxy_port *port;
    struct sockaddr_storage client;
    uv_udp_t udp;
    uv_timer_t timer;
    unsigned handles;
    bool closing;
};

static void on_flow_closed(uv_handle_t *handle)
{
    struct proxy_flow *flow = handle->data;
    struct proxy_port *port = flow->port;
    if (--flow->handles == 0) {
        struct proxy_flow **at = &port->flows;
        while (*at != flow)
            at = &(*at)->next;
        *at = flow->next;
        port->nflows--;
        free(flow);
    }
    proxy_port_release(port);
}

static void close_flow(struct proxy_flow *flow)
{
    if (flow->closing)
        return;
    flow->closing = true;
    uv_close((uv_handle_t *)&flow->udp, on_flow_closed);
    uv_close((uv_handle_t *)&flow->timer, on_flow_closed);
}

static void on_idle(uv_timer_t *timer)
{
    close_flow(timer->data);
}

static void touch(struct proxy_flow *flow)
{
    (void)uv_timer_start(&flow->timer, on_idle, WH_PROXY_FLOW_IDLE_MS, 0);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static _Thread_local char datagram[DATAGRAM];
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(datagram, sizeof datagram);
}

/* A datagram that can't go at once is lost, as datagrams are. */
static void pass(uv_udp_t *out, const uv_buf_t *buf, ssize_t len, const struct sockaddr *to)
{
    uv_buf_t one = uv_buf_init(buf->base, (unsigned)len);
    (void)uv_udp_try_send(out, &one, 1, to);
}

static void on_answer(uv_udp_t *udp, ssize_t got, const uv_buf_t *buf, const struct sockaddr *from,
                      unsigned flags)
{
    struct proxy_flow *flow = udp->data;
    (void)flags;
    if (got < 0 || !from || flow->closing)
        return;
    touch(flow);
    pass(&flow->port->listener.udp, buf, got, (const struct sockaddr *)&flow->client);
}

static size_t address_len(const struct sockaddr *a)
{
    return a->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static struct proxy_flow *flow_of(struct proxy_port *port, const struct sockaddr *client)
{
    size_t len = address_len(client);
    for (struct proxy_flow *f = port->flows; f; f = f->next)
        if (!f->closing && memcmp(&f->client, client, len) == 0)
            return f;
    if (port->nflows >= WH_MAX_PROXY_FLOWS)
        return NULL;
    struct proxy_flow *flow = wh_calloc(1, sizeof *flow);
    flow->port = port;
    memcpy(&flow->client, client, len);
    (void)uv_udp_init(proxy_loop(port->proxy), &flow->udp);
    (void)uv_timer_init(proxy_loop(port->proxy), &flow->timer);
    flow->udp.data = flow->timer.data = flow;
    flow->handles = 2;
    port->open += 2;
    port->nflows++;
    flow->next = port->flows;
    port->flows = flow;
    if (uv_udp_connect(&flow->udp, (const struct sockaddr *)&port->target) != 0 ||
        uv_udp_recv_start(&flow->udp, on_alloc, on_answer) != 0) {
        close_flow(flow);
        return NULL;
    }
    return flow;
}

static void on_datagram(uv_udp_t *udp, ssize_t got, const uv_buf_t *buf, const struct sockaddr *from,
                        unsigned flags)
{
    struct proxy_port *port = udp->data;
    (void)flags;
    if (got < 0 || !from || port->closing)
        return;
    struct proxy_flow *flow = flow_of(port, from);
    if (!flow)
        return;
    touch(flow);
    pass(&flow->udp, buf, got, NULL);
}

int proxy_udp_start(struct proxy_port *port)
{
    return uv_udp_recv_start(&port->listener.udp, on_alloc, on_datagram);
}

void proxy_udp_close(struct proxy_port *port)
{
    for (struct proxy_flow *flow = port->flows; flow; flow = flow->next)
        close_flow(flow);
}
