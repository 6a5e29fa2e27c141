/* Downloads into the store, each blob once however many threads want it. */
#include "oci/flight.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "oci/registry_internal.h"
#include "wherry/base/fs.h"

#define PROGRESS_STEP ((uint64_t)1 << 20)

struct oci_flight *oci_flight_join(struct wh_oci *oci, const struct wh_digest *digest, bool *started)
{
    pthread_mutex_lock(&oci->lock);
    struct oci_flight *f = oci->flights;
    while (f && !wh_digest_eq(&f->digest, digest))
        f = f->next;
    *started = f == NULL;
    if (!f) {
        f = wh_calloc(1, sizeof(*f));
        f->digest = *digest;
        f->fd = -1;
        pthread_mutex_init(&f->lock, NULL);
        pthread_cond_init(&f->changed, NULL);
        f->next = oci->flights;
        oci->flights = f;
    }
    f->users++;
    pthread_mutex_unlock(&oci->lock);
    return f;
}

void oci_flight_leave(struct wh_oci *oci, struct oci_flight *f)
{
    pthread_mutex_lock(&oci->lock);
    bool last = --f->users == 0;
    for (struct oci_flight **at = &oci->flights; last && *at; at = &(*at)->next)
        if (*at == f) {
            *at = f->next;
            break;
        }
    pthread_mutex_unlock(&oci->lock);
    if (!last)
        return;
    if (f->fd >= 0)
        close(f->fd);
    wh_error_clear(&f->error);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    free(f);
}

/* What the download writes to. */
struct writing {
    struct wh_oci *oci;
    struct oci_flight *flight;
    const struct wh_descriptor *blob;
    struct wh_sha256 *hash;
    int fd; /* the store's */
    uint64_t written, told;
};

static void grow(struct oci_flight *f, uint64_t available)
{
    pthread_mutex_lock(&f->lock);
    f->available = available;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void tell_progress(struct writing *w, bool end)
{
    char id[WH_DIGEST_TEXT];
    const struct wh_oci_options *o = &w->oci->options;
    if (!o->progress || (!end && w->written - w->told < PROGRESS_STEP))
        return;
    w->told = w->written;
    o->progress(o->data, wh_digest_text(&w->blob->digest, id), w->written, (uint64_t)w->blob->size);
}

static int take(void *data, const void *bytes, size_t len, struct wh_error *err)
{
    struct writing *w = data;
    wh_sha256_update(w->hash, bytes, len);
    if (wh_write_all(w->fd, bytes, len, err) < 0)
        return wh_wrap(err, "write the blob to the store");
    w->written += len;
    grow(w->flight, w->written);
    tell_progress(w, false);
    return 0;
}

static int fetch(struct wh_oci *oci, struct oci_flight *f, const struct wh_ref *ref,
                 const struct wh_descriptor *blob, struct wh_error *err)
{
    wh_autoblob *writer = wh_blob_begin(oci->store, WH_BLOB_LATER, err);
    wh_autosha256 *hash = wh_sha256_new();
    if (!writer)
        return -1;
    struct writing w = {.oci = oci, .flight = f, .blob = blob, .hash = hash, .fd = wh_blob_fd(writer)};
    pthread_mutex_lock(&f->lock);
    f->fd = fcntl(w.fd, F_DUPFD_CLOEXEC, 3);
    pthread_mutex_unlock(&f->lock);
    if (f->fd < 0)
        return wh_fail_errno(err, "follow the download");
    if (oci_registry_blob_get(oci->registry, ref, blob, false, take, &w, err) < 0)
        return -1;
    struct wh_blob_expect expect = {&blob->digest, blob->size};
    if (wh_blob_commit_hashed(wh_steal(&writer), hash, w.written, expect, NULL, NULL, err) < 0) {
        char text[WH_DIGEST_TEXT];
        return wh_wrap(err, "registry %s/%s: blob %s", ref->host, ref->path,
                       wh_digest_text(&blob->digest, text));
    }
    tell_progress(&w, true);
    return wh_blob_seen_at(oci->store, &blob->digest, wh_ref_api_host(ref), ref->path, err);
}

void oci_flight_run(struct wh_oci *oci, struct oci_flight *f, const struct wh_ref *ref,
                    const struct wh_descriptor *blob)
{
    struct wh_error err = {0};
    int failed = fetch(oci, f, ref, blob, &err);
    pthread_mutex_lock(&f->lock);
    if (failed < 0)
        f->error = err;
    f->done = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static int failure(struct oci_flight *f, struct wh_error *err)
{
    return f->error.code == WH_OK ? 0 : wh_fail(err, f->error.code, "%s", wh_error_text(&f->error));
}

int oci_flight_wait(struct oci_flight *f, struct wh_error *err)
{
    pthread_mutex_lock(&f->lock);
    while (!f->done)
        pthread_cond_wait(&f->changed, &f->lock);
    int failed = failure(f, err);
    pthread_mutex_unlock(&f->lock);
    return failed;
}

ssize_t oci_flight_read(void *data, void *buf, size_t cap, struct wh_error *err)
{
    struct oci_flight_reader *r = data;
    struct oci_flight *f = r->flight;
    pthread_mutex_lock(&f->lock);
    while (f->available == r->offset && !f->done)
        pthread_cond_wait(&f->changed, &f->lock);
    uint64_t left = f->available - r->offset;
    int failed = f->done ? failure(f, err) : 0;
    pthread_mutex_unlock(&f->lock);
    if (failed < 0 || left == 0)
        return failed;
    ssize_t n;
    do
        n = pread(f->fd, buf, (size_t)WH_MIN((uint64_t)cap, left), (off_t)r->offset);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return wh_fail_errno(err, "read the blob that is being fetched");
    if (n == 0)
        return wh_fail(err, WH_E_IO, "the blob that is being fetched is shorter than it was");
    r->offset += (uint64_t)n;
    return n;
}
