/* How long the end of a job waits for what is still on its way to a service. While the service takes things
 * there is no limit: a long log on a slow line is whole at last. A service that only refuses is given up
 * after the budget; requests that nobody answers get three times that, or ten minutes where nothing else is
 * answered either: then there is nobody to hand the logs to, and nobody who waits. */
#ifndef WH_GITHUB_PATIENCE_H
#define WH_GITHUB_PATIENCE_H

#include <stdbool.h>

#include "wherry/net/later.h"

struct wh_error;

struct gh_patience { /* starts zeroed */
    uv_loop_t *loop;
    unsigned budget_ms;
    uint64_t moved_ms; /* when something was taken last */
    uint64_t heard_ms; /* when any answer came last */
    bool (*unheard)(const void *data);
    void (*over)(void *data);
    void *data;
    struct wh_later *timer;
};

/* over(data) is called once, from the loop, when the patience is over; unheard(data) says whether something
 * that is not finished waits for an answer, or got none the last time. */
void gh_patience_start(struct gh_patience *p, uv_loop_t *loop, unsigned budget_ms,
                       bool (*unheard)(const void *data), void (*over)(void *data), void *data);
void gh_patience_stop(struct gh_patience *p); /* harmless before the start, and twice */

void gh_patience_moved(struct gh_patience *p); /* the service took something */
/* A try ended. NULL: an answer came. True: by err nobody answered. */
bool gh_patience_note(struct gh_patience *p, const struct wh_error *err);

#endif
