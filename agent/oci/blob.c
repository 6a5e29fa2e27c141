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
};

static bool digest_of_file(void *data, const char *path, const struct stat *st, struct wh_digest *out)
{
    struct wh_blob_segments *s = data;
    return s->file_digest(s->data, path, st, out);
}

static int look_up(void *data, const struct wh_digest *key, int *fd, uint64_t *offset, uint64_t *len)
{
    struct wh_blob_segments *s = data;
    struct wh_segment segment = {.key = *key};
    if (wh_segments_find(s->store, &segment, 1, NULL) <= 0 || segment.length == 0)
        return 0;
    *fd = wh_blob_open(s->store, &segment.blob, NULL, NULL);
    *offset = segment.offset;
    *len = segment.length;
    return *fd >= 0;
}

static void remember(void *data, const struct wh_digest *key, uint64_t offset, uint64_t len)
{
    struct wh_blob_segments *s = data;
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 64;
        s->list = wh_reallocarray(s->list, s->cap, sizeof(*s->list));
    }
    s->list[s->n++] = (struct wh_segment){.key = *key, .offset = offset, .length = len};
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
    free(s->list);
    free(s);
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
