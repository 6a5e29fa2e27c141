/* The runtime's life: it stays in the foreground while the container runs, and its exit code is the RUN's.
 * The container's first process is known by the pid file, and killed on a cancel: all others of the container
 * die with it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/json.h"
#include "wherry/base/log.h"
#include "wherry/platform/cgroup.h"
#include "wherry/platform/clone.h"
#include "wherry/platform/process.h"

#define OUTPUT_BUFFER 65536
#define MAX_RUNTIME_LOG ((size_t)256 << 10)
#define START_CANCEL_MS                                                                                      \
    10000                /* how long a start may go on after a cancel before the runtime itself is killed */
#define CANCEL_TURN_MS 5 /* how often the pid file of a start that was canceled is looked for */
#define TAIL_SIZE 512    /* of standard error, to see what the runtime said itself */
#define DRAIN_MS 1000    /* how long output may be open after the last process is gone */

struct running {
    const struct wh_bundle *bundle;
    int out[2];    /* reading ends of stream 1 and 2; -1 at end of file */
    pid_t runtime; /* 0: reaped */
    int runtime_fd;
    int status; /* the runtime's end, as waitpid() gives it */
    bool canceled;
    bool killed; /* the container, after a cancel */
    uint64_t cancel_deadline;
    int leaf; /* cgroup v2 */
    char leaf_name[32];
    int64_t oom_before;
    char tail[TAIL_SIZE + 1]; /* of standard error */
};

/* ---- start ---- */

static char **runtime_argv(const struct wh_bundle *b)
{
    char **argv = NULL;
    const char *slash = strrchr(b->box, '/');
    wh_strv_add(&argv, b->container->runtime);
    wh_strv_take(&argv, wh_printf("--root=%s/state", b->box));
    wh_strv_take(&argv, wh_printf("--log=%s/log", b->box));
    /* crun writes an exec's failure to standard error in the log's format: a user shall read text. */
    wh_strv_add(&argv, b->container->is_crun ? "--log-format=text" : "--log-format=json");
    if (b->container->is_crun)
        wh_strv_add(&argv, "--cgroup-manager=disabled");
    wh_strv_add(&argv, "run");
    wh_strv_add(&argv, "--no-new-keyring");
    wh_strv_take(&argv, wh_printf("--bundle=%s", b->box));
    wh_strv_take(&argv, wh_printf("--pid-file=%s/pid", b->box));
    wh_strv_add(&argv, slash ? slash + 1 : b->box);
    return argv;
}

static _Noreturn void exec_runtime(const char *path, char *const *argv, char *const *env, int out, int errors)
{
    static const char failed[] = "the container runtime could not be started\n";
    const int ends[] = {out, errors};
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0 && dup2(null, 0) == 0 && wh_child_place_fds(ends, 2, 3) == 0 && dup2(3, 1) == 1 &&
        dup2(4, 2) == 2) {
        (void)close(3);
        (void)close(4);
        (void)execve(path, argv, env);
    }
    (void)!write(2, failed, sizeof failed - 1);
    _exit(127);
}

/* Straight into the RUN's own group, where there is one. */
static int spawn_in_leaf(struct running *r, char *const *argv, char *const *env, int out, int errors,
                         struct wh_error *err)
{
    r->runtime = wh_clone3(0, r->leaf, &r->runtime_fd);
    if (r->runtime == 0)
        exec_runtime(argv[0], argv, env, out, errors);
    if (r->runtime < 0) {
        r->runtime = 0;
        return wh_fail_errno(err, "start %s", argv[0]);
    }
    return 0;
}

static int spawn_plain(struct running *r, char *const *argv, char *const *env, int out, int errors,
                       struct wh_error *err)
{
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    struct wh_process process;
    options.path = argv[0];
    options.argv = argv;
    options.env = env;
    options.stdout_fd = out;
    options.stderr_fd = errors;
    if (wh_process_spawn(&options, &process, err) < 0)
        return -1;
    r->runtime = process.pid;
    r->runtime_fd = process.pidfd;
    return 0;
}

static int make_leaf(struct running *r, struct wh_error *err)
{
    static atomic_uint counter;
    int v2 = r->bundle->container->cgroup_v2;
    if (v2 < 0)
        return 0;
    (void)snprintf(r->leaf_name, sizeof r->leaf_name, "run-%u", atomic_fetch_add(&counter, 1));
    r->leaf = wh_cgroup_leaf_create(v2, r->leaf_name, err);
    return r->leaf < 0 ? -1 : 0;
}

static int start(struct running *r, struct wh_error *err)
{
    wh_autostrv char **argv = runtime_argv(r->bundle);
    char *env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    int out[2];
    int errors[2];
    r->oom_before = wh_cgroup_oom_kills(-1, r->bundle->container->cgroup_v1_memory);
    if (make_leaf(r, err) < 0 || wh_pipe(out, true, err) < 0)
        return -1;
    r->out[0] = out[0];
    if (wh_pipe(errors, true, err) < 0) {
        (void)close(out[1]);
        return -1;
    }
    r->out[1] = errors[0];
    int result = r->leaf >= 0 ? spawn_in_leaf(r, argv, env, out[1], errors[1], err)
                              : spawn_plain(r, argv, env, out[1], errors[1], err);
    (void)close(out[1]);
    (void)close(errors[1]);
    return result;
}

/* ---- while it runs ---- */

/* Keeps the end of standard error. */
static void keep_tail(struct running *r, const char *data, size_t len)
{
    size_t have = strlen(r->tail);
    size_t take = WH_MIN(len, TAIL_SIZE);
    size_t stay = WH_MIN(have, TAIL_SIZE - take);
    memmove(r->tail, r->tail + have - stay, stay);
    memcpy(r->tail + stay, data + len - take, take);
    r->tail[stay + take] = '\0';
}

/* Hands on what is there; closes the pipe at its end. */
static void take_output(struct running *r, int stream)
{
    const struct wh_run_spec *spec = r->bundle->spec;
    static _Thread_local char buffer[OUTPUT_BUFFER];
    ssize_t len;
    do
        len = read(r->out[stream], buffer, sizeof buffer);
    while (len < 0 && errno == EINTR);
    if (len > 0) {
        if (stream == 1)
            keep_tail(r, buffer, (size_t)len);
        if (spec->on_output)
            spec->on_output(spec->arg, stream + 1, buffer, (size_t)len);
    } else if (len == 0 || errno != EAGAIN) {
        (void)close(wh_steal_fd(&r->out[stream]));
    }
}

static bool output_open(const struct running *r)
{
    return r->out[0] >= 0 || r->out[1] >= 0;
}

/* The container's first process, by the pid file; 0: not started yet. Its number can't be another's: while
 * the runtime lives it is the runtime's child, and after that ours. */
static pid_t container_pid(const struct running *r)
{
    wh_autofree char *path = wh_path_join(r->bundle->box, "pid");
    wh_autostr text = {0};
    uint64_t pid;
    if (wh_read_file(AT_FDCWD, path, 32, &text, NULL) < 0)
        return 0;
    while (text.len > 0 && text.data[text.len - 1] == '\n')
        wh_str_truncate(&text, text.len - 1);
    return wh_parse_u64(wh_str_text(&text), INT32_MAX, &pid) && pid > 1 ? (pid_t)pid : 0;
}

/* Again and again until the runtime is gone: a container that was just being started has no pid yet. */
static void kill_container(struct running *r)
{
    pid_t pid = r->killed ? 0 : container_pid(r);
    if (pid > 0) {
        (void)kill(pid, SIGKILL);
        r->killed = true;
    }
    if (wh_machine_ms() >= r->cancel_deadline) {
        (void)kill(r->runtime, SIGKILL);
        if (r->leaf >= 0)
            (void)wh_cgroup_kill(r->leaf, NULL);
    }
}

/* A runtime that was killed (by the kernel, for want of memory), or canceled as it started, leaves its
 * container to us. */
static void kill_orphan(const struct running *r)
{
    pid_t pid = WIFSIGNALED(r->status) || r->canceled ? container_pid(r) : 0;
    siginfo_t info;
    if (pid <= 0 || waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return; /* none, or not our child: gone with the runtime */
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static void runtime_ended(struct running *r)
{
    if (waitpid(r->runtime, &r->status, WNOHANG) <= 0)
        return;
    r->runtime = 0;
    (void)close(wh_steal_fd(&r->runtime_fd));
    kill_orphan(r);
}

enum { AT_OUT, AT_ERRORS, AT_RUNTIME, AT_CANCEL, AT_COUNT };

static int turn(struct running *r, int timeout, struct wh_error *err)
{
    struct pollfd fds[AT_COUNT] = {
        [AT_OUT] = {.fd = r->out[0], .events = POLLIN},
        [AT_ERRORS] = {.fd = r->out[1], .events = POLLIN},
        [AT_RUNTIME] = {.fd = r->runtime_fd, .events = POLLIN},
        [AT_CANCEL] = {.fd = r->canceled ? -1 : r->bundle->spec->cancel_fd, .events = POLLIN},
    };
    int n = poll(fds, AT_COUNT, timeout);
    if (n < 0 && errno != EINTR)
        return wh_fail_errno(err, "wait for the container");
    if (n <= 0)
        return 0;
    if (fds[AT_CANCEL].revents != 0) {
        r->canceled = true;
        r->cancel_deadline = wh_machine_ms() + START_CANCEL_MS;
    }
    for (int stream = 0; stream < 2; stream++)
        if (fds[stream].revents != 0)
            take_output(r, stream);
    if (fds[AT_RUNTIME].revents != 0)
        runtime_ended(r);
    return 0;
}

static int follow(struct running *r, struct wh_error *err)
{
    while (r->runtime > 0) {
        if (r->canceled)
            kill_container(r);
        if (turn(r, r->canceled ? CANCEL_TURN_MS : -1, err) < 0)
            return -1;
    }
    uint64_t deadline = wh_machine_ms() + DRAIN_MS;
    for (uint64_t now; output_open(r) && (now = wh_machine_ms()) < deadline;)
        if (turn(r, (int)(deadline - now), err) < 0)
            return -1;
    return 0;
}

/* ---- the end ---- */

/* runc's line: {"level":"error","msg":"..."}. Owned; NULL if it is no error. */
static char *json_error(struct wh_view line)
{
    wh_autojson *object = wh_json_parse(line.data, line.len, MAX_RUNTIME_LOG, "the runtime's log", NULL);
    const char *level = object ? wh_json_string(object, "level") : NULL;
    const char *message = object ? wh_json_string(object, "msg") : NULL;
    return message && (wh_streq(level, "error") || wh_streq(level, "fatal")) ? wh_strdup(message) : NULL;
}

/* crun's line: "2026-11-24T14:25:11.420585Z: message"; it logs errors only. */
static char *text_error(struct wh_view line)
{
    struct wh_view time;
    struct wh_view message;
    if (wh_view_split(line, ' ', &time, &message) && time.len > 2 && time.data[time.len - 1] == ':' &&
        time.data[time.len - 2] == 'Z')
        return wh_view_dup(message);
    return line.len > 0 ? wh_view_dup(line) : NULL;
}

/* The runtime's last error, from its log. */
static char *runtime_message(const struct wh_bundle *b)
{
    wh_autofree char *path = wh_path_join(b->box, "log");
    wh_autostr text = {0};
    if (wh_read_file(AT_FDCWD, path, MAX_RUNTIME_LOG, &text, NULL) < 0)
        return NULL;
    struct wh_reader reader = wh_reader_of(text.data, text.len);
    struct wh_view line;
    char *last = NULL;
    while (wh_reader_line(&reader, &line)) {
        char *message = b->container->is_crun ? text_error(line) : json_error(line);
        if (!message)
            continue;
        free(last);
        last = message;
    }
    return last;
}

/* A program that is not there, or no program, is the RUN's failure and not ours. */
static bool is_program_fault(const char *message)
{
    static const char *const signs[] = {
        "executable file", "exec format error", "Exec format error",      "exec: ",
        "stat `",          "open executable",   "exec container process", "is not executable"};
    for (size_t i = 0; i < WH_COUNT(signs); i++)
        if (strstr(message, signs[i]))
            return true;
    return false;
}

static int start_failed(const struct running *r, const char *message, struct wh_run_result *result,
                        struct wh_error *err)
{
    const struct wh_run_spec *spec = r->bundle->spec;
    const char *slash = strrchr(r->bundle->container->runtime, '/');
    const char *name = slash ? slash + 1 : r->bundle->container->runtime;
    if (!is_program_fault(message))
        return wh_fail(err, WH_E_FAILED, "%s could not start the container: %s", name, message);
    wh_autofree char *line = wh_printf("%s: %s\n", name, message);
    /* Some versions say it on standard error as well. */
    if (spec->on_output && !strstr(r->tail, message))
        spec->on_output(spec->arg, 2, line, strlen(line));
    result->exit_code = 1;
    return 0;
}

static bool saw_oom(const struct running *r)
{
    if (r->leaf >= 0)
        return wh_cgroup_oom_kills(r->leaf, -1) > 0;
    int64_t after = wh_cgroup_oom_kills(-1, r->bundle->container->cgroup_v1_memory);
    return r->oom_before >= 0 && after > r->oom_before;
}

static int conclude(const struct running *r, struct wh_run_result *result, struct wh_error *err)
{
    *result = (struct wh_run_result){0};
    if (r->canceled)
        return wh_fail(err, WH_E_CANCELED, "canceled");
    wh_autofree char *message = runtime_message(r->bundle);
    if (message)
        return start_failed(r, message, result, err);
    result->oom = saw_oom(r);
    result->exit_code = WIFSIGNALED(r->status) ? 128 + WTERMSIG(r->status) : WEXITSTATUS(r->status);
    return 0;
}

/* After an error of our own nothing may be left running. */
static void stop(struct running *r)
{
    if (r->runtime > 0) {
        r->canceled = true;
        r->cancel_deadline = wh_machine_ms() + START_CANCEL_MS;
        while (r->runtime > 0) {
            kill_container(r);
            (void)poll(NULL, 0, CANCEL_TURN_MS);
            runtime_ended(r);
        }
    }
    int *const fds[] = {&r->out[0], &r->out[1], &r->runtime_fd};
    for (size_t i = 0; i < WH_COUNT(fds); i++)
        if (*fds[i] >= 0)
            (void)close(wh_steal_fd(fds[i]));
    if (r->leaf >= 0)
        wh_cgroup_leaf_destroy(r->bundle->container->cgroup_v2, r->leaf_name, wh_steal_fd(&r->leaf));
}

int wh_runtime_run(const struct wh_bundle *b, struct wh_run_result *result, struct wh_error *err)
{
    struct running r = {
        .bundle = b,
        .out = {-1, -1},
        .runtime_fd = -1,
        .leaf = -1,
    };
    int done = start(&r, err) < 0 || follow(&r, err) < 0 ? -1 : conclude(&r, result, err);
    stop(&r);
    return done;
}
