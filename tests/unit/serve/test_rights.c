/* A job's rights: by its token, else by its event. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wherry/base/digest.h"
#include "wherry/cachesvc/cachesvc.h"
#include "wherry/serve/serve.h"

static char *token_of(const char *claims)
{
    wh_autofree char *body = wh_base64url(claims, strlen(claims));
    return wh_printf("e30.%s.x", body);
}

static cJSON *message_of(const char *event, const char *ref, const char *base)
{
    wh_autofree char *text = wh_printf(
        "{\"contextData\":{\"github\":{\"t\":2,\"d\":[{\"k\":\"repository\",\"v\":\"acme/web\"},"
        "{\"k\":\"event_name\",\"v\":\"%s\"},{\"k\":\"ref\",\"v\":\"%s\"},{\"k\":\"base_ref\",\"v\":\"%s\"},"
        "{\"k\":\"event\",\"v\":{\"t\":2,\"d\":[{\"k\":\"repository\",\"v\":{\"t\":2,\"d\":[{\"k\":"
        "\"default_branch\",\"v\":\"main\"}]}}]}}]}}}",
        event, ref, base);
    return wh_json_parse(text, strlen(text), 65536, "test", NULL);
}

/* "refs/heads/main:3 refs/heads/x:1" */
static char *scopes_of(const char *claims, const char *event, const char *ref, const char *base, bool local)
{
    wh_autofree char *token = token_of(claims);
    wh_autojson *message = message_of(event, ref, base);
    wh_autojson *rights = wh_serve_rights("id", message, token, local);
    wh_autostr out = {0};
    const cJSON *scope;
    assert_string_equal(wh_json_string(rights, "repository"), "acme/web");
    cJSON_ArrayForEach(scope, wh_json_get(rights, "scopes"))
        wh_str_addf(&out, "%s%s:%lld", out.len ? " " : "", wh_json_string(scope, "scope"),
                    (long long)wh_json_int(scope, "permission", -1));
    return wh_str_steal(&out);
}

static void test_scopes(void **state)
{
    (void)state;
    static const struct {
        const char *claims, *event, *ref, *base, *want;
        bool local;
    } cases[] = {
        /* the token's word */
        {"{\"ac\":\"[{\\\"Scope\\\":\\\"refs/heads/main\\\",\\\"Permission\\\":1}]\"}", "push",
         "refs/heads/x", "", "refs/heads/main:1", false},
        {"{\"ac\":\"[]\"}", "push", "refs/heads/x", "", "", false},
        {"{\"ac\":\"[{\\\"Scope\\\":\\\"a\\\",\\\"Permission\\\":255}]\"}", "push", "refs/heads/x", "", "a:3",
         false},
        /* else GitHub's rules */
        {"{}", "push", "refs/heads/main", "", "refs/heads/main:3", false},
        {"{}", "push", "refs/heads/x", "", "refs/heads/x:3 refs/heads/main:1", false},
        {"{\"ac\":\"no list\"}", "push", "refs/tags/v1", "", "refs/tags/v1:3 refs/heads/main:1", false},
        {"{}", "pull_request", "refs/pull/7/merge", "next",
         "refs/pull/7/merge:3 refs/heads/next:1 refs/heads/main:1", false},
        {"{}", "pull_request_target", "refs/heads/main", "main", "refs/heads/main:1", false},
        {"{}", "issue_comment", "refs/heads/main", "", "refs/heads/main:1", false},
        {"{}", "workflow_run", "refs/heads/main", "", "refs/heads/main:1", false},
        /* of one's own machine */
        {"{}", "workflow_run", "refs/heads/main", "", "refs/heads/main:3", true},
    };
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autofree char *got =
            scopes_of(cases[i].claims, cases[i].event, cases[i].ref, cases[i].base, cases[i].local);
        assert_string_equal(got, cases[i].want);
    }
}

static void test_not_more_scopes_than_there_may_be(void **state)
{
    (void)state;
    wh_autostr list = {0};
    for (int i = 0; i <= WH_MAX_CACHE_SCOPES; i++)
        wh_str_addf(&list, "%s{\\\"Scope\\\":\\\"s%d\\\",\\\"Permission\\\":3}", i ? "," : "", i);
    wh_autofree char *claims = wh_printf("{\"ac\":\"[%s]\"}", list.data);
    wh_autofree char *token = token_of(claims);
    wh_autojson *message = message_of("push", "refs/heads/main", "");
    wh_autojson *rights = wh_serve_rights("id", message, token, false);
    assert_int_equal(cJSON_GetArraySize(wh_json_get(rights, "scopes")), WH_MAX_CACHE_SCOPES);
}

static void test_odd_tokens(void **state)
{
    (void)state;
    static const char *const tokens[] = {"", "x", "a.b", "a..c", "a.e30.c.d", "a.bm8.c", "....."};
    wh_autojson *message = message_of("push", "refs/heads/main", "");
    for (size_t i = 0; i < WH_COUNT(tokens); i++) {
        wh_autojson *rights = wh_serve_rights("id", message, tokens[i], false);
        assert_int_equal(cJSON_GetArraySize(wh_json_get(rights, "scopes")), 1);
        assert_null(wh_json_string(rights, "run"));
    }
}

/* What BuildKit's client wants to see in it (cache-service.md §3). */
static void test_made_token(void **state)
{
    (void)state;
    wh_autojson *message = message_of("push", "refs/heads/x", "");
    wh_autofree char *token = wh_serve_make_token(message, "run-1");
    wh_autofree char *other = wh_serve_make_token(message, "run-1");
    assert_string_not_equal(token, other);
    wh_autostrv char **parts = wh_strv_split(token, '.');
    assert_int_equal(wh_strv_len(parts), 3);
    wh_autostr text = {0};
    assert_true(wh_unbase64(parts[1], strlen(parts[1]), &text));
    assert_null(strchr(token, '='));
    wh_autojson *claims = wh_json_parse(text.data, text.len, 65536, "test", NULL);
    assert_true(cJSON_IsNumber(wh_json_get(claims, "exp")) && cJSON_IsNumber(wh_json_get(claims, "nbf")));
    assert_string_equal(wh_json_string(claims, "ac"), "[{\"Scope\":\"refs/heads/x\",\"Permission\":3},"
                                                      "{\"Scope\":\"refs/heads/main\",\"Permission\":1}]");
    wh_autojson *rights = wh_serve_rights("id", message, token, true);
    assert_string_equal(wh_json_string(rights, "run"), "run-1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scopes),
                                       cmocka_unit_test(test_not_more_scopes_than_there_may_be),
                                       cmocka_unit_test(test_odd_tokens), cmocka_unit_test(test_made_token)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
