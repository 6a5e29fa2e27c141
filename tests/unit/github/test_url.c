/* GitHub URLs: what they lead to, and which are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wherry/github/register.h"

static const struct {
    const char *text, *url, *api, *entity;
    enum wh_scope scope;
    bool hosted;
} good[] = {
    {"https://github.com/acme/web", "https://github.com/acme/web", "https://api.github.com",
     "https://api.github.com/repos/acme/web/actions", WH_SCOPE_REPOSITORY, true},
    {"https://GitHub.com/acme/", "https://github.com/acme", "https://api.github.com",
     "https://api.github.com/orgs/acme/actions", WH_SCOPE_ORGANISATION, true},
    {"https://www.github.com/acme/web.git", "https://www.github.com/acme/web", "https://api.github.com",
     "https://api.github.com/repos/acme/web/actions", WH_SCOPE_REPOSITORY, true},
    {"https://github.com/enterprises/big", "https://github.com/enterprises/big", "https://api.github.com",
     "https://api.github.com/enterprises/big/actions", WH_SCOPE_ENTERPRISE, true},
    {"https://acme.ghe.com//x//y//", "https://acme.ghe.com/x/y", "https://api.acme.ghe.com",
     "https://api.acme.ghe.com/repos/x/y/actions", WH_SCOPE_REPOSITORY, true},
    {"https://ghes.example:8443/x", "https://ghes.example:8443/x", "https://ghes.example:8443/api/v3",
     "https://ghes.example:8443/api/v3/orgs/x/actions", WH_SCOPE_ORGANISATION, false},
    {"http://ghes.example/enterprises/e", "http://ghes.example/enterprises/e", "http://ghes.example/api/v3",
     "http://ghes.example/api/v3/enterprises/e/actions", WH_SCOPE_ENTERPRISE, false},
    {"http://github.localhost:3000/a/b", "http://github.localhost:3000/a/b",
     "http://api.github.localhost:3000", "http://api.github.localhost:3000/repos/a/b/actions",
     WH_SCOPE_REPOSITORY, true},
    {"https://notghe.com/x/y", "https://notghe.com/x/y", "https://notghe.com/api/v3",
     "https://notghe.com/api/v3/repos/x/y/actions", WH_SCOPE_REPOSITORY, false},
    {"https://[::1]:9/x/.git", "https://[::1]:9/x/.git", "https://[::1]:9/api/v3",
     "https://[::1]:9/api/v3/repos/x/.git/actions", WH_SCOPE_REPOSITORY, false},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < WH_COUNT(good); i++) {
        wh_autoerror err = {0};
        wh_autogithuburl url = {0};
        assert_int_equal(wh_github_url_parse(good[i].text, &url, &err), 0);
        assert_string_equal(url.url, good[i].url);
        assert_string_equal(url.api, good[i].api);
        assert_string_equal(url.entity, good[i].entity);
        assert_int_equal(url.scope, good[i].scope);
        assert_int_equal(url.hosted, good[i].hosted);
        assert_int_equal(url.repo != NULL, url.scope == WH_SCOPE_REPOSITORY);
    }
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"", "not the URL"},
        {"x", "not the URL"},
        {"ssh://git@github.com/acme/web", "not the URL"},
        {"https://github.com", "names a server only"},
        {"https://github.com/..", "names a server only"},
        {"https://github.com/a%2fb", "not the URL"},
        {"https://github.com/a/b/c", "give https://github.com/a/b"},
        {"https://ghes.example:8443/a/b/c", "give https://ghes.example:8443/a/b"},
        {"https://github.com/orgs/x", "give https://github.com/x"},
        {"https://github.com/enterprises", "not the URL"},
        {"https://github.com/users/x", "of a user"},
        {"https://u@github.com/a/b", "user name or password"},
        {"http://acme.ghe.com/a", "give https"},
    };
    for (size_t i = 0; i < WH_COUNT(bad); i++) {
        wh_autoerror err = {0};
        wh_autogithuburl url = {0};
        assert_int_not_equal(wh_github_url_parse(bad[i][0], &url, &err), 0);
        assert_non_null(strstr(wh_error_text(&err), bad[i][1]));
        assert_null(url.url);
    }
    wh_autogithuburl url = {0};
    assert_int_not_equal(wh_github_url_parse(NULL, &url, NULL), 0);
    char at[2100] = "https://github.com/";
    memset(at + 19, 'a', 2048 - 19);
    assert_int_equal(wh_github_url_parse(at, &url, NULL), 0);
    wh_github_url_clear(&url);
    at[2048] = 'a';
    assert_int_not_equal(wh_github_url_parse(at, &url, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
