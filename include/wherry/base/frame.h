/* Frames: how our processes talk. A frame is a 4-byte little-endian length and that many bytes of JSON, on an
 * AF_UNIX SOCK_STREAM pair; file descriptors ride on a frame's first byte (SCM_RIGHTS). The peer may be
 * hostile (a worker has the uid of the code that it runs): lengths, depth and the number of descriptors are
 * bounded. */
#ifndef WH_BASE_FRAME_H
#define WH_BASE_FRAME_H

#include "wherry/base/json.h"

#define WH_MAX_FRAME ((size_t)64 << 20)
#define WH_MAX_FRAME_FDS 32
#define WH_MAX_WORKER_FRAME ((size_t)64 << 10) /* what an agent takes from a worker */

struct wh_frame {
    cJSON *json;               /* owned */
    int fds[WH_MAX_FRAME_FDS]; /* owned, close-on-exec */
    size_t nfds;
};
void wh_frame_clear(struct wh_frame *f);
#define wh_autoframe __attribute__((cleanup(wh_frame_clear))) struct wh_frame

/* A socketpair for frames, both ends close-on-exec and blocking. */
int wh_frame_pair(int fds[2], struct wh_error *err);

/* Blocking: for threads and for forked actions. Several threads may send on one socket if they share a lock.
 */
int wh_frame_send(int sock, const cJSON *json, const int *fds, size_t nfds, struct wh_error *err);
/* 1: a frame; 0: the peer closed between frames; negative: error. */
int wh_frame_recv(int sock, struct wh_frame *out, struct wh_error *err);

/* For a loop: a non-blocking socket that is polled by the owner. */
struct wh_frame_conn;
/* Takes ownership of sock and makes it non-blocking. */
struct wh_frame_conn *wh_frame_conn_new(int sock);
/* Frames from the peer may be at most max bytes (default WH_MAX_FRAME): parsed JSON takes up to thirty times
 * its text, so a process that must not be hurt by its peer sets what it really expects. */
void wh_frame_conn_limit(struct wh_frame_conn *c, size_t max);
void wh_frame_conn_free(struct wh_frame_conn *c);
int wh_frame_conn_fd(const struct wh_frame_conn *c);
bool wh_frame_conn_wants_write(const struct wh_frame_conn *c);
/* Queues a frame (fds are duplicated) and writes what the socket takes now. */
int wh_frame_conn_send(struct wh_frame_conn *c, const cJSON *json, const int *fds, size_t nfds,
                       struct wh_error *err);
int wh_frame_conn_flush(struct wh_frame_conn *c, struct wh_error *err);
/* Call while readable. 1: a frame in out; 0: no whole frame yet; -2: the peer closed; -1: error. Repeat
 * while 1. */
int wh_frame_conn_recv(struct wh_frame_conn *c, struct wh_frame *out, struct wh_error *err);

#endif
