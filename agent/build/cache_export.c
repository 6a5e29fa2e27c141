/* cache-to: what this build's steps made, for other machines: the records and layers of every step (mode=max)
 * or of the result's (mode=min), as an image manifest in a registry, or inside the image itself
 * (type=inline). */
#include "build/cache.h"

#include "wherry/base/clock.h"
#include "wherry/oci/export.h"

struct exported {
    struct wh_cache cache;
    struct wh_descriptor *layers; /* owned; distinct, in the order of their first use */
    size_t nlayers;
};

static bool attr_is(const struct cache_spec *spec, const char *name, const char *value)
{
    return wh_streq(wh_env_get(spec->attrs, name), value);
}

static bool is_true(const struct cache_spec *spec, const char *name)
{
    return attr_is(spec, name, "true") || attr_is(spec, name, "1");
}

int cache_export_check(struct build *b, struct wh_error *err)
{
    for (char **text = b->request->cache_to; text && *text; text++) {
        struct cache_spec spec;
        wh_autoref ref = {0};
        int status = cache_spec_read(*text, &spec, err);
        bool registry = status == 0 && strcmp(spec.type, "registry") == 0;
        if (status == 0 && !registry && strcmp(spec.type, "inline") != 0 && strcmp(spec.type, "gha") != 0)
            status = wh_fail(
                err, WH_E_UNSUPPORTED,
                "cache-to type=%s is not supported yet by wherry's builder (registry, inline and gha are)",
                spec.type);
        if (registry)
            status = wh_ref_parse(spec.ref, &ref, err);
        const char *mode = status == 0 ? wh_env_get(spec.attrs, "mode") : NULL;
        if (mode && strcmp(mode, "min") != 0 && strcmp(mode, "max") != 0)
            status = wh_fail(err, WH_E_ARGUMENT, "cache-to mode=%s: must be min or max", mode);
        if (registry && status == 0 && attr_is(&spec, "image-manifest", "false"))
            status = wh_fail(err, WH_E_UNSUPPORTED,
                             "cache-to image-manifest=false is not supported yet by wherry's builder");
        cache_spec_clear(&spec);
        if (status < 0)
            return wh_wrap(err, "cache-to");
    }
    return 0;
}

/* ---- records ---- */

static void add_record(struct wh_cache *c, const struct node *node, const struct wh_digest *blob)
{
    c->records = wh_reallocarray(c->records, c->n + 1, sizeof(*c->records));
    struct wh_cache_record *r = &c->records[c->n++];
    *r = (struct wh_cache_record){.blob = *blob, .created = node->layer.created};
    wh_cache_record_id(&node->key, &r->id);
}

static void add_layer(struct exported *x, const struct wh_descriptor *d, const struct node *node)
{
    char text[WH_DIGEST_TEXT], created[40];
    for (size_t i = 0; i < x->nlayers; i++)
        if (wh_digest_eq(&x->layers[i].digest, &d->digest))
            return;
    x->layers = wh_reallocarray(x->layers, x->nlayers + 1, sizeof(*x->layers));
    struct wh_descriptor *to = &x->layers[x->nlayers++];
    *to = (struct wh_descriptor){0};
    wh_descriptor_set(to, d->media_type, &d->digest, d->size);
    to->annotations = cJSON_CreateObject();
    wh_json_add_string(to->annotations, WH_ANNOTATION_DIFFID, wh_digest_text(&node->layer.diffid, text));
    wh_time_iso(node->layer.created, 9, created);
    wh_json_add_string(to->annotations, WH_ANNOTATION_CREATED, created);
}

/* A record holds only if what was copied is what the key was made of; that is what the store files it for. */
static bool is_true_record(struct build *b, const struct node *node)
{
    struct layer layer;
    if (node->layer.id == 0 && !node->layer.has_diffid)
        return false; /* its stage was not needed */
    return node->state == NODE_HIT || step_lookup(b, node->by_ref, &node->key, &layer, NULL) == 1;
}

static int add_stage(struct build *b, const struct output *o, struct stage *s, struct exported *x,
                     struct wh_error *err)
{
    for (size_t i = 0; i < s->nnodes; i++) {
        struct node *node = &s->nodes[i];
        struct wh_descriptor d = {0};
        struct wh_digest diffid;
        if (!is_true_record(b, node))
            continue;
        if (export_layer(b, o, &node->layer, &d, &diffid, err) < 0)
            return -1;
        add_record(&x->cache, node, &d.digest);
        add_layer(x, &d, node);
        wh_descriptor_clear(&d);
    }
    return 0;
}

static bool in_result(const struct build *b, size_t index)
{
    for (size_t i = b->plan->target;; i = b->plan->stages[i].base.stage) {
        if (i == index)
            return true;
        if (b->plan->stages[i].base.kind != WH_DF_SOURCE_STAGE)
            return false;
    }
}

/* ---- the registry ---- */

static int open_blob(void *data, const struct wh_digest *digest, struct wh_error *err)
{
    struct build *b = data;
    wh_autoerror mine = {0};
    int fd = wh_blob_open(b->store, digest, NULL, &mine);
    if (fd >= 0 || mine.code != WH_E_NOT_FOUND)
        return fd >= 0 ? fd : wh_error_move(err, &mine);
    for (size_t i = 0; i < b->df->nstages; i++)
        for (size_t n = 0; n < b->stages[i].nnodes; n++) {
            const struct layer *layer = &b->stages[i].nodes[n].layer;
            const struct wh_oci_layer *there = cache_layer(layer);
            if (there && wh_digest_eq(&there->descriptor.digest, digest))
                return cache_fetch(b, layer, err) < 0 ? -1 : wh_blob_open(b->store, digest, NULL, err);
        }
    return wh_error_move(err, &mine);
}

static char *mount_from(void *data, const char *host, const struct wh_digest *digest)
{
    const struct build *b = data;
    return wh_blob_seen_where(b->store, digest, host, NULL);
}

static void make_documents(const struct exported *x, struct wh_export_image *out)
{
    struct wh_digest digest;
    wh_autofree char *config = wh_cache_print(&x->cache, NULL);
    wh_str_add(&out->config_bytes, config);
    wh_digest_of(out->config_bytes.data, out->config_bytes.len, &digest);
    wh_descriptor_set(&out->config, WH_MEDIA_CACHE_CONFIG, &digest, (int64_t)out->config_bytes.len);
    wh_automanifest m = {.media_type = wh_strdup(WH_MEDIA_OCI_MANIFEST)};
    wh_descriptor_copy(&m.config, &out->config);
    out->layers = wh_calloc(x->nlayers + 1, sizeof(*out->layers));
    for (; out->nlayers < x->nlayers; out->nlayers++) {
        wh_manifest_add_layer(&m, &x->layers[out->nlayers]);
        wh_descriptor_copy(&out->layers[out->nlayers], &x->layers[out->nlayers]);
    }
    wh_autofree char *manifest = wh_manifest_print(&m);
    wh_str_add(&out->manifest_bytes, manifest);
    wh_digest_of(out->manifest_bytes.data, out->manifest_bytes.len, &digest);
    wh_descriptor_set(&out->manifest, m.media_type, &digest, (int64_t)out->manifest_bytes.len);
}

static int push(struct build *b, const struct exported *x, const char *ref_text, struct wh_error *err)
{
    wh_autoref ref = {0};
    if (wh_ref_parse(ref_text, &ref, err) < 0 || !build_oci(b, err))
        return -1;
    wh_autofree char *name = wh_ref_text(&ref);
    char *names[] = {name, NULL};
    struct wh_export_image image = {0};
    make_documents(x, &image);
    struct wh_export_set set = {.images = &image, .nimages = 1, .names = names};
    struct wh_blob_provider provider = {b, open_blob, mount_from};
    struct wh_push_stats stats = {0};
    int status = wh_export_push(&set, &provider, b->registry, NULL, &stats, err);
    b->uploaded += stats.uploaded_bytes;
    for (size_t i = 0; status == 0 && i < image.nlayers; i++)
        wh_blob_seen_at(b->store, &image.layers[i].digest, ref.host, ref.path, NULL);
    wh_export_image_clear(&image);
    return status;
}

static void exported_clear(struct exported *x)
{
    wh_cache_clear(&x->cache);
    for (size_t i = 0; i < x->nlayers; i++)
        wh_descriptor_clear(&x->layers[i]);
    free(x->layers);
}

static int read_form(const struct cache_spec *spec, struct output *o, struct wh_error *err)
{
    const char *compression = wh_env_get(spec->attrs, "compression"),
               *level = wh_env_get(spec->attrs, "compression-level");
    int64_t number = 0;
    *o = (struct output){.compression = WH_COMPRESS_GZIP, .epoch = WH_LAYER_NO_EPOCH};
    if ((compression && !wh_compression_parse(compression, &o->compression)) ||
        (level && !wh_parse_i64(level, 0, 22, &number)))
        return wh_fail(err, WH_E_ARGUMENT,
                       "compression must be gzip, zstd or uncompressed, its level 0 to 22");
    o->level = (int)number;
    return 0;
}

static int export_one(struct build *b, const struct cache_spec *spec, struct wh_error *err)
{
    struct exported x = {0};
    struct output form;
    bool all = attr_is(spec, "mode", "max");
    if (read_form(spec, &form, err) < 0)
        return -1;
    int status = 0;
    for (size_t i = 0; i < b->df->nstages && status == 0; i++)
        if (b->stages[i].eval && (all || in_result(b, i)))
            status = add_stage(b, &form, &b->stages[i], &x, err);
    if (status == 0)
        status = push(b, &x, spec->ref, err);
    exported_clear(&x);
    return status;
}

int cache_export(struct build *b, struct wh_error *err)
{
    for (char **text = b->request->cache_to; text && *text; text++) {
        struct cache_spec spec;
        wh_autoerror mine = {0};
        int status = cache_spec_read(*text, &spec, err);
        if (status == 0 && strcmp(spec.type, "registry") == 0) {
            uint64_t vertex = report_start(&b->report, "exporting cache to registry", NULL);
            status = export_one(b, &spec, &mine);
            report_end(&b->report, vertex, status, &mine);
            if (status < 0 && is_true(&spec, "ignore-error")) {
                report_warning(&b->report, vertex, wh_error_text(&mine));
                status = 0;
            }
            if (status < 0)
                wh_error_move(err, &mine);
        }
        cache_spec_clear(&spec);
        if (status < 0)
            return wh_wrap(err, "failed to export the cache to %s", *text);
    }
    return 0;
}

/* ---- inline ---- */

char *cache_inline(const struct build *b, const struct wh_descriptor *layers, size_t n)
{
    bool asked = false;
    for (char **text = b->request->cache_to; text && *text; text++) {
        struct cache_spec spec;
        asked = asked || (cache_spec_read(*text, &spec, NULL) == 0 && strcmp(spec.type, "inline") == 0);
        cache_spec_clear(&spec);
    }
    if (!asked)
        return NULL;
    struct wh_cache c = {0};
    wh_autofree size_t *numbers = wh_calloc(n + 1, sizeof(*numbers));
    const struct state *state = &b->stages[b->plan->target].state;
    /* The newest layers are the last nodes of the stages that the target stands on. */
    size_t at = n;
    for (size_t i = b->plan->target;; i = b->plan->stages[i].base.stage) {
        const struct stage *s = &b->stages[i];
        for (size_t k = s->nnodes; k-- > 0 && at > 0 && c.n < n && !state->layers[at - 1].image;) {
            numbers[c.n] = --at;
            add_record(&c, &s->nodes[k], &layers[at].digest);
        }
        if (b->plan->stages[i].base.kind != WH_DF_SOURCE_STAGE)
            break;
    }
    wh_autofree char *text = wh_cache_print(&c, numbers);
    wh_cache_clear(&c);
    return wh_base64(text, strlen(text));
}
