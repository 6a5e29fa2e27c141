#include "github/patience.h"

#include "wherry/base/clock.h"
#include "wherry/base/err.h"

#define PATIENCE_AWAY_MS ((uint64_t)10 * 60 * 1000)
#define PATIENCE_UNHEARD_BUDGETS 3
#define PATIENCE_LOOK_MS 5000

static uint64_t limit(const struct gh_patience *p, uint64_t now)
{
    if (!p->unheard(p->data))
        return p->budget_ms;
    return now - p->heard_ms >= p->budget_ms ? PATIENCE_AWAY_MS
                                             : (uint64_t)PATIENCE_UNHEARD_BUDGETS * p->budget_ms;
}

static void look(void *data)
{
    struct gh_patience *p = data;
    uint64_t now = wh_mono_ms(), quiet = now - p->moved_ms;
    if (quiet < p->budget_ms)
        wh_later(&p->timer, p->loop, p->budget_ms - quiet, look, p);
    else if (quiet < limit(p, now))
        wh_later(&p->timer, p->loop, PATIENCE_LOOK_MS, look, p);
    else
        p->over(p->data);
}

void gh_patience_start(struct gh_patience *p, uv_loop_t *loop, unsigned budget_ms,
                       bool (*unheard)(const void *data), void (*over)(void *data), void *data)
{
    uint64_t now = wh_mono_ms();
    *p = (struct gh_patience){.loop = loop,
                              .budget_ms = budget_ms,
                              .moved_ms = now,
                              .heard_ms = now,
                              .unheard = unheard,
                              .over = over,
                              .data = data};
    wh_later(&p->timer, loop, budget_ms, look, p);
}

void gh_patience_stop(struct gh_patience *p)
{
    wh_later_cancel(&p->timer);
}

void gh_patience_moved(struct gh_patience *p)
{
    p->moved_ms = p->heard_ms = wh_mono_ms();
}

bool gh_patience_note(struct gh_patience *p, const struct wh_error *err)
{
    bool nobody = err && (err->code == WH_E_NETWORK || err->code == WH_E_TIMEOUT);
    if (!nobody)
        p->heard_ms = wh_mono_ms();
    return nobody;
}
