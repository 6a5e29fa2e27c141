/* The test builds' clock: scaled, and wrong on purpose (include/wherry/base/clock.h). */
#ifndef WH_BASE_TEST_CLOCK_H
#define WH_BASE_TEST_CLOCK_H

#include <stdint.h>

#ifdef WH_TEST_CLOCK
int64_t test_clock_wall(int64_t ns);
uint64_t test_clock_mono(uint64_t ns);
uint64_t test_clock_wait(uint64_t ms);
#else
static inline int64_t test_clock_wall(int64_t ns)
{
    return ns;
}

static inline uint64_t test_clock_mono(uint64_t ns)
{
    return ns;
}

static inline uint64_t test_clock_wait(uint64_t ms)
{
    return ms;
}
#endif

#endif
