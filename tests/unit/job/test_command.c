/* Workflow commands, file commands, lines of process output, texts of the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wherry/job/command.h"
#include "wherry/job/filecmd.h"
#include "wherry/job/lines.h"
#include "wherry/job/logtext.h"

/* ---- commands ---- */

/* "name|k=v|k=v|data", or "-" for plain output. */
static void check(const char *line, const char *expected)
{
    wh_autocommand c = {0};
    wh_autostr got = {0};
    if (!wh_command_parse(line, strlen(line), &c)) {
        wh_str_addc(&got, '-');
    } else {
        wh_str_add(&got, c.name);
        for (size_t i = 0; i < c.nproperties; i++)
            wh_str_addf(&got, "|%s=%s", c.properties[i].name, c.properties[i].value);
        wh_str_addf(&got, "|%s", c.data);
    }
    assert_string_equal(wh_str_text(&got), expected);
}

static void test_form_a(void **state)
{
    (void)state;
    check("::debug::text", "debug|text");
    check("::DEBUG::text", "debug|text");
    check("  \t::debug::text", "debug|text");
    check("x ::debug::text", "-");
    check("::debug text", "-");
    check("::unknown::text", "-");
    check("::debug::", "debug|");
    check("::debug:: a :: b ", "debug| a :: b ");
    check("::error file=a.c,line=3::bad", "error|file=a.c|line=3|bad");
    check("::error file=a.c,line=3,::bad", "error|file=a.c|line=3|bad");
    check("::error   file=a.c ,col=::bad", "error|file=a.c |bad");
    check("::error File=a,FILE=b::m", "error|File=b|m");
    check("::error title=a%2Cb%3Ac%0Ad%25,file=x::m", "error|title=a,b:c\nd%|file=x|m");
    check("::error::a%0Ab%0Dc%25d%3Ae%2C", "error|a\nb\rc%d%3Ae%2C");
    check("::error::%250A", "error|%0A"); /* %25 comes last */
    check("::error x=a=b::m", "error|x=a=b|m");
    check("::error =x,y::m", "error|m");
    check("::set-output name=x::1", "set-output|name=x|1");
    check("::group::", "group|");
    check("::endgroup::", "endgroup|");
    check("::add-mask::s3cret", "add-mask|s3cret");
    check("::stop-commands::tok", "stop-commands|tok");
    check(":: debug::x", "-");
    check("::", "-");
    check(":::", "-");
    check("::::", "-");
    check("", "-");
}

static void test_many_properties(void **state)
{
    (void)state;
    wh_autostr line = {0};
    wh_autocommand c = {0};
    wh_str_add(&line, "::error ");
    for (int i = 0; i <= WH_MAX_COMMAND_PROPERTIES; i++)
        wh_str_addf(&line, "k%d=v,", i);
    wh_str_add(&line, "::m");
    assert_true(wh_command_parse(line.data, line.len, &c));
    assert_int_equal(c.nproperties, WH_MAX_COMMAND_PROPERTIES); /* what is past the limit is left out */
    assert_string_equal(c.data, "m");
}

static void test_form_b(void **state)
{
    (void)state;
    check("##[debug]text", "debug|text");
    check("prefix ##[error file=a;line=2]bad", "error|file=a|line=2|bad");
    check("##[error title=a%3Bb%5Dc%25]x%5Dy%3Bz", "error|title=a;b]c%|x]y;z");
    check("##[section]Starting", "-");
    check("##[debug", "-");
    check("##[group]a ##[group]b", "group|a ##[group]b");
    check("::unknown::##[debug]x", "debug|x");  /* A is no command, so B is tried */
    check("##[error a=%2C]m", "error|a=%2C|m"); /* commas aren't escaped in this form */
}

static void feed(struct wh_command_state *s, const char *line, enum wh_line_kind expected)
{
    wh_autocommand c = {0};
    assert_int_equal(wh_command_line(s, line, strlen(line), &c), expected);
    if (expected == WH_LINE_COMMAND && c.kind == WH_COMMAND_STOP_COMMANDS)
        assert_int_equal(wh_command_stop(s, c.data, false, NULL), 0);
}

static void test_stop(void **state)
{
    (void)state;
    struct wh_command_state s = {0};
    feed(&s, "::debug::a", WH_LINE_COMMAND);
    feed(&s, "::stop-commands::ToKen", WH_LINE_COMMAND);
    feed(&s, "::debug::a", WH_LINE_STOPPED);
    feed(&s, "::stop-commands::other", WH_LINE_STOPPED);
    feed(&s, "::other::", WH_LINE_TEXT);
    feed(&s, "token", WH_LINE_TEXT);
    feed(&s, "::token::", WH_LINE_RESUME);
    feed(&s, "::debug::a", WH_LINE_COMMAND);
    feed(&s, "::token::", WH_LINE_TEXT);
    feed(&s, "::stop-commands::x", WH_LINE_COMMAND);
    feed(&s, "##[X]", WH_LINE_RESUME);
    wh_command_state_clear(&s);
}

static void test_stop_tokens(void **state)
{
    (void)state;
    struct wh_command_state s = {0};
    wh_autoerror err = {0};
    assert_int_equal(wh_command_stop(&s, "", false, &err), -1);
    assert_true(wh_starts_with(wh_error_text(&err), "You cannot use a endToken that is an empty string"));
    assert_int_equal(wh_command_stop(&s, "pause-LOGGING", false, NULL), -1);
    assert_int_equal(wh_command_stop(&s, "Debug", false, NULL), -1);
    assert_null(s.stop_token);
    assert_int_equal(wh_command_stop(&s, "debug", true, NULL), 0);
    wh_command_state_clear(&s);
}

static void test_echo(void **state)
{
    (void)state;
    struct wh_command_state s = {0};
    wh_autoerror err = {0};
    assert_false(wh_command_is_echoed(&s, WH_COMMAND_GROUP));
    assert_int_equal(wh_command_echo(&s, " ON ", NULL), 0);
    assert_true(wh_command_is_echoed(&s, WH_COMMAND_GROUP));
    assert_false(wh_command_is_echoed(&s, WH_COMMAND_ERROR));
    assert_int_equal(wh_command_echo(&s, "off", NULL), 0);
    assert_false(s.echo);
    assert_int_equal(wh_command_echo(&s, "maybe", &err), -1);
    assert_string_equal(
        wh_error_text(&err),
        "Invalid echo command value. Possible values can be: 'on', 'off'. Current value is: 'maybe'.");
}

static void test_plain_text(void **state)
{
    (void)state;
    wh_autostr out = {0};
    assert_false(wh_command_plain_text("##[group]x", 10, &out));
    const char *line = "a ##[start-action b] ##[end-action]";
    assert_true(wh_command_plain_text(line, strlen(line), &out));
    assert_string_equal(wh_str_text(&out), "a ##[\\start-action b] ##[\\end-action]");
}

/* "file|line|endLine|col|endColumn" after repair; notes of what was repaired are counted. */
static void check_issue(const char *line, const char *expected, size_t notes)
{
    wh_autocommand c = {0};
    assert_true(wh_command_parse(line, strlen(line), &c));
    struct wh_issue issue;
    wh_autostr debug = {0};
    wh_issue_from_command(&c, "/w/repo", &issue, &debug);
    wh_autofree char *got = wh_printf("%s|%d|%d|%d|%d", issue.file ? issue.file : "-", (int)issue.line,
                                      (int)issue.end_line, (int)issue.col, (int)issue.end_col);
    wh_issue_clear(&issue);
    assert_string_equal(got, expected);
    size_t lines = 0;
    for (size_t i = 0; i < debug.len; i++)
        lines += debug.data[i] == '\n';
    assert_int_equal(lines, notes);
}

static void test_issues(void **state)
{
    (void)state;
    check_issue("::error::m", "-|0|0|0|0", 0);
    check_issue("::error file=/w/repo/src/a.c,line=1,endLine=2::m", "src/a.c|1|2|0|0", 0);
    check_issue("::error file=/w/repository/a.c::m", "/w/repository/a.c|0|0|0|0", 0);
    check_issue("::error file=b.c,line=1,col=2,endColumn=3::m", "b.c|1|0|2|3", 0);
    check_issue("::error line=1,endLine=1,col=2,endColumn=3::m", "-|1|1|2|3", 0);
    check_issue("::error endLine=5::m", "-|5|5|0|0", 1);
    check_issue("::error line=5,endColumn=7::m", "-|5|0|7|7", 1);
    check_issue("::error col=7::m", "-|0|0|0|0", 1);
    check_issue("::error line=1,endLine=2,col=3::m", "-|1|2|0|0", 1);
    check_issue("::error line=3,endLine=2::m", "-|0|0|0|0", 1);
    check_issue("::error line=3,col=5,endColumn=4::m", "-|3|0|0|0", 1);
    check_issue("::error line=abc::m", "-|0|0|0|0", 0);
}

/* ---- file commands ---- */

static int collect_pair(void *arg, struct wh_view name, struct wh_view value, struct wh_error *err)
{
    struct wh_str *out = arg;
    if (name.len == 0)
        return wh_fail(err, WH_E_ARGUMENT, "no name");
    wh_str_addn(out, name.data, name.len);
    wh_str_addc(out, '=');
    wh_str_addn(out, value.data, value.len);
    wh_str_addc(out, '|');
    return 0;
}

static void check_pairs(const char *text, const char *expected, const char *error)
{
    wh_autostr got = {0};
    wh_autoerror err = {0};
    int r = wh_filecmd_pairs(text, strlen(text), collect_pair, &got, &err);
    assert_string_equal(wh_str_text(&got), expected);
    if (error)
        assert_string_equal(wh_error_text(&err), error);
    assert_int_equal(r, error ? -1 : 0);
}

static void test_pairs(void **state)
{
    (void)state;
    check_pairs("", "", NULL);
    check_pairs("A=1\nB=2", "A=1|B=2|", NULL);
    check_pairs("\xEF\xBB\xBF"
                "A=1\n",
                "A=1|", NULL);
    check_pairs("\n\nA=1\n\n", "A=1|", NULL);
    check_pairs("A = x =y<<z\n", "A = x =y<<z|", NULL);
    check_pairs("A=\n", "A=|", NULL);
    check_pairs("A=1\r\n", "A=1\r|", NULL); /* on Linux a CR stays */
    check_pairs("A<<EOF\nx\ny\nEOF\nB=2\n", "A=x\ny|B=2|", NULL);
    check_pairs("A<<EOF\nEOF", "A=|", NULL);
    check_pairs("A<<EOF\n\nEOF\n", "A=|", NULL);
    check_pairs("A<<EOF\n\n\nEOF\n", "A=\n|", NULL);
    check_pairs("A<<EOF\nx=1\n EOF\nEOF\n", "A=x=1\n EOF|", NULL);
    check_pairs("A<<E=F\nx\nE=F\n", "A=x|", NULL);
    check_pairs("bad\n", "", "Invalid format 'bad'");
    check_pairs("A=1\nbad\nB=2\n", "A=1|", "Invalid format 'bad'");
    check_pairs("<<EOF\nx\nEOF\n", "",
                "Invalid format '<<EOF'. Name must not be empty and delimiter must not be empty");
    check_pairs("A<<\nx\n", "",
                "Invalid format 'A<<'. Name must not be empty and delimiter must not be empty");
    check_pairs("A<<EOF\nx\n", "", "Invalid value. Matching delimiter not found 'EOF'");
    check_pairs("A<<EOF", "", "Invalid value. Matching delimiter not found 'EOF'");
    check_pairs("A<<EOF\nx", "", "Invalid value. EOF marker missing new line.");
    check_pairs("A<<EOF\nx\nEOFx", "", "Invalid value. EOF marker missing new line.");
    check_pairs("=x\n", "", "no name");
}

static int collect_line(void *arg, struct wh_view line, struct wh_error *err)
{
    (void)err;
    struct wh_str *out = arg;
    wh_str_addn(out, line.data, line.len);
    wh_str_addc(out, '|');
    return 0;
}

static void test_path_lines(void **state)
{
    (void)state;
    wh_autostr got = {0};
    const char *text = "\xEF\xBB\xBF/a\n\n/b c\r\n/d\r/e";
    assert_int_equal(wh_filecmd_lines(text, strlen(text), collect_line, &got, NULL), 0);
    assert_string_equal(wh_str_text(&got), "/a|/b c|/d|/e|");
}

static void test_summary(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    assert_int_equal(wh_filecmd_summary(0, NULL), 0);
    assert_int_equal(wh_filecmd_summary(WH_MAX_SUMMARY_BYTES, NULL), 1);
    assert_int_equal(wh_filecmd_summary(WH_MAX_SUMMARY_BYTES + 1, &err), -1);
    assert_true(wh_starts_with(wh_error_text(&err),
                               "$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size "
                               "of 1024k, got 1024k. For more information see: https://"));
    assert_int_equal(wh_filecmd_env_allowed(wh_view_of("Node_Options"), NULL), -1);
    assert_int_equal(wh_filecmd_env_allowed(wh_view_of("NODE_OPTIONS2"), NULL), 0);
}

/* ---- lines ---- */

static void collect(void *arg, const char *line, size_t len)
{
    struct wh_str *out = arg;
    wh_str_addn(out, line, len);
    wh_str_addc(out, '|');
}

/* However the bytes arrive, the lines are the same. */
static void check_lines(const char *text, size_t len, const char *expected)
{
    for (size_t step = 1; step <= len + 1; step++) {
        struct wh_line_splitter s = {0};
        wh_autostr got = {0};
        for (size_t at = 0; at < len; at += step)
            wh_lines_feed(&s, text + at, WH_MIN(step, len - at), collect, &got);
        wh_lines_end(&s, collect, &got);
        wh_lines_clear(&s);
        assert_string_equal(wh_str_text(&got), expected);
    }
}

static void test_lines(void **state)
{
    (void)state;
    check_lines("", 0, "");
    check_lines("a\nb\n", 4, "a|b|");
    check_lines("a\nb", 3, "a|b|");
    check_lines("a\r\nb\r\n", 6, "a|b|");
    check_lines("10%\r50%\rdone\n", 13, "10%|50%|done|");
    check_lines("\n\n", 2, "||");
    check_lines("\r\r\n\n", 4, "|||");
    check_lines("\n\r", 2, "||");
    check_lines("é€😀\n", 10, "é€😀|");
    check_lines("a\xff"
                "b\xc3\n\x80x\xe2",
                8,
                "a\xEF\xBF\xBD"
                "b\xEF\xBF\xBD|\xEF\xBF\xBDx\xEF\xBF\xBD|");
}

struct lengths {
    size_t count, total, longest;
};

static void measure(void *arg, const char *line, size_t len)
{
    struct lengths *l = arg;
    l->count++;
    l->total += len;
    l->longest = WH_MAX(l->longest, len);
    assert_true(wh_utf8_valid(line, len));
    assert_null(memmem(line, len, "\xEF\xBF\xBD", 3)); /* no character was cut in two */
}

static void test_long_line(void **state)
{
    (void)state;
    struct wh_line_splitter s = {0};
    struct lengths l = {0};
    size_t total = 0;
    for (int i = 0; i < 100000; i++) {
        wh_lines_feed(&s, "x€€€€€€€€€€", 31, measure, &l);
        total += 31;
        assert_true(s.rest.len <= WH_MAX_LINE);
    }
    wh_lines_feed(&s, "\n", 1, measure, &l);
    wh_lines_clear(&s);
    assert_int_equal(l.total, total);
    assert_int_equal(l.count, 3);
    assert_true(l.longest <= WH_MAX_LINE && l.longest > WH_MAX_LINE - 4);
}

/* ---- texts of the log ---- */

static void test_log_line(void **state)
{
    (void)state;
    wh_autostr out = {0};
    wh_logtext_line(&out, 1795525509123456789, "a\nb", 3);
    assert_string_equal(wh_str_text(&out), "2026-11-24T13:05:09.1234567Z a\nb\n");
    char text[WH_MAX_LIVE_LINE + 10];
    memset(text, 'x', sizeof text);
    bool cut;
    assert_int_equal(wh_logtext_live_len(text, WH_MAX_LIVE_LINE, &cut), WH_MAX_LIVE_LINE);
    assert_false(cut);
    assert_int_equal(wh_logtext_live_len(text, WH_MAX_LIVE_LINE + 1, &cut), WH_MAX_LIVE_LINE);
    assert_true(cut);
    assert_int_equal(wh_utf16_length("é😀", 6), 3);
    assert_int_equal(wh_utf16_prefix("é😀", 6, 2), 2); /* half of a pair isn't taken */
}

static void check_name(const char *json, const char *expected)
{
    wh_autojson *inputs = cJSON_Parse(json);
    struct wh_step step = {.reference = {.type = WH_REFERENCE_SCRIPT}};
    wh_autotoken *token = wh_token_from_json(inputs, "inputs", NULL);
    step.inputs = token;
    wh_autofree char *name = wh_step_display_name(&step, NULL);
    assert_string_equal(name, expected);
}

static void test_names(void **state)
{
    (void)state;
    check_name("{\"type\":2,\"map\":[{\"key\":\"script\",\"value\":\"\\n  echo hi\\nls\\n\"}]}",
               "Run echo hi");
    check_name("{\"type\":2,\"map\":[{\"key\":\"script\",\"value\":{\"type\":3,\"expr\":\"github.x\"}}]}",
               "Run ${{ github.x }}");
    check_name("{\"type\":2}", "run");
    struct wh_step step = {.reference = {.type = WH_REFERENCE_REPOSITORY,
                                         .name = (char *)"a/b",
                                         .ref = (char *)"v1",
                                         .path = (char *)"c/d"}};
    wh_autofree char *action = wh_step_display_name(&step, NULL);
    assert_string_equal(action, "Run a/b/c/d@v1");
    struct wh_step self = {.reference = {.type = WH_REFERENCE_REPOSITORY, .path = (char *)"./my"}};
    wh_autofree char *local = wh_step_display_name(&self, NULL);
    assert_string_equal(local, "Run ./my");
    struct wh_step image = {.reference = {.type = WH_REFERENCE_CONTAINER, .image = (char *)"alpine:3"}};
    wh_autofree char *container = wh_step_display_name(&image, NULL);
    assert_string_equal(container, "Run alpine:3");
    wh_autofree char *reference = wh_step_reference_text(&image.reference);
    assert_string_equal(reference, "docker://alpine:3");
}

static void test_headers(void **state)
{
    (void)state;
    wh_autovalue *env = wh_value_object_case_sensitive();
    wh_object_set_text(env, "IMAGE", "ghcr.io/acme/web");
    wh_autostr out = {0};
    wh_logtext_run_script("\necho hi\r\nls\n\n", collect, &out);
    wh_logtext_run_shell("/usr/bin/bash -e {0}", env, collect, &out);
    assert_string_equal(wh_str_text(&out), "##[group]Run echo hi|\x1b[36;1m\x1b[0m|\x1b[36;1mecho hi\x1b[0m|"
                                           "\x1b[36;1mls\x1b[0m|shell: /usr/bin/bash -e {0}|env:|"
                                           "  IMAGE: ghcr.io/acme/web|##[endgroup]|");
    wh_autovalue *inputs = wh_value_object();
    wh_object_set_text(inputs, "context", ".");
    wh_object_set_text(inputs, "empty", "");
    wh_str_clear(&out);
    wh_logtext_action_header("docker/build-push-action@v6", inputs, NULL, collect, &out);
    assert_string_equal(wh_str_text(&out),
                        "##[group]Run docker/build-push-action@v6|with:|  context: .|##[endgroup]|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form_a),      cmocka_unit_test(test_many_properties),
        cmocka_unit_test(test_form_b),      cmocka_unit_test(test_stop),
        cmocka_unit_test(test_stop_tokens), cmocka_unit_test(test_echo),
        cmocka_unit_test(test_plain_text),  cmocka_unit_test(test_issues),
        cmocka_unit_test(test_pairs),       cmocka_unit_test(test_path_lines),
        cmocka_unit_test(test_summary),     cmocka_unit_test(test_lines),
        cmocka_unit_test(test_long_line),   cmocka_unit_test(test_log_line),
        cmocka_unit_test(test_names),       cmocka_unit_test(test_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
