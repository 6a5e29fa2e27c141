/* Networks of containers: a bridge in a namespace of its own, and a pair of links for each container. All of
 * it belongs to the builder's user namespace; only the way out (container/uplink.h) is the machine's. */
#ifndef WH_CONTAINER_NETWORK_H
#define WH_CONTAINER_NETWORK_H

#include "wherry/base/err.h"

#define WH_NETWORK_FIRST_HOST 3u /* 1: the gateway, 2: the bridge */
#define WH_NETWORK_LAST_HOST 254u

/* A namespace with a bridge in it; owned by the caller. */
int wh_network_new(struct wh_error *err);
/* When its uplink is there: joins it, and gives the bridge its address. gateway: as wh_uplink_make() has it.
 */
int wh_network_open(int network, uint32_t gateway, struct wh_error *err);
/* A container's namespace (owned by the caller) with `eth0`, the address and the route out. host: its number
 * in the network, WH_NETWORK_FIRST_HOST to WH_NETWORK_LAST_HOST, which nobody else has. */
int wh_network_join(int network, uint32_t gateway, unsigned host, struct wh_error *err);
/* The address of that number; network byte order. */
uint32_t wh_network_address(uint32_t gateway, unsigned host);

#endif
