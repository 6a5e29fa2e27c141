/* Private to the port proxy: what its thread and its UDP half share. */
#ifndef WH_CONTAINER_PROXY_INTERNAL_H
#define WH_CONTAINER_PROXY_INTERNAL_H

#include <uv.h>

#include "wherry/container/proxy.h"

struct wh_proxy;

/* A port; lives until all of its handles are closed. */
struct proxy_port {
    struct proxy_port *next;
    struct wh_proxy *proxy;
    unsigned tag;
    enum wh_proxy_protocol protocol;
    struct sockaddr_in target;
    union {
        uv_tcp_t tcp;
        uv_udp_t udp;
        uv_handle_t handle;
    } listener;
    struct proxy_pair *pairs;
    struct proxy_flow *flows;
    unsigned nflows;
    size_t open; /* handles that are not closed yet */
    bool closing;
};

/* On the proxy's thread. Counts a closed handle of the port off, and frees it after its last. */
void proxy_port_release(struct proxy_port *port);
uv_loop_t *proxy_loop(struct wh_proxy *p);

int proxy_udp_start(struct proxy_port *port);
void proxy_udp_close(struct proxy_port *port);

#endif
