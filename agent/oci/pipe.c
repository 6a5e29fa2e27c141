/* The ring between the network and the disk. */
#include "oci/pipe.h"

void oci_pipe_init(struct oci_pipe *p, size_t cap)
{
    *p = (struct oci_pipe){.cap = cap, .data = wh_malloc(cap)};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
}

void oci_pipe_clear(struct oci_pipe *p)
{
    free(p->data);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
}

static void put_bytes(struct oci_pipe *p, const char *bytes, size_t len)
{
    size_t at = (p->start + p->len) % p->cap, first = WH_MIN(len, p->cap - at);
    memcpy(p->data + at, bytes, first);
    memcpy(p->data, bytes + first, len - first);
    p->len += len;
}

ssize_t oci_pipe_put(struct oci_pipe *p, const char *bytes, size_t len)
{
    ssize_t n = 0;
    pthread_mutex_lock(&p->lock);
    if (p->refused || len > p->cap) {
        n = WH_HTTP_ABORT;
    } else if (len > p->cap - p->len) {
        p->paused = true;
        n = WH_HTTP_PAUSE;
    } else {
        put_bytes(p, bytes, len);
        pthread_cond_signal(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return n;
}

void oci_pipe_attach(struct oci_pipe *p, struct wh_http *http)
{
    pthread_mutex_lock(&p->lock);
    p->http = http;
    p->paused = false;
    pthread_mutex_unlock(&p->lock);
}

void oci_pipe_end(struct oci_pipe *p)
{
    pthread_mutex_lock(&p->lock);
    p->ended = true;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

size_t oci_pipe_get(struct oci_pipe *p, const char **bytes)
{
    pthread_mutex_lock(&p->lock);
    while (p->len == 0 && !p->ended)
        pthread_cond_wait(&p->changed, &p->lock);
    size_t n = WH_MIN(p->len, p->cap - p->start);
    *bytes = p->data + p->start;
    pthread_mutex_unlock(&p->lock);
    return n;
}

/* Resumes when half the ring is free, so that the transfer does not stop and go with every piece. */
static void resume(struct oci_pipe *p)
{
    if (p->paused && (p->refused || p->len <= p->cap / 2) && p->http) {
        p->paused = false;
        wh_http_resume(p->http);
    }
}

void oci_pipe_took(struct oci_pipe *p, size_t len)
{
    pthread_mutex_lock(&p->lock);
    p->start = (p->start + len) % p->cap;
    p->len -= len;
    resume(p);
    pthread_mutex_unlock(&p->lock);
}

void oci_pipe_refuse(struct oci_pipe *p)
{
    pthread_mutex_lock(&p->lock);
    p->refused = true;
    resume(p);
    pthread_mutex_unlock(&p->lock);
}
