/* Push: blobs in parallel, manifests after what they name, tags last (builder.md §7 Push). */
#include <pthread.h>
#include <unistd.h>

#include "oci/export_internal.h"

#define MAX_PARALLEL 16

struct push {
    const struct wh_export_set *set;
    const struct wh_blob_provider *provider;
    struct wh_registry *registry;
    const struct wh_push_options *options;
    const struct wh_ref *ref;
    struct oci_export_blob *blobs;
    size_t n, next;
    pthread_mutex_t lock;
    struct wh_push_stats *stats;
    struct wh_error error;
};

static void tell(const struct push *p, const char *text, const struct wh_descriptor *d, bool done)
{
    if (p->options->progress)
        p->options->progress(p->options->progress_data, text, &d->digest, (uint64_t)d->size, done);
}

static int upload(struct push *p, const struct oci_export_blob *blob, struct wh_error *err)
{
    struct wh_blob_source source = {.fd = -1, .bytes = blob->bytes};
    if (blob->bytes)
        return wh_registry_blob_upload(p->registry, p->ref, blob->descriptor, &source, err);
    wh_autoclose int fd = p->provider->open(p->provider->data, &blob->descriptor->digest, err);
    if (fd < 0)
        return -1;
    source.fd = fd;
    return wh_registry_blob_upload(p->registry, p->ref, blob->descriptor, &source, err);
}

static int push_blob(struct push *p, const struct oci_export_blob *blob, struct wh_error *err)
{
    char digest[WH_DIGEST_TEXT];
    enum wh_push_how how = WH_PUSH_UPLOADED;
    const char *kind = blob->kind == OCI_EXPORT_CONFIG ? "config" : "layer";
    wh_autofree char *text =
        wh_printf("pushing %s %s", kind, wh_digest_text(&blob->descriptor->digest, digest));
    wh_autofree char *from =
        !blob->bytes && p->provider->mount_from
            ? p->provider->mount_from(p->provider->data, wh_ref_api_host(p->ref), &blob->descriptor->digest)
            : NULL;
    tell(p, text, blob->descriptor, false);
    int there = wh_registry_blob_find(p->registry, p->ref, blob->descriptor, from, &how, err);
    if (there == 0) {
        how = WH_PUSH_UPLOADED;
        there = upload(p, blob, err);
    }
    if (there < 0)
        return -1;
    tell(p, text, blob->descriptor, true);
    pthread_mutex_lock(&p->lock);
    p->stats->existed += how == WH_PUSH_EXISTS;
    p->stats->mounted += how == WH_PUSH_MOUNTED;
    p->stats->uploaded += how == WH_PUSH_UPLOADED;
    p->stats->uploaded_bytes += how == WH_PUSH_UPLOADED ? (uint64_t)blob->descriptor->size : 0;
    pthread_mutex_unlock(&p->lock);
    return 0;
}

static void *worker(void *data)
{
    struct push *p = data;
    for (;;) {
        pthread_mutex_lock(&p->lock);
        bool end = p->error.code != WH_OK || p->next == p->n || p->blobs[p->next].kind == OCI_EXPORT_MANIFEST;
        size_t mine = p->next;
        p->next += !end;
        pthread_mutex_unlock(&p->lock);
        if (end)
            return NULL;
        struct wh_error err = {0};
        if (push_blob(p, &p->blobs[mine], &err) == 0)
            continue;
        pthread_mutex_lock(&p->lock);
        if (p->error.code == WH_OK)
            p->error = err;
        else
            wh_error_clear(&err);
        pthread_mutex_unlock(&p->lock);
    }
}

static int push_blobs(struct push *p, struct wh_error *err)
{
    pthread_t threads[MAX_PARALLEL];
    unsigned wanted = p->options->parallel ? p->options->parallel : WH_REGISTRY_TRANSFERS, n = 0;
    if (wanted > MAX_PARALLEL)
        wanted = MAX_PARALLEL;
    while (n + 1 < wanted && n + 1 < p->n && pthread_create(&threads[n], NULL, worker, p) == 0)
        n++;
    worker(p);
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    return p->error.code == WH_OK ? 0 : wh_error_move(err, &p->error);
}

static int put_manifest(struct push *p, const struct wh_ref *ref, const struct wh_descriptor *d,
                        const char *bytes, struct wh_error *err)
{
    char digest[WH_DIGEST_TEXT];
    wh_autofree char *name = wh_ref_text(ref);
    wh_autofree char *text =
        wh_printf("pushing manifest for %s@%s", name, wh_digest_text(&d->digest, digest));
    tell(p, text, d, false);
    if (wh_registry_manifest_put(p->registry, ref, d, bytes, err) < 0)
        return -1;
    tell(p, text, d, true);
    return 0;
}

/* The manifests of an index go by digest; the root then under its name. */
static int push_documents(struct push *p, const struct wh_ref *name, struct wh_error *err)
{
    struct wh_descriptor root = {0};
    wh_autostr bytes = {0};
    wh_autoref by_digest = {0};
    int failed = wh_export_root(p->set, &root, &bytes, err);
    wh_ref_copy(&by_digest, name);
    free(by_digest.tag);
    by_digest.tag = NULL;
    for (size_t i = p->next; failed == 0 && oci_export_has_index(p->set) && i < p->n; i++)
        failed = put_manifest(p, &by_digest, p->blobs[i].descriptor, p->blobs[i].bytes, err);
    if (failed == 0)
        failed = put_manifest(p, p->options->by_digest ? &by_digest : name, &root, bytes.data, err);
    wh_descriptor_clear(&root);
    return failed;
}

static int push_one(struct push *p, const char *text, struct wh_error *err)
{
    wh_autoref ref = {0};
    if (wh_ref_parse(text, &ref, err) < 0)
        return -1;
    p->ref = &ref;
    p->next = 0;
    if (push_blobs(p, err) < 0 || push_documents(p, &ref, err) < 0)
        return wh_wrap(err, "push %s", text);
    return 0;
}

int wh_export_push(const struct wh_export_set *set, const struct wh_blob_provider *blobs,
                   struct wh_registry *registry, const struct wh_push_options *options,
                   struct wh_push_stats *stats, struct wh_error *err)
{
    static const struct wh_push_options defaults;
    struct wh_push_stats ignored = {0};
    struct push p = {.set = set,
                     .provider = blobs,
                     .registry = registry,
                     .options = options ? options : &defaults,
                     .stats = stats ? stats : &ignored};
    int failed = set->names && set->names[0] ? 0 : wh_fail(err, WH_E_ARGUMENT, "there is no name to push to");
    pthread_mutex_init(&p.lock, NULL);
    p.n = oci_export_blobs(set, &p.blobs);
    for (char *const *name = set->names; failed == 0 && *name; name++)
        failed = push_one(&p, *name, err);
    free(p.blobs);
    wh_error_clear(&p.error);
    pthread_mutex_destroy(&p.lock);
    return failed;
}
