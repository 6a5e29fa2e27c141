/* Progress events on the wire, and what the renderers print. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "wherry/base/fs.h"
#include "wherry/progress/render.h"

#define MS ((int64_t)1000000)
#define START ((int64_t)1000000 * 1000000 * 1000)

/* ---- wire ---- */

static struct wh_progress_event round_trip(const struct wh_progress_event *ev, cJSON **json)
{
    struct wh_progress_event out;
    wh_autojson *sent = wh_progress_encode(ev);
    wh_autofree char *text = wh_json_print(sent);
    *json = wh_json_parse(text, strlen(text), 1 << 22, "event", NULL);
    assert_non_null(*json);
    assert_int_equal(wh_progress_decode(*json, &out, NULL), 1);
    assert_int_equal(out.kind, ev->kind);
    assert_true(out.vertex == ev->vertex && out.time_ns == ev->time_ns);
    return out;
}

static void wire(void **state)
{
    (void)state;
    wh_autojson *a = NULL, *b = NULL, *c = NULL, *d = NULL, *e = NULL;
    struct wh_progress_event ev = {.kind = WH_PROGRESS_VERTEX,
                                   .vertex = 1ULL << 60,
                                   .time_ns = START + 7,
                                   .state = WH_VERTEX_ERROR,
                                   .name = "[1/2] RUN \"x\"",
                                   .error = "no"};
    struct wh_progress_event got = round_trip(&ev, &a);
    assert_string_equal(got.name, ev.name);
    assert_string_equal(got.error, "no");
    assert_null(got.note);
    assert_int_equal(got.state, WH_VERTEX_ERROR);

    ev = (struct wh_progress_event){
        .kind = WH_PROGRESS_LOG, .vertex = 2, .time_ns = 1, .stream = 2, .data = "a\nb\xc3", .len = 4};
    got = round_trip(&ev, &b); /* a character that is cut */
    assert_int_equal(got.stream, 2);
    assert_int_equal(got.len, 4);
    assert_memory_equal(got.data, "a\nb\xc3", 4);
    wh_progress_event_clear(&got);

    ev.data = "x\0y";
    ev.len = 3;
    got = round_trip(&ev, &c);
    assert_memory_equal(got.data, "x\0y", 3);
    wh_progress_event_clear(&got);

    ev = (struct wh_progress_event){.kind = WH_PROGRESS_STATUS,
                                    .vertex = 3,
                                    .time_ns = 1,
                                    .id = "sha256:aa",
                                    .current = 1LL << 50,
                                    .total = (1LL << 52) + 1,
                                    .done = true};
    got = round_trip(&ev, &d);
    assert_true(got.current == ev.current && got.total == ev.total && got.done);

    ev = (struct wh_progress_event){.kind = WH_PROGRESS_WARNING, .time_ns = 1, .text = "Rule: text (line 3)"};
    got = round_trip(&ev, &e);
    assert_string_equal(got.text, ev.text);
}

static void bad_wire(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int want;
    } cases[] = {{"{\"type\":\"result\"}", 0},
                 {"{}", 0},
                 {"{\"type\":7}", 0},
                 {"{\"type\":\"vertex\",\"vertex\":1}", -1},
                 {"{\"type\":\"vertex\",\"state\":\"odd\"}", -1},
                 {"{\"type\":\"log\",\"vertex\":1}", -1},
                 {"{\"type\":\"log\",\"data64\":\"?\"}", -1},
                 {"{\"type\":\"status\",\"current\":1}", -1},
                 {"{\"type\":\"warning\"}", -1}};
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autojson *json = wh_json_parse(cases[i].json, strlen(cases[i].json), 4096, "event", NULL);
        struct wh_progress_event ev;
        assert_int_equal(wh_progress_decode(json, &ev, NULL), cases[i].want);
    }
    /* What is too long is cut by the sender, between characters, and refused by the reader. */
    wh_autofree char *name = wh_malloc(WH_MAX_PROGRESS_NAME + 2);
    memset(name, 'x', WH_MAX_PROGRESS_NAME + 1);
    name[WH_MAX_PROGRESS_NAME + 1] = '\0';
    memcpy(name + WH_MAX_PROGRESS_NAME - 4, "\xc3\xbc", 2);
    struct wh_progress_event ev = {.kind = WH_PROGRESS_VERTEX, .name = name}, got;
    wh_autojson *cut = wh_progress_encode(&ev);
    assert_int_equal(wh_progress_decode(cut, &got, NULL), 1);
    assert_int_equal(strlen(got.name), WH_MAX_PROGRESS_NAME - 1);
    assert_true(wh_ends_with(got.name, "x..."));
    cJSON_ReplaceItemInObject(cut, "name", cJSON_CreateString(name));
    assert_true(wh_progress_decode(cut, &got, NULL) < 0);
}

/* ---- rendering into a file ---- */

struct screen {
    FILE *file;
    struct wh_progress *p;
};

static struct screen open_screen(enum wh_progress_style style, const char *header)
{
    struct screen s = {.file = tmpfile()};
    assert_non_null(s.file);
    s.p = wh_progress_new(style, fileno(s.file), header);
    return s;
}

static char *close_screen(struct screen *s, bool ok)
{
    wh_autostr text = {0};
    wh_progress_finish(s->p, ok);
    wh_progress_free(s->p);
    assert_int_equal(lseek(fileno(s->file), 0, SEEK_SET), 0);
    assert_int_equal(wh_read_fd(fileno(s->file), 1 << 26, "screen", &text, NULL), 0);
    fclose(s->file);
    return wh_str_steal(&text);
}

static void vertex(struct screen *s, uint64_t id, int64_t ms, enum wh_progress_state state, const char *name)
{
    struct wh_progress_event ev = {.kind = WH_PROGRESS_VERTEX,
                                   .vertex = id,
                                   .time_ns = START + ms * MS,
                                   .state = state,
                                   .name = name,
                                   .error = state == WH_VERTEX_ERROR ? "exit code: 1" : NULL};
    wh_progress_feed(s->p, &ev);
}

static void log_text(struct screen *s, uint64_t id, int64_t ms, const char *text)
{
    struct wh_progress_event ev = {.kind = WH_PROGRESS_LOG,
                                   .vertex = id,
                                   .time_ns = START + ms * MS,
                                   .stream = 1,
                                   .data = text,
                                   .len = strlen(text)};
    wh_progress_feed(s->p, &ev);
}

static void status(struct screen *s, uint64_t id, int64_t ms, const char *name, int64_t current,
                   int64_t total, bool done)
{
    struct wh_progress_event ev = {.kind = WH_PROGRESS_STATUS,
                                   .vertex = id,
                                   .time_ns = START + ms * MS,
                                   .id = name,
                                   .current = current,
                                   .total = total,
                                   .done = done};
    wh_progress_feed(s->p, &ev);
}

static void plain(void **state)
{
    (void)state;
    struct screen s = open_screen(WH_STYLE_PLAIN, "building with \"x\" instance using y driver");
    vertex(&s, 10, 0, WH_VERTEX_STARTED, "[internal] load build definition from Dockerfile");
    vertex(&s, 10, 20, WH_VERTEX_DONE, NULL);
    vertex(&s, 11, 30, WH_VERTEX_CACHED, "[1/3] COPY a b");
    vertex(&s, 12, 40, WH_VERTEX_STARTED, "[2/3] RUN make");
    log_text(&s, 12, 163, "one\ntw");
    log_text(&s, 12, 263, "o\n\nlast without newline");
    vertex(&s, 12, 1240, WH_VERTEX_DONE, NULL);
    vertex(&s, 13, 1300, WH_VERTEX_STARTED, "exporting to image");
    status(&s, 13, 1300, "sha256:aa", 0, 3000000, false);
    status(&s, 13, 1400, "sha256:aa", 1000000, 3000000, false); /* too soon to tell */
    status(&s, 13, 1500, "sha256:aa", 3000000, 3000000, true);
    vertex(&s, 13, 1600, WH_VERTEX_CANCELED, NULL);
    wh_autofree char *text = close_screen(&s, true);
    assert_string_equal(
        text, "#0 building with \"x\" instance using y driver\n"
              "\n#1 [internal] load build definition from Dockerfile\n#1 DONE 0.0s\n"
              "\n#2 [1/3] COPY a b\n#2 CACHED\n"
              "\n#3 [2/3] RUN make\n#3 0.123 one\n#3 0.223 two\n#3 0.223\n#3 1.200 last without newline\n#3 "
              "DONE 1.2s\n"
              "\n#4 exporting to image\n#4 sha256:aa 0B / 3.00MB\n#4 sha256:aa 3.00MB / 3.00MB 0.2s done\n"
              "#4 CANCELED\n");
}

/* Two at once: the first keeps the turn until it is silent or through. */
static void interleaved(void **state)
{
    (void)state;
    struct screen s = open_screen(WH_STYLE_PLAIN, NULL);
    vertex(&s, 1, 0, WH_VERTEX_STARTED, "A");
    vertex(&s, 2, 0, WH_VERTEX_STARTED, "B");
    log_text(&s, 1, 100, "a1\n");
    log_text(&s, 2, 100, "b1\n");
    log_text(&s, 1, 200, "a2\n");
    log_text(&s, 2, 9000, "b2\n");
    vertex(&s, 2, 9100, WH_VERTEX_DONE, NULL);
    vertex(&s, 1, 9200, WH_VERTEX_DONE, NULL);
    wh_autofree char *text = close_screen(&s, true);
    assert_string_equal(
        text, "#1 A\n#1 0.100 a1\n#1 0.200 a2\n#1 ...\n\n#2 B\n#2 0.100 b1\n#2 9.000 b2\n#2 DONE 9.1s\n"
              "\n#1 A\n#1 DONE 9.2s\n");
}

static void failure(void **state)
{
    (void)state;
    struct screen s = open_screen(WH_STYLE_PLAIN, NULL);
    vertex(&s, 1, 0, WH_VERTEX_STARTED, "[1/2] RUN x");
    vertex(&s, 2, 0, WH_VERTEX_STARTED, "[other 1/1] RUN sleep");
    for (int i = 0; i < 12; i++) {
        wh_autofree char *line = wh_printf("line %d\n", i);
        log_text(&s, 1, 1000, line);
    }
    vertex(&s, 1, 1000, WH_VERTEX_ERROR, NULL);
    struct wh_progress_event warning = {
        .kind = WH_PROGRESS_WARNING, .time_ns = START, .text = "Rule: text (line 1)"};
    wh_progress_feed(s.p, &warning);
    wh_progress_feed(s.p, &warning);
    wh_autofree char *text = close_screen(&s, false);
    assert_non_null(
        strstr(text, "#1 1.000 line 11\n#1 ERROR: exit code: 1\n\n#2 [other 1/1] RUN sleep\n#2 CANCELED\n"
                     "------\n > [1/2] RUN x:\n1.000 line 2\n1.000 line 3\n"));
    assert_non_null(strstr(text, "1.000 line 11\n------\n\n 1 warning found:\n - Rule: text (line 1)\n"));
}

static void foreign_bytes(void **state)
{
    (void)state;
    struct screen s = open_screen(WH_STYLE_PLAIN, NULL);
    vertex(&s, 1, 0, WH_VERTEX_STARTED, "A\x1b[2J\n\xff");
    log_text(&s, 1, 0, "10%\r50%\r100%\n");
    log_text(&s, 1, 0, "crlf\r\n");
    log_text(&s, 1, 0, "\x1b[2J\x1b[31mred\x1b[0m\x07\x1b[5A\n");
    log_text(&s, 1, 0, "bad \xff\xfe utf\n");
    log_text(&s, 1, 0, "\x1b[\n\x1b\n");
    vertex(&s, 1, 0, WH_VERTEX_DONE, NULL);
    wh_autofree char *text = close_screen(&s, true);
    assert_string_equal(text,
                        "#1 A?[2J \xef\xbf\xbd\n#1 0.000 100%\n#1 0.000 crlf\n#1 0.000 \x1b[31mred\x1b[0m\n"
                        "#1 0.000 bad \xef\xbf\xbd\xef\xbf\xbd utf\n#1 0.000\n#1 0.000\n#1 DONE 0.0s\n");
}

/* A step that writes without end, and without a newline, takes little memory; nothing is lost. */
static void bounded(void **state)
{
    (void)state;
    struct screen s = open_screen(WH_STYLE_PLAIN, NULL);
    wh_autofree char *block = wh_malloc(65537);
    memset(block, 'x', 65536);
    block[65536] = '\0';
    vertex(&s, 1, 0, WH_VERTEX_STARTED, "A");
    vertex(&s, 2, 0, WH_VERTEX_STARTED, "B");
    for (int i = 0; i < 32; i++)
        log_text(&s, 2, 10, block); /* not its turn: must get it before long */
    vertex(&s, 2, 20, WH_VERTEX_DONE, NULL);
    vertex(&s, 1, 20, WH_VERTEX_DONE, NULL);
    wh_autofree char *text = close_screen(&s, true);
    size_t xs = 0;
    for (const char *p = text; *p; p++)
        xs += *p == 'x';
    assert_int_equal(xs, 32 * 65536);
    assert_non_null(strstr(text, "#1 ...\n"));
}

static void strange_order(void **state)
{
    (void)state;
    struct screen s = open_screen(WH_STYLE_PLAIN, NULL);
    log_text(&s, 9, 0, "of nobody\n");
    status(&s, 9, 0, "x", 1, 2, false);
    vertex(&s, 1, 0, WH_VERTEX_DONE, NULL);
    vertex(&s, 1, 0, WH_VERTEX_ERROR, "again");
    log_text(&s, 1, 5, "late\n");
    for (uint64_t i = 0; i < 300; i++) {
        wh_autofree char *id = wh_printf("s%d", (int)i);
        status(&s, 1, 6, id, 0, 0, true);
    }
    wh_autofree char *text = close_screen(&s, true);
    assert_null(strstr(text, "of nobody"));
    assert_null(strstr(text, "ERROR"));
    assert_non_null(strstr(text, "#1 0.005 late\n"));
    assert_non_null(strstr(text, "s255"));
    assert_null(strstr(text, "s256"));
}

static void terminal(void **state)
{
    (void)state;
    struct screen s = open_screen(WH_STYLE_TTY, "h");
    vertex(&s, 1, 0, WH_VERTEX_CACHED, "[1/2] COPY a b");
    vertex(&s, 2, 0, WH_VERTEX_STARTED,
           "[2/2] RUN a very long command line that does not fit into eighty columns at all, sorry");
    log_text(&s, 2, 10, "compiling\n");
    wh_progress_tick(s.p);
    vertex(&s, 2, 1500, WH_VERTEX_DONE, NULL);
    wh_autofree char *text = close_screen(&s, true);
    assert_non_null(strstr(text, "[+] Building "));
    assert_non_null(strstr(text, " => CACHED [1/2] COPY a b"));
    assert_non_null(strstr(text, " => => # compiling"));
    assert_non_null(
        strstr(text, "\x1b[4A\r[+] Building 1.5s (2/2) FINISHED")); /* over the four lines drawn before */
    assert_non_null(strstr(text, "\x1b[?25h"));
    wh_autostrv char **lines = wh_strv_split(text, '\n');
    for (size_t i = 0; lines[i]; i++) {
        size_t columns = 0;
        for (const char *p = lines[i]; *p; p++) {
            if (*p == 0x1b)
                p += strcspn(p, "mKAJhl");
            else
                columns += *p != '\r';
        }
        if (columns > 80)
            fail_msg("%zu columns: %s", columns, lines[i]);
    }
}

static void others(void **state)
{
    (void)state;
    struct screen json = open_screen(WH_STYLE_JSON, "h"), quiet = open_screen(WH_STYLE_QUIET, "h");
    vertex(&json, 1, 0, WH_VERTEX_STARTED, "A");
    vertex(&quiet, 1, 0, WH_VERTEX_STARTED, "A");
    log_text(&quiet, 1, 0, "x\n");
    vertex(&quiet, 1, 0, WH_VERTEX_DONE, NULL);
    wh_autofree char *a = close_screen(&json, true), *b = close_screen(&quiet, true);
    assert_true(wh_starts_with(a, "{\"type\":\"vertex\",\"vertex\":1,") && wh_ends_with(a, "}\n"));
    assert_string_equal(b, "");
    enum wh_progress_style style;
    assert_true(wh_progress_style_parse("rawjson", 0, &style) && style == WH_STYLE_JSON);
    assert_false(wh_progress_style_parse("fancy", 0, &style));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(wire),     cmocka_unit_test(bad_wire),
                                       cmocka_unit_test(plain),    cmocka_unit_test(interleaved),
                                       cmocka_unit_test(failure),  cmocka_unit_test(foreign_bytes),
                                       cmocka_unit_test(bounded),  cmocka_unit_test(strange_order),
                                       cmocka_unit_test(terminal), cmocka_unit_test(others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
