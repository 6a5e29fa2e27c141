/* Events across the channel, and BuildKit's plain lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/progress/render.h"

static void feed(struct wh_progress *p, struct wh_progress_event ev)
{
    wh_autojson *json = wh_progress_encode(&ev);
    struct wh_progress_event back;
    assert_int_equal(wh_progress_decode(json, &back, NULL), 1);
    wh_progress_feed(p, &back);
    wh_progress_event_clear(&back);
}

static struct wh_progress_event vertex(uint64_t id, int64_t ms, enum wh_progress_state state,
                                       const char *name)
{
    return (struct wh_progress_event){.kind = WH_PROGRESS_VERTEX,
                                      .vertex = id,
                                      .time_ns = (1000 + ms) * 1000000,
                                      .state = state,
                                      .name = name};
}

static struct wh_progress_event log_of(uint64_t id, int64_t ms, const char *data)
{
    return (struct wh_progress_event){.kind = WH_PROGRESS_LOG,
                                      .vertex = id,
                                      .time_ns = (1000 + ms) * 1000000,
                                      .stream = 1,
                                      .data = data,
                                      .len = strlen(data)};
}

static void plain_lines(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    int fd = fileno(file);
    struct wh_progress *p =
        wh_progress_new(WH_STYLE_PLAIN, fd, "building with \"b\" instance using native driver");
    feed(p, vertex(7, 0, WH_VERTEX_CACHED, "[1/2] FROM x"));
    feed(p, vertex(9, 0, WH_VERTEX_STARTED, "[a 1/1] RUN make"));
    feed(p, log_of(9, 250, "one\ntw"));
    feed(p, vertex(11, 260, WH_VERTEX_STARTED, "[b 1/1] COPY . ."));
    feed(p, vertex(11, 1260, WH_VERTEX_DONE, NULL));
    feed(p, log_of(9, 1300, "o\r\n\xff\n"));
    struct wh_progress_event failed = vertex(9, 1400, WH_VERTEX_ERROR, NULL);
    failed.error = "exit code: 1";
    feed(p, failed);
    wh_progress_finish(p, false);
    wh_progress_free(p);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    wh_autostr text = {0};
    assert_int_equal(wh_read_fd(fd, 10000, "out", &text, NULL), 0);
    fclose(file);
    assert_string_equal(text.data,
                        "#0 building with \"b\" instance using native driver\n"
                        "\n#1 [1/2] FROM x\n#1 CACHED\n"
                        "\n#2 [a 1/1] RUN make\n#2 0.250 one\n#2 ...\n"
                        "\n#3 [b 1/1] COPY . .\n#3 DONE 1.0s\n"
                        "\n#2 [a 1/1] RUN make\n#2 1.300 two\n#2 1.300 \xef\xbf\xbd\n#2 ERROR: exit code: 1\n"
                        "------\n > [a 1/1] RUN make:\none\ntwo\n\xef\xbf\xbd\n------\n");
}

static void broken_events_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int want;
    } cases[] = {{"{\"type\":\"result\"}", 0},
                 {"{\"type\":\"vertex\",\"vertex\":1,\"state\":\"odd\"}", -1},
                 {"{\"type\":\"status\",\"vertex\":1}", -1},
                 {"{\"type\":\"log\",\"vertex\":1,\"base64\":\"***\"}", -1},
                 {"{\"type\":\"log\",\"vertex\":-1}", 1},
                 {"{\"type\":\"warning\",\"text\":\"x\"}", 1}};
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autojson *json = wh_json_parse(cases[i].text, strlen(cases[i].text), 1000, "t", NULL);
        struct wh_progress_event ev;
        assert_int_equal(wh_progress_decode(json, &ev, NULL), cases[i].want);
        wh_progress_event_clear(&ev);
    }
}

static void the_terminal_display_is_cut_to_its_width(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    struct wh_progress *p = wh_progress_new(WH_STYLE_TTY, fileno(file), NULL);
    char name[300];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    feed(p, vertex(1, 0, WH_VERTEX_STARTED, name));
    for (int i = 0; i < 100; i++)
        feed(p, log_of(1, i,
                       "\033[31mred\033[0m and more text of a tool that never breaks its lines, on and on "
                       "and on, past eighty\n"));
    wh_progress_tick(p);
    feed(p, vertex(1, 200, WH_VERTEX_DONE, NULL));
    wh_progress_finish(p, true);
    wh_progress_free(p);
    wh_autostr text = {0};
    lseek(fileno(file), 0, SEEK_SET);
    assert_int_equal(wh_read_fd(fileno(file), 1000000, "out", &text, NULL), 0);
    fclose(file);
    struct wh_reader r = wh_reader_of(text.data, text.len);
    struct wh_view line;
    while (wh_reader_line(&r, &line))
        assert_true(line.len < 80 + 12); /* and the escapes of cursor and erase */
    assert_null(strstr(text.data, "\033[31m"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(plain_lines),
                                       cmocka_unit_test(broken_events_are_refused),
                                       cmocka_unit_test(the_terminal_display_is_cut_to_its_width)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
