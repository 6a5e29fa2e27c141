/* The spool: bytes once on disk and in two logs, freed when uploaded, and whole again after a death. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "github/spool_internal.h"
#include "wherry/base/fs.h"

static char folder[] = "/tmp/wherry-spool-XXXXXX/s";

static int setup(void **state)
{
    (void)state;
    char *slash = strrchr(folder, '/');
    *slash = '\0';
    memcpy(slash - 6, "XXXXXX", 6);
    assert_non_null(mkdtemp(folder));
    *slash = '/';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char *slash = strrchr(folder, '/');
    *slash = '\0';
    wh_remove_tree(AT_FDCWD, folder, NULL);
    *slash = '/';
    return 0;
}

static struct wh_spool *make(uint64_t max_bytes, unsigned consumers)
{
    struct wh_spool_options o = {.max_bytes = max_bytes, .keep_free = 1, .consumers = consumers};
    wh_autoerror err = {0};
    struct wh_spool *s = wh_spool_create(folder, &o, &err);
    if (!s)
        fail_msg("%s", wh_error_text(&err));
    return s;
}

static struct wh_spool *again(struct wh_spool *s)
{
    struct wh_spool_options o = {.keep_free = 1};
    wh_autoerror err = {0};
    wh_spool_free(s);
    s = wh_spool_open(folder, &o, &err);
    if (!s)
        fail_msg("%s", wh_error_text(&err));
    return s;
}

static void put(struct wh_spool *s, int log, const char *text)
{
    wh_autoerror err = {0};
    if (wh_spool_write(s, log, text, strlen(text), spool_count_lines(text, strlen(text)), false, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
}

static char *whole(struct wh_spool *s, int log, uint64_t pos)
{
    wh_autostr out = {0};
    char buf[7];
    wh_autoerror err = {0};
    ssize_t n;
    while ((n = wh_spool_read(s, log, pos + out.len, buf, sizeof buf, &err)) > 0)
        wh_str_addn(&out, buf, (size_t)n);
    if (n < 0)
        fail_msg("%s", wh_error_text(&err));
    return wh_str_steal(&out);
}

static void expect(struct wh_spool *s, int log, const char *text)
{
    wh_autofree char *got = whole(s, log, 0);
    assert_string_equal(got, text);
    assert_int_equal(wh_spool_size(s, log), strlen(text));
    assert_int_equal(wh_spool_lines(s, log), spool_count_lines(text, strlen(text)));
}

#define BLOB (1u << WH_SPOOL_BLOB)
#define BOTH (BLOB | 1u << WH_SPOOL_PAGE)

static void test_two_logs_of_the_same_bytes(void **state)
{
    (void)state;
    struct wh_spool *s = make(0, BLOB);
    int a = wh_spool_log(s, "step-a", NULL), b = wh_spool_log(s, "step-b", NULL);
    put(s, a, "one\n");
    put(s, a, "two\n");
    put(s, b, "three\nfour\n");
    put(s, WH_SPOOL_JOB, "of the job\n");
    put(s, a, "five\n"); /* steps may run side by side */
    for (int round = 0; round < 2; round++) {
        expect(s, a, "one\ntwo\nfive\n");
        expect(s, b, "three\nfour\n");
        expect(s, WH_SPOOL_JOB, "one\ntwo\nthree\nfour\nof the job\nfive\n");
        assert_string_equal(wh_spool_step_id(s, b), "step-b");
        assert_false(wh_spool_ended(s, a));
        s = again(s);
    }
    wh_spool_end(s, a);
    assert_int_equal(wh_spool_write(s, a, "x\n", 2, 1, false, NULL), -1);
    put(s, b, "six\n");
    s = again(s);
    assert_true(wh_spool_ended(s, a));
    expect(s, b, "three\nfour\nsix\n");
    wh_spool_end(s, WH_SPOOL_JOB);
    assert_true(wh_spool_ended(s, b));
    wh_spool_delete(s);
    assert_int_equal(access(folder, F_OK), -1);
}

static unsigned segments_on_disk(void)
{
    wh_autofree char *command = wh_printf("ls %s | grep -c '^stream'", folder);
    FILE *out = popen(command, "r");
    unsigned n = 0;
    assert_int_equal(fscanf(out, "%u", &n), 1);
    pclose(out);
    return n;
}

static void upload(struct wh_spool *s, int log, enum wh_spool_consumer by, uint64_t pos, bool done)
{
    struct wh_spool_mark m = {.pos = pos, .flags = 5, .value = -7, .done = done};
    wh_spool_set_mark(s, log, by, &m);
}

/* 40 MiB in lines of 1 MiB; segments go when both logs, for both consumers, are past them. */
static void test_uploaded_segments_go(void **state)
{
    (void)state;
    struct wh_spool *s = make(0, BOTH);
    int a = wh_spool_log(s, "a", NULL);
    size_t len = (size_t)1 << 20;
    wh_autofree char *line = wh_malloc(len);
    memset(line, 'x', len);
    line[len - 1] = '\n';
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(wh_spool_write(s, a, line, len, 1, false, NULL), 0);
    assert_int_equal(segments_on_disk(), 5);
    upload(s, a, WH_SPOOL_BLOB, 20 * len, false);
    upload(s, a, WH_SPOOL_PAGE, 30 * len, false);
    upload(s, WH_SPOOL_JOB, WH_SPOOL_BLOB, 40 * len, false);
    assert_int_equal(segments_on_disk(), 5);
    upload(s, WH_SPOOL_JOB, WH_SPOOL_PAGE, 17 * len, false);
    assert_int_equal(segments_on_disk(), 3);
    assert_int_equal(wh_spool_waiting(s), 24 * len);
    s = again(s);
    struct wh_spool_mark m = wh_spool_mark(s, a, WH_SPOOL_PAGE);
    assert_int_equal(m.pos, 30 * len);
    assert_int_equal(m.flags, 5);
    assert_int_equal(m.value, -7);
    assert_int_equal(wh_spool_lines(s, a), 40);
    assert_int_equal(wh_spool_lines(s, WH_SPOOL_JOB), 40);
    char byte;
    assert_int_equal(wh_spool_read(s, a, 16 * len, &byte, 1, NULL), 1);
    wh_autoerror err = {0};
    assert_int_equal(wh_spool_read(s, a, 15 * len, &byte, 1, &err), -1);
    assert_int_equal(err.code, WH_E_CORRUPT);
    upload(s, a, WH_SPOOL_BLOB, 20 * len, true); /* given up */
    upload(s, WH_SPOOL_JOB, WH_SPOOL_PAGE, 40 * len, true);
    assert_int_equal(segments_on_disk(), 2);
    wh_spool_delete(s);
}

static void test_the_bound(void **state)
{
    (void)state;
    struct wh_spool *s = make(1, BLOB); /* counts as the least: 16 MiB */
    int a = wh_spool_log(s, "a", NULL);
    wh_autoerror err = {0};
    size_t len = (size_t)1 << 20;
    wh_autofree char *line = wh_calloc(1, len);
    line[len - 1] = '\n';
    assert_false(wh_spool_full(s));
    for (int i = 0; i < 16; i++) {
        assert_int_equal(wh_spool_full(s), i >= 14);
        assert_int_equal(wh_spool_write(s, a, line, len, 1, false, NULL), 0);
    }
    assert_int_equal(wh_spool_write(s, a, "\n", 1, 1, false, &err), -1);
    assert_int_equal(err.code, WH_E_NO_SPACE);
    for (int i = 0; i < 16; i++) /* the runner's own */
        assert_int_equal(wh_spool_write(s, a, line, len, 1, true, NULL), 0);
    assert_int_equal(wh_spool_write(s, a, line, len, 1, true, NULL), -1);
    assert_int_equal(wh_spool_lines(s, a), 32);
    upload(s, a, WH_SPOOL_BLOB, 30 * len, false);
    upload(s, WH_SPOOL_JOB, WH_SPOOL_BLOB, 30 * len, false);
    assert_int_equal(wh_spool_waiting(s), 2 * len);
    assert_false(wh_spool_full(s));
    wh_spool_delete(s);
}

static void test_texts_and_steps(void **state)
{
    (void)state;
    struct wh_spool *s = make(0, BLOB);
    int t = wh_spool_text(s, WH_SPOOL_SUMMARY, "step", NULL, "# hi", 4, NULL);
    assert_true(t > 0);
    wh_autojson *step = cJSON_Parse("{\"id\":\"s1\",\"status\":1}");
    wh_autojson *later = cJSON_Parse("{\"id\":\"s1\",\"status\":2}");
    wh_autojson *other = cJSON_Parse("{\"id\":\"s2\"}");
    wh_spool_note_step(s, step);
    wh_spool_note_step(s, other);
    wh_spool_note_step(s, later);
    for (int round = 0; round < 2; round++) {
        wh_autofree char *got = whole(s, t, 0);
        wh_autofree char *steps = wh_json_print(wh_spool_steps(s));
        assert_string_equal(got, "# hi");
        assert_int_equal(wh_spool_kind_of(s, t), WH_SPOOL_SUMMARY);
        assert_true(wh_spool_ended(s, t));
        assert_string_equal(steps, "[{\"id\":\"s1\",\"status\":2},{\"id\":\"s2\"}]");
        s = again(s);
    }
    assert_int_equal(wh_spool_waiting(s), 4);
    upload(s, t, WH_SPOOL_BLOB, 4, true);
    assert_int_equal(wh_spool_waiting(s), 0);
    wh_spool_delete(s);
}

static void add_raw(const char *file, const char *text)
{
    wh_autofree char *path = wh_printf("%s/%s", folder, file);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* What a death leaves: half a line of the log, half a line of the journal. */
static void test_torn_ends(void **state)
{
    (void)state;
    struct wh_spool *s = make(0, BLOB);
    int a = wh_spool_log(s, "a", NULL);
    put(s, a, "one\n");
    wh_spool_free(s);
    add_raw("stream.0000000000000000", "tw");
    add_raw("journal", "{\"end\":1");
    s = wh_spool_open(folder, &(struct wh_spool_options){.keep_free = 1}, NULL);
    assert_non_null(s);
    assert_false(wh_spool_ended(s, a));
    expect(s, a, "one\ntw\n");
    put(s, a, "three\n");
    s = again(s);
    expect(s, a, "one\ntw\nthree\n");
    wh_spool_delete(s);
}

static void test_foreign_folders(void **state)
{
    (void)state;
    struct wh_spool_options o = {.keep_free = 1};
    wh_autoerror err = {0};
    assert_null(wh_spool_open(folder, &o, &err));
    assert_int_equal(err.code, WH_E_NOT_FOUND);
    struct wh_spool *s = make(0, BLOB);
    int a = wh_spool_log(s, "a", NULL);
    put(s, a, "one\n");
    wh_spool_free(s);
    add_raw("journal", "not "
                       "json\n{\"to\":99}\n{\"mark\":1,\"by\":7}\n{\"mark\":1,\"by\":0,\"pos\":1e18}\n{"
                       "\"log\":1,\"kind\":1}\n");
    add_raw("stream.00000000000000ff", "beyond a hole\n");
    wh_autofree char *pipe = wh_printf("%s/stream.0000000000000004", folder);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    s = wh_spool_open(folder, &o, &err);
    assert_non_null(s);
    expect(s, a, "one\n");
    assert_int_equal(wh_spool_mark(s, a, WH_SPOOL_BLOB).pos, 4);
    wh_spool_free(s);
    wh_autofree char *journal = wh_printf("%s/journal", folder);
    assert_int_equal(truncate(journal, 5), 0);
    assert_null(wh_spool_open(folder, &o, &err));
    assert_int_equal(err.code, WH_E_CORRUPT);
    assert_int_equal(unlink(journal), 0);
    assert_int_equal(symlink("/etc/passwd", journal), 0);
    assert_null(wh_spool_open(folder, &o, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_two_logs_of_the_same_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_uploaded_segments_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_texts_and_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_foreign_folders, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
