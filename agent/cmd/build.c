/* wherry build: an image from a Dockerfile, by the same builder that jobs use. */
#include "cmd/build.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "cmd/commands.h"
#include "wherry/base/fs.h"
#include "wherry/base/json.h"
#include "wherry/build/engine.h"
#include "wherry/build/launch.h"

#define TICK_MS 100

/* The main thread runs the loop that the builder is a child of; the talk with it is blocking, on a thread of
 * its own. */
struct run {
    struct build_options *o;
    uv_loop_t loop;
    uv_timer_t tick;
    uv_signal_t interrupt, terminate;
    uv_async_t talked;
    pthread_t talker;
    pthread_mutex_t lock; /* progress */
    struct wh_progress *progress;
    struct wh_build_process *process; /* NULL once it is gone */
    int channel;
    bool canceled, talk_done;
    /* the talk's answer; read after talked */
    struct wh_build_result result;
    struct wh_error error;
    int status;
};

static void on_event(void *data, const struct wh_progress_event *ev)
{
    struct run *r = data;
    pthread_mutex_lock(&r->lock);
    wh_progress_feed(r->progress, ev);
    pthread_mutex_unlock(&r->lock);
}

static void on_tick(uv_timer_t *timer)
{
    struct run *r = timer->data;
    pthread_mutex_lock(&r->lock);
    wh_progress_tick(r->progress);
    pthread_mutex_unlock(&r->lock);
}

static void *talk(void *arg)
{
    struct run *r = arg;
    struct wh_build_client client = {.data = r, .event = on_event};
    struct build_taking *taking = build_take_start(r->o, &r->error);
    r->status = taking ? wh_build_client_run(r->channel, r->o->request, &client, &r->result, &r->error) : -1;
    wh_autoerror output = {0};
    if (taking && build_take_join(taking, r->status == 0 && r->result.ok, &output) < 0 && r->status == 0) {
        wh_error_clear(&r->error);
        r->status = wh_error_move(&r->error, &output);
    }
    uv_async_send(&r->talked);
    return NULL;
}

static void close_handles(struct run *r)
{
    uv_handle_t *const handles[] = {(uv_handle_t *)&r->tick, (uv_handle_t *)&r->interrupt,
                                    (uv_handle_t *)&r->terminate, (uv_handle_t *)&r->talked};
    for (size_t i = 0; i < WH_COUNT(handles); i++)
        if (!uv_is_closing(handles[i]))
            uv_close(handles[i], NULL);
}

/* Both have ended: the loop may. */
static void maybe_finish(struct run *r)
{
    if (r->talk_done && !r->process)
        close_handles(r);
}

static void on_talked(uv_async_t *async)
{
    struct run *r = async->data;
    r->talk_done = true;
    /* A builder that has said all sees the closed channel and goes. */
    shutdown(r->channel, SHUT_RDWR);
    maybe_finish(r);
}

static void on_builder_exit(struct wh_build_process *p, int exit_code, int signum, void *arg)
{
    (void)p, (void)exit_code, (void)signum;
    struct run *r = arg;
    r->process = NULL;
    shutdown(r->channel, SHUT_RD); /* wakes a talk that still waits for a dead builder */
    maybe_finish(r);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    (void)signum;
    struct run *r = handle->data;
    if (r->canceled && r->process)
        wh_build_kill(r->process);
    r->canceled = true;
    shutdown(r->channel, SHUT_RDWR);
}

static int start(struct run *r, struct wh_error *err)
{
    int fds[2];
    if (r->o->engine) {
        r->channel = wh_engine_connect(r->o->engine, err);
        if (r->channel < 0)
            return -1;
        return pthread_create(&r->talker, NULL, talk, r) == 0
                   ? 0
                   : wh_fail(err, WH_E_LIMIT, "no thread for the build");
    }
    if (wh_frame_pair(fds, err) < 0)
        return -1;
    r->channel = fds[0];
    wh_autofree char *state = wh_state_dir(r->o->state);
    struct wh_build_launch_options options = {.state = state, .job_uid = getuid(), .job_gid = getgid()};
    r->process = wh_build_launch(&r->loop, &options, fds[1], on_builder_exit, r, err);
    if (!r->process)
        return -1;
    struct wh_build_request *request = r->o->request;
    for (size_t i = 0; i < request->ncontexts; i++) {
        int *dirfd = &request->contexts[i].dirfd;
        int shared = *dirfd >= 0 ? wh_build_share_dir(r->process, *dirfd, err) : -1;
        if (*dirfd >= 0 && shared < 0)
            return -1;
        if (shared >= 0) {
            close(*dirfd);
            *dirfd = shared;
        }
    }
    return pthread_create(&r->talker, NULL, talk, r) == 0
               ? 0
               : wh_fail(err, WH_E_LIMIT, "no thread for the build");
}

static void init_handles(struct run *r)
{
    uv_loop_init(&r->loop);
    uv_timer_init(&r->loop, &r->tick);
    uv_signal_init(&r->loop, &r->interrupt);
    uv_signal_init(&r->loop, &r->terminate);
    uv_async_init(&r->loop, &r->talked, on_talked);
    r->tick.data = r->interrupt.data = r->terminate.data = r->talked.data = r;
    uv_timer_start(&r->tick, on_tick, TICK_MS, TICK_MS);
    uv_signal_start(&r->interrupt, on_signal, SIGINT);
    uv_signal_start(&r->terminate, on_signal, SIGTERM);
}

/* ---- what is said and written at the end ---- */

static int write_text(const char *path, const char *text, struct wh_error *err)
{
    return wh_write_file_quick(AT_FDCWD, path, text, strlen(text), 0644, err);
}

static int write_results(const struct run *r, struct wh_error *err)
{
    const struct build_options *o = r->o;
    const char *id = r->result.config_digest ? r->result.config_digest : r->result.digest;
    if (o->metadata_file) {
        wh_autojson *json = wh_build_result_metadata(&r->result);
        wh_autofree char *text = wh_json_print_indented(json);
        if (write_text(o->metadata_file, text, err) < 0)
            return wh_wrap(err, "--metadata-file");
    }
    if (o->iid_file && id && write_text(o->iid_file, id, err) < 0)
        return wh_wrap(err, "--iidfile");
    if (o->quiet && id)
        printf("%s\n", id);
    return 0;
}

/* What was asked for, on standard output; progress only where it went wrong. */
static int report_call(struct run *r)
{
    if (r->result.output)
        fputs(r->result.output, stdout);
    fflush(stdout);
    if (!r->result.ok) {
        fprintf(stderr, "ERROR: failed to build: failed to solve: %s\n%s", r->result.error,
                r->result.excerpt ? r->result.excerpt : "");
        return 1;
    }
    return r->o->ignore_status ? 0 : r->result.exit_code;
}

static void explain(const struct run *r)
{
    const cJSON *item;
    if (!r->result.misses) {
        fputs("\nEvery step came from the cache.\n", stderr);
        return;
    }
    fputs("\nNot cached:\n", stderr);
    cJSON_ArrayForEach(item, r->result.misses)
    {
        const char *step = wh_json_string(item, "step"), *why = wh_json_string(item, "why");
        fprintf(stderr, "  %s\n      %s\n", step ? step : "", why ? why : "");
    }
}

static int report(struct run *r)
{
    if (r->canceled) {
        fputs("ERROR: failed to build: failed to solve: Canceled: context canceled\n", stderr);
        return 130;
    }
    if (r->status == 0 && r->o->request->call)
        return report_call(r);
    if (r->status == 0 && r->o->explain)
        explain(r);
    if (r->status == 0 && r->result.ok && write_results(r, &r->error) == 0) {
        if (r->o->request->noutputs == 0 && !r->o->quiet)
            fputs("WARNING: No output specified. Build result will only remain in the build cache. To push "
                  "result image into "
                  "registry use --push or to write it to a file use -o type=oci,dest=FILE\n",
                  stderr);
        return 0;
    }
    if (r->status == 0 && !r->result.ok) {
        if (r->result.excerpt)
            fputs(r->result.excerpt, stderr);
        fprintf(stderr, "ERROR: failed to build: failed to solve: %s\n", r->result.error);
        return 1;
    }
    fprintf(stderr, "ERROR: failed to build: %s\n", wh_error_text(&r->error));
    return 1;
}

int build_run(struct build_options *o)
{
    struct run r = {.o = o, .channel = -1};
    pthread_mutex_init(&r.lock, NULL);
    r.progress =
        wh_progress_new(o->style, STDERR_FILENO, "building with \"default\" instance using wherry driver");
    init_handles(&r);
    bool started = start(&r, &r.error) == 0;
    if (!started) {
        r.status = -1;
        r.talk_done = true;
        if (r.process)
            wh_build_kill(r.process);
        maybe_finish(&r);
    }
    uv_run(&r.loop, UV_RUN_DEFAULT);
    if (started)
        pthread_join(r.talker, NULL);
    uv_loop_close(&r.loop);
    wh_progress_finish(r.progress, r.status == 0 && r.result.ok && !o->request->call);
    int code = report(&r);
    wh_progress_free(r.progress);
    wh_build_result_clear(&r.result);
    wh_error_clear(&r.error);
    wh_close_fd(&r.channel);
    pthread_mutex_destroy(&r.lock);
    return code;
}

int wh_cmd_build(int argc, char **argv)
{
    struct build_options o;
    wh_autoerror err = {0};
    int code = 2;
    signal(SIGPIPE, SIG_IGN);
    if (build_options_parse(argc, argv, &o, &err) == 0) {
        if (o.help) {
            build_usage();
            code = 0;
        } else if (build_load_context(&o, &err) == 0 && build_open_outputs(&o, &err) == 0) {
            code = build_run(&o);
        } else {
            fprintf(stderr, "ERROR: failed to build: %s\n", wh_error_text(&err));
            code = err.code == WH_E_ARGUMENT ? 2 : 1;
        }
    } else if (err.code == WH_E_NOT_FOUND) { /* something that an option names */
        fprintf(stderr, "ERROR: failed to build: %s\n", wh_error_text(&err));
        code = 1;
    } else {
        fprintf(stderr, "wherry build: %s\n`wherry build --help` tells more.\n", wh_error_text(&err));
    }
    build_options_clear(&o);
    return code;
}
