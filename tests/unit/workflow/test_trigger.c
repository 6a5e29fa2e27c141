/* Filter patterns, and which events trigger a workflow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wherry/base/clock.h"
#include "wherry/workflow/workflow.h"
#include "workflow/pattern.h"

struct pattern_case {
    const char *pattern, *text;
    bool matches;
};

/* The examples of GitHub's cheat sheet, and what they must not take. */
static void test_patterns(void **state)
{
    (void)state;
    static const struct pattern_case cases[] = {
        {"feature/*", "feature/my-branch", true},
        {"feature/*", "feature/beta-a/my-branch", false},
        {"feature/**", "feature/beta-a/my-branch", true},
        {"feature/**", "feature/", true},
        {"feature/**", "feature", false},
        {"main", "main", true},
        {"main", "mai", false},
        {"main", "main2", false},
        {"releases/mona-the-octocat", "releases/mona-the-octocat", true},
        {"*", "main", true},
        {"*", "", true},
        {"*", "all/the/branches", false},
        {"**", "all/the/branches", true},
        {"**", "", true},
        {"*feature", "mona-feature", true},
        {"*feature", "feature", true},
        {"*feature", "ver-10-feature", true},
        {"*feature", "a/feature", false},
        {"v2*", "v2", true},
        {"v2*", "v2.9", true},
        {"v[12].[0-9]+.[0-9]+", "v1.10.1", true},
        {"v[12].[0-9]+.[0-9]+", "v2.0.0", true},
        {"v[12].[0-9]+.[0-9]+", "v3.0.0", false},
        {"v[12].[0-9]+.[0-9]+", "v2..0", false},
        {"v[12].[0-9]+.[0-9]+", "v2.0.0-rc", false},
        {"*.jsx?", "page.js", true},
        {"*.jsx?", "page.jsx", true},
        {"*.jsx?", "page.jsxx", false},
        {"*.js", "app.js", true},
        {"*.js", "js/app.js", false},
        {"**.js", "js/index.js", true},
        {"docs/*", "docs/README.md", true},
        {"docs/*", "docs/a/b.md", false},
        {"docs/**", "docs/mona/octocat.txt", true},
        {"docs/**/*.md", "docs/README.md", true},
        {"docs/**/*.md", "docs/mona/hello-world.md", true},
        {"docs/**/*.md", "docs/a/markdown/file.md", true},
        {"docs/**/*.md", "docs.md", false},
        {"**/docs/**", "docs/hello.md", true},
        {"**/docs/**", "dir/docs/my-file.txt", true},
        {"**/docs/**", "space/docs/plan/space.doc", true},
        {"**/docs/**", "xdocs/y", false},
        {"**/README.md", "README.md", true},
        {"**/README.md", "js/README.md", true},
        {"**/README.md", "js/OLD-README.md", false},
        {"**/*src/**", "a/src/app.js", true},
        {"**/*src/**", "my-src/code/js/app.js", true},
        {"**/*-post.md", "path/their-post.md", true},
        {"**/migrate-*.sql", "db/sept/migrate-v1.sql", true},
        {"a+b", "aaab", true},
        {"a+b", "b", false},
        {"a?b", "b", true},
        {"a\\*", "a*", true},
        {"a\\*", "ab", false},
        {"[!a]", "!", true},
        {"[a-c][", "b[", true},
        {"[]", "[]", true},
        {"+a", "+a", true},
        {"?", "?", true},
        {"\xc3\xa4?x", "\xc3\xa4x", true},
        {"\xc3\xa4?x", "x", true},
        {"[\xc3\xa0-\xc3\xbf]", "\xc3\xa9", true},
        {"Main", "main", false},
        {"a\\", "a\\", true},
        {"", "", true},
        {"", "a", false},
    };
    for (size_t i = 0; i < WH_COUNT(cases); i++)
        if (wh_filter_match(cases[i].pattern, cases[i].text) != cases[i].matches)
            fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].text);
}

static char *repeat(const char *text, size_t times)
{
    wh_autostr s = {0};
    for (size_t i = 0; i < times; i++)
        wh_str_add(&s, text);
    return wh_str_steal(&s);
}

static void test_pattern_limits(void **state)
{
    (void)state;
    wh_autofree char *longest = repeat("a", WH_MAX_FILTER_PATTERN);
    wh_autofree char *longer = repeat("a", WH_MAX_FILTER_PATTERN + 1);
    assert_true(wh_filter_match(longest, longest));
    assert_false(wh_filter_match(longer, longer));
    wh_autofree char *text = repeat("a", WH_MAX_FILTER_TEXT);
    wh_autofree char *more = repeat("a", WH_MAX_FILTER_TEXT + 1);
    assert_true(wh_filter_match("a+", text));
    assert_false(wh_filter_match("a+", more));
    /* What takes others for ever. */
    wh_autofree char *stars = repeat("**a", WH_MAX_FILTER_PATTERN / 3);
    wh_autofree char *quest = repeat("a?", WH_MAX_FILTER_PATTERN / 2);
    uint64_t begin = wh_mono_ms();
    (void)wh_filter_match(stars, text);
    assert_false(wh_filter_match(quest, text));
    assert_true(wh_mono_ms() - begin < 5000);
}

/* "" if it is triggered, else why not. */
static char *judge(const char *on, const char *github, char *const *changed)
{
    wh_autofree char *text = wh_printf("on: %s\njobs: {j: {runs-on: x, steps: [{run: x}]}}\n", on);
    wh_autoerror err = {0};
    wh_autoworkflow *w = wh_workflow_parse(text, strlen(text), "ci.yml", &err);
    if (!w)
        fail_msg("%s: %s", on, wh_error_text(&err));
    wh_autojson *context = cJSON_Parse(github);
    assert_non_null(context);
    char *why = NULL;
    bool triggered = wh_workflow_triggered(w, context, changed, &why);
    assert_int_equal(triggered, why == NULL);
    return why ? why : wh_strdup("");
}

#define BRANCH "{\"event_name\":\"push\",\"ref\":\"refs/heads/a/b\",\"ref_name\":\"a/b\",\"event\":{}}"
#define TAG "{\"event_name\":\"push\",\"ref\":\"refs/tags/v1\",\"ref_name\":\"v1\",\"event\":{}}"
#define PULL(action)                                                                                         \
    "{\"event_name\":\"pull_request\",\"ref\":\"refs/pull/1/merge\",\"base_ref\":\"main\",\"event\":"        \
    "{\"action\":\"" action "\"}}"

struct trigger_case {
    const char *on, *github;
    const char *why; /* a part of it; NULL: it is triggered */
};

static void test_triggers(void **state)
{
    (void)state;
    static const struct trigger_case cases[] = {
        {"push", BRANCH, NULL},
        {"[pull_request, push]", BRANCH, NULL},
        {"{push: }", BRANCH, NULL},
        {"pull_request", BRANCH, "does not have 'push'"},
        {"{push: {branches: [main]}}", BRANCH, "'a/b' is not among its `branches`"},
        {"{push: {branches: 'a/*'}}", BRANCH, NULL},
        {"{push: {branches: ['**', '!a/**']}}", BRANCH, "is not among its `branches`"},
        {"{push: {branches: ['**', '!a/**', 'a/b']}}", BRANCH, NULL},
        {"{push: {branches-ignore: ['a/**']}}", BRANCH, "is among its `branches-ignore`"},
        {"{push: {branches-ignore: [main]}}", BRANCH, NULL},
        {"{push: {tags: ['v*']}}", BRANCH, "filters for tags alone"},
        {"{push: {tags-ignore: ['v*']}}", BRANCH, "filters for tags alone"},
        {"{push: {tags: ['v*'], branches: ['**']}}", BRANCH, NULL},
        {"{push: {branches: ['**']}}", TAG, "filters for branches alone"},
        {"{push: {tags: ['v[0-9]+']}}", TAG, NULL},
        {"{push: {tags: ['x*']}}", TAG, "the tag 'v1' is not among its `tags`"},
        {"{push: {tags-ignore: ['v*']}}", TAG, "is among its `tags-ignore`"},
        {"{push: {paths: [nothing]}}", TAG, NULL}, /* not looked at for tags */
        {"{push: {paths: ['**.c']}}", BRANCH, NULL},
        {"{push: {paths: ['**.c', '!src/**']}}", BRANCH, "no changed file"},
        {"{push: {paths-ignore: ['docs/**']}}", BRANCH, NULL},
        {"{push: {paths-ignore: ['docs/**', '**.c']}}", BRANCH, "all changed files"},
        {"pull_request", PULL("opened"), NULL},
        {"pull_request", PULL("closed"), "not among the usual types"},
        {"{pull_request: {types: [closed]}}", PULL("closed"), NULL},
        {"{pull_request: {types: closed}}", PULL("opened"), "not among its `types`"},
        {"{pull_request: {branches: [main]}}", PULL("opened"), NULL},
        {"{pull_request: {branches: [dev]}}", PULL("opened"), "base branch 'main'"},
        {"{workflow_run: {workflows: [CI]}}",
         "{\"event_name\":\"workflow_run\",\"event\":{\"workflow_run\":{\"name\":\"Other\"}}}",
         "the workflow 'Other'"},
        {"{release: {types: [published]}}",
         "{\"event_name\":\"release\",\"event\":{\"action\":\"published\"}}", NULL},
        {"{schedule: [{cron: '0 0 * * *'}]}", "{\"event_name\":\"schedule\",\"event\":{}}", NULL},
    };
    char *changed[] = {(char *)"docs/a.md", (char *)"src/x.c", NULL};
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autofree char *why = judge(cases[i].on, cases[i].github, changed);
        if (cases[i].why ? !strstr(why, cases[i].why) || !why[0] : why[0] != '\0')
            fail_msg("%s: '%s'", cases[i].on, why);
    }
    wh_autofree char *unknown = judge("{push: {paths: [nothing]}}", BRANCH, NULL);
    assert_string_equal(unknown, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_pattern_limits),
        cmocka_unit_test(test_triggers),
    };
    return cmocka_run_group_tests_name("trigger", tests, NULL, NULL);
}
