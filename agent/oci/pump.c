/* Decompression ahead of the reader, through a small ring of buffers that stay in the cache. */
#include "oci/pump.h"

#include <pthread.h>

#define PIECES 8
#define PIECE_SIZE ((size_t)128 << 10)

struct oci_pump {
    struct oci_inflate *inflate;
    const bool *cancel;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char *pieces[PIECES];
    size_t lengths[PIECES];
    uint64_t filled, taken; /* sequence numbers */
    bool holding;           /* the reader looks at piece `taken` */
    bool ended, stop;
    uint64_t packed;
    struct wh_error error;
};

static bool should_stop(const struct oci_pump *p)
{
    return p->stop || (p->cancel && __atomic_load_n(p->cancel, __ATOMIC_RELAXED));
}

static void *run(void *data)
{
    struct oci_pump *p = data;
    pthread_mutex_lock(&p->lock);
    while (!p->ended) {
        while (p->filled - p->taken == PIECES && !p->stop)
            pthread_cond_wait(&p->changed, &p->lock);
        size_t slot = p->filled % PIECES;
        bool stop = should_stop(p);
        struct wh_error err = {0};
        pthread_mutex_unlock(&p->lock);
        ssize_t n = stop ? wh_fail(&err, WH_E_CANCELED, "canceled")
                         : oci_inflate_read(p->inflate, p->pieces[slot], PIECE_SIZE, &err);
        pthread_mutex_lock(&p->lock);
        p->packed = oci_inflate_packed(p->inflate);
        if (n > 0) {
            p->lengths[slot] = (size_t)n;
            p->filled++;
        } else {
            p->ended = true;
            if (n < 0)
                wh_error_move(&p->error, &err);
        }
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

struct oci_pump *oci_pump_new(struct oci_inflate *inflate, const bool *cancel, struct wh_error *err)
{
    struct oci_pump *p = wh_calloc(1, sizeof(*p));
    p->inflate = inflate;
    p->cancel = cancel;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    for (size_t i = 0; i < PIECES; i++)
        p->pieces[i] = wh_malloc(PIECE_SIZE);
    int code = pthread_create(&p->thread, NULL, run, p);
    if (code == 0)
        return p;
    wh_fail(err, WH_E_FAILED, "no thread can be started: %s", strerror(code));
    for (size_t i = 0; i < PIECES; i++)
        free(p->pieces[i]);
    free(p);
    return NULL;
}

ssize_t oci_pump_next(struct oci_pump *p, const void **data, struct wh_error *err)
{
    ssize_t n = 0;
    pthread_mutex_lock(&p->lock);
    if (p->holding) {
        p->holding = false;
        p->taken++;
        pthread_cond_broadcast(&p->changed);
    }
    while (p->taken == p->filled && !p->ended)
        pthread_cond_wait(&p->changed, &p->lock);
    if (p->taken < p->filled) {
        *data = p->pieces[p->taken % PIECES];
        n = (ssize_t)p->lengths[p->taken % PIECES];
        p->holding = true;
    } else if (p->error.code != WH_OK) {
        n = wh_fail(err, p->error.code, "%s", wh_error_text(&p->error));
    }
    pthread_mutex_unlock(&p->lock);
    return n;
}

uint64_t oci_pump_packed(struct oci_pump *p)
{
    pthread_mutex_lock(&p->lock);
    uint64_t n = p->packed;
    pthread_mutex_unlock(&p->lock);
    return n;
}

void oci_pump_free(struct oci_pump *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    for (size_t i = 0; i < PIECES; i++)
        free(p->pieces[i]);
    wh_error_clear(&p->error);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    free(p);
}
