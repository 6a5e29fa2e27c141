/* The environment of steps: PATH additions, and who wins over whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "worker/job.h"

static void expect_path(const struct wh_job *j, const char *base, const char *expected)
{
    wh_autofree char *path = wh_environ_path(j, base);
    assert_string_equal(path, expected);
}

static void test_path(void **state)
{
    (void)state;
    struct wh_job j = {0};
    expect_path(&j, "/usr/bin", "/usr/bin");
    wh_environ_add_path(&j, "/a");
    wh_environ_add_path(&j, "/b");
    expect_path(&j, "/usr/bin", "/b:/a:/usr/bin");
    expect_path(&j, NULL, "/b:/a");
    wh_environ_add_path(&j, "/a"); /* once more: it moves to the front */
    expect_path(&j, "/usr/bin", "/a:/b:/usr/bin");
    expect_path(&j, "/a:/b:/usr/bin", "/a:/b:/usr/bin"); /* it is there already */
    wh_strv_free(j.prepends);
}

static const char message_text[] =
    "{\"messageType\":\"RunnerJobRequest\",\"jobId\":\"2d9c7d3e-7a55-4a0b-9a63-0f1f2e3d4c5b\","
    "\"jobDisplayName\":\"j\","
    "\"plan\":{\"planId\":\"0f6d2a52-5c38-4b1f-9d0e-5b8f6a1c7e11\",\"planType\":\"actions\",\"version\":0},"
    "\"timeline\":{\"id\":\"8a3f7c10-1111-4222-8333-944455556666\"},"
    "\"resources\":{\"endpoints\":[{\"name\":\"SystemVssConnection\",\"url\":\"https://run.example.test/\","
    "\"authorization\":{\"scheme\":\"OAuth\",\"parameters\":{\"AccessToken\":\"JOBTOKEN\"}},"
    "\"data\":{\"ResultsServiceUrl\":\"https://results.example.test/\",\"CacheServerUrl\":\"https://"
    "cache.example.test/\","
    "\"GenerateIdTokenUrl\":\"https://run.example.test/id\"}}]},"
    "\"variables\":{\"actions_uses_cache_service_v2\":{\"value\":\"true\"}},"
    "\"contextData\":{\"github\":{\"t\":2,\"d\":[{\"k\":\"repository\",\"v\":\"acme/"
    "web\"},{\"k\":\"ref_protected\",\"v\":false},"
    "{\"k\":\"run_id\",\"v\":42}]}},\"steps\":[]}";

struct fixture {
    struct wh_job job;
    struct wh_run run;
};

static int set_up(void **state)
{
    struct fixture *f = wh_calloc(1, sizeof *f);
    wh_autoerror err = {0};
    struct wh_job *j = &f->job;
    j->message = wh_message_parse(message_text, strlen(message_text), &err);
    if (!j->message)
        fail_msg("%s", wh_error_text(&err));
    j->contexts = wh_message_contexts(j->message);
    j->github = (struct wh_value *)wh_object_get(j->contexts, "github");
    j->runner_context = (struct wh_value *)wh_object_get(j->contexts, "runner");
    wh_object_set_text(j->runner_context, "os", "Linux");
    wh_strv_add(&j->base_env, "PATH=/usr/bin");
    wh_strv_add(&j->base_env, "BASE=worker");
    f->run.env = wh_value_object_case_sensitive();
    wh_object_set_text(f->run.env, "BASE", "workflow");
    wh_object_set_text(f->run.env, "GITHUB_REPOSITORY", "can't be changed");
    wh_object_set_text(f->run.env, "CI", "mine");
    wh_object_set_text(f->run.env, "BAD=NAME", "x");
    f->run.state = wh_value_object_case_sensitive();
    wh_object_set_text(f->run.state, "aKey", "kept");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    wh_value_unref(f->run.env);
    wh_value_unref(f->run.state);
    wh_value_unref(f->job.contexts);
    wh_message_free(f->job.message);
    wh_strv_free(f->job.base_env);
    wh_strv_free(f->job.prepends);
    free(f);
    return 0;
}

static void test_script(void **state)
{
    struct fixture *f = *state;
    wh_environ_add_path(&f->job, "/tools");
    wh_autostrv char **env = wh_environ_of(&f->job, &f->run, NULL);
    assert_string_equal(wh_env_get(env, "BASE"), "workflow");
    assert_string_equal(wh_env_get(env, "GITHUB_REPOSITORY"), "acme/web");
    assert_string_equal(wh_env_get(env, "GITHUB_REF_PROTECTED"), "false");
    assert_null(wh_env_get(env, "GITHUB_RUN_ID")); /* a number gives no variable */
    assert_string_equal(wh_env_get(env, "RUNNER_OS"), "Linux");
    assert_string_equal(wh_env_get(env, "PATH"), "/tools:/usr/bin");
    assert_string_equal(wh_env_get(env, "CI"), "mine");
    assert_string_equal(wh_env_get(env, "GITHUB_ACTIONS"), "true");
    assert_null(wh_env_get(env, "BAD"));
    /* Of the service, a script gets the id token's address alone. */
    assert_string_equal(wh_env_get(env, "ACTIONS_ID_TOKEN_REQUEST_URL"), "https://run.example.test/id");
    assert_string_equal(wh_env_get(env, "ACTIONS_ID_TOKEN_REQUEST_TOKEN"), "JOBTOKEN");
    assert_null(wh_env_get(env, "ACTIONS_RUNTIME_TOKEN"));
    assert_null(wh_env_get(env, "STATE_aKey"));
}

static void test_action(void **state)
{
    struct fixture *f = *state;
    wh_autovalue *inputs = wh_value_object();
    wh_object_set_text(inputs, "build-args", "A=1");
    wh_object_set_text(inputs, "two words", "x");
    wh_autostrv char **env = wh_environ_of(&f->job, &f->run, inputs);
    assert_string_equal(wh_env_get(env, "INPUT_BUILD-ARGS"), "A=1");
    assert_string_equal(wh_env_get(env, "INPUT_TWO_WORDS"), "x");
    assert_string_equal(wh_env_get(env, "STATE_aKey"), "kept");
    assert_string_equal(wh_env_get(env, "ACTIONS_RUNTIME_URL"), "https://run.example.test/");
    assert_string_equal(wh_env_get(env, "ACTIONS_RUNTIME_TOKEN"), "JOBTOKEN");
    assert_string_equal(wh_env_get(env, "ACTIONS_RESULTS_URL"), "https://results.example.test/");
    assert_string_equal(wh_env_get(env, "ACTIONS_CACHE_URL"), "https://cache.example.test/");
    assert_string_equal(wh_env_get(env, "ACTIONS_CACHE_SERVICE_V2"), "True");
}

static void test_local_run_has_no_service(void **state)
{
    struct fixture *f = *state;
    f->job.local = true;
    wh_autovalue *inputs = wh_value_object();
    wh_autostrv char **env = wh_environ_of(&f->job, &f->run, inputs);
    assert_null(wh_env_get(env, "ACTIONS_RUNTIME_TOKEN"));
    assert_null(wh_env_get(env, "ACTIONS_RUNTIME_URL"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_path), TEST(test_script), TEST(test_action),
                                       TEST(test_local_run_has_no_service)};
    return cmocka_run_group_tests_name("environ", tests, NULL, NULL);
}
