/* The start of an ordinary user's builder, whose id maps other programs write: however slow they are, the
 * loop of whoever starts it turns on. */
#include "container/in_builder.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <uv.h>

#include "wherry/base/clock.h"

#define NOBODY 65534
#define TICK_MS 10
#define SLOW_MS 1000     /* that each helper takes here */
#define MAX_STALL_MS 700 /* much for a busy machine, and less than one of them */
#define SPEED "20"       /* of the launcher's own patience */

static char folder[] = "/var/tmp/wherry-test-XXXXXX";

/* ---- inside ---- */

static int inside_here(void)
{
    wh_autoerror err = {0};
    wh_secrets_init();
    if (wh_builder_setup(&env, &err) < 0) {
        fprintf(stderr, "builder: %s\n", wh_error_text(&err));
        return 1;
    }
    return getuid() == 0 && chown(env.run_dir, 7, 7) == 0 ? 42 : 1;
}

/* ---- outside, as an ordinary user ---- */

struct started {
    uv_loop_t loop;
    uv_timer_t tick;
    uint64_t last_ns, stall_ns;
    struct wh_build_process *process;
    int exit_code;
    bool ended;
    char failure[400];
};

static void on_end(struct wh_build_process *p, int exit_code, int signal, void *arg)
{
    struct started *s = arg;
    (void)signal;
    s->ended = true;
    s->exit_code = exit_code;
    snprintf(s->failure, sizeof s->failure, "%s", wh_build_failure(p) ? wh_build_failure(p) : "");
    uv_close((uv_handle_t *)&s->tick, NULL);
}

static void look(struct started *s)
{
    uint64_t now = uv_hrtime();
    if (s->last_ns && now - s->last_ns > s->stall_ns)
        s->stall_ns = now - s->last_ns;
    s->last_ns = now;
}

static void on_tick(uv_timer_t *tick)
{
    look(tick->data);
}

static struct started run_one(void)
{
    static struct started s;
    wh_autoerror err = {0};
    wh_autofree char *state = wh_path_join(folder, "state");
    int pair[2];
    s = (struct started){.exit_code = -2};
    (void)uv_loop_init(&s.loop);
    (void)uv_timer_init(&s.loop, &s.tick);
    s.tick.data = &s;
    (void)uv_timer_start(&s.tick, on_tick, 0, TICK_MS);
    (void)wh_frame_pair(pair, &err);
    const struct wh_build_launch_options options = {.state = state, .job_uid = WH_NO_ID};
    look(&s);
    s.process = wh_build_launch(&s.loop, &options, pair[1], on_end, &s, &err);
    look(&s);
    if (!s.process)
        snprintf(s.failure, sizeof s.failure, "%s", wh_error_text(&err));
    else
        (void)uv_run(&s.loop, UV_RUN_DEFAULT);
    (void)close(pair[0]);
    return s;
}

static bool become_nobody(void)
{
    wh_autofree char *path = wh_printf("%s:/usr/bin:/bin", folder);
    return setenv("PATH", path, 1) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0 &&
           prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
}

/* Its exit code is what the test asserts: there is no way back to root. */
static int as_nobody(int (*body)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(become_nobody() ? body() : 9);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void helper(const char *name, const char *script)
{
    wh_autofree char *path = wh_path_join(folder, name);
    wh_autofree char *text = wh_printf("#!/bin/sh\n%s\n", script);
    (void)unlink(path);
    put(AT_FDCWD, path, text, 0755);
}

static void slow_helpers(void)
{
    helper("newgidmap", "sleep 1; exec /usr/bin/newgidmap \"$@\"");
    helper("newuidmap", "sleep 1; exec /usr/bin/newuidmap \"$@\"");
}

static int slow(void)
{
    uint64_t began = uv_hrtime();
    struct started s = run_one();
    uint64_t took_ms = (uv_hrtime() - began) / 1000000;
    fprintf(stderr, "slow helpers: the longest stall was %.1f ms of %.0f ms%s%s\n", (double)s.stall_ns / 1e6,
            (double)took_ms, *s.failure ? ": " : "", s.failure);
    return s.ended && s.exit_code == 42 && took_ms >= 2 * (uint64_t)SLOW_MS &&
                   s.stall_ns < MAX_STALL_MS * 1000000ULL
               ? 42
               : 1;
}

static void test_slow_helpers(void **state)
{
    (void)state;
    slow_helpers();
    assert_int_equal(as_nobody(slow), 42);
}

static int says(const char *expected)
{
    struct started s = run_one();
    if (s.ended && s.exit_code == -1 && strstr(s.failure, expected))
        return 42;
    fprintf(stderr, "exit code %d: %s\n", s.exit_code, s.failure);
    return 1;
}

static int hanging(void)
{
    return setenv("WHERRY_TEST_CLOCK", SPEED, 1) == 0 ? says("newuidmap did not end within 30 s") : 1;
}

static void test_helper_that_hangs(void **state)
{
    (void)state;
    helper("newgidmap", "exec /usr/bin/newgidmap \"$@\"");
    helper("newuidmap", "echo $$ > \"${0%/*}/pid\"; exec sleep 1000");
    wh_autofree char *path = wh_path_join(folder, "pid");
    put(AT_FDCWD, path, "", 0666);
    assert_int_equal(as_nobody(hanging), 42);
    wh_autostr pid = {0};
    assert_true(wh_read_file(AT_FDCWD, path, 100, &pid, NULL) >= 0);
    assert_true(atoi(wh_str_text(&pid)) > 1);
    assert_int_equal(kill(atoi(wh_str_text(&pid)), 0), -1); /* it was ended, and nobody keeps it */
}

static int refusing(void)
{
    return says("newgidmap could not write the map");
}

static void test_helper_that_refuses(void **state)
{
    (void)state;
    helper("newgidmap", "exit 1");
    assert_int_equal(as_nobody(refusing), 42);
}

static int missing(void)
{
    return setenv("PATH", "/nowhere", 1) == 0 ? says("package uidmap") : 1;
}

static void test_helper_that_is_not_there(void **state)
{
    (void)state;
    assert_int_equal(as_nobody(missing), 42);
}

static bool private_ranges(void)
{
    wh_autofree char *file = wh_path_join(folder, "ranges");
    put(AT_FDCWD, file, "65534:100000:65536\nnobody:100000:65536\n", 0644);
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount(file, "/etc/subuid", NULL, MS_BIND, NULL) == 0 &&
           mount(file, "/etc/subgid", NULL, MS_BIND, NULL) == 0;
}

int main(int argc, char **argv)
{
    if (is_inside(argc, argv))
        return inside_here();
    if (geteuid() != 0 || access("/usr/bin/newuidmap", X_OK) < 0 || !mkdtemp(folder) ||
        chmod(folder, 0755) < 0 || !private_ranges()) {
        fprintf(stderr, "skipped: needs root and newuidmap: %s\n", strerror(errno));
        return SKIPPED;
    }
    wh_autofree char *state = wh_path_join(folder, "state");
    must(mkdir(state, 0700), state);
    must(chown(state, NOBODY, NOBODY), state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_helpers),
        cmocka_unit_test(test_helper_that_hangs),
        cmocka_unit_test(test_helper_that_refuses),
        cmocka_unit_test(test_helper_that_is_not_there),
    };
    int failed = cmocka_run_group_tests_name("launch_user", tests, NULL, NULL);
    (void)wh_remove_tree(AT_FDCWD, folder, NULL);
    return failed;
}
