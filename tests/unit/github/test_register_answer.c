/* Answers to a registration, and the labels that go into it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "github/register_internal.h"

static void test_tenant(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    struct gh_tenant_answer out;
    wh_autojson *v1 = cJSON_Parse(
        "{\"URL\":\"https://t.example/x\",\"Token\":\"secret\",\"token_schema\":\"oauthaccesstoken\"}");
    assert_int_equal(gh_tenant_answer_read(v1, &out, &err), 0);
    assert_false(out.admin);
    assert_string_equal(out.url, "https://t.example/x");
    assert_string_equal(wh_secret_text(out.token), "secret");
    gh_tenant_answer_clear(&out);
    wh_autojson *v2 = cJSON_Parse("{\"use_v2_flow\":\"True\"}");
    assert_int_equal(gh_tenant_answer_read(v2, &out, &err), 0);
    assert_true(out.admin);
    assert_null(out.token);
    gh_tenant_answer_clear(&out);
    static const char *const bad[] = {"{}", "{\"url\":\"x\",\"token\":\"t\"}", "{\"url\":\"https://t/\"}",
                                      "{\"url\":\"https://t/\",\"token\":\"a\\r\\nb\"}",
                                      "{\"url\":\"https://t/\",\"token\":\"t\",\"token_schema\":\"Other\"}"};
    for (size_t i = 0; i < WH_COUNT(bad); i++) {
        wh_autojson *json = cJSON_Parse(bad[i]);
        assert_non_null(json);
        assert_int_not_equal(gh_tenant_answer_read(json, &out, &err), 0);
        assert_null(out.token);
        gh_tenant_answer_clear(&out);
    }
}

static void test_groups(void **state)
{
    (void)state;
    struct wh_registration r = {0};
    wh_autojson *json =
        cJSON_Parse("{\"count\":4,\"value\":[{\"id\":1,\"name\":\"Default\",\"isInternal\":true},"
                    "{\"id\":2,\"name\":\"Hosted\",\"isHosted\":true},{\"id\":0,\"name\":\"x\"},"
                    "{\"id\":\"7\",\"name\":\"Big\"},{\"name\":4},17]}");
    gh_groups_read(json, true, &r.groups, &r.ngroups);
    assert_int_equal(r.ngroups, 2);
    wh_autoerror err = {0};
    assert_int_equal(wh_registration_group(&r, NULL, &err)->id, 1);
    assert_int_equal(wh_registration_group(&r, "bIG", &err)->id, 7);
    assert_int_equal(wh_registration_group(&r, "default", &err)->id, 1);
    assert_null(wh_registration_group(&r, "Hosted", &err));
    assert_non_null(strstr(wh_error_text(&err), "Default, Big"));
    for (size_t i = 0; i < r.ngroups; i++)
        free(r.groups[i].name);
    free(r.groups);
}

static void test_admin_answer(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autorunner *c = wh_calloc(1, sizeof *c);
    wh_autojson *json = cJSON_Parse(
        "{\"id\":\"9007199254740993\",\"authorization\":{\"authorization_url\":\"https://a/2\","
        "\"legacy_authorization_url\":\"https://a/1\",\"server_url\":\"https://b/\",\"client_id\":\"c\"}}");
    assert_int_equal(gh_admin_answer_read(json, c, &err), 0);
    assert_true(c->id == 9007199254740993);
    assert_string_equal(c->authorization_url, "https://a/1");
    assert_string_equal(c->authorization_url_v2, "https://a/2");
    assert_true(c->auth_migration && c->ps256 && c->use_v2 && c->runner_admin);
    wh_autojson *bad = cJSON_Parse("{\"id\":1,\"authorization\":{\"authorization_url\":\"https://a\","
                                   "\"server_url\":\"ftp://b/\",\"client_id\":\"c\"}}");
    wh_autorunner *d = wh_calloc(1, sizeof *d);
    assert_int_not_equal(gh_admin_answer_read(bad, d, &err), 0);
    assert_non_null(strstr(wh_error_text(&err), "server_url"));
}

static void test_pool_answer(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autorunner *c = wh_calloc(1, sizeof *c);
    wh_autojson *json = cJSON_Parse("{\"Id\":88,\"authorization\":{\"clientId\":\"c\",\"authorizationUrl\":"
                                    "\"https://a\"},\"properties\":{"
                                    "\"serverurl\":{\"$type\":\"System.String\",\"$value\":\"https://t2/"
                                    "\"},\"ServerUrlV2\":\"https://b/\","
                                    "\"UseV2Flow\":{\"$type\":\"System.Boolean\",\"$value\":\"true\"},"
                                    "\"RequireFipsCryptography\":false}}");
    assert_int_equal(gh_pool_answer_read(json, c, &err), 0);
    assert_int_equal(c->id, 88);
    assert_string_equal(c->server_url, "https://t2/");
    assert_string_equal(c->server_url_v2, "https://b/");
    assert_true(c->use_v2 && !c->ps256 && !c->runner_admin && !c->auth_migration);
    wh_autojson *plain =
        cJSON_Parse("{\"id\":1,\"authorization\":{\"clientId\":\"c\",\"authorizationUrl\":\"https://a\"}}");
    wh_autorunner *d = wh_calloc(1, sizeof *d);
    assert_int_equal(gh_pool_answer_read(plain, d, &err), 0);
    assert_true(d->ps256 && !d->use_v2);
    wh_autojson *half = cJSON_Parse("{\"id\":1,\"authorization\":{\"clientId\":\"c\",\"authorizationUrl\":"
                                    "\"https://a\"},\"properties\":{\"UseV2Flow\":true}}");
    wh_autorunner *e = wh_calloc(1, sizeof *e);
    assert_int_not_equal(gh_pool_answer_read(half, e, &err), 0);
}

static int count_labels(char **labels, bool defaults, struct wh_error *err)
{
    struct wh_register_options o = {.labels = labels, .no_default_labels = !defaults};
    wh_autorunner *c = wh_calloc(1, sizeof *c);
    wh_autojson *body = cJSON_CreateObject();
    if (gh_labels(&o, c, body, err))
        return -1;
    assert_int_equal(wh_strv_len(c->labels), (size_t)cJSON_GetArraySize(wh_json_get(body, "labels")));
    return cJSON_GetArraySize(wh_json_get(body, "labels"));
}

static void test_labels(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    char longest[WH_MAX_LABEL_CHARS + 2] = {0};
    memset(longest, 'x', WH_MAX_LABEL_CHARS);
    char *some[] = {(char *)"A", (char *)"a", (char *)"LINUX", longest, NULL};
    assert_int_equal(count_labels(some, true, &err), 5); /* three of the system's, A, the longest */
    longest[WH_MAX_LABEL_CHARS] = 'x';
    assert_int_equal(count_labels(some, true, &err), -1);
    assert_int_equal(err.code, WH_E_LIMIT);
    assert_int_equal(count_labels(NULL, true, &err), 3);
    assert_int_equal(count_labels(NULL, false, &err), -1);
    wh_autostrv char **many = NULL;
    for (int i = 0; i < WH_MAX_LABELS; i++)
        wh_strv_take(&many, wh_printf("l%d", i));
    assert_int_equal(count_labels(many, false, &err), WH_MAX_LABELS);
    assert_int_equal(count_labels(many, true, &err), -1);
}

static void test_runner_in_a_list(void **state)
{
    (void)state;
    wh_autojson *json = cJSON_Parse(
        "{\"runners\":[{\"id\":3,\"name\":\"other\"},{\"id\":4,\"name\":\"BOX1\"},{\"name\":\"x\"}]}");
    assert_int_equal(gh_runner_id_in(json, false, "box1"), 4);
    assert_int_equal(gh_runner_id_in(json, false, "x"), 0);
    assert_int_equal(gh_runner_id_in(json, true, "box1"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tenant),       cmocka_unit_test(test_groups),
        cmocka_unit_test(test_admin_answer), cmocka_unit_test(test_pool_answer),
        cmocka_unit_test(test_labels),       cmocka_unit_test(test_runner_in_a_list)};
    wh_secrets_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
