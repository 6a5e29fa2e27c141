/* What an answer means, and that each meaning has a sentence of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "github/rest.h"

static const struct {
    enum gh_purpose purpose;
    int status;
    const char *body;
    enum gh_refusal is;
} rows[] = {
    {GH_FOR_TENANT_REGISTER, 404, "{\"message\":\"Not Found\"}", GH_REFUSED_TOKEN},
    {GH_FOR_TENANT_REGISTER, 401, "{\"message\":\"Bad credentials\"}", GH_REFUSED_TOKEN},
    {GH_FOR_TENANT_REGISTER, 401, "{\"message\":\"Token expired\"}", GH_REFUSED_EXPIRED},
    {GH_FOR_TENANT_REGISTER, 404, "<html>", GH_REFUSED_NO_API},
    {GH_FOR_TENANT_REGISTER, 405, "", GH_REFUSED_NO_API},
    {GH_FOR_TENANT_REGISTER, 500, "", GH_REFUSED},
    {GH_FOR_RUNNER_TOKEN, 404, "{\"message\":\"Not Found\"}", GH_REFUSED_NOT_FOUND},
    {GH_FOR_RUNNER_TOKEN, 401, "{\"message\":\"Bad credentials\"}", GH_REFUSED_TOKEN},
    {GH_FOR_RUNNER_TOKEN, 403, "{\"message\":\"Must have admin rights to Repository.\"}", GH_REFUSED_RIGHTS},
    {GH_FOR_RUNNER_TOKEN, 403, "{\"message\":\"Resource protected by organization SAML enforcement\"}",
     GH_REFUSED_SSO},
    {GH_FOR_RUNNER_TOKEN, 403, "{\"message\":\"... has an IP allow list enabled\"}", GH_REFUSED_IP},
    {GH_FOR_RUNNER_TOKEN, 403, "{\"message\":\"API rate limit exceeded for x\"}", GH_REFUSED_RATE_LIMIT},
    {GH_FOR_RUNNER_TOKEN, 429, "", GH_REFUSED_RATE_LIMIT},
    {GH_FOR_REGISTER, 409, "{\"message\":\"x\"}", GH_REFUSED_NAME_TAKEN},
    {GH_FOR_REGISTER, 400, "{\"typeKey\":\"GitHub.X.TaskAgentExistsException\"}", GH_REFUSED_NAME_TAKEN},
    {GH_FOR_REGISTER, 422,
     "{\"message\":\"Validation Failed\",\"errors\":[{\"message\":\"name already exists\"}]}",
     GH_REFUSED_NAME_TAKEN},
    {GH_FOR_REGISTER, 404, "{\"message\":\"Not Found\"}", GH_REFUSED_GROUP},
    {GH_FOR_REGISTER, 404, "{\"typeKey\":\"TaskAgentPoolNotFoundException\"}", GH_REFUSED_GROUP},
    {GH_FOR_REGISTER, 422, "{\"message\":\"Validation Failed\"}", GH_REFUSED_INVALID},
    {GH_FOR_REGISTER, 403, "{\"typeKey\":\"AccessDeniedException\",\"errorCode\":1}", GH_REFUSED_VERSION},
    {GH_FOR_REGISTER, 403, "{\"typeKey\":\"AccessDeniedException\",\"errorCode\":0}", GH_REFUSED_RIGHTS},
    {GH_FOR_REGISTER, 400, "{\"message\":\"Runner version v2.1.0 is deprecated\"}", GH_REFUSED_VERSION},
    {GH_FOR_REMOVE, 422, "{\"message\":\"Runner is currently running a job\"}", GH_REFUSED_RUNNER_BUSY},
    {GH_FOR_REMOVE, 404, "{\"message\":\"Not Found\"}", GH_REFUSED_NOT_FOUND},
    {GH_FOR_JIT, 409, "{\"message\":\"Already exists\"}", GH_REFUSED_NAME_TAKEN},
    {GH_FOR_JIT, 422, "{\"message\":\"Invalid\",\"errors\":\"labels\"}", GH_REFUSED_INVALID},
    {GH_FOR_INSTALLATION, 404, "{\"message\":\"Not Found\"}", GH_REFUSED_INSTALLATION},
    {GH_FOR_INSTALLATION, 404, "{\"message\":\"Integration not found\"}", GH_REFUSED_APP_ID},
    {GH_FOR_APP_TOKEN, 401, "{\"message\":\"A JSON web token could not be decoded\"}", GH_REFUSED_APP_KEY},
    {GH_FOR_APP_TOKEN, 401, "{\"message\":\"'Expiration time' claim ('exp') is too far in the future\"}",
     GH_REFUSED_CLOCK},
    {GH_FOR_APP_TOKEN, 403, "{\"message\":\"This installation has been suspended\"}", GH_REFUSED_SUSPENDED},
    {GH_FOR_CREDENTIALS, 401, "{\"message\":\"expired. Current server time is now\"}", GH_REFUSED_CLOCK},
};

static void test_meanings(void **state)
{
    (void)state;
    for (size_t i = 0; i < WH_COUNT(rows); i++) {
        gh_autofacts facts = {.retry_after_s = -1};
        gh_facts_read_body(rows[i].body, strlen(rows[i].body), &facts);
        facts.status = rows[i].status;
        if (gh_refusal_of(&facts, rows[i].purpose) != rows[i].is)
            fail_msg("row %zu (%d %s) is %d, not %d", i, rows[i].status, rows[i].body,
                     (int)gh_refusal_of(&facts, rows[i].purpose), (int)rows[i].is);
    }
}

static void test_headers_come_first(void **state)
{
    (void)state;
    struct gh_facts facts = {.status = 403, .limit_used_up = true, .json = true};
    assert_int_equal(gh_refusal_of(&facts, GH_FOR_RUNNER_TOKEN), GH_REFUSED_RATE_LIMIT);
    facts = (struct gh_facts){.status = 403, .sso_url = (char *)"", .json = true};
    assert_int_equal(gh_refusal_of(&facts, GH_FOR_RUNNER_TOKEN), GH_REFUSED_SSO);
    facts = (struct gh_facts){.status = 401, .elsewhere = true, .json = true};
    assert_int_equal(gh_refusal_of(&facts, GH_FOR_RUNNER_TOKEN), GH_REFUSED_ELSEWHERE);
}

static void test_each_has_its_own_sentence(void **state)
{
    (void)state;
    enum { FIRST = GH_REFUSED, LAST = GH_REFUSED_NO_API };
    char *said[LAST + 1] = {NULL};
    struct wh_github_url url = {.url = (char *)"https://github.com/acme",
                                .host = (char *)"github.com",
                                .scope = WH_SCOPE_ORGANISATION};
    struct gh_facts facts = {.status = 403, .retry_after_s = -1};
    struct gh_rest_call call = {.purpose = GH_FOR_RUNNER_TOKEN, .scope = &url, .name = "box1"};
    for (int i = FIRST; i <= LAST; i++) {
        said[i] = gh_refusal_sentence((enum gh_refusal)i, &facts, &call, 1000);
        assert_non_null(said[i]);
        for (int before = FIRST; before < i; before++)
            assert_string_not_equal(said[before], said[i]);
    }
    for (int i = FIRST; i <= LAST; i++)
        free(said[i]);
    /* Nothing is known but the purpose: still a sentence. */
    struct gh_rest_call bare = {.purpose = GH_FOR_REGISTER};
    for (int i = FIRST; i <= LAST; i++)
        free(gh_refusal_sentence((enum gh_refusal)i, &facts, &bare, 0));
}

static void test_rate_limit_says_when(void **state)
{
    (void)state;
    struct gh_rest_call call = {.purpose = GH_FOR_RUNNER_TOKEN};
    struct gh_facts facts = {.status = 429, .retry_after_s = -1, .limit_reset_s = 1790000720};
    wh_autofree char *at = gh_refusal_sentence(GH_REFUSED_RATE_LIMIT, &facts, &call, 1790000000);
    assert_non_null(strstr(at, "2026-09-21T14:25:20Z"));
    assert_non_null(strstr(at, "12m"));
    facts.retry_after_s = 60; /* says more exactly */
    wh_autofree char *after = gh_refusal_sentence(GH_REFUSED_RATE_LIMIT, &facts, &call, 1790000000);
    assert_non_null(strstr(after, "2026-09-21T14:14:20Z"));
    facts = (struct gh_facts){.retry_after_s = -1, .limit_reset_s = 5};
    wh_autofree char *past = gh_refusal_sentence(GH_REFUSED_RATE_LIMIT, &facts, &call, 1790000000);
    assert_non_null(strstr(past, "some minutes"));
}

static void test_the_services_words_are_bounded(void **state)
{
    (void)state;
    gh_autofacts facts = {0};
    wh_autostr body = {0};
    wh_str_add(&body, "{\"message\":\"");
    for (int i = 0; i < 5000; i++)
        wh_str_add(&body, "a\\n");
    wh_str_add(&body, "\",\"typeKey\":\"");
    for (int i = 0; i < 5000; i++)
        wh_str_addc(&body, 'T');
    wh_str_add(&body, "\"}");
    gh_facts_read_body(body.data, body.len, &facts);
    assert_true(strlen(facts.message) <= 600);
    assert_null(strchr(facts.message, '\n'));
    assert_true(strlen(facts.v1_type) <= WH_MAX_ERROR_TYPE);
}

static void test_secrets_are_taken_out(void **state)
{
    (void)state;
    wh_autojson *json =
        cJSON_Parse("{\"token\":\"abc\",\"empty\":\"\",\"lines\":\"a\\nb\",\"list\":[{\"x\":\"deep\"}]}");
    wh_autosecret *token = gh_take_secret(json, "token");
    assert_string_equal(wh_secret_text(token), "abc");
    assert_string_equal(wh_json_string(json, "token"), "");
    assert_null(gh_take_secret(json, "empty"));
    assert_null(gh_take_secret(json, "lines"));
    assert_null(gh_take_secret(json, "none"));
    gh_json_wipe(json);
    wh_autofree char *left = wh_json_print(json);
    assert_null(strstr(left, "deep"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meanings),
        cmocka_unit_test(test_headers_come_first),
        cmocka_unit_test(test_each_has_its_own_sentence),
        cmocka_unit_test(test_rate_limit_says_when),
        cmocka_unit_test(test_the_services_words_are_bounded),
        cmocka_unit_test(test_secrets_are_taken_out),
    };
    wh_secrets_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
