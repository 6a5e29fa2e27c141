/* Layers of images: fetched when somebody asks, unpacked while they come (design.md, "The builder" item 5).
 */
#include <fcntl.h>
#include <unistd.h>

#include "oci/flight.h"
#include "wherry/store/layer.h"

#define MAX_UNPACKERS 4

/* A layer that some thread is unpacking: others with the same diffID wait for it. */
struct oci_unpacking {
    struct wh_digest diff_id;
    struct oci_unpacking *next;
};

/* ---- blobs ---- */

struct fetching {
    struct wh_oci *oci;
    struct oci_flight *flight;
    const struct wh_ref *ref;
    const struct wh_descriptor *blob;
};

static void *fetch_thread(void *data)
{
    struct fetching *f = data;
    oci_flight_run(f->oci, f->flight, f->ref, f->blob);
    return NULL;
}

static const struct wh_descriptor *descriptor_of(const struct wh_oci_image *image, size_t n)
{
    return n < image->nlayers ? &image->layers[n].descriptor : &image->config_descriptor;
}

int wh_oci_layer_ensure_blob(struct wh_oci *oci, const struct wh_oci_image *image, size_t n,
                             struct wh_error *err)
{
    const struct wh_descriptor *blob = descriptor_of(image, n);
    bool started;
    int there = wh_blob_has(oci->store, &blob->digest, NULL, err);
    if (there != 0)
        return there < 0 ? -1 : 0;
    struct oci_flight *f = oci_flight_join(oci, &blob->digest, &started);
    if (started)
        oci_flight_run(oci, f, &image->ref, blob);
    int failed = oci_flight_wait(f, err);
    oci_flight_leave(oci, f);
    return failed;
}

/* ---- trees ---- */

static int64_t find_tree(struct wh_oci *oci, const struct wh_oci_layer *layer, struct wh_error *err)
{
    int64_t id = wh_layer_by_diffid(oci->store, &layer->diff_id, err);
    return id != 0 ? id : wh_layer_by_chainid(oci->store, &layer->chain_id, err);
}

struct unpack_job {
    struct wh_oci *oci;
    const struct wh_oci_image *image;
    size_t n;
    int *lowers; /* descriptors, newest first */
    size_t nlowers;
};

/* The trees below a layer, for one that needs them: asked for in the middle of its unpacking. */
static int open_lowers(void *data, const int **fds, size_t *n, struct wh_error *err)
{
    struct unpack_job *job = data;
    job->lowers = wh_calloc(job->n + 1, sizeof(int));
    for (size_t i = job->n; i > 0; i--) {
        int64_t id;
        if (wh_oci_layer_ensure_tree(job->oci, job->image, i - 1, &id, err) < 0)
            return -1;
        int fd = wh_layer_open(job->oci->store, id, err);
        if (fd < 0)
            return -1;
        job->lowers[job->nlowers++] = fd;
    }
    *fds = job->lowers;
    *n = job->nlowers;
    return 0;
}

static void warn(void *data, const char *line)
{
    struct wh_oci *oci = data;
    oci_notice(oci, "%s", line);
}

/* Unpacks from a blob that is in the store already. */
static int unpack_stored(struct wh_oci *oci, const struct wh_digest *digest, int root,
                         const struct wh_unpack_options *o, struct wh_unpack_result *r, struct wh_error *err)
{
    wh_autoclose int fd = wh_blob_open(oci->store, digest, NULL, err);
    return fd < 0 ? -1 : wh_layer_unpack_fd(fd, root, o, r, err);
}

/* Unpacks what is being fetched, by this thread's doing or another's. */
static int unpack_flying(struct unpack_job *job, int root, const struct wh_unpack_options *o,
                         struct wh_unpack_result *r, struct wh_error *err)
{
    const struct wh_descriptor *blob = &job->image->layers[job->n].descriptor;
    bool started;
    struct oci_flight *f = oci_flight_join(job->oci, &blob->digest, &started);
    struct fetching fetching = {job->oci, f, &job->image->ref, blob};
    pthread_t thread;
    bool threaded = started && pthread_create(&thread, NULL, fetch_thread, &fetching) == 0;
    if (started && !threaded)
        oci_flight_run(job->oci, f, &job->image->ref, blob);
    struct oci_flight_reader reader = {f, 0};
    int failed = wh_layer_unpack(oci_flight_read, &reader, root, o, r, err);
    if (threaded)
        pthread_join(thread, NULL);
    if (failed == 0)
        failed = oci_flight_wait(f, err);
    oci_flight_leave(job->oci, f);
    return failed;
}

static int unpack_layer(struct unpack_job *job, int root, struct wh_unpack_result *r, struct wh_error *err)
{
    struct wh_oci *oci = job->oci;
    const struct wh_oci_layer *layer = &job->image->layers[job->n];
    struct wh_unpack_options o = {
        .digest = &layer->descriptor.digest,
        .size = layer->descriptor.size,
        .diff_id = &layer->diff_id,
        .lowers = job->n > 0 ? open_lowers : NULL,
        .lowers_data = job,
        .warn = warn,
        .warn_data = oci,
        .cancel = oci->options.cancel,
    };
    struct wh_layer_blob known;
    enum wh_compression compression;
    if (wh_layer_media_compression(layer->descriptor.media_type, &compression, err) < 0)
        return -1;
    int there = wh_blob_has(oci->store, &layer->descriptor.digest, NULL, err);
    if (there < 0)
        return -1;
    if (there > 0)
        return unpack_stored(oci, &layer->descriptor.digest, root, &o, r, err);
    /* The same layer, compressed otherwise, saves the download as well. */
    int other = wh_layer_blob(oci->store, &layer->diff_id, NULL, -2, &known, err);
    if (other < 0)
        return -1;
    if (other > 0) {
        o.digest = &known.digest;
        o.size = (int64_t)known.size;
        return unpack_stored(oci, &known.digest, root, &o, r, err);
    }
    return unpack_flying(job, root, &o, r, err);
}

static const char *format_name(const struct wh_oci_layer *layer)
{
    enum wh_compression c = WH_COMPRESS_NONE;
    wh_layer_media_compression(layer->descriptor.media_type, &c, NULL);
    return c == WH_COMPRESS_NONE ? "none" : wh_compression_text(c);
}

/* Only of the bytes that were unpacked it is known that they give the diffID. A manifest that names other
 * bytes for it may lie, and others would be given these for the layer. */
static int remember_blob(struct wh_oci *oci, const struct wh_oci_layer *layer,
                         const struct wh_digest *unpacked, struct wh_error *err)
{
    if (!wh_digest_eq(unpacked, &layer->descriptor.digest))
        return 0;
    struct wh_layer_blob blob = {
        .digest = layer->descriptor.digest, .size = (uint64_t)layer->descriptor.size, .level = -1};
    const char *format = format_name(layer);
    memcpy(blob.format, format, WH_MIN(strlen(format), sizeof(blob.format) - 1));
    return wh_layer_blob_add(oci->store, &layer->diff_id, &blob, err);
}

static int64_t make_tree(struct wh_oci *oci, const struct wh_oci_image *image, size_t n, struct wh_error *err)
{
    struct unpack_job job = {.oci = oci, .image = image, .n = n};
    struct wh_unpack_result r;
    const struct wh_oci_layer *layer = &image->layers[n];
    wh_autotree *tree = wh_tree_begin(oci->store, err);
    if (!tree)
        return -1;
    int failed = unpack_layer(&job, wh_tree_fd(tree), &r, err);
    for (size_t i = 0; i < job.nlowers; i++)
        close(job.lowers[i]);
    free(job.lowers);
    if (failed < 0 || remember_blob(oci, layer, &r.digest, err) < 0) {
        wh_autofree char *name = wh_ref_familiar(&image->ref);
        return wh_wrap(err, "layer %zu of %s", n + 1, name);
    }
    struct wh_layer_info info = {
        .diffid = &layer->diff_id, .chainid = r.used_lowers ? &layer->chain_id : NULL, .size = -1};
    return wh_tree_commit(wh_steal(&tree), &info, err);
}

/* ---- one thread a layer ---- */

static void begin_unpacking(struct wh_oci *oci, struct oci_unpacking *mine)
{
    pthread_mutex_lock(&oci->lock);
    for (;;) {
        struct oci_unpacking *other = oci->unpackings;
        while (other && !wh_digest_eq(&other->diff_id, &mine->diff_id))
            other = other->next;
        if (!other)
            break;
        pthread_cond_wait(&oci->changed, &oci->lock);
    }
    mine->next = oci->unpackings;
    oci->unpackings = mine;
    pthread_mutex_unlock(&oci->lock);
}

static void end_unpacking(struct wh_oci *oci, struct oci_unpacking *mine)
{
    pthread_mutex_lock(&oci->lock);
    for (struct oci_unpacking **at = &oci->unpackings; *at; at = &(*at)->next)
        if (*at == mine) {
            *at = mine->next;
            break;
        }
    pthread_cond_broadcast(&oci->changed);
    pthread_mutex_unlock(&oci->lock);
}

int wh_oci_layer_ensure_tree(struct wh_oci *oci, const struct wh_oci_image *image, size_t n, int64_t *id,
                             struct wh_error *err)
{
    struct oci_unpacking mine = {.diff_id = image->layers[n].diff_id};
    *id = find_tree(oci, &image->layers[n], err);
    if (*id != 0)
        return *id < 0 ? -1 : 0;
    begin_unpacking(oci, &mine);
    *id = find_tree(oci, &image->layers[n], err); /* another thread may have made it meanwhile */
    if (*id == 0)
        *id = make_tree(oci, image, n, err);
    end_unpacking(oci, &mine);
    return *id < 0 ? -1 : 0;
}

/* ---- all layers ---- */

struct unpack_all {
    struct wh_oci *oci;
    const struct wh_oci_image *image;
    size_t n, next;
    int64_t *ids;
    pthread_mutex_t lock;
    struct wh_error error;
};

/* Takes layers from the bottom up: one that waits for lower trees waits for layers that other threads have
 * begun already. */
static void *unpack_worker(void *data)
{
    struct unpack_all *all = data;
    for (;;) {
        pthread_mutex_lock(&all->lock);
        bool end = all->next == all->n || all->error.code != WH_OK;
        size_t mine = all->next;
        all->next += !end;
        pthread_mutex_unlock(&all->lock);
        if (end)
            return NULL;
        struct wh_error err = {0};
        if (wh_oci_layer_ensure_tree(all->oci, all->image, mine, &all->ids[mine], &err) == 0)
            continue;
        pthread_mutex_lock(&all->lock);
        if (all->error.code == WH_OK)
            all->error = err;
        else
            wh_error_clear(&err);
        pthread_mutex_unlock(&all->lock);
        return NULL;
    }
}

int wh_oci_ensure_trees(struct wh_oci *oci, const struct wh_oci_image *image, size_t n, int64_t *ids,
                        struct wh_error *err)
{
    struct unpack_all all = {.oci = oci, .image = image, .n = n, .ids = ids};
    pthread_t threads[MAX_UNPACKERS];
    size_t started = 0, missing = 0;
    for (size_t i = 0; i < n; i++) {
        ids[i] = find_tree(oci, &image->layers[i], err);
        if (ids[i] < 0)
            return -1;
        missing += ids[i] == 0;
    }
    if (missing == 0)
        return 0;
    pthread_mutex_init(&all.lock, NULL);
    while (started + 1 < MAX_UNPACKERS && started + 1 < missing &&
           pthread_create(&threads[started], NULL, unpack_worker, &all) == 0)
        started++;
    unpack_worker(&all);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&all.lock);
    return all.error.code == WH_OK ? 0 : wh_error_move(err, &all.error);
}
