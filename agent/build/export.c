/* From a finished stage to what was asked for: the image's documents, its layers as blobs, pushes and
 * archives (builder.md §5, §6). */
#include <stdio.h>
#include <unistd.h>

#include "solve.h"

#include "wherry/base/clock.h"
#include "wherry/container/rootfs.h"
#include "wherry/oci/export.h"

struct export
{
    struct build *b;
    struct stage *target;
    uint64_t vertex;
    enum wh_compression compression;
    int level;
    bool docker;
    struct wh_export_image image;
    char **names; /* normalised references */
};

/* ---- attributes of an output ---- */

struct attrs {
    bool push, by_digest;
    char **names;
    cJSON *annotations;
};

static int attr_bool(const char *name, const char *value, bool *out, struct wh_error *err)
{
    *out = wh_streq(value, "true") || wh_streq(value, "1");
    if (*out || wh_streq(value, "false") || wh_streq(value, "0"))
        return 0;
    return wh_fail(err, WH_E_ARGUMENT, "output attribute %s=%s: must be true or false", name, value);
}

static int set_attr(struct export *x, struct attrs *a, const char *name, const char *value,
                    struct wh_error *err)
{
    bool ignored;
    if (strcmp(name, "push") == 0)
        return attr_bool(name, value, &a->push, err);
    if (strcmp(name, "push-by-digest") == 0)
        return attr_bool(name, value, &a->by_digest, err);
    if (strcmp(name, "name") == 0) {
        wh_autostrv char **list = wh_strv_split(value, ',');
        for (char **n = list; *n; n++)
            wh_strv_add(&a->names, *n);
        return 0;
    }
    if (strcmp(name, "oci-mediatypes") == 0) {
        bool oci = true;
        int status = attr_bool(name, value, &oci, err);
        x->docker = !oci;
        return status;
    }
    if (strcmp(name, "compression") == 0) {
        if (wh_compression_parse(value, &x->compression))
            return 0;
        return wh_fail(err, WH_E_ARGUMENT,
                       "output attribute compression=%s: must be gzip, zstd or uncompressed", value);
    }
    if (strcmp(name, "compression-level") == 0) {
        int64_t level;
        if (!wh_parse_i64(value, 0, 22, &level))
            return wh_fail(err, WH_E_ARGUMENT, "output attribute compression-level=%s: must be 0 to 22",
                           value);
        x->level = (int)level;
        return 0;
    }
    if (wh_starts_with(name, "annotation.") || wh_starts_with(name, "annotation-manifest.")) {
        const char *key = strchr(name, '.') + 1;
        if (!a->annotations)
            a->annotations = cJSON_CreateObject();
        wh_json_add_string(a->annotations, key, value);
        return 0;
    }
    if (strcmp(name, "unpack") == 0 || strcmp(name, "store") == 0 || strcmp(name, "name-canonical") == 0 ||
        strcmp(name, "tar") == 0 || strcmp(name, "force-compression") == 0)
        return attr_bool(name, value, &ignored, err);
    return wh_fail(err, WH_E_UNSUPPORTED, "output attribute %s is not supported yet", name);
}

static int read_attrs(struct export *x, const struct wh_build_output *o, struct attrs *a,
                      struct wh_error *err)
{
    for (char **attr = o->attrs; attr && *attr; attr++) {
        struct wh_view name, value;
        wh_view_split(wh_view_of(*attr), '=', &name, &value);
        wh_autofree char *name_text = wh_view_dup(name), *value_text = wh_view_dup(value);
        if (set_attr(x, a, name_text, value_text, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- layers as blobs ---- */

static const char *format_of(enum wh_compression c)
{
    return c == WH_COMPRESS_NONE ? "none" : wh_compression_text(c);
}

struct sink {
    struct wh_blob_writer *writer;
};

static int write_blob(void *data, const void *bytes, size_t len, struct wh_error *err)
{
    struct sink *s = data;
    return wh_blob_write(s->writer, bytes, len, err);
}

/* Turns a layer's tree into a blob: once for ever, since the blob stays. */
static int make_blob(struct export *x, struct layer *layer, struct wh_layer_blob *out, struct wh_error *err)
{
    struct build *b = x->b;
    wh_autoclose int tree = wh_layer_open(b->store, layer->id, err);
    if (tree < 0)
        return -1;
    struct sink sink = {wh_blob_begin(b->store, WH_BLOB_LATER, err)};
    if (!sink.writer)
        return -1;
    struct wh_layer_options options = {.compression = x->compression,
                                       .level = x->level,
                                       .epoch = WH_LAYER_NO_EPOCH,
                                       .cancel = &b->channel.cancel};
    struct wh_layer_result result;
    if (wh_layer_write(tree, &options, write_blob, &sink, &result, err) < 0) {
        wh_blob_abort(sink.writer);
        return -1;
    }
    struct wh_blob_expect expect = {&result.digest, (int64_t)result.size};
    if (wh_blob_commit(sink.writer, expect, NULL, NULL, err) < 0)
        return -1;
    layer->diffid = result.diff_id;
    layer->has_diffid = true;
    *out = (struct wh_layer_blob){.digest = result.digest, .size = result.size, .level = x->level};
    snprintf(out->format, sizeof(out->format), "%s", format_of(x->compression));
    if (wh_layer_set_diffid(b->store, layer->id, &layer->diffid, err) < 0)
        return -1;
    return wh_layer_blob_add(b->store, &layer->diffid, out, err);
}

static int layer_descriptor(struct export *x, struct layer *layer, struct wh_descriptor *out,
                            struct wh_error *err)
{
    struct build *b = x->b;
    if (layer->image) {
        const struct wh_descriptor *base = &layer->image->layers[layer->nth].descriptor;
        enum wh_compression c;
        if (wh_layer_media_compression(base->media_type, &c, err) < 0)
            return -1;
        wh_descriptor_set(out, wh_layer_media_type(c, x->docker), &base->digest, base->size);
        return 0;
    }
    struct wh_layer_blob blob;
    int found = layer->has_diffid
                    ? wh_layer_blob(b->store, &layer->diffid, format_of(x->compression), x->level, &blob, err)
                    : 0;
    if (found == 0) {
        if (layer->id == 0) {
            wh_autofree int64_t *ids = NULL;
            struct state one = {.layers = layer, .n = 1};
            if (state_trees(b, &one, &ids, err) < 0)
                return -1;
        }
        char id[32];
        snprintf(id, sizeof(id), "layer %lld", (long long)layer->id);
        report_status(&b->report, x->vertex, id, 0, 0, false);
        found = make_blob(x, layer, &blob, err) < 0 ? -1 : 1;
        report_status(&b->report, x->vertex, id, 0, 0, true);
    }
    if (found < 0)
        return -1;
    wh_descriptor_set(out, wh_layer_media_type(x->compression, x->docker), &blob.digest, (int64_t)blob.size);
    return 0;
}

/* ---- the image's documents ---- */

static const char *source_date_epoch(const struct build *b)
{
    return b->request->build_args ? wh_env_get(b->request->build_args, "SOURCE_DATE_EPOCH") : NULL;
}

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
static int add_history(struct export *x, cJSON *config, struct wh_error *err)
{
    const struct state *state = &x->target->state;
    const struct wh_df_result *eval = x->target->eval;
    size_t at = base_layers(state);
    const char *base_created = wh_json_string(config, "created"), *epoch = source_date_epoch(x->b);
    wh_autofree char *created =
        at < state->n ? time_text(state->layers[at].created) : wh_strdup(base_created);
    int64_t seconds;
    if (epoch) {
        if (!wh_parse_i64(epoch, 0, INT64_MAX / 1000000000, &seconds))
            return wh_fail(err, WH_E_ARGUMENT,
                           "build argument SOURCE_DATE_EPOCH=%s: must be seconds since 1970", epoch);
        free(created);
        created = time_text(seconds * 1000000000);
    }
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
    wh_image_config_set_created(config, created);
    return 0;
}

static int make_image(struct export *x, const cJSON *annotations, struct wh_error *err)
{
    struct state *state = &x->target->state;
    struct wh_descriptor *layers = wh_calloc(state->n, sizeof(*layers));
    wh_autojson *config = cJSON_Duplicate(x->target->eval->config, true);
    int status = 0;
    for (size_t i = 0; i < state->n && status == 0; i++) {
        if (channel_canceled(&x->b->channel))
            status = wh_fail(err, WH_E_CANCELED, "canceled");
        else
            status = layer_descriptor(x, &state->layers[i], &layers[i], err);
        if (status == 0 && !state->layers[i].image)
            wh_image_config_add_diff_id(config, &state->layers[i].diffid);
    }
    if (status == 0)
        status = add_history(x, config, err);
    if (status == 0)
        status = wh_export_image_build(config, layers, state->n, x->docker, annotations, &x->image, err);
    for (size_t i = 0; i < state->n; i++)
        wh_descriptor_clear(&layers[i]);
    free(layers);
    return status;
}

/* ---- where the exporters read blobs ---- */

static int open_blob(void *data, const struct wh_digest *digest, struct wh_error *err)
{
    struct export *x = data;
    wh_autoerror mine = {0};
    int fd = wh_blob_open(x->b->store, digest, NULL, &mine);
    if (fd >= 0 || mine.code != WH_E_NOT_FOUND)
        return fd >= 0 ? fd : wh_error_move(err, &mine);
    const struct state *state = &x->target->state;
    for (size_t i = 0; i < state->n; i++) { /* a base layer that was never fetched */
        const struct layer *layer = &state->layers[i];
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
    struct export *x = data;
    return wh_blob_seen_where(x->b->store, digest, host, NULL);
}

static void push_progress(void *data, const char *text, const struct wh_digest *digest, uint64_t size,
                          bool done)
{
    struct export *x = data;
    (void)digest;
    report_status(&x->b->report, x->vertex, text, done ? size : 0, size, done);
}

/* ---- outputs ---- */

static struct wh_export_set set_of(struct export *x)
{
    return (struct wh_export_set){.images = &x->image, .nimages = 1, .docker = x->docker, .names = x->names};
}

static int push(struct export *x, const struct attrs *a, struct wh_error *err)
{
    if (wh_strv_len(x->names) == 0)
        return wh_fail(err, WH_E_ARGUMENT, "tag is needed when pushing to registry");
    if (!build_oci(x->b, err))
        return -1;
    struct wh_export_set set = set_of(x);
    struct wh_blob_provider provider = {x, open_blob, mount_from};
    struct wh_push_options options = {
        .by_digest = a->by_digest, .progress = push_progress, .progress_data = x};
    struct wh_push_stats stats = {0};
    if (wh_export_push(&set, &provider, x->b->registry, &options, &stats, err) < 0)
        return wh_wrap(err, "failed to push %s", x->names[0]);
    x->b->uploaded += stats.uploaded_bytes;
    x->b->layers_uploaded += stats.uploaded;
    for (char **name = x->names; *name; name++) { /* for mounts from there by later pushes */
        wh_autoref ref = {0};
        if (wh_ref_parse(*name, &ref, NULL) < 0)
            continue;
        for (size_t i = 0; i < x->image.nlayers; i++)
            wh_blob_seen_at(x->b->store, &x->image.layers[i].digest, ref.host, ref.path, NULL);
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

static int archive(struct export *x, const struct wh_build_output *o, struct wh_error *err)
{
    struct wh_export_set set = set_of(x);
    struct wh_blob_provider provider = {x, open_blob, mount_from};
    struct fd_sink sink = {o->fd};
    return wh_export_archive(&set, &provider, strcmp(o->type, "docker") == 0, write_fd, &sink, err);
}

/* The merged files as a tar; for `local` the client unpacks it. */
static int root_tar(struct export *x, const struct wh_build_output *o, struct wh_error *err)
{
    struct build *b = x->b;
    wh_autofree int64_t *ids = NULL;
    if (state_trees(b, &x->target->state, &ids, err) < 0)
        return -1;
    struct wh_rootfs_options options = {
        .layers_fd = wh_layer_layers_fd(b->store), .layers = ids, .nlayers = x->target->state.n};
    struct wh_rootfs root = WH_ROOTFS_NONE;
    struct wh_layer_options how = {
        .compression = WH_COMPRESS_NONE, .epoch = WH_LAYER_NO_EPOCH, .cancel = &b->channel.cancel};
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

static int needs_image(const struct wh_build_output *o)
{
    return strcmp(o->type, "image") == 0 || strcmp(o->type, "oci") == 0 || strcmp(o->type, "docker") == 0;
}

static void collect_names(struct export *x, const struct attrs *a)
{
    wh_strv_free(x->names);
    x->names = NULL;
    for (char **tag = a->names ? a->names : x->b->request->tags; tag && *tag; tag++) {
        wh_autoref ref = {0};
        if (wh_ref_parse(*tag, &ref, NULL) == 0)
            wh_strv_take(&x->names, wh_ref_text(&ref));
    }
}

static int check_tags(char *const *tags, struct wh_error *err)
{
    for (; tags && *tags; tags++) {
        wh_autoref ref = {0};
        if (wh_ref_parse(*tags, &ref, err) < 0)
            return wh_wrap(err, "tag");
    }
    return 0;
}

static void add_result(struct export *x, cJSON *result)
{
    char text[WH_DIGEST_TEXT];
    cJSON_DeleteItemFromObject(result, "digest");
    cJSON_DeleteItemFromObject(result, "configDigest");
    cJSON_DeleteItemFromObject(result, "descriptor");
    cJSON_DeleteItemFromObject(result, "name");
    wh_json_add_string(result, "digest", wh_digest_text(&x->image.manifest.digest, text));
    wh_json_add_string(result, "configDigest", wh_digest_text(&x->image.config.digest, text));
    cJSON_AddItemToObject(result, "descriptor", wh_descriptor_json(&x->image.manifest));
    wh_autofree char *names = wh_strv_join(x->names, ",");
    if (names[0])
        wh_json_add_string(result, "name", names);
}

static cJSON *annotations_of(const struct build *b, const struct attrs *a)
{
    cJSON *all = a->annotations ? cJSON_Duplicate(a->annotations, true) : NULL;
    for (char **item = b->request->annotations; item && *item; item++) {
        struct wh_view name, value;
        wh_view_split(wh_view_of(*item), '=', &name, &value);
        wh_autofree char *name_text = wh_view_dup(name), *value_text = wh_view_dup(value);
        if (!all)
            all = cJSON_CreateObject();
        wh_json_add_string(all, name_text, value_text);
    }
    return all;
}

static int image_output(struct export *x, const struct wh_build_output *o, const struct attrs *a,
                        cJSON *result, struct wh_error *err)
{
    char text[WH_DIGEST_TEXT];
    report_status(&x->b->report, x->vertex, "exporting layers", 0, 0, false);
    wh_autojson *annotations = annotations_of(x->b, a);
    int status = make_image(x, annotations, err);
    report_status(&x->b->report, x->vertex, "exporting layers", 0, 0, true);
    if (status < 0)
        return -1;
    wh_autofree char *manifest =
        wh_printf("exporting manifest %s", wh_digest_text(&x->image.manifest.digest, text));
    report_status(&x->b->report, x->vertex, manifest, 0, 0, true);
    wh_autofree char *config =
        wh_printf("exporting config %s", wh_digest_text(&x->image.config.digest, text));
    report_status(&x->b->report, x->vertex, config, 0, 0, true);
    add_result(x, result);
    if (strcmp(o->type, "image") != 0)
        return archive(x, o, err);
    return a->push ? push(x, a, err) : 0;
}

static int one_output(struct build *b, const struct wh_build_output *o, cJSON *result, struct wh_error *err)
{
    struct export x = {.b = b, .target = &b->stages[b->plan->target], .compression = WH_COMPRESS_GZIP};
    struct attrs a = {0};
    if (strcmp(o->type, "cacheonly") == 0)
        return 0;
    if (strcmp(o->type, "image") != 0 && o->fd < 0)
        return wh_fail(err, WH_E_ARGUMENT, "output type=%s needs a dest", o->type);
    bool image = needs_image(o);
    wh_autofree char *title =
        image && strcmp(o->type, "image") == 0
            ? wh_strdup("exporting to image")
            : wh_printf("exporting to %s", strcmp(o->type, "local") == 0 ? "client directory" : o->type);
    x.vertex = report_start(&b->report, title, NULL);
    int status = read_attrs(&x, o, &a, err);
    if (status == 0)
        status = check_tags(a.names ? a.names : b->request->tags, err);
    if (status == 0)
        collect_names(&x, &a);
    if (status == 0)
        status = image ? image_output(&x, o, &a, result, err) : root_tar(&x, o, err);
    report_end(&b->report, x.vertex, status, err);
    wh_export_image_clear(&x.image);
    wh_strv_free(x.names);
    wh_strv_free(a.names);
    cJSON_Delete(a.annotations);
    return status;
}

int build_export(struct build *b, cJSON *result, struct wh_error *err)
{
    for (size_t i = 0; i < b->request->noutputs; i++)
        if (one_output(b, &b->request->outputs[i], result, err) < 0)
            return -1;
    return 0;
}
