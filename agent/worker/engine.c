/* The worker's side of the job's engine of containers: started when first needed, asked by helpers, so that
 * the loop turns meanwhile (agent/build/engine.h). */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/base/log.h"
#include "wherry/build/engine.h"
#include "worker/job.h"

#define MAX_RESULT ((size_t)16 << 20)

static int start_engine(struct wh_job *j, int listener, struct wh_error *err)
{
    int pair[2];
    if (wh_frame_pair(pair, err) < 0)
        return -1;
    wh_autojson *request = cJSON_CreateObject();
    wh_json_add_string(request, "type", "build");
    wh_job_send(j, request, &pair[1], 1);
    (void)close(pair[1]);
    j->engine_channel = pair[0];
    wh_autojson *first = cJSON_CreateObject();
    wh_json_add_string(first, "type", "engine");
    return wh_frame_send(j->engine_channel, first, &listener, 1, err);
}

static void drop_listener(struct wh_job *j)
{
    if (j->engine_listener < 0)
        return;
    (void)uv_poll_stop(&j->engine_poll);
    uv_close((uv_handle_t *)&j->engine_poll, NULL);
    wh_close_fd(&j->engine_listener);
    j->engine_listener = -1;
}

/* Somebody in the job called `docker`. */
static void on_caller(uv_poll_t *poll, int status, int events)
{
    struct wh_job *j = poll->data;
    wh_autoerror err = {0};
    (void)status;
    (void)events;
    if (start_engine(j, j->engine_listener, &err) < 0)
        wh_log_warning("the job's engine of containers: %s", wh_error_text(&err));
    drop_listener(j);
}

/* `docker` for the job, where the machine has none: this program by another name. */
static void offer_command(struct wh_job *j, const char *folder)
{
    const char *path = wh_env_get(j->base_env, "PATH");
    wh_autofree char *there = wh_find_program("docker", path, false);
    wh_autofree char *self = wh_self_path();
    if (there || wh_containers_by_docker() || !self || access(self, X_OK) < 0)
        return;
    wh_autofree char *bin = wh_path_join(folder, "bin");
    wh_autofree char *link = wh_path_join(bin, "docker");
    if (wh_mkdir_p(bin, 0755, NULL) < 0 || symlink(self, link) < 0)
        return;
    wh_autofree char *longer = wh_printf("%s:%s", path ? path : "", bin);
    wh_env_set(&j->base_env, "PATH", longer);
}

void wh_engine_offer(struct wh_job *j)
{
    wh_autofree char *folder = wh_path_join(j->dirs.temp, "_engine");
    wh_autofree char *path = wh_path_join(folder, "sock");
    wh_autoerror err = {0};
    if (wh_mkdir_p(folder, 0755, &err) == 0)
        j->engine_listener = wh_engine_listen(path, &err);
    if (j->engine_listener < 0) {
        wh_log_warning("the job's engine of containers: %s", wh_error_text(&err));
        return;
    }
    uv_poll_init(&j->loop, &j->engine_poll, j->engine_listener);
    j->engine_poll.data = j;
    (void)uv_poll_start(&j->engine_poll, UV_READABLE, on_caller);
    wh_env_set(&j->base_env, WH_ENGINE_VARIABLE, path);
    j->engine = wh_steal(&path);
    offer_command(j, folder);
}

int wh_engine_ensure(struct wh_job *j, struct wh_error *err)
{
    if (!j->engine)
        return wh_fail(err, WH_E_FAILED,
                       "no engine of containers can be started: its socket could not be made");
    if (j->engine_channel >= 0)
        return 0;
    int n = start_engine(j, j->engine_listener, err);
    drop_listener(j);
    return n;
}

/* ---- helpers ---- */

static cJSON *read_result(int fd)
{
    wh_autostr text = {0};
    if (lseek(fd, 0, SEEK_SET) < 0 || wh_read_fd(fd, MAX_RESULT, "result", &text, NULL) < 0 || text.len == 0)
        return NULL;
    return wh_json_parse(text.data, text.len, MAX_RESULT, "result", NULL);
}

int wh_helper_run(struct wh_job *j, int (*fn)(void *), void *data, cJSON **result, struct wh_error *err)
{
    wh_autoclose int memory = memfd_create("result", MFD_CLOEXEC);
    if (memory < 0)
        return wh_fail_errno(err, "make a file in memory");
    char *name[] = {"wherry: containers", NULL};
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.argv = name;
    options.env = j->base_env;
    options.cwd = j->dirs.workspace;
    options.fds[options.nfds++] = (struct wh_process_fd){.fd = memory, .as = WH_HELPER_RESULT_FD};
    struct wh_child_events events = {.line = wh_say_line, .data = j};
    struct wh_child *child = wh_child_start(&j->loop, &options, fn, data, &events, NULL, err);
    if (!child)
        return -1;
    while (!wh_child_finished(child)) {
        wh_job_turn(j);
        if (j->cancel != WH_CANCEL_NONE)
            wh_child_cancel(child);
    }
    int code = wh_child_exit(child)->code;
    wh_child_free(child);
    if (result)
        *result = read_result(memory);
    return code;
}

struct question {
    const char *engine;
    const cJSON *request;
};

/* The engine gets the step's standard output and error; the step's code is the container's. */
static int step_main(void *data)
{
    const struct question *q = data;
    wh_autoerror err = {0};
    wh_autojson *result = NULL;
    const int fds[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
    bool is_exec = wh_streq(wh_json_string(q->request, "type"), "exec");
    wh_engine_signals();
    wh_autoclose int sock = wh_engine_connect(q->engine, &err);
    if (sock >= 0 &&
        wh_engine_call(sock, q->request, is_exec ? fds : fds + 1, is_exec ? 3 : 2, &result, &err) == 0) {
        if (wh_json_bool(result, "oom", false))
            puts("::warning::Out of memory: the kernel killed a process of this container for want of "
                 "memory.");
        return (int)wh_json_int(result, "code", 0);
    }
    wh_action_error("%s", wh_error_text(&err));
    return 125;
}

/* A helper's ::error:: is not acted upon: it is no step's output. */
static int ask_main(void *data)
{
    const struct question *q = data;
    wh_autoerror err = {0};
    wh_autojson *result = NULL;
    wh_engine_signals();
    wh_autoclose int sock = wh_engine_connect(q->engine, &err);
    if (sock < 0 || wh_engine_call(sock, q->request, NULL, 0, &result, &err) < 0) {
        result = cJSON_CreateObject();
        wh_json_add_string(result, "error", wh_error_text(&err));
    }
    wh_autofree char *text = wh_json_print(result);
    return wh_write_all(WH_HELPER_RESULT_FD, text, strlen(text), NULL) < 0;
}

int wh_engine_ask(struct wh_job *j, const cJSON *request, cJSON **result, struct wh_error *err)
{
    if (wh_engine_ensure(j, err) < 0)
        return -1;
    struct question q = {.engine = j->engine, .request = request};
    wh_autojson *answer = NULL;
    int code = wh_helper_run(j, ask_main, &q, &answer, err);
    const char *error = wh_json_string(answer, "error");
    if (code < 0)
        return -1;
    if (!answer)
        return wh_fail(err, WH_E_FAILED, "the engine of this job's containers gave no answer");
    if (error)
        return wh_fail(err, WH_E_FAILED, "%s", error);
    if (result)
        *result = wh_steal(&answer);
    return 0;
}

struct wh_child *wh_engine_step(struct wh_job *j, const cJSON *request, struct wh_error *err)
{
    if (wh_engine_ensure(j, err) < 0)
        return NULL;
    struct question q = {.engine = j->engine, .request = request};
    char *name[] = {"wherry: container", NULL};
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.argv = name;
    options.env = j->base_env;
    options.cwd = j->dirs.workspace;
    return wh_run_child(j, &options, step_main, &q, err);
}
