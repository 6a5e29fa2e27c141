/* A workflow that the service would refuse is refused here, too, with the place of its first mistake, before
 * anything runs. What a workflow may hold is in the schema; expressions are looked at when they are needed.
 */
#include "workflow/lint_walk.h"
#include "workflow/workflow_internal.h"

bool wh_workflow_is_nothing(const struct wh_yaml *node)
{
    struct wh_yaml_value v;
    return !node || (node->kind == WH_YAML_SCALAR && wh_yaml_value(node, &v) && v.type == WH_YAML_NULL);
}

int wh_workflow_check(struct wh_workflow *w, struct wh_error *err)
{
    wh_autolint found = {0};
    if (!w->doc.root)
        return wh_fail(err, WH_E_PARSE, "%s: the file is empty", w->file);
    w->root = w->doc.root;
    struct wf_check c = {.out = &found, .root = w->root, .place = WF_LITERAL};
    wf_check_all(&c, NULL);
    for (size_t i = 0; i < found.count; i++) {
        const struct wh_lint_problem *p = &found.problems[i];
        if (p->level == WH_LINT_REFUSED)
            return wh_fail(err, WH_E_PARSE, "%s (Line: %u, Col: %u): %s", w->file, p->line, p->col, p->text);
    }
    /* Beyond that many nothing is kept: what is refused may be among it. */
    if (found.count >= WH_MAX_LINT_PROBLEMS)
        return wh_fail(err, WH_E_LIMIT, "%s: %u problems or more (see `wherry lint`)", w->file,
                       WH_MAX_LINT_PROBLEMS);
    w->jobs = wh_yaml_get(w->root, "jobs");
    return 0;
}
