/* Starting `wherry serve`, keeping it while there are jobs, and telling it of them. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uthash.h>

#include "wherry/base/clock.h"
#include "wherry/base/frame.h"
#include "wherry/base/log.h"
#include "wherry/build/launch.h"
#include "wherry/net/child_env.h"
#include "wherry/net/later.h"
#include "wherry/platform/process.h"
#include "wherry/serve/serve.h"

#define BACKLOG 512
#define AGAIN_MIN_MS 100
#define AGAIN_MAX_MS 10000
#define STEADY_MS 60000 /* a process that lived so long is started again at once */

struct job {
    char *id;
    cJSON *rights;
    UT_hash_handle hh;
};

struct wh_serve {
    uv_loop_t *loop;
    char *state, *origin;
    uid_t uid;
    gid_t gid;
    enum wh_serve_artifacts artifacts;
    uint64_t repository_max;
    int listener;
    struct job *jobs;
    struct wh_process process;
    struct wh_frame_conn *conn;
    uv_poll_t *exit_poll, *write_poll;
    struct wh_later *later, *idle;
    uint64_t started_ms, again_ms;
};

static int listen_local(struct wh_serve *s, struct wh_error *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listener < 0 || bind(s->listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(s->listener, BACKLOG) < 0 || getsockname(s->listener, (struct sockaddr *)&address, &len) < 0)
        return wh_fail_errno(err, "open a port for the cache service on the loopback");
    s->origin = wh_printf("http://127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    return 0;
}

struct wh_serve *wh_serve_new(uv_loop_t *loop, const struct wh_serve_options *o, struct wh_error *err)
{
    struct wh_serve *s = wh_calloc(1, sizeof(*s));
    s->loop = loop;
    s->state = wh_strdup(o->state);
    s->uid = o->job_uid;
    s->gid = o->job_gid;
    s->artifacts = o->artifacts;
    s->repository_max = o->repository_max;
    s->process = WH_PROCESS_NONE;
    if (listen_local(s, err) < 0) {
        wh_close_fd(&s->listener);
        free(s->state);
        free(s);
        return NULL;
    }
    return s;
}

pid_t wh_serve_pid(const struct wh_serve *s)
{
    return s ? s->process.pid : 0;
}

/* ---- the process ---- */

/* Nothing of the user's, and no secret. */
static int spawn(struct wh_serve *s, int channel, struct wh_error *err)
{
    char *argv[] = {"wherry", "serve", NULL};
    static const char *const more[] = {"JOURNAL_STREAM", NULL};
    wh_autostrv char **env = wh_net_child_env(more);
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.path = "/proc/self/exe";
    o.argv = argv;
    o.env = env;
    o.cwd = "/";
    o.stderr_fd = STDERR_FILENO;
    o.fds[0] = (struct wh_process_fd){.fd = channel, .as = WH_SERVE_CHANNEL_FD};
    o.nfds = 1;
    o.new_group = true;
    o.death_signal = SIGKILL;
    o.umask = 077;
    return wh_process_spawn(&o, &s->process, err);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void drop_poll(uv_poll_t **poll)
{
    if (*poll) {
        (void)uv_poll_stop(*poll);
        uv_close((uv_handle_t *)*poll, on_closed);
    }
    *poll = NULL;
}

static void hang_up(struct wh_serve *s)
{
    drop_poll(&s->write_poll);
    wh_frame_conn_free(s->conn);
    s->conn = NULL;
}

static void on_writable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct wh_serve *s = poll->data;
    wh_autoerror err = {0};
    if (wh_frame_conn_flush(s->conn, &err) < 0)
        hang_up(s); /* its exit tells the rest */
    else if (!wh_frame_conn_wants_write(s->conn))
        (void)uv_poll_stop(poll);
}

static int tell(struct wh_serve *s, const cJSON *frame, const int *fds, size_t nfds, struct wh_error *err)
{
    if (!s->conn)
        return 0;
    if (wh_frame_conn_send(s->conn, frame, fds, nfds, err) < 0)
        return wh_wrap(err, "tell the cache service");
    if (wh_frame_conn_wants_write(s->conn))
        uv_poll_start(s->write_poll, UV_WRITABLE, on_writable);
    return 0;
}

static int launch(struct wh_serve *s, struct wh_error *err);

static void start(void *data)
{
    struct wh_serve *s = data;
    wh_autoerror err = {0};
    if (launch(s, &err) == 0)
        return;
    wh_log_error("cache service: %s", wh_error_text(&err));
    s->again_ms = WH_MIN(WH_MAX(s->again_ms * 2, (uint64_t)AGAIN_MIN_MS), (uint64_t)AGAIN_MAX_MS);
    wh_later(&s->later, s->loop, s->again_ms, start, s);
}

static void on_exit_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct wh_serve *s = poll->data;
    struct wh_process_exit how = {0};
    if (wh_process_reap(&s->process, &how, NULL) == 0)
        return;
    s->process = WH_PROCESS_NONE;
    drop_poll(&s->exit_poll);
    hang_up(s);
    if (!s->jobs)
        return;
    s->again_ms = wh_mono_ms() - s->started_ms > STEADY_MS ? 0 : s->again_ms;
    s->again_ms = WH_MIN(WH_MAX(s->again_ms * 2, (uint64_t)AGAIN_MIN_MS), (uint64_t)AGAIN_MAX_MS);
    wh_log_warning("the cache service ended (%s %d) while jobs run; it is started again",
                   how.signal ? "signal" : "exit code", how.signal ? how.signal : how.code);
    wh_later(&s->later, s->loop, s->again_ms, start, s);
}

static int send_launch(struct wh_serve *s, struct wh_error *err)
{
    uid_t uid;
    gid_t gid;
    if (wh_build_state_owner(s->state, s->uid, s->gid, &uid, &gid, err) < 0)
        return -1;
    wh_autoclose int state = open(s->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (state < 0)
        return wh_fail_errno(err, "open the state folder %s", s->state);
    wh_autojson *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "launch");
    wh_json_add_string(frame, "state", s->state);
    wh_json_add_string(frame, "origin", s->origin);
    wh_json_add_int(frame, "repositoryMax", (int64_t)s->repository_max);
    wh_json_add_string(frame, "artifacts", s->artifacts == WH_ARTIFACTS_LOCAL ? "local" : "auto");
    /* Those that run know no other port: their next call must not come before their rights. */
    cJSON *jobs = cJSON_AddArrayToObject(frame, "jobs");
    for (const struct job *j = s->jobs; j; j = j->hh.next)
        cJSON_AddItemToArray(jobs, cJSON_Duplicate(j->rights, true));
    const int fds[] = {state, s->listener};
    return tell(s, frame, fds, WH_COUNT(fds), err);
}

static int launch(struct wh_serve *s, struct wh_error *err)
{
    int pair[2];
    if (wh_frame_pair(pair, err) < 0)
        return -1;
    int n = spawn(s, pair[1], err);
    (void)close(pair[1]);
    if (n < 0) {
        (void)close(pair[0]);
        s->process = WH_PROCESS_NONE;
        return wh_wrap(err, "start the cache service");
    }
    s->started_ms = wh_mono_ms();
    s->conn = wh_frame_conn_new(pair[0]);
    s->exit_poll = wh_calloc(1, sizeof(*s->exit_poll));
    s->write_poll = wh_calloc(1, sizeof(*s->write_poll));
    s->exit_poll->data = s->write_poll->data = s;
    uv_poll_init(s->loop, s->exit_poll, s->process.pidfd);
    uv_poll_init(s->loop, s->write_poll, wh_frame_conn_fd(s->conn));
    uv_poll_start(s->exit_poll, UV_READABLE, on_exit_poll);
    if (send_launch(s, err) < 0) {
        wh_process_signal(&s->process, SIGKILL); /* and its exit starts it again */
        return wh_wrap(err, "start the cache service");
    }
    return 0;
}

/* ---- jobs ---- */

static const char *token_of(const cJSON *message)
{
    const cJSON *endpoint;
    cJSON_ArrayForEach(endpoint, wh_json_get(wh_json_get(message, "resources"), "endpoints"))
    {
        if (wh_streq_ci(wh_json_string(endpoint, "name"), "SystemVssConnection"))
            return wh_json_string(wh_json_get(wh_json_get(endpoint, "authorization"), "parameters"),
                                  "AccessToken");
    }
    return NULL;
}

static void job_free(struct job *j)
{
    cJSON_Delete(j->rights);
    free(j->id);
    free(j);
}

cJSON *wh_serve_job(struct wh_serve *s, const char *id, const cJSON *message, const char *run,
                    struct wh_error *err)
{
    wh_autofree char *made = run ? wh_serve_make_token(message, run) : NULL;
    const char *token = made ? made : token_of(message);
    if (!token || strlen(token) > WH_MAX_SERVE_TOKEN) {
        wh_fail(err, WH_E_PARSE, "the job's message has no usable token for the cache service");
        return NULL;
    }
    struct job *j;
    HASH_FIND_STR(s->jobs, id, j);
    if (!j) {
        j = wh_calloc(1, sizeof(*j));
        j->id = wh_strdup(id);
        HASH_ADD_KEYPTR(hh, s->jobs, j->id, strlen(j->id), j);
    }
    cJSON_Delete(j->rights);
    j->rights = wh_serve_rights(id, message, token, run != NULL);
    wh_later_cancel(&s->idle);
    if (s->process.pid > 0 && s->conn) {
        if (tell(s, j->rights, NULL, 0, err) < 0)
            return NULL;
    } else if (s->process.pid == 0 && !s->later && launch(s, err) < 0) {
        return NULL;
    }
    cJSON *services = cJSON_CreateObject();
    wh_autofree char *url = wh_printf("%s/", s->origin);
    wh_json_add_string(services, "url", url);
    wh_json_add_string(services, "token", made);
    return services;
}

static void rest(void *data)
{
    hang_up(data); /* it ends by that */
}

void wh_serve_job_end(struct wh_serve *s, const char *id)
{
    struct job *j = NULL;
    if (s)
        HASH_FIND_STR(s->jobs, id, j);
    if (!j)
        return;
    wh_autojson *frame = cJSON_CreateObject();
    wh_autoerror err = {0};
    wh_json_add_string(frame, "type", "job-end");
    wh_json_add_string(frame, "id", id);
    if (tell(s, frame, NULL, 0, &err) < 0)
        wh_log_warning("%s", wh_error_text(&err));
    HASH_DEL(s->jobs, j);
    job_free(j);
    if (!s->jobs) {
        wh_later_cancel(&s->later);
        wh_later(&s->idle, s->loop, WH_SERVE_IDLE_MS, rest, s);
    }
}

void wh_serve_free(struct wh_serve *s)
{
    if (!s)
        return;
    struct job *j = s->jobs;
    HASH_CLEAR(hh, s->jobs);
    while (j) {
        struct job *next = j->hh.next;
        job_free(j);
        j = next;
    }
    wh_later_cancel(&s->later);
    wh_later_cancel(&s->idle);
    hang_up(s);
    drop_poll(&s->exit_poll);
    if (s->process.pid > 0)
        wh_process_forget(&s->process); /* it ends by itself: its line is cut */
    wh_close_fd(&s->listener);
    free(s->state);
    free(s->origin);
    free(s);
}
