/* The tables of life.c: docs/protocol.md shows the same rows, in the same order; no event has two rows in a
 * state, and every state can be left. `test_life --print` prints the tables for the document. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "daemon/daemon.h"
#include "wherry/base/fs.h"

#define MAX_DOCUMENT ((size_t)4 << 20)
#define MAX_ROWS 256

static const char *const titles[] = {[LIFE_OF_RUNNER] = "### A runner", [LIFE_OF_JOB] = "### A job of it"};

/* As a table of Markdown; a state's name stands in its first row. */
static char *as_text(enum life life)
{
    struct wh_str text = {0};
    struct life_row row;
    const char *state = NULL;
    wh_str_add(&text, "| state | event | does | is then |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; life_row(life, i, &row); i++) {
        bool first = !state || strcmp(state, row.state) != 0;
        wh_str_addf(&text, "| %s%s%s | %s | %s | %s |\n", first ? "`" : "", first ? row.state : "",
                    first ? "`" : "", row.event, row.does, row.next);
        state = row.state;
    }
    return text.data;
}

static void check_document(enum life life)
{
    wh_autostr document = {0};
    wh_autoerror err = {0};
    if (wh_read_file(AT_FDCWD, WH_TEST_DATA "/../../../docs/protocol.md", MAX_DOCUMENT, &document, &err) < 0)
        fail_msg("%s", wh_error_text(&err));
    const char *at = strstr(wh_str_text(&document), titles[life]);
    assert_non_null(at);
    const char *table = strstr(at, "| state |");
    assert_non_null(table);
    const char *end = strstr(table, "\n\n");
    wh_autofree char *shown = end ? wh_strndup(table, (size_t)(end - table) + 1) : wh_strdup(table);
    wh_autofree char *wanted = as_text(life);
    if (strcmp(shown, wanted) != 0)
        print_message("docs/protocol.md, %s: paste what `test_life --print` prints\n", titles[life]);
    assert_string_equal(shown, wanted);
}

static void the_document_has_the_runners_table(void **state)
{
    (void)state;
    check_document(LIFE_OF_RUNNER);
}

static void the_document_has_the_jobs_table(void **state)
{
    (void)state;
    check_document(LIFE_OF_JOB);
}

static void check_rows(enum life life, const char *const *last, size_t nlast)
{
    struct life_row rows[MAX_ROWS];
    size_t n = 0;
    while (n < MAX_ROWS && life_row(life, n, &rows[n]))
        n++;
    assert_in_range(n, 20, MAX_ROWS - 1);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = i + 1; k < n; k++)
            if (strcmp(rows[i].state, rows[k].state) == 0 && strcmp(rows[i].event, rows[k].event) == 0)
                fail_msg("%s, %s has two rows", rows[i].state, rows[i].event);
        /* Rows of one state stand together, or the document's table would name it twice. */
        for (size_t k = i + 2; k < n; k++)
            if (strcmp(rows[i].state, rows[k].state) == 0 && strcmp(rows[k - 1].state, rows[k].state) != 0)
                fail_msg("the rows of %s do not stand together", rows[i].state);
        bool left = false;
        for (size_t k = 0; k < n && !left; k++)
            left = strcmp(rows[k].state, rows[i].next) == 0;
        for (size_t k = 0; k < nlast && !left; k++)
            left = strcmp(last[k], rows[i].next) == 0;
        if (!left)
            fail_msg("nothing leads on from %s", rows[i].next);
    }
}

static void every_state_is_left(void **state)
{
    (void)state;
    static const char *const runner_ends[] = {"as it is to end"};
    check_rows(LIFE_OF_RUNNER, runner_ends, WH_COUNT(runner_ends));
    check_rows(LIFE_OF_JOB, NULL, 0);
}

/* Until the runner's job is over, and it may be over at any time, an end must have a way out of each state.
 */
static void every_state_can_end(void **state)
{
    (void)state;
    struct life_row row;
    for (enum runner_state s = RUNNER_CONFIGURED; s < RUNNER_ENDING; s++) {
        bool ends = false;
        for (size_t i = 0; life_row(LIFE_OF_RUNNER, i, &row); i++)
            ends |= strcmp(row.state, runner_state_name(s)) == 0 && strcmp(row.event, "to end, no job") == 0;
        if (!ends)
            fail_msg("a runner that is %s cannot be ended", runner_state_name(s));
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--print") == 0) {
        for (enum life life = LIFE_OF_RUNNER; life <= LIFE_OF_JOB; life++) {
            wh_autofree char *text = as_text(life);
            printf("%s\n\n%s\n", titles[life], text);
        }
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_document_has_the_runners_table),
                                       cmocka_unit_test(the_document_has_the_jobs_table),
                                       cmocka_unit_test(every_state_is_left),
                                       cmocka_unit_test(every_state_can_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
