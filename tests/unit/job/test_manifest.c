/* action.yml: what it declares, and what is wrong with it, with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wherry/job/manifest.h"

#define NAME "o/r/v1/action.yml"

static struct wh_action_manifest *parse(const char *text)
{
    wh_autoerror err = {0};
    wh_autofree char *error = NULL;
    struct wh_action_manifest *m = wh_action_manifest_parse(text, strlen(text), NAME, 3, &error, &err);
    if (!m)
        print_message("%s: %s\n", wh_error_text(&err), error);
    assert_non_null(m);
    assert_null(error);
    return m;
}

static void node(void **state)
{
    (void)state;
    wh_autoactionmanifest *m =
        parse("name: thing\n"
              "author: somebody\n"
              "inputs:\n"
              "  who: {description: d, default: 'x ${{ github.actor }}', required: true}\n"
              "  number: {default: 1.10}\n"
              "  old: {deprecationMessage: use who}\n"
              "  bare:\n"
              "runs: {using: NODE20, main: a.js, pre: b.js, pre-if: false, post: c.js}\n");
    assert_int_equal(m->kind, WH_MANIFEST_NODE);
    assert_int_equal(m->node, 20);
    assert_string_equal(m->name, "thing");
    assert_string_equal(m->main, "a.js");
    assert_string_equal(m->pre, "b.js");
    assert_string_equal(m->post, "c.js");
    assert_string_equal(m->pre_if, "false");
    assert_string_equal(m->post_if, "always()");
    assert_int_equal(m->ninputs, 4);
    assert_int_equal(m->inputs[0].value->type, WH_TOKEN_EXPRESSION);
    assert_int_equal(m->inputs[0].value->file, 3);
    assert_int_equal(m->inputs[0].value->line, 4);
    assert_string_equal(m->inputs[2].deprecation, "use who");
    assert_null(m->inputs[3].value);
}

static void composite(void **state)
{
    (void)state;
    wh_autoactionmanifest *m = parse("outputs:\n"
                                     "  sum: {description: d, value: '${{ steps.x.outputs.v }}'}\n"
                                     "runs:\n"
                                     "  using: composite\n"
                                     "  steps:\n"
                                     "    - {id: x, run: echo 1, shell: bash, working-directory: sub}\n"
                                     "    - {uses: a/b/c@v1, with: {k: v}, if: inputs.go, name: n}\n"
                                     "    - {uses: ./here, if: always()}\n"
                                     "    - {uses: 'docker://alpine:3'}\n"
                                     "    - {uses: a/b@v1, continue-on-error: true}\n");
    assert_int_equal(m->kind, WH_MANIFEST_COMPOSITE);
    assert_int_equal(m->nsteps, 5);
    assert_string_equal(m->steps[0].context_name, "x");
    assert_string_equal(m->steps[0].condition, "success()");
    assert_non_null(wh_token_get(m->steps[0].inputs, "workingDirectory"));
    assert_string_equal(m->steps[1].reference.name, "a/b");
    assert_string_equal(m->steps[1].reference.path, "c");
    assert_string_equal(m->steps[1].condition, "success() && (inputs.go)");
    assert_string_equal(m->steps[1].context_name, "__a_b");
    assert_string_equal(m->steps[2].reference.path, "./here");
    assert_null(m->steps[2].reference.name);
    assert_string_equal(m->steps[2].condition, "always()");
    assert_int_equal(m->steps[3].reference.type, WH_REFERENCE_CONTAINER);
    assert_string_equal(m->steps[4].context_name, "__a_b_2");
    assert_non_null(m->steps[4].continue_on_error);
    assert_non_null(wh_token_get(m->outputs, "sum"));
}

static void docker(void **state)
{
    (void)state;
    wh_autoactionmanifest *m =
        parse("runs:\n  using: docker\n  image: Dockerfile\n  args: ['${{ inputs.x }}', '']\n"
              "  env: {A: b}\n  entrypoint: /e\n  pre-entrypoint: /p\n  post-if: failure()\n");
    assert_int_equal(m->kind, WH_MANIFEST_DOCKER);
    assert_string_equal(m->image, "Dockerfile");
    assert_int_equal(m->args->count, 2);
    assert_string_equal(m->main, "/e");
    assert_string_equal(m->pre, "/p");
    assert_string_equal(m->post_if, "failure()");
    wh_autoactionmanifest *bare = wh_action_manifest_of_dockerfile("dockerfile");
    assert_int_equal(bare->kind, WH_MANIFEST_DOCKER);
    assert_string_equal(bare->image, "dockerfile");
}

static const struct {
    const char *text, *error;
} bad[] = {
    {"", "Top level 'runs:' section is required for " NAME},
    {"name: x\n", "Top level 'runs:' section is required for " NAME},
    {"[]", NAME " (Line: 1, Col: 1): Expected a mapping"},
    {"runs: []\n", NAME " (Line: 1, Col: 7): Expected a mapping"},
    {"runs: {main: x}\n",
     "Missing 'using' value. 'using' requires 'composite', 'docker', 'node12', 'node16', "
     "'node20' or 'node24'."},
    {"runs: {using: node6, main: x}\n", "Specified argument was out of the range of valid values. (Parameter "
                                        "''using: node6' is not supported, use 'docker', 'node12', 'node16', "
                                        "'node20' or 'node24' instead.')"},
    {"runs:\n  using: node20\n  main: x\n  mian: y\n", NAME " (Line: 4, Col: 3): Unexpected value 'mian'"},
    {"runs: {using: node20}\n", "You are using a JavaScript Action but there is not an entry JavaScript file "
                                "provided in " NAME "."},
    {"runs: {using: node20, main: ''}\n", NAME " (Line: 1, Col: 29): Unexpected value ''"},
    {"runs: {using: node20, main: [x]}\n", NAME " (Line: 1, Col: 29): A sequence was not expected"},
    {"runs: {using: docker}\n", "You are using a Container Action but an image is not provided in " NAME "."},
    {"runs: {using: docker, image: x, args: y}\n", NAME " (Line: 1, Col: 39): Expected a sequence"},
    {"runs: {using: composite}\n",
     "You are using a composite action but there are no steps provided in " NAME "."},
    {"runs: {using: composite, steps: {}}\n", NAME " (Line: 1, Col: 33): Expected a sequence"},
    {"runs:\n  using: composite\n  steps:\n    - run: x\n",
     NAME " (Line: 4, Col: 7): Required property is missing: shell"},
    {"runs:\n  using: composite\n  steps:\n    - {run: x, shell: sh, timeout-minutes: 5}\n",
     NAME " (Line: 4, Col: 27): Unexpected value 'timeout-minutes'"},
    {"runs:\n  using: composite\n  steps:\n    - {uses: nothing}\n",
     NAME " (Line: 4, Col: 14): Expected format {owner}/{repo}[/path]@{ref}. Actual 'nothing'"},
    {"runs:\n  using: composite\n  steps:\n    - {run: 'echo ${{ secrets.x }}', shell: sh}\n", NAME
     " (Line: 4, Col: 13): Unrecognized named-value: 'secrets'. Located at position 1 within expression: "
     "secrets.x"},
    {"runs:\n  using: composite\n  steps:\n    - {run: 'echo ${{ github', shell: sh}\n",
     NAME " (Line: 4, Col: 13): The expression is not closed. An unescaped ${{ sequence was found, but the "
          "closing }} sequence was not found."},
    {"inputs: {a: {default: '${{ secrets.x }}'}}\nruns: {using: node20, main: x}\n", NAME
     " (Line: 1, Col: 23): Unrecognized named-value: 'secrets'. Located at position 1 within expression: "
     "secrets.x"},
    {"inputs: {a: {}, A: {}}\nruns: {using: node20, main: x}\n",
     NAME " (Line: 1, Col: 17): 'A' is already defined"},
    {"inputs: {a: text}\nruns: {using: node20, main: x}\n", NAME " (Line: 1, Col: 13): Expected a mapping"},
    {"runs:\n  using: composite\n  steps:\n    - {id: x, run: a, shell: sh}\n    - {id: X, run: a, shell: "
     "sh}\n",
     NAME " (Line: 5, Col: 12): The identifier 'X' may not be used more than once within the same scope."},
};

static void errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < WH_COUNT(bad); i++) {
        wh_autoerror err = {0};
        wh_autofree char *error = NULL;
        wh_autoactionmanifest *m =
            wh_action_manifest_parse(bad[i].text, strlen(bad[i].text), NAME, 1, &error, &err);
        assert_null(m);
        assert_string_equal(error, bad[i].error);
        assert_string_equal(wh_error_text(&err), "Failed to load " NAME);
    }
}

static void limits(void **state)
{
    (void)state;
    for (unsigned past = 0; past < 2; past++) {
        wh_autostr text = {0};
        wh_str_add(&text, "runs:\n  using: composite\n  steps:\n");
        for (unsigned i = 0; i < WH_MAX_ACTION_MANIFEST_STEPS + past; i++)
            wh_str_add(&text, "  - {run: x, shell: sh}\n");
        wh_autofree char *error = NULL;
        wh_autoactionmanifest *m = wh_action_manifest_parse(text.data, text.len, NAME, 1, &error, NULL);
        assert_true((m != NULL) == (past == 0));
        if (past)
            assert_non_null(strstr(error, "more than 1000 steps"));
    }
    for (unsigned past = 0; past < 2; past++) {
        wh_autostr text = {0};
        wh_str_add(&text, "runs: {using: node20, main: x}\ninputs:\n");
        for (unsigned i = 0; i < WH_MAX_ACTION_MANIFEST_INPUTS + past; i++)
            wh_str_addf(&text, "  i%u: {}\n", i);
        wh_autofree char *error = NULL;
        wh_autoactionmanifest *m = wh_action_manifest_parse(text.data, text.len, NAME, 1, &error, NULL);
        assert_true((m != NULL) == (past == 0));
        if (past)
            assert_non_null(strstr(error, "more than 1000 inputs"));
    }
    wh_autostr large = {0};
    wh_str_add(&large, "runs: {using: node20, main: x}\n#");
    while (large.len < WH_MAX_ACTION_MANIFEST_BYTES + 1)
        wh_str_addc(&large, 'x');
    wh_autofree char *error = NULL;
    assert_null(wh_action_manifest_parse(large.data, large.len, NAME, 1, &error, NULL));
    assert_non_null(strstr(error, "more than 1048576 bytes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(node), cmocka_unit_test(composite),
                                       cmocka_unit_test(docker), cmocka_unit_test(errors),
                                       cmocka_unit_test(limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
