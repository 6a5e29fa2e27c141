/* wherry exec: runs workflow files here, with no service. */
#include <stdio.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/exec.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"

static const char *pick_event(const struct exec_options *o, const struct exec_files *f, char **own)
{
    if (o->event)
        return o->event;
    if (!o->files || f->n != 1 || wh_workflow_has_event(f->workflows[0], "push"))
        return "push";
    wh_autostrv char **events = wh_workflow_events(f->workflows[0]);
    *own = wh_strdup(events && events[0] ? events[0] : "push");
    return *own;
}

/* Of the jobs that were asked for, those that are in this file. */
static char **jobs_in(const struct exec_options *o, const struct wh_workflow *w)
{
    char **found = NULL;
    for (size_t k = 0; o->jobs && o->jobs[k]; k++)
        for (size_t i = 0; i < wh_workflow_job_count(w); i++)
            if (wh_streq_ci(wh_workflow_job_id(w, i), o->jobs[k]))
                wh_strv_add(&found, o->jobs[k]);
    return found;
}

/* Every job that was asked for is in one of the files. */
static int check_jobs(const struct exec_options *o, const struct exec_files *f, struct wh_error *err)
{
    for (size_t k = 0; o->jobs && o->jobs[k]; k++) {
        wh_autostr names = {0};
        bool found = false;
        for (size_t w = 0; w < f->n; w++)
            for (size_t i = 0; i < wh_workflow_job_count(f->workflows[w]); i++) {
                const char *id = wh_workflow_job_id(f->workflows[w], i);
                found |= wh_streq_ci(id, o->jobs[k]);
                wh_str_addf(&names, "%s%s", names.len > 0 ? ", " : "", id);
            }
        if (!found)
            return wh_fail(err, WH_E_NOT_FOUND, "there is no job '%s'; there is %s", o->jobs[k],
                           wh_str_text(&names));
    }
    return 0;
}

static int add_root(const struct exec_options *o, const struct wh_workflow *w, struct wh_graph *g,
                    cJSON *github, const char *event_name, struct wh_error *err)
{
    wh_autostrv char **only = jobs_in(o, w);
    struct wh_graph_root root = {.workflow = w,
                                 .github = github,
                                 .secrets = o->secrets,
                                 .event = event_name,
                                 .inputs = o->inputs,
                                 .only = only};
    if (wh_graph_add(g, &root, err))
        return 0;
    return err->code == WH_E_PARSE ? -1 : wh_wrap(err, "%s", wh_workflow_file(w));
}

/* Files that were named run whatever triggers them; of a folder, those that the event triggers. */
static int add_roots(const struct exec_options *o, const struct exec_files *f, struct wh_graph *g,
                     struct wh_error *err)
{
    wh_autofree char *own = NULL;
    const char *event_name = pick_event(o, f, &own);
    if (check_jobs(o, f, err) < 0)
        return -1;
    wh_autojson *event = o->event_path ? wh_json_read_file(o->event_path, WH_MAX_EXEC_FILE, err) : NULL;
    if (o->event_path && !event)
        return -1;
    struct wh_checkout checkout __attribute__((cleanup(wh_checkout_clear)));
    wh_checkout_read(".", &checkout);
    const char *server = o->server ? o->server : getenv("GITHUB_SERVER_URL");
    checkout.server = server && server[0] ? wh_strdup(server) : NULL;
    size_t added = 0;
    for (size_t i = 0; i < f->n; i++) {
        const struct wh_workflow *w = f->workflows[i];
        wh_autostrv char **asked = jobs_in(o, w);
        if (o->jobs && !asked)
            continue;
        wh_autojson *github = wh_workflow_github(&checkout, w, event_name, event);
        wh_autostrv char **changed = wh_checkout_changed(&checkout, github);
        wh_autofree char *why = NULL;
        bool triggered = wh_workflow_triggered(w, github, changed, &why);
        if (!triggered && f->named[i])
            fprintf(stderr, "wherry: note: '%s' does not trigger %s (%s); it runs all the same\n", event_name,
                    wh_workflow_file(w), why);
        else if (!triggered && wh_workflow_has_event(w, event_name))
            fprintf(stderr, "wherry: note: %s does not run: %s\n", wh_workflow_file(w), why);
        if (!triggered && !f->named[i])
            continue;
        if (add_root(o, w, g, github, event_name, err) < 0)
            return -1;
        added++;
    }
    return added > 0 ? 0
                     : wh_fail(err, WH_E_NOT_FOUND,
                               "no workflow is triggered by '%s': name a file, or another event (see "
                               "`wherry exec --list`)",
                               event_name);
}

/* True if there is one job, and it can't become more. */
static bool is_lone(const struct wh_graph *g)
{
    size_t n = 0;
    for (size_t s = 0; s < wh_graph_scope_count(g); s++) {
        const struct wh_graph_scope *scope = wh_graph_scope_at(g, s);
        for (size_t i = 0; i < scope->nnodes; i++) {
            const struct wh_graph_node *node = &scope->nodes[i];
            if (node->left_out)
                continue;
            n += node->call || wh_workflow_job_has_matrix(scope->workflow, node->id) ? 2 : 1;
        }
    }
    return n == 1;
}

static enum exec_style pick_style(const struct exec_options *o, const struct wh_graph *g)
{
    bool lone = is_lone(g);
    if (wh_streq(o->progress, "json"))
        return EXEC_JSON;
    if (wh_streq(o->progress, "tty") ||
        (wh_streq(o->progress, "auto") && !lone && isatty(STDOUT_FILENO) && wh_color_ok(STDOUT_FILENO)))
        return EXEC_TTY;
    return !lone ? EXEC_PLAIN : o->logs ? EXEC_LONE : EXEC_RAW;
}

static struct wh_masker *make_masker(const struct exec_options *o, struct wh_error *err)
{
    struct wh_masker *m = wh_masker_new();
    for (const cJSON *s = o->secrets->child; s; s = s->next)
        if (wh_masker_add_secret(m, s->valuestring, err) < 0) {
            wh_masker_free(m);
            return NULL;
        }
    if (o->token)
        (void)wh_masker_add_secret(m, o->token, NULL);
    return m;
}

/* Jobs that never came to run, and calls. */
static void on_end(void *arg, struct wh_graph_node *node, struct wh_graph_job *job)
{
    struct exec_run *run = arg;
    const struct wh_graph_job *caller = node->scope->caller;
    wh_autofree char *name = job      ? wh_strdup(job->name)
                             : caller ? wh_printf("%s / %s", caller->name, node->id)
                                      : wh_strdup(node->id);
    enum wh_graph_result result = job ? job->result : node->result;
    if (job && node->call && result != WH_GRAPH_FAILURE)
        return;
    if (job && node->call && job->called)
        return; /* its own jobs said it */
    if (run->show) {
        exec_show_note(run->show, name, result, node->reason);
        return;
    }
    bool drawn = run->options->mode == EXEC_GRAPH;
    wh_autofree char *shown = wh_mask_text(run->masker, name);
    wh_autofree char *why = node->reason ? wh_mask_text(run->masker, node->reason) : NULL;
    if (result != WH_GRAPH_SUCCESS && !(drawn && result == WH_GRAPH_SKIPPED))
        fprintf(drawn ? stderr : stdout, "%s%s\n  %s%s%s\n", drawn ? "" : "\n", shown,
                wh_graph_result_text(result), why ? ": " : "", why ? why : "");
    run->plan_failed |= result == WH_GRAPH_FAILURE;
}

static int run_graph(struct exec_run *run, struct wh_masker *masker, struct wh_error *err)
{
    const struct exec_options *o = run->options;
    struct exec_place place;
    if (exec_place_open(o, &place, err) < 0) {
        exec_place_clear(&place);
        return -1;
    }
    wh_autofree char *self = wh_self_path();
    wh_autofree char *state = wh_state_dir(o->state);
    wh_autofree char *here = realpath(".", NULL);
    run->place = &place;
    run->style = pick_style(o, run->graph);
    run->show = exec_show_new(run->style, masker, o->quiet);
    run->self = self;
    run->state = state;
    run->repository = o->network_checkout ? NULL : here;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    run->max_parallel = o->max_parallel > 0 ? (size_t)o->max_parallel : (size_t)WH_MAX(cpus, 1);
    int code = exec_run(run);
    exec_show_free(run->show);
    run->show = NULL;
    exec_place_clear(&place);
    return code;
}

static int exec_files(const struct exec_options *o, const struct exec_files *f, struct wh_masker *masker,
                      struct wh_error *err)
{
    struct exec_run run = {.options = o, .masker = masker};
    const char *token = o->token ? o->token : wh_json_string(o->secrets, "GITHUB_TOKEN");
    struct wh_graph_options options = {.vars = o->vars,
                                       .token = token,
                                       .rows = o->rows,
                                       .plan = o->mode != EXEC_RUN,
                                       .on_end = on_end,
                                       .arg = &run};
    run.token = token;
    run.graph = wh_graph_new(&options);
    int code = add_roots(o, f, run.graph, err);
    if (code == 0)
        code = o->mode == EXEC_GRAPH     ? exec_print_graph(&run, masker)
               : o->mode == EXEC_DRY_RUN ? exec_dry_run(&run, masker)
                                         : run_graph(&run, masker, err);
    wh_graph_free(run.graph);
    exec_calls_free(&run);
    wh_strv_free(run.labels);
    return code;
}

static int exec_workflows(const struct exec_options *o, struct wh_error *err)
{
    struct exec_files f __attribute__((cleanup(exec_files_clear))) = {0};
    if (exec_files_read(o, &f, err) < 0)
        return -1;
    if (o->mode == EXEC_LIST)
        return exec_list(&f);
    struct wh_masker *masker = make_masker(o, err);
    if (!masker)
        return -1;
    int code = exec_files(o, &f, masker, err);
    wh_masker_free(masker);
    return code;
}

int wh_cmd_exec(int argc, char **argv)
{
    struct exec_options o __attribute__((cleanup(exec_options_clear))) = {0};
    wh_autoerror err = {0};
    if (exec_options_read(argc, argv, &o, &err) < 0) {
        if (err.code != WH_OK)
            fprintf(stderr, "wherry exec: %s\n", wh_error_text(&err));
        return 2;
    }
    if (o.help) {
        fputs(exec_help, stdout);
        return 0;
    }
    int code = exec_workflows(&o, &err);
    if (code < 0) {
        fprintf(stderr, "wherry exec: %s\n", wh_error_text(&err));
        return err.code == WH_E_ARGUMENT ? 2 : 1;
    }
    return code;
}
