/* The trust scope of a job's builds, as the agent reads it from the message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "daemon/daemon.h"

static cJSON *scope_of(const char *github)
{
    wh_autofree char *text = wh_printf("{\"contextData\":{\"github\":%s}}", github);
    wh_autojson *message = wh_json_parse(text, strlen(text), 65536, "message", NULL);
    assert_non_null(message);
    return builds_scope(message);
}

static void test_push(void **state)
{
    (void)state;
    wh_autojson *scope = scope_of(
        "{\"t\":2,\"d\":[{\"k\":\"repository\",\"v\":\"acme/"
        "web\"},{\"k\":\"ref\",\"v\":{\"t\":0,\"s\":\"refs/heads/x\"}},"
        "{\"k\":\"base_ref\",\"v\":\"\"},{\"k\":\"event\",\"v\":{\"t\":2,\"d\":[{\"k\":\"repository\",\"v\":"
        "{\"t\":2,\"d\":[{\"k\":\"default_branch\",\"v\":\"main\"}]}}]}}]}");
    assert_string_equal(wh_json_string(scope, "repository"), "acme/web");
    assert_string_equal(wh_json_string(scope, "ref"), "refs/heads/x");
    assert_string_equal(wh_json_string(scope, "defaultRef"), "refs/heads/main");
    assert_null(wh_json_get(scope, "baseRef"));
}

static void test_pull_request(void **state)
{
    (void)state;
    wh_autojson *scope = scope_of("{\"t\":2,\"d\":[{\"k\":\"repository\",\"v\":\"acme/"
                                  "web\"},{\"k\":\"ref\",\"v\":\"refs/pull/7/merge\"},"
                                  "{\"k\":\"base_ref\",\"v\":\"dev\"}]}");
    assert_string_equal(wh_json_string(scope, "baseRef"), "refs/heads/dev");
}

static void test_a_job_is_never_local(void **state)
{
    (void)state;
    const char *const odd[] = {"{\"t\":2}", "null", "{\"t\":2,\"d\":[{\"k\":\"repository\",\"v\":\"\"}]}",
                               "{\"t\":2,\"d\":[{\"k\":\"repository\",\"v\":{\"t\":1}}]}",
                               "{\"t\":2,\"d\":5}"};
    for (size_t i = 0; i < WH_COUNT(odd); i++) {
        wh_autojson *scope = scope_of(odd[i]);
        assert_true(strlen(wh_json_string(scope, "repository")) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_push), cmocka_unit_test(test_pull_request),
                                       cmocka_unit_test(test_a_job_is_never_local)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
