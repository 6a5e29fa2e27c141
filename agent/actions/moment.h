/* Dates as moment.js writes them (actions.md §6: `date 'YYYYMMDD' tz='Asia/Tokyo'`), English words. */
#ifndef WH_ACTIONS_MOMENT_H
#define WH_ACTIONS_MOMENT_H

#include "wherry/base/str.h"

/* when: milliseconds since 1970, UTC. zone: a name of the tz database; one that this machine does not know
 * gives the machine's own zone and sets *unknown. Changes and restores TZ: for processes of one thread.
 * Owned. */
char *wh_moment_format(int64_t when, const char *zone, const char *format, bool *unknown);
/* "2026-11-24T19:20:00.123Z". Owned. */
char *wh_moment_iso(int64_t when);
/* RFC 3339 with any offset, to milliseconds. */
bool wh_moment_parse(const char *text, int64_t *when);

#endif
