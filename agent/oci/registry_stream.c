/* An upload that begins while its blob is still being compressed: one PATCH whose body follows the growing
 * file. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "oci/upload.h"

struct wh_blob_stream {
    struct oci_upload upload;
    struct wh_ref ref;
    int fd;
    pthread_t thread;
    pthread_mutex_t lock;
    uint64_t available; /* bytes of the file that may be read */
    uint64_t sent;
    bool whole, aborted;
    bool paused;
    struct wh_http *http;
    /* of the thread, read after the join */
    bool patched;
    struct wh_error error;
};

/* On the HTTP thread. */
static ssize_t pull(void *data, char *buf, size_t cap)
{
    struct wh_blob_stream *s = data;
    pthread_mutex_lock(&s->lock);
    uint64_t left = s->available - s->sent;
    ssize_t n = 0;
    if (s->aborted) {
        n = WH_HTTP_ABORT;
    } else if (left == 0 && !s->whole) {
        s->paused = true;
        n = WH_HTTP_PAUSE;
    }
    pthread_mutex_unlock(&s->lock);
    if (n < 0 || left == 0)
        return n;
    do
        n = pread(s->fd, buf, (size_t)WH_MIN((uint64_t)cap, left), (off_t)s->sent);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return WH_HTTP_ABORT;
    s->sent += (uint64_t)n;
    return n;
}

static void prepare(struct wh_http *http, void *data)
{
    struct wh_blob_stream *s = data;
    wh_http_header(http, "Content-Type", "application/octet-stream");
    wh_http_timeouts(http, 0, 0, 0);
    wh_http_body_pull(http, pull, s, WH_HTTP_UNKNOWN_LENGTH);
    pthread_mutex_lock(&s->lock);
    s->http = http;
    s->sent = 0;
    s->paused = false;
    pthread_mutex_unlock(&s->lock);
}

static void finish(void *data)
{
    struct wh_blob_stream *s = data;
    pthread_mutex_lock(&s->lock);
    s->http = NULL;
    pthread_mutex_unlock(&s->lock);
}

static int patch(struct wh_blob_stream *s, struct wh_error *err)
{
    struct oci_upload *u = &s->upload;
    if (oci_upload_start(u, err) < 0)
        return -1;
    struct oci_call call = oci_upload_call(u, "PATCH");
    wh_autohttp *http = NULL;
    call.prepare = prepare;
    call.finish = finish;
    call.data = s;
    call.no_retry = true;
    if (oci_call(u->registry, &call, &http, err) < 0)
        return -1;
    u->sent += wh_http_sent_bytes(http);
    int status = wh_http_status(http);
    if (status != 202 && status != 201 && status != 204)
        return oci_call_refused(u->registry, &call, http, err);
    return oci_upload_follow(u, http, err);
}

static void *run(void *data)
{
    struct wh_blob_stream *s = data;
    oci_transfer_begin(s->upload.registry, s->upload.host);
    s->patched = patch(s, &s->error) == 0;
    oci_transfer_end(s->upload.registry, s->upload.host, 0, s->upload.sent);
    return NULL;
}

static void stream_free(struct wh_blob_stream *s)
{
    oci_upload_clear(&s->upload);
    wh_ref_clear(&s->ref);
    wh_error_clear(&s->error);
    if (s->fd >= 0)
        close(s->fd);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

struct wh_blob_stream *wh_registry_stream_begin(struct wh_registry *r, const struct wh_ref *repository,
                                                int fd, struct wh_error *err)
{
    struct wh_blob_stream *s = wh_calloc(1, sizeof(*s));
    wh_ref_copy(&s->ref, repository);
    oci_upload_init(&s->upload, r, &s->ref, "upload of a layer");
    s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    pthread_mutex_init(&s->lock, NULL);
    int code = s->fd < 0 ? errno : pthread_create(&s->thread, NULL, run, s);
    if (code == 0)
        return s;
    stream_free(s);
    wh_fail(err, WH_E_FAILED, "the upload can't be begun: %s", strerror(code));
    return NULL;
}

/* Called with the lock held. */
static void wake(struct wh_blob_stream *s)
{
    if (s->paused && s->http) {
        s->paused = false;
        wh_http_resume(s->http);
    }
}

void wh_registry_stream_grow(struct wh_blob_stream *s, uint64_t total)
{
    pthread_mutex_lock(&s->lock);
    s->available = total;
    wake(s);
    pthread_mutex_unlock(&s->lock);
}

void wh_registry_stream_whole(struct wh_blob_stream *s, uint64_t total)
{
    pthread_mutex_lock(&s->lock);
    s->available = total;
    s->whole = true;
    wake(s);
    pthread_mutex_unlock(&s->lock);
}

static void end(struct wh_blob_stream *s, bool abort)
{
    pthread_mutex_lock(&s->lock);
    s->whole = true;
    s->aborted = abort;
    wake(s);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
}

int wh_registry_stream_finish(struct wh_blob_stream *s, const struct wh_descriptor *blob,
                              enum wh_push_how *how, struct wh_error *err)
{
    wh_registry_stream_whole(s, (uint64_t)blob->size);
    end(s, false);
    wh_autoerror why = {0};
    int failed = -1;
    if (s->patched)
        failed = oci_upload_commit(&s->upload, &blob->digest, &why);
    else
        wh_error_move(&why, &s->error);
    if (failed == 0) {
        if (how)
            *how = WH_PUSH_UPLOADED;
    } else if (why.code == WH_E_CANCELED || why.code == WH_E_DENIED) {
        wh_error_move(err, &why);
    } else {
        struct wh_blob_source source = {.fd = s->fd};
        oci_registry_notice(s->upload.registry, "%s; uploading the whole blob anew", wh_error_text(&why));
        failed = wh_registry_blob_put(s->upload.registry, &s->ref, blob, &source, NULL, how, err);
    }
    stream_free(s);
    return failed;
}

void wh_registry_stream_abort(struct wh_blob_stream *s)
{
    if (!s)
        return;
    end(s, true);
    stream_free(s);
}
