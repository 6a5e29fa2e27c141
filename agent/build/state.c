/* A stack of layers: what a stage has come to. */
#include "build/cache.h"

void state_clear(struct state *s)
{
    free(s->layers);
    *s = (struct state){0};
}

void state_copy(struct state *to, const struct state *from)
{
    free(to->layers);
    *to = *from;
    to->layers = wh_calloc(from->n, sizeof(*to->layers));
    if (from->n > 0)
        memcpy(to->layers, from->layers, from->n * sizeof(*to->layers));
}

/* A layer counts by its content where that is known: stacks with the same diffIDs are the same, however they
 * came to be. */
static void fold_identity(struct state *s, const struct layer *layer)
{
    struct key k;
    key_begin(&k, "stack");
    key_digest(&k, &s->identity);
    if (layer->has_diffid)
        key_digest(&k, &layer->diffid);
    else
        key_number(&k, (uint64_t)layer->id);
    key_end(&k, &s->identity);
}

void state_push(struct state *s, const struct layer *layer)
{
    s->layers = wh_reallocarray(s->layers, s->n + 1, sizeof(*s->layers));
    s->layers[s->n++] = *layer;
    fold_identity(s, layer);
}

void state_from_image(struct state *s, struct wh_oci_image *image)
{
    for (size_t i = 0; i < image->nlayers; i++) {
        struct layer layer = {
            .has_diffid = true, .diffid = image->layers[i].diff_id, .image = image, .nth = i};
        state_push(s, &layer);
    }
}

/* Base layers lie at the bottom, in the image's order: one call unpacks them in parallel. */
static int unpack_base(struct build *b, struct state *s, struct wh_error *err)
{
    size_t n = 0;
    bool missing = false;
    while (n < s->n && s->layers[n].image) {
        missing = missing || s->layers[n].id == 0;
        n++;
    }
    if (!missing)
        return 0;
    struct wh_oci *oci = build_oci(b, err);
    wh_autofree int64_t *ids = wh_calloc(n, sizeof(*ids));
    if (!oci || wh_oci_ensure_trees(oci, s->layers[0].image, n, ids, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        s->layers[i].id = ids[i];
    return 0;
}

/* A layer whose tree was collected, but whose blob is there. */
static int unpack_own(struct build *b, struct layer *layer, struct wh_error *err)
{
    struct wh_layer_blob blob;
    layer->id = wh_layer_by_diffid(b->store, &layer->diffid, err);
    if (layer->id != 0)
        return layer->id > 0 ? 0 : -1;
    int found = wh_layer_blob(b->store, &layer->diffid, NULL, -2, &blob, err);
    if (found == 0 && layer->imported) {
        const struct wh_descriptor *d = &cache_layer(layer)->descriptor;
        found = cache_fetch(b, layer, err) < 0 ? -1 : 1;
        blob = (struct wh_layer_blob){.digest = d->digest, .size = (uint64_t)d->size};
    }
    if (found < 0)
        return -1;
    if (found == 0)
        return wh_fail(err, WH_E_NOT_FOUND,
                       "a layer left the store while it was needed; run the build again");
    wh_autoclose int fd = wh_blob_open(b->store, &blob.digest, NULL, err);
    wh_autotree *tree = fd >= 0 ? wh_tree_begin(b->store, err) : NULL;
    if (!tree)
        return -1;
    struct wh_unpack_options options = {.digest = &blob.digest,
                                        .size = (int64_t)blob.size,
                                        .diff_id = &layer->diffid,
                                        .cancel = &b->channel.cancel};
    struct wh_unpack_result result;
    if (wh_layer_unpack_fd(fd, wh_tree_fd(tree), &options, &result, err) < 0)
        return -1;
    struct wh_layer_info info = {.diffid = &layer->diffid, .size = (int64_t)result.tar_size};
    layer->id = wh_tree_commit(wh_steal(&tree), &info, err);
    return layer->id > 0 ? 0 : -1;
}

int state_trees(struct build *b, struct state *s, int64_t **ids, struct wh_error *err)
{
    if (unpack_base(b, s, err) < 0)
        return -1;
    for (size_t i = 0; i < s->n; i++)
        if (s->layers[i].id == 0 && unpack_own(b, &s->layers[i], err) < 0)
            return -1;
    *ids = wh_calloc(s->n, sizeof(**ids));
    for (size_t i = 0; i < s->n; i++)
        (*ids)[i] = s->layers[s->n - 1 - i].id;
    return 0;
}
