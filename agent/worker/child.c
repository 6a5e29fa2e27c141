#include "worker/child.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "wherry/base/log.h"
#include "wherry/net/later.h"

#define READ_SIZE ((size_t)64 << 10)
#define READS_PER_TURN 16 /* a flood of output must not starve the rest of the loop */

enum { OUT, ERR, STREAMS };

struct stream {
    struct wh_child *child;
    uv_poll_t poll;
    int fd; /* -1: closed */
    bool held;
    struct wh_line_splitter lines;
};

struct wh_child {
    struct wh_process process;
    struct wh_process_exit ended;
    struct wh_child_events events;
    struct wh_child_times times;
    struct stream streams[STREAMS];
    uv_poll_t exit_poll;
    uv_poll_t control_poll;
    struct wh_frame_conn *control;
    uv_timer_t timer;
    int rung; /* of the ladder: 0 not cancelled, then the number of signals sent */
    bool exited;
    bool finished;
    int open_handles; /* that wh_child_free() has to close */
};

static void check_finished(struct wh_child *c)
{
    if (!c->exited || c->finished)
        return;
    if (c->streams[OUT].fd < 0 && c->streams[ERR].fd < 0) {
        uv_timer_stop(&c->timer);
        c->finished = true;
    }
}

static void close_stream(struct stream *s)
{
    if (s->fd < 0)
        return;
    const struct wh_child_events *e = &s->child->events;
    wh_lines_end(&s->lines, e->line, e->data);
    uv_poll_stop(&s->poll);
    close(s->fd);
    s->fd = -1;
    check_finished(s->child);
}

static bool hold(struct stream *s)
{
    const struct wh_child_events *e = &s->child->events;
    s->held = e->hold && e->hold(e->data);
    if (s->held)
        uv_poll_stop(&s->poll);
    return s->held;
}

static void read_stream(struct stream *s)
{
    static char buffer[READ_SIZE]; /* one loop, one thread */
    for (int i = 0; i < READS_PER_TURN; i++) {
        if (hold(s))
            return;
        ssize_t n = read(s->fd, buffer, sizeof buffer);
        if (n > 0) {
            wh_lines_feed(&s->lines, buffer, (size_t)n, s->child->events.line, s->child->events.data);
            if ((size_t)n < sizeof buffer)
                return; /* level-triggered: more, or the end, wakes us again */
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        close_stream(s);
        return;
    }
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    (void)events;
    struct stream *s = handle->data;
    if (status < 0)
        close_stream(s);
    else
        read_stream(s);
}

void wh_child_resume(struct wh_child *c)
{
    for (int i = 0; i < STREAMS; i++) {
        struct stream *s = &c->streams[i];
        if (s->fd < 0 || !s->held)
            continue;
        s->held = false;
        uv_poll_start(&s->poll, UV_READABLE, on_readable);
    }
}

static bool any_held(const struct wh_child *c)
{
    return c->streams[OUT].held || c->streams[ERR].held;
}

static void on_control(uv_poll_t *handle, int status, int events)
{
    (void)events;
    struct wh_child *c = handle->data;
    wh_autoerror err = {0};
    while (status == 0) {
        wh_autoframe frame = {0};
        int n = wh_frame_conn_recv(c->control, &frame, &err);
        if (n == 0)
            return;
        if (n < 0)
            break;
        if (c->events.frame)
            c->events.frame(c->events.data, &frame);
    }
    uv_poll_stop(handle);
}

static void on_timer(uv_timer_t *handle)
{
    struct wh_child *c = handle->data;
    if (c->exited && any_held(c)) { /* what waits in the pipes is the child's own */
        uv_timer_start(handle, on_timer, c->times.pipes_ms, 0);
        return;
    }
    if (c->exited) { /* a grandchild holds the pipes */
        close_stream(&c->streams[OUT]);
        close_stream(&c->streams[ERR]);
        return;
    }
    if (c->rung == 1) {
        wh_process_signal(&c->process, SIGTERM);
        c->rung = 2;
        wh_timer_start(handle, on_timer, c->times.term_ms, 0);
    } else {
        wh_process_signal(&c->process, SIGKILL);
        /* What it started and left in its group would only hold the pipes. */
        wh_process_signal_group(&c->process, SIGKILL);
        c->rung = 3;
    }
}

static void on_child_exit(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    struct wh_child *c = handle->data;
    wh_autoerror err = {0};
    uv_poll_stop(handle); /* before the pidfd is closed by reaping */
    int n = wh_process_reap(&c->process, &c->ended, &err);
    if (n == 0) {
        uv_poll_start(handle, UV_READABLE, on_child_exit);
        return;
    }
    if (n < 0) {
        wh_log_error("%s", wh_error_text(&err));
        c->ended = (struct wh_process_exit){.code = 255};
        wh_process_forget(&c->process);
    }
    c->exited = true;
    wh_timer_start(&c->timer, on_timer, c->times.pipes_ms, 0);
    /* What is in the pipes now is the child's own: read it before the question whether they stay open. */
    for (int i = 0; i < STREAMS; i++)
        if (c->streams[i].fd >= 0)
            read_stream(&c->streams[i]);
    check_finished(c);
}

/* ---- start ---- */

static int open_stream(struct wh_child *c, uv_loop_t *loop, int which, int *child_end, struct wh_error *err)
{
    int ends[2];
    if (wh_pipe(ends, true, err) < 0)
        return -1;
    /* A full pipe stops the step until we read: a bigger one saves switches between the two. */
    fcntl(ends[0], F_SETPIPE_SZ, 256 << 10);
    struct stream *s = &c->streams[which];
    s->child = c;
    s->fd = ends[0];
    *child_end = ends[1];
    uv_poll_init(loop, &s->poll, s->fd);
    s->poll.data = s;
    c->open_handles++;
    return 0;
}

static int start_process(struct wh_child *c, const struct wh_process_options *options, int (*run)(void *),
                         void *run_data, int ends[STREAMS], struct wh_error *err)
{
    struct wh_process_options o = *options;
    o.stdout_fd = ends[OUT];
    o.stderr_fd = ends[ERR];
    o.new_group = true;
    if (!run)
        return wh_process_spawn(&o, &c->process, err);
    int control[2];
    if (wh_frame_pair(control, err) < 0)
        return -1;
    c->control = wh_frame_conn_new(control[0]);
    o.fds[o.nfds++] = (struct wh_process_fd){.fd = control[1], .as = 3};
    int n = wh_process_fork(&o, run, run_data, &c->process, err);
    close(control[1]);
    return n;
}

/* Undoes a start that failed; no handle is active yet. */
static void abandon(struct wh_child *c)
{
    for (int i = 0; i < STREAMS; i++) {
        if (c->streams[i].fd >= 0)
            close(c->streams[i].fd);
        c->streams[i].fd = -1;
    }
    c->finished = true;
    wh_child_free(c);
}

struct wh_child *wh_child_start(uv_loop_t *loop, const struct wh_process_options *options, int (*run)(void *),
                                void *run_data, const struct wh_child_events *events,
                                const struct wh_child_times *times, struct wh_error *err)
{
    struct wh_child *c = wh_calloc(1, sizeof *c);
    c->process = WH_PROCESS_NONE;
    c->events = *events;
    c->times = times ? *times : (struct wh_child_times){0};
    if (c->times.int_ms == 0)
        c->times.int_ms = WH_CANCEL_INT_MS;
    if (c->times.term_ms == 0)
        c->times.term_ms = WH_CANCEL_TERM_MS;
    if (c->times.pipes_ms == 0)
        c->times.pipes_ms = WH_PIPES_GRACE_MS;
    c->streams[OUT].fd = c->streams[ERR].fd = -1;
    uv_timer_init(loop, &c->timer);
    c->timer.data = c;
    c->open_handles = 1;
    int ends[STREAMS] = {-1, -1};
    int n = open_stream(c, loop, OUT, &ends[OUT], err);
    if (n == 0)
        n = open_stream(c, loop, ERR, &ends[ERR], err);
    if (n == 0)
        n = start_process(c, options, run, run_data, ends, err);
    for (int i = 0; i < STREAMS; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    if (n < 0) {
        abandon(c);
        return NULL;
    }
    for (int i = 0; i < STREAMS; i++)
        uv_poll_start(&c->streams[i].poll, UV_READABLE, on_readable);
    uv_poll_init(loop, &c->exit_poll, c->process.pidfd);
    c->exit_poll.data = c;
    c->open_handles++;
    uv_poll_start(&c->exit_poll, UV_READABLE, on_child_exit);
    if (c->control) {
        uv_poll_init(loop, &c->control_poll, wh_frame_conn_fd(c->control));
        c->control_poll.data = c;
        c->open_handles++;
        uv_poll_start(&c->control_poll, UV_READABLE, on_control);
    }
    return c;
}

void wh_child_cancel(struct wh_child *c)
{
    if (c->rung > 0 || c->exited)
        return;
    c->rung = 1;
    wh_process_signal(&c->process, SIGINT);
    wh_timer_start(&c->timer, on_timer, c->times.int_ms, 0);
}

bool wh_child_finished(const struct wh_child *c)
{
    return c->finished;
}

const struct wh_process_exit *wh_child_exit(const struct wh_child *c)
{
    return &c->ended;
}

/* ---- end ---- */

static void count_closed(struct wh_child *c)
{
    if (--c->open_handles > 0)
        return;
    for (int i = 0; i < STREAMS; i++)
        wh_lines_clear(&c->streams[i].lines);
    wh_frame_conn_free(c->control);
    wh_process_forget(&c->process);
    free(c);
}

static void on_stream_closed(uv_handle_t *handle)
{
    count_closed(((struct stream *)handle->data)->child);
}

static void on_handle_closed(uv_handle_t *handle)
{
    count_closed(handle->data);
}

void wh_child_free(struct wh_child *c)
{
    if (!c)
        return;
    for (int i = 0; i < STREAMS; i++)
        if (c->streams[i].poll.data)
            uv_close((uv_handle_t *)&c->streams[i].poll, on_stream_closed);
    if (c->exit_poll.data)
        uv_close((uv_handle_t *)&c->exit_poll, on_handle_closed);
    if (c->control_poll.data)
        uv_close((uv_handle_t *)&c->control_poll, on_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
}
