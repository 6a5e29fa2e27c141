/* What would run: a list, a drawing, and a run in which every job succeeds at once. */
#include <stdio.h>

#include "cmd/exec.h"
#include "wherry/job/message.h"

int exec_list(const struct exec_files *f)
{
    for (size_t k = 0; k < f->n; k++) {
        const struct wh_workflow *w = f->workflows[k];
        if (f->n > 1)
            printf("%s%s (%s)\n", k ? "\n" : "", wh_workflow_name(w), wh_workflow_file(w));
        for (size_t i = 0; i < wh_workflow_job_count(w); i++) {
            wh_autofree char *name = wh_workflow_job_name(w, i);
            printf("%-24s %s\n", wh_workflow_job_id(w, i), name);
        }
    }
    return 0;
}

/* ---- the drawing: a row of boxes for each stage ---- */

/* One more than the latest of what each needs; in turns, for there may be very many ways from one to another.
 */
static unsigned *stages_of(const struct wh_graph_scope *scope)
{
    unsigned *stages = wh_calloc(scope->nnodes + 1, sizeof *stages);
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < scope->nnodes; i++) {
            const struct wh_graph_node *node = &scope->nodes[i];
            for (size_t k = 0; k < node->nneeds; k++) {
                unsigned after = stages[node->needs[k] - scope->nodes] + 1;
                more |= after > stages[i];
                stages[i] = WH_MAX(stages[i], after);
            }
        }
    }
    return stages;
}

static size_t columns(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0U) != 0x80;
    return n;
}

/* Its name, and what it becomes or calls. */
static char *label_of(const struct wh_graph_node *node, struct wh_masker *masker)
{
    wh_autostr text = {0};
    const char *own = node->njobs == 1 ? strrchr(node->jobs[0]->name, '/') : NULL;
    const char *name = node->njobs != 1             ? node->id
                       : node->scope->caller && own ? own + 2
                                                    : node->jobs[0]->name;
    wh_str_add(&text, name);
    if (node->njobs > 1)
        wh_str_addf(&text, " \xc3\x97%zu", node->njobs);
    if (node->call && node->njobs > 0)
        wh_str_addf(&text, " \xe2\x86\x92 %s", wh_graph_uses(node->jobs[0]));
    if (node->result == WH_GRAPH_SKIPPED)
        wh_str_add(&text, " (skipped)");
    return wh_mask_text(masker, wh_str_text(&text));
}

static void add_repeated(struct wh_str *s, const char *text, size_t times)
{
    for (size_t i = 0; i < times; i++)
        wh_str_add(s, text);
}

static bool draw_stage(const struct wh_graph_scope *scope, const unsigned *stages, unsigned stage,
                       struct wh_masker *masker)
{
    struct wh_str rows[3] = {{0}};
    bool any = false;
    for (size_t i = 0; i < scope->nnodes; i++) {
        const struct wh_graph_node *node = &scope->nodes[i];
        if (node->left_out || stages[i] != stage)
            continue;
        wh_autofree char *label = label_of(node, masker);
        size_t width = columns(label) + 2;
        wh_str_add(&rows[0], " \xe2\x95\xad");
        add_repeated(&rows[0], "\xe2\x94\x80", width);
        wh_str_add(&rows[0], "\xe2\x95\xae");
        wh_str_addf(&rows[1], " \xe2\x94\x82 %s \xe2\x94\x82", label);
        wh_str_add(&rows[2], " \xe2\x95\xb0");
        add_repeated(&rows[2], "\xe2\x94\x80", width);
        wh_str_add(&rows[2], "\xe2\x95\xaf");
        any = true;
    }
    if (any && stage > 0)
        printf("    \xe2\x86\x93\n");
    for (size_t i = 0; i < WH_COUNT(rows); i++) {
        if (any)
            printf("%s\n", wh_str_text(&rows[i]));
        wh_str_free(&rows[i]);
    }
    return any;
}

static void draw_scope(const struct wh_graph_scope *scope, struct wh_masker *masker)
{
    wh_autofree char *name = wh_mask_text(masker, scope->caller ? scope->caller->name : scope->name);
    printf("%s (%s)\n", name, wh_workflow_file(scope->workflow));
    wh_autofree unsigned *stages = stages_of(scope);
    for (unsigned stage = 0; draw_stage(scope, stages, stage, masker); stage++)
        ;
}

int exec_print_graph(struct exec_run *run, struct wh_masker *masker)
{
    exec_plan_walk(run, NULL, NULL);
    for (size_t i = 0; i < wh_graph_scope_count(run->graph); i++) {
        const struct wh_graph_scope *scope = wh_graph_scope_at(run->graph, i);
        bool again = scope->caller && scope->caller->index > 0; /* the rows of a matrix call the same */
        if (again)
            continue;
        if (i > 0)
            printf("\n");
        draw_scope(scope, masker);
    }
    return 0;
}

void exec_plan_walk(struct exec_run *run, void (*visit)(void *arg, const struct wh_graph_job *job), void *arg)
{
    for (;;) {
        for (size_t i = 0; i < wh_graph_scope_count(run->graph); i++)
            wh_graph_open(wh_graph_scope_at(run->graph, i));
        struct wh_graph_job *job = wh_graph_next(run->graph);
        if (!job)
            return;
        if (visit)
            visit(arg, job);
        if (job->node->call) {
            exec_call(run, job);
            continue;
        }
        wh_graph_start(job);
        wh_graph_finish(job, WH_GRAPH_SUCCESS, NULL);
    }
}
