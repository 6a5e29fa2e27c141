/* Bytes from the HTTP client's thread to a thread that may take its time: a bounded ring that pauses the
 * transfer while it is full. */
#ifndef OCI_PIPE_H
#define OCI_PIPE_H

#include <pthread.h>

#include "wherry/net/http.h"

struct oci_pipe {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char *data; /* owned */
    size_t cap, start, len;
    bool ended;   /* the writer will put nothing more */
    bool refused; /* the reader wants nothing more */
    bool paused;
    struct wh_http *http; /* what is to be resumed; NULL between attempts */
};
void oci_pipe_init(struct oci_pipe *p, size_t cap);
void oci_pipe_clear(struct oci_pipe *p);
/* On the HTTP thread: 0, WH_HTTP_PAUSE or WH_HTTP_ABORT, as a sink returns. All or nothing. */
ssize_t oci_pipe_put(struct oci_pipe *p, const char *bytes, size_t len);
/* Around an attempt: which request a reader resumes. */
void oci_pipe_attach(struct oci_pipe *p, struct wh_http *http);
void oci_pipe_end(struct oci_pipe *p);
/* On the reader's thread: a piece that stays until oci_pipe_took(); 0 at the end. */
size_t oci_pipe_get(struct oci_pipe *p, const char **bytes);
void oci_pipe_took(struct oci_pipe *p, size_t len);
void oci_pipe_refuse(struct oci_pipe *p);

#endif
