/* Push: blobs in parallel, manifests after what they name, tags last (builder.md §7 Push). What each tag
 * names is asked beside the blobs: an unchanged image takes one round of HEAD requests. */
#include <pthread.h>
#include <unistd.h>

#include "oci/export_internal.h"

#define MAX_PARALLEL 16

/* A name to push to. */
struct target {
    struct push *push;
    struct wh_ref ref;
    pthread_t thread;
    bool asked; /* the thread runs */
    bool there; /* read after it ended */
};

struct push {
    const struct wh_export_set *set;
    const struct wh_blob_provider *provider;
    struct wh_registry *registry;
    const struct wh_push_options *options;
    const struct wh_ref *ref; /* whose repository gets the blobs */
    struct wh_descriptor root;
    struct wh_str root_bytes;
    struct target *targets;
    size_t ntargets;
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
                        const char *bytes, bool there, struct wh_error *err)
{
    char digest[WH_DIGEST_TEXT];
    wh_autofree char *name = wh_ref_text(ref);
    wh_autofree char *text =
        wh_printf("pushing manifest for %s@%s", name, wh_digest_text(&d->digest, digest));
    tell(p, text, d, false);
    if (!there && wh_registry_manifest_put(p->registry, ref, d, bytes, err) < 0)
        return -1;
    tell(p, text, d, true);
    return 0;
}

/* The manifests of an index go by digest; the root then under its name. */
static int push_documents(struct push *p, struct target *t, struct wh_error *err)
{
    wh_autoref by_digest = {0};
    wh_ref_copy(&by_digest, &t->ref);
    free(by_digest.tag);
    by_digest.tag = NULL;
    if (t->asked)
        pthread_join(t->thread, NULL);
    t->asked = false;
    for (size_t i = p->next; !t->there && oci_export_has_index(p->set) && i < p->n; i++)
        if (put_manifest(p, &by_digest, p->blobs[i].descriptor, p->blobs[i].bytes, false, err) < 0)
            return -1;
    return put_manifest(p, p->options->by_digest ? &by_digest : &t->ref, &p->root, p->root_bytes.data,
                        t->there, err);
}

/* ---- names ---- */

static void *ask_tag(void *data)
{
    struct target *t = data;
    t->there = wh_registry_manifest_there(t->push->registry, &t->ref, &t->push->root);
    return NULL;
}

static int read_names(struct push *p, struct wh_error *err)
{
    size_t n = 0;
    while (p->set->names && p->set->names[n])
        n++;
    if (n == 0)
        return wh_fail(err, WH_E_ARGUMENT, "there is no name to push to");
    p->targets = wh_calloc(n, sizeof(*p->targets));
    for (; p->ntargets < n; p->ntargets++) {
        p->targets[p->ntargets].push = p;
        if (wh_ref_parse(p->set->names[p->ntargets], &p->targets[p->ntargets].ref, err) < 0)
            return wh_wrap(err, "push %s", p->set->names[p->ntargets]);
    }
    return 0;
}

static bool same_repository(const struct wh_ref *a, const struct wh_ref *b)
{
    return a && wh_streq(a->host, b->host) && wh_streq(a->path, b->path);
}

static int push_to(struct push *p, struct target *t, struct wh_error *err)
{
    if (!same_repository(p->ref, &t->ref)) { /* else it got the blobs with the name before */
        p->ref = &t->ref;
        p->next = 0;
        if (push_blobs(p, err) < 0)
            return -1;
    }
    return push_documents(p, t, err);
}

static int push_all(struct push *p, struct wh_error *err)
{
    if (read_names(p, err) < 0 || wh_export_root(p->set, &p->root, &p->root_bytes, err) < 0)
        return -1;
    for (size_t i = 0; i < WH_MIN(p->ntargets, (size_t)MAX_PARALLEL) && !p->options->by_digest; i++)
        p->targets[i].asked = pthread_create(&p->targets[i].thread, NULL, ask_tag, &p->targets[i]) == 0;
    for (size_t i = 0; i < p->ntargets; i++)
        if (push_to(p, &p->targets[i], err) < 0)
            return wh_wrap(err, "push %s", p->set->names[i]);
    return 0;
}

static void push_clear(struct push *p)
{
    for (size_t i = 0; i < p->ntargets; i++) {
        if (p->targets[i].asked)
            pthread_join(p->targets[i].thread, NULL);
        wh_ref_clear(&p->targets[i].ref);
    }
    free(p->targets);
    free(p->blobs);
    wh_descriptor_clear(&p->root);
    wh_str_free(&p->root_bytes);
    wh_error_clear(&p->error);
    pthread_mutex_destroy(&p->lock);
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
    pthread_mutex_init(&p.lock, NULL);
    p.n = oci_export_blobs(set, &p.blobs);
    int failed = push_all(&p, err);
    push_clear(&p);
    return failed;
}
