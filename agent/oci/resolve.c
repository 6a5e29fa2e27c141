/* Reference -> manifest and config, both kept in the store (builder.md §3.3, §7 Pull). */
#include "oci/flight.h"
#include "oci/oci.h"
#include "wherry/store/record.h"

/* What a tag came to in this build: it is looked up once. */
struct oci_resolved {
    char *name;
    struct wh_digest root;
    struct oci_resolved *next;
};

struct wh_oci *wh_oci_new(struct wh_store *store, struct wh_registry *registry,
                          const struct wh_oci_options *options)
{
    struct wh_oci *oci = wh_calloc(1, sizeof(*oci));
    oci->store = store;
    oci->registry = registry;
    if (options)
        oci->options = *options;
    oci->scope = wh_strdup(oci->options.scope ? oci->options.scope : "");
    pthread_mutex_init(&oci->lock, NULL);
    pthread_cond_init(&oci->changed, NULL);
    return oci;
}

void wh_oci_free(struct wh_oci *oci)
{
    if (!oci)
        return;
    while (oci->resolved) {
        struct oci_resolved *r = oci->resolved;
        oci->resolved = r->next;
        free(r->name);
        free(r);
    }
    free(oci->scope);
    pthread_mutex_destroy(&oci->lock);
    pthread_cond_destroy(&oci->changed);
    free(oci);
}

void oci_notice(struct wh_oci *oci, const char *fmt, ...)
{
    va_list args;
    if (!oci->options.notice)
        return;
    va_start(args, fmt);
    wh_autofree char *line = wh_vprintf(fmt, args);
    va_end(args);
    oci->options.notice(oci->options.data, line);
}

void wh_oci_image_free(struct wh_oci_image *image)
{
    if (!image)
        return;
    wh_ref_clear(&image->ref);
    wh_descriptor_clear(&image->manifest);
    wh_str_free(&image->manifest_bytes);
    cJSON_Delete(image->config);
    wh_descriptor_clear(&image->config_descriptor);
    for (size_t i = 0; i < image->nlayers; i++)
        wh_descriptor_clear(&image->layers[i].descriptor);
    free(image->layers);
    free(image);
}

static void free_image_ptr(struct wh_oci_image **image)
{
    wh_oci_image_free(*image);
}
#define autoimage __attribute__((cleanup(free_image_ptr))) struct wh_oci_image

/* ---- documents by digest: the store first ---- */

/* The reference with a digest in place of its tag. */
static void pin(struct wh_ref *out, const struct wh_ref *ref, const struct wh_digest *digest)
{
    wh_ref_copy(out, ref);
    free(out->tag);
    out->tag = NULL;
    out->has_digest = true;
    out->digest = *digest;
}

/* The bytes of a manifest or index. type (may be NULL) gets what the registry called it; owned. */
static int load_document(struct wh_oci *oci, const struct wh_ref *ref, const struct wh_digest *digest,
                         struct wh_str *bytes, char **type, struct wh_error *err)
{
    wh_autoerror why = {0};
    if (wh_blob_read(oci->store, digest, WH_MAX_MANIFEST_BYTES, bytes, &why) >= 0)
        return 0;
    if (why.code != WH_E_NOT_FOUND)
        return wh_error_move(err, &why);
    wh_autoref pinned = {0};
    struct wh_descriptor d = {0};
    pin(&pinned, ref, digest);
    wh_str_clear(bytes);
    int failed = wh_registry_manifest_get(oci->registry, &pinned, digest, &d, bytes, err);
    if (failed == 0)
        failed = wh_blob_put(oci->store, bytes->data, bytes->len, 0, NULL, err);
    if (failed == 0 && type)
        *type = wh_strdup(d.media_type);
    wh_descriptor_clear(&d);
    return failed < 0 ? -1 : 0;
}

static int collect(void *data, const void *bytes, size_t len, struct wh_error *err)
{
    struct wh_str *out = data;
    if (out->len + len > WH_MAX_CONFIG_BYTES)
        return wh_fail(err, WH_E_LIMIT, "the config has more than %zu bytes", WH_MAX_CONFIG_BYTES);
    wh_str_addn(out, bytes, len);
    return 0;
}

static int load_config(struct wh_oci *oci, const struct wh_ref *ref, const struct wh_descriptor *config,
                       struct wh_str *bytes, struct wh_error *err)
{
    wh_autoerror why = {0};
    if (wh_blob_read(oci->store, &config->digest, WH_MAX_CONFIG_BYTES, bytes, &why) >= 0)
        return 0;
    if (why.code != WH_E_NOT_FOUND)
        return wh_error_move(err, &why);
    wh_str_clear(bytes);
    if (wh_registry_blob_get(oci->registry, ref, config, collect, bytes, err) < 0)
        return -1;
    return wh_blob_put(oci->store, bytes->data, bytes->len, 0, NULL, err) < 0 ? -1 : 0;
}

/* ---- tags ---- */

static bool find_resolved(struct wh_oci *oci, const char *name, struct wh_digest *root)
{
    pthread_mutex_lock(&oci->lock);
    struct oci_resolved *r = oci->resolved;
    while (r && !wh_streq(r->name, name))
        r = r->next;
    if (r)
        *root = r->root;
    pthread_mutex_unlock(&oci->lock);
    return r != NULL;
}

static void keep_resolved(struct wh_oci *oci, const char *name, const struct wh_digest *root)
{
    struct oci_resolved *r = wh_calloc(1, sizeof(*r));
    r->name = wh_strdup(name);
    r->root = *root;
    pthread_mutex_lock(&oci->lock);
    r->next = oci->resolved;
    oci->resolved = r;
    pthread_mutex_unlock(&oci->lock);
}

/* 1: the store knows the tag and has what it named. */
static int ask_store(struct wh_oci *oci, const char *name, struct wh_digest *root, struct wh_error *err)
{
    struct wh_image_ref row = {0};
    int found = wh_image_ref_find(oci->store, name, oci->scope, &row, err);
    if (found > 0) {
        *root = row.manifest;
        found = wh_blob_has(oci->store, root, NULL, err);
        wh_image_ref_clear(&row);
    }
    return found;
}

static int ask_registry(struct wh_oci *oci, const struct wh_ref *ref, const char *name,
                        struct wh_digest *root, struct wh_error *err)
{
    struct wh_descriptor d = {0};
    if (wh_registry_manifest_head(oci->registry, ref, &d, err) < 0)
        return -1;
    *root = d.digest;
    /* What was read with credentials is known to those alone who could have read it. */
    bool open = wh_registry_is_anonymous(oci->registry, ref->host);
    struct wh_image_ref row = {.name = (char *)(uintptr_t)name,
                               .visible = open ? (char *)(uintptr_t) "" : oci->scope,
                               .manifest = d.digest,
                               .media_type = d.media_type};
    int failed = open || oci->scope[0] ? wh_image_ref_put(oci->store, &row, err) : 0;
    if (failed == 0 && !ref->has_digest &&
        (open || oci->scope[0])) { /* who may have the tag may have what it names */
        wh_autoref pinned = {0};
        pin(&pinned, ref, &d.digest);
        wh_autofree char *by_digest = wh_ref_text(&pinned);
        row.name = by_digest;
        failed = wh_image_ref_put(oci->store, &row, err);
    }
    wh_descriptor_clear(&d);
    return failed < 0 ? -1 : 0;
}

static bool unreachable(const struct wh_error *err)
{
    return err->code == WH_E_NETWORK || err->code == WH_E_TIMEOUT || err->code == WH_E_HTTP;
}

static int resolve_tag(struct wh_oci *oci, const struct wh_ref *ref, enum wh_resolve_mode mode,
                       struct wh_digest *root, struct wh_error *err)
{
    wh_autoerror why = {0};
    wh_autofree char *name = wh_ref_text(ref);
    if (find_resolved(oci, name, root))
        return 0;
    int known = mode == WH_RESOLVE_LOCAL ? ask_store(oci, name, root, err) : 0;
    if (known < 0)
        return -1;
    if (known == 0 && ask_registry(oci, ref, name, root, &why) < 0) {
        if (mode != WH_RESOLVE_DEFAULT || !unreachable(&why))
            return wh_error_move(err, &why);
        known = ask_store(oci, name, root, err);
        if (known < 0)
            return -1;
        if (known == 0)
            return wh_error_move(err, &why);
        oci_notice(oci, "resolve %s: %s; the image that the store has of it is used", name,
                   wh_error_text(&why));
    }
    keep_resolved(oci, name, root);
    return 0;
}

/* A digest says what, not who may have it: the store may hold the image for another repository. Whoever the
 * registry never showed it to asks there first; what it answered is remembered. */
static int resolve_digest(struct wh_oci *oci, const struct wh_ref *ref, struct wh_digest *root,
                          struct wh_error *err)
{
    wh_autofree char *name = wh_ref_text(ref);
    struct wh_image_ref row = {0};
    struct wh_digest answered;
    int known = find_resolved(oci, name, &answered) ? 1 : 0;
    if (known == 0)
        known = wh_image_ref_find(oci->store, name, oci->scope, &row, err);
    wh_image_ref_clear(&row);
    if (known < 0 || (known == 0 && ask_registry(oci, ref, name, &answered, err) < 0))
        return -1;
    *root = ref->digest;
    keep_resolved(oci, name, root);
    return 0;
}

/* ---- the image ---- */

static int choose_manifest(struct wh_oci *oci, struct wh_oci_image *image, const struct wh_platform *platform,
                           struct wh_error *err)
{
    wh_autofree char *type = NULL;
    struct wh_str *bytes = &image->manifest_bytes;
    enum wh_manifest_kind kind;
    if (load_document(oci, &image->ref, &image->resolved, bytes, &type, err) < 0)
        return -1;
    if (wh_manifest_kind(bytes->data, bytes->len, type, &kind, err) < 0)
        return -1;
    struct wh_digest digest = image->resolved;
    for (int depth = 0; kind == WH_KIND_INDEX; depth++) {
        wh_autoindex index = {0};
        if (depth > 3)
            return wh_fail(err, WH_E_LIMIT, "indexes are nested more than three deep");
        if (wh_index_parse(bytes->data, bytes->len, &index, err) < 0)
            return -1;
        const struct wh_descriptor *chosen = wh_index_choose(&index, platform, err);
        if (!chosen)
            return -1;
        digest = chosen->digest;
        wh_str_clear(bytes);
        if (load_document(oci, &image->ref, &digest, bytes, NULL, err) < 0 ||
            wh_manifest_kind(bytes->data, bytes->len, chosen->media_type, &kind, err) < 0)
            return -1;
    }
    wh_automanifest m = {0};
    if (wh_manifest_parse(bytes->data, bytes->len, &m, err) < 0)
        return -1;
    wh_descriptor_set(&image->manifest, m.media_type, &digest, (int64_t)bytes->len);
    return 0;
}

static bool is_image_config(const char *type)
{
    return wh_streq(type, WH_MEDIA_OCI_CONFIG) || wh_streq(type, WH_MEDIA_DOCKER_CONFIG);
}

static int fill_layers(struct wh_oci_image *image, const struct wh_manifest *m, struct wh_error *err)
{
    wh_autofree struct wh_digest *ids = NULL;
    int n = wh_image_config_diff_ids(image->config, &ids, err);
    if (n < 0)
        return -1;
    if ((size_t)n != m->nlayers)
        return wh_fail(err, WH_E_PARSE, "the manifest has %zu layers, but its config names %d", m->nlayers,
                       n);
    image->layers = wh_calloc(m->nlayers ? m->nlayers : 1, sizeof(*image->layers));
    for (image->nlayers = 0; image->nlayers < m->nlayers; image->nlayers++) {
        struct wh_oci_layer *layer = &image->layers[image->nlayers];
        wh_descriptor_copy(&layer->descriptor, &m->layers[image->nlayers]);
        layer->diff_id = ids[image->nlayers];
        wh_chain_id(ids, image->nlayers + 1, &layer->chain_id);
    }
    return 0;
}

static int load_image(struct wh_oci *oci, struct wh_oci_image *image, const struct wh_platform *platform,
                      struct wh_error *err)
{
    wh_automanifest m = {0};
    wh_autostr config = {0};
    if (choose_manifest(oci, image, platform, err) < 0 ||
        wh_manifest_parse(image->manifest_bytes.data, image->manifest_bytes.len, &m, err) < 0)
        return -1;
    if (!is_image_config(m.config.media_type))
        return wh_fail(err, WH_E_UNSUPPORTED, "it is no container image but an artifact of type %.100s",
                       m.artifact_type ? m.artifact_type : m.config.media_type);
    if (load_config(oci, &image->ref, &m.config, &config, err) < 0)
        return -1;
    image->config = wh_image_config_parse(config.data, config.len, err);
    if (!image->config || wh_image_config_platform(image->config, &image->platform, err) < 0)
        return -1;
    wh_descriptor_copy(&image->config_descriptor, &m.config);
    return fill_layers(image, &m, err);
}

int wh_oci_resolve(struct wh_oci *oci, const struct wh_ref *ref, const struct wh_platform *platform,
                   enum wh_resolve_mode mode, struct wh_oci_image **out, struct wh_error *err)
{
    autoimage *image = wh_calloc(1, sizeof(*image));
    wh_ref_copy(&image->ref, ref);
    int failed = ref->has_digest ? resolve_digest(oci, ref, &image->resolved, err)
                                 : resolve_tag(oci, ref, mode, &image->resolved, err);
    if (failed == 0)
        failed = load_image(oci, image, platform, err);
    if (failed < 0) {
        wh_autofree char *name = wh_ref_familiar(ref);
        return wh_wrap(err, "image %s", name);
    }
    *out = wh_steal(&image);
    return 0;
}
