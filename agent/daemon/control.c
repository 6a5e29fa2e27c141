/* The agent's end of its socket. */
#include "daemon/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "daemon/daemon.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"

#define WH_MAX_CLIENTS 16
#define CLIENT_MS 10000 /* for a question and its answer */

struct client {
    struct control *control;
    struct client *next, *prev;
    struct wh_frame_conn *conn;
    uv_poll_t poll;
    struct wh_later *later;
    bool answered;
};

struct control {
    struct daemon *d;
    uv_poll_t poll;
    int fd, dir;
    char *name;
    struct client *clients;
    unsigned nclients;
};

struct sockaddr_un control_address(int dir, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", dir, name);
    return address;
}

/* ---- questions ---- */

static int drain_one(struct runner *r, cJSON *done)
{
    if (r->drained || runner_is_over(r))
        return 0;
    runner_drain(r);
    cJSON_AddItemToArray(done, cJSON_CreateString(r->name));
    return 1;
}

static int resume_one(struct runner *r, cJSON *done)
{
    if (!r->drained)
        return 0;
    runner_resume(r);
    cJSON_AddItemToArray(done, cJSON_CreateString(r->name));
    return 1;
}

/* As a user who presses the button: the steps that always run do so. */
static int cancel_one(struct runner *r, cJSON *done)
{
    if (!r->job || r->job->cancel_reason)
        return 0;
    wh_autofree char *text = wh_printf("%s: %s", r->name, r->job->display_name);
    const char *before = wh_log_enter(r->name);
    jobrun_cancel(r->job, "user", 0);
    (void)wh_log_enter(before);
    cJSON_AddItemToArray(done, cJSON_CreateString(text));
    return 1;
}

static void each(struct daemon *d, const char *name, int (*act)(struct runner *r, cJSON *done), cJSON *answer)
{
    bool known = name == NULL;
    cJSON *done = cJSON_AddArrayToObject(answer, "done");
    for (size_t i = 0; i < d->nrunners; i++)
        if (!name || wh_streq(name, d->runners[i]->name)) {
            known = true;
            (void)act(d->runners[i], done);
        }
    cJSON_AddBoolToObject(answer, "known", known);
}

static cJSON *answer_to(struct daemon *d, const cJSON *question)
{
    static const struct {
        const char *type;
        int (*act)(struct runner *r, cJSON *done);
    } acts[] = {{"drain", drain_one}, {"resume", resume_one}, {"cancel", cancel_one}};
    const char *type = wh_json_string(question, "type");
    if (wh_streq(type, "status"))
        return status_describe(d);
    cJSON *answer = cJSON_CreateObject();
    for (size_t i = 0; i < WH_COUNT(acts); i++)
        if (wh_streq(type, acts[i].type)) {
            each(d, wh_json_string(question, "runner"), acts[i].act, answer);
            return answer;
        }
    wh_json_add_string(answer, "error", "this agent does not know the question: is it of another version?");
    return answer;
}

/* ---- clients ---- */

static void client_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;
    wh_frame_conn_free(client->conn);
    free(client);
}

static void client_drop(struct client *client)
{
    DL_DELETE(client->control->clients, client);
    client->control->nclients--;
    wh_later_cancel(&client->later);
    uv_poll_stop(&client->poll);
    uv_close((uv_handle_t *)&client->poll, client_closed);
}

static void on_client_late(void *data)
{
    client_drop(data);
}

static void on_client(uv_poll_t *poll, int status, int events);

static void client_watch(struct client *client)
{
    int events = UV_READABLE | (wh_frame_conn_wants_write(client->conn) ? UV_WRITABLE : 0);
    if (uv_poll_start(&client->poll, events, on_client))
        client_drop(client);
}

static void on_client(uv_poll_t *poll, int status, int events)
{
    struct client *client = poll->data;
    wh_autoframe frame = {0};
    wh_autoerror err = {0};
    int got = -1;
    if (status == 0 && (!(events & UV_WRITABLE) || wh_frame_conn_flush(client->conn, &err) == 0))
        got = wh_frame_conn_recv(client->conn, &frame, &err);
    if (got == 1 && !client->answered) {
        wh_autojson *answer = answer_to(client->control->d, frame.json);
        client->answered = true;
        got = wh_frame_conn_send(client->conn, answer, NULL, 0, &err) < 0 ? -1 : 0;
    }
    if (got < 0)
        client_drop(client); /* it has its answer and closed, or is of no use */
    else
        client_watch(client);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct control *c = poll->data;
    (void)status;
    (void)events;
    wh_autoclose int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 || c->nclients == WH_MAX_CLIENTS)
        return;
    struct client *client = wh_calloc(1, sizeof *client);
    client->control = c;
    client->conn = wh_frame_conn_new(wh_steal_fd(&fd));
    wh_frame_conn_limit(client->conn, WH_MAX_CONTROL_QUESTION);
    DL_APPEND(c->clients, client);
    c->nclients++;
    uv_poll_init(&c->d->loop, &client->poll, wh_frame_conn_fd(client->conn));
    client->poll.data = client;
    wh_later(&client->later, &c->d->loop, CLIENT_MS, on_client_late, client);
    client_watch(client);
}

/* ---- life ---- */

static void on_closed(uv_handle_t *handle)
{
    struct control *c = handle->data;
    close(c->fd);
    close(c->dir);
    free(c->name);
    free(c);
}

struct control *control_start(struct daemon *d, struct wh_error *err)
{
    wh_autofree char *path = wh_printf("%s/runners", d->options->state);
    wh_autofree char *name = wh_printf(WH_CONTROL_PREFIX "%d" WH_CONTROL_SUFFIX, (int)getpid());
    wh_autoclose int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    wh_autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (dir < 0 || fd < 0) {
        wh_fail_errno(err, "the agent's socket in %s", path);
        return NULL;
    }
    struct sockaddr_un address = control_address(dir, name);
    unlinkat(dir, name, 0); /* of a dead process with our number */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, WH_MAX_CLIENTS)) {
        wh_fail_errno(err, "the agent's socket in %s", path);
        return NULL;
    }
    struct control *c = wh_calloc(1, sizeof *c);
    c->d = d;
    c->fd = wh_steal_fd(&fd);
    c->dir = wh_steal_fd(&dir);
    c->name = wh_steal(&name);
    uv_poll_init(&d->loop, &c->poll, c->fd);
    c->poll.data = c;
    uv_poll_start(&c->poll, UV_READABLE, on_connection);
    return c;
}

void control_stop(struct control *c)
{
    if (!c)
        return;
    while (c->clients)
        client_drop(c->clients);
    unlinkat(c->dir, c->name, 0);
    uv_close((uv_handle_t *)&c->poll, on_closed);
}
