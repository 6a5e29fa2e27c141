/* A step's process on the worker's loop: its output as lines, its end, and its cancellation by the ladder of
 * signals (job-execution.md §9). */
#ifndef WH_WORKER_CHILD_H
#define WH_WORKER_CHILD_H

#include <uv.h>

#include "wherry/base/frame.h"
#include "wherry/job/lines.h"
#include "wherry/platform/process.h"

#define WH_CANCEL_INT_MS 7500  /* SIGINT, then that long, */
#define WH_CANCEL_TERM_MS 2500 /* SIGTERM, then that long, SIGKILL */
#define WH_PIPES_GRACE_MS 5000 /* pipes that a grandchild keeps open after the child's end */

struct wh_child;

struct wh_child_events {
    wh_line_fn line; /* of stdout or stderr, as they come */
    /* A frame of a forked action; its descriptors are the callee's to take (set them to -1). */
    void (*frame)(void *data, struct wh_frame *frame);
    /* Asked between reads; true: read no more until wh_child_resume(). The process waits when its pipe is
     * full. May be NULL. */
    bool (*hold)(void *data);
    void *data;
};

/* Starts it: with run NULL by options->path and argv, else forked, with a control socket as descriptor 3. The
 * pipes for stdout and stderr are made here; the child leads a process group. Times may be 0 for the
 * defaults. */
struct wh_child_times {
    unsigned int_ms, term_ms, pipes_ms;
};
struct wh_child *wh_child_start(uv_loop_t *loop, const struct wh_process_options *options, int (*run)(void *),
                                void *run_data, const struct wh_child_events *events,
                                const struct wh_child_times *times, struct wh_error *err);
/* Reads again, where hold stopped it. */
void wh_child_resume(struct wh_child *c);
/* Starts the ladder; a second call does nothing. */
void wh_child_cancel(struct wh_child *c);
/* It ended and its pipes are closed (or given up). The loop makes it true. */
bool wh_child_finished(const struct wh_child *c);
const struct wh_process_exit *wh_child_exit(const struct wh_child *c);
/* Only when finished. Its handles close while the loop runs next. */
void wh_child_free(struct wh_child *c);

#endif
