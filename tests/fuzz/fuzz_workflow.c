/* Workflow files: any bytes give a message that the worker's reader takes, or an error; and what lint finds
 * has its place in the file. */
#include <stdint.h>
#include <stdlib.h>

#include "wherry/job/message.h"
#include "wherry/workflow/lint.h"
#include "wherry/workflow/workflow.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lint((const char *)data, size);
    wh_autoerror err = {0};
    wh_autoworkflow *w = wh_workflow_parse((const char *)data, size, "fuzz.yml", &err);
    wh_autojson *github = cJSON_CreateObject();
    struct wh_workflow_context context = {.github = github, .token = ""};
    for (size_t i = 0; w && i < wh_workflow_job_count(w) && i < 4; i++) {
        wh_error_clear(&err);
        free(wh_workflow_job_name(w, i));
        free(wh_workflow_job_condition(w, i));
        wh_autojson *message = wh_workflow_message(w, wh_workflow_job_id(w, i), &context, &err);
        wh_automessage *m = message ? wh_message_from_json(message, NULL) : NULL;
        if (message && !m)
            __builtin_trap(); /* what we make, we can read */
    }
    return 0;
}
