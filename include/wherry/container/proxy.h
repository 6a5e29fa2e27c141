/* Forwarding of ports between network namespaces: sockets that listen in one, connections made in another, by
 * a loop on a thread of its own. It needs no right on the machine and nothing of its firewall. */
#ifndef WH_CONTAINER_PROXY_H
#define WH_CONTAINER_PROXY_H

#include <netinet/in.h>

#include "wherry/base/err.h"

#define WH_MAX_PROXY_PORTS 1024u /* of one proxy */
#define WH_MAX_PROXY_CONNECTIONS 4096u
#define WH_MAX_PROXY_FLOWS 1024u /* clients of one UDP port */
#define WH_PROXY_FLOW_IDLE_MS 90000u

enum wh_proxy_protocol { WH_PROXY_TCP, WH_PROXY_UDP };

struct wh_proxy;
/* netns: where its connections are made (borrowed, for the call only); -1: where the caller is. */
struct wh_proxy *wh_proxy_new(int netns, struct wh_error *err);
/* Ends all of it. NULL is fine. */
void wh_proxy_free(struct wh_proxy *p);
/* From now on what comes to listener (taken over, closed also on error) goes to target. tag: whose it is. */
int wh_proxy_add(struct wh_proxy *p, unsigned tag, enum wh_proxy_protocol protocol, int listener,
                 const struct sockaddr_in *target, struct wh_error *err);
/* Closes the ports of a tag and what goes through them; they are free again when it returns. */
void wh_proxy_remove(struct wh_proxy *p, unsigned tag);

/* A bound (TCP: listening) socket in the calling thread's namespace. address: IPv4 or IPv6 text; port 0: any
 * that is free. *port: which it is. */
int wh_proxy_listen(enum wh_proxy_protocol protocol, const char *address, unsigned *port,
                    struct wh_error *err);

#endif
