/* Hashing beside copying: a big file's bytes cost as much to hash as to read and write. */
#include "build/copied.h"

struct hasher {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct wh_sha256 *hash;
    const void *data; /* to hash; NULL: idle */
    size_t len;
    bool stop;
};

static void *work(void *arg)
{
    struct hasher *h = arg;
    pthread_mutex_lock(&h->lock);
    for (;;) {
        while (!h->data && !h->stop)
            pthread_cond_wait(&h->changed, &h->lock);
        if (!h->data)
            break;
        pthread_mutex_unlock(&h->lock);
        wh_sha256_update(h->hash, h->data, h->len);
        pthread_mutex_lock(&h->lock);
        h->data = NULL;
        pthread_cond_broadcast(&h->changed);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

struct hasher *hasher_new(void)
{
    struct hasher *h = wh_calloc(1, sizeof(*h));
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    if (pthread_create(&h->thread, NULL, work, h) == 0)
        return h;
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->changed);
    free(h);
    return NULL;
}

void hasher_wait(struct hasher *h)
{
    pthread_mutex_lock(&h->lock);
    while (h->data)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

void hasher_give(struct hasher *h, struct wh_sha256 *hash, const void *data, size_t len)
{
    pthread_mutex_lock(&h->lock);
    while (h->data)
        pthread_cond_wait(&h->changed, &h->lock);
    h->hash = hash;
    h->data = data;
    h->len = len;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

void hasher_free(struct hasher *h)
{
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->stop = true;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->changed);
    free(h);
}
