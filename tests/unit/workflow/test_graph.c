/* The run graph: what is offered when, results, outputs, calls, cancelling, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wherry/workflow/graph.h"

struct fixture {
    struct wh_graph *graph;
    struct wh_workflow *workflow;
    struct wh_str ends; /* what on_end was told */
};

static void on_end(void *arg, struct wh_graph_node *node, struct wh_graph_job *job)
{
    struct fixture *f = arg;
    wh_str_addf(&f->ends, "%s=%s;", job ? job->name : node->id,
                wh_graph_result_text(job ? job->result : node->result));
}

static void open_graph(struct fixture *f, const char *text)
{
    wh_autoerror err = {0};
    *f = (struct fixture){0};
    struct wh_graph_options options = {.on_end = on_end, .arg = f};
    f->graph = wh_graph_new(&options);
    f->workflow = wh_workflow_parse(text, strlen(text), "ci.yml", &err);
    if (!f->workflow)
        fail_msg("%s", wh_error_text(&err));
    wh_autojson *github = cJSON_CreateObject();
    struct wh_graph_root root = {.workflow = f->workflow, .github = github, .event = "push"};
    if (!wh_graph_add(f->graph, &root, &err))
        fail_msg("%s", wh_error_text(&err));
}

static void close_graph(struct fixture *f)
{
    wh_graph_free(f->graph);
    wh_workflow_free(f->workflow);
    wh_str_free(&f->ends);
}

/* Starts all that are offered; their names, in order. */
static char *start_all(struct fixture *f)
{
    wh_autostr names = {0};
    for (struct wh_graph_job *job; (job = wh_graph_next(f->graph)) != NULL;) {
        wh_str_addf(&names, "%s;", job->name);
        wh_graph_start(job);
    }
    return wh_str_steal(&names);
}

static struct wh_graph_job *find(struct fixture *f, const char *name)
{
    for (size_t s = 0; s < wh_graph_scope_count(f->graph); s++) {
        struct wh_graph_scope *scope = wh_graph_scope_at(f->graph, s);
        for (size_t i = 0; i < scope->nnodes; i++)
            for (size_t k = 0; k < scope->nodes[i].njobs; k++)
                if (wh_streq(scope->nodes[i].jobs[k]->name, name))
                    return scope->nodes[i].jobs[k];
    }
    fail_msg("no job '%s'", name);
    return NULL;
}

static void starts(struct fixture *f, const char *names)
{
    wh_autofree char *got = start_all(f);
    assert_string_equal(got, names);
}

static void finish(struct fixture *f, const char *name, enum wh_graph_result result)
{
    wh_graph_finish(find(f, name), result, NULL);
}

#define JOB ", runs-on: x, steps: [{run: x}]}\n"

static void test_order(void **state)
{
    (void)state;
    struct fixture f;
    open_graph(&f, "on: push\njobs:\n"
                   "  d: {needs: [b, c]" JOB "  b: {needs: a" JOB "  a: {name: ''" JOB
                   "  c: {needs: a, strategy: {max-parallel: 1, matrix: {v: [1, 2]}}" JOB);
    starts(&f, "a;");
    assert_null(wh_graph_next(f.graph));
    finish(&f, "a", WH_GRAPH_SUCCESS);
    starts(&f, "b;c (1);");
    finish(&f, "b", WH_GRAPH_SUCCESS);
    starts(&f, "");
    finish(&f, "c (1)", WH_GRAPH_SUCCESS);
    starts(&f, "c (2);");
    finish(&f, "c (2)", WH_GRAPH_SUCCESS);
    starts(&f, "d;");
    assert_false(wh_graph_done(f.graph));
    finish(&f, "d", WH_GRAPH_SUCCESS);
    assert_true(wh_graph_done(f.graph));
    assert_int_equal(wh_graph_result(f.graph), WH_GRAPH_SUCCESS);
    assert_int_equal(f.ends.len, 0);
    close_graph(&f);
}

struct condition_case {
    const char *condition;
    const char *after[3]; /* a ok, a failed, a skipped */
};

/* b needs a, c needs b: what c makes of a's end, when b runs anyway. */
static void test_status_functions(void **state)
{
    (void)state;
    static const struct condition_case cases[] = {
        {"success()", {"c;", "", ""}},
        {"always()", {"c;", "c;", "c;"}},
        {"failure()", {"", "c;", ""}},
        {"cancelled()", {"", "", ""}},
        {"'x' == 'x'", {"c;", "", ""}},
        {"!failure()", {"c;", "", "c;"}},
        {"success() || failure()", {"c;", "c;", ""}},
        {"needs.b.result == 'success'", {"c;", "", ""}},
        {"always() && needs.b.result == 'success'", {"c;", "c;", "c;"}},
        {"needs.a.result == ''", {"c;", "", ""}}, /* a is no direct need: nothing is known of it */
    };
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        for (size_t k = 0; k < 3; k++) {
            struct fixture f;
            wh_autofree char *text =
                wh_printf("on: push\njobs:\n  a: {if: \"%s\"" JOB "  b: {needs: a, if: always()" JOB
                          "  c: {needs: b, if: \"%s\"" JOB,
                          k == 2 ? "false" : "true", cases[i].condition);
            open_graph(&f, text);
            wh_autofree char *first = start_all(&f);
            if (k < 2)
                finish(&f, "a", k == 0 ? WH_GRAPH_SUCCESS : WH_GRAPH_FAILURE);
            wh_autofree char *second = k < 2 ? start_all(&f) : NULL;
            assert_string_equal(k < 2 ? second : first, "b;");
            finish(&f, "b", WH_GRAPH_SUCCESS);
            wh_autofree char *third = start_all(&f);
            if (!wh_streq(third, cases[i].after[k]))
                fail_msg("%s after %zu: '%s'", cases[i].condition, k, third);
            close_graph(&f);
        }
    }
}

static void test_fail_fast(void **state)
{
    (void)state;
    struct fixture f;
    open_graph(&f, "on: push\njobs:\n"
                   "  a: {continue-on-error: '${{ matrix.v == 9 }}', strategy: {max-parallel: 2, matrix: {v: "
                   "[9, 1, 2, 3]}}" JOB "  b: {needs: a" JOB);
    /* A quoted expression is one all the same. */
    starts(&f, "a (9);a (1);");
    finish(&f, "a (9)", WH_GRAPH_FAILURE); /* forgiven */
    starts(&f, "a (2);");
    finish(&f, "a (1)", WH_GRAPH_FAILURE);
    assert_true(find(&f, "a (2)")->cancel);
    assert_string_equal(wh_str_text(&f.ends), "a (3)=cancelled;");
    finish(&f, "a (2)", WH_GRAPH_CANCELLED);
    starts(&f, "");
    assert_string_equal(wh_str_text(&f.ends), "a (3)=cancelled;b=skipped;");
    assert_int_equal(wh_graph_result(f.graph), WH_GRAPH_FAILURE);
    close_graph(&f);
}

static void test_cancel(void **state)
{
    (void)state;
    struct fixture f;
    open_graph(&f, "on: push\njobs:\n"
                   "  a: {name: a" JOB "  stays: {if: always()" JOB "  b: {needs: a" JOB
                   "  c: {needs: a, if: cancelled()" JOB
                   "  d: {strategy: {max-parallel: 1, matrix: {v: [1, 2]}}" JOB);
    starts(&f, "a;stays;d (1);");
    wh_graph_cancel(f.graph);
    assert_true(find(&f, "a")->cancel);
    assert_true(find(&f, "d (1)")->cancel);
    assert_false(find(&f, "stays")->cancel);
    assert_string_equal(wh_str_text(&f.ends), "d (2)=cancelled;");
    finish(&f, "a", WH_GRAPH_CANCELLED);
    starts(&f, "c;");
    finish(&f, "c", WH_GRAPH_SUCCESS);
    finish(&f, "stays", WH_GRAPH_SUCCESS);
    finish(&f, "d (1)", WH_GRAPH_CANCELLED);
    assert_true(wh_graph_done(f.graph));
    assert_int_equal(wh_graph_result(f.graph), WH_GRAPH_CANCELLED);
    close_graph(&f);
}

static const char called_text[] = "on: {workflow_call: {outputs: {o: {value: '${{ jobs.i.outputs.o }}'}}}}\n"
                                  "jobs: {i: {runs-on: x, steps: [{run: x}]}}\n";

static void call(struct fixture *f, const char *name, const char *text)
{
    wh_autoerror err = {0};
    struct wh_workflow *w = wh_workflow_parse(text, strlen(text), "called.yml", &err);
    if (!w || !wh_graph_call(find(f, name), w, NULL, &err))
        fail_msg("%s", wh_error_text(&err));
}

static void test_calls(void **state)
{
    (void)state;
    struct fixture f;
    open_graph(&f,
               "on: push\njobs:\n  c: {strategy: {matrix: {v: [1, 2]}}, uses: ./.github/workflows/x.yml}\n"
               "  after: {needs: c, name: 'got ${{ needs.c.outputs.o }}'" JOB);
    starts(&f, "c (1);c (2);");
    assert_string_equal(wh_graph_uses(find(&f, "c (1)")), "./.github/workflows/x.yml");
    call(&f, "c (1)", called_text);
    call(&f, "c (2)", called_text);
    starts(&f, "c (1) / i;c (2) / i;");
    wh_autojson *outputs = cJSON_Parse("{\"o\":\"first\",\"other\":\"x\"}");
    wh_graph_finish(find(&f, "c (1) / i"), WH_GRAPH_SUCCESS, outputs);
    assert_string_equal(wh_str_text(&f.ends), "c (1)=success;");
    finish(&f, "c (2) / i", WH_GRAPH_SUCCESS); /* says nothing: the other's value stays */
    starts(&f, "got first;");
    close_graph(&f);
}

static void test_call_is_cancelled(void **state)
{
    (void)state;
    struct fixture f;
    open_graph(
        &f,
        "on: push\njobs:\n  c: {uses: ./.github/workflows/x.yml}\n  d: {uses: ./.github/workflows/x.yml}\n");
    starts(&f, "c;d;");
    call(&f, "c", called_text);
    starts(&f, "c / i;");
    wh_graph_cancel(f.graph);
    assert_string_equal(wh_str_text(&f.ends), "d=cancelled;"); /* its file was not found yet */
    assert_true(find(&f, "c / i")->cancel);
    finish(&f, "c / i", WH_GRAPH_CANCELLED);
    assert_true(wh_graph_done(f.graph));
    assert_string_equal(wh_str_text(&f.ends), "d=cancelled;c=cancelled;");
    close_graph(&f);
}

static void finish_with(struct fixture *f, const char *name, size_t bytes)
{
    wh_autofree char *value = wh_calloc(bytes, 1);
    memset(value, 'x', bytes - 1);
    wh_autojson *outputs = cJSON_CreateObject();
    cJSON_AddStringToObject(outputs, "o", value); /* with its name as many bytes as asked for */
    wh_graph_finish(find(f, name), WH_GRAPH_SUCCESS, outputs);
}

static void test_output_limits(void **state)
{
    (void)state;
    struct fixture f;
    wh_autostr text = {0};
    wh_str_add(&text,
               "on: push\njobs:\n  a: {name: a" JOB "  b: {name: b" JOB "  m: {strategy: {matrix: {v: [0");
    for (unsigned i = 1; i < 50; i++)
        wh_str_addf(&text, ",%u", i);
    wh_str_add(&text, "]}}" JOB);
    open_graph(&f, wh_str_text(&text));
    free(start_all(&f));
    finish_with(&f, "a", WH_MAX_JOB_OUTPUTS + 1);
    assert_int_equal(find(&f, "a")->result, WH_GRAPH_FAILURE);
    assert_non_null(strstr(find(&f, "a")->node->reason, "at most 1048576"));
    for (unsigned i = 0; i < 50; i++) {
        wh_autofree char *name = wh_printf("m (%u)", i);
        finish_with(&f, name, WH_MAX_JOB_OUTPUTS);
        assert_int_equal(find(&f, name)->result, WH_GRAPH_SUCCESS);
    }
    finish_with(&f, "b", 2);
    assert_int_equal(find(&f, "b")->result, WH_GRAPH_FAILURE);
    close_graph(&f);
}

/* 17 matrices of 256 rows are more than a run may have. */
static void test_job_limit(void **state)
{
    (void)state;
    wh_autostr text = {0};
    wh_str_add(&text, "on: push\njobs:\n");
    for (unsigned i = 0; i < 17; i++) {
        wh_str_addf(&text, "  j%u: {strategy: {matrix: {a: [0", i);
        for (unsigned k = 1; k < 16; k++)
            wh_str_addf(&text, ",%u", k);
        wh_str_add(&text, "], b: [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]}}" JOB);
    }
    struct fixture f;
    open_graph(&f, wh_str_text(&text));
    size_t n = 0;
    for (struct wh_graph_job *job; (job = wh_graph_next(f.graph)) != NULL; n++)
        wh_graph_start(job);
    assert_int_equal(n, WH_MAX_GRAPH_JOBS);
    assert_string_equal(wh_str_text(&f.ends), "j16=failure;");
    close_graph(&f);
}

static void test_concurrency(void **state)
{
    (void)state;
    struct fixture f;
    open_graph(
        &f, "on: push\nconcurrency: {group: 'g-${{ github.none }}', cancel-in-progress: true}\njobs:\n"
            "  a: {concurrency: '${{ matrix.v }}', strategy: {fail-fast: false, matrix: {v: ['', x]}}" JOB);
    struct wh_graph_scope *scope = wh_graph_scope_at(f.graph, 0);
    assert_true(scope->closed);
    assert_string_equal(scope->concurrency.group, "g-");
    assert_true(scope->concurrency.cancel_in_progress);
    assert_null(wh_graph_next(f.graph));
    wh_graph_open(scope);
    starts(&f, "a (x);");
    assert_string_equal(find(&f, "a (x)")->concurrency.group, "x");
    assert_string_equal(wh_str_text(&f.ends), "a=failure;"); /* an empty group */
    assert_non_null(strstr(find(&f, "a (x)")->node->reason,
                           "ci.yml (Line: 4, Col: 20): Concurrency group name cannot be empty"));
    close_graph(&f);
}

static void test_long_names_are_cut(void **state)
{
    (void)state;
    struct fixture f;
    open_graph(&f, "on: push\njobs:\n  a: {strategy: {matrix: {v: "
                   "[0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"
                   "890123456789x]}}" JOB);
    struct wh_graph_job *job = wh_graph_next(f.graph);
    assert_int_equal(strlen(job->name), 100);
    assert_true(wh_ends_with(job->name, "..."));
    close_graph(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),         cmocka_unit_test(test_status_functions),
        cmocka_unit_test(test_fail_fast),     cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_calls),         cmocka_unit_test(test_call_is_cancelled),
        cmocka_unit_test(test_output_limits), cmocka_unit_test(test_job_limit),
        cmocka_unit_test(test_concurrency),   cmocka_unit_test(test_long_names_are_cut),
    };
    return cmocka_run_group_tests_name("graph", tests, NULL, NULL);
}
