/* How many jobs run at once on this box. A runner that finds no place polls as Busy, so that the service
 * gives jobs to others; what is announced all the same (several at once, for the last place) waits in line.
 */
#include <stdlib.h>
#include <utlist.h>

#include "daemon/daemon.h"
#include "wherry/base/clock.h"

/* Between two runners that change their status: a hundred at once would be a storm, and the one that has gone
 * without a job for longest is to come first. */
#define STAGGER_MS 20

bool places_full(const struct daemon *d)
{
    return d->places.limit && d->places.taken >= d->places.limit;
}

static int longest_without_job(const void *a, const void *b)
{
    const struct runner *x = *(struct runner *const *)a, *y = *(struct runner *const *)b;
    if (x->served_ms != y->served_ms)
        return x->served_ms < y->served_ms ? -1 : 1;
    return x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* Full or free again: the idle runners say so by their next poll. */
static void tell_idle(struct daemon *d)
{
    struct runner **idle = wh_calloc(d->nrunners + 1, sizeof(struct runner *));
    size_t n = 0;
    for (size_t i = 0; i < d->nrunners; i++)
        if (!d->runners[i]->job)
            idle[n++] = d->runners[i];
    qsort(idle, n, sizeof(struct runner *), longest_without_job);
    for (size_t i = 0; i < n; i++)
        runner_status_changed(idle[i], i * STAGGER_MS);
    free(idle);
    daemon_changed(d);
}

bool places_take(struct jobrun *j)
{
    struct daemon *d = j->r->d;
    if (places_full(d) || d->places.waiting) {
        j->waiting = true;
        DL_APPEND(d->places.waiting, j);
        return false;
    }
    j->has_place = true;
    d->places.taken++;
    if (places_full(d))
        tell_idle(d);
    return true;
}

void places_leave(struct jobrun *j)
{
    struct daemon *d = j->r->d;
    if (j->waiting) {
        DL_DELETE(d->places.waiting, j);
        j->waiting = false;
    }
    if (!j->has_place)
        return;
    j->has_place = false;
    struct jobrun *next = d->places.waiting;
    if (next && d->places.taken <= d->places.limit) { /* it gets the place: the box stays as full as it was */
        DL_DELETE(d->places.waiting, next);
        next->waiting = false;
        next->has_place = true;
        jobrun_begin(next);
        return;
    }
    bool full = places_full(d);
    d->places.taken--;
    if (full && !places_full(d))
        tell_idle(d);
}

void places_force(struct jobrun *j)
{
    bool full = places_full(j->r->d);
    j->has_place = true;
    j->r->d->places.taken++;
    if (!full && places_full(j->r->d))
        tell_idle(j->r->d);
}
