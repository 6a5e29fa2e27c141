/* Time: one place to read clocks, and the service's formats (runner-protocol.md §0.1). */
#ifndef WH_BASE_CLOCK_H
#define WH_BASE_CLOCK_H

#include "wherry/base/str.h"

int64_t wh_now_ns(void);   /* wall clock, ns since 1970 */
uint64_t wh_mono_ns(void); /* monotonic ns */
uint64_t wh_mono_ms(void);
/* Blocks for that long. */
void wh_sleep_ms(uint64_t ms);

/* In test builds (WH_TEST_CLOCK: all but release) time can be made to run faster for tests of long waits:
 * WHERRY_TEST_CLOCK=SCALE[@ANCHOR][,FILE]. SCALE (1 to 1000) is how many seconds pass in one of the
 * machine's; ANCHOR (seconds since 1970, a fraction allowed; default: when the process first asks) is the
 * moment at which both clocks agree, so that processes that are given the same one have the same time; FILE
 * holds nanoseconds (int64_t, the machine's byte order) that are added to the wall clock and may change at
 * any time: a clock that is wrong, or jumps. Whatever waits converts by wh_machine_time(); what waits for the
 * kernel or a local process' start, and never for GitHub or a person, reads wh_machine_ms(). Elsewhere both
 * are the plain clock.
 */
uint64_t wh_machine_ms(void);          /* monotonic ms of the machine itself */
uint64_t wh_machine_time(uint64_t ms); /* how long the machine's clock takes for these; at least 1 for 1 */
/* digits: 0, 3, 7 or 9 fraction digits. "2026-11-24T13:05:09.1234567Z". buf holds at least 40 bytes; returns
 * buf. */
char *wh_time_iso(int64_t ns, int digits, char *buf);
/* ISO-8601 with Z, an offset or none (UTC), up to 9 fraction digits. */
bool wh_time_parse_iso(const char *text, int64_t *ns);
/* The Date header's format. */
bool wh_time_parse_http(const char *text, int64_t *ns);
/* "1.2s", "340ms", "2m03s". buf holds at least 32 bytes. */
char *wh_duration_text(uint64_t ns, char *buf);
/* A random number in [min, max], for jitter. */
uint64_t wh_jitter(uint64_t min, uint64_t max);

#endif
