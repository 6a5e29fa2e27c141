/* OCI layouts and docker archives (builder.md §6): a folder, or a tar with sorted members, 0:0, time 0. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "oci/export_internal.h"
#include "oci/oci.h"
#include "oci/tar.h"
#include "wherry/base/fs.h"

#define LAYOUT "{\"imageLayoutVersion\":\"1.0.0\"}"
#define COPY_SIZE 65536

static int compare_blobs(const void *a, const void *b)
{
    const struct oci_export_blob *left = a, *right = b;
    return memcmp(left->descriptor->digest.bytes, right->descriptor->digest.bytes,
                  sizeof(left->descriptor->digest.bytes));
}

/* All that lies under blobs/sha256, sorted; the root's own bytes if it is an index. */
struct layout {
    const struct wh_export_set *set;
    const struct wh_blob_provider *provider;
    struct oci_export_blob *blobs;
    size_t n;
    struct wh_descriptor root;
    struct wh_str root_bytes;
    char *index;           /* index.json */
    char *docker_manifest; /* manifest.json or NULL */
};

static void layout_clear(struct layout *l)
{
    free(l->blobs);
    wh_descriptor_clear(&l->root);
    wh_str_free(&l->root_bytes);
    free(l->index);
    free(l->docker_manifest);
}

/* ---- documents ---- */

static void add_index_entry(const struct layout *l, cJSON *list, const struct wh_ref *ref)
{
    struct wh_descriptor d = {0};
    wh_descriptor_copy(&d, &l->root);
    cJSON *annotations =
        l->set->root_annotations ? cJSON_Duplicate(l->set->root_annotations, true) : cJSON_CreateObject();
    if (ref) {
        wh_autofree char *full = wh_ref_text(ref);
        cJSON_AddStringToObject(annotations, "io.containerd.image.name", full);
        if (ref->tag)
            cJSON_AddStringToObject(annotations, "org.opencontainers.image.ref.name", ref->tag);
    }
    if (l->set->created)
        cJSON_AddStringToObject(annotations, "org.opencontainers.image.created", l->set->created);
    cJSON_Delete(d.annotations);
    d.annotations = annotations;
    if (!oci_export_has_index(l->set)) {
        d.has_platform = true;
        d.platform = l->set->images[0].platform;
    }
    cJSON_AddItemToArray(list, wh_descriptor_json(&d));
    wh_descriptor_clear(&d);
}

static int make_index(struct layout *l, struct wh_error *err)
{
    wh_autojson *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "schemaVersion", 2);
    cJSON_AddStringToObject(json, "mediaType", WH_MEDIA_OCI_INDEX);
    cJSON *list = cJSON_AddArrayToObject(json, "manifests");
    for (char *const *name = l->set->names; name && *name; name++) {
        wh_autoref ref = {0};
        if (wh_ref_parse(*name, &ref, err) < 0)
            return -1;
        add_index_entry(l, list, &ref);
    }
    if (!list->child)
        add_index_entry(l, list, NULL);
    l->index = wh_go_json(json);
    return 0;
}

static char *blob_path(const struct wh_digest *digest)
{
    char text[WH_DIGEST_TEXT];
    return wh_printf("blobs/sha256/%s", wh_digest_text(digest, text) + strlen("sha256:"));
}

/* What `docker load` reads: [{"Config":..,"RepoTags":[..],"Layers":[..]}]. */
static int make_docker_manifest(struct layout *l, struct wh_error *err)
{
    if (l->set->nimages != 1)
        return wh_fail(err, WH_E_ARGUMENT,
                       "a docker archive holds one platform; choose one, or the exporter oci");
    const struct wh_export_image *image = &l->set->images[0];
    wh_autojson *json = cJSON_CreateArray();
    cJSON *entry = cJSON_CreateObject();
    cJSON_AddItemToArray(json, entry);
    wh_autofree char *config = blob_path(&image->config.digest);
    cJSON_AddStringToObject(entry, "Config", config);
    cJSON *tags = cJSON_AddArrayToObject(entry, "RepoTags");
    for (char *const *name = l->set->names; name && *name; name++) {
        wh_autoref ref = {0};
        if (wh_ref_parse(*name, &ref, err) < 0)
            return -1;
        ref.has_digest = false;
        wh_autofree char *familiar = wh_ref_familiar(&ref);
        cJSON_AddItemToArray(tags, cJSON_CreateString(familiar));
    }
    cJSON *layers = cJSON_AddArrayToObject(entry, "Layers");
    for (size_t i = 0; i < image->nlayers; i++) {
        wh_autofree char *path = blob_path(&image->layers[i].digest);
        cJSON_AddItemToArray(layers, cJSON_CreateString(path));
    }
    l->docker_manifest = wh_go_json(json);
    return 0;
}

static int layout_make(struct layout *l, const struct wh_export_set *set,
                       const struct wh_blob_provider *provider, bool docker, struct wh_error *err)
{
    *l = (struct layout){.set = set, .provider = provider};
    if (wh_export_root(set, &l->root, &l->root_bytes, err) < 0 || make_index(l, err) < 0 ||
        (docker && make_docker_manifest(l, err) < 0))
        return -1;
    l->n = oci_export_blobs(set, &l->blobs);
    if (oci_export_has_index(set)) {
        l->blobs = wh_reallocarray(l->blobs, l->n + 1, sizeof(*l->blobs));
        l->blobs[l->n++] = (struct oci_export_blob){OCI_EXPORT_MANIFEST, &l->root, l->root_bytes.data};
    }
    qsort(l->blobs, l->n, sizeof(*l->blobs), compare_blobs);
    return 0;
}

/* ---- copying a blob out ---- */

/* Reads a blob, hands it on, and checks that it is what its name says. */
static int copy_blob(const struct layout *l, const struct oci_export_blob *blob, wh_layer_sink_fn sink,
                     void *data, struct wh_error *err)
{
    const struct wh_descriptor *d = blob->descriptor;
    if (blob->bytes)
        return sink(data, blob->bytes, (size_t)d->size, err);
    char buf[COPY_SIZE], text[WH_DIGEST_TEXT];
    struct wh_digest digest;
    uint64_t left = (uint64_t)d->size;
    wh_autosha256 *hash = wh_sha256_new();
    wh_autoclose int fd = l->provider->open(l->provider->data, &d->digest, err);
    if (fd < 0)
        return -1;
    while (left > 0) {
        ssize_t n = read(fd, buf, (size_t)WH_MIN(left, (uint64_t)sizeof(buf)));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0
                       ? wh_fail_errno(err, "read blob %s", wh_digest_text(&d->digest, text))
                       : wh_fail(err, WH_E_CORRUPT, "blob %s is too short", wh_digest_text(&d->digest, text));
        wh_sha256_update(hash, buf, (size_t)n);
        if (sink(data, buf, (size_t)n, err) < 0)
            return -1;
        left -= (uint64_t)n;
    }
    wh_sha256_final(hash, &digest);
    if (!wh_digest_eq(&digest, &d->digest))
        return wh_fail(
            err, WH_E_CORRUPT,
            "blob %s does not have the bytes of its name any more; `wherry cache verify` removes it",
            wh_digest_text(&d->digest, text));
    return 0;
}

/* ---- into a folder ---- */

static int write_fd(void *data, const void *bytes, size_t len, struct wh_error *err)
{
    return wh_write_all(*(int *)data, bytes, len, err);
}

static int make_folder(int dirfd, const char *name, struct wh_error *err)
{
    return mkdirat(dirfd, name, 0755) < 0 && errno != EEXIST ? wh_fail_errno(err, "make folder %s", name) : 0;
}

static int write_blob_file(const struct layout *l, const struct oci_export_blob *blob, int dirfd,
                           struct wh_error *err)
{
    struct stat st;
    wh_autofree char *path = blob_path(&blob->descriptor->digest);
    wh_autofree char *part = wh_printf("%s.part", path);
    if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size == blob->descriptor->size)
        return 0;
    (void)unlinkat(dirfd, part, 0);
    wh_autoclose int fd = openat(dirfd, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return wh_fail_errno(err, "make %s", part);
    int failed = copy_blob(l, blob, write_fd, &fd, err);
    if (failed == 0 && renameat(dirfd, part, dirfd, path) < 0)
        failed = wh_fail_errno(err, "make %s", path);
    if (failed < 0)
        (void)unlinkat(dirfd, part, 0);
    return failed;
}

static int write_layout(const struct layout *l, int dirfd, struct wh_error *err)
{
    if (make_folder(dirfd, "blobs", err) < 0 || make_folder(dirfd, "blobs/sha256", err) < 0)
        return -1;
    for (size_t i = 0; i < l->n; i++)
        if (write_blob_file(l, &l->blobs[i], dirfd, err) < 0)
            return -1;
    if (wh_write_file(dirfd, "oci-layout", LAYOUT, strlen(LAYOUT), 0644, err) < 0)
        return -1;
    return wh_write_file(dirfd, "index.json", l->index, strlen(l->index), 0644, err);
}

int wh_export_oci_dir(const struct wh_export_set *set, const struct wh_blob_provider *blobs, int dirfd,
                      struct wh_error *err)
{
    struct layout l;
    int failed = layout_make(&l, set, blobs, false, err);
    if (failed == 0)
        failed = write_layout(&l, dirfd, err);
    layout_clear(&l);
    return failed < 0 ? wh_wrap(err, "write the OCI layout") : 0;
}

/* ---- as a tar ---- */

struct tar_out {
    wh_layer_sink_fn sink;
    void *data;
};

static int tar_bytes(struct tar_out *t, const void *bytes, size_t len, struct wh_error *err)
{
    return len ? t->sink(t->data, bytes, len, err) : 0;
}

static int tar_header(struct tar_out *t, const char *path, char type, mode_t mode, uint64_t size,
                      struct wh_error *err)
{
    wh_autostr header = {0};
    oci_tar_header(&header, &(struct oci_tar_entry){.path = path, .type = type, .mode = mode, .size = size});
    return tar_bytes(t, header.data, header.len, err);
}

static int tar_padding(struct tar_out *t, uint64_t size, struct wh_error *err)
{
    static const char zeros[OCI_TAR_BLOCK];
    return tar_bytes(t, zeros, oci_tar_padding(size), err);
}

static int tar_document(struct tar_out *t, const char *path, mode_t mode, const char *text,
                        struct wh_error *err)
{
    size_t len = strlen(text);
    if (tar_header(t, path, '0', mode, len, err) < 0 || tar_bytes(t, text, len, err) < 0)
        return -1;
    return tar_padding(t, len, err);
}

static int tar_blob(const struct layout *l, struct tar_out *t, const struct oci_export_blob *blob,
                    struct wh_error *err)
{
    uint64_t size = (uint64_t)blob->descriptor->size;
    wh_autofree char *path = blob_path(&blob->descriptor->digest);
    if (tar_header(t, path, '0', 0444, size, err) < 0 || copy_blob(l, blob, t->sink, t->data, err) < 0)
        return -1;
    return tar_padding(t, size, err);
}

static int write_tar(const struct layout *l, struct tar_out *t, struct wh_error *err)
{
    static const char end[2 * OCI_TAR_BLOCK];
    if (tar_header(t, "blobs", '5', 0755, 0, err) < 0 || tar_header(t, "blobs/sha256", '5', 0755, 0, err) < 0)
        return -1;
    for (size_t i = 0; i < l->n; i++)
        if (tar_blob(l, t, &l->blobs[i], err) < 0)
            return -1;
    if (tar_document(t, "index.json", 0644, l->index, err) < 0)
        return -1;
    if (l->docker_manifest && tar_document(t, "manifest.json", 0644, l->docker_manifest, err) < 0)
        return -1;
    if (tar_document(t, "oci-layout", 0444, LAYOUT, err) < 0)
        return -1;
    return tar_bytes(t, end, sizeof(end), err);
}

int wh_export_archive(const struct wh_export_set *set, const struct wh_blob_provider *blobs, bool docker,
                      wh_layer_sink_fn sink, void *data, struct wh_error *err)
{
    struct layout l;
    struct tar_out t = {sink, data};
    int failed = layout_make(&l, set, blobs, docker, err);
    if (failed == 0)
        failed = write_tar(&l, &t, err);
    layout_clear(&l);
    return failed < 0 ? wh_wrap(err, "write the %s archive", docker ? "docker" : "OCI") : 0;
}
