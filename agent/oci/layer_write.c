/* Tree -> blob in one pass, on all cores.
 *
 * Segments go round a ring. Three stages are serial and in the order of the stream: reading (tree -> tar
 * bytes), hashing (diffID), and output (blob digest, sink); compression is parallel. There are no threads for
 * stages: every thread takes what is to be done next, output first, then hashing, compression, and reading
 * only if nothing else waits. So two cores are as busy as sixteen, memory is bounded by the ring, and the
 * bytes are the same for any number of threads. */
#include <libdeflate.h>
#include <pthread.h>
#include <unistd.h>

#include "oci/segment.h"

#define MAX_THREADS                                                                                          \
    16 /* the serial stages (SHA-256, about 1.3 GB/s) keep no more than a few compressors busy */
#define RING_EXTRA 3 /* slots beyond one per thread: one each for the serial stages */
#define MAX_RING (MAX_THREADS + RING_EXTRA)

enum slot_state { SLOT_FREE, SLOT_READING, SLOT_READ, SLOT_COMPRESSING, SLOT_COMPRESSED };

struct slot {
    enum slot_state state;
    bool hashed, written;
    struct oci_segment seg;
    char *out; /* compressed bytes */
    size_t out_cap, out_len;
    bool reused;
};

struct pipeline {
    const struct wh_layer_options *options;
    struct oci_method method;
    struct oci_stream *stream;
    wh_layer_sink_fn sink;
    void *sink_data;
    struct wh_layer_result *result;
    struct wh_sha256 *tar_hash;
    struct wh_sha256 *blob_hash; /* NULL: the blob is the tar, hashed already */
    bool packs;                  /* there is a compressor */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct slot ring[MAX_RING];
    uint64_t slots;
    uint64_t read, hashed, written; /* sequence numbers of the next segment of each stage */
    uint64_t end;                   /* number of segments; UINT64_MAX until known */
    bool reading, hashing, writing; /* a thread is at it */
    bool failed;
    struct wh_error error;
};

static struct slot *slot_of(struct pipeline *p, uint64_t seq)
{
    return &p->ring[seq % p->slots];
}

/* Called with the lock held, by a stage that failed. */
static void fail(struct pipeline *p, struct wh_error *err)
{
    if (!p->failed)
        wh_error_move(&p->error, err);
    else
        wh_error_clear(err);
    p->failed = true;
}

static void free_if_done(struct slot *slot)
{
    if (slot->hashed && slot->written)
        slot->state = SLOT_FREE;
}

static bool canceled(const struct pipeline *p)
{
    return p->options->cancel && __atomic_load_n(p->options->cancel, __ATOMIC_RELAXED);
}

/* ---- the stages; each is called and returns with the lock held ---- */

static void stage_read(struct pipeline *p)
{
    struct slot *slot = slot_of(p, p->read);
    struct wh_error err = {0};
    p->reading = true;
    slot->state = SLOT_READING;
    pthread_mutex_unlock(&p->lock);
    int n = canceled(p) ? wh_fail(&err, WH_E_CANCELED, "the layer's export was canceled")
                        : oci_stream_next(p->stream, &slot->seg, &err);
    pthread_mutex_lock(&p->lock);
    p->reading = false;
    slot->state = SLOT_FREE;
    if (n < 0) {
        fail(p, &err);
    } else if (n == 0) {
        p->end = p->read;
    } else {
        slot->state = SLOT_READ;
        slot->hashed = slot->written = slot->reused = false;
        p->read++;
    }
}

static void stage_hash(struct pipeline *p)
{
    struct slot *slot = slot_of(p, p->hashed);
    p->hashing = true;
    pthread_mutex_unlock(&p->lock);
    wh_sha256_update(p->tar_hash, slot->seg.raw.data, slot->seg.raw.len);
    pthread_mutex_lock(&p->lock);
    p->result->tar_size += slot->seg.raw.len;
    p->hashing = false;
    p->hashed++;
    slot->hashed = true;
    free_if_done(slot);
}

static void need_out(struct slot *slot, size_t cap)
{
    if (slot->out_cap >= cap)
        return;
    free(slot->out);
    slot->out = wh_malloc(cap);
    slot->out_cap = cap;
}

/* Compressed bytes of an earlier blob with the same segment. */
static bool reuse(struct pipeline *p, struct slot *slot)
{
    const struct wh_segment_cache *cache = p->options->segments;
    struct wh_segment_place at;
    int fd;
    if (!slot->seg.has_key || cache->lookup(cache->data, &slot->seg.key, &fd, &at) <= 0)
        return false;
    wh_autoclose int own = fd;
    if (at.len == 0 || at.len > oci_compress_bound(&p->method, slot->seg.raw.len))
        return false;
    need_out(slot, (size_t)at.len);
    for (size_t done = 0; done < at.len;) {
        ssize_t n = pread(own, slot->out + done, (size_t)at.len - done, (off_t)(at.offset + done));
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    if (libdeflate_crc32(0, slot->out, (size_t)at.len) != at.check)
        return false;
    slot->out_len = (size_t)at.len;
    slot->reused = true;
    return true;
}

static int compress_slot(struct pipeline *p, struct slot *slot, struct oci_compressor *compressor,
                         struct wh_error *err)
{
    if (reuse(p, slot))
        return 0;
    need_out(slot, oci_compress_bound(&p->method, slot->seg.raw.len));
    slot->out_len =
        oci_compress(compressor, slot->seg.raw.data, slot->seg.raw.len, slot->out, slot->out_cap, err);
    return slot->out_len ? 0 : -1;
}

static void stage_compress(struct pipeline *p, struct slot *slot, struct oci_compressor *compressor)
{
    struct wh_error err = {0};
    slot->state = SLOT_COMPRESSING;
    pthread_mutex_unlock(&p->lock);
    int n = compress_slot(p, slot, compressor, &err);
    pthread_mutex_lock(&p->lock);
    slot->state = SLOT_COMPRESSED;
    if (n < 0)
        fail(p, &err);
}

static int write_slot(struct pipeline *p, struct slot *slot, struct wh_error *err)
{
    const struct wh_segment_cache *cache = p->options->segments;
    const char *bytes = p->packs ? slot->out : slot->seg.raw.data;
    size_t len = p->packs ? slot->out_len : slot->seg.raw.len;
    if (p->blob_hash)
        wh_sha256_update(p->blob_hash, bytes, len);
    if (p->sink && p->sink(p->sink_data, bytes, len, err) < 0)
        return -1;
    if (slot->seg.has_key && cache->remember) {
        struct wh_segment_place at = {p->result->size, len, libdeflate_crc32(0, bytes, len)};
        cache->remember(cache->data, &slot->seg.key, &at);
    }
    p->result->size += len;
    p->result->segments++;
    p->result->reused += slot->reused;
    if (p->sink && p->options->progress)
        p->options->progress(p->options->progress_data, p->result->size);
    return 0;
}

static void stage_write(struct pipeline *p)
{
    struct slot *slot = slot_of(p, p->written);
    struct wh_error err = {0};
    p->writing = true;
    pthread_mutex_unlock(&p->lock);
    int n = write_slot(p, slot, &err);
    pthread_mutex_lock(&p->lock);
    p->writing = false;
    if (n < 0)
        fail(p, &err);
    p->written++;
    slot->written = true;
    free_if_done(slot);
}

static bool ready_to_write(struct pipeline *p)
{
    return !p->writing && p->written < p->read &&
           slot_of(p, p->written)->state == (p->packs ? SLOT_COMPRESSED : SLOT_READ);
}

static struct slot *ready_to_compress(struct pipeline *p)
{
    for (uint64_t seq = p->written; p->packs && seq < p->read; seq++)
        if (slot_of(p, seq)->state == SLOT_READ)
            return slot_of(p, seq);
    return NULL;
}

/* Does the most urgent piece of work. False if there is none now. */
static bool step(struct pipeline *p, struct oci_compressor *compressor)
{
    struct slot *slot;
    if (ready_to_write(p))
        stage_write(p);
    else if (!p->hashing && p->hashed < p->read)
        stage_hash(p);
    else if ((slot = ready_to_compress(p)))
        stage_compress(p, slot, compressor);
    else if (!p->reading && p->end == UINT64_MAX && slot_of(p, p->read)->state == SLOT_FREE)
        stage_read(p);
    else
        return false;
    pthread_cond_broadcast(&p->changed);
    return true;
}

static bool finished(const struct pipeline *p)
{
    return p->failed || (p->written == p->end && p->hashed == p->end);
}

static void *work(void *data)
{
    struct pipeline *p = data;
    struct oci_compressor *compressor = p->packs ? oci_compressor_new(&p->method) : NULL;
    pthread_mutex_lock(&p->lock);
    while (!finished(p))
        if (!step(p, compressor))
            pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    oci_compressor_free(compressor);
    return NULL;
}

static unsigned thread_count(const struct wh_layer_options *options)
{
    long n = options->threads ? (long)options->threads : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (unsigned)n;
}

/* The caller's thread works too; threads that can't be started are done without. */
static void run(struct pipeline *p)
{
    pthread_t threads[MAX_THREADS];
    unsigned n = 0, wanted = thread_count(p->options) - 1;
    while (n < wanted && pthread_create(&threads[n], NULL, work, p) == 0)
        n++;
    work(p);
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

static void pipeline_free(struct pipeline *p)
{
    for (uint64_t i = 0; i < p->slots; i++) {
        wh_str_free(&p->ring[i].seg.raw);
        free(p->ring[i].out);
    }
    oci_stream_free(p->stream);
    wh_sha256_free(p->tar_hash);
    if (!p->options->blob_hash)
        wh_sha256_free(p->blob_hash);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    free(p);
}

static int write_tree(int dirfd, bool overlay, const struct wh_layer_options *options, wh_layer_sink_fn sink,
                      void *data, struct wh_layer_result *out, struct wh_error *err)
{
    struct oci_method method;
    if (oci_method_choose(options->compression, options->level, &method, err) < 0)
        return -1;
    struct oci_stream *stream = oci_stream_new(dirfd, overlay, options, &method, err);
    if (!stream)
        return -1;
    struct wh_layer_result result = {0};
    struct pipeline *p = wh_calloc(1, sizeof(*p));
    p->options = options;
    p->method = method;
    p->stream = stream;
    p->sink = sink;
    p->sink_data = data;
    p->result = &result;
    p->tar_hash = wh_sha256_new();
    p->packs = method.engine != OCI_ENGINE_COPY;
    p->blob_hash = options->blob_hash ? options->blob_hash : p->packs ? wh_sha256_new() : NULL;
    p->slots = thread_count(options) + RING_EXTRA;
    p->end = UINT64_MAX;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    run(p);
    int failed = p->failed ? wh_error_move(err, &p->error) : 0;
    if (!failed) {
        wh_sha256_final(p->tar_hash, &result.diff_id);
        if (!p->packs)
            result.digest = result.diff_id;
        else if (!options->blob_hash)
            wh_sha256_final(p->blob_hash, &result.digest);
        result.files = oci_stream_members(stream);
        *out = result;
    }
    pipeline_free(p);
    return failed;
}

int wh_layer_write(int dirfd, const struct wh_layer_options *options, wh_layer_sink_fn sink, void *data,
                   struct wh_layer_result *out, struct wh_error *err)
{
    return write_tree(dirfd, true, options, sink, data, out, err);
}

int wh_tree_write_tar(int dirfd, const struct wh_layer_options *options, wh_layer_sink_fn sink, void *data,
                      struct wh_layer_result *out, struct wh_error *err)
{
    return write_tree(dirfd, false, options, sink, data, out, err);
}
