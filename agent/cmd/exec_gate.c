/* Concurrency groups, between jobs of one run and between the runs of one user on this machine. Who is in
 * progress holds a lock; who waits leaves its ticket beside it, over that of the one before it, who is then
 * cancelled; and asks the holder to end, if it is to be cancelled. Whatever dies, its lock goes with it. */
#include <stdio.h>
#include <unistd.h>

#include "cmd/exec.h"
#include "wherry/base/digest.h"
#include "wherry/base/fs.h"

#define POLL_MS 200
#define MAX_TICKET 64

struct exec_gate {
    struct wh_graph_job *job; /* of one of them */
    struct wh_graph_scope *scope;
    const struct wh_concurrency *concurrency;
    char *name; /* of the lock */
    char ticket[37];
    int lock; /* -1: it waits */
    bool gone, canceled;
};

static char *file_of(const struct exec_run *run, const struct exec_gate *gate, const char *suffix)
{
    wh_autofree char *path = exec_place_file(run->place, "group", gate->name);
    return wh_printf("%s%s", path, suffix);
}

static void leave(const struct exec_run *run, const struct exec_gate *gate, const char *suffix)
{
    wh_autofree char *path = file_of(run, gate, suffix);
    (void)wh_write_file_quick(AT_FDCWD, path, gate->ticket, strlen(gate->ticket), 0600, NULL);
}

static void take_away(const struct exec_run *run, const struct exec_gate *gate, const char *suffix)
{
    wh_autofree char *path = file_of(run, gate, suffix);
    unlink(path);
}

/* The ticket that lies there is another's. */
static bool is_another(const struct exec_run *run, const struct exec_gate *gate)
{
    wh_autofree char *path = file_of(run, gate, ".pending");
    wh_autostr text = {0};
    return wh_read_file(AT_FDCWD, path, MAX_TICKET, &text, NULL) == 0 &&
           !wh_streq(wh_str_text(&text), gate->ticket);
}

static void try_lock(struct exec_run *run, struct exec_gate *gate)
{
    wh_autoerror err = {0};
    if (exec_place_lock(run->place, "group", gate->name, &gate->lock, &err) < 0) {
        exec_show_say(run->show, "concurrency group '%s': %s", gate->concurrency->group, wh_error_text(&err));
        gate->gone = true;
        gate->canceled = true;
    }
    if (gate->lock < 0)
        return;
    if (!is_another(run, gate))
        take_away(run, gate, ".pending");
    take_away(run, gate, ".cancel");
    if (gate->scope)
        wh_graph_open(gate->scope);
    else
        gate->job->held = false;
}

static void cancel(struct exec_gate *gate)
{
    gate->canceled = true;
    if (gate->scope)
        wh_graph_cancel_scope(gate->scope);
    else
        wh_graph_cancel_job(gate->job);
}

static bool is_over(const struct exec_gate *gate)
{
    if (gate->scope)
        return gate->scope->done || (gate->lock < 0 && !gate->scope->closed);
    return gate->job->state == WH_GRAPH_DONE;
}

static void look(struct exec_run *run, struct exec_gate *gate)
{
    if (gate->gone)
        return;
    if (is_over(gate)) {
        wh_close_fd(&gate->lock);
        gate->lock = -1;
        gate->gone = true;
        return;
    }
    if (gate->lock < 0) {
        if (is_another(run, gate)) {
            exec_show_say(run->show, "Canceling since a higher priority waiting request for %s exists",
                          gate->concurrency->group);
            cancel(gate);
            return;
        }
        if (gate->concurrency->cancel_in_progress)
            leave(run, gate, ".cancel");
        try_lock(run, gate);
        return;
    }
    wh_autofree char *wish = file_of(run, gate, ".cancel");
    if (!gate->canceled && access(wish, F_OK) == 0) {
        exec_show_say(run->show, "Canceling since a higher priority waiting request for %s exists",
                      gate->concurrency->group);
        unlink(wish);
        cancel(gate);
    }
}

static void on_poll(uv_timer_t *timer)
{
    struct exec_run *run = timer->data;
    exec_gates_look(run);
    exec_run_pump(run);
}

void exec_gates_look(struct exec_run *run)
{
    bool any = false;
    for (size_t i = 0; i < run->ngates; i++) {
        look(run, run->gates[i]);
        any |= !run->gates[i]->gone;
    }
    if (!any)
        uv_timer_stop(&run->gate_timer);
}

/* A job in a group that a workflow around it holds would wait for itself. */
static const char *held_above(const struct wh_graph_scope *scope, const char *group)
{
    for (; scope; scope = scope->caller ? scope->caller->node->scope : NULL) {
        if (scope->concurrency.group && wh_streq_ci(scope->concurrency.group, group))
            return scope->caller ? scope->caller->name : "top level workflow";
        if (scope->caller && scope->caller->concurrency.group &&
            wh_streq_ci(scope->caller->concurrency.group, group))
            return scope->caller->name;
    }
    return NULL;
}

static bool is_deadlock(struct exec_run *run, struct wh_graph_job *job, struct wh_graph_scope *scope)
{
    const struct wh_graph_job *subject = job ? job : scope->caller; /* a root waits for nobody above it */
    if (!subject)
        return false;
    const char *group = job ? job->concurrency.group : scope->concurrency.group;
    bool own = !job && subject->concurrency.group && wh_streq_ci(subject->concurrency.group, group);
    const char *holder = own ? subject->name : held_above(subject->node->scope, group);
    if (!holder)
        return false;
    exec_show_say(run->show,
                  "Canceling since a deadlock was detected for concurrency group: '%s' between '%s' and '%s'",
                  group, holder, subject->name);
    return true;
}

bool exec_gate_enter(struct exec_run *run, struct wh_graph_job *job, struct wh_graph_scope *scope)
{
    const struct wh_concurrency *c = job ? &job->concurrency : &scope->concurrency;
    for (size_t i = 0; i < run->ngates; i++)
        if (run->gates[i]->job == job && run->gates[i]->scope == scope)
            return run->gates[i]->lock >= 0;
    if (is_deadlock(run, job, scope)) {
        if (job)
            wh_graph_cancel_job(job);
        else
            wh_graph_cancel_scope(scope);
        return false;
    }
    struct exec_gate *gate = wh_calloc(1, sizeof *gate);
    *gate = (struct exec_gate){.job = job, .scope = scope, .concurrency = c, .lock = -1};
    const struct wh_graph_scope *of = job ? job->node->scope : scope;
    const char *repository = wh_json_string(of->github_json, "repository");
    gate->name = wh_printf("%s:%s", repository ? repository : "", c->group);
    wh_ascii_lower(gate->name);
    wh_guid(gate->ticket);
    run->gates = wh_reallocarray(run->gates, run->ngates + 1, sizeof(void *));
    run->gates[run->ngates++] = gate;
    try_lock(run, gate);
    if (gate->lock < 0) {
        exec_show_say(run->show, "%s%s%s waits for its concurrency group '%s'",
                      job ? "job '" : "the workflow", job ? job->name : "", job ? "'" : "", c->group);
        leave(run, gate, ".pending");
        if (job)
            job->held = true;
    }
    if (!uv_is_active((uv_handle_t *)&run->gate_timer))
        uv_timer_start(&run->gate_timer, on_poll, POLL_MS, POLL_MS);
    return gate->lock >= 0;
}

void exec_gates_free(struct exec_run *run)
{
    for (size_t i = 0; i < run->ngates; i++) {
        struct exec_gate *gate = run->gates[i];
        if (!gate->gone && gate->lock < 0 && !is_another(run, gate))
            take_away(run, gate, ".pending");
        wh_close_fd(&gate->lock);
        free(gate->name);
        free(gate);
    }
    free(run->gates);
}
