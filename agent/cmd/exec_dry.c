/* --dry-run: each job that would run, with its values as far as they are known before it does. */
#include <stdio.h>

#include "cmd/exec.h"
#include "wherry/job/message.h"

#define MAX_SHOWN 2000 /* bytes of a value */

struct dry {
    struct wh_masker *masker;
    const struct wh_job_message *message;
    struct wh_value *contexts;
    struct wh_str out;
    bool no_matrix; /* it has one that is not known yet */
};

/* ---- values ---- */

struct unknown {
    bool found, no_matrix;
    const struct wh_value *env; /* variables that are known by now */
};

static bool is_named(struct wh_view v, const char *name)
{
    return v.len == strlen(name) && wh_strcmp_ci(v.data, name, v.len) == 0;
}

/* What only the job itself, or one before it, can tell. */
static void look_at_use(void *arg, const struct wh_expr_use *use)
{
    static const char *const later[] = {"steps", "job", "runner", "jobs"};
    struct unknown *u = arg;
    struct wh_view name = use->name.name;
    for (size_t i = 0; i < WH_COUNT(later) && !use->function; i++)
        u->found |= is_named(name, later[i]);
    if (use->function)
        u->found |= is_named(name, "hashFiles");
    else if (is_named(name, "matrix") || is_named(name, "strategy"))
        u->found |= u->no_matrix;
    else if (is_named(name, "needs"))
        u->found |= use->nparts < 2 || !is_named(use->parts[1].name, "result");
    else if (is_named(name, "env"))
        u->found |=
            use->nparts < 1 || !wh_object_getn(u->env, use->parts[0].name.data, use->parts[0].name.len);
}

static bool is_known(const struct dry *d, const char *text, size_t len)
{
    struct unknown u = {.no_matrix = d->no_matrix, .env = wh_object_get(d->contexts, "env")};
    size_t stopped = 0;
    return wh_expr_visit(text, len, wh_place_allows(WH_PLACE_ANY), look_at_use, &u, NULL, &stopped, NULL) >=
               0 &&
           !u.found;
}

/* As it will be, or as it is written. */
static char *value_of(const struct dry *d, const struct wh_token *token)
{
    char *text = NULL;
    if (token->type == WH_TOKEN_EXPRESSION && !is_known(d, token->text, token->text_len))
        return wh_token_display(token);
    struct wh_template_env env = {.eval = {.contexts = d->contexts}, .allows = wh_place_allows(WH_PLACE_ANY)};
    int n = wh_token_eval_string(token, &env, &text, NULL);
    wh_strv_free(env.errors);
    return n < 0 ? wh_token_display(token) : text ? text : wh_strdup("");
}

/* A block under its name; further lines are indented as the first. */
static void add_field(struct dry *d, const char *indent, const char *name, const char *text)
{
    wh_autofree char *masked = wh_mask_text(d->masker, text);
    struct wh_reader r = wh_reader_of(masked, strnlen(masked, MAX_SHOWN));
    struct wh_view line;
    bool first = true;
    while (wh_reader_line(&r, &line)) {
        wh_str_addf(&d->out, "%s%-*s%.*s\n", indent, first ? 14 : 16, first ? name : "", (int)line.len,
                    line.data);
        first = false;
    }
    if (first)
        wh_str_addf(&d->out, "%s%s\n", indent, name);
}

static void add_mapping(struct dry *d, const char *indent, const char *title, const struct wh_token *map)
{
    for (size_t i = 0; map && map->type == WH_TOKEN_MAPPING && i < map->count; i++) {
        wh_autofree char *key = wh_token_display(map->pairs[i].key);
        wh_autofree char *value = value_of(d, map->pairs[i].value);
        wh_autofree char *name = wh_printf("%s %s: ", title, key);
        add_field(d, indent, name, value);
    }
}

/* Layers of env, each of which sees those before. */
static void add_env(struct dry *d, const char *indent, const struct wh_token *map)
{
    struct wh_value *env = wh_value_copy_shallow(wh_object_get(d->contexts, "env"));
    for (size_t i = 0; map && map->type == WH_TOKEN_MAPPING && i < map->count; i++) {
        wh_autofree char *key = wh_token_display(map->pairs[i].key);
        wh_autofree char *value = value_of(d, map->pairs[i].value);
        wh_autofree char *name = wh_printf("env %s: ", key);
        bool known = map->pairs[i].value->type != WH_TOKEN_EXPRESSION ||
                     is_known(d, map->pairs[i].value->text, map->pairs[i].value->text_len);
        if (known)
            wh_object_set_text(env, key, value);
        else
            wh_object_remove(env, key);
        add_field(d, indent, name, value);
    }
    wh_object_set_take(d->contexts, "env", env);
}

/* ---- steps ---- */

static char *action_of(const struct wh_step *step)
{
    const struct wh_step_reference *r = &step->reference;
    if (r->type == WH_REFERENCE_CONTAINER)
        return wh_printf("docker://%s", r->image);
    if (!r->name)
        return wh_strdup(r->path ? r->path : "");
    bool path = r->path && r->path[0];
    return wh_printf("%s%s%s@%s", r->name, path ? "/" : "", path ? r->path : "", r->ref ? r->ref : "");
}

/* "true", "false", or the expression where only the job can tell. */
static void add_condition(struct dry *d, const struct wh_step *step)
{
    const char *condition = step->condition ? step->condition : "";
    if (condition[0] == '\0' || wh_streq(condition, "success()"))
        return;
    wh_autofree char *text = wh_strdup(condition);
    if (is_known(d, condition, strlen(condition))) {
        struct wh_eval env = {.contexts = d->contexts};
        int yes = wh_condition_eval(condition, wh_place_allows(WH_PLACE_ANY), &env, NULL);
        free(text);
        text = wh_printf("%s%s", condition, yes > 0 ? "" : yes == 0 ? "  (false: it is skipped)" : "");
    }
    add_field(d, "       ", "if: ", text);
}

static void add_step(struct dry *d, const struct wh_step *step, size_t number)
{
    wh_autovalue *env = wh_value_ref(wh_object_get(d->contexts, "env"));
    bool script = step->reference.type == WH_REFERENCE_SCRIPT;
    const struct wh_token *run = script ? wh_token_get(step->inputs, "script") : NULL;
    wh_autofree char *what = run ? value_of(d, run) : action_of(step);
    wh_autofree char *name =
        step->display_name_token ? value_of(d, step->display_name_token) : wh_strdup(script ? "" : what);
    const char *title = name[0] ? name : what;
    wh_autofree char *line =
        wh_printf("%s%.*s", name[0] && !wh_streq(name, what) ? "" : "Run ", (int)strcspn(title, "\n"), title);
    wh_autofree char *shown = wh_mask_text(d->masker, line);
    wh_str_addf(&d->out, "  %3zu. %s\n", number, shown);
    add_condition(d, step);
    if (!script && name[0] && !wh_streq(name, what))
        add_field(d, "       ", "uses: ", what);
    add_env(d, "       ", step->environment);
    if (script)
        add_field(d, "       ", "run: ", what);
    else
        add_mapping(d, "       ", "with", step->inputs);
    wh_object_set(d->contexts, "env", env);
}

/* ---- jobs ---- */

static void add_needs(struct dry *d, const struct wh_graph_node *node)
{
    wh_autostr names = {0};
    for (size_t i = 0; i < node->nneeds; i++)
        wh_str_addf(&names, "%s%s", i ? ", " : "", node->needs[i]->id);
    if (names.len > 0)
        add_field(d, "  ", "needs: ", wh_str_text(&names));
}

static void add_head(struct dry *d, const struct wh_graph_job *job)
{
    wh_autofree char *name = wh_mask_text(d->masker, job->name);
    wh_str_addf(&d->out, "\n%s\n", name);
    if (job->runs_on && job->runs_on[0])
        add_field(d, "  ", "runs-on: ", job->runs_on);
    add_needs(d, job->node);
    if (job->matrix) {
        wh_autojson *row = wh_value_to_json(job->matrix);
        wh_autofree char *text = wh_json_print(row);
        add_field(d, "  ", "matrix: ", text);
    }
    if (job->concurrency.group)
        add_field(d, "  ", "concurrency: ", job->concurrency.group);
    if (job->timeout_minutes > 0) {
        wh_autofree char *minutes = wh_printf("%u minutes", job->timeout_minutes);
        add_field(d, "  ", "timeout: ", minutes);
    }
    if (job->node->reason)
        add_field(d, "  ", "note: ", job->node->reason);
}

static void add_container(struct dry *d, const char *title, const struct wh_token *token)
{
    if (!token)
        return;
    if (token->type != WH_TOKEN_MAPPING) {
        wh_autofree char *image = value_of(d, token);
        add_field(d, "  ", title, image);
        return;
    }
    const struct wh_token *image = wh_token_get(token, "image");
    wh_autofree char *text = image ? value_of(d, image) : wh_strdup("");
    add_field(d, "  ", title, text);
}

static void visit(void *arg, const struct wh_graph_job *job)
{
    struct dry *d = arg;
    wh_autoerror err = {0};
    d->contexts = NULL;
    d->no_matrix = !job->matrix && wh_workflow_job_has_matrix(job->node->scope->workflow, job->node->id);
    wh_str_clear(&d->out);
    add_head(d, job);
    wh_autojson *json = job->node->call ? NULL : wh_graph_message(job, &err);
    wh_automessage *m = json ? wh_message_from_json(json, &err) : NULL;
    if (job->node->call) {
        add_field(d, "  ", "uses: ", wh_graph_uses(job));
    } else if (!m) {
        add_field(d, "  ", "error: ", wh_error_text(&err));
    } else {
        d->message = m;
        d->contexts = wh_message_contexts(m);
        for (size_t i = 0; i < m->nenvironment; i++)
            add_env(d, "  ", m->environment[i]);
        add_container(d, "container: ", m->job_container);
        for (size_t i = 0;
             m->job_services && m->job_services->type == WH_TOKEN_MAPPING && i < m->job_services->count;
             i++) {
            wh_autofree char *alias = wh_token_display(m->job_services->pairs[i].key);
            wh_autofree char *title = wh_printf("service %s: ", alias);
            add_container(d, title, m->job_services->pairs[i].value);
        }
        for (size_t i = 0; i < m->nsteps; i++)
            add_step(d, &m->steps[i], i + 1);
        add_mapping(d, "  ", "output", m->job_outputs);
        wh_value_unref(d->contexts);
    }
    fputs(wh_str_text(&d->out), stdout);
}

int exec_dry_run(struct exec_run *run, struct wh_masker *masker)
{
    struct dry d = {.masker = masker};
    for (size_t i = 0; i < wh_graph_scope_count(run->graph); i++) {
        const struct wh_graph_scope *scope = wh_graph_scope_at(run->graph, i);
        wh_autofree char *name = wh_mask_text(masker, scope->name);
        printf("%s: %s, %s, %s\n", wh_workflow_file(scope->workflow), name,
               wh_json_string(scope->github_json, "event_name"), wh_json_string(scope->github_json, "ref"));
        for (size_t k = 0; k < wh_value_count(scope->inputs); k++) {
            wh_autofree char *value = wh_value_to_string(wh_object_value_at(scope->inputs, k));
            wh_autofree char *shown = wh_mask_text(masker, value);
            printf("  input %s: %s\n", wh_object_key_at(scope->inputs, k), shown);
        }
    }
    exec_plan_walk(run, visit, &d);
    wh_str_free(&d.out);
    return run->plan_failed ? 1 : 0;
}
