/* The settings file: what is read, what wins, and that every mistake is told with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "wherry/base/fs.h"
#include "wherry/base/json.h"
#include "wherry/config/settings.h"

static char folder[] = "/tmp/wherry-settings-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    wh_secrets_init();
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return wh_remove_tree(AT_FDCWD, folder, NULL);
}

static char *put(const char *name, const char *text, mode_t mode)
{
    char *path = wh_path_join(folder, name);
    wh_autofree char *above = wh_strndup(path, (size_t)(strrchr(path, '/') - path));
    assert_int_equal(wh_mkdir_p(above, 0755, NULL), 0);
    assert_int_equal(wh_write_file(AT_FDCWD, path, text, strlen(text), mode, NULL), 0);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

static struct wh_settings *load(const char *file, char *const *env, struct wh_settings_report *report)
{
    struct wh_settings_sources sources = {.file = file, .env = env};
    return wh_settings_load(&sources, report);
}

/* All problems, one a line, the folder's name left out. */
static char *problems(const char *text)
{
    wh_autofree char *file = put("bad.yaml", text, 0644);
    struct wh_settings_report report;
    struct wh_settings *s = load(file, NULL, &report);
    assert_null(s);
    wh_autostr out = {0};
    for (size_t i = 0; i < report.nproblems; i++) {
        const char *place = report.problems[i].place;
        wh_str_addf(&out, "%s%s: %s%s%s", i ? "\n" : "",
                    wh_starts_with(place, file) ? place + strlen(file) + 1 : place,
                    report.problems[i].path ? report.problems[i].path : "",
                    report.problems[i].path ? ": " : "", report.problems[i].text);
    }
    wh_settings_report_free(&report);
    return wh_str_steal(&out);
}

static void expect(const char *text, const char *wanted)
{
    wh_autofree char *found = problems(text);
    assert_string_equal(found, wanted);
}

static void values(void **state)
{
    (void)state;
    wh_autofree char *file = put("wherry.yaml",
                                 "service: {url: https://github.com/acme, ca-file: store}\n"
                                 "credentials:\n"
                                 "  org: {pat: {file: pat}}\n"
                                 "runners:\n"
                                 "  - name: box-{index}\n"
                                 "    count: 2\n"
                                 "    labels: [gpu, 12.4]\n"
                                 "cache:\n"
                                 "  max-size: 200g\n"
                                 "network:\n"
                                 "  no-proxy: .example.org\n",
                                 0644);
    struct wh_settings_report report;
    wh_autosettings *s = load(file, NULL, &report);
    assert_int_equal(report.nproblems, 0);
    wh_autofree char *store = wh_path_join(folder, "store");
    assert_string_equal(wh_settings_text(s, "service.ca-file"), store);
    assert_int_equal(wh_settings_number(s, "cache.max-size", 0), INT64_C(200) << 30);
    assert_int_equal(wh_settings_number(s, "cache.min-free", 7), 7);
    assert_string_equal(wh_settings_text(s, "log.level"), "info");
    const struct wh_setting_value *runners = wh_settings_get(s, "runners");
    assert_int_equal(runners->nitems, 1);
    assert_string_equal(wh_setting_text(runners->items[0], "name"), "box-{index}");
    assert_int_equal(wh_setting_field(runners->items[0], "count")->number, 2);
    const struct wh_setting_value *labels = wh_setting_field(runners->items[0], "labels");
    assert_string_equal(labels->items[1]->text, "12.4");
    wh_autostrv char **hosts = wh_settings_strings(s, "network.no-proxy");
    assert_int_equal(wh_strv_len(hosts), 1);
    wh_autofree char *place = wh_printf("%s:9:13", file);
    assert_string_equal(wh_settings_get(s, "cache.max-size")->place, place);
}

static void later_wins(void **state)
{
    (void)state;
    wh_autofree char *common = put(
        "common.yaml", "cache: {max-size: 1g, min-free: 2g}\nrunners: [{name: a, url: https://h/o}]\n", 0644);
    wh_autofree char *file = put("order.yaml",
                                 "include: common.yaml\ncache: {max-size: 3g}\njobs: {max: 2}\nrunners: "
                                 "[{name: b, url: https://h/o}]\n",
                                 0644);
    wh_autofree char *second = put("order.yaml.d/20.yaml", "jobs: {max: 4}\n", 0644);
    wh_autofree char *first = put("order.yaml.d/10.yaml", "jobs: {max: 3}\nlog: {level: debug}\n", 0644);
    char *env[] = {"WHERRY_LOG_LEVEL=error", "WHERRY_NETWORK_NO_PROXY=a, .b", "WHERRY_OTHER=x", NULL};
    struct wh_settings_report report;
    wh_autosettings *s = load(file, env, &report);
    assert_int_equal(report.nproblems, 0);
    assert_int_equal(wh_settings_number(s, "cache.max-size", 0), INT64_C(3) << 30);
    assert_int_equal(wh_settings_number(s, "cache.min-free", 0), INT64_C(2) << 30);
    assert_int_equal(wh_settings_number(s, "jobs.max", 0), 4);
    assert_int_equal(wh_settings_get(s, "runners")->nitems, 2); /* they add up */
    assert_string_equal(wh_settings_text(s, "log.level"), "error");
    assert_string_equal(wh_settings_get(s, "log.level")->place, "WHERRY_LOG_LEVEL");
    wh_autostrv char **hosts = wh_settings_strings(s, "network.no-proxy");
    assert_string_equal(hosts[1], ".b");
    assert_int_equal(wh_strv_len(s->files), 4);
    assert_int_equal(wh_settings_set(s, "jobs.max", "9", "--max-jobs", NULL), 0);
    assert_int_equal(wh_settings_number(s, "jobs.max", 0), 9);
    wh_autoerror err = {0};
    assert_int_equal(wh_settings_set(s, "jobs.max", "no", "--max-jobs", &err), -1);
    assert_string_equal(wh_error_text(&err), "--max-jobs: 'no' is no whole number");
}

static void mistakes(void **state)
{
    (void)state;
    expect("cahce:\n  max-size: 1g\n", "1:1: there is no setting 'cahce' here; did you mean 'cache'?");
    expect("cache:\n  max-size: 20q\n  min-free: []\n",
           "2:13: cache.max-size: '20q' is no size: write it as 512m, 20g or 2t\n"
           "3:13: cache.min-free: here is a list where a single value belongs");
    expect("jobs: 3\n", "1:7: jobs: here is a value where a mapping belongs");
    expect("jobs: {max: 0}\n", "1:13: jobs.max: 0 is not between 1 and 1000");
    expect("jobs: {max: 1, max: 2}\n", "1:16: jobs: 'max' stands here twice, first in line 1");
    expect("log: {level: warn}\n", "1:14: log.level: 'warn' is none of error, warning, info, debug");
    expect("service: {url: github.com/acme}\n",
           "1:16: service.url: 'github.com/acme' is no URL: it starts with https://HOST");
    expect("credentials:\n  org: {pat: ghp_secret}\n",
           "2:14: credentials.org.pat: a secret doesn't belong into this file; say where it is, one of file: "
           "PATH, env: "
           "VARIABLE, systemd: CREDENTIAL\n2:8: credentials.org: it wants one of token, pat and app");
    expect(
        "credentials:\n  org: {pat: {file: a, env: B}}\n",
        "2:14: credentials.org.pat: say where it is, one of file: PATH, env: VARIABLE, systemd: CREDENTIAL");
    expect("credentials:\n  org: {app: {id: 3}}\n",
           "2:14: credentials.org.app: 'key-file' is missing: Its private key, PEM");
    expect("runners:\n- name: {host}\n  url: https://h/o\n",
           "2:9: runners[0].name: a name that begins with '{' stands in quotes: \"{host}-{index}\"");
    expect("runners:\n- {name: a}\n", "2:3: runners[0]: it has no url, and there is no service.url");
    expect("runners:\n- {name: 'a{what}', url: 'https://h/o'}\n",
           "2:10: runners[0]: {what} stands for nothing: there are {host}, {index} and {arch}");
    expect("runners:\n- {name: a, url: 'https://h/o', credentials: b}\n",
           "2:46: runners[0]: there is no entry 'b' in credentials");
    expect(
        "credentials: {t: {token: {env: T}}}\nrunners:\n- {name: a, url: 'https://h/o', ephemeral: true}\n",
        "3:3: runners[0]: an ephemeral runner registers again and again: a token is good for an hour, 't' "
        "wants a pat "
        "or an app");
}

static void loops_end(void **state)
{
    (void)state;
    wh_autofree char *text = problems("include: bad.yaml\n");
    assert_non_null(strstr(text, "bad.yaml includes itself"));
    wh_autofree char *missing = problems("include: gone.yaml\n");
    assert_true(wh_starts_with(missing, "1:10: include: there is no file "));
    wh_autofree char *syntax = problems("a: [1\n");
    assert_true(wh_starts_with(syntax, "1:") || wh_starts_with(syntax, "2:"));
}

static void secrets(void **state)
{
    (void)state;
    wh_autofree char *pat = put("pat", "ghp_1\n", 0600);
    wh_autofree char *open_to_all = put("open", "ghp_2\n", 0644);
    wh_autofree char *file =
        put("secrets.yaml",
            "credentials:\n  a: {pat: {file: pat}}\n  b: {pat: {env: WH_TEST_PAT}}\n"
            "  c: {pat: {file: open}}\n  d: {pat: {env: WH_TEST_NONE}}\n  e: {pat: {systemd: pat}}\n",
            0644);
    struct wh_settings_report report;
    wh_autosettings *s = load(file, NULL, &report);
    assert_non_null(s);
    const struct wh_setting_value *all = wh_settings_get(s, "credentials");
    assert_int_equal(setenv("WH_TEST_PAT", "ghp_3", 1), 0);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    static const char *const wanted[] = {"ghp_1", "ghp_3", "others may read it", "WH_TEST_NONE is not set",
                                         "LoadCredential=pat"};
    for (size_t i = 0; i < WH_COUNT(wanted); i++) {
        wh_autoerror err = {0};
        wh_autosecret *secret = wh_setting_secret(wh_setting_field(all->items[i], "pat"), &err);
        if (secret)
            assert_string_equal(wh_secret_text(secret), wanted[i]);
        else
            assert_non_null(strstr(wh_error_text(&err), wanted[i]));
        assert_true((secret != NULL) == (i < 2));
    }
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", folder, 1), 0);
    wh_autosecret *secret = wh_setting_secret(wh_setting_field(all->items[4], "pat"), NULL);
    assert_string_equal(wh_secret_text(secret), "ghp_1");
}

static char *printed(const struct wh_settings *s, bool all, bool template)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    char *lines[] = {"cache.max-size=7g", NULL};
    if (template)
        wh_settings_print_template(lines, out);
    else
        wh_settings_print(s, all, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

/* What is shown is a settings file that says the same. */
static void shown_reads_back(void **state)
{
    (void)state;
    wh_autofree char *file =
        put("show.yaml",
            "service: {url: https://github.com/acme, runner-version: '3.0'}\n"
            "credentials: {org: {app: {id: 12, key-file: /key}}}\n"
            "runners: [{name: '{host}', labels: ['true', 'a b: c', '#x']}, {count: 3}]\n",
            0644);
    struct wh_settings_report report;
    wh_autosettings *s = load(file, NULL, &report);
    assert_non_null(s);
    for (int all = 0; all < 2; all++) {
        wh_autofree char *text = printed(s, all, false);
        assert_non_null(strstr(text, "show.yaml:1:16"));
        wh_autofree char *again = put("again.yaml", text, 0644);
        wh_autosettings *t = load(again, NULL, &report);
        wh_settings_report_print(&report, stderr);
        assert_non_null(t);
        wh_autojson *a = wh_settings_json(s), *b = wh_settings_json(t);
        assert_true(cJSON_Compare(a, b, true));
    }
}

/* The commented file is read without a mistake, and so it is with every comment's mark taken off its
 * settings. */
static void template_is_right(void **state)
{
    (void)state;
    wh_autofree char *text = printed(NULL, false, true);
    wh_autofree char *file = put("template.yaml", text, 0644);
    struct wh_settings_report report;
    wh_autosettings *s = load(file, NULL, &report);
    assert_int_equal(report.nproblems, 0);
    assert_int_equal(wh_settings_number(s, "cache.max-size", 0), INT64_C(7) << 30);
    assert_non_null(strstr(text, "# - name: \"{host}\""));
}

static void schema_of_all(void **state)
{
    (void)state;
    wh_autojson *schema = wh_settings_json_schema();
    const cJSON *properties = cJSON_GetObjectItem(schema, "properties");
    assert_int_equal(cJSON_GetArraySize(properties), wh_settings_schema.nfields);
    const cJSON *key = cJSON_GetObjectItem(
        cJSON_GetObjectItem(cJSON_GetObjectItem(properties, "cache"), "properties"), "max-size");
    assert_non_null(cJSON_GetObjectItem(key, "pattern"));
    assert_non_null(cJSON_GetObjectItem(schema, "$schema"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(later_wins),
        cmocka_unit_test(mistakes),
        cmocka_unit_test(loops_end),
        cmocka_unit_test(secrets),
        cmocka_unit_test(shown_reads_back),
        cmocka_unit_test(template_is_right),
        cmocka_unit_test(schema_of_all),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
