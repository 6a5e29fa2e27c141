/* The agent's part in a local run: starts workers, passes interrupts on as cancels, ends when all is done. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd/exec.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/serve/serve.h"

#define TICK_MS 100

/* Workflows that wait for their groups. */
static void open_scopes(struct exec_run *run)
{
    for (size_t i = 0; i < wh_graph_scope_count(run->graph); i++) {
        struct wh_graph_scope *scope = wh_graph_scope_at(run->graph, i);
        if (scope->closed && !scope->done)
            (void)exec_gate_enter(run, NULL, scope);
    }
}

/* False: nothing more can be started now. */
static bool start_one(struct exec_run *run)
{
    open_scopes(run);
    struct wh_graph_job *job = wh_graph_next(run->graph);
    if (!job)
        return false;
    if (job->concurrency.group && !exec_gate_enter(run, job, NULL))
        return true;
    if (job->node->call) {
        exec_call(run, job);
        return true;
    }
    if (run->running >= run->max_parallel)
        return false;
    exec_job_start(run, job);
    return true;
}

void exec_run_pump(struct exec_run *run)
{
    if (run->pumping)
        return;
    run->pumping = true;
    if (run->ngates > 0)
        exec_gates_look(run);
    while (run->interrupts < 2 && start_one(run))
        ;
    for (size_t i = 0; i < run->njobs; i++)
        if (exec_job_wants_cancel(run->jobs[i]))
            exec_job_cancel(run->jobs[i]);
    run->pumping = false;
    if ((wh_graph_done(run->graph) || run->interrupts > 1) && run->running == 0 && run->helpers == 0)
        uv_stop(&run->loop);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct exec_run *run = handle->data;
    (void)signum;
    if (++run->interrupts == 1) {
        wh_graph_cancel(run->graph);
    } else { /* asked twice: at once */
        for (size_t i = 0; i < run->njobs; i++)
            exec_job_kill(run->jobs[i]);
    }
    exec_calls_kill(run);
    exec_run_pump(run);
}

static void on_tick(uv_timer_t *timer)
{
    struct exec_run *run = timer->data;
    exec_show_tick(run->show);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void open_loop(struct exec_run *run)
{
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&run->loop);
    uv_signal_init(&run->loop, &run->interrupt);
    uv_signal_init(&run->loop, &run->terminate);
    uv_timer_init(&run->loop, &run->tick);
    uv_timer_init(&run->loop, &run->gate_timer);
    run->interrupt.data = run->terminate.data = run->tick.data = run->gate_timer.data = run;
    uv_signal_start(&run->interrupt, on_signal, SIGINT);
    uv_signal_start(&run->terminate, on_signal, SIGTERM);
    if (run->style == EXEC_TTY)
        uv_timer_start(&run->tick, on_tick, TICK_MS, TICK_MS);
}

/* One job: its completion as the service would get it; several: all of them by name. */
static int write_result(const struct exec_run *run, int fd, struct wh_error *err)
{
    wh_autojson *whole = NULL;
    const cJSON *json = run->results->child;
    if (run->style != EXEC_RAW && run->style != EXEC_LONE) {
        whole = cJSON_CreateObject();
        cJSON_AddStringToObject(whole, "conclusion", wh_graph_result_text(wh_graph_result(run->graph)));
        cJSON_AddItemToObject(whole, "jobs", cJSON_Duplicate(run->results, true));
        json = whole;
    }
    if (!json || fd < 0)
        return 0;
    wh_autofree char *text = cJSON_Print(json);
    return wh_write_all(fd, text, strlen(text), err) < 0 ? wh_wrap(err, "write %s", run->options->result) : 0;
}

int exec_run(struct exec_run *run)
{
    wh_autoerror err = {0};
    const char *path = run->options->result;
    wh_autoclose int result_fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    if (path && result_fd < 0) {
        wh_fail_errno(&err, "write the result to %s", path);
        fprintf(stderr, "wherry exec: %s\n", wh_error_text(&err));
        return 1;
    }
    run->results = cJSON_CreateObject();
    open_loop(run);
    exec_run_pump(run);
    while (!(wh_graph_done(run->graph) || run->interrupts > 1) || run->running > 0 || run->helpers > 0)
        uv_run(&run->loop, UV_RUN_DEFAULT);
    wh_serve_free(wh_steal(&run->serve));
    uv_walk(&run->loop, close_handle, NULL);
    uv_run(&run->loop, UV_RUN_DEFAULT);
    uv_loop_close(&run->loop);
    for (size_t i = 0; i < run->njobs; i++)
        exec_job_free(run->jobs[i]);
    free(run->jobs);
    exec_gates_free(run);
    enum wh_graph_result result =
        wh_graph_done(run->graph) ? wh_graph_result(run->graph) : WH_GRAPH_CANCELLED;
    exec_show_finish(run->show, wh_graph_result_text(result));
    if (write_result(run, result_fd, &err) < 0) {
        fprintf(stderr, "wherry exec: %s\n", wh_error_text(&err));
        result = WH_GRAPH_FAILURE;
    }
    cJSON_Delete(run->results);
    return result == WH_GRAPH_SUCCESS || result == WH_GRAPH_SKIPPED ? 0 : 1;
}
