/* The worker's loop and its line to the agent. */
#include "wherry/base/log.h"
#include "worker/job.h"

#define MAX_STATE_NAME 1000 /* of a step, in a state frame: it is for people */

static void read_agent(struct wh_job *j);

static void on_agent(uv_poll_t *handle, int status, int events)
{
    struct wh_job *j = handle->data;
    (void)events;
    if (status < 0)
        j->agent_gone = true;
    else
        read_agent(j);
}

static void watch_agent(struct wh_job *j)
{
    int events = j->agent_gone ? 0 : UV_READABLE;
    if (wh_frame_conn_wants_write(j->agent))
        events |= UV_WRITABLE;
    if (events == 0)
        uv_poll_stop(&j->agent_poll);
    else
        uv_poll_start(&j->agent_poll, events, on_agent);
}

static void handle_frame(struct wh_job *j, struct wh_frame *frame)
{
    const char *type = wh_json_string(frame->json, "type");
    bool recovers = wh_streq(type, "recover");
    if ((wh_streq(type, "job") || recovers) && !j->frame.json) {
        j->recovers = recovers;
        j->frame = *frame;
        *frame = (struct wh_frame){0};
    } else if (wh_streq(type, "cancel")) {
        const char *reason = wh_json_string(frame->json, "reason");
        enum wh_cancel asked = wh_streq(reason, "shutdown") ? WH_CANCEL_SHUTDOWN
                               : wh_streq(reason, "lost")   ? WH_CANCEL_LOST
                                                            : WH_CANCEL_USER;
        if (asked > j->cancel)
            j->cancel = asked;
    } else {
        wh_log_debug("a frame of type '%s' is not for a worker", type ? type : "");
    }
}

static void read_agent(struct wh_job *j)
{
    wh_autoerror err = {0};
    if (wh_frame_conn_wants_write(j->agent) && wh_frame_conn_flush(j->agent, &err) < 0)
        j->agent_gone = true;
    while (!j->agent_gone) {
        wh_autoframe frame = {0};
        int n = wh_frame_conn_recv(j->agent, &frame, &err);
        if (n == 0)
            break;
        if (n < 0) {
            /* Without its agent nobody renews the job's lock: end it as a shutdown would. */
            j->agent_gone = true;
            if (j->cancel == WH_CANCEL_NONE)
                j->cancel = WH_CANCEL_SHUTDOWN;
            break;
        }
        handle_frame(j, &frame);
    }
    watch_agent(j);
}

static void on_prepare(uv_prepare_t *handle)
{
    wh_job_flush_lines(handle->data);
    wh_room_turn(handle->data);
}

int wh_job_open(struct wh_job *j, int control, struct wh_error *err)
{
    int n = uv_loop_init(&j->loop);
    if (n < 0)
        return wh_fail(err, WH_E_FAILED, "make the event loop: %s", uv_strerror(n));
    j->agent = wh_frame_conn_new(control);
    n = uv_poll_init(&j->loop, &j->agent_poll, wh_frame_conn_fd(j->agent));
    if (n < 0)
        return wh_fail(err, WH_E_ARGUMENT, "descriptor %d is no socket to an agent: %s", control,
                       uv_strerror(n));
    j->agent_poll.data = j;
    uv_prepare_init(&j->loop, &j->prepare);
    j->prepare.data = j;
    uv_prepare_start(&j->prepare, on_prepare);
    watch_agent(j);
    return 0;
}

static void close_rest(uv_handle_t *handle, void *data)
{
    (void)data;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void wh_job_close(struct wh_job *j)
{
    if (!j->agent)
        return;
    wh_later_cancel(&j->room.later);
    uv_walk(&j->loop, close_rest, NULL);
    uv_run(&j->loop, UV_RUN_DEFAULT);
    uv_loop_close(&j->loop);
    wh_frame_conn_free(j->agent);
}

int wh_job_receive(struct wh_job *j, struct wh_error *err)
{
    while (!j->frame.json && !j->agent_gone)
        uv_run(&j->loop, UV_RUN_ONCE);
    if (!j->frame.json)
        return wh_fail(err, WH_E_PROTOCOL, "the agent went away before it sent a job");
    j->runner = wh_json_get(j->frame.json, "runner");
    j->options = wh_json_get(j->frame.json, "options");
    wh_room_start(j);
    j->local = wh_json_bool(j->options, "local", false);
    return 0;
}

void wh_job_turn(struct wh_job *j)
{
    uv_run(&j->loop, UV_RUN_ONCE);
    wh_background_turn(j);
}

void wh_job_turn_now(struct wh_job *j)
{
    uv_run(&j->loop, UV_RUN_NOWAIT);
}

void wh_job_send(struct wh_job *j, const cJSON *frame, const int *fds, size_t nfds)
{
    wh_autoerror err = {0};
    if (j->agent_gone)
        return;
    if (wh_frame_conn_send(j->agent, frame, fds, nfds, &err) < 0) {
        wh_log_warning("to the agent: %s", wh_error_text(&err));
        j->agent_gone = true;
    }
    watch_agent(j);
}

void wh_job_send_state(struct wh_job *j, const struct wh_timeline *r, const char *phase)
{
    wh_autojson *frame = cJSON_CreateObject();
    wh_json_add_string(frame, "type", "state");
    wh_autofree char *name = r->name ? wh_strndup(r->name, strnlen(r->name, MAX_STATE_NAME)) : NULL;
    wh_json_add_string(frame, "step", name);
    wh_json_add_int(frame, "number", r->number);
    wh_json_add_string(frame, "phase", phase);
    wh_json_add_string(frame, "conclusion", wh_task_result_text(r->conclusion));
    wh_job_send(j, frame, NULL, 0);
}
