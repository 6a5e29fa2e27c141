/* Groups of a build on this machine, whatever it has: v1, v2, or both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wherry/platform/cgroup.h"

static void create(struct wh_build_cgroup *g)
{
    const struct wh_build_cgroup_limits limits = {.pids_max = 5};
    wh_autoerror err = {0};
    if (wh_build_cgroup_create(&limits, 0, 0, g, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
}

/* The parent of whichever group bounds processes here. */
static int parent_of(const struct wh_build_cgroup *g)
{
    return g->parents[0] >= 0 ? g->parents[0] : g->parents[1];
}

static void test_life(void **state)
{
    (void)state;
    struct wh_build_cgroup g;
    wh_autoerror err = {0};
    create(&g);
    assert_true(g.v2 >= 0 || g.v1_pids >= 0);
    int parent = dup(parent_of(&g));
    wh_autofree char *name = wh_strdup(g.name);
    pid_t pid = fork();
    if (pid == 0) {
        (void)pause();
        _exit(0);
    }
    if (wh_build_cgroup_enter(&g, pid, true, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    assert_int_equal(faccessat(parent, name, F_OK, 0), 0);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    wh_build_cgroup_destroy(&g);
    assert_int_equal(faccessat(parent, name, F_OK, 0), -1);
    (void)close(parent);
}

/* What a launcher that died left behind goes with the next start; a living one's stays. */
static void test_sweep(void **state)
{
    (void)state;
    struct wh_build_cgroup first;
    struct wh_build_cgroup second;
    pid_t dead = fork();
    if (dead == 0)
        _exit(0);
    (void)waitpid(dead, NULL, 0);
    create(&first);
    wh_autofree char *left = wh_printf("wherry-build-%d-0", (int)dead);
    wh_autofree char *leaf = wh_printf("%s/run-3", left);
    assert_int_equal(mkdirat(parent_of(&first), left, 0755), 0);
    if (first.v2 >= 0)
        assert_int_equal(mkdirat(parent_of(&first), leaf, 0755), 0);
    create(&second);
    assert_int_equal(faccessat(parent_of(&first), left, F_OK, 0), -1);
    assert_int_equal(faccessat(parent_of(&first), first.name, F_OK, 0), 0);
    wh_build_cgroup_destroy(&second);
    wh_build_cgroup_destroy(&first);
}

int main(void)
{
    if (geteuid() != 0) {
        fputs("skipped: needs root\n", stderr);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_life), cmocka_unit_test(test_sweep)};
    return cmocka_run_group_tests_name("cgroup", tests, NULL, NULL);
}
