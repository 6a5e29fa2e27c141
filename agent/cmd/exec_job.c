/* One job of a local run: its worker, its builders, its end. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmd/exec.h"
#include "wherry/actions/fetch.h"
#include "wherry/base/clock.h"
#include "wherry/base/frame.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "wherry/build/launch.h"
#include "wherry/github/actions.h"
#include "wherry/net/later.h"

#define KILL_AFTER_MS 60000u /* after a cancel, as the service's own grace is */
#define MAX_RESULT ((size_t)64 << 20)
#define READ_SIZE ((size_t)64 << 10)

struct exec_job {
    struct exec_run *run;
    struct wh_graph_job *job;
    struct exec_show_job *shown;
    struct wh_process worker;
    struct wh_job_cgroup cgroup;
    struct wh_frame_conn *conn;
    uv_poll_t conn_poll, exit_poll, out_poll;
    uv_timer_t timeout, kill_timer;
    unsigned handles; /* open ones */
    cJSON *frame;     /* holds secrets: gone when the worker has it */
    cJSON *facts;     /* of the message, for fetchers */
    int slot;         /* the locked work folder */
    int out;          /* its lines; -1: they go to our own standard output */
    int result;       /* memory in which its completion will be */
    char *word;       /* of the done frame */
    char *service;    /* what the cache service knows it by; NULL */
    struct wh_process_exit ended;
    bool gone, canceled;
    uint64_t started;
};

bool exec_job_runs(const struct exec_job *j)
{
    return !j->gone;
}

bool exec_job_wants_cancel(const struct exec_job *j)
{
    return !j->gone && j->job->cancel && !j->canceled;
}

/* ---- the end ---- */

static void read_output(struct exec_job *j);

/* What completejob would say, with the job's outputs; NULL where there is none. */
static cJSON *read_completion(struct exec_job *j)
{
    wh_autostr text = {0};
    if (lseek(j->result, 0, SEEK_SET) != 0 ||
        wh_read_fd(j->result, MAX_RESULT, "the job's result", &text, NULL) < 0 || text.len == 0)
        return NULL;
    return wh_json_parse(text.data, text.len, MAX_RESULT, "the job's result", NULL);
}

static cJSON *outputs_of(const cJSON *completion)
{
    cJSON *outputs = cJSON_CreateObject();
    const cJSON *o;
    cJSON_ArrayForEach(o, wh_json_get(completion, "outputs"))
    {
        const char *value = cJSON_IsString(o) ? o->valuestring : wh_json_string(o, "value");
        if (value && o->string)
            cJSON_AddStringToObject(outputs, o->string, value);
    }
    return outputs;
}

static void finish(struct exec_job *j)
{
    struct exec_run *run = j->run;
    uint64_t took = wh_mono_ns() - j->started;
    cJSON *completion = read_completion(j);
    wh_autojson *outputs = outputs_of(completion);
    wh_autofree char *reason = NULL;
    if (!j->word)
        reason =
            wh_printf("its worker ended without a result (%s %d)", j->ended.signal ? "signal" : "exit code",
                      j->ended.signal ? j->ended.signal : j->ended.code);
    if (completion)
        cJSON_AddItemToObject(run->results, j->job->name, completion);
    enum wh_graph_result result = j->word               ? wh_graph_result_parse(j->word)
                                  : run->interrupts > 1 ? WH_GRAPH_CANCELLED
                                                        : WH_GRAPH_FAILURE;
    if (reason && result == WH_GRAPH_FAILURE)
        exec_show_say(run->show, "job '%s': %s", j->job->name, reason);
    exec_show_end(j->shown, j->word ? j->word : wh_graph_result_text(result), took);
    wh_graph_finish(j->job, result, outputs);
    if (j->job->result != result) /* its outputs are too large */
        exec_show_say(run->show, "job '%s': %s", j->job->name, j->job->node->reason);
}

static void on_closed(uv_handle_t *handle)
{
    struct exec_job *j = handle->data;
    if (--j->handles > 0)
        return;
    wh_frame_conn_free(j->conn);
    j->conn = NULL;
    if (j->out >= 0)
        close(j->out);
    j->out = -1;
    close(j->slot); /* the work folder is free again */
    j->slot = -1;
    j->run->running--;
    exec_serve_job_end(j->run, j->service);
    finish(j);
    close(j->result);
    j->result = -1;
    exec_run_pump(j->run);
}

static void close_all(struct exec_job *j)
{
    uv_close((uv_handle_t *)&j->conn_poll, on_closed);
    uv_close((uv_handle_t *)&j->exit_poll, on_closed);
    uv_close((uv_handle_t *)&j->timeout, on_closed);
    uv_close((uv_handle_t *)&j->kill_timer, on_closed);
    if (j->out >= 0)
        uv_close((uv_handle_t *)&j->out_poll, on_closed);
}

/* ---- helpers that it asks for ---- */

static void on_build_exit(struct wh_build_process *p, int exit_code, int signum, void *arg)
{
    (void)p;
    struct exec_run *run = arg;
    run->helpers--;
    wh_log_debug("a builder ended with code %d, signal %d", exit_code, signum);
    exec_run_pump(run);
}

static void start_build(struct exec_job *j, struct wh_frame *frame)
{
    if (frame->nfds != 1)
        return;
    int channel = wh_steal_fd(&frame->fds[0]);
    const struct exec_place *place = j->run->place;
    struct wh_build_launch_options options = {.state = j->run->state,
                                              .job_uid = place->other ? place->user.uid : getuid(),
                                              .job_gid = place->other ? place->user.gid : getgid()};
    wh_autoerror err = {0};
    /* The channel is closed where it fails, and the client says that the build could not start; why is told
     * here. */
    if (wh_build_launch(&j->run->loop, &options, channel, on_build_exit, j->run, &err))
        j->run->helpers++;
    else
        exec_show_say(j->run->show, "the builder can't start: %s", wh_error_text(&err));
}

static void on_fetch_exit(struct wh_fetch_process *p, int exit_code, int signum, void *arg)
{
    (void)p;
    struct exec_run *run = arg;
    run->helpers--;
    wh_log_debug("a fetcher ended with code %d, signal %d", exit_code, signum);
    exec_run_pump(run);
}

static void start_fetch(struct exec_job *j, struct wh_frame *frame)
{
    if (frame->nfds != 1)
        return;
    int channel = wh_steal_fd(&frame->fds[0]);
    const struct exec_place *place = j->run->place;
    struct wh_fetch_options options = {.state = j->run->state,
                                       .job_uid = place->other ? place->user.uid : getuid(),
                                       .job_gid = place->other ? place->user.gid : getgid(),
                                       .facts = j->facts};
    wh_autoerror err = {0};
    if (wh_fetch_launch(&j->run->loop, &options, channel, on_fetch_exit, j->run, &err))
        j->run->helpers++;
    else
        exec_show_say(j->run->show, "%s", wh_error_text(&err));
}

/* ---- the worker ---- */

static void on_readable(uv_poll_t *handle, int status, int events);

static void watch(struct exec_job *j)
{
    int events = UV_READABLE | (wh_frame_conn_wants_write(j->conn) ? UV_WRITABLE : 0);
    uv_poll_start(&j->conn_poll, events, on_readable);
}

/* fd: goes with it; -1: none. */
static void send_frame(struct exec_job *j, const cJSON *frame, int fd)
{
    wh_autoerror err = {0};
    if (wh_frame_conn_send(j->conn, frame, &fd, fd >= 0, &err) < 0)
        wh_log_debug("to the worker: %s", wh_error_text(&err));
    else
        watch(j);
}

static void handle_frame(struct exec_job *j, struct wh_frame *frame)
{
    const char *type = wh_json_string(frame->json, "type");
    if (wh_streq(type, "build")) {
        start_build(j, frame);
    } else if (wh_streq(type, "fetch")) {
        start_fetch(j, frame);
    } else if (wh_streq(type, "done")) {
        free(j->word);
        j->word = wh_strdup(wh_json_string(frame->json, "result"));
    }
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct exec_job *j = handle->data;
    wh_autoerror err = {0};
    if (status == 0 && (events & UV_WRITABLE))
        (void)wh_frame_conn_flush(j->conn, NULL);
    for (;;) {
        wh_autoframe frame = {0};
        int n = status < 0 ? -1 : wh_frame_conn_recv(j->conn, &frame, &err);
        if (n < 0) {
            uv_poll_stop(handle);
            return;
        }
        if (n == 0)
            break;
        handle_frame(j, &frame);
    }
    watch(j);
}

/* At most so much at a time, so that one loud job does not hold the others up. */
static void on_output(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    struct exec_job *j = handle->data;
    char data[READ_SIZE];
    ssize_t n = read(j->out, data, sizeof data);
    if (n > 0)
        exec_show_bytes(j->shown, data, (size_t)n);
    else if (n == 0)
        uv_poll_stop(handle);
}

static void read_output(struct exec_job *j)
{
    char data[READ_SIZE];
    for (ssize_t n; j->out >= 0 && (n = read(j->out, data, sizeof data)) > 0;)
        exec_show_bytes(j->shown, data, (size_t)n);
}

static void on_worker_exit(uv_poll_t *handle, int status, int events)
{
    struct exec_job *j = handle->data;
    uv_poll_stop(handle);
    /* Its last frames may still wait in the socket, its last lines in the pipe. */
    on_readable(&j->conn_poll, status, events & ~UV_WRITABLE);
    if (wh_process_reap(&j->worker, &j->ended, NULL) == 0) {
        uv_poll_start(handle, UV_READABLE, on_worker_exit);
        return;
    }
    read_output(j);
    j->gone = true;
    wh_job_cgroup_destroy(&j->cgroup);
    close_all(j);
}

/* ---- cancelling ---- */

void exec_job_kill(struct exec_job *j)
{
    if (!j->gone)
        wh_process_signal_group(&j->worker, SIGKILL);
}

static void on_kill(uv_timer_t *timer)
{
    struct exec_job *j = timer->data;
    exec_show_say(j->run->show, "job '%s' does not end: it is killed", j->job->name);
    exec_job_kill(j);
}

void exec_job_cancel(struct exec_job *j)
{
    if (j->gone || j->canceled)
        return;
    j->canceled = true;
    wh_autojson *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "cancel");
    wh_json_add_string(frame, "reason", "user");
    wh_json_add_int(frame, "graceMs", KILL_AFTER_MS);
    send_frame(j, frame, -1);
    wh_timer_start(&j->kill_timer, on_kill, KILL_AFTER_MS, 0);
}

static void on_timeout(uv_timer_t *timer)
{
    struct exec_job *j = timer->data;
    exec_show_say(j->run->show, "job '%s' has run for %u minutes, its time is over", j->job->name,
                  j->job->timeout_minutes);
    exec_job_cancel(j);
}

/* ---- the start ---- */

static cJSON *make_frame(struct exec_job *j, const char *work, struct wh_error *err)
{
    const struct exec_run *run = j->run;
    cJSON *message = wh_graph_message(j->job, err);
    if (!message)
        return NULL;
    j->facts = wh_github_action_facts(message);
    cJSON *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "job");
    cJSON_AddItemToObject(frame, "message", message);
    cJSON_AddItemToObject(frame, "runner", exec_place_runner(work));
    cJSON *options = cJSON_AddObjectToObject(frame, "options");
    cJSON_AddBoolToObject(options, "local", true);
    cJSON_AddBoolToObject(options, "stepDebug", run->options->debug);
    wh_json_add_string(options, "localRepository", run->repository);
    wh_json_add_string(options, "localLines", run->style == EXEC_RAW ? NULL : "tagged");
    wh_json_add_string(options, "nativeOff", run->options->native_off);
    j->service = exec_serve_job(j->run, frame);
    return frame;
}

static void set_process(struct exec_job *j, struct wh_process_options *o)
{
    const struct exec_place *place = j->run->place;
    o->new_group = true; /* a terminal's interrupt comes to us alone */
    o->death_signal = SIGKILL;
    o->cwd = "/";
    if (place->other) {
        o->set_ids = true;
        o->uid = place->user.uid;
        o->gid = place->user.gid;
        o->groups = place->user.groups;
        o->ngroups = place->user.ngroups;
    }
    if (wh_job_cgroup_create(place->other ? place->user.uid : geteuid(),
                             place->other ? place->user.gid : getegid(), &j->cgroup))
        o->cgroups[o->ncgroups++] = j->cgroup.fd;
}

static int spawn(struct exec_job *j, const char *work, struct wh_error *err)
{
    int pair[2];
    int lines[2] = {-1, -1};
    if (wh_frame_pair(pair, err) < 0)
        return -1;
    j->conn = wh_frame_conn_new(pair[0]);
    wh_frame_conn_limit(j->conn, WH_MAX_WORKER_FRAME);
    wh_autoclose int control = pair[1];
    if (j->run->style != EXEC_RAW && wh_pipe(lines, true, err) < 0)
        return -1;
    j->out = lines[0];
    wh_autoclose int end = lines[1];
    wh_autostrv char **env = exec_place_environment(j->run->options, j->run->place, work);
    char *argv[] = {"wherry", "worker", NULL};
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.path = j->run->self;
    options.argv = argv;
    options.env = env;
    options.stdout_fd = end >= 0 ? end : STDOUT_FILENO;
    options.stderr_fd = j->run->style == EXEC_TTY ? end : STDERR_FILENO;
    options.fds[options.nfds++] = (struct wh_process_fd){.fd = control, .as = 3};
    set_process(j, &options);
    return wh_process_spawn(&options, &j->worker, err);
}

static void watch_all(struct exec_job *j)
{
    uv_loop_t *loop = &j->run->loop;
    uv_poll_init(loop, &j->conn_poll, wh_frame_conn_fd(j->conn));
    uv_poll_init(loop, &j->exit_poll, j->worker.pidfd);
    uv_timer_init(loop, &j->timeout);
    uv_timer_init(loop, &j->kill_timer);
    j->conn_poll.data = j->exit_poll.data = j->timeout.data = j->kill_timer.data = j->out_poll.data = j;
    j->handles = 4;
    if (j->out >= 0) {
        uv_poll_init(loop, &j->out_poll, j->out);
        uv_poll_start(&j->out_poll, UV_READABLE, on_output);
        j->handles++;
    }
    uv_poll_start(&j->exit_poll, UV_READABLE, on_worker_exit);
    if (j->job->timeout_minutes > 0)
        wh_timer_start(&j->timeout, on_timeout, (uint64_t)j->job->timeout_minutes * 60000, 0);
    watch(j);
}

static int log_file(const struct exec_job *j, struct wh_error *err)
{
    const char *folder = j->run->options->logs;
    if (!folder)
        return -1;
    wh_autofree char *name = wh_strdup(j->job->name);
    for (char *p = name; *p; p++)
        if (*p == '/' || (unsigned char)*p < ' ' || *p == 0x7f)
            *p = '_';
    if (name[0] == '.')
        name[0] = '_';
    wh_autofree char *path = wh_printf("%s/%.200s.log", folder, name);
    if (wh_mkdir_p(folder, 0755, err) < 0)
        return -1;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        wh_fail_errno(err, "write the log %s", path);
    return fd;
}

static int start(struct exec_job *j, struct wh_error *err)
{
    wh_autofree char *work = NULL;
    j->slot = exec_place_slot(j->run->place, &work, err);
    if (j->slot < 0)
        return -1;
    j->result = memfd_create("result", MFD_CLOEXEC);
    if (j->result < 0)
        return wh_fail_errno(err, "make memory for a result");
    j->frame = make_frame(j, work, err);
    if (!j->frame || spawn(j, work, err) < 0)
        return -1;
    wh_autoerror log_error = {0};
    int log = log_file(j, &log_error);
    if (log_error.code != WH_OK)
        exec_show_say(j->run->show, "%s", wh_error_text(&log_error));
    j->shown = exec_show_start(j->run->show, j->job->name, log);
    watch_all(j);
    send_frame(j, j->frame, j->result);
    cJSON_Delete(wh_steal(&j->frame));
    return 0;
}

/* Labels are GitHub's way to choose a machine; here there is one. */
static bool is_here(const char *label)
{
    struct wh_view arch = wh_view_of(exec_place_arch());
    bool this_arch = arch.len == strlen(label) && wh_strcmp_ci(arch.data, label, arch.len) == 0;
    return this_arch || label[0] == '\0' || wh_streq_ci(label, "self-hosted") ||
           wh_streq_ci(label, "linux") ||
           (wh_starts_with_ci(label, "ubuntu-") && !wh_ends_with(label, "-arm")) ||
           (wh_starts_with_ci(label, "ubuntu-") && wh_streq(exec_place_arch(), "ARM64"));
}

static void say_labels(struct exec_run *run, const struct wh_graph_job *job)
{
    wh_autostrv char **labels = wh_strv_split(job->runs_on ? job->runs_on : "", ',');
    wh_autostr others = {0};
    for (size_t i = 0; labels[i]; i++) {
        wh_autofree char *label = wh_view_dup(wh_view_trim(wh_view_of(labels[i])));
        if (!is_here(label) && !wh_strv_has(run->labels, label)) {
            wh_strv_add(&run->labels, label); /* each is told once */
            wh_str_addf(&others, "%s%s", others.len > 0 ? ", " : "", label);
        }
    }
    if (others.len > 0 && !run->options->quiet)
        exec_show_say(run->show,
                      "note: job '%s' asks for a machine with the label %s; it runs here all the same",
                      job->name, wh_str_text(&others));
}

void exec_job_start(struct exec_run *run, struct wh_graph_job *job)
{
    struct exec_job *j = wh_calloc(1, sizeof *j);
    *j = (struct exec_job){.run = run,
                           .job = job,
                           .worker = WH_PROCESS_NONE,
                           .cgroup = WH_JOB_CGROUP_NONE,
                           .slot = -1,
                           .out = -1,
                           .result = -1,
                           .started = wh_mono_ns()};
    wh_autoerror err = {0};
    wh_graph_start(job);
    say_labels(run, job);
    if (start(j, &err) == 0) {
        job->user = j;
        run->jobs = wh_reallocarray(run->jobs, run->njobs + 1, sizeof(void *));
        run->jobs[run->njobs++] = j;
        run->running++;
        return;
    }
    exec_show_note(run->show, job->name, WH_GRAPH_FAILURE, wh_error_text(&err));
    wh_graph_fail(job, wh_error_text(&err));
    j->gone = true;
    exec_job_free(j);
}

void exec_job_free(struct exec_job *j)
{
    wh_job_cgroup_destroy(&j->cgroup);
    wh_frame_conn_free(j->conn);
    wh_github_action_facts_free(j->facts);
    cJSON_Delete(j->frame);
    wh_close_fd(&j->slot);
    wh_close_fd(&j->out);
    wh_close_fd(&j->result);
    free(j->word);
    exec_serve_job_end(j->run, j->service);
    free(j->service);
    free(j);
}
