/* Challenges, docker's config.json, credential helpers. */
#include "helpers.h"

#include "wherry/base/secret.h"
#include "wherry/oci/registry.h"

static int start(void **state)
{
    wh_secrets_init();
    unsetenv("DOCKER_AUTH_CONFIG");
    unsetenv("DOCKER_CONFIG");
    return make_temp(state);
}

static void test_challenges(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        bool bearer;
        const char *realm, *service, *scope, *error;
    } cases[] = {
        {"Bearer "
         "realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/"
         "b:pull,push\",error=\"invalid_token\"",
         true, "https://auth.docker.io/token", "registry.docker.io", "repository:a/b:pull,push",
         "invalid_token"},
        {"Basic realm=\"a \\\"b\\\"\"", false, "a \"b\"", NULL, NULL, NULL},
        {"basic", false, NULL, NULL, NULL, NULL},
        {"Negotiate, Basic realm=x, bearer REALM = \"r\" , service=s", true, "r", "s", NULL, NULL},
        {"Negotiate dG9rZW4=, Basic realm=\"y\"", false, "y", NULL, NULL, NULL},
    };
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        struct wh_challenge c = {0};
        wh_autoerror err = {0};
        if (wh_challenge_parse(cases[i].header, &c, &err) < 0)
            fail_msg("%s: %s", cases[i].header, wh_error_text(&err));
        assert_int_equal(c.bearer, cases[i].bearer);
        assert_true(wh_streq(c.realm, cases[i].realm));
        assert_true(wh_streq(c.service, cases[i].service));
        assert_true(wh_streq(c.scope, cases[i].scope));
        assert_true(wh_streq(c.error, cases[i].error));
        wh_challenge_clear(&c);
    }
    static const char *const bad[] = {
        "", ",,", "Digest realm=\"x\"", "Bearer service=\"x\"", "Bearer realm=\"open", "=x"};
    for (size_t i = 0; i < WH_COUNT(bad); i++) {
        struct wh_challenge c = {0};
        int got = wh_challenge_parse(bad[i], &c, NULL);
        if (got == 0)
            fail_msg("accepted: %s", bad[i]);
    }
    wh_autofree char *big = wh_malloc(16386);
    memset(big, 'a', 16385);
    big[16385] = '\0';
    struct wh_challenge c = {0};
    wh_autoerror err = {0};
    assert_int_equal(wh_challenge_parse(big, &c, &err), -1);
    assert_int_equal(err.code, WH_E_LIMIT);
}

static void write_config(const char *text)
{
    wh_autofree char *path = temp_path("config.json");
    assert_int_equal(wh_write_file(AT_FDCWD, path, text, strlen(text), 0600, NULL), 0);
}

static void is(const char *host, const char *user, const char *password, const char *identity)
{
    struct wh_credential c;
    wh_autoerror err = {0};
    if (wh_docker_config_credential(temp_dir, host, &c, &err) < 0)
        fail_msg("%s: %s", host, wh_error_text(&err));
    if (!wh_streq(c.user, user))
        fail_msg("%s: user %s, not %s", host, c.user ? c.user : "NULL", user ? user : "NULL");
    if (password)
        assert_string_equal(wh_secret_text(c.password), password);
    if (identity)
        assert_string_equal(wh_secret_text(c.identity), identity);
    wh_credential_clear(&c);
}

static void test_config(void **state)
{
    (void)state;
    is("ghcr.io", NULL, NULL, NULL); /* no file */
    write_config("{\"auths\": {\"ghcr.io\": {\"auth\": \"dTpwOnE=\"}, \"https://url.example/v1/\": "
                 "{\"auth\": \"dTpw\"}, "
                 "\"https://index.docker.io/v1/\": {\"auth\": \"aHViOnB3\"}, \"token.example\": "
                 "{\"identitytoken\": \"it\"}, "
                 "\"plain.example:5000\": {\"username\": \"n\", \"password\": \"w\"}, \"empty.example\": "
                 "{}}, \"other\": 1}");
    is("ghcr.io", "u", "p:q", NULL);
    is("url.example", "u", "p", NULL);
    is("docker.io", "hub", "pw", NULL);
    is("registry-1.docker.io", "hub", "pw", NULL);
    is("token.example", NULL, NULL, "it");
    is("plain.example:5000", "n", "w", NULL);
    is("plain.example", NULL, NULL, NULL);
    is("empty.example", NULL, NULL, NULL);
    is("example", NULL, NULL, NULL);
    setenv("DOCKER_AUTH_CONFIG", "{\"auths\": {\"ghcr.io\": {\"auth\": \"ZTpm\"}}}", 1);
    is("ghcr.io", "e", "f", NULL);
    is("url.example", "u", "p", NULL);
    unsetenv("DOCKER_AUTH_CONFIG");
}

static void test_broken_config(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"{\"auths\": {\"ghcr.io\": {\"auth\": \"!!\"}}}", "auth is no base64 of user:password"},
        {"{\"auths\": {\"ghcr.io\": {\"auth\": \"dXNlcg==\"}}}", "auth is no base64 of user:password"},
        {"[1]", "no JSON object"},
        {"{", "config.json"},
        {"{\"credsStore\": \"../../bin/sh\"}", "no name of a credential helper"},
        {"{\"credsStore\": \"not-there\"}", "docker-credential-not-there is not in PATH"},
    };
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        struct wh_credential c;
        wh_autoerror err = {0};
        write_config(cases[i].text);
        assert_int_equal(wh_docker_config_credential(temp_dir, "ghcr.io", &c, &err), -1);
        if (!strstr(wh_error_text(&err), cases[i].says))
            fail_msg("\"%s\" lacks \"%s\"", wh_error_text(&err), cases[i].says);
        assert_null(c.user);
    }
    write_config(" \n");
    is("ghcr.io", NULL, NULL, NULL);
}

static void test_helpers(void **state)
{
    (void)state;
    wh_autofree char *helper = temp_path("docker-credential-test");
    static const char script[] =
        "#!/bin/sh\nread host\ncase $host in\n"
        "a.example) echo '{\"ServerURL\":\"x\",\"Username\":\"hu\",\"Secret\":\"hp\"}';;\n"
        "t.example) echo '{\"Username\":\"<token>\",\"Secret\":\"refresh\"}';;\n"
        "https://index.docker.io/v1/) echo '{\"Username\":\"hub\",\"Secret\":\"s\"}';;\n"
        "bad.example) echo 'no json';;\n"
        "*) echo 'credentials not found in native keychain'; exit 1;;\nesac\n";
    assert_int_equal(wh_write_file(AT_FDCWD, helper, script, strlen(script), 0755, NULL), 0);
    assert_int_equal(chmod(helper, 0755), 0);
    wh_autofree char *path = wh_printf("%s:%s", temp_dir, getenv("PATH"));
    setenv("PATH", path, 1);
    write_config(
        "{\"credsStore\": \"test\", \"auths\": {\"file.example\": {\"auth\": \"dTpw\"}, \"a.example\": {}}}");
    is("a.example", "hu", "hp", NULL);
    is("t.example", NULL, NULL, "refresh");
    is("docker.io", "hub", "s", NULL);
    is("file.example", "u", "p", NULL); /* the helper has nothing: the file counts */
    is("none.example", NULL, NULL, NULL);
    write_config(
        "{\"credHelpers\": {\"a.example\": \"test\"}, \"auths\": {\"a.example\": {\"auth\": \"dTpw\"}}}");
    is("a.example", "hu", "hp", NULL);
    write_config("{\"credHelpers\": {\"bad.example\": \"test\"}}");
    struct wh_credential c;
    wh_autoerror err = {0};
    assert_int_equal(wh_docker_config_credential(temp_dir, "bad.example", &c, &err), -1);
    assert_non_null(strstr(wh_error_text(&err), "credentials for bad.example"));
}

static void test_login(void **state)
{
    (void)state;
    wh_autofree char *folder = temp_path("new/docker"), *file = temp_path("new/docker/config.json");
    wh_autosecret *password = wh_secret_new("pä:ss", 6);
    struct wh_credential c;
    struct stat st;
    assert_int_equal(wh_docker_config_login(folder, "ghcr.io", "me", password, NULL), 0);
    assert_int_equal(wh_docker_config_login(folder, "docker.io", "hub", password, NULL), 0);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(wh_docker_config_credential(folder, "ghcr.io", &c, NULL), 0);
    assert_string_equal(c.user, "me");
    assert_string_equal(wh_secret_text(c.password), "pä:ss");
    wh_credential_clear(&c);
    wh_autostr text = {0};
    assert_int_equal(wh_read_file(AT_FDCWD, file, 1 << 16, &text, NULL) < 0, 0);
    assert_non_null(strstr(text.data, "\"https://index.docker.io/v1/\""));
    assert_int_equal(wh_docker_config_logout(folder, "ghcr.io", NULL), 0);
    assert_int_equal(wh_docker_config_logout(folder, "ghcr.io", NULL), 0);
    assert_int_equal(wh_docker_config_credential(folder, "ghcr.io", &c, NULL), 0);
    assert_null(c.user);
    assert_int_equal(wh_docker_config_credential(folder, "docker.io", &c, NULL), 0);
    assert_string_equal(c.user, "hub");
    wh_credential_clear(&c);
    /* What another tool put there stays. */
    write_config("{\"credsStore\": \"x\", \"auths\": {\"a.example\": {\"auth\": \"dTpw\"}}, \"proxies\": "
                 "{\"default\": {}}}");
    assert_int_equal(wh_docker_config_login(temp_dir, "b.example", "me", password, NULL), 0);
    assert_int_equal(wh_docker_config_logout(temp_dir, "b.example", NULL), 0);
    wh_autofree char *config = temp_path("config.json");
    wh_autostr kept = {0};
    assert_int_equal(wh_read_file(AT_FDCWD, config, 1 << 16, &kept, NULL) < 0, 0);
    assert_non_null(strstr(kept.data, "proxies"));
    assert_non_null(strstr(kept.data, "a.example"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_challenges),    cmocka_unit_test(test_config),
        cmocka_unit_test(test_broken_config), cmocka_unit_test(test_helpers),
        cmocka_unit_test(test_login),
    };
    return cmocka_run_group_tests(tests, start, drop_temp);
}
