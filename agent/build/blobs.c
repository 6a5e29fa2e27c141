/* Layers as blobs. A layer is compressed as soon as it is there, beside the steps that follow, and is
 * uploaded while it is compressed (design.md, "why it can be fast" 2 to 4). */
#include "build/output.h"

#include "wherry/oci/blob.h"

struct blob_job {
    struct build *b;
    const struct output *o;
    struct layer layer;
    pthread_t thread;
    struct wh_layer_blob blob;
    struct wh_blob_stream *stream; /* an upload that was begun */
    int status;
    struct wh_error error;
};

static struct wh_layer_options options_of(const struct build *b, const struct output *o)
{
    return (struct wh_layer_options){.compression = o->compression,
                                     .level = o->level,
                                     .epoch = WH_LAYER_NO_EPOCH,
                                     .cancel = &b->channel.cancel};
}

static const char *format_of(const struct output *o)
{
    return o->compression == WH_COMPRESS_NONE ? "none" : wh_compression_text(o->compression);
}

/* 1: the store has it. */
static int find(struct build *b, const struct output *o, const struct layer *layer, struct wh_layer_blob *out,
                struct wh_error *err)
{
    return layer->has_diffid ? wh_layer_blob(b->store, &layer->diffid, format_of(o), o->level, out, err) : 0;
}

int blobs_get(struct build *b, const struct output *o, struct layer *layer, struct wh_layer_blob *out,
              struct wh_error *err)
{
    int found = find(b, o, layer, out, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    if (layer->id == 0) {
        wh_autofree int64_t *ids = NULL;
        struct state one = {.layers = layer, .n = 1};
        if (state_trees(b, &one, &ids, err) < 0)
            return -1;
    }
    struct wh_layer_options options = options_of(b, o);
    if (wh_oci_layer_blob(b->store, layer->id, &options, NULL, out, &layer->diffid, err) < 0)
        return -1;
    layer->has_diffid = true;
    return 0;
}

static void *make_blob(void *arg)
{
    struct blob_job *j = arg;
    struct build *b = j->b;
    struct wh_layer_options options = options_of(b, j->o);
    struct wh_blob_push push = {.registry = b->registry};
    struct wh_digest diffid;
    wh_autoref ref = {0};
    bool pushing = j->o->push && build_oci(b, NULL) && wh_ref_parse(j->o->names[0], &ref, NULL) == 0;
    push.registry = b->registry;
    push.repository = &ref;
    j->status = wh_oci_layer_blob(b->store, j->layer.id, &options, pushing ? &push : NULL, &j->blob, &diffid,
                                  &j->error);
    j->stream = push.stream;
    return NULL;
}

static const struct output *first_image(const struct build *b)
{
    for (size_t i = 0; i < b->request->noutputs; i++)
        if (b->outputs[i].image)
            return &b->outputs[i];
    return NULL;
}

/* Only what ends up in the image: the target's own stages. */
static bool in_target(const struct build *b, const struct stage *s)
{
    for (size_t i = b->plan->target;; i = b->plan->stages[i].base.stage) {
        if (i == s->index)
            return true;
        if (b->plan->stages[i].base.kind != WH_DF_SOURCE_STAGE)
            return false;
    }
}

void blobs_begin(struct build *b, const struct stage *s, const struct layer *layer)
{
    const struct output *o = first_image(b);
    struct wh_layer_blob blob;
    if (!o || (o->rewrite && o->epoch != WH_LAYER_NO_EPOCH) || layer->id == 0 || layer->image ||
        !in_target(b, s) || find(b, o, layer, &blob, NULL) != 0)
        return;
    struct blob_job *j = wh_calloc(1, sizeof(*j));
    *j = (struct blob_job){.b = b, .o = o, .layer = *layer};
    if (pthread_create(&j->thread, NULL, make_blob, j) != 0) {
        free(j); /* it is made at the export then */
        return;
    }
    pthread_mutex_lock(&b->lock);
    b->jobs = wh_reallocarray(b->jobs, b->njobs + 1, sizeof(struct blob_job *));
    b->jobs[b->njobs++] = j;
    pthread_mutex_unlock(&b->lock);
}

/* Ends an upload that was begun; if it fails, the push itself tries again and says why. */
static void end_upload(struct build *b, struct blob_job *j)
{
    struct wh_descriptor d = {0};
    enum wh_push_how how;
    if (!j->stream)
        return;
    if (j->status < 0 || channel_canceled(&b->channel)) {
        wh_registry_stream_abort(j->stream);
        return;
    }
    wh_descriptor_set(&d, wh_layer_media_type(j->o->compression, j->o->docker), &j->blob.digest,
                      (int64_t)j->blob.size);
    if (wh_registry_stream_finish(j->stream, &d, &how, NULL) == 0 && how == WH_PUSH_UPLOADED) {
        b->uploaded += j->blob.size;
        b->layers_uploaded++;
    }
    wh_descriptor_clear(&d);
}

int blobs_finish(struct build *b, struct wh_error *err)
{
    int status = 0;
    for (size_t i = 0; i < b->njobs; i++) {
        struct blob_job *j = b->jobs[i];
        pthread_join(j->thread, NULL);
        end_upload(b, j);
        if (j->status < 0 && status == 0)
            status = wh_error_move(err, &j->error);
        wh_error_clear(&j->error);
        free(j);
    }
    free(b->jobs);
    b->jobs = NULL;
    b->njobs = 0;
    return status;
}
