#include "wherry/base/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

void wh_frame_clear(struct wh_frame *f)
{
    cJSON_Delete(f->json);
    for (size_t i = 0; i < f->nfds; i++)
        if (f->fds[i] >= 0)
            close(f->fds[i]);
    *f = (struct wh_frame){0};
}

int wh_frame_pair(int fds[2], struct wh_error *err)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return wh_fail_errno(err, "make a socket pair");
    return 0;
}

static void put_length(unsigned char head[4], size_t len)
{
    for (int i = 0; i < 4; i++)
        head[i] = (unsigned char)(len >> (8 * i));
}

static size_t get_length(const char *head)
{
    const unsigned char *h = (const unsigned char *)head;
    return (size_t)h[0] | (size_t)h[1] << 8 | (size_t)h[2] << 16 | (size_t)h[3] << 24;
}

union fd_control {
    char buf[CMSG_SPACE(sizeof(int) * WH_MAX_FRAME_FDS)];
    struct cmsghdr align;
};

/* One sendmsg; descriptors ride along when nfds > 0. */
static ssize_t send_some(int sock, const void *data, size_t len, const int *fds, size_t nfds, int flags)
{
    struct iovec iov = {(void *)data, len};
    union fd_control control = {{0}};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (nfds > 0) {
        msg.msg_control = control.buf;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
    }
    return sendmsg(sock, &msg, MSG_NOSIGNAL | flags);
}

/* Adds the descriptors of one control message to fds; closes what doesn't fit and says so. */
static bool take_fds(const struct cmsghdr *c, int *fds, size_t *nfds)
{
    bool fits = true;
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
        if (*nfds < WH_MAX_FRAME_FDS) {
            fds[(*nfds)++] = fd;
        } else {
            close(fd);
            fits = false;
        }
    }
    return fits;
}

/* One recvmsg; descriptors that come along are added to fds. 0: closed; -1: errno; -2: err is set. */
static ssize_t recv_some(int sock, void *data, size_t len, int *fds, size_t *nfds, int flags,
                         struct wh_error *err)
{
    struct iovec iov = {data, len};
    union fd_control control;
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf)};
    ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | flags);
    if (n < 0)
        return -1;
    bool fits = (msg.msg_flags & MSG_CTRUNC) == 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && !take_fds(c, fds, nfds))
            fits = false;
    if (!fits) {
        wh_fail(err, WH_E_PROTOCOL, "a frame carries more than %d descriptors", WH_MAX_FRAME_FDS);
        return -2;
    }
    return n;
}

/* The frame's bytes with its length in front. */
static int encode(const cJSON *json, size_t nfds, struct wh_str *out, struct wh_error *err)
{
    wh_autofree char *text = wh_json_print(json);
    size_t len = strlen(text);
    if (len > WH_MAX_FRAME || nfds > WH_MAX_FRAME_FDS)
        return wh_fail(err, WH_E_LIMIT, "a frame of %zu bytes and %zu descriptors is too large", len, nfds);
    unsigned char head[4];
    put_length(head, len);
    wh_str_addn(out, head, sizeof(head));
    wh_str_addn(out, text, len);
    return 0;
}

static void wait_for(int sock, short events)
{
    struct pollfd wait = {sock, events, 0};
    poll(&wait, 1, -1);
}

int wh_frame_send(int sock, const cJSON *json, const int *fds, size_t nfds, struct wh_error *err)
{
    wh_autostr bytes = {0};
    if (encode(json, nfds, &bytes, err) < 0)
        return -1;
    for (size_t at = 0; at < bytes.len;) {
        ssize_t n = send_some(sock, bytes.data + at, bytes.len - at, fds, at == 0 ? nfds : 0, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            wait_for(sock, POLLOUT);
            continue;
        }
        if (n < 0)
            return wh_fail_errno(err, "send a frame");
        at += (size_t)n;
    }
    return 0;
}

/* Reads exactly len bytes. 1: done; 0: closed before the first byte. */
static int recv_exactly(int sock, char *data, size_t len, struct wh_frame *f, struct wh_error *err)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = recv_some(sock, data + at, len - at, f->fds, &f->nfds, 0, err);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1 && errno == EAGAIN) {
            wait_for(sock, POLLIN);
            continue;
        }
        if (n == -2)
            return -1;
        if (n < 0 && errno != ECONNRESET)
            return wh_fail_errno(err, "receive a frame");
        if (n <= 0)
            return at == 0 ? 0 : wh_fail(err, WH_E_PROTOCOL, "the peer closed in the middle of a frame");
        at += (size_t)n;
    }
    return 1;
}

static int check_length(size_t len, size_t max, struct wh_error *err)
{
    if (len > max)
        return wh_fail(err, WH_E_PROTOCOL, "a frame of %zu bytes is larger than the limit of %zu", len, max);
    return 0;
}

int wh_frame_recv(int sock, struct wh_frame *out, struct wh_error *err)
{
    wh_frame_clear(out);
    char head[4];
    int got = recv_exactly(sock, head, sizeof(head), out, err);
    if (got <= 0)
        return got;
    size_t len = get_length(head);
    if (check_length(len, WH_MAX_FRAME, err) < 0)
        return -1;
    wh_autofree char *text = wh_malloc(len + 1);
    got = recv_exactly(sock, text, len, out, err);
    if (got < 0)
        return -1;
    if (got == 0 && len > 0)
        return wh_fail(err, WH_E_PROTOCOL, "the peer closed in the middle of a frame");
    out->json = wh_json_parse(text, len, WH_MAX_FRAME, "frame", err);
    return out->json ? 1 : -1;
}

/* ---- for a loop ---- */

struct out_frame {
    struct out_frame *next;
    struct wh_str bytes;
    size_t at;
    int fds[WH_MAX_FRAME_FDS];
    size_t nfds;
};

struct wh_frame_conn {
    int sock;
    size_t max; /* of a frame's bytes */
    struct wh_str in;
    int in_fds[WH_MAX_FRAME_FDS];
    size_t in_nfds;
    bool closed;
    struct out_frame *out, **out_tail;
};

struct wh_frame_conn *wh_frame_conn_new(int sock)
{
    struct wh_frame_conn *c = wh_calloc(1, sizeof(*c));
    c->sock = sock;
    c->max = WH_MAX_FRAME;
    c->out_tail = &c->out;
    fcntl(sock, F_SETFL, fcntl(sock, F_GETFL) | O_NONBLOCK);
    return c;
}

void wh_frame_conn_limit(struct wh_frame_conn *c, size_t max)
{
    c->max = max;
}

static void out_frame_free(struct out_frame *f)
{
    for (size_t i = 0; i < f->nfds; i++)
        close(f->fds[i]);
    wh_str_free(&f->bytes);
    free(f);
}

void wh_frame_conn_free(struct wh_frame_conn *c)
{
    if (!c)
        return;
    for (struct out_frame *f = c->out, *next; f; f = next) {
        next = f->next;
        out_frame_free(f);
    }
    for (size_t i = 0; i < c->in_nfds; i++)
        close(c->in_fds[i]);
    wh_str_free(&c->in);
    close(c->sock);
    free(c);
}

int wh_frame_conn_fd(const struct wh_frame_conn *c)
{
    return c->sock;
}

bool wh_frame_conn_wants_write(const struct wh_frame_conn *c)
{
    return c->out != NULL;
}

int wh_frame_conn_flush(struct wh_frame_conn *c, struct wh_error *err)
{
    while (c->out) {
        struct out_frame *f = c->out;
        ssize_t n = send_some(c->sock, f->bytes.data + f->at, f->bytes.len - f->at, f->fds,
                              f->at == 0 ? f->nfds : 0, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n < 0)
            return wh_fail_errno(err, "send a frame");
        f->at += (size_t)n;
        if (f->at < f->bytes.len)
            continue;
        c->out = f->next;
        if (!c->out)
            c->out_tail = &c->out;
        out_frame_free(f);
    }
    return 0;
}

int wh_frame_conn_send(struct wh_frame_conn *c, const cJSON *json, const int *fds, size_t nfds,
                       struct wh_error *err)
{
    struct out_frame *f = wh_calloc(1, sizeof(*f));
    if (encode(json, nfds, &f->bytes, err) < 0) {
        out_frame_free(f);
        return -1;
    }
    for (size_t i = 0; i < nfds; i++) {
        int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
        if (copy < 0) {
            wh_fail_errno(err, "duplicate a descriptor for a frame");
            out_frame_free(f);
            return -1;
        }
        f->fds[f->nfds++] = copy;
    }
    *c->out_tail = f;
    c->out_tail = &f->next;
    return wh_frame_conn_flush(c, err);
}

/* A whole frame from what was read so far: 1, 0 (not yet) or -1. */
static int take_frame(struct wh_frame_conn *c, struct wh_frame *out, struct wh_error *err)
{
    if (c->in.len < 4)
        return 0;
    size_t len = get_length(c->in.data);
    if (check_length(len, c->max, err) < 0)
        return -1;
    if (c->in.len - 4 < len)
        return 0;
    out->json = wh_json_parse(c->in.data + 4, len, WH_MAX_FRAME, "frame", err);
    wh_str_consume(&c->in, len + 4);
    memcpy(out->fds, c->in_fds, sizeof(int) * c->in_nfds);
    out->nfds = c->in_nfds;
    c->in_nfds = 0;
    return out->json ? 1 : -1;
}

int wh_frame_conn_recv(struct wh_frame_conn *c, struct wh_frame *out, struct wh_error *err)
{
    wh_frame_clear(out);
    for (;;) {
        int got = take_frame(c, out, err);
        if (got != 0)
            return got;
        if (c->closed)
            return c->in.len == 0 ? -2
                                  : wh_fail(err, WH_E_PROTOCOL, "the peer closed in the middle of a frame");
        /* Read no further than the frame's end, so that descriptors belong to the frame that they came with.
         */
        size_t want = c->in.len < 4 ? 4 - c->in.len : get_length(c->in.data) + 4 - c->in.len;
        want = WH_MIN(want, (size_t)1 << 18);
        wh_str_reserve(&c->in, want);
        ssize_t n =
            recv_some(c->sock, c->in.data + c->in.len, want, c->in_fds, &c->in_nfds, MSG_DONTWAIT, err);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1 && errno == EAGAIN)
            return 0;
        if (n == -2)
            return -1;
        if (n < 0 && errno != ECONNRESET)
            return wh_fail_errno(err, "receive a frame");
        if (n <= 0)
            c->closed = true;
        else
            c->in.len += (size_t)n;
    }
}
