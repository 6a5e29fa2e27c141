/* What is kept of a job: an excerpt of its message, and its completion as JSON and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "github/wire.h"
#include "wherry/base/json.h"
#include "wherry/base/secret.h"

#define STEP_ID "11111111-2222-3333-4444-555555555555"

static char *body_of(const struct wh_github_completion *c)
{
    wh_autojson *body = gh_completion_body("plan", "job", NULL, c);
    return wh_json_print(body);
}

/* Written, read as text and sent: not a byte differs from what would have been sent at first. */
static void test_round_trip(void **state)
{
    (void)state;
    const struct wh_annotation annotation = {.level = WH_ANNOTATION_WARNING,
                                             .message = "too \"loud\"",
                                             .path = "a.c",
                                             .start_line = 3,
                                             .end_line = 4};
    const struct wh_step_record step = {.id = STEP_ID,
                                        .number = 2,
                                        .name = "build",
                                        .type = "run",
                                        .status = WH_STEP_COMPLETED,
                                        .conclusion = WH_TASK_FAILED,
                                        .started_ns = 1790000000123456700,
                                        .completed_ns = 1790000001123456700,
                                        .annotations = &annotation,
                                        .nannotations = 1};
    const struct wh_github_output output = {"n", "42\n43"};
    const struct wh_github_completion completion = {.conclusion = WH_TASK_FAILED,
                                                    .outputs = &output,
                                                    .noutputs = 1,
                                                    .steps = &step,
                                                    .nsteps = 1,
                                                    .annotations = &annotation,
                                                    .nannotations = 1,
                                                    .environment_url = "https://example.org/"};
    wh_autojson *json = wh_github_completion_json(&completion);
    wh_autofree char *text = wh_json_print(json);
    wh_autojson *parsed = wh_json_parse(text, strlen(text), 65536, "kept", NULL);
    struct wh_github_completion read;
    assert_int_equal(wh_github_completion_read(parsed, &read, NULL), 0);
    assert_int_equal(read.nsteps, 1);
    assert_true(read.steps[0].started_ns / 1000 == step.started_ns / 1000);
    struct wh_step_record exact = read.steps[0];
    exact.started_ns = step.started_ns; /* JSON's numbers keep 53 bits */
    exact.completed_ns = step.completed_ns;
    struct wh_github_completion sent = read;
    sent.steps = &exact;
    wh_autofree char *first = body_of(&completion);
    wh_autofree char *second = body_of(&sent);
    assert_string_equal(first, second);
    wh_github_completion_clear(&read);
}

static void test_odd_files(void **state)
{
    (void)state;
    static const char *const none[] = {"{}", "[]", "{\"conclusion\":\"splendid\"}", "{\"conclusion\":7}"};
    static const char *const some[] = {
        "{\"conclusion\":\"failed\",\"steps\":[{\"id\":\"short\"},5,null],\"outputs\":[1,{}],\"annotations\":"
        "{}}",
        "{\"conclusion\":\"succeeded\",\"outputs\":{\"a\":{\"b\":1},\"c\":null}}"};
    struct wh_github_completion read;
    for (size_t i = 0; i < WH_COUNT(none); i++) {
        wh_autoerror err = {0};
        wh_autojson *json = wh_json_parse(none[i], strlen(none[i]), 65536, "kept", NULL);
        assert_int_equal(wh_github_completion_read(json, &read, &err), -1);
        assert_int_equal(err.code, WH_E_CORRUPT);
    }
    for (size_t i = 0; i < WH_COUNT(some); i++) {
        wh_autojson *json = wh_json_parse(some[i], strlen(some[i]), 65536, "kept", NULL);
        assert_int_equal(wh_github_completion_read(json, &read, NULL), 0);
        assert_int_equal(read.nsteps + read.noutputs, 0);
        wh_github_completion_clear(&read);
    }
}

/* The excerpt makes the same job; secrets of the workflow are not in it. */
static void test_excerpt(void **state)
{
    (void)state;
    const char *text =
        "{\"jobId\":\"j\",\"jobDisplayName\":\"one\",\"plan\":{\"planId\":\"p\"},\"steps\":[{\"id\":\"x\"}],"
        "\"resources\":{\"endpoints\":[{\"name\":\"other\",\"url\":\"http://no/\"},"
        "{\"name\":\"systemvssconnection\",\"url\":\"http://run/\",\"authorization\":{\"parameters\":"
        "{\"AccessToken\":\"job-token\"}},\"data\":{\"ResultsServiceUrl\":\"http://results/\"}}]},"
        "\"variables\":{\"system.github.results_endpoint\":{\"value\":\"http://results/\"},"
        "\"system.github.token\":{\"value\":\"ghs_secret\",\"isSecret\":true},\"PASSWORD\":{\"value\":"
        "\"hunter2\","
        "\"isSecret\":true},\"MINE\":{\"value\":\"x\"}}}";
    wh_autojson *message = wh_json_parse(text, strlen(text), 65536, "message", NULL);
    wh_autojson *excerpt = wh_github_job_excerpt(message);
    wh_autofree char *kept = wh_json_print(excerpt);
    assert_non_null(strstr(kept, "job-token"));
    assert_non_null(strstr(kept, "results_endpoint"));
    assert_null(strstr(kept, "ghs_secret"));
    assert_null(strstr(kept, "hunter2"));
    assert_null(strstr(kept, "MINE"));
    assert_null(strstr(kept, "http://no/"));
    assert_null(strstr(kept, "steps"));
    wh_autoerror err = {0};
    wh_autogithubjob *job = wh_github_job_new(NULL, excerpt, &err);
    assert_non_null(job);
    assert_string_equal(wh_github_job_id(job), "j");
}

int main(void)
{
    wh_secrets_init();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_odd_files),
                                       cmocka_unit_test(test_excerpt)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
