/* The map of a V1 server's resources: which definitions count, what routes and versions come of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wherry/github/location.h"

#define POOLS "a8c47e17-4d56-4a56-92bb-de7ea7dc65be"
#define AGENTS "E298EF32-5878-4CAB-993C-043836571F42"
#define MESSAGES "c3a054f6-7a8a-49c0-944e-3a8e5d7adfd7"

static struct wh_locations *map_of(const char *definitions)
{
    wh_autoerror err = {0};
    wh_autofree char *text =
        wh_printf("\xef\xbb\xbf{\"locationServiceData\":{\"serviceDefinitions\":[%s]}}", definitions);
    struct wh_locations *l = wh_locations_parse(text, strlen(text), "https://h/tenant/", &err);
    if (!l)
        fail_msg("%s", wh_error_text(&err));
    return l;
}

static void expect(const char *definition, enum wh_resource resource, const struct wh_route_value *values,
                   const char *url, const char *version)
{
    wh_autoerror err = {0};
    wh_autolocations *l = map_of(definition);
    wh_autoroute route = {0};
    int code = wh_locations_route(l, resource, values, &route, &err);
    if (!url) {
        assert_true(code < 0 && err.code == WH_E_UNSUPPORTED);
        return;
    }
    if (code)
        fail_msg("%s", wh_error_text(&err));
    assert_string_equal(route.url, url);
    assert_string_equal(route.version, version);
}

#define POOL_AT(path, rest)                                                                                  \
    "{\"identifier\":\"" POOLS "\",\"serviceType\":\"distributedtask\",\"displayName\":\"pools\","           \
    "\"relativePath\":\"" path "\",\"resourceVersion\":1" rest "}"

static void test_routes(void **state)
{
    (void)state;
    const struct wh_route_value seven[] = {{"POOLID", "7"}, {0}}, odd[] = {{"poolId", "a b/%"}, {0}},
                                unset[] = {{"poolId", NULL}, {0}};
    const char *t = POOL_AT("_apis/{area}/{resource}/{poolId}", ",\"maxVersion\":\"6.0\"");
    expect(t, WH_RESOURCE_POOLS, seven, "https://h/tenant/_apis/distributedtask/pools/7", "5.1-preview.1");
    expect(t, WH_RESOURCE_POOLS, NULL, "https://h/tenant/_apis/distributedtask/pools", "5.1-preview.1");
    expect(t, WH_RESOURCE_POOLS, unset, "https://h/tenant/_apis/distributedtask/pools", "5.1-preview.1");
    expect(t, WH_RESOURCE_POOLS, odd, "https://h/tenant/_apis/distributedtask/pools/a%20b%2F%25",
           "5.1-preview.1");
    expect(POOL_AT("/x/{*poolId}/y", ""), WH_RESOURCE_POOLS, seven, "https://h/tenant/x/7/y",
           "5.1-preview.1");
    expect(POOL_AT("x//{{poolId}}/{poolId}.json", ""), WH_RESOURCE_POOLS, seven,
           "https://h/tenant/x/{poolId}/7.json", "5.1-preview.1");
    expect(POOL_AT("x/{poolId", ""), WH_RESOURCE_POOLS, seven, "https://h/tenant/x/7", "5.1-preview.1");
    expect(t, WH_RESOURCE_AGENTS, seven, NULL, NULL);
}

static void test_versions(void **state)
{
    (void)state;
    const char *url = "https://h/tenant/p";
    expect(POOL_AT("p", ",\"maxVersion\":\"5.0\",\"releasedVersion\":\"5.0\""), WH_RESOURCE_POOLS, NULL, url,
           "5.0");
    expect(POOL_AT("p", ",\"maxVersion\":\"4.1\",\"releasedVersion\":\"4.0\""), WH_RESOURCE_POOLS, NULL, url,
           "4.1-preview");
    expect(POOL_AT("p", ",\"maxVersion\":5.1"), WH_RESOURCE_POOLS, NULL, url, "5.1-preview.1");
    expect(POOL_AT("p", ",\"maxVersion\":\"rubbish\",\"minVersion\":null"), WH_RESOURCE_POOLS, NULL, url,
           "5.1-preview.1");
    expect(POOL_AT("p", ",\"minVersion\":\"6.0\",\"maxVersion\":\"7.0\""), WH_RESOURCE_POOLS, NULL, NULL,
           NULL);
    /* One resource, two versions of it. */
    const char *messages =
        "{\"identifier\":\"" MESSAGES "\",\"relativePath\":\"m\",\"resourceVersion\":\"1\"}";
    expect(messages, WH_RESOURCE_MESSAGES, NULL, "https://h/tenant/m", "6.0-preview.1");
    expect(messages, WH_RESOURCE_MESSAGE, NULL, "https://h/tenant/m", "5.1-preview.1");
    /* Ours is the lower revision of the two. */
    expect("{\"identifier\":\"" AGENTS "\",\"relativePath\":\"a\",\"resourceVersion\":1}", WH_RESOURCE_AGENTS,
           NULL, "https://h/tenant/a", "6.0-preview.1");
}

static void test_withdrawn_definitions(void **state)
{
    (void)state;
    wh_autolocations *l =
        map_of("{\"identifier\":\"" POOLS "\",\"relativePath\":\"p\",\"resourceVersion\":0}, 7, null, {}");
    assert_false(wh_locations_has(l, WH_RESOURCE_POOLS));
}

static void test_the_list_of_options(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    const char *text =
        "{\"count\":1,\"value\":[{\"id\":\"" POOLS "\",\"area\":\"d\",\"resourceName\":\"pools\","
        "\"routeTemplate\":\"_apis/{area}/{resource}\",\"resourceVersion\":1}]}";
    wh_autolocations *l = wh_locations_parse(text, strlen(text), "https://h", &err);
    wh_autoroute route = {0};
    assert_non_null(l);
    assert_int_equal(wh_locations_route(l, WH_RESOURCE_POOLS, NULL, &route, &err), 0);
    wh_route_query(&route, "a", "x&y");
    wh_route_query(&route, "b", "");
    assert_string_equal(route.url, "https://h/_apis/d/pools?a=x%26y&b=");
}

static void test_no_map(void **state)
{
    (void)state;
    const char *const texts[] = {
        "", "[]", "{}", "null", "{\"locationServiceData\":{\"serviceDefinitions\":{}}}", "<html>"};
    for (size_t i = 0; i < WH_COUNT(texts); i++) {
        wh_autoerror err = {0};
        assert_null(wh_locations_parse(texts[i], strlen(texts[i]), "https://h", &err));
        assert_true(err.code != WH_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_withdrawn_definitions),
        cmocka_unit_test(test_the_list_of_options),
        cmocka_unit_test(test_no_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
