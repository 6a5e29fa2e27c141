#include "wherry/container/network.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "wherry/container/uplink.h"
#include "wherry/platform/netns.h"

#define BRIDGE "bridge"
#define INSIDE "eth0"

uint32_t wh_network_address(uint32_t gateway, unsigned host)
{
    return htonl((ntohl(gateway) & ~UINT32_C(0xff)) | host);
}

static int make_bridge(void *data, struct wh_error *err)
{
    (void)data;
    return wh_link_add_bridge(BRIDGE, err) < 0 ? -1 : wh_link_up(BRIDGE, err);
}

int wh_network_new(struct wh_error *err)
{
    wh_autoclose int netns = wh_netns_new(err);
    if (netns < 0 || wh_netns_run(netns, make_bridge, NULL, err) < 0)
        return -1;
    return wh_steal_fd(&netns);
}

static int open_bridge(void *data, struct wh_error *err)
{
    const uint32_t *gateway = data;
    if (wh_link_set_master(WH_UPLINK_INSIDE, BRIDGE, err) < 0 || wh_link_up(WH_UPLINK_INSIDE, err) < 0)
        return -1;
    return wh_link_add_address(BRIDGE, wh_network_address(*gateway, WH_NETWORK_FIRST_HOST - 1),
                               WH_UPLINK_PREFIX, err);
}

int wh_network_open(int network, uint32_t gateway, struct wh_error *err)
{
    return wh_netns_run(network, open_bridge, &gateway, err);
}

struct joining {
    int netns;
    uint32_t gateway;
    unsigned host;
};

static int add_link(void *data, struct wh_error *err)
{
    const struct joining *j = data;
    char name[WH_MAX_LINK_NAME + 1];
    (void)snprintf(name, sizeof name, "host%u", j->host);
    if (wh_link_add_veth(name, INSIDE, j->netns, err) < 0)
        return -1;
    return wh_link_set_master(name, BRIDGE, err) < 0 ? -1 : wh_link_up(name, err);
}

static int open_link(void *data, struct wh_error *err)
{
    const struct joining *j = data;
    uint32_t address = wh_network_address(j->gateway, j->host);
    if (wh_link_add_address(INSIDE, address, WH_UPLINK_PREFIX, err) < 0 || wh_link_up(INSIDE, err) < 0)
        return -1;
    return wh_link_add_default_route(j->gateway, err);
}

int wh_network_join(int network, uint32_t gateway, unsigned host, struct wh_error *err)
{
    wh_autoclose int netns = wh_netns_new(err);
    struct joining j = {netns, gateway, host};
    if (netns < 0 || wh_netns_run(network, add_link, &j, err) < 0 ||
        wh_netns_run(netns, open_link, &j, err) < 0)
        return -1;
    return wh_steal_fd(&netns);
}
