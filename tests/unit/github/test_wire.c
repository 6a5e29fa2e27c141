/* What the service says and what it is told: URLs, broker messages, token answers, results, steps,
 * completion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "github/call.h"
#include "github/token.h"
#include "github/wire.h"
#include "wherry/github/register.h"
#include "wherry/github/session.h"
#include "wherry/github/version.h"

static void expect_url(const char *url, const char *api, const char *entity)
{
    wh_autogithuburl u = {0};
    wh_autoerror err = {0};
    int code = wh_github_url_parse(url, &u, &err);
    if (!api) {
        assert_true(code < 0);
        assert_int_equal(err.code, WH_E_ARGUMENT);
        return;
    }
    if (code)
        fail_msg("%s", wh_error_text(&err));
    wh_autofree char *whole = wh_printf("%s%s", api, entity);
    assert_string_equal(u.api, api);
    assert_string_equal(u.entity, whole);
}

static void test_urls(void **state)
{
    (void)state;
    expect_url("https://github.com/acme/web", "https://api.github.com", "/repos/acme/web/actions");
    expect_url("https://www.github.com/acme/web/", "https://api.github.com", "/repos/acme/web/actions");
    expect_url("https://GitHub.com/acme", "https://api.github.com", "/orgs/acme/actions");
    expect_url("https://github.com/enterprises/big", "https://api.github.com", "/enterprises/big/actions");
    expect_url("https://acme.ghe.com/acme/web", "https://api.acme.ghe.com", "/repos/acme/web/actions");
    expect_url("https://git.corp:8443/a/b", "https://git.corp:8443/api/v3", "/repos/a/b/actions");
    expect_url("http://127.0.0.1:80/a/b", "http://127.0.0.1:80/api/v3", "/repos/a/b/actions");
    const char *const bad[] = {"",
                               "github.com/acme/web",
                               "https://github.com",
                               "https://github.com/a/b/c",
                               "ftp://github.com/a/b",
                               "https://github.com/a b",
                               "https://github.com/a/.."};
    for (size_t i = 0; i < WH_COUNT(bad); i++)
        expect_url(bad[i], NULL, NULL);
}

static void test_joining(void **state)
{
    (void)state;
    wh_autofree char *a = gh_url("https://h/7/", "x"), *b = gh_url("https://h/7", "/x");
    assert_string_equal(a, "https://h/7/x");
    assert_string_equal(b, "https://h/7/x");
    wh_autostr url = {0};
    wh_str_add(&url, "https://h/x");
    gh_query_add(&url, "a", "1&2 ü");
    gh_query_add(&url, "b", "c");
    assert_string_equal(url.data, "https://h/x?a=1%262%20%C3%BC&b=c");
}

static int parse(const char *text, struct wh_broker_message *m, struct wh_error *err)
{
    return wh_broker_message_parse(text, strlen(text), m, err);
}

static void test_job_announcement(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autobrokermessage m = {0};
    assert_int_equal(
        parse(
            "\xef\xbb\xbf{\"MessageId\":-17,\"messageType\":\"runnerJobRequest\",\"body\":"
            "\"{\\\"runner_request_id\\\":\\\"b2\\\",\\\"should_acknowledge\\\":\\\"True\\\","
            "\\\"run_service_url\\\":\\\"https://run.example/7/\\\",\\\"billing_owner_id\\\":\\\"U_1\\\"}\"}",
            &m, &err),
        0);
    assert_int_equal(m.type, WH_MESSAGE_JOB);
    assert_string_equal(m.id, "-17");
    assert_string_equal(m.request_id, "b2");
    assert_true(m.should_acknowledge);
    assert_string_equal(m.run_service_url, "https://run.example/7/");
    assert_string_equal(m.billing_owner_id, "U_1");
}

static void expect_timeout(const char *text, uint64_t ms)
{
    wh_autobrokermessage m = {0};
    wh_autofree char *json = wh_printf("{\"messageId\":1,\"messageType\":\"JobCancellation\",\"body\":"
                                       "\"{\\\"jobId\\\":\\\"j1\\\",\\\"timeout\\\":\\\"%s\\\"}\"}",
                                       text);
    assert_int_equal(parse(json, &m, NULL), 0);
    assert_string_equal(m.job_id, "j1");
    assert_int_equal(m.timeout_ms, ms);
}

static void test_cancellations(void **state)
{
    (void)state;
    expect_timeout("00:05:00", 300000);
    expect_timeout("1.00:00:01", 86400000); /* cut to a day */
    expect_timeout("01:00:00.1234567", 3600000);
    expect_timeout("", 0);
    expect_timeout("5", 0);
    expect_timeout("00:05", 0);
    expect_timeout("-00:05:00", 0);
    expect_timeout("999999999999999999:00:00", 0);
}

static void test_bad_messages(void **state)
{
    (void)state;
    const char *const bad[] = {
        "",
        "{",
        "[]",
        "<html></html>",
        "{\"messageType\":5}",
        "{\"body\":\"{}\"}",
        "{\"messageType\":\"RunnerJobRequest\",\"body\":\"{\"}",
        "{\"messageType\":\"RunnerJobRequest\",\"body\":\"{}\"}",
        "{\"messageType\":\"RunnerJobRequest\",\"body\":\"{\\\"runner_request_id\\\":\\\"1\\\",\\\"run_"
        "service_url\\\":\\\"file:///x\\\"}\"}",
        "{\"messageType\":\"JobCancellation\",\"body\":\"{}\"}",
        "{\"messageType\":\"BrokerMigration\",\"body\":\"{\\\"brokerBaseUrl\\\":\\\"x\\\"}\"}"};
    for (size_t i = 0; i < WH_COUNT(bad); i++) {
        wh_autoerror err = {0};
        wh_autobrokermessage m = {0};
        if (parse(bad[i], &m, &err) >= 0)
            fail_msg("accepted: %s", bad[i]);
        assert_int_not_equal(err.code, WH_OK);
    }
    wh_autobrokermessage other = {0};
    assert_int_equal(parse("{\"messageType\":\"Whatever\",\"body\":\"not json\"}", &other, NULL), 0);
    assert_int_equal(other.type, WH_MESSAGE_OTHER);
}

static void expect_token(int status, const char *body, enum wh_outcome outcome)
{
    struct wh_token_answer answer = {0};
    wh_token_answer_read(status, body, strlen(body), &answer);
    if (answer.outcome != outcome)
        fail_msg("%d %s: outcome %d", status, body, answer.outcome);
    assert_true((answer.token != NULL) == (outcome == WH_OUT_OK));
    assert_true((answer.why != NULL) == (outcome != WH_OUT_OK));
    wh_token_answer_clear(&answer);
}

static void test_token_answers(void **state)
{
    (void)state;
    expect_token(200, "{\"access_token\":\"a\",\"expires_in\":3000}", WH_OUT_OK);
    expect_token(200, "{\"Access_Token\":\"a\",\"expires_in\":\"3000\"}", WH_OUT_OK);
    expect_token(200, "{\"access_token\":\"\"}", WH_OUT_TRANSIENT);
    expect_token(200, "{\"access_token\":\"a\\r\\nX: y\"}", WH_OUT_TRANSIENT);
    expect_token(200, "", WH_OUT_TRANSIENT);
    expect_token(200, "<html>", WH_OUT_TRANSIENT);
    expect_token(400, "{\"error\":\"invalid_client\",\"error_description\":\"gone\"}", WH_OUT_DENIED);
    expect_token(400,
                 "{\"error\":\"invalid_client\",\"error_description\":\"The token is not valid until 1. "
                 "Current server time is 0.\"}",
                 WH_OUT_CLOCK);
    expect_token(400, "{\"error\":\"invalid_client\",\"error_description\":\"assertion lifetime exceeds\"}",
                 WH_OUT_CLOCK);
    expect_token(400, "{\"error\":\"server_error\"}", WH_OUT_TRANSIENT);
    expect_token(503, "", WH_OUT_TRANSIENT);
    struct wh_token_answer answer = {0};
    const char *life = "{\"access_token\":\"a\",\"expires_in\":99999999}";
    wh_token_answer_read(200, life, strlen(life), &answer);
    assert_int_equal(answer.seconds, WH_MAX_TOKEN_SECONDS);
    wh_token_answer_clear(&answer);
}

static void test_results_words(void **state)
{
    (void)state;
    assert_string_equal(wh_task_result_text(WH_TASK_SUCCEEDED_WITH_ISSUES), "succeededWithIssues");
    assert_null(wh_task_result_text(WH_TASK_NONE));
    assert_int_equal(wh_task_result_parse("Cancelled"), WH_TASK_CANCELED);
    assert_int_equal(wh_task_result_parse("canceled"), WH_TASK_CANCELED);
    assert_int_equal(wh_task_result_parse("failure"), WH_TASK_FAILED);
    assert_int_equal(wh_task_result_parse(NULL), WH_TASK_NONE);
    assert_int_equal(wh_task_result_parse("odd"), WH_TASK_NONE);
}

static void test_step_update(void **state)
{
    (void)state;
    struct wh_step_record step = {.id = "57e9",
                                  .number = 3,
                                  .name = "Run make",
                                  .status = WH_STEP_IN_PROGRESS,
                                  .conclusion = WH_TASK_NONE,
                                  .started_ns = 1790000000123456789};
    wh_autojson *json = gh_step_update(&step);
    wh_autofree char *text = wh_json_print(json);
    assert_string_equal(
        text, "{\"external_id\":\"57e9\",\"number\":3,\"name\":\"Run make\",\"status\":3,"
              "\"started_at\":\"2026-09-21T14:13:20.123Z\",\"completed_at\":null,\"conclusion\":0}");
    step.status = WH_STEP_COMPLETED;
    step.completed_ns = step.started_ns + 1000000000;
    const int numbers[] = {2, 2, 3, 4, 7, 0};
    for (int i = 0; i < 6; i++) {
        step.conclusion = (enum wh_task_result)i;
        wh_autojson *done = gh_step_update(&step);
        assert_int_equal(wh_json_int(done, "status", -1), 6);
        assert_int_equal(wh_json_int(done, "conclusion", -1), numbers[i]);
    }
}

static void test_annotations_are_bounded(void **state)
{
    (void)state;
    struct wh_annotation list[30] = {0};
    wh_autostr long_text = {0};
    for (int i = 0; i < WH_MAX_ANNOTATION_MESSAGE + 1; i++)
        wh_str_add(&long_text, "ü");
    for (size_t i = 0; i < WH_COUNT(list); i++) {
        list[i].level = i < 15 ? WH_ANNOTATION_FAILURE : WH_ANNOTATION_NOTICE;
        list[i].message = long_text.data;
    }
    list[0].start_line = 14;
    wh_autojson *json = gh_annotations(list, WH_COUNT(list), 4);
    assert_int_equal(cJSON_GetArraySize(json), 2 * WH_MAX_ANNOTATIONS);
    const cJSON *first = cJSON_GetArrayItem(json, 0);
    assert_int_equal(strlen(wh_json_string(first, "message")), 2 * WH_MAX_ANNOTATION_MESSAGE);
    assert_string_equal(wh_json_string(first, "level"), "failure");
    assert_int_equal(wh_json_int(first, "endLine", 0), 14);
    assert_int_equal(wh_json_int(first, "stepNumber", 0), 4);
    assert_null(wh_json_get(cJSON_GetArrayItem(json, 1), "startLine"));
}

static void test_completion(void **state)
{
    (void)state;
    struct wh_github_output outputs[] = {{"v", "1.2"}};
    struct wh_step_record steps[] = {{.id = "s",
                                      .number = 1,
                                      .name = "",
                                      .status = WH_STEP_COMPLETED,
                                      .conclusion = WH_TASK_SKIPPED,
                                      .completed_ns = 1790000000000000000}};
    struct wh_github_completion c = {
        .conclusion = WH_TASK_FAILED, .outputs = outputs, .noutputs = 1, .steps = steps, .nsteps = 1};
    wh_autojson *json = gh_completion_body("p", "j", NULL, &c);
    assert_string_equal(wh_json_string(json, "conclusion"), "failed");
    assert_string_equal(wh_json_string(wh_json_get(wh_json_get(json, "outputs"), "v"), "value"), "1.2");
    const cJSON *step = wh_json_get(json, "stepResults")->child;
    assert_string_equal(wh_json_string(step, "started_at"), wh_json_string(step, "completed_at"));
    assert_string_equal(wh_json_string(step, "conclusion"), "skipped");
    assert_true(strlen(wh_json_string(step, "name")) > 0);
    assert_null(wh_json_get(json, "billingOwnerId"));
    assert_true(cJSON_IsArray(wh_json_get(json, "annotations")));
}

static void test_versions(void **state)
{
    (void)state;
    assert_true(wh_runner_version_valid("2.336.0"));
    const char *const bad[] = {"", "2.336", "v2.336.0", "2.336.0.1", "2.336.0-rc1", "2..0", NULL};
    for (size_t i = 0; i < WH_COUNT(bad); i++)
        assert_false(wh_runner_version_valid(bad[i]));
    bool fresh = true;
    wh_autofree char *version = wh_runner_version_cached("/nonexistent", &fresh);
    assert_string_equal(version, WH_RUNNER_VERSION_FALLBACK);
    assert_false(fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_urls),
                                       cmocka_unit_test(test_joining),
                                       cmocka_unit_test(test_job_announcement),
                                       cmocka_unit_test(test_cancellations),
                                       cmocka_unit_test(test_bad_messages),
                                       cmocka_unit_test(test_token_answers),
                                       cmocka_unit_test(test_results_words),
                                       cmocka_unit_test(test_step_update),
                                       cmocka_unit_test(test_annotations_are_bounded),
                                       cmocka_unit_test(test_completion),
                                       cmocka_unit_test(test_versions)};
    wh_secrets_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
