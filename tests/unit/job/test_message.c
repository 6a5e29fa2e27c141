/* The job message: a whole one, the forms that producers differ in, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wherry/base/fs.h"
#include "wherry/job/logtext.h"
#include "wherry/job/mask.h"
#include "wherry/job/message.h"

static cJSON *sample(void)
{
    wh_autoerror err = {0};
    cJSON *json = wh_json_read_file(WH_TEST_DATA "/message.json", 1 << 20, &err);
    assert_non_null(json);
    return json;
}

static struct wh_job_message *parse_json(const cJSON *json, struct wh_error *err)
{
    wh_autofree char *text = cJSON_PrintUnformatted(json);
    return wh_message_parse(text, strlen(text), err);
}

static struct wh_job_message *parse_sample(void)
{
    wh_autojson *json = sample();
    wh_autoerror err = {0};
    struct wh_job_message *m = parse_json(json, &err);
    if (!m)
        fail_msg("%s", wh_error_text(&err));
    return m;
}

static void test_whole(void **state)
{
    (void)state;
    wh_automessage *m = parse_sample();
    assert_string_equal(m->message_type, "RunnerJobRequest");
    assert_string_equal(m->job_id, "2d9c7d3e-7a55-4a0b-9a63-0f1f2e3d4c5b");
    assert_string_equal(m->plan_id, "0f6d2a52-5c38-4b1f-9d0e-5b8f6a1c7e11");
    assert_int_equal(m->plan_version, 9);
    assert_int_equal(m->request_id, 7);
    assert_int_equal(m->nsteps, 3);
    assert_int_equal(m->steps[0].reference.type, WH_REFERENCE_SCRIPT);
    assert_int_equal(m->steps[1].reference.type, WH_REFERENCE_REPOSITORY);
    assert_string_equal(m->steps[1].reference.name, "actions/checkout");
    assert_string_equal(m->steps[2].condition, "success() && (github.ref == 'refs/heads/main')");
    assert_true(m->steps[2].enabled);
    assert_int_equal(m->steps[2].timeout_minutes->type, WH_TOKEN_NUMBER);
    assert_string_equal(m->file_table[0], ".github/workflows/ci.yml");
    assert_string_equal(wh_message_access_token(m), "JOBTOKEN");
    assert_string_equal(wh_message_endpoint_data(m, "resultsserviceurl"), "https://results.example.test/");
    assert_null(wh_message_endpoint_data(m, "PipelinesServiceUrl"));
    assert_string_equal(wh_message_variable(m, "SYSTEM.GITHUB.JOB"), "image");
    assert_true(wh_message_variable_bool(m, "actions_uses_cache_service_v2", false));
    assert_true(wh_message_variable_bool(m, "absent", true));
    assert_null(m->job_container);
}

static void test_contexts(void **state)
{
    (void)state;
    wh_automessage *m = parse_sample();
    wh_autovalue *contexts = wh_message_contexts(m);
    const struct wh_value *github = wh_object_get(contexts, "github");
    assert_string_equal(wh_object_key_at(github, 0), "token");
    assert_string_equal(wh_value_text(wh_object_get(github, "token")), "ghs_x");
    assert_string_equal(wh_value_text(wh_object_get(github, "job")), "image");
    assert_string_equal(wh_value_text(wh_object_get(github, "repository")), "acme/web");
    const struct wh_value *secrets = wh_object_get(contexts, "secrets");
    assert_int_equal(wh_value_count(secrets), 2); /* system.github.token stays out */
    assert_string_equal(wh_value_text(wh_object_get(secrets, "GITHUB_TOKEN")), "ghs_x");
    assert_true(wh_object_is_case_sensitive(wh_object_get(contexts, "env")));
    assert_true(wh_value_is_null(wh_object_get(contexts, "matrix")));
    /* The message's own data is not touched by what the worker sets. */
    wh_object_set_text((struct wh_value *)(uintptr_t)github, "workspace", "/w");
    assert_null(wh_object_get(wh_object_get(m->context_data, "github"), "workspace"));

    wh_autovalue *runner = wh_value_object();
    wh_object_set_text(runner, "tool_cache", "/t");
    wh_autostrv char **env = NULL;
    wh_context_export(github, runner, &env);
    assert_string_equal(wh_env_get(env, "GITHUB_REPOSITORY"), "acme/web");
    assert_string_equal(wh_env_get(env, "GITHUB_REF_PROTECTED"), "false");
    assert_string_equal(wh_env_get(env, "RUNNER_TOOL_CACHE"), "/t");
    assert_null(wh_env_get(env, "GITHUB_TOKEN"));
    assert_null(wh_env_get(env, "GITHUB_EVENT"));
}

/* Evaluates what the sample carries: the script, job env and outputs. */
static void test_evaluate(void **state)
{
    (void)state;
    wh_automessage *m = parse_sample();
    wh_autovalue *contexts = wh_message_contexts(m);
    struct wh_template_env env = {.eval = {.contexts = contexts},
                                  .allows = wh_place_allows(WH_PLACE_STEP),
                                  .file_table = m->file_table};
    wh_autovalue *job_env = wh_token_eval_strings(m->environment[0], true, &env, NULL);
    assert_string_equal(wh_value_text(wh_object_get(job_env, "IMAGE")), "ghcr.io/acme/web");
    wh_object_set(contexts, "env", job_env);
    wh_autovalue *inputs = wh_token_eval_strings(m->steps[2].inputs, false, &env, NULL);
    assert_string_equal(wh_value_text(wh_object_get(inputs, "TAGS")),
                        "ghcr.io/acme/web:9fceb02d0ae598e95dc970b74767f19372d61af8");
    wh_autofree char *script = wh_step_display_name(&m->steps[0], &env);
    assert_string_equal(script, "Run echo \"sha 9fceb02d0ae598e95dc970b74767f19372d61af8\"");
    wh_autofree char *action = wh_step_display_name(&m->steps[1], &env);
    assert_string_equal(action, "Run actions/checkout@v4");
    wh_autofree char *named = wh_step_display_name(&m->steps[2], NULL);
    assert_string_equal(named, "Build and push");
}

static void test_masks(void **state)
{
    (void)state;
    wh_automessage *m = parse_sample();
    struct wh_masker *masker = wh_masker_new();
    assert_int_equal(wh_masker_add_message(masker, m, NULL), 0);
    wh_autofree char *masked =
        wh_mask_text(masker, "hunter2! JOBTOKEN ghs_x eC1hY2Nlc3MtdG9rZW46Z2hzX3g= image");
    assert_string_equal(masked, "*** *** *** *** image");
    wh_masker_free(masker);
}

/* ---- forms ---- */

/* The sample with one member replaced (or removed: NULL), as a message or an error text. */
static char *outcome(const char *member, const char *value)
{
    wh_autojson *json = sample();
    cJSON_DeleteItemFromObject(json, member);
    if (value)
        cJSON_AddItemToObject(json, member, cJSON_Parse(value));
    wh_autoerror err = {0};
    wh_automessage *m = parse_json(json, &err);
    return wh_strdup(m ? "ok" : wh_error_text(&err));
}

static void check(const char *member, const char *value, const char *expected)
{
    wh_autofree char *got = outcome(member, value);
    assert_string_equal(got, expected);
}

#define STEP(rest) "[{\"type\":\"action\",\"id\":\"1\",\"name\":\"one\"," rest "}]"

static void test_forms(void **state)
{
    (void)state;
    check("steps", NULL, "ok");
    check("steps", "[]", "ok");
    check("contextData", "null", "ok");
    check(
        "variables",
        "{\"a\":{},\"b\":{\"value\":null},\" \":{\"value\":\"x\"},\"c\":{\"Value\":1,\"IsSecret\":\"true\"}}",
        "ok");
    check("mask", "[{\"type\":2,\"value\":\"a\"},{\"type\":\"variable\",\"value\":\"b\"}]", "ok");
    check("jobContainer", "\"debian:12\"", "ok");
    check("steps", STEP("\"reference\":{\"type\":3}"), "ok");
    check("steps", "[{\"Type\":4,\"Id\":\"1\",\"Reference\":{\"Type\":\"Script\"},\"Inputs\":{\"Type\":2}}]",
          "ok");
    check("steps", STEP("\"reference\":{\"type\":\"containerRegistry\",\"image\":\"alpine\"}"), "ok");
    check("steps", STEP("\"reference\":{\"type\":1,\"repositoryType\":\"self\",\"path\":\"./a\"}"), "ok");
    check("unknownMember", "{\"x\":[1,2,3]}", "ok");
}

static void test_refused(void **state)
{
    (void)state;
    check("jobId", NULL, "job message: jobId is missing");
    check("plan", "{}", "job message: plan.planId is missing");
    check("timeline", NULL, "job message: timeline.id is missing");
    check("resources", "{}", "job message: resources.endpoints names SystemVssConnection 0 times, not once");
    check("steps", "{}", "job message: steps is no array");
    check("steps", "[7]", "job message: steps[0]: is no object");
    check("steps", "[{\"type\":\"task\",\"name\":\"x\"}]",
          "job message: steps[0] ('x'): type 'task' is unknown (action is expected)");
    check("steps", "[{\"type\":9}]", "job message: steps[0]: type '9' is unknown (action is expected)");
    check("steps", "[{\"type\":\"backgroundStepControl\",\"id\":\"x\",\"controlType\":\"wait-some\"}]",
          "job message: steps[0]: controlType 'wait-some' is unknown (wait, wait-all or cancel is expected)");
    check("steps", "[{\"type\":5,\"id\":\"x\",\"controlType\":\"wait\",\"stepIds\":[1]}]",
          "job message: steps[0]: stepIds holds something that is no text");
    check("steps", "[{\"type\":5,\"controlType\":\"wait\"}]",
          "job message: steps[0] ('wait'): id is missing");
    check("steps", "[{\"type\":5,\"id\":\"x\",\"controlType\":\"cancel\",\"stepIds\":[\"a\"]}]", "ok");
    check("steps", STEP("\"background\":true,\"reference\":{\"type\":\"script\"}"), "ok");
    check("steps", STEP("\"reference\":{\"type\":\"plugin\"}"),
          "job message: steps[0] ('one'): reference.type 'plugin' is unknown (repository, containerRegistry "
          "or script is "
          "expected)");
    check("steps", STEP("\"condition\":\"x\""), "job message: steps[0] ('one'): reference is missing");
    check("steps", STEP("\"reference\":{\"type\":\"repository\"}"),
          "job message: steps[0] ('one'): reference.name is missing");
    check("steps", STEP("\"reference\":{\"type\":3},\"inputs\":[1]"),
          "job message: steps[0] ('one'): inputs: an array stands where a template token is due");
    check("steps", STEP("\"reference\":{\"type\":3},\"inputs\":\"x\""),
          "job message: steps[0] ('one'): inputs is no mapping");
    check("steps", STEP("\"reference\":{\"type\":3},\"timeoutInMinutes\":{\"type\":12}"),
          "job message: steps[0] ('one'): timeoutInMinutes: type 12 of a template token is unknown");
    check("variables", "[]", "job message: variables is no object");
    check("variables", "{\"a\":7}", "job message: variables.a is no object");
    check("contextData", "[]", "job message: contextData is no object");
    check("contextData", "{\"github\":{\"t\":7}}",
          "job message: contextData.github: type 7 of a value is unknown");
    check("environmentVariables", "[{\"type\":-1}]",
          "job message: environmentVariables[0]: type -1 of a template token is unknown");
    check("jobOutputs", "[]", "job message: jobOutputs: an array stands where a template token is due");
}

static char *error_of(const char *text)
{
    wh_autoerror err = {0};
    wh_automessage *m = wh_message_parse(text, strlen(text), &err);
    return wh_strdup(m ? "ok" : wh_error_text(&err));
}

static void test_no_json(void **state)
{
    (void)state;
    wh_autofree char *truncated = error_of("{\"jobId\":\"a");
    assert_true(wh_starts_with(truncated, "job message: "));
    wh_autofree char *html = error_of("<html>");
    assert_true(wh_starts_with(html, "job message: not valid JSON"));
    wh_autofree char *array = error_of("[]");
    assert_string_equal(array, "job message: no JSON object");
    wh_autofree char *empty = error_of("");
    assert_true(wh_starts_with(empty, "job message: "));
    char deep[600];
    memset(deep, '[', 300);
    memset(deep + 300, ']', 299);
    deep[599] = '\0';
    wh_autofree char *nested = error_of(deep);
    assert_true(wh_starts_with(nested, "job message: nested deeper than"));
}

/* A list (or object) of so many entries is fine, one more is not. */
static void check_count(const char *member, const char *item, bool object, int max)
{
    wh_autostr list = {0};
    wh_str_addc(&list, object ? '{' : '[');
    for (int i = 0; i <= max; i++) {
        if (i == max) {
            wh_autofree char *fits = wh_printf("%s%c", wh_str_text(&list), object ? '}' : ']');
            check(member, fits, "ok");
        }
        wh_str_add(&list, i ? "," : "");
        if (object)
            wh_str_addf(&list, "\"n%d\":", i);
        wh_str_add(&list, item);
    }
    wh_str_addc(&list, object ? '}' : ']');
    wh_autofree char *expected =
        wh_printf("job message: %s has %d entries, more than the limit of %d", member, max + 1, max);
    check(member, wh_str_text(&list), expected);
}

static void test_limits(void **state)
{
    (void)state;
    wh_autostr steps = {0};
    wh_str_addc(&steps, '[');
    for (int i = 0; i < WH_MAX_MESSAGE_STEPS; i++)
        wh_str_addf(&steps, "%s{\"id\":\"%d\",\"reference\":{\"type\":3}}", i ? "," : "", i);
    wh_autofree char *fits = wh_printf("%s]", wh_str_text(&steps));
    wh_autofree char *past = wh_printf("%s,{}]", wh_str_text(&steps));
    check("steps", fits, "ok");
    check("steps", past, "job message: steps has 1001 entries, more than the limit of 1000");
    check_count("mask", "{}", false, WH_MAX_MESSAGE_MASKS);
    check_count("variables", "{}", true, WH_MAX_MESSAGE_VARIABLES);
    wh_autostr endpoints = {0};
    for (int i = 1; i < WH_MAX_MESSAGE_ENDPOINTS; i++)
        wh_str_add(&endpoints, ",{}");
    wh_autofree char *all =
        wh_printf("{\"endpoints\":[{\"name\":\"SystemVssConnection\"}%s]}", wh_str_text(&endpoints));
    wh_autofree char *more =
        wh_printf("{\"endpoints\":[{\"name\":\"SystemVssConnection\"},{}%s]}", wh_str_text(&endpoints));
    check("resources", all, "ok");
    check("resources", more, "job message: endpoints has 101 entries, more than the limit of 100");
    wh_autofree char *large = wh_calloc(1, WH_MAX_MESSAGE_BYTES + 2);
    memset(large, ' ', WH_MAX_MESSAGE_BYTES + 1);
    wh_autofree char *error = error_of(large);
    assert_string_equal(error, "job message: 33554433 bytes are more than the limit of 33554432");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),   cmocka_unit_test(test_contexts), cmocka_unit_test(test_evaluate),
        cmocka_unit_test(test_masks),   cmocka_unit_test(test_forms),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_json), cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
