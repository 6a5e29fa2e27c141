/* Workflow files: any bytes give a run that comes to its end, whose messages the worker's reader takes, or an
 * error; and what lint finds has its place in the file. */
#include <stdint.h>
#include <stdlib.h>

#include "wherry/job/message.h"
#include "wherry/workflow/graph.h"
#include "wherry/workflow/lint.h"

#define MAX_TURNS 40u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void); /* NOLINT: the sanitizer's name */

/* libfyaml 0.7 forgets a buffer of a page on some broken inputs; a command line tool that ends with the error
 * can live with it. */
const char *__lsan_default_suppressions(void) /* NOLINT */
{
    return "leak:libfyaml.so";
}

static void lint(const char *text, size_t len)
{
    wh_autolint l = {0};
    wh_lint_workflow(text, len, NULL, &l);
    for (size_t i = 0; i < l.count; i++) {
        free(wh_lint_excerpt(text, len, &l.problems[i]));
        if (l.problems[i].line == 0 || l.problems[i].col == 0 || l.problems[i].line > len + 2)
            __builtin_trap();
    }
    if (l.count > WH_MAX_LINT_PROBLEMS || l.refused + l.errors + l.warnings != l.count)
        __builtin_trap();
}

/* Every job that is reached: even ones succeed, odd ones fail, calls call the very same file. */
static void run_through(const struct wh_workflow *w, const uint8_t *data, size_t size)
{
    struct wh_graph_options options = {.token = ""};
    struct wh_graph *g = wh_graph_new(&options);
    wh_autojson *github = cJSON_CreateObject();
    struct wh_graph_root root = {.workflow = w, .github = github, .event = "push"};
    wh_autoerror err = {0};
    struct wh_graph_scope *scope = wh_graph_add(g, &root, &err);
    if (scope)
        wh_graph_open(scope);
    unsigned turns = 0;
    for (struct wh_graph_job *job; (job = wh_graph_next(g)) != NULL; turns++) {
        if (turns == MAX_TURNS)
            wh_graph_cancel(g);
        if (job->node->call && turns < MAX_TURNS) {
            struct wh_workflow *again = wh_workflow_parse((const char *)data, size, "fuzz.yml", NULL);
            struct wh_graph_scope *called = again ? wh_graph_call(job, again, NULL, NULL) : NULL;
            if (called)
                wh_graph_open(called);
            else if (!again)
                __builtin_trap(); /* it could be read before */
            continue;
        }
        wh_autoerror cause = {0};
        wh_autojson *message = job->node->call ? NULL : wh_graph_message(job, &cause);
        wh_automessage *m = message ? wh_message_from_json(message, NULL) : NULL;
        if (message && !m)
            __builtin_trap(); /* what we make, we can read */
        wh_autojson *outputs = cJSON_CreateObject();
        cJSON_AddStringToObject(outputs, "m", "{\"v\":[1,2]}");
        wh_graph_start(job);
        wh_graph_finish(job, turns % 2 ? WH_GRAPH_FAILURE : WH_GRAPH_SUCCESS, outputs);
    }
    bool open = false; /* a called workflow that waits for its group */
    for (size_t i = 0; i < wh_graph_scope_count(g); i++)
        open |= wh_graph_scope_at(g, i)->closed;
    if (scope && !open && !wh_graph_done(g))
        __builtin_trap(); /* nothing runs, nothing can start, and yet it is not done */
    wh_graph_free(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lint((const char *)data, size);
    wh_autoerror err = {0};
    wh_autoworkflow *w = wh_workflow_parse((const char *)data, size, "fuzz.yml", &err);
    if (!w)
        return 0;
    wh_error_clear(&err);
    (void)wh_workflow_check_expressions(w, &err);
    for (size_t i = 0; i < wh_workflow_job_count(w) && i < 4; i++)
        free(wh_workflow_job_name(w, i));
    run_through(w, data, size);
    return 0;
}
