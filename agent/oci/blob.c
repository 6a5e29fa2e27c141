/* Layer trees of the store become blobs of the store. */
#include "wherry/oci/blob.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "wherry/base/fs.h"

/* ---- segments that the store remembers ---- */

struct wh_blob_segments {
    struct wh_store *store;
    bool (*file_digest)(void *data, const char *path, const struct stat *st, struct wh_digest *out);
    void *data;
    struct wh_segment_cache cache;
    struct wh_segment *list; /* of the blob under way */
    size_t n, cap;
    /* Segments that are used again mostly lie in one blob: it stays open. Guarded by lock. */
    pthread_mutex_t lock;
    struct wh_digest open;
    int fd;
};

static bool digest_of_file(void *data, const char *path, const struct stat *st, struct wh_digest *out)
{
    struct wh_blob_segments *s = data;
    return s->file_digest(s->data, path, st, out);
}

static int open_blob(struct wh_blob_segments *s, const struct wh_digest *blob)
{
    pthread_mutex_lock(&s->lock);
    if (s->fd < 0 || !wh_digest_eq(&s->open, blob)) {
        wh_close_fd(&s->fd);
        s->fd = wh_blob_open(s->store, blob, NULL, NULL);
        s->open = *blob;
    }
    int fd = s->fd < 0 ? -1 : fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
    pthread_mutex_unlock(&s->lock);
    return fd;
}

static int look_up(void *data, const struct wh_digest *key, int *fd, struct wh_segment_place *place)
{
    struct wh_blob_segments *s = data;
    struct wh_segment segment = {.key = *key};
    if (wh_segments_find(s->store, &segment, 1, NULL) <= 0 || segment.length == 0)
        return 0;
    *fd = open_blob(s, &segment.blob);
    *place = (struct wh_segment_place){segment.offset, segment.length, segment.check};
    return *fd >= 0;
}

static void remember(void *data, const struct wh_digest *key, const struct wh_segment_place *place)
{
    struct wh_blob_segments *s = data;
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 64;
        s->list = wh_reallocarray(s->list, s->cap, sizeof(*s->list));
    }
    s->list[s->n++] = (struct wh_segment){
        .key = *key, .offset = place->offset, .length = place->len, .check = place->check};
}

struct wh_blob_segments *wh_blob_segments_new(struct wh_store *store,
                                              bool (*file_digest)(void *data, const char *path,
                                                                  const struct stat *st,
                                                                  struct wh_digest *out),
                                              void *data)
{
    struct wh_blob_segments *s = wh_calloc(1, sizeof(*s));
    s->store = store;
    s->file_digest = file_digest;
    s->data = data;
    s->fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    s->cache = (struct wh_segment_cache){s, file_digest ? digest_of_file : NULL, look_up, remember};
    return s;
}

const struct wh_segment_cache *wh_blob_segments_cache(struct wh_blob_segments *s)
{
    return &s->cache;
}

int wh_blob_segments_save(struct wh_blob_segments *s, const struct wh_digest *blob, struct wh_error *err)
{
    for (size_t i = 0; i < s->n; i++)
        s->list[i].blob = *blob;
    int failed = s->n ? wh_segments_add(s->store, s->list, s->n, err) : 0;
    s->n = 0;
    return failed < 0 ? -1 : 0;
}

void wh_blob_segments_free(struct wh_blob_segments *s)
{
    if (!s)
        return;
    wh_close_fd(&s->fd);
    pthread_mutex_destroy(&s->lock);
    free(s->list);
    free(s);
}

void wh_blob_segments_free_ptr(struct wh_blob_segments **s)
{
    wh_blob_segments_free(*s);
}

/* ---- the blob ---- */

static const char *format_of(enum wh_compression c)
{
    return c == WH_COMPRESS_NONE ? "none" : wh_compression_text(c);
}

struct writing {
    const struct wh_layer_options *options;
    struct wh_blob_push *push;
    int fd; /* the store's file */
};

static int write_bytes(void *data, const void *bytes, size_t len, struct wh_error *err)
{
    const struct writing *w = data;
    return wh_write_all(w->fd, bytes, len, err);
}

static void grow(void *data, uint64_t total)
{
    const struct writing *w = data;
    if (w->push && w->push->stream)
        wh_registry_stream_grow(w->push->stream, total);
    if (w->options->progress)
        w->options->progress(w->options->progress_data, total);
}

/* An upload that can't be begun is no failure: the push that follows sends the blob. */
static void begin_push(struct writing *w)
{
    if (w->push && w->push->registry)
        w->push->stream = wh_registry_stream_begin(w->push->registry, w->push->repository, w->fd, NULL);
}

static bool digest_of_layer(void *data, const char *path, const struct stat *st, struct wh_digest *out)
{
    (void)st;
    const struct wh_digest *found = wh_layer_files_get(data, path);
    if (found)
        *out = *found;
    return found != NULL;
}

/* Segments are worth a look-up where the digests of the layer's files are known: a COPY's. */
static struct wh_blob_segments *segments_of(struct wh_store *store, const struct wh_layer_files *files)
{
    return files ? wh_blob_segments_new(store, digest_of_layer, (void *)(uintptr_t)files) : NULL;
}

static int make(struct wh_store *store, int64_t layer, const struct wh_layer_options *options,
                struct wh_blob_push *push, struct wh_layer_blob *out, struct wh_digest *diff_id,
                struct wh_error *err)
{
    wh_autoclose int tree = wh_layer_open(store, layer, err);
    wh_autoblob *writer = tree < 0 ? NULL : wh_blob_begin(store, WH_BLOB_LATER, err);
    wh_autosha256 *hash = wh_sha256_new();
    if (!writer)
        return -1;
    struct writing w = {.options = options, .push = push, .fd = wh_blob_fd(writer)};
    struct wh_layer_options o = *options;
    struct wh_layer_result result;
    wh_autolayerfiles *files = o.segments ? NULL : wh_layer_files_load(store, layer);
    wh_autosegments *segments = segments_of(store, files);
    if (segments)
        o.segments = wh_blob_segments_cache(segments);
    o.blob_hash = hash;
    o.progress = grow;
    o.progress_data = &w;
    begin_push(&w);
    if (wh_layer_write(tree, &o, write_bytes, &w, &result, err) < 0)
        return -1;
    if (wh_blob_commit_hashed(wh_steal(&writer), hash, result.size, WH_BLOB_ANY, &out->digest, &out->size,
                              err) < 0)
        return -1;
    if (push && push->stream)
        wh_registry_stream_whole(push->stream, out->size);
    if (segments) /* without these rows the next blob only costs more */
        (void)wh_blob_segments_save(segments, &out->digest, NULL);
    *diff_id = result.diff_id;
    return 0;
}

int wh_oci_layer_blob(struct wh_store *store, int64_t layer, const struct wh_layer_options *options,
                      struct wh_blob_push *push, struct wh_layer_blob *out, struct wh_digest *diff_id,
                      struct wh_error *err)
{
    const char *format = format_of(options->compression);
    if (push)
        push->stream = NULL;
    int known = wh_layer_diffid(store, layer, diff_id, err);
    /* A blob with another source date has other bytes: it is not looked up, and not filed for others to find.
     */
    bool plain = options->epoch == WH_LAYER_NO_EPOCH;
    if (known > 0 && plain)
        known = wh_layer_blob(store, diff_id, format, options->level, out, err);
    if (known < 0 || (known > 0 && plain))
        return known < 0 ? -1 : 0;
    if (make(store, layer, options, push, out, diff_id, err) < 0) {
        if (push)
            wh_registry_stream_abort(wh_steal(&push->stream));
        return -1;
    }
    out->level = options->level;
    memset(out->format, 0, sizeof(out->format));
    memcpy(out->format, format, WH_MIN(strlen(format), sizeof(out->format) - 1));
    if (plain && wh_layer_set_diffid(store, layer, diff_id, err) < 0)
        return -1;
    return wh_layer_blob_add(store, diff_id, out, err) < 0 ? -1 : 0;
}
