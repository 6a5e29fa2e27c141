/* What a native action sees of its job and leaves to it. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "wherry/actions/action.h"
#include "wherry/base/frame.h"
#include "wherry/base/fs.h"
#include "wherry/job/filecmd.h"

static int (*body)(struct wh_action_run *run);

static int call_body(struct wh_action_run *run)
{
    return body(run);
}

static const struct wh_action action = {
    .repository = "test/action", .min_major = 1, .max_major = 2, .main = call_body, .post = call_body};

static int run_with(int (*fn)(struct wh_action_run *), int control)
{
    struct wh_action_stage stage = {.action = &action,
                                    .version = {.major = 2, .minor = 1, .patch = 0, .known = true},
                                    .ref = "v2.1.0",
                                    .control = control};
    body = fn;
    return wh_action_stage_main(&stage);
}

/* ---- inputs, state, event ---- */

static int inputs(struct wh_action_run *run)
{
    bool value = false;
    wh_autoerror err = {0};
    assert_string_equal(wh_action_ref(run), "v2.1.0");
    assert_int_equal(wh_action_version(run)->minor, 1);
    assert_string_equal(wh_action_input(run, "build-args"), "a=1");
    assert_string_equal(wh_action_input_raw(run, "build-args"), "  a=1 \n");
    assert_string_equal(wh_action_input(run, "two words"), "x");
    assert_string_equal(wh_action_input(run, "missing"), "");
    assert_string_equal(wh_action_state(run, "caseKept"), "s");
    assert_int_equal(wh_action_input_bool(run, "yes", &value, &err), 0);
    assert_true(value);
    assert_int_equal(wh_action_input_bool(run, "no", &value, &err), 0);
    assert_false(value);
    assert_true(wh_action_input_bool(run, "two words", &value, &err) < 0);
    assert_non_null(
        strstr(wh_error_text(&err), "Input does not meet YAML 1.2 \"Core Schema\" specification: two words"));
    assert_int_equal(wh_json_int(wh_action_event(run), "number", 0), 7);
    return 4;
}

static void test_inputs(void **state)
{
    (void)state;
    char event[] = "/tmp/wh_event_XXXXXX";
    int fd = mkstemp(event);
    assert_int_equal(write(fd, "{\"number\":7}", 12), 12);
    close(fd);
    setenv("INPUT_BUILD-ARGS", "  a=1 \n", 1);
    setenv("INPUT_TWO_WORDS", "x", 1);
    setenv("INPUT_YES", "True", 1);
    setenv("INPUT_NO", "FALSE", 1);
    setenv("STATE_caseKept", "s", 1);
    setenv("GITHUB_EVENT_PATH", event, 1);
    assert_int_equal(run_with(inputs, -1), 4);
    unlink(event);
}

/* ---- what it says ---- */

static int speak(struct wh_action_run *run)
{
    (void)run;
    wh_action_print("plain %d", 5);
    wh_action_group("Title: %s", "a");
    wh_action_group_end();
    wh_action_warning("50%% done\nsecond\r");
    wh_action_mask("");
    wh_action_mask("se\ncret");
    wh_autoerror err = {0};
    wh_fail(&err, WH_E_FAILED, "it broke");
    return wh_action_fail(&err);
}

static void test_speak(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    dup2(ends[1], STDOUT_FILENO);
    int code = run_with(speak, -1);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(ends[1]);
    char text[1024] = "";
    ssize_t n = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    assert_true(n > 0);
    assert_int_equal(code, 1);
    assert_string_equal(text, "plain 5\n::group::Title: a\n::endgroup::\n::warning::50%25 done%0Asecond%0D\n"
                              "::add-mask::se%0Acret\n::error::it broke\n");
}

/* ---- what it leaves ---- */

static int leave(struct wh_action_run *run)
{
    wh_autoerror err = {0};
    assert_int_equal(wh_action_set_output(run, "a", "one\ntwo\nEOF", &err), 0);
    assert_int_equal(wh_action_set_output(run, "b", "", &err), 0);
    assert_int_equal(wh_action_export_env(run, "EXPORTED", "now", &err), 0);
    assert_string_equal(wh_action_env("EXPORTED"), "now");
    unsetenv("GITHUB_STATE");
    assert_true(wh_action_save_state(run, "x", "y", &err) < 0);
    return 0;
}

static int on_pair(void *arg, struct wh_view name, struct wh_view value, struct wh_error *err)
{
    (void)err;
    struct wh_str *out = arg;
    wh_str_addf(out, "%.*s=[%.*s];", (int)name.len, name.data, (int)value.len, value.data);
    return 0;
}

static void test_results_read_back(void **state)
{
    (void)state;
    char output[] = "/tmp/wh_output_XXXXXX";
    close(mkstemp(output));
    setenv("GITHUB_OUTPUT", output, 1);
    setenv("GITHUB_ENV", "/dev/null", 1);
    assert_int_equal(run_with(leave, -1), 0);
    wh_autostr text = {0};
    wh_autostr pairs = {0};
    wh_autoerror err = {0};
    assert_int_equal(wh_read_file(AT_FDCWD, output, 65536, &text, &err), 0);
    assert_true(wh_filecmd_pairs(text.data, text.len, on_pair, &pairs, &err) >= 0);
    assert_string_equal(wh_str_text(&pairs), "a=[one\ntwo\nEOF];b=[];");
    unlink(output);
}

/* ---- a builder ---- */

static int ask(struct wh_action_run *run)
{
    wh_autoerror err = {0};
    int channel = wh_action_build_channel(run, &err);
    assert_true(channel >= 0);
    assert_int_equal(write(channel, "hello", 5), 5);
    close(channel);
    return 0;
}

static void test_build_channel(void **state)
{
    (void)state;
    int pair[2];
    wh_autoerror err = {0};
    assert_int_equal(wh_frame_pair(pair, &err), 0);
    assert_int_equal(run_with(ask, pair[1]), 0);
    wh_autoframe frame = {0};
    assert_int_equal(wh_frame_recv(pair[0], &frame, &err), 1);
    assert_string_equal(wh_json_string(frame.json, "type"), "build");
    assert_int_equal(frame.nfds, 1);
    char text[8] = "";
    assert_int_equal(read(frame.fds[0], text, sizeof text), 5);
    assert_string_equal(text, "hello");
    close(pair[0]);
    close(pair[1]);
}

static int no_channel(struct wh_action_run *run)
{
    wh_autoerror err = {0};
    assert_int_equal(wh_action_build_channel(run, &err), -1);
    assert_int_equal(err.code, WH_E_UNSUPPORTED);
    return 0;
}

static void test_no_channel(void **state)
{
    (void)state;
    run_with(no_channel, -1);
}

static int canceled(struct wh_action_run *run)
{
    (void)run;
    assert_false(wh_action_canceled());
    raise(SIGINT);
    assert_true(wh_action_canceled());
    return 0;
}

static void test_cancel(void **state)
{
    (void)state;
    run_with(canceled, -1);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_inputs),
                                       cmocka_unit_test(test_speak),
                                       cmocka_unit_test(test_results_read_back),
                                       cmocka_unit_test(test_build_channel),
                                       cmocka_unit_test(test_no_channel),
                                       cmocka_unit_test(test_cancel)};
    return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}
