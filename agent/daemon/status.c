/* What a running agent says of itself: a Unix socket in <state>/runners that answers with one JSON text. A
 * socket tells the present and whether somebody is alive; a file tells neither, and costs disk writes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"

#define SOCKET_NAME "agent.sock"
#define MAX_STATUS_BYTES ((size_t)4 << 20)

struct status_server {
    struct daemon *d;
    uv_poll_t poll;
    int fd, dir;
    uint64_t started_ms;
};

/* The address goes by the folder's descriptor: its path may be longer than a socket address. */
static struct sockaddr_un address_of(int dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" SOCKET_NAME, dir);
    return address;
}

static int64_t own_memory(void)
{
    wh_autostr text = {0};
    long long kb = 0;
    if (wh_read_file(AT_FDCWD, "/proc/self/status", 65536, &text, NULL) < 0)
        return 0;
    const char *line = strstr(wh_str_text(&text), "\nVmRSS:");
    return line && sscanf(line, "\nVmRSS: %lld", &kb) == 1 ? kb * 1024 : 0;
}

static cJSON *describe_job(const struct jobrun *j)
{
    cJSON *job = cJSON_CreateObject();
    wh_json_add_string(job, "name", j->display_name);
    wh_json_add_string(job, "step", j->step);
    wh_json_add_int(job, "seconds", (int64_t)((wh_mono_ms() - j->announced_ms) / 1000));
    wh_json_add_string(job, "cancelled", j->cancel_reason);
    wh_json_add_int(job, "workerPid", j->worker.process.pid);
    return job;
}

static cJSON *describe(const struct status_server *s)
{
    const struct daemon *d = s->d;
    cJSON *json = cJSON_CreateObject();
    wh_json_add_string(json, "version", WH_VERSION);
    wh_json_add_int(json, "pid", getpid());
    wh_json_add_int(json, "upSeconds", (int64_t)((wh_mono_ms() - s->started_ms) / 1000));
    wh_json_add_int(json, "memoryBytes", own_memory());
    cJSON_AddBoolToObject(json, "draining", d->draining);
    cJSON *list = cJSON_AddArrayToObject(json, "runners");
    for (size_t i = 0; i < d->nrunners; i++) {
        const struct runner *r = d->runners[i];
        cJSON *runner = cJSON_CreateObject();
        wh_json_add_string(runner, "name", r->config->name);
        wh_json_add_string(runner, "url", r->config->url);
        wh_json_add_string(runner, "state", runner_state_text(r));
        wh_json_add_string(runner, "jobUser", r->user.user.name);
        wh_json_add_int(runner, "jobsDone", r->jobs_done);
        wh_json_add_int(runner, "pollErrors", r->errors);
        if (r->job)
            cJSON_AddItemToObject(runner, "job", describe_job(r->job));
        cJSON_AddItemToArray(list, runner);
    }
    return json;
}

static void on_client(uv_poll_t *poll, int status, int events)
{
    struct status_server *s = poll->data;
    (void)status;
    (void)events;
    wh_autoclose int client = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0)
        return;
    wh_autojson *json = describe(s);
    wh_autofree char *text = wh_json_print(json);
    /* One try: the socket's buffer holds a status many times over. */
    (void)!send(client, text, strlen(text), MSG_NOSIGNAL);
}

static void on_closed(uv_handle_t *handle)
{
    struct status_server *s = handle->data;
    close(s->fd);
    close(s->dir);
    free(s);
}

struct status_server *status_start(struct daemon *d, struct wh_error *err)
{
    wh_autofree char *path = wh_printf("%s/runners", d->options->state);
    wh_autoclose int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    wh_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (dir < 0 || fd < 0) {
        wh_fail_errno(err, "status socket in %s", path);
        return NULL;
    }
    struct sockaddr_un address = address_of(dir);
    unlinkat(dir, SOCKET_NAME, 0);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 8)) {
        wh_fail_errno(err, "status socket in %s", path);
        return NULL;
    }
    struct status_server *s = wh_calloc(1, sizeof *s);
    s->d = d;
    s->fd = wh_steal_fd(&fd);
    s->dir = wh_steal_fd(&dir);
    s->started_ms = wh_mono_ms();
    uv_poll_init(&d->loop, &s->poll, s->fd);
    s->poll.data = s;
    uv_poll_start(&s->poll, UV_READABLE, on_client);
    return s;
}

void status_stop(struct status_server *s)
{
    if (!s)
        return;
    unlinkat(s->dir, SOCKET_NAME, 0);
    uv_close((uv_handle_t *)&s->poll, on_closed);
}

/* ---- asking ---- */

struct cJSON *wh_daemon_status(const char *state, struct wh_error *err)
{
    wh_autofree char *path = wh_printf("%s/runners", state);
    wh_autoclose int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    wh_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    wh_autostr text = {0};
    if (dir < 0) {
        wh_fail_errno(err, "%s", path);
        return NULL;
    }
    struct sockaddr_un address = address_of(dir);
    struct timeval patience = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) {
        if (errno == ENOENT || errno == ECONNREFUSED)
            wh_fail(err, WH_E_NOT_FOUND, "no agent runs on %s", state);
        else
            wh_fail_errno(err, "ask the agent of %s", state);
        return NULL;
    }
    if (wh_read_fd(fd, MAX_STATUS_BYTES, "the agent's status", &text, err) < 0)
        return NULL;
    return wh_json_parse(wh_str_text(&text), text.len, MAX_STATUS_BYTES, "the agent's status", err);
}
