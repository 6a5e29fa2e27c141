/* What a builder asks its launcher for while it runs: things that take the machine's rights. A frame on the
 * launch socket, with the descriptor that the answer goes to as its last: the socket itself stays silent
 * towards the builder, for which anything readable there is its launcher's end.
 *
 *     {"type":"uplink"}  descriptors: the network's namespace, answer
 *         -> {"ok":true,"gateway":"10.209.0.1"} or {"ok":false,"error":...}
 *     {"type":"listen","protocol":"tcp","address":"0.0.0.0","port":80}  descriptors: answer
 *         -> {"ok":true,"port":80} with the socket */
#ifndef WH_BUILD_LAUNCH_REQUESTS_H
#define WH_BUILD_LAUNCH_REQUESTS_H

#include <uv.h>

#include "wherry/base/json.h"

#define WH_MAX_LAUNCH_REQUEST ((size_t)4096)
#define WH_MAX_LAUNCH_REQUESTS 16u /* at once */

struct launch_requests;
/* launch: borrowed; greeted: the builder's first byte was taken. WHERRY_CONTAINERS_NETWORK and
 * WHERRY_CONTAINERS_SUBNET of the environment say what networks may be (settings: containers). */
struct launch_requests *launch_requests_start(uv_loop_t *loop, int launch, bool greeted,
                                              struct wh_error *err);
/* Ends it; done(arg) comes on the loop when nothing of it is left. NULL: at once. */
void launch_requests_stop(struct launch_requests *r, void (*done)(void *arg), void *arg);

#endif
