/* Layers in the form that an output asks for: as they are, compressed otherwise, or with their times cut
 * (builder.md §5 Compression, Reproducibility). */
#include <stdio.h>

#include "build/cache.h"

#include "wherry/oci/blob.h"
#include "wherry/oci/export.h"

static const char *format_of(const struct output *o)
{
    return o->compression == WH_COMPRESS_NONE ? "none" : wh_compression_text(o->compression);
}

static void describe(const struct output *o, const struct wh_layer_blob *blob, struct wh_descriptor *out)
{
    wh_descriptor_set(out, wh_layer_media_type(o->compression, o->docker), &blob->digest,
                      (int64_t)blob->size);
}

/* ---- base layers ---- */

/* The base's own tar, compressed as asked. */
static int base_forced(struct build *b, const struct output *o, const struct layer *layer,
                       struct wh_descriptor *out, struct wh_error *err)
{
    const struct wh_oci_layer *base = &layer->image->layers[layer->nth];
    struct wh_layer_blob blob;
    int found = wh_layer_blob(b->store, &base->diff_id, format_of(o), o->level, &blob, err);
    if (found == 0) {
        struct wh_oci *oci = build_oci(b, err);
        struct wh_layer_options options = {.compression = o->compression,
                                           .level = o->level,
                                           .epoch = WH_LAYER_NO_EPOCH,
                                           .cancel = &b->channel.cancel};
        if (!oci || wh_oci_layer_ensure_blob(oci, layer->image, layer->nth, err) < 0)
            return -1;
        found = wh_oci_recompress(b->store, &base->descriptor.digest, &base->diff_id, &options, &blob, err);
    }
    if (found >= 0)
        describe(o, &blob, out);
    return found < 0 ? -1 : 0;
}

static int base_layer(struct build *b, const struct output *o, const struct layer *layer,
                      struct wh_descriptor *out, struct wh_error *err)
{
    const struct wh_descriptor *base = &layer->image->layers[layer->nth].descriptor;
    enum wh_compression c;
    if (wh_layer_media_compression(base->media_type, &c, err) < 0)
        return -1;
    if (o->force && (c != o->compression || o->level != 0))
        return base_forced(b, o, layer, out, err);
    wh_descriptor_set(out, wh_layer_media_type(c, o->docker), &base->digest, base->size);
    return 0;
}

/* ---- own layers ---- */

/* A layer with its times cut has another diffID: the store remembers which. */
static void rewritten_key(const struct output *o, const struct layer *layer, struct wh_digest *out)
{
    struct key k;
    key_begin(&k, "rewritten");
    if (layer->has_diffid)
        key_digest(&k, &layer->diffid);
    else
        key_number(&k, (uint64_t)layer->id);
    key_number(&k, (uint64_t)o->epoch);
    key_end(&k, out);
}

static int rewritten(struct build *b, const struct output *o, struct layer *layer, struct wh_layer_blob *blob,
                     struct wh_digest *diffid, struct wh_error *err)
{
    struct wh_digest key;
    wh_autorecord r = {0};
    const char *const scopes[] = {b->scopes.repository};
    rewritten_key(o, layer, &key);
    int found = wh_record_find(b->store, scopes, 1, &key, &r, err);
    if (found == 1 && r.has_diffid &&
        wh_layer_blob(b->store, &r.diffid, format_of(o), o->level, blob, err) == 1) {
        *diffid = r.diffid;
        return 0;
    }
    if (found < 0)
        return -1;
    wh_autofree int64_t *ids = NULL;
    struct state one = {.layers = layer, .n = 1};
    if (layer->id == 0 && state_trees(b, &one, &ids, err) < 0)
        return -1;
    struct wh_layer_options options = {
        .compression = o->compression, .level = o->level, .epoch = o->epoch, .cancel = &b->channel.cancel};
    if (wh_oci_layer_blob(b->store, layer->id, &options, NULL, blob, diffid, err) < 0)
        return -1;
    struct wh_record record = {
        .key = key, .scope = b->scopes.repository, .has_diffid = true, .diffid = *diffid};
    return wh_record_put(b->store, &record, err);
}

int export_layer(struct build *b, const struct output *o, struct layer *layer, struct wh_descriptor *out,
                 struct wh_digest *diffid, struct wh_error *err)
{
    struct wh_layer_blob blob;
    if (layer->image)
        return base_layer(b, o, layer, out, err);
    if (o->rewrite && o->epoch != WH_LAYER_NO_EPOCH) {
        char seconds[24];
        if (rewritten(b, o, layer, &blob, diffid, err) < 0)
            return -1;
        describe(o, &blob, out);
        (void)snprintf(seconds, sizeof(seconds), "%lld", (long long)o->epoch);
        out->annotations = cJSON_CreateObject();
        wh_json_add_string(out->annotations, "buildkit/rewritten-timestamp", seconds);
        return 0;
    }
    const struct wh_oci_layer *there = cache_layer(layer);
    enum wh_compression c;
    if (there && wh_layer_media_compression(there->descriptor.media_type, &c, NULL) == 0 &&
        c == o->compression) {
        wh_descriptor_set(out, wh_layer_media_type(c, o->docker), &there->descriptor.digest,
                          there->descriptor.size);
        *diffid = layer->diffid;
        return 0;
    }
    if (blobs_get(b, o, layer, &blob, err) < 0)
        return -1;
    describe(o, &blob, out);
    *diffid = layer->diffid;
    return 0;
}
