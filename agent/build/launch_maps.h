/* Private to the start of a builder: the id maps of an ordinary user's builder, written without waiting. */
#ifndef WH_BUILD_LAUNCH_MAPS_H
#define WH_BUILD_LAUNCH_MAPS_H

#include <uv.h>

#include "wherry/platform/userns.h"

struct wh_launch_maps;
/* err is NULL if both maps are written. *slot is NULL again by then. */
typedef void (*wh_launch_maps_fn)(void *data, struct wh_error *err);

/* newuidmap takes only a process whose /proc entry is the user's: waits until the builder says by a byte on
 * the socket `launch` that it is, then runs newgidmap and newuidmap, all on the loop and within
 * WH_LAUNCH_MAPS_MS in sum. launch is borrowed until done or stop. */
void wh_launch_maps_start(struct wh_launch_maps **slot, uv_loop_t *loop, pid_t builder, int launch,
                          const struct wh_userns_map *map, wh_launch_maps_fn done, void *data);
/* Without a callback; a helper that runs is killed. Harmless on NULL. */
void wh_launch_maps_stop(struct wh_launch_maps **slot);

#define WH_LAUNCH_MAPS_MS 30000

#endif
