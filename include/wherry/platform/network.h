/* Changes of the machine's network, as the kernel tells them. */
#ifndef WH_PLATFORM_NETWORK_H
#define WH_PLATFORM_NETWORK_H

#include "wherry/base/err.h"

#define WH_MAX_NETWORK_GONE 8
#define WH_NETWORK_ADDRESS_CHARS 46

struct wh_network_change {
    bool better; /* a link came up, an address or a route came: what could not be reached may be now */
    size_t ngone;
    char gone[WH_MAX_NETWORK_GONE][WH_NETWORK_ADDRESS_CHARS]; /* addresses that this machine has no more */
};

/* A non-blocking descriptor that polls readable when something changed. Owned by the caller. */
int wh_network_watch(struct wh_error *err);
/* Everything that waits, as one change. */
void wh_network_read(int fd, struct wh_network_change *out);

#endif
