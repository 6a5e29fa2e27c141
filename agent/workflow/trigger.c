/* Whether an event triggers a workflow: `on` with its filters. */
#include "workflow/pattern.h"
#include "workflow/workflow_internal.h"

struct look {
    const struct wh_yaml *filters;
    const cJSON *github;
    char *const *changed; /* NULL: not known */
    char **why;
};

static bool no(const struct look *l, const char *fmt, ...) WH_PRINTF(2, 3);
static bool no(const struct look *l, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    *l->why = wh_vprintf(fmt, args);
    va_end(args);
    return false;
}

static size_t count_of(const struct wh_yaml *list)
{
    return list->kind == WH_YAML_SCALAR ? 1 : list->kind == WH_YAML_SEQUENCE ? list->nitems : 0;
}

static const char *item_of(const struct wh_yaml *list, size_t i)
{
    const struct wh_yaml *item = list->kind == WH_YAML_SCALAR ? list : list->items[i];
    return item->kind == WH_YAML_SCALAR ? item->text : "";
}

/* The last pattern that fits decides; one with ! takes it away. */
static bool included(const struct wh_yaml *list, const char *text)
{
    bool in = false;
    for (size_t i = 0; i < count_of(list); i++) {
        const char *pattern = item_of(list, i);
        bool negative = pattern[0] == '!';
        if (wh_filter_match(pattern + negative, text))
            in = !negative;
    }
    return in;
}

static bool listed(const struct wh_yaml *list, const char *text)
{
    for (size_t i = 0; i < count_of(list); i++)
        if (wh_streq(item_of(list, i), text))
            return true;
    return false;
}

/* branches or tags. */
static bool name_passes(const struct look *l, const char *key, const char *ignore_key, const char *what,
                        const char *name)
{
    const struct wh_yaml *list = wh_yaml_get(l->filters, key);
    const struct wh_yaml *ignored = wh_yaml_get(l->filters, ignore_key);
    if (list && !included(list, name))
        return no(l, "the %s '%s' is not among its `%s`", what, name, key);
    if (ignored && included(ignored, name))
        return no(l, "the %s '%s' is among its `%s`", what, name, ignore_key);
    return true;
}

static bool paths_pass(const struct look *l)
{
    const struct wh_yaml *list = wh_yaml_get(l->filters, "paths");
    const struct wh_yaml *ignored = wh_yaml_get(l->filters, "paths-ignore");
    if ((!list && !ignored) || !l->changed)
        return true;
    for (size_t i = 0; l->changed[i]; i++)
        if (list ? included(list, l->changed[i]) : !included(ignored, l->changed[i]))
            return true;
    return no(l, list ? "no changed file is among its `paths`"
                      : "all changed files are among its `paths-ignore`");
}

static bool push_passes(const struct look *l)
{
    const char *ref = wh_json_string(l->github, "ref");
    bool tag = ref && wh_starts_with(ref, "refs/tags/");
    const char *name = wh_json_string(l->github, "ref_name");
    bool of_branches = wh_yaml_get(l->filters, "branches") || wh_yaml_get(l->filters, "branches-ignore");
    bool of_tags = wh_yaml_get(l->filters, "tags") || wh_yaml_get(l->filters, "tags-ignore");
    if (tag && of_branches && !of_tags)
        return no(l, "it has filters for branches alone, and '%s' is a tag", name);
    if (!tag && of_tags && !of_branches)
        return no(l, "it has filters for tags alone, and '%s' is a branch", name);
    if (tag) /* paths are not looked at for tags */
        return name_passes(l, "tags", "tags-ignore", "tag", name ? name : "");
    return name_passes(l, "branches", "branches-ignore", "branch", name ? name : "") && paths_pass(l);
}

static bool types_pass(const struct look *l, const char *event)
{
    const char *action = wh_json_string(wh_json_get(l->github, "event"), "action");
    const struct wh_yaml *types = wh_yaml_get(l->filters, "types");
    static const char *const usual[] = {"opened", "synchronize", "reopened"};
    if (!action)
        return true;
    if (types)
        return listed(types, action) || no(l, "the action '%s' is not among its `types`", action);
    if (!wh_starts_with(event, "pull_request") || wh_starts_with(event, "pull_request_review"))
        return true;
    for (size_t i = 0; i < WH_COUNT(usual); i++)
        if (wh_streq(usual[i], action))
            return true;
    return no(l, "the action '%s' is not among the usual types (opened, synchronize, reopened)", action);
}

static bool run_passes(const struct look *l)
{
    const cJSON *run = wh_json_get(wh_json_get(l->github, "event"), "workflow_run");
    const char *name = wh_json_string(run, "name");
    const char *branch = wh_json_string(run, "head_branch");
    const struct wh_yaml *workflows = wh_yaml_get(l->filters, "workflows");
    if (workflows && name && !listed(workflows, name))
        return no(l, "the workflow '%s' is not among its `workflows`", name);
    return !branch || name_passes(l, "branches", "branches-ignore", "branch", branch);
}

static bool passes(const struct look *l, const char *event)
{
    if (wh_streq(event, "push"))
        return push_passes(l);
    if (!types_pass(l, event))
        return false;
    if (wh_streq(event, "workflow_run"))
        return run_passes(l);
    if (wh_streq(event, "pull_request") || wh_streq(event, "pull_request_target")) {
        const char *base = wh_json_string(l->github, "base_ref");
        return name_passes(l, "branches", "branches-ignore", "base branch", base ? base : "") &&
               paths_pass(l);
    }
    return true;
}

bool wh_workflow_triggered(const struct wh_workflow *w, const cJSON *github, char *const *changed, char **why)
{
    const char *event = wh_json_string(github, "event_name");
    *why = NULL;
    if (!event || !wh_workflow_has_event(w, event)) {
        *why = wh_printf("`on` does not have '%s'", event ? event : "");
        return false;
    }
    struct look l = {
        .filters = wh_workflow_event_node(w, event), .github = github, .changed = changed, .why = why};
    return passes(&l, event);
}
