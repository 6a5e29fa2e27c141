/* What happens when a job writes more log than its upload takes away and the disk may hold
 * (docs/protocol.md, "The spool"): the step's pipes are not read, so it waits, but for no more than its
 * bound in sum; then its lines are left out of the log, which says so, until there is room again. */
#include "wherry/base/clock.h"
#include "wherry/base/log.h"
#include "worker/job.h"

void wh_room_start(struct wh_job *j)
{
    int64_t seconds = wh_json_int(j->options, "logWaitSeconds", WH_LOG_WAIT_MS / 1000);
    j->room.bound_ms = (uint64_t)WH_MIN(WH_MAX(seconds, 0), WH_MAX_LOG_WAIT_SECONDS) * 1000;
}

/* A step begins with its whole bound. */
void wh_room_step(struct wh_job *j)
{
    j->room.waited_ms = 0;
}

static bool full(struct wh_job *j)
{
    return j->sink && j->sink->ops->full && j->sink->ops->full(j->sink);
}

static void resume(struct wh_job *j)
{
    if (j->child)
        wh_child_resume(j->child);
    wh_background_resume(j);
}

static void on_bound(void *data)
{
    struct wh_job *j = data;
    resume(j); /* they ask again, and hear no */
}

static void end_wait(struct wh_job *j)
{
    struct wh_room *room = &j->room;
    room->waited_ms += wh_mono_ms() - room->since_ms;
    room->since_ms = 0;
    wh_later_cancel(&room->later);
}

static void start_leaving_out(struct wh_job *j)
{
    j->room.leaving_out = true;
    wh_say_warning(
        j, "This job's log is not uploaded as fast as it is written, and what waits on the runner has "
           "reached its limit. Lines are left out from here on until there is room again.");
}

static void end_leaving_out(struct wh_job *j)
{
    struct wh_room *room = &j->room;
    room->leaving_out = false;
    if (room->lines == 0)
        return;
    wh_say_warning(
        j,
        "%llu lines (%llu bytes) are missing here: they did not fit into the runner's limit for logs "
        "that wait for their upload.",
        (unsigned long long)room->lines, (unsigned long long)room->bytes);
    room->lines = room->bytes = 0;
}

bool wh_room_hold(void *job)
{
    struct wh_job *j = job;
    struct wh_room *room = &j->room;
    bool none = full(j);
    if (!none) {
        if (room->since_ms)
            end_wait(j);
        if (room->leaving_out)
            end_leaving_out(j);
        return false;
    }
    if (room->leaving_out)
        return false;
    uint64_t now = wh_mono_ms();
    uint64_t waited = room->waited_ms + (room->since_ms ? now - room->since_ms : 0);
    if (waited >= room->bound_ms || j->cancel != WH_CANCEL_NONE) {
        if (room->since_ms)
            end_wait(j);
        start_leaving_out(j);
        return false;
    }
    if (!room->since_ms) {
        room->since_ms = now ? now : 1;
        wh_log_info("the log of this job waits for its upload: its step waits too");
        wh_later(&room->later, &j->loop, room->bound_ms - waited, on_bound, j);
    }
    return true;
}

void wh_room_turn(struct wh_job *j)
{
    struct wh_room *room = &j->room;
    if (!room->since_ms && !room->leaving_out)
        return;
    if (!wh_room_hold(j))
        resume(j);
}

/* The step is over: what is missing is told in its own log. */
void wh_room_step_end(struct wh_job *j)
{
    if (j->room.since_ms)
        end_wait(j);
    if (j->room.leaving_out)
        end_leaving_out(j);
}

bool wh_room_leaves_out(struct wh_job *j, size_t len)
{
    if (!j->room.leaving_out)
        return false;
    j->room.lines++;
    j->room.bytes += len + 1;
    return true;
}
