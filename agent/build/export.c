/* From a finished stage to what was asked for: the image's documents, its layers as blobs, pushes and
 * archives (builder.md §5, §6). */
#include <unistd.h>

#include "build/cache.h"

#include "wherry/base/clock.h"
#include "wherry/container/rootfs.h"
#include "wherry/oci/export.h"

struct exporting {
    struct build *b;
    struct stage *target;
    const struct output *o;
    uint64_t vertex;
    struct wh_export_image images[2]; /* the image, its attestations */
    size_t nimages;
    struct wh_descriptor root; /* what is told: the manifest, or the index over both */
    struct wh_str root_bytes;
};

/* ---- the image's documents ---- */

/* Times as BuildKit prints them: nanoseconds without zeros at the end. */
static char *time_text(int64_t ns)
{
    char buf[40];
    wh_time_iso(ns, 9, buf);
    size_t n = strlen(buf) - 1; /* at the Z */
    while (n > 0 && buf[n - 1] == '0')
        n--;
    if (buf[n - 1] == '.')
        n--;
    return wh_printf("%.*sZ", (int)n, buf);
}

static size_t base_layers(const struct state *state)
{
    size_t n = 0;
    while (n < state->n && state->layers[n].image)
        n++;
    return n;
}

/* History entries take the time of their layer, those without one that of the layer before. */
static int add_history(struct exporting *x, cJSON *config, struct wh_error *err)
{
    const struct state *state = &x->target->state;
    const struct wh_df_result *eval = x->target->eval;
    size_t at = base_layers(state);
    const char *base_created = wh_json_string(config, "created");
    bool epoch = x->o->epoch != WH_LAYER_NO_EPOCH;
    wh_autofree char *created =
        at < state->n ? time_text(state->layers[at].created) : wh_strdup(base_created);
    if (epoch) {
        free(created);
        created = time_text(x->o->epoch * 1000000000);
    }
    size_t folders = at; /* layers of contexts that a stage stands on: they have no instruction */
    while (at < state->n && state->layers[at].source)
        at++;
    for (size_t i = 0; i < eval->nhistory; i++) {
        const struct wh_df_history *h = &eval->history[i];
        if (!h->empty_layer) {
            if (at == state->n)
                return wh_fail(err, WH_E_CORRUPT, "the image's history has more layers than the image");
            if (!epoch) {
                free(created);
                created = time_text(state->layers[at].created);
            }
            at++;
        }
        wh_image_config_add_history(config, created, h->created_by, NULL, h->empty_layer);
    }
    for (; folders < state->n && state->layers[folders].source; folders++) {
        wh_autofree char *text = wh_printf("local source for %s", state->layers[folders].source);
        wh_image_config_add_history(config, created, text, "buildkit.exporter.image.v0", false);
    }
    wh_image_config_set_created(config, created);
    return 0;
}

static int make_image(struct exporting *x, struct wh_error *err)
{
    struct state *state = &x->target->state;
    struct wh_descriptor *layers = wh_calloc(state->n, sizeof(*layers));
    wh_autojson *config = cJSON_Duplicate(x->target->eval->config, true);
    struct wh_digest diffid;
    int status = 0;
    for (size_t i = 0; i < state->n && status == 0; i++) {
        if (channel_canceled(&x->b->channel))
            status = wh_fail(err, WH_E_CANCELED, "canceled");
        else
            status = export_layer(x->b, x->o, &state->layers[i], &layers[i], &diffid, err);
        if (status == 0 && !state->layers[i].image)
            wh_image_config_add_diff_id(config, &diffid);
    }
    if (status == 0)
        status = add_history(x, config, err);
    wh_autofree char *cache = status == 0 ? cache_inline(x->b, layers, state->n) : NULL;
    wh_json_add_string(config, WH_CACHE_INLINE, cache);
    if (status == 0)
        status = wh_export_image_build(config, layers, state->n, x->o->docker,
                                       x->o->annotations[ANNOTATION_MANIFEST], &x->images[0], err);
    if (status == 0 && x->o->annotations[ANNOTATION_MANIFEST_DESCRIPTOR])
        x->images[0].manifest.annotations =
            cJSON_Duplicate(x->o->annotations[ANNOTATION_MANIFEST_DESCRIPTOR], true);
    x->nimages = 1;
    if (status == 0 && attest_wanted(x->b, x->o)) {
        status = attest_make(x->b, x->target, x->o, &x->images[0], &x->images[1], err);
        x->nimages = 2;
    }
    for (size_t i = 0; i < state->n; i++)
        wh_descriptor_clear(&layers[i]);
    free(layers);
    return status;
}

/* ---- where the exporters read blobs ---- */

static int open_blob(void *data, const struct wh_digest *digest, struct wh_error *err)
{
    struct exporting *x = data;
    wh_autoerror mine = {0};
    int fd = wh_blob_open(x->b->store, digest, NULL, &mine);
    if (fd >= 0 || mine.code != WH_E_NOT_FOUND)
        return fd >= 0 ? fd : wh_error_move(err, &mine);
    const struct state *state = &x->target->state;
    for (size_t i = 0; i < state->n; i++) { /* a base layer that was never fetched */
        const struct layer *layer = &state->layers[i];
        const struct wh_oci_layer *there = cache_layer(layer);
        if (there && wh_digest_eq(&there->descriptor.digest, digest))
            return cache_fetch(x->b, layer, err) < 0 ? -1 : wh_blob_open(x->b->store, digest, NULL, err);
        if (!layer->image || !wh_digest_eq(&layer->image->layers[layer->nth].descriptor.digest, digest))
            continue;
        struct wh_oci *oci = build_oci(x->b, err);
        if (!oci || wh_oci_layer_ensure_blob(oci, layer->image, layer->nth, err) < 0)
            return -1;
        return wh_blob_open(x->b->store, digest, NULL, err);
    }
    return wh_error_move(err, &mine);
}

static char *mount_from(void *data, const char *host, const struct wh_digest *digest)
{
    struct exporting *x = data;
    const struct state *state = &x->target->state;
    for (size_t i = 0; i < state->n; i++) { /* an imported layer that never came here is where its cache is */
        const struct wh_oci_layer *there = cache_layer(&state->layers[i]);
        if (there && wh_digest_eq(&there->descriptor.digest, digest) &&
            wh_streq(host, wh_ref_api_host(&state->layers[i].imported->ref)))
            return wh_strdup(state->layers[i].imported->ref.path);
    }
    return wh_blob_seen_where(x->b->store, digest, host, NULL);
}

static void push_progress(void *data, const char *text, const struct wh_digest *digest, uint64_t size,
                          bool done)
{
    struct exporting *x = data;
    (void)digest;
    report_status(&x->b->report, x->vertex, text, done ? size : 0, size, done);
}

/* ---- outputs ---- */

static struct wh_export_set set_of(struct exporting *x)
{
    return (struct wh_export_set){
        .images = x->images,
        .nimages = x->nimages,
        .docker = x->o->docker,
        .names = x->o->names,
        .index = x->o->index,
        .index_annotations = x->o->annotations[ANNOTATION_INDEX],
        .root_annotations =
            x->o->annotations[x->o->index ? ANNOTATION_INDEX_DESCRIPTOR : ANNOTATION_MANIFEST_DESCRIPTOR]};
}

static int push(struct exporting *x, struct wh_error *err)
{
    if (!build_oci(x->b, err))
        return -1;
    struct wh_export_set set = set_of(x);
    struct wh_blob_provider provider = {x, open_blob, mount_from};
    struct wh_push_options options = {
        .by_digest = x->o->by_digest, .progress = push_progress, .progress_data = x};
    struct wh_push_stats stats = {0};
    if (wh_export_push(&set, &provider, x->b->registry, &options, &stats, err) < 0)
        return wh_wrap(err, "failed to push %s", x->o->names[0]);
    x->b->uploaded += stats.uploaded_bytes;
    x->b->layers_uploaded += stats.uploaded;
    for (char **name = x->o->names; *name; name++) { /* for mounts from there by later pushes */
        wh_autoref ref = {0};
        if (wh_ref_parse(*name, &ref, NULL) < 0)
            continue;
        for (size_t i = 0; i < x->images[0].nlayers; i++)
            wh_blob_seen_at(x->b->store, &x->images[0].layers[i].digest, ref.host, ref.path, NULL);
    }
    return 0;
}

struct fd_sink {
    int fd;
};

static int write_fd(void *data, const void *bytes, size_t len, struct wh_error *err)
{
    struct fd_sink *s = data;
    const char *at = bytes;
    while (len > 0) {
        ssize_t n = write(s->fd, at, len);
        if (n < 0)
            return wh_fail_errno(err, "write the output");
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static int archive(struct exporting *x, const struct wh_build_output *o, struct wh_error *err)
{
    struct wh_export_set set = set_of(x);
    struct wh_blob_provider provider = {x, open_blob, mount_from};
    struct fd_sink sink = {o->fd};
    return wh_export_archive(&set, &provider, strcmp(o->type, "docker") == 0, write_fd, &sink, err);
}

/* The merged files as a tar; for `local` the client unpacks it. */
static int root_tar(struct exporting *x, const struct wh_build_output *o, struct wh_error *err)
{
    struct build *b = x->b;
    wh_autofree int64_t *ids = NULL;
    if (state_trees(b, &x->target->state, &ids, err) < 0)
        return -1;
    struct wh_rootfs_options options = {
        .layers_fd = wh_layer_layers_fd(b->store), .layers = ids, .nlayers = x->target->state.n};
    struct wh_rootfs root = WH_ROOTFS_NONE;
    struct wh_layer_options how = {
        .compression = WH_COMPRESS_NONE, .epoch = x->o->epoch, .cancel = &b->channel.cancel};
    struct wh_layer_result result;
    struct fd_sink sink = {o->fd};
    int status = wh_rootfs_mount(&options, &root, err);
    if (status == 0) {
        wh_autoclose int dirfd = inroot_open_dir(root.fd, "", false, err);
        status = dirfd < 0 ? -1 : wh_tree_write_tar(dirfd, &how, write_fd, &sink, &result, err);
    }
    if (wh_rootfs_finish(&root, status == 0 ? err : NULL) < 0)
        status = -1;
    return status;
}

static void add_result(struct exporting *x, cJSON *result)
{
    char text[WH_DIGEST_TEXT];
    static const char *const members[] = {"digest", "configDigest", "descriptor", "name"};
    for (size_t i = 0; i < WH_COUNT(members); i++) /* the last of several outputs is told */
        cJSON_DeleteItemFromObject(result, members[i]);
    wh_json_add_string(result, "digest", wh_digest_text(&x->root.digest, text));
    if (!x->o->index) /* an index has none */
        wh_json_add_string(result, "configDigest", wh_digest_text(&x->images[0].config.digest, text));
    cJSON_AddItemToObject(result, "descriptor", wh_descriptor_json(&x->root));
    wh_autofree char *names = wh_strv_join(x->o->names, ",");
    if (names[0])
        wh_json_add_string(result, "name", names);
}

static void report_document(struct exporting *x, const char *what, const struct wh_digest *digest)
{
    char text[WH_DIGEST_TEXT];
    wh_autofree char *line = wh_printf("exporting %s %s", what, wh_digest_text(digest, text));
    report_status(&x->b->report, x->vertex, line, 0, 0, true);
}

/* An image that goes nowhere is there for later runs on this machine: under its digest, which says what it
 * is, and for those of the same repository. */
static int remember(struct exporting *x, struct wh_error *err)
{
    struct wh_store *store = x->b->store;
    char digest[WH_DIGEST_TEXT];
    for (size_t i = 0; i < x->nimages; i++)
        if (wh_blob_put(store, x->images[i].config_bytes.data, x->images[i].config_bytes.len, 0, NULL, err) <
                0 ||
            wh_blob_put(store, x->images[i].manifest_bytes.data, x->images[i].manifest_bytes.len, 0, NULL,
                        err) < 0)
            return -1;
    if (x->o->index && wh_blob_put(store, x->root_bytes.data, x->root_bytes.len, 0, NULL, err) < 0)
        return -1;
    for (char **name = x->o->names; name && *name; name++) {
        wh_autoref ref = {0};
        wh_autoref pinned = {0};
        if (wh_ref_parse(*name, &ref, err) < 0)
            return -1;
        wh_autofree char *text =
            wh_printf("%s/%s@%s", ref.host, ref.path, wh_digest_text(&x->root.digest, digest));
        if (wh_ref_parse(text, &pinned, err) < 0)
            return -1;
        wh_autofree char *full = wh_ref_text(&pinned);
        const char *scope = x->b->scopes.repository;
        struct wh_image_ref row = {.name = full,
                                   .visible = scope ? (char *)(uintptr_t)scope : (char *)(uintptr_t) "",
                                   .manifest = x->root.digest,
                                   .media_type = x->root.media_type};
        if (wh_image_ref_put(store, &row, err) < 0)
            return -1;
    }
    return 0;
}

static int image_output(struct exporting *x, cJSON *result, struct wh_error *err)
{
    report_status(&x->b->report, x->vertex, "exporting layers", 0, 0, false);
    int status = make_image(x, err);
    report_status(&x->b->report, x->vertex, "exporting layers", 0, 0, true);
    if (status < 0)
        return -1;
    struct wh_export_set set = set_of(x);
    if (wh_export_root(&set, &x->root, &x->root_bytes, err) < 0)
        return -1;
    if (!x->o->index && x->images[0].manifest.annotations) {
        cJSON_Delete(x->root.annotations);
        x->root.annotations = cJSON_Duplicate(x->images[0].manifest.annotations, true);
    }
    report_document(x, "manifest", &x->images[0].manifest.digest);
    report_document(x, "config", &x->images[0].config.digest);
    if (x->nimages > 1)
        report_document(x, "attestation manifest", &x->images[1].manifest.digest);
    if (x->o->index)
        report_document(x, "manifest list", &x->root.digest);
    add_result(x, result);
    if (strcmp(x->o->asked->type, "image") != 0)
        return archive(x, x->o->asked, err);
    return x->o->push ? push(x, err) : remember(x, err);
}

static int one_output(struct build *b, const struct output *o, cJSON *result, struct wh_error *err)
{
    struct exporting x = {.b = b, .target = &b->stages[b->plan->target], .o = o};
    const char *type = o->asked->type;
    if (strcmp(type, "cacheonly") == 0)
        return 0;
    wh_autofree char *title =
        wh_printf("exporting to %s", strcmp(type, "local") == 0 ? "client directory" : type);
    x.vertex = report_start(&b->report, title, NULL);
    int status = o->image ? image_output(&x, result, err) : root_tar(&x, o->asked, err);
    report_end(&b->report, x.vertex, status, err);
    for (size_t i = 0; i < x.nimages; i++)
        wh_export_image_clear(&x.images[i]);
    wh_descriptor_clear(&x.root);
    wh_str_free(&x.root_bytes);
    return status;
}

int build_export(struct build *b, cJSON *result, struct wh_error *err)
{
    for (size_t i = 0; i < b->request->noutputs; i++)
        if (one_output(b, &b->outputs[i], result, err) < 0)
            return -1;
    return 0;
}
