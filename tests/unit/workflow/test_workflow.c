/* From workflow files to job messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wherry/job/message.h"
#include "wherry/workflow/lint.h"
#include "wherry/workflow/workflow.h"

static cJSON *message_of(const char *text, const char *job, const struct wh_workflow_context *context,
                         struct wh_error *err)
{
    wh_autoworkflow *w = wh_workflow_parse(text, strlen(text), "ci.yml", err);
    return w ? wh_workflow_message(w, job, context, err) : NULL;
}

static cJSON *must(const char *text, const char *job)
{
    wh_autojson *github = cJSON_Parse("{\"repository\":\"acme/web\",\"event\":{\"n\":1}}");
    struct wh_workflow_context context = {.github = github, .token = "tok"};
    wh_autoerror err = {0};
    cJSON *message = message_of(text, job, &context, &err);
    if (!message)
        fail_msg("%s", wh_error_text(&err));
    return message;
}

static const cJSON *at(const cJSON *json, const char *path)
{
    wh_autostrv char **parts = wh_strv_split(path, '.');
    for (size_t i = 0; parts[i] && json; i++) {
        uint64_t index;
        json = cJSON_IsArray(json) && wh_parse_u64(parts[i], 10000, &index)
                   ? cJSON_GetArrayItem(json, (int)index)
                   : wh_json_get(json, parts[i]);
    }
    return json;
}

static const char *text_at(const cJSON *json, const char *path)
{
    const cJSON *found = at(json, path);
    return cJSON_IsString(found) ? found->valuestring : "(none)";
}

static const char whole[] = "name: CI\n"
                            "on: push\n"
                            "env: {IMAGE: 'web:${{ github.sha }}'}\n"
                            "defaults: {run: {shell: bash}}\n"
                            "jobs:\n"
                            "  build:\n"
                            "    name: Build it\n"
                            "    runs-on: [self-hosted]\n"
                            "    timeout-minutes: 7\n"
                            "    env: {N: 010}\n"
                            "    outputs: {d: '${{ steps.b.outputs.digest }}'}\n"
                            "    environment: {name: prod, url: 'https://x/${{ steps.b.outputs.digest }}'}\n"
                            "    steps:\n"
                            "      - run: |\n"
                            "          echo one\n"
                            "          echo two\n"
                            "      - uses: actions/checkout@v4\n"
                            "        with: {fetch-depth: 0}\n"
                            "      - id: b\n"
                            "        name: Push ${{ env.IMAGE }}\n"
                            "        if: github.ref == 'refs/heads/main'\n"
                            "        uses: docker/build-push-action/sub/dir@v6\n"
                            "        continue-on-error: true\n"
                            "        timeout-minutes: 3\n"
                            "      - run: echo three\n"
                            "        if: always()\n"
                            "        working-directory: sub\n"
                            "        shell: sh\n"
                            "      - uses: docker://alpine:3\n"
                            "      - uses: ./local\n";

static void test_whole_message(void **state)
{
    (void)state;
    wh_autojson *m = must(whole, "build");
    assert_string_equal(text_at(m, "jobDisplayName"), "Build it");
    assert_string_equal(text_at(m, "environmentVariables.0.map.0.value.expr"),
                        "format('web:{0}', github.sha)");
    assert_int_equal(at(m, "environmentVariables.1.map.0.value.num")->valueint, 10);
    assert_string_equal(text_at(m, "defaults.0.map.0.key.lit"), "run");
    assert_string_equal(text_at(m, "jobOutputs.map.0.value.expr"), "steps.b.outputs.digest");
    assert_string_equal(text_at(m, "actionsEnvironment.name"), "prod");
    assert_string_equal(text_at(m, "steps.0.contextName"), "__run");
    assert_string_equal(text_at(m, "steps.0.reference.type"), "script");
    assert_string_equal(text_at(m, "steps.0.condition"), "success()");
    assert_string_equal(text_at(m, "steps.1.contextName"), "__actions_checkout");
    assert_string_equal(text_at(m, "steps.1.reference.name"), "actions/checkout");
    assert_string_equal(text_at(m, "steps.1.reference.ref"), "v4");
    assert_string_equal(text_at(m, "steps.2.contextName"), "b");
    assert_string_equal(text_at(m, "steps.2.reference.path"), "sub/dir");
    assert_string_equal(text_at(m, "steps.2.condition"), "success() && (github.ref == 'refs/heads/main')");
    assert_string_equal(text_at(m, "steps.3.contextName"), "__run_2");
    assert_string_equal(text_at(m, "steps.3.condition"), "always()");
    assert_string_equal(text_at(m, "steps.4.reference.image"), "alpine:3");
    assert_string_equal(text_at(m, "steps.5.reference.repositoryType"), "self");
    assert_string_equal(text_at(m, "variables.system.github.token"), "(none)"); /* the dots are in the name */
    assert_string_equal(text_at(wh_json_get(wh_json_get(m, "variables"), "system.github.token"), "value"),
                        "tok");
}

/* The worker's own reader takes what we make. */
static void test_message_is_readable(void **state)
{
    (void)state;
    wh_autojson *json = must(whole, "BUILD");
    wh_autoerror err = {0};
    wh_automessage *m = wh_message_from_json(json, &err);
    if (!m)
        fail_msg("%s", wh_error_text(&err));
    assert_int_equal(m->nsteps, 6);
    assert_int_equal(m->steps[2].timeout_minutes->number, 3);
    assert_true(m->steps[2].continue_on_error->boolean);
    assert_string_equal(wh_token_get(m->steps[0].inputs, "script")->text, "echo one\necho two\n");
    assert_string_equal(wh_token_get(m->steps[3].inputs, "workingDirectory")->text, "sub");
    assert_string_equal(m->file_table[0], "ci.yml");
}

static void test_questions(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    wh_autoworkflow *w = wh_workflow_parse(whole, strlen(whole), "ci.yml", &err);
    assert_non_null(w);
    assert_string_equal(wh_workflow_name(w), "CI");
    assert_int_equal(wh_workflow_job_count(w), 1);
    assert_true(wh_workflow_has_event(w, "push"));
    assert_false(wh_workflow_has_event(w, "pull_request"));
    wh_autostrv char **events = wh_workflow_events(w);
    assert_int_equal(wh_strv_len(events), 1);
    assert_false(wh_workflow_job_has_matrix(w, "build"));
}

struct error_case {
    const char *text;
    const char *message; /* a part of it */
};

static const char head[] = "on: push\njobs:\n  j:\n    runs-on: x\n    steps:\n";

static void test_errors(void **state)
{
    (void)state;
    static const struct error_case cases[] = {
        {"", "empty"},
        {"[]", "A sequence was not expected"},
        {"on: push", "Required property is missing: jobs"},
        {"jobs: {a: {}}", "Required property is missing: on"},
        {"on: push\njobs: {}", "There must be at least one job"},
        {"on: push\njobs: {a: {steps: []}}", "Required property is missing: runs-on"},
        {"on: push\njobs: {a: {runs-on: x}}", "Required property is missing: steps"},
        {"on: push\njobs: {1a: {runs-on: x, steps: []}}", "The identifier '1a' is invalid"},
        {"on: push\njobs: {a: {runs-on: x, steps: 7}}", "Unexpected value '7': 'steps' needs a sequence"},
        {"on: push\njob: {}", "ci.yml (Line: 2, Col: 1): Unexpected value 'job' (did you mean 'jobs'?)"},
        {"on: push\non: push\njobs: {}", "'on' is already defined"},
        {"on: puhs\njobs: {}", "ci.yml (Line: 1, Col: 5): Unexpected value 'puhs' (did you mean 'push'?)"},
        {"on: {push: {branch: x}}\njobs: {}", "Unexpected value 'branch' (did you mean 'branches'?)"},
        {"on: {push: {branches: x, branches-ignore: y}}\njobs: {}", "only define one of `branches`"},
        {"on: {schedule: {cron: x}}\njobs: {}", "A mapping was not expected"},
        {"on: {workflow_dispatch: {inputs: {a: {type: text}}}}\njobs: {}", "Unexpected value 'text'"},
        {"on: {workflow_dispatch: {inputs: {a: {type: choice}}}}\njobs: {}", "missing: options"},
        {"on: {workflow_dispatch: {inputs: {a: {required: yes}}}}\njobs: {}", "Unexpected value 'yes'"},
        {"on: {workflow_call: {inputs: {a: {}}}}\njobs: {}", "Required property is missing: type"},
        {"on: {workflow_call: {inputs: {a: {type: choice}}}}\njobs: {}", "Unexpected value 'choice'"},
        {"on: {workflow_call: {outputs: {a: {}}}}\njobs: {}", "Required property is missing: value"},
        {"on: push\nconcurrency: {cancel-in-progress: true}\njobs: {}", "missing: group"},
        {"on: push\njobs: {a: {needs: b, runs-on: x, steps: []}}",
         "ci.yml (Line: 2, Col: 19): Job 'a' depends on unknown job 'b'."},
        {"on: push\njobs: {a: {needs: a, runs-on: x, steps: []}}", "at least one job with no dependencies"},
        {"on: push\njobs:\n  z: {runs-on: x, steps: []}\n  a: {needs: [z, b], runs-on: x, steps: []}\n"
         "  b: {needs: a, runs-on: x, steps: []}",
         "ci.yml (Line: 4, Col: 18): Job 'a' depends on job 'b' which creates a cycle in the dependency "
         "graph."},
        {"on: push\njobs: {a: {needs: {b: c}, runs-on: x, steps: []}}", "A mapping was not expected"},
        {"on: push\njobs: {a: {strategy: {matrix: {v: []}}, runs-on: x, steps: []}}",
         "ci.yml (Line: 2, Col: 35): Matrix vector 'v' does not contain any values"},
        {"on: push\njobs: {a: {strategy: {matrix: {v: 1}}, runs-on: x, steps: []}}",
         "'1': 'v' needs a sequence"},
        {"on: push\njobs: {a: {strategy: {matrix: {}}, runs-on: x, steps: []}}", "at least one vector"},
        {"on: push\njobs: {a: {strategy: {matrix: {include: [1]}}, runs-on: x, steps: []}}",
         "Unexpected value '1': 'include' needs a mapping"},
        {"on: push\njobs: {a: {strategy: {fail-fast: 'x'}, runs-on: x, steps: []}}", "Unexpected value 'x'"},
        {"on: push\njobs: {a: {strategy: {max-parallel: x}, runs-on: x, steps: []}}", "Unexpected value 'x'"},
        {"on: push\njobs: {a: {strategy: {matrixx: x}, runs-on: x, steps: []}}",
         "Unexpected value 'matrixx' (did you mean 'matrix'?)"},
        {"on: push\njobs: {a: {timeout-minutes: soon, runs-on: x, steps: []}}", "Unexpected value 'soon'"},
        {"on: push\njobs: {a: {continue-on-error: 1, runs-on: x, steps: []}}", "Unexpected value '1'"},
        {"on: push\njobs: {a: {uses: ./.github/workflows/x.yml, steps: []}}",
         "ci.yml (Line: 2, Col: 45): Unexpected value 'steps': it does not go with 'uses'"},
        {"on: push\njobs: {a: {uses: ./.github/workflows/x.yml, runs-on: x}}", "Unexpected value 'runs-on'"},
        {"on: push\njobs: {a: {uses: ./x.yml}}", "invalid value workflow reference './x.yml'"},
        {"on: push\njobs: {a: {uses: ./.github/workflows/x.yml, secrets: all}}", "Unexpected value 'all'"},
        {"on: push\njobs: {a: {runs-on: x, with: {a: 1}, steps: []}}",
         "Unexpected value 'with': it does not go without 'uses'"},
    };
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autoerror err = {0};
        assert_null(wh_workflow_parse(cases[i].text, strlen(cases[i].text), "ci.yml", &err));
        if (!strstr(wh_error_text(&err), cases[i].message))
            fail_msg("%s: %s", cases[i].text, wh_error_text(&err));
    }
}

static void test_step_errors(void **state)
{
    (void)state;
    static const struct error_case cases[] = {
        {"      - rnu: x", "ci.yml (Line: 6, Col: 9): Unexpected value 'rnu'"},
        {"      - {run: x, uses: y}", "Unexpected value 'run': it does not go with 'uses'"},
        {"      - {name: x}", "Required property is missing: run, or uses"},
        {"      - {uses: a/b@v1, shell: sh}", "Unexpected value 'shell'"},
        {"      - {run: x, with: {a: b}}", "Unexpected value 'with'"},
        {"      - {run: x, id: __a}", "The identifier '__a' is invalid"},
        {"      - {run: x, id: a}\n      - {run: x, id: A}", "may not be used more than once"},
        {"      - {uses: checkout}", "Expected format {owner}/{repo}[/path]@{ref}. Actual 'checkout'"},
        {"      - {uses: a/b}", "Expected format"},
        {"      - run: echo ${{ github.sha", "The expression is not closed"},
        {"      - run: echo ${{ }}", "(Line: 6, Col: 14)"},
        {"      - run: echo ${{ nosuch.x }}", "nosuch"},
        {"      - {run: x, if: 'a ==='}", "(Line: 6, Col: 22)"},
        {"      - {run: x, env: {A: 1, a: 2}}", "'a' is already defined"},
        {"      - {run: [x]}", "sequence"},
    };
    wh_autojson *github = cJSON_CreateObject();
    struct wh_workflow_context context = {.github = github};
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autofree char *text = wh_printf("%s%s\n", head, cases[i].text);
        wh_autoerror err = {0};
        cJSON *message = message_of(text, "j", &context, &err);
        if (message)
            fail_msg("accepted: %s", cases[i].text);
        if (!strstr(wh_error_text(&err), cases[i].message))
            fail_msg("%s: %s", cases[i].text, wh_error_text(&err));
    }
}

/* Refusals are not lost behind more problems than are kept. */
static void test_many_problems(void **state)
{
    (void)state;
    for (unsigned n = WH_MAX_LINT_PROBLEMS - 1; n <= WH_MAX_LINT_PROBLEMS; n++) {
        wh_autostr text = {0};
        wh_str_add(&text, "on: {pull_request: {types: [new0");
        for (unsigned i = 1; i < n; i++)
            wh_str_addf(&text, ", new%u", i);
        wh_str_add(&text, "]}}\njobs: {j: {runs-on: x, steps: [{run: x}]}}\n");
        wh_autoerror err = {0};
        wh_autoworkflow *w = wh_workflow_parse(wh_str_text(&text), text.len, "ci.yml", &err);
        if (n < WH_MAX_LINT_PROBLEMS && !w)
            fail_msg("%s", wh_error_text(&err));
        if (n == WH_MAX_LINT_PROBLEMS)
            assert_int_equal(err.code, WH_E_LIMIT);
    }
}

static void test_references(void **state)
{
    (void)state;
    struct wh_workflow_reference r = {0};
    wh_autoerror err = {0};
    assert_int_equal(wh_workflow_reference_parse("./.github/workflows/x.yml", &r, &err), 0);
    assert_null(r.repository);
    assert_string_equal(r.path, ".github/workflows/x.yml");
    wh_workflow_reference_clear(&r);
    assert_int_equal(wh_workflow_reference_parse("a/b/.github/workflows/x.yaml@v1", &r, &err), 0);
    assert_string_equal(r.repository, "a/b");
    assert_string_equal(r.path, ".github/workflows/x.yaml");
    assert_string_equal(r.ref, "v1");
    wh_workflow_reference_clear(&r);
    static const char *const bad[] = {"",
                                      "x.yml",
                                      "./x.yml",
                                      "./.github/workflows/sub/x.yml",
                                      "./.github/workflows/../x.yml",
                                      "./.github/workflows/x.json",
                                      "a/b/.github/workflows/x.yml",
                                      "a/b/.github/workflows/x.yml@",
                                      "a/.github/workflows/x.yml@v1",
                                      "/b/.github/workflows/x.yml@v1",
                                      "a//.github/workflows/x.yml@v1"};
    for (size_t i = 0; i < WH_COUNT(bad); i++) {
        wh_autoerror cause = {0};
        if (wh_workflow_reference_parse(bad[i], &r, &cause) == 0)
            fail_msg("accepted: %s", bad[i]);
        wh_workflow_reference_clear(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_message), cmocka_unit_test(test_message_is_readable),
        cmocka_unit_test(test_questions),     cmocka_unit_test(test_errors),
        cmocka_unit_test(test_step_errors),   cmocka_unit_test(test_references),
        cmocka_unit_test(test_many_problems),
    };
    return cmocka_run_group_tests_name("workflow", tests, NULL, NULL);
}
