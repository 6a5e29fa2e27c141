/* Network namespaces and what is in them: bridges, veth pairs, addresses, routes (rtnetlink). The wh_link_
 * functions act in the network namespace of the calling thread. */
#ifndef WH_PLATFORM_NETNS_H
#define WH_PLATFORM_NETNS_H

#include "wherry/base/err.h"

#define WH_MAX_LINK_NAME 15 /* bytes, as the kernel has it */

/* A new one, empty but for a `lo` that is up. It lives as long as the descriptor (owned by the caller) or
 * something in it. Needs CAP_SYS_ADMIN in the caller's user namespace, which owns it then. */
int wh_netns_new(struct wh_error *err);
/* Runs fn(data, err) in the namespace, on a thread of its own, and waits for it. Returns what fn did. Sockets
 * that it makes stay in that namespace. */
int wh_netns_run(int netns, int (*fn)(void *data, struct wh_error *err), void *data, struct wh_error *err);
/* The calling thread moves there for good. */
int wh_netns_enter(int netns, struct wh_error *err);

int wh_link_up(const char *name, struct wh_error *err);
int wh_link_add_bridge(const char *name, struct wh_error *err);
/* A pair: `name` here, `peer` in the namespace peer_netns. An existing name is WH_E_EXISTS. */
int wh_link_add_veth(const char *name, const char *peer, int peer_netns, struct wh_error *err);
int wh_link_set_master(const char *name, const char *master, struct wh_error *err);
/* address: IPv4 in network byte order. */
int wh_link_add_address(const char *name, uint32_t address, unsigned prefix, struct wh_error *err);
int wh_link_add_default_route(uint32_t gateway, struct wh_error *err);

#endif
