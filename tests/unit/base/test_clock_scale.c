/* The test builds' clock: scaled time, a wrong wall clock that jumps, waits that shrink with it. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "wherry/base/clock.h"

#define SECOND ((int64_t)1000000000)

static int64_t machine_wall(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

/* The variable is read once a process: each case runs in a child. Returns its exit code. */
static int in_child(const char *value, int (*fn)(void *), void *arg)
{
    pid_t child = fork();
    if (child == 0) {
        setenv("WHERRY_TEST_CLOCK", value, 1);
        freopen("/dev/null", "w", stderr);
        _exit(fn(arg));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int scaled(void *arg)
{
    (void)arg;
    uint64_t before = wh_mono_ms(), machine = wh_machine_ms();
    int64_t wall = wh_now_ns();
    wh_sleep_ms(2000);
    uint64_t took = wh_mono_ms() - before;
    int64_t wall_took = (wh_now_ns() - wall) / 1000000;
    bool fast = wh_machine_ms() - machine < 1500;
    bool waits = wh_machine_time(3000) == 30 && wh_machine_time(5) == 1 && wh_machine_time(0) == 0;
    return took >= 1900 && wall_took >= 1900 && fast && waits ? 0 : 1;
}

static int anchored(void *arg)
{
    int64_t anchor = *(int64_t *)arg, expected = anchor + (machine_wall() - anchor) * 100;
    int64_t off = wh_now_ns() - expected;
    return off >= 0 && off < 100 * SECOND ? 0 : 1;
}

static int jumping(void *arg)
{
    int64_t before = wh_now_ns(), by = 3600 * SECOND;
    int fd = open(arg, O_WRONLY);
    if (pwrite(fd, &by, sizeof by, 0) != sizeof by)
        return 2;
    close(fd);
    int64_t jumped = wh_now_ns() - before;
    return jumped >= by && jumped < by + 60 * SECOND ? 0 : 1;
}

static int asks(void *arg)
{
    (void)arg;
    (void)wh_now_ns();
    return 0;
}

static void test_scale(void **state)
{
    (void)state;
    assert_int_equal(in_child("100", scaled, NULL), 0);
}

static void test_anchor(void **state)
{
    (void)state;
    int64_t anchor = (machine_wall() / SECOND - 10) * SECOND;
    char value[64];
    snprintf(value, sizeof value, "100@%lld", (long long)(anchor / SECOND));
    assert_int_equal(in_child(value, anchored, &anchor), 0);
}

static void test_jump(void **state)
{
    (void)state;
    char path[] = "/tmp/wherry-clock-XXXXXX", value[80];
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, &(int64_t){0}, 8) == 8);
    close(fd);
    snprintf(value, sizeof value, "1,%s", path);
    assert_int_equal(in_child(value, jumping, path), 0);
    unlink(path);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "0", "1001", "x", "2@", "2@yesterday", "2,/nonexistent/file"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(in_child(bad[i], asks, NULL), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_anchor),
        cmocka_unit_test(test_jump),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
