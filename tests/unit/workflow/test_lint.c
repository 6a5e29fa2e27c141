/* What `wherry lint` finds, each with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wherry/workflow/lint.h"
#include "wherry/workflow/workflow.h"

/* "line:col level rule text", one a problem. */
static char *lines_of(const char *text, const char *root)
{
    static const char *const levels[] = {"refused", "error", "warning"};
    wh_autolint l = {0};
    wh_autostr out = {0};
    wh_lint_workflow(text, strlen(text), root, &l);
    for (size_t i = 0; i < l.count; i++)
        wh_str_addf(&out, "%u:%u %s %s %s\n", l.problems[i].line, l.problems[i].col,
                    levels[l.problems[i].level], l.problems[i].rule, l.problems[i].text);
    return wh_str_steal(&out);
}

struct lint_case {
    const char *text;
    const char *expected; /* all problems */
};

static void check(const char *head, const struct lint_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        wh_autofree char *text = wh_printf("%s%s", head, cases[i].text);
        wh_autofree char *found = lines_of(text, NULL);
        if (!wh_streq(found, cases[i].expected))
            fail_msg("%s\nfound:\n%sexpected:\n%s", text, found, cases[i].expected);
    }
}

static void test_file(void **state)
{
    (void)state;
    static const struct lint_case cases[] = {
        {"", "1:1 refused syntax the file is empty\n"},
        {"a: [", "2:1 refused syntax flow sequence without a closing bracket\n"},
        {"[]", "1:1 refused schema A sequence was not expected\n"},
        {"on: push\njobs: {}", "2:7 refused schema There must be at least one job\n"},
        {"on: push\njob: {}", "2:1 refused schema Unexpected value 'job' (did you mean 'jobs'?)\n"},
        {"on: push\non: push\njobs: {a: {uses: ./.github/workflows/x.yml}}",
         "2:1 refused schema 'on' is already defined\n"},
        {"on: pusch\njobs: {a: {runs-on: x}}",
         "1:5 refused schema Unexpected value 'pusch' (did you mean 'push'?)\n"
         "2:11 refused schema Required property is missing: steps, or uses\n"},
        {"on: {push: {brunches: x}}\npermissions: {contents: raed}\njobs: {a: {runs-on: x, steps: [{run: "
         "y}]}}",
         "1:13 refused schema Unexpected value 'brunches' (did you mean 'branches'?)\n"
         "2:25 refused schema Unexpected value 'raed' (did you mean 'read'?)\n"},
        {"on: {push: {tags: a, tags-ignore: b}}\njobs: {a: {runs-on: x, steps: [{run: y}]}}",
         "1:35 refused schema you may only define one of `tags` and `tags-ignore` for a single event\n"},
        {"on: {issues: {types: [open, opened]}}\njobs: {a: {runs-on: x, steps: [{run: y}]}}",
         "1:23 error schema Unexpected value 'open' (did you mean 'opened'?)\n"},
        {"on: {schedule: [{cron: '0 0 * * mon-fri'}, {cron: '*/5 1,2-4 * JAN 0'}, {cron: '0 24 * * *'}, "
         "{cron: x}]}\n"
         "jobs: {a: {runs-on: x, steps: [{run: y}]}}",
         "1:80 refused schema Invalid cron string '0 24 * * *': five fields are needed: minute, hour, day of "
         "the "
         "month, month, day of the week\n"
         "1:102 refused schema Invalid cron string 'x': five fields are needed: minute, hour, day of the "
         "month, "
         "month, day of the week\n"},
        {"on: {workflow_dispatch: {inputs: {a: {type: choice}, b: {type: strig}, c: }}}\n"
         "jobs: {a: {runs-on: x, steps: [{run: y}]}}",
         "1:35 refused schema Required property is missing: options\n"
         "1:64 refused schema Unexpected value 'strig' (did you mean 'string'?)\n"},
    };
    check("", cases, WH_COUNT(cases));
}

static void test_jobs(void **state)
{
    (void)state;
    static const struct lint_case cases[] = {
        {"  a: {runs-on: x, steps: [{run: y}], needs: b}\n  b: {runs-on: x, steps: [{run: y}], needs: [a]}\n",
         "3:3 refused needs The workflow must contain at least one job with no dependencies.\n"
         "3:45 refused needs Job 'a' depends on job 'b' which creates a cycle in the dependency graph.\n"
         "4:46 refused needs Job 'b' depends on job 'a' which creates a cycle in the dependency graph.\n"},
        {"  build: {runs-on: x, steps: [{run: y}]}\n  b: {runs-on: x, steps: [{run: y}], needs: biuld}\n",
         "4:45 refused needs Job 'b' depends on unknown job 'biuld'. (did you mean 'build'?)\n"},
        {"  1a: {runs-on: x, steps: [{run: y}]}\n",
         "3:3 refused schema The identifier '1a' is invalid. Job IDs may only contain alphanumeric "
         "characters, '_', "
         "and '-'. IDs must start with a letter or '_', must not start with '__' and must be less than 100 "
         "characters.\n"},
        {"  a: {runs-on: x, steps: [{run: y}], timeout-minutes: '5', continue-on-error: 1, if: a b}\n",
         "3:55 refused schema Unexpected value '5': 'timeout-minutes' needs a number\n"
         "3:79 refused schema Unexpected value '1': 'continue-on-error' needs true or false\n"
         "3:88 refused expression Unexpected symbol: 'b'. Located at position 3 within expression: a b\n"},
        {"  a: {runs-on: x, steps: [{run: y}], strategy: {matrix: {v: [], exclude: [{w: 1}]}}}\n",
         "3:61 refused schema Matrix vector 'v' does not contain any values\n"
         "3:76 error schema Matrix exclude key 'w' does not match any key within the matrix\n"},
        {"  a: {uses: ./x.yml}\n",
         "3:13 refused action invalid value workflow reference './x.yml': "
         "./.github/workflows/FILE.yml or OWNER/REPO/.github/workflows/FILE.yml@REF is "
         "expected\n"},
        {"  a: {runs-on: x, steps: [{run: y}], container: {image: i, imge: j, env: {A: '${{ runner.os "
         "}}'}},\n"
         "     services: {s: {image: '${{ secrets.A }}'}}}\n",
         "3:60 refused schema Unexpected value 'imge' (did you mean 'image'?)\n"
         "4:33 refused context Unrecognized named-value: 'secrets' is not available here; there is github, "
         "inputs, "
         "vars, needs, strategy, matrix\n"},
        {"  a: {runs-on: x, steps: [{run: y}], needs: '${{ github.ref }}'}\n",
         "3:46 refused expression A template expression is not allowed in this context\n"},
    };
    check("on: push\njobs:\n", cases, WH_COUNT(cases));
}

static void test_steps(void **state)
{
    (void)state;
    static const struct lint_case cases[] = {
        {"      - {run: x, uses: a/b@v1}\n",
         "6:10 refused schema Unexpected value 'run': it does not go with 'uses'\n"},
        {"      - {name: x}\n", "6:9 refused schema Required property is missing: run, or uses\n"},
        {"      - {uses: a/b@v1, shell: sh}\n",
         "6:24 refused schema Unexpected value 'shell': it does not go with 'uses'\n"},
        {"      - {run: x, id: a}\n      - {run: x, id: A}\n",
         "7:22 refused schema The identifier 'A' may not be used more than once within the same scope.\n"},
        {"      - {uses: checkout}\n",
         "6:16 refused action Expected format {owner}/{repo}[/path]@{ref}. Actual 'checkout'\n"},
        {"      - run: echo ${{ github.sha\n", "6:19 refused expression The expression is not closed. An "
                                               "unescaped ${{ sequence was found, but the closing "
                                               "}} sequence was not found.\n"},
        {"      - run: echo ${{ }}\n", "6:19 refused expression An expression was expected\n"},
        /* each expression of a text by itself, in lines of a block */
        {"      - run: |\n          ü ${{ nosuch.x }}\n\n          echo ${{ github.sha }} ${{ a == }}\n",
         "7:17 refused context Unrecognized named-value: 'nosuch'\n"
         "9:40 refused expression Unexpected end of expression: '=='. Located at position 3 within "
         "expression: a "
         "==\n"},
        {"      - run: \"a\\n\\\"${{ env.A }}\\\" ${{ secret.B }}\"\n",
         "6:39 refused context Unrecognized named-value: 'secret' (did you mean 'secrets'?)\n"},
        {"      - {run: x, if: \"success() && secrets.A\"}\n",
         "6:36 refused context Unrecognized named-value: 'secrets' is not available here; there is github, "
         "inputs, "
         "vars, needs, strategy, matrix, steps, job, runner, env\n"},
        {"      - run: x\n        if: ${{ env.A }} == 'b'\n",
         "7:13 warning condition This condition is always true: with text around ${{ }} it is a string that "
         "is not "
         "empty. Put all of it into one ${{ }}, or leave ${{ }} out\n"},
        {"      - {run: \"${{ always() }}\"}\n",
         "6:20 refused context Unrecognized function: 'always' is not available here; there is case, "
         "contains, "
         "endsWith, format, fromJSON, join, startsWith, toJSON, hashFiles\n"},
        {"      - {run: x, timeout-minutes: '${{ env.T }}', continue-on-error: 'x${{ env.T }}'}\n",
         "6:70 error schema An expression with text around it is a string: true or false is needed here\n"},
        {"      - {run: x, id: a}\n      - {run: '${{ steps.a.outputs.b }} ${{ steps[''b''].outputs.c }} ${{ "
         "steps.a.output }}'}\n      - {run: x, id: b}\n",
         "7:51 error name Step 'b' has not run yet here: its outputs are empty\n"
         "7:83 error name A step has no 'output', only outputs, outcome and conclusion (did you mean "
         "'outputs'?)\n"},
        {"      - {run: '${{ github.shaa }} ${{ runner.temp }} ${{ github.event.x.y }} ${{ job.stats }}'}\n",
         "6:27 warning name The github context has no 'shaa' (did you mean 'sha'?)\n"
         "6:86 warning name The job context has no 'stats' (did you mean 'status'?)\n"},
        {"      - {run: '${{ matrix.a }} ${{ inputs.b }} ${{ needs.c.outputs.d }}'}\n",
         "6:27 error name The job has no matrix: there is no 'a'\n"
         "6:43 error name The workflow declares no input 'b'\n"
         "6:58 error name There is no job 'c' in the job's `needs`\n"},
        {"      - {uses: docker/build-push-action@v6, with: {tgas: x, push: true}}\n",
         "6:52 warning input docker/build-push-action@v6 has no input 'tgas' (did you mean 'tags'?)\n"},
        {"      - &a {rnu: x}\n      - *a\n",
         "6:13 refused schema Unexpected value 'rnu' (did you mean 'run'?)\n"},
    };
    check("on: push\njobs:\n  j:\n    runs-on: x\n    steps:\n", cases, WH_COUNT(cases));
}

/* What is right is told nothing about. */
static void test_right(void **state)
{
    (void)state;
    static const char text[] =
        "name: CI\nrun-name: by ${{ github.actor }}\n"
        "on:\n  push: {branches: [main, 'release/**'], paths: ['**.c']}\n  pull_request:\n  schedule:\n"
        "    - cron: '30 5 * * 1,3'\n  workflow_dispatch:\n    inputs:\n"
        "      level: {type: choice, options: [a, b], default: a, required: true}\n      other:\n"
        "  workflow_call:\n    inputs: {n: {type: number, default: 3}}\n    secrets: {S: {required: true}}\n"
        "    outputs: {d: {value: '${{ jobs.build.outputs.digest }}'}}\n"
        "permissions: {contents: read, id-token: write}\nenv: {A: 1, B: '${{ secrets.S }}'}\n"
        "concurrency: {group: '${{ github.ref }}', cancel-in-progress: true}\ndefaults: {run: {shell: "
        "bash}}\n"
        "jobs:\n  build:\n    name: B ${{ matrix.os }}\n    runs-on: [self-hosted, '${{ matrix.os }}']\n"
        "    strategy: {fail-fast: false, matrix: {os: [a, b], include: [{os: a, extra: 1}]}}\n"
        "    environment: {name: prod, url: '${{ steps.push.outputs.url }}'}\n"
        "    outputs: {digest: '${{ steps.push.outputs.digest }}'}\n"
        "    container: {image: 'i:${{ matrix.extra }}', credentials: {username: u, password: '${{ secrets.P "
        "}}'}}\n"
        "    services: {db: {image: x, ports: ['1:2', 80], options: --health-cmd x}}\n"
        "    steps:\n      - uses: actions/checkout@v4\n        with: {fetch-depth: 0, ref: '${{ "
        "inputs.level }}'}\n"
        "      - run: echo ${{ hashFiles('**/x') }} ${{ toJSON(github) }} ${{ env.A }} ${{ inputs.n }}\n"
        "        if: ${{ !cancelled() && github.event_name == 'push' }}\n        timeout-minutes: ${{ "
        "fromJSON('3') }}\n"
        "      - {id: push, uses: 'docker/build-push-action@v6', with: {push: true, tags: x}, "
        "continue-on-error: true}\n"
        "      - uses: docker://alpine:3\n        with: {args: x, anything: y}\n"
        "  test:\n    needs: [build]\n    if: always() && needs.build.result == 'success'\n    runs-on: "
        "{group: g}\n"
        "    steps: [{run: 'echo ${{ needs.build.outputs.digest }} ${{ needs.*.result }}', "
        "working-directory: x}]\n"
        "  call: {uses: 'o/r/.github/workflows/x.yml@v1', with: {a: 1}, secrets: inherit, needs: test}\n";
    wh_autofree char *found = lines_of(text, NULL);
    assert_string_equal(found, "");
    wh_autoerror err = {0};
    wh_autoworkflow *w = wh_workflow_parse(text, strlen(text), "ci.yml", &err);
    if (!w)
        fail_msg("%s", wh_error_text(&err));
}

/* Told are WH_MAX_LINT_PROBLEMS and no more. */
static void test_limit(void **state)
{
    (void)state;
    for (unsigned n = WH_MAX_LINT_PROBLEMS - 1; n <= WH_MAX_LINT_PROBLEMS + 1; n++) {
        wh_autostr text = {0};
        wh_str_add(&text, "on: push\njobs: {j: {runs-on: x, steps: [{run: y}]}}\n");
        for (unsigned i = 0; i < n; i++)
            wh_str_addf(&text, "k%u: 1\n", i);
        wh_autolint l = {0};
        wh_lint_workflow(wh_str_text(&text), text.len, NULL, &l);
        assert_int_equal(l.count, WH_MIN(n, WH_MAX_LINT_PROBLEMS));
        assert_int_equal(l.refused, l.count);
    }
}

/* WH_MAX_WORKFLOW_JOBS, WH_MAX_WORKFLOW_STEPS. */
static void test_large_files(void **state)
{
    (void)state;
    for (unsigned past = 0; past <= 1; past++) {
        wh_autostr jobs = {0};
        wh_autostr steps = {0};
        wh_str_add(&jobs, "on: push\njobs:\n");
        for (unsigned i = 0; i < WH_MAX_WORKFLOW_JOBS + past; i++)
            wh_str_addf(&jobs, "  j%u: {runs-on: x, steps: [{run: y}]}\n", i);
        wh_str_add(&steps, "on: push\njobs:\n  j:\n    runs-on: x\n    steps:\n");
        for (unsigned i = 0; i < WH_MAX_WORKFLOW_STEPS + past; i++)
            wh_str_add(&steps, "      - run: y\n");
        wh_autofree char *many_jobs = lines_of(wh_str_text(&jobs), NULL);
        wh_autofree char *many_steps = lines_of(wh_str_text(&steps), NULL);
        assert_string_equal(many_jobs, past ? "3:3 refused schema A workflow has at most 256 jobs\n" : "");
        assert_string_equal(many_steps, past ? "6:7 refused schema A job has at most 1000 steps\n" : "");
    }
}

/* A file that aliases make huge is given up. */
static void test_aliases(void **state)
{
    (void)state;
    wh_autostr text = {0};
    wh_str_add(&text, "on: push\nenv: &a0 {A: x}\n");
    for (int i = 1; i <= 8; i++) {
        wh_str_addf(&text, "k%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            wh_str_addf(&text, "%s*a%d", k ? ", " : "", i - 1);
        wh_str_add(&text, "]\n");
    }
    wh_str_add(&text, "jobs: {j: {runs-on: x, strategy: {matrix: {v: *a8}}, steps: [{run: y}]}}\n");
    wh_autofree char *found = lines_of(wh_str_text(&text), NULL);
    assert_non_null(strstr(found, "Maximum object size exceeded"));
}

static void test_excerpt(void **state)
{
    (void)state;
    static const char text[] = "a\n\tü: ${{ x }}\r\nlast";
    struct wh_lint_problem p = {.line = 2, .col = 5, .length = 3};
    wh_autofree char *middle = wh_lint_excerpt(text, strlen(text), &p);
    assert_string_equal(middle, "     2 | \tü: ${{ x }}\n       | \t   ^~~\n");
    p = (struct wh_lint_problem){.line = 3, .col = 9, .length = 9};
    wh_autofree char *behind = wh_lint_excerpt(text, strlen(text), &p);
    assert_string_equal(behind, "     3 | last\n       |     ^\n");
    p.line = 4;
    wh_autofree char *none = wh_lint_excerpt(text, strlen(text), &p);
    assert_string_equal(none, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file),        cmocka_unit_test(test_jobs),    cmocka_unit_test(test_steps),
        cmocka_unit_test(test_right),       cmocka_unit_test(test_limit),   cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_large_files), cmocka_unit_test(test_excerpt),
    };
    return cmocka_run_group_tests_name("lint", tests, NULL, NULL);
}
