/* A step's process on the loop: lines, end, the ladder of signals, pipes that outlive it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "wherry/base/clock.h"
#include "worker/child.h"

struct fixture {
    uv_loop_t loop;
    struct wh_str lines; /* each ended by '|' */
    char frame_type[32];
    size_t frame_fds;
};

static void on_line(void *data, const char *text, size_t len)
{
    struct fixture *f = data;
    wh_str_addn(&f->lines, text, len);
    wh_str_addc(&f->lines, '|');
}

static void on_frame(void *data, struct wh_frame *frame)
{
    struct fixture *f = data;
    const char *type = wh_json_string(frame->json, "type");
    snprintf(f->frame_type, sizeof f->frame_type, "%s", type ? type : "");
    f->frame_fds = frame->nfds;
}

static int set_up(void **state)
{
    struct fixture *f = wh_calloc(1, sizeof *f);
    uv_loop_init(&f->loop);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    uv_run(&f->loop, UV_RUN_DEFAULT);
    int open = uv_loop_close(&f->loop);
    wh_str_free(&f->lines);
    free(f);
    return open; /* a handle that was forgotten fails the test */
}

static struct wh_child *start(struct fixture *f, const char *script, const struct wh_child_times *times)
{
    char *argv[] = {"bash", "-c", (char *)script, NULL};
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.path = "/bin/bash";
    o.argv = argv;
    struct wh_child_events events = {.line = on_line, .frame = on_frame, .data = f};
    wh_autoerror err = {0};
    struct wh_child *c = wh_child_start(&f->loop, &o, NULL, NULL, &events, times, &err);
    if (!c)
        fail_msg("%s", wh_error_text(&err));
    return c;
}

static struct wh_process_exit finish(struct fixture *f, struct wh_child *c)
{
    while (!wh_child_finished(c))
        uv_run(&f->loop, UV_RUN_ONCE);
    struct wh_process_exit ended = *wh_child_exit(c);
    wh_child_free(c);
    return ended;
}

static void test_lines_and_code(void **state)
{
    struct fixture *f = *state;
    struct wh_child *c = start(f, "printf 'one\\ntwo\\rthree\\r\\nlast'; exit 6", NULL);
    assert_int_equal(finish(f, c).code, 6);
    assert_string_equal(wh_str_text(&f->lines), "one|two|three|last|");
}

static void test_flood(void **state)
{
    struct fixture *f = *state;
    struct wh_child *c = start(f, "yes 0123456789 | head -n 200000; echo end >&2", NULL);
    assert_int_equal(finish(f, c).code, 0);
    assert_int_equal(f->lines.len, 200000 * 11 + 4);
}

static void test_signal_is_a_code(void **state)
{
    struct fixture *f = *state;
    struct wh_process_exit ended = finish(f, start(f, "kill -SEGV $$", NULL));
    assert_int_equal(ended.code, 139);
}

static void wait_for_line(struct fixture *f)
{
    while (f->lines.len == 0)
        uv_run(&f->loop, UV_RUN_ONCE);
}

static void test_interrupt_is_enough(void **state)
{
    struct fixture *f = *state;
    struct wh_child *c =
        start(f, "trap 'echo got INT; exit 3' INT; echo up; while :; do sleep 0.01; done", NULL);
    wait_for_line(f);
    wh_child_cancel(c);
    wh_child_cancel(c);
    assert_int_equal(finish(f, c).code, 3);
    assert_string_equal(wh_str_text(&f->lines), "up|got INT|");
}

static void test_ladder(void **state)
{
    struct fixture *f = *state;
    struct wh_child_times times = {.int_ms = 150, .term_ms = 100, .pipes_ms = 2000};
    struct wh_child *c =
        start(f, "trap 'echo INT' INT; trap 'echo TERM' TERM; echo up; while :; do sleep 0.01; done", &times);
    wait_for_line(f);
    uint64_t begin = wh_mono_ms();
    wh_child_cancel(c);
    struct wh_process_exit ended = finish(f, c);
    uint64_t took = wh_mono_ms() - begin;
    assert_int_equal(ended.signal, SIGKILL);
    assert_string_equal(wh_str_text(&f->lines), "up|INT|TERM|");
    assert_true(took >= 250 && took < 1500);
}

/* The group goes with the last rung, so a child of the child doesn't hold the step. */
static void test_ladder_takes_the_group(void **state)
{
    struct fixture *f = *state;
    struct wh_child_times times = {.int_ms = 30, .term_ms = 30, .pipes_ms = 60000};
    struct wh_child *c = start(f, "trap '' INT TERM; echo up; sleep 100; true", &times);
    wait_for_line(f);
    wh_child_cancel(c);
    assert_int_equal(finish(f, c).signal, SIGKILL);
}

static void test_pipes_held_open(void **state)
{
    struct fixture *f = *state;
    struct wh_child_times times = {.pipes_ms = 100};
    uint64_t begin = wh_mono_ms();
    struct wh_child *c = start(f, "sleep 3 & echo started; exit 0", &times);
    assert_int_equal(finish(f, c).code, 0);
    uint64_t took = wh_mono_ms() - begin;
    assert_string_equal(wh_str_text(&f->lines), "started|");
    assert_true(took >= 100 && took < 2000);
}

static int forked(void *data)
{
    printf("forked %s\n", (const char *)data);
    fflush(stdout);
    int pair[2];
    wh_autojson *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "build");
    if (wh_frame_pair(pair, NULL) < 0 || wh_frame_send(3, frame, &pair[1], 1, NULL) < 0)
        return 1;
    return 5;
}

static void test_forked_action(void **state)
{
    struct fixture *f = *state;
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    struct wh_child_events events = {.line = on_line, .frame = on_frame, .data = f};
    wh_autoerror err = {0};
    struct wh_child *c = wh_child_start(&f->loop, &o, forked, "child", &events, NULL, &err);
    assert_non_null(c);
    while (f->frame_type[0] == '\0')
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(finish(f, c).code, 5);
    assert_string_equal(f->frame_type, "build");
    assert_int_equal(f->frame_fds, 1);
    assert_string_equal(wh_str_text(&f->lines), "forked child|");
}

static void test_start_that_fails(void **state)
{
    struct fixture *f = *state;
    char *argv[] = {"x", NULL};
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.path = "/no/such";
    o.argv = argv;
    struct wh_child_events events = {.line = on_line, .data = f};
    wh_autoerror err = {0};
    assert_null(wh_child_start(&f->loop, &o, NULL, NULL, &events, NULL, &err));
    assert_int_equal(err.code, WH_E_NOT_FOUND);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_lines_and_code),      TEST(test_flood),         TEST(test_signal_is_a_code),
        TEST(test_interrupt_is_enough), TEST(test_ladder),        TEST(test_ladder_takes_the_group),
        TEST(test_pipes_held_open),     TEST(test_forked_action), TEST(test_start_that_fails),
    };
    return cmocka_run_group_tests_name("child", tests, NULL, NULL);
}
