/* What `uses:` names: the form of a reference, inputs of actions that wherry has built in or that lie beside
 * the workflow, inputs and secrets of workflows that jobs call. */
#include <fcntl.h>
#include <unistd.h>

#include "wherry/actions/action.h"
#include "wherry/base/fs.h"
#include "wherry/job/manifest.h"
#include "wherry/workflow/workflow.h"
#include "workflow/lint_walk.h"

static bool has_name(char *const *names, const char *name)
{
    for (; names && *names; names++)
        if (wh_streq_ci(*names, name))
            return true;
    return false;
}

/* Keys of `with` that the action does not have. Others go to it all the same, with a warning in the log. */
static void check_inputs(struct wf_check *c, const struct wh_yaml *with, char *const *names,
                         const char *action)
{
    for (size_t i = 0; with && with->kind == WH_YAML_MAPPING && i + 1 < with->nitems; i += 2) {
        const struct wh_yaml *key = with->items[i];
        if (key->kind != WH_YAML_SCALAR || strstr(key->text, "${{") || has_name(names, key->text))
            continue;
        wh_autofree char *near = names ? wf_near(key->text, (const char *const *)names) : wh_strdup("");
        wf_problem(c, WH_LINT_WARNING, "input", key, "%s has no input '%s'%s", action, key->text, near);
    }
}

static void check_native(struct wf_check *c, const struct wh_yaml *step, const struct wh_step_reference *r,
                         const char *uses)
{
    struct wh_action_version version;
    const struct wh_action *action = wh_action_find(r->name, r->path, r->ref, &version, NULL);
    if (!action || !version.known)
        return;
    wh_autostrv char **names = NULL;
    for (size_t i = 0; i < action->ninputs; i++) {
        const struct wh_action_input *in = &action->inputs[i];
        if ((!in->min_major || version.major >= in->min_major) &&
            (!in->max_major || version.major <= in->max_major))
            wh_strv_add(&names, in->name);
    }
    check_inputs(c, wh_yaml_get(step, "with"), names, uses);
}

/* ---- actions of the repository ---- */

/* The file's text; 0: it is not there. */
static int read_below(const char *root, const char *folder, const char *name, struct wh_str *out)
{
    wh_autofree char *path = wh_printf("%s/%s%s%s", root, folder, name[0] ? "/" : "", name);
    if (access(path, F_OK) != 0)
        return 0;
    return wh_read_file(AT_FDCWD, path, WH_MAX_ACTION_MANIFEST_BYTES, out, NULL) < 0 ? -1 : 1;
}

static void check_manifest(struct wf_check *c, const struct wh_yaml *step, const struct wh_yaml *uses,
                           const char *file, const struct wh_str *text)
{
    wh_autoerror err = {0};
    wh_autofree char *first = NULL;
    wh_autoactionmanifest *m = wh_action_manifest_parse(wh_str_text(text), text->len, file, 1, &first, &err);
    if (!m) {
        const char *said = first ? first : wh_error_text(&err);
        bool named = wh_starts_with(said, file);
        wf_problem(c, WH_LINT_ERROR, "action", uses, "%s%s%s", named ? "" : file, named ? "" : ": ", said);
        return;
    }
    wh_autostrv char **names = NULL;
    for (size_t i = 0; i < m->ninputs; i++)
        wh_strv_add(&names, m->inputs[i].name);
    if (m->kind == WH_MANIFEST_DOCKER) {
        wh_strv_add(&names, "entryPoint");
        wh_strv_add(&names, "args");
    }
    check_inputs(c, wh_yaml_get(step, "with"), names, uses->text);
}

static void check_local(struct wf_check *c, const struct wh_yaml *step, const struct wh_yaml *uses,
                        const char *root)
{
    static const char *const files[] = {"action.yml", "action.yaml", "Dockerfile", "dockerfile"};
    const char *folder = uses->text + 2;
    for (size_t i = 0; i < WH_COUNT(files); i++) {
        wh_autostr text = {0};
        int n = read_below(root, folder, files[i], &text);
        if (n == 0)
            continue;
        wh_autofree char *file = wh_printf("%s/%s", folder, files[i]);
        if (n > 0 && i < 2)
            check_manifest(c, step, uses, file, &text);
        return;
    }
    wf_problem(
        c, WH_LINT_WARNING, "action", uses,
        "There is no action.yml, action.yaml or Dockerfile in '%s' here: an earlier step has to bring it",
        folder);
}

static bool leaves(const char *path)
{
    wh_autostrv char **parts = wh_strv_split(path, '/');
    return wh_strv_has(parts, "..");
}

static void check_step(struct wf_check *c, const struct wh_yaml *step, const char *root)
{
    const struct wh_yaml *uses = wh_yaml_get(step, "uses");
    struct wh_step_reference r = {0};
    wh_autoerror err = {0};
    if (!uses || uses->kind != WH_YAML_SCALAR || uses->text[0] == '\0' || strstr(uses->text, "${{"))
        return;
    if (wh_step_reference_parse(uses->text, &r, &err) < 0) {
        wf_problem(c, WH_LINT_REFUSED, "action", uses, "%s", wh_error_text(&err));
        return;
    }
    if (r.type == WH_REFERENCE_REPOSITORY && r.name)
        check_native(c, step, &r, uses->text);
    else if (r.type == WH_REFERENCE_REPOSITORY && root && wh_starts_with(uses->text, "./") &&
             !leaves(uses->text))
        check_local(c, step, uses, root);
    wh_step_reference_clear(&r);
}

/* ---- workflows of the repository ---- */

/* `with` or `secrets` of a job against what the workflow declares. */
static void check_given(struct wf_check *c, const struct wh_yaml *uses, const struct wh_yaml *given,
                        const struct wh_yaml *declared, const char *what)
{
    wh_autostrv char **names = NULL;
    for (size_t i = 0; declared && declared->kind == WH_YAML_MAPPING && i + 1 < declared->nitems; i += 2) {
        const struct wh_yaml *name = declared->items[i];
        const struct wh_yaml *required = wh_yaml_get(declared->items[i + 1], "required");
        if (name->kind != WH_YAML_SCALAR)
            continue;
        wh_strv_add(&names, name->text);
        bool needed = required && required->kind == WH_YAML_SCALAR && wh_streq_ci(required->text, "true");
        if (needed && !wh_yaml_get(given, name->text))
            wf_problem(c, WH_LINT_REFUSED, "input", uses,
                       "%s %s is required, but not provided while calling.", what, name->text);
    }
    for (size_t i = 0; given && given->kind == WH_YAML_MAPPING && i + 1 < given->nitems; i += 2) {
        const struct wh_yaml *name = given->items[i];
        if (name->kind != WH_YAML_SCALAR || strstr(name->text, "${{") || has_name(names, name->text))
            continue;
        wh_autofree char *near = names ? wf_near(name->text, (const char *const *)names) : wh_strdup("");
        wf_problem(c, WH_LINT_REFUSED, "input", name,
                   "Invalid %s, %s is not defined in the referenced workflow.%s", what, name->text, near);
    }
}

static void check_called(struct wf_check *c, const struct wh_yaml *job, const struct wh_yaml *uses,
                         const char *root)
{
    wh_autostr text = {0};
    int n = read_below(root, uses->text + 2, "", &text);
    if (n <= 0) {
        wf_problem(c, WH_LINT_REFUSED, "action", uses, "There is no workflow '%s' here", uses->text + 2);
        return;
    }
    wh_autoyaml doc = {0};
    wh_autoerror err = {0};
    if (wh_yaml_parse(wh_str_text(&text), text.len, uses->text + 2, &doc, &err) < 0) {
        wf_problem(c, WH_LINT_REFUSED, "action", uses, "%s", wh_error_text(&err));
        return;
    }
    const struct wh_yaml *on = wh_yaml_get(doc.root, "on");
    const struct wh_yaml *call = wh_yaml_get(on, "workflow_call");
    bool named = call || (on && on->kind == WH_YAML_SCALAR && wh_streq(on->text, "workflow_call"));
    for (size_t i = 0; on && on->kind == WH_YAML_SEQUENCE && i < on->nitems; i++)
        named =
            named || (on->items[i]->kind == WH_YAML_SCALAR && wh_streq(on->items[i]->text, "workflow_call"));
    if (!named) {
        wf_problem(c, WH_LINT_REFUSED, "action", uses,
                   "workflow_call key is not defined in the referenced workflow '%s'.", uses->text + 2);
        return;
    }
    check_given(c, uses, wh_yaml_get(job, "with"), wh_yaml_get(call, "inputs"), "input");
    const struct wh_yaml *secrets = wh_yaml_get(job, "secrets");
    if (!secrets || secrets->kind == WH_YAML_MAPPING)
        check_given(c, uses, secrets, wh_yaml_get(call, "secrets"), "secret");
}

static void check_job(struct wf_check *c, const struct wh_yaml *job, const char *root)
{
    const struct wh_yaml *uses = wh_yaml_get(job, "uses");
    const struct wh_yaml *steps = wh_yaml_get(job, "steps");
    for (size_t i = 0; steps && steps->kind == WH_YAML_SEQUENCE && i < steps->nitems; i++)
        check_step(c, steps->items[i], root);
    if (!uses || uses->kind != WH_YAML_SCALAR || uses->text[0] == '\0' || strstr(uses->text, "${{"))
        return;
    struct wh_workflow_reference r = {0};
    wh_autoerror err = {0};
    if (wh_workflow_reference_parse(uses->text, &r, &err) < 0)
        wf_problem(c, WH_LINT_REFUSED, "action", uses, "%s", wh_error_text(&err));
    else if (!r.repository && root)
        check_called(c, job, uses, root);
    wh_workflow_reference_clear(&r);
}

void wf_check_uses(struct wf_check *c, const char *root)
{
    const struct wh_yaml *jobs = wh_yaml_get(c->root, "jobs");
    for (size_t i = 0; jobs && jobs->kind == WH_YAML_MAPPING && i + 1 < jobs->nitems; i += 2)
        check_job(c, jobs->items[i + 1], root);
}
