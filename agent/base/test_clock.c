/* WHERRY_TEST_CLOCK; nothing of it is in a release build. */
#include "base/test_clock.h"

#ifdef WH_TEST_CLOCK

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "wherry/base/mem.h"
#include "wherry/base/str.h"

#define VARIABLE "WHERRY_TEST_CLOCK"
#define WH_MAX_SCALE 1000

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int64_t scale = 1;
static int64_t wall_anchor, mono_anchor;
static _Atomic int64_t *offset; /* in the file, shared with the test */

/* A clock that a test asked for and did not get would only make it fail in ways that nobody understands. */
static void refuse(const char *why)
{
    fprintf(stderr, "wherry: " VARIABLE ": %s; expected SCALE[@ANCHOR][,FILE]\n", why);
    exit(2);
}

static int64_t clock_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void map_offset(const char *path)
{
    wh_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        refuse("the file cannot be opened");
    void *map = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        refuse("the file cannot be mapped");
    offset = map;
}

/* "1790000000.25" */
static int64_t parse_anchor(const char *text)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end || seconds < 0 || seconds > 1e10)
        refuse("the anchor is not a time");
    return (int64_t)(seconds * 1e6) * 1000;
}

static void start(void)
{
    const char *env = getenv(VARIABLE);
    wall_anchor = clock_ns(CLOCK_REALTIME);
    mono_anchor = clock_ns(CLOCK_MONOTONIC);
    if (!env)
        return;
    wh_autofree char *text = wh_strdup(env);
    char *file = strchr(text, ',');
    if (file)
        *file++ = '\0';
    char *anchor = strchr(text, '@');
    if (anchor)
        *anchor++ = '\0';
    uint64_t value;
    if (!wh_parse_u64(text, WH_MAX_SCALE, &value) || value == 0)
        refuse("the scale is not a number from 1 to 1000");
    scale = (int64_t)value;
    if (anchor) {
        /* The monotonic clock's anchor is the same moment. */
        int64_t at = parse_anchor(anchor);
        mono_anchor -= wall_anchor - at;
        wall_anchor = at;
    }
    if (file)
        map_offset(file);
}

int64_t test_clock_wall(int64_t ns)
{
    pthread_once(&once, start);
    int64_t wrong = offset ? atomic_load_explicit(offset, memory_order_relaxed) : 0;
    return wall_anchor + (ns - wall_anchor) * scale + wrong;
}

uint64_t test_clock_mono(uint64_t ns)
{
    pthread_once(&once, start);
    return (uint64_t)(mono_anchor + ((int64_t)ns - mono_anchor) * scale);
}

uint64_t test_clock_wait(uint64_t ms)
{
    pthread_once(&once, start);
    uint64_t real = ms / (uint64_t)scale;
    return real || !ms ? real : 1;
}

#endif
