/* docker/metadata-action: a table of events, refs and inputs with what the action makes of them
 * (metadata.txt, whose expectations are those of the original), and the parts that it is made of. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "actions/handlebars.h"
#include "actions/list.h"
#include "actions/metadata.h"
#include "actions/moment.h"
#include "wherry/base/fs.h"
#include "wherry/base/secret.h"

#define SHA "860c1904a1ce19322e91ac35af1ab07466440c37"
#define MAX_FILE ((size_t)8 << 20)

struct row {
    char **given;    /* "key=value" in order; a key may come several times */
    char **expected; /* the same */
    char *name;
    unsigned line;
};

static void row_clear(struct row *r)
{
    wh_strv_free(r->given);
    wh_strv_free(r->expected);
    free(r->name);
    *r = (struct row){0};
}

/* All values of a key, a line each. */
static char *all(char *const *pairs, const char *key)
{
    wh_autostr out = {0};
    size_t len = strlen(key);
    for (; pairs && *pairs; pairs++)
        if (wh_starts_with(*pairs, key) && (*pairs)[len] == '=')
            wh_str_addf(&out, "%s%s", out.len > 0 ? "\n" : "", *pairs + len + 1);
    return wh_str_steal(&out);
}

static char *first(char *const *pairs, const char *key, const char *absent)
{
    const char *value = wh_env_get(pairs, key);
    return wh_strdup(value ? value : absent);
}

/* ---- running one row ---- */

struct place {
    char dir[64];
    char *output, *env, *event, *log;
};

static void write_text(const char *path, const char *text)
{
    assert_int_equal(wh_write_file_quick(AT_FDCWD, path, text, strlen(text), 0644, NULL), 0);
}

static void place_make(struct place *p, const struct row *r)
{
    strcpy(p->dir, "/tmp/wh_metadata_XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    p->output = wh_path_join(p->dir, "output");
    p->env = wh_path_join(p->dir, "env");
    p->event = wh_path_join(p->dir, "event.json");
    p->log = wh_path_join(p->dir, "log");
    write_text(p->output, "");
    write_text(p->env, "");
    wh_autofree char *extra = first(r->given, "payload", "{}");
    wh_autojson *payload = wh_json_parse(
        "{\"repository\":{\"name\":\"Hello-World\",\"description\":\"My first <repo>\","
        "\"html_url\":\"https://github.com/octocat/Hello-World\",\"default_branch\":\"master\","
        "\"license\":{\"spdx_id\":\"MIT\"}},\"head_commit\":{\"id\":\"" SHA
        "\",\"timestamp\":\"2026-11-04T23:11:12.345+05:30\"}}",
        strlen("{\"repository\":{\"name\":\"Hello-World\",\"description\":\"My first <repo>\","
               "\"html_url\":\"https://github.com/octocat/Hello-World\",\"default_branch\":\"master\","
               "\"license\":{\"spdx_id\":\"MIT\"}},\"head_commit\":{\"id\":\"" SHA
               "\",\"timestamp\":\"2026-11-04T23:11:12.345+05:30\"}}"),
        4096, "payload", NULL);
    wh_autojson *more = wh_json_parse(extra, strlen(extra), 65536, "payload of the row", NULL);
    assert_non_null(more);
    while (more->child) {
        cJSON *item = cJSON_DetachItemViaPointer(more, more->child);
        cJSON_DeleteItemFromObjectCaseSensitive(payload, item->string);
        cJSON_AddItemToObject(payload, item->string, item);
    }
    wh_autofree char *text = wh_json_print(payload);
    write_text(p->event, text);
}

static void place_remove(struct place *p)
{
    wh_remove_tree(AT_FDCWD, p->dir, NULL);
    free(p->output);
    free(p->env);
    free(p->event);
    free(p->log);
}

static void set_input(const struct row *r, const char *input, const char *variable)
{
    wh_autofree char *value = all(r->given, input);
    setenv(variable, value, 1);
}

/* In the child. */
static int act(const struct row *r, const struct place *p)
{
    wh_autofree char *event = first(r->given, "event", "push"),
                     *ref = first(r->given, "ref", "refs/heads/master"), *sha = first(r->given, "sha", SHA),
                     *version = first(r->given, "action", "v6"), *env = all(r->given, "env");
    setenv("GITHUB_EVENT_NAME", event, 1);
    setenv("GITHUB_REF", ref, 1);
    setenv("GITHUB_SHA", sha, 1);
    setenv("GITHUB_EVENT_PATH", p->event, 1);
    setenv("GITHUB_OUTPUT", p->output, 1);
    setenv("GITHUB_ENV", p->env, 1);
    setenv("RUNNER_TEMP", p->dir, 1);
    setenv("GITHUB_API_URL", "http://127.0.0.1:1", 1);
    setenv("INPUT_GITHUB-TOKEN", "t", 1);
    setenv("GITHUB_REPOSITORY", "octocat/Hello-World", 1);
    set_input(r, "images", "INPUT_IMAGES");
    set_input(r, "tags", "INPUT_TAGS");
    set_input(r, "flavor", "INPUT_FLAVOR");
    set_input(r, "labels", "INPUT_LABELS");
    set_input(r, "annotations", "INPUT_ANNOTATIONS");
    set_input(r, "sep-tags", "INPUT_SEP-TAGS");
    if (env[0])
        putenv(env);
    struct wh_action_stage stage = {
        .action = &wh_action_metadata,
        .version = {.major = version[1] - '0', .minor = WH_NEWEST, .patch = WH_NEWEST},
        .ref = version,
        .control = -1};
    return wh_action_stage_main(&stage);
}

static int run_row(const struct row *r, const struct place *p)
{
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd = open(p->log, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        dup2(fd, STDOUT_FILENO);
        int code = act(r, p);
        fflush(stdout);
        _exit(code);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status))
        fail_msg("metadata.txt:%u: %s: ended by signal %d", r->line, r->name, WTERMSIG(status));
    return WEXITSTATUS(status);
}

/* ---- what it left ---- */

/* The value of an output in a file of `name<<delimiter` blocks. Owned. */
static char *output_of(const char *file, const char *name)
{
    wh_autofree char *start = wh_printf("%s<<", name);
    struct wh_reader r = wh_reader_of(file, strlen(file));
    struct wh_view line;
    while (wh_reader_line(&r, &line)) {
        if (line.len < strlen(start) || memcmp(line.data, start, strlen(start)) != 0)
            continue;
        wh_autofree char *delimiter = wh_strndup(line.data + strlen(start), line.len - strlen(start));
        wh_autostr value = {0};
        while (wh_reader_line(&r, &line) && !wh_view_eq(line, delimiter)) {
            if (value.data)
                wh_str_addc(&value, '\n');
            wh_str_addn(&value, line.data, line.len);
            wh_str_addn(&value, "", 0);
        }
        return wh_str_steal(&value);
    }
    return wh_strdup("(not set)");
}

static char *keys_of(const char *labels)
{
    wh_autostr out = {0};
    wh_autostrv char **lines = wh_strv_split(labels, '\n');
    for (char **l = lines; *l; l++)
        wh_str_addf(&out, "%s%.*s", out.len > 0 ? " " : "", (int)strcspn(*l, "="), *l);
    return wh_str_steal(&out);
}

/* The lines of the log that begin with ::warning:: or ::error::, without that. */
static char *annotations_of(const char *log, const char *level)
{
    wh_autostr out = {0};
    wh_autofree char *start = wh_printf("::%s::", level);
    wh_autostrv char **lines = wh_strv_split(log, '\n');
    for (char **l = lines; *l; l++)
        if (wh_starts_with(*l, start))
            wh_str_addf(&out, "%s%s", out.len > 0 ? "\n" : "", *l + strlen(start));
    return wh_str_steal(&out);
}

static unsigned differences;

static void compare(const struct row *r, const char *key, const char *actual)
{
    wh_autofree char *expected = all(r->expected, key);
    if (strcmp(expected, actual) == 0)
        return;
    differences++;
    printf("metadata.txt:%u: %s: %s\n  expected: %s\n  actual:   %s\n", r->line, r->name, key, expected,
           actual);
}

static void compare_labels(const struct row *r, const char *key, const char *labels)
{
    wh_autofree char *expected = all(r->expected, key);
    wh_autostrv char **wanted = wh_strv_split(expected, '\n'), **have = wh_strv_split(labels, '\n');
    for (char **w = wanted; expected[0] && *w; w++) {
        if (wh_strv_has(have, *w))
            continue;
        differences++;
        printf("metadata.txt:%u: %s: no %s %s in\n%s\n", r->line, r->name, key, *w, labels);
    }
}

static void check_row(const struct row *r)
{
    struct place p;
    wh_autostr outputs = {0}, log = {0};
    place_make(&p, r);
    int code = run_row(r, &p);
    assert_int_equal(wh_read_file(AT_FDCWD, p.output, MAX_FILE, &outputs, NULL), 0);
    assert_int_equal(wh_read_file(AT_FDCWD, p.log, MAX_FILE, &log, NULL), 0);
    wh_autofree char *tags = output_of(wh_str_text(&outputs), "tags"),
                     *version = output_of(wh_str_text(&outputs), "version"),
                     *labels = output_of(wh_str_text(&outputs), "labels"),
                     *annotations = output_of(wh_str_text(&outputs), "annotations"),
                     *warnings = annotations_of(wh_str_text(&log), "warning"),
                     *error = annotations_of(wh_str_text(&log), "error"), *keys = keys_of(labels);
    compare(r, "error", error);
    compare(r, "warning", warnings);
    assert_int_equal(code, error[0] ? 1 : 0);
    if (!error[0]) {
        compare(r, "version", version);
        compare(r, "tag", tags);
        compare_labels(r, "label", labels);
        compare_labels(r, "annotation", annotations);
        wh_autofree char *order = all(r->expected, "keys");
        if (order[0])
            compare(r, "keys", keys);
    }
    place_remove(&p);
}

/* ---- the table ---- */

static void add_line(struct row *r, struct wh_view line)
{
    wh_autofree char *text = wh_view_dup(line);
    bool expected = wh_starts_with(text, "=> ");
    const char *pair = expected ? text + 3 : text;
    const char *colon = strstr(pair, ":");
    assert_non_null(colon);
    const char *value = colon[1] == ' ' ? colon + 2 : colon + 1;
    wh_strv_take(expected ? &r->expected : &r->given, wh_printf("%.*s=%s", (int)(colon - pair), pair, value));
}

static void test_table(void **state)
{
    (void)state;
    wh_autostr text = {0};
    assert_int_equal(wh_read_file(AT_FDCWD, WH_TEST_DATA "/metadata.txt", MAX_FILE, &text, NULL), 0);
    struct wh_reader reader = wh_reader_of(text.data, text.len);
    struct wh_view line;
    struct row row = {0};
    unsigned number = 0, rows = 0;
    for (bool more = true; more;) {
        more = wh_reader_line(&reader, &line);
        number++;
        if (more && line.len > 0 && line.data[0] == '#')
            continue;
        if (more && line.len > 0 && row.name) {
            add_line(&row, line);
        } else if (more && line.len > 0) {
            row.name = wh_view_dup(line);
            row.line = number;
        } else if (row.name) {
            check_row(&row);
            rows++;
            row_clear(&row);
        }
    }
    assert_int_equal(differences, 0);
    assert_true(rows >= 75);
}

/* ---- templates ---- */

static char *named(void *data, const struct wh_handlebars_call *call, struct wh_error *err)
{
    (void)data;
    (void)err;
    if (wh_streq(call->name, "quoted"))
        return wh_strdup("a'b<c>&\"`=");
    if (wh_streq(call->name, "empty"))
        return wh_strdup("");
    if (wh_streq(call->name, "say"))
        return wh_printf("[%s|%s]", call->argument ? call->argument : "-",
                         call->noptions > 0 ? call->options[0].value : "-");
    return wh_streq(call->name, "x") ? wh_strdup("X") : NULL;
}

static void expands(const char *text, const char *expected)
{
    wh_autoerror err = {0};
    wh_autofree char *out = wh_handlebars(text, named, NULL, &err);
    if (!out)
        fail_msg("%s: %s", text, wh_error_text(&err));
    assert_string_equal(out, expected);
}

static void refuses(const char *text, const char *part)
{
    wh_autoerror err = {0};
    wh_autofree char *out = wh_handlebars(text, named, NULL, &err);
    assert_null(out);
    if (!strstr(wh_error_text(&err), part))
        fail_msg("%s: '%s' lacks '%s'", text, wh_error_text(&err), part);
}

static void test_templates(void **state)
{
    (void)state;
    expands("", "");
    expands("a{b}c", "a{b}c");
    expands("{{x}}-{{ x }}-{{this.x}}", "X-X-X");
    expands("{{quoted}}", "a&#x27;b&lt;c&gt;&amp;&quot;&#x60;&#x3D;");
    expands("{{{quoted}}}|{{&quoted}}", "a'b<c>&\"`=|a'b<c>&\"`=");
    expands("{{unknown}}.", ".");
    expands("{{say 'a b'}}{{say \"c\" tz='Europe/Paris'}}{{{say 'i\\'t'}}}",
            "[a b|-][c|Europe/Paris][i't|-]");
    expands("a {{~x~}}  b", "aXb");
    expands("a{{! no }}b{{!-- }} --}}c", "abc");
    expands("\\{{x}}", "{{x}}");
    expands("{{#if x}}yes{{else}}no{{/if}} {{#if empty}}yes{{else}}no{{/if}}{{#unless gone}}!{{/unless}}",
            "yes no!");
    expands("{{#if empty}}{{#if x}}a{{/if}}b{{/if}}c", "c");
    refuses("{{", "a name is expected");
    refuses("{{x", "expected }}");
    refuses("{{{x}}", "expected }}}");
    refuses("{{unknown 'a'}}", "Missing helper: \"unknown\"");
    refuses("{{#each x}}{{/each}}", "'{{#each}}' is not supported");
    refuses("{{> part}}", "'{{>' is not supported");
    refuses("{{#if x}}", "{{#if}} has no closing tag");
    refuses("{{/if}}", "has no opening tag");
    refuses("{{say 'a}}", "does not end");
    refuses("{{say 'a' 'b'}}", "more than one argument");
    assert_true(wh_handlebars_is_only("{{ raw }}", "raw"));
    assert_true(wh_handlebars_is_only("{{{raw}}}", "raw"));
    assert_false(wh_handlebars_is_only("v{{raw}}", "raw"));
    assert_false(wh_handlebars_is_only("{{version}}", "raw"));
}

/* A template that is nested as deep as allowed, and one deeper. */
static void nested(unsigned depth, bool good)
{
    wh_autostr text = {0};
    for (unsigned i = 0; i < depth; i++)
        wh_str_add(&text, "{{#if x}}");
    wh_str_add(&text, "in");
    for (unsigned i = 0; i < depth; i++)
        wh_str_add(&text, "{{/if}}");
    if (good)
        expands(text.data, "in");
    else
        refuses(text.data, "nested more than");
}

static void test_template_limits(void **state)
{
    (void)state;
    nested(WH_MAX_TEMPLATE_DEPTH, true);
    nested(WH_MAX_TEMPLATE_DEPTH + 1, false);
}

/* ---- dates ---- */

static void test_dates(void **state)
{
    (void)state;
    static const struct {
        const char *zone, *format, *expected;
    } rows[] = {
        {"UTC", "YYYYMMDD-HHmmss", "20240229-230405"},
        {"UTC", "YYYY-MM-DDTHH:mm:ss.SSS[Z]", "2024-02-29T23:04:05.678Z"},
        {"UTC", "dddd ddd dd d do MMMM MMM M Mo D Do", "Thursday Thu Th 4 4th February Feb 2 2nd 29 29th"},
        {"UTC", "DDD DDDD DDDo Q Qo YY gggg GGGG ww W Wo", "60 060 60th 1 1st 24 2024 2024 09 9 9th"},
        {"UTC", "h:mm A hh a k E e X x", "11:04 PM 11 pm 23 4 4 1709247845 1709247845678"},
        {"UTC", "hmm hmmss Hmm Hmmss", "1104 110405 2304 230405"},
        {"UTC", "L LT LTS l", "02/29/2024 11:04 PM 11:04:05 PM 2/29/2024"},
        {"UTC", "LL|LLL|ll", "February 29, 2024|February 29, 2024 11:04 PM|Feb 29, 2024"},
        {"UTC", "Z ZZ z S SS SSSSSS", "+00:00 +0000 UTC 6 67 678000"},
        {"UTC", "[YYYY] \\Y yyyy", "YYYY Y 2024"},
        {"Asia/Tokyo", "YYYY-MM-DD HH:mm Z", "2024-03-01 08:04 +09:00"},
        {"America/St_Johns", "HH:mm ZZ", "19:34 -0330"},
    };
    for (size_t i = 0; i < WH_COUNT(rows); i++) {
        bool unknown;
        wh_autofree char *text = wh_moment_format(1709247845678, rows[i].zone, rows[i].format, &unknown);
        assert_string_equal(text, rows[i].expected);
        assert_false(unknown);
    }
    bool unknown;
    wh_autofree char *local = wh_moment_format(0, "../../etc/passwd", "YYYY", &unknown);
    assert_true(unknown);
    /* Weeks at the turn of a year. */
    wh_autofree char *turn = wh_moment_format(1609459200000, "UTC", "GGGG-WW gggg-ww", &unknown);
    assert_string_equal(turn, "2020-53 2021-01");
    int64_t when;
    assert_true(wh_moment_parse("2026-11-04T23:11:12.345+05:30", &when));
    wh_autofree char *iso = wh_moment_iso(when);
    assert_string_equal(iso, "2026-11-04T17:41:12.345Z");
    assert_false(wh_moment_parse("2026-13-04T23:11:12Z", &when));
    assert_false(wh_moment_parse("yesterday", &when));
}

/* ---- versions ---- */

static void test_pep440(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"1.0", "1.0"},
        {"v1.0", "1.0"},
        {"1.0.0-alpha.1", "1.0.0a1"},
        {"1.0_preview2", "1.0rc2"},
        {"1.0c", "1.0rc0"},
        {"1.0-1", "1.0.post1"},
        {"1.0.rev2", "1.0.post2"},
        {"1.0.dev", "1.0.dev0"},
        {"1!2.03", "1!2.3"},
        {"0!1.0", "1.0"},
        {"1.0+Ubuntu-1", "1.0+ubuntu,1"},
        {"1.0a1.post2.dev3", "1.0a1.post2.dev3"},
        {"1.2.x", NULL},
        {"1.0+", NULL},
        {"", NULL},
        {"latest", NULL},
        {"1.0-beta-1", "1.0b1"},
    };
    for (size_t i = 0; i < WH_COUNT(rows); i++) {
        struct metadata_pep440 v;
        bool good = metadata_pep440_parse(rows[i][0], &v);
        if (good != (rows[i][1] != NULL) || (good && !wh_streq(v.clean, rows[i][1])))
            fail_msg("%s: %s", rows[i][0], good ? v.clean : "refused");
        metadata_pep440_free(&v);
    }
}

static void test_semver(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"1.2.3", "1.2.3"},
        {"v1.2.3-rc.1+build.5", "1.2.3-rc.1"},
        {" 1.2.3 ", "1.2.3"},
        {"1.2.3-0a", "1.2.3-0a"},
        {"9007199254740991.0.0", "9007199254740991.0.0"},
        {"9007199254740992.0.0", NULL},
        {"01.2.3", NULL},
        {"1.2", NULL},
        {"1.2.3-01", NULL},
        {"1.2.3-", NULL},
        {"1.2.3+", NULL},
        {"=1.2.3", NULL},
        {"vv1.2.3", NULL},
    };
    for (size_t i = 0; i < WH_COUNT(rows); i++) {
        struct metadata_semver v;
        bool good = metadata_semver_parse(rows[i][0], &v);
        wh_autofree char *text = good ? metadata_semver_version(&v) : NULL;
        if (!wh_streq(text, rows[i][1]))
            fail_msg("%s: %s", rows[i][0], text ? text : "refused");
        metadata_semver_free(&v);
    }
}

static void test_match_limits(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autofree char *group = NULL;
    assert_int_equal(
        metadata_match("(a+)+$", "", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", 0, &group, &err), -1);
    assert_non_null(strstr(wh_error_text(&err), "match limit"));
    wh_error_clear(&err);
    assert_int_equal(metadata_match("(", "", "a", 0, &group, &err), -1);
    assert_non_null(strstr(wh_error_text(&err), "Invalid regular expression: /(/"));
    wh_error_clear(&err);
    assert_int_equal(metadata_match("a", "gg", "a", 0, &group, &err), -1);
    assert_non_null(strstr(wh_error_text(&err), "Invalid flags"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),           cmocka_unit_test(test_templates),
        cmocka_unit_test(test_template_limits), cmocka_unit_test(test_dates),
        cmocka_unit_test(test_pep440),          cmocka_unit_test(test_semver),
        cmocka_unit_test(test_match_limits),
    };
    wh_secrets_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
