/* The way out of a network of containers: a pair of links between it and the machine, and the machine's
 * address translation. Made by the launcher, which has the right (CAP_NET_ADMIN) that a builder lacks. The
 * links end with the network's namespace; the firewall's rules are the same for all networks and stay. */
#ifndef WH_CONTAINER_UPLINK_H
#define WH_CONTAINER_UPLINK_H

#include "wherry/base/err.h"

#define WH_UPLINK_DEFAULT_SUBNET "10.209.0.0/16"
#define WH_UPLINK_INSIDE "uplink" /* the link's name in the network */
#define WH_MAX_UPLINKS 256u       /* of one machine: a /24 each */
#define WH_UPLINK_PREFIX 24u

/* "10.209.0.0/16": a private /16. address: network byte order. */
int wh_uplink_subnet(const char *text, uint32_t *address, struct wh_error *err);

/* netns: the network's namespace, borrowed. subnet: as above; NULL: WH_UPLINK_DEFAULT_SUBNET. gateway: the
 * machine's address in the network, which has WH_UPLINK_PREFIX; network byte order. Blocks for some
 * milliseconds. */
int wh_uplink_make(int netns, const char *subnet, uint32_t *gateway, struct wh_error *err);

#endif
