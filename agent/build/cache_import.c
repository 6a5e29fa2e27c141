/* cache-from: records of other machines. They count for this build alone: who may write to the registry is
 * not who may write to the store's scopes. Layers are fetched when a step needs their files, or an export
 * their bytes. */
#include "build/cache.h"

/* ---- what is asked for ---- */

int cache_spec_read(const char *text, struct cache_spec *out, struct wh_error *err)
{
    *out = (struct cache_spec){.attrs = wh_strv_split(text, ',')};
    if (!strchr(text, '=')) {
        out->type = "registry";
        out->ref = out->attrs[0];
        return 0;
    }
    out->type = wh_env_get(out->attrs, "type");
    out->ref = wh_env_get(out->attrs, "ref");
    if (!out->type)
        return wh_fail(err, WH_E_ARGUMENT, "type required form> \"%s\"", text);
    if (strcmp(out->type, "registry") == 0 && !out->ref)
        return wh_fail(err, WH_E_ARGUMENT, "cache %s: ref is missing", text);
    return 0;
}

void cache_spec_clear(struct cache_spec *spec)
{
    wh_strv_free(spec->attrs);
    *spec = (struct cache_spec){0};
}

/* ---- one cache ---- */

struct imported {
    struct wh_oci_image image; /* its layers are those of the cache; no config */
    struct wh_cache cache;
};

static int take(void *data, const void *bytes, size_t len, struct wh_error *err)
{
    struct wh_str *out = data;
    if (out->len + len > WH_MAX_CACHE_DOCUMENT)
        return wh_fail(err, WH_E_LIMIT, "the cache's config is larger than %zu bytes", WH_MAX_CACHE_DOCUMENT);
    wh_str_addn(out, bytes, len);
    return 0;
}

/* DiffIDs by the layers' annotations, or by the image's config. */
static int take_layers(struct imported *in, const struct wh_manifest *m, const struct wh_digest *ids,
                       size_t nids, struct wh_error *err)
{
    in->image.layers = wh_calloc(m->nlayers + 1, sizeof(*in->image.layers));
    for (size_t i = 0; i < m->nlayers; i++) {
        struct wh_oci_layer *layer = &in->image.layers[in->image.nlayers];
        const char *diffid =
            m->layers[i].annotations ? wh_json_string(m->layers[i].annotations, WH_ANNOTATION_DIFFID) : NULL;
        if (i < nids)
            layer->diff_id = ids[i];
        else if (!diffid || wh_digest_parse(diffid, &layer->diff_id, err) < 0)
            return wh_fail(err, WH_E_PARSE, "layer %zu of the cache does not tell its diffID", i);
        wh_descriptor_copy(&layer->descriptor, &m->layers[i]);
        in->image.nlayers++;
    }
    return 0;
}

static int take_inline(struct imported *in, const struct wh_manifest *m, const struct wh_str *config_text,
                       struct wh_error *err)
{
    wh_autofree struct wh_digest *ids = NULL;
    wh_autojson *config = wh_image_config_parse(config_text->data, config_text->len, err);
    int n = config ? wh_image_config_diff_ids(config, &ids, err) : -1;
    const char *text = n < 0 ? NULL : wh_json_string(config, WH_CACHE_INLINE);
    wh_autostr document = {0};
    if (n < 0)
        return -1;
    if (!text)
        return wh_fail(err, WH_E_NOT_FOUND, "the image holds no inline cache");
    if ((size_t)n != m->nlayers || !wh_unbase64(text, strlen(text), &document))
        return wh_fail(err, WH_E_PARSE, "the image's inline cache is damaged");
    wh_autofree struct wh_digest *blobs = wh_calloc(m->nlayers + 1, sizeof(*blobs));
    for (size_t i = 0; i < m->nlayers; i++)
        blobs[i] = m->layers[i].digest;
    if (take_layers(in, m, ids, (size_t)n, err) < 0)
        return -1;
    return wh_cache_parse(wh_str_text(&document), document.len, blobs, m->nlayers, &in->cache, err);
}

static int read_cache(struct build *b, struct imported *in, struct wh_error *err)
{
    wh_autostr bytes = {0}, config = {0};
    struct wh_descriptor root = {0};
    wh_automanifest m = {0};
    enum wh_manifest_kind kind;
    struct wh_ref *ref = &in->image.ref;
    int status = wh_registry_manifest_get(b->registry, ref, NULL, &root, &bytes, err);
    if (status == 0)
        status = wh_manifest_kind(bytes.data, bytes.len, root.media_type, &kind, err);
    if (status == 0 && kind == WH_KIND_INDEX) { /* of an image with attestations, say */
        wh_autoindex index = {0};
        struct wh_platform platform;
        status = wh_index_parse(bytes.data, bytes.len, &index, err);
        const struct wh_descriptor *chosen = NULL;
        if (status == 0 && wh_platform_parse(b->platform, &platform, err) == 0)
            chosen = wh_index_choose(&index, &platform, err);
        if (!chosen)
            status = -1;
        if (status == 0) {
            wh_autoref one = {0};
            struct wh_descriptor manifest = {0};
            wh_ref_copy(&one, ref);
            one.has_digest = true;
            one.digest = chosen->digest;
            wh_str_clear(&bytes);
            status = wh_registry_manifest_get(b->registry, &one, &one.digest, &manifest, &bytes, err);
            wh_descriptor_clear(&manifest);
        }
    }
    wh_descriptor_clear(&root);
    if (status < 0 || wh_manifest_parse(bytes.data, bytes.len, &m, err) < 0 ||
        wh_registry_blob_get(b->registry, ref, &m.config, take, &config, err) < 0)
        return -1;
    if (!wh_streq(m.config.media_type, WH_MEDIA_CACHE_CONFIG))
        return take_inline(in, &m, &config, err);
    if (take_layers(in, &m, NULL, 0, err) < 0)
        return -1;
    return wh_cache_parse(config.data, config.len, NULL, 0, &in->cache, err);
}

static void import_one(struct build *b, const char *text)
{
    wh_autoerror err = {0};
    struct cache_spec spec;
    int status = cache_spec_read(text, &spec, &err);
    if (status == 0 && strcmp(spec.type, "registry") == 0 && b->nimported < WH_COUNT(b->imported)) {
        wh_autofree char *title = wh_printf("importing cache manifest from %s", spec.ref);
        uint64_t vertex = report_start(&b->report, title, NULL);
        struct imported *in = wh_calloc(1, sizeof(*in));
        b->imported[b->nimported++] = in;
        status = wh_ref_parse(spec.ref, &in->image.ref, &err);
        if (status == 0)
            status = build_oci(b, &err) ? read_cache(b, in, &err) : -1;
        if (status < 0) /* a build without it is only slower */
            wh_cache_clear(&in->cache);
        report_end(&b->report, vertex, status, &err);
    } else if (status == 0 && strcmp(spec.type, "gha") != 0) {
        wh_fail(&err, WH_E_UNSUPPORTED, "cache-from type=%s is not read: wherry answers from its own store",
                spec.type);
        status = -1;
    }
    if (status < 0)
        report_warning(&b->report, 0, wh_error_text(&err));
    cache_spec_clear(&spec);
}

void cache_import(struct build *b)
{
    for (char **text = b->request->cache_from; text && *text; text++)
        import_one(b, *text);
}

void cache_import_clear(struct build *b)
{
    for (size_t i = 0; i < b->nimported; i++) {
        struct imported *in = b->imported[i];
        for (size_t l = 0; l < in->image.nlayers; l++)
            wh_descriptor_clear(&in->image.layers[l].descriptor);
        free(in->image.layers);
        wh_ref_clear(&in->image.ref);
        wh_cache_clear(&in->cache);
        free(in);
    }
    b->nimported = 0;
}

/* ---- use ---- */

static bool take_record(struct imported *in, const struct wh_cache_record *r, struct layer *out)
{
    for (size_t i = 0; i < in->image.nlayers; i++)
        if (wh_digest_eq(&in->image.layers[i].descriptor.digest, &r->blob)) {
            *out = (struct layer){.has_diffid = true,
                                  .diffid = in->image.layers[i].diff_id,
                                  .created = r->created,
                                  .imported = &in->image,
                                  .nth = i};
            return true;
        }
    return false;
}

int cache_find(const struct build *b, const struct wh_digest *key, struct layer *out)
{
    struct wh_digest id;
    if (b->nimported == 0)
        return 0;
    wh_cache_record_id(key, &id);
    for (size_t i = 0; i < b->nimported; i++)
        for (size_t r = 0; r < b->imported[i]->cache.n; r++)
            if (wh_digest_eq(&b->imported[i]->cache.records[r].id, &id) &&
                take_record(b->imported[i], &b->imported[i]->cache.records[r], out))
                return 1;
    return 0;
}

const struct wh_oci_layer *cache_layer(const struct layer *layer)
{
    return layer->imported ? &layer->imported->layers[layer->nth] : NULL;
}

int cache_fetch(struct build *b, const struct layer *layer, struct wh_error *err)
{
    const struct wh_oci_layer *there = cache_layer(layer);
    enum wh_compression c;
    struct wh_oci *oci = build_oci(b, err);
    if (!oci || wh_layer_media_compression(there->descriptor.media_type, &c, err) < 0 ||
        wh_oci_layer_ensure_blob(oci, layer->imported, layer->nth, err) < 0)
        return wh_wrap(err, "fetch a layer of the imported cache");
    return 0;
}
