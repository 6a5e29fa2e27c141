/* Finished images: their two documents, the index over several, and what the exporters share. */
#include "oci/export_internal.h"

#include <stdio.h>

void wh_export_image_clear(struct wh_export_image *image)
{
    wh_descriptor_clear(&image->manifest);
    wh_str_free(&image->manifest_bytes);
    wh_descriptor_clear(&image->config);
    wh_str_free(&image->config_bytes);
    for (size_t i = 0; i < image->nlayers; i++)
        wh_descriptor_clear(&image->layers[i]);
    free(image->layers);
    *image = (struct wh_export_image){0};
}

static void take_text(struct wh_str *out, char *text)
{
    out->data = text;
    out->len = strlen(text);
    out->cap = out->len + 1;
}

static void describe(struct wh_descriptor *d, const char *media_type, const struct wh_str *bytes)
{
    struct wh_digest digest;
    wh_digest_of(bytes->data, bytes->len, &digest);
    wh_descriptor_set(d, media_type, &digest, (int64_t)bytes->len);
}

int wh_export_image_build(const cJSON *config, const struct wh_descriptor *layers, size_t nlayers,
                          bool docker, const cJSON *annotations, struct wh_export_image *out,
                          struct wh_error *err)
{
    wh_autofree struct wh_digest *ids = NULL;
    int n = wh_image_config_diff_ids(config, &ids, err);
    if (n < 0)
        return -1;
    if ((size_t)n != nlayers)
        return wh_fail(err, WH_E_FAILED, "the config names %d layers, but %zu are given", n, nlayers);
    struct wh_export_image image = {0};
    if (wh_image_config_platform(config, &image.platform, err) < 0)
        return -1;
    take_text(&image.config_bytes, wh_image_config_print(config));
    describe(&image.config, docker ? WH_MEDIA_DOCKER_CONFIG : WH_MEDIA_OCI_CONFIG, &image.config_bytes);
    wh_automanifest m = {.media_type = wh_strdup(docker ? WH_MEDIA_DOCKER_MANIFEST : WH_MEDIA_OCI_MANIFEST)};
    wh_descriptor_copy(&m.config, &image.config);
    m.annotations = annotations ? cJSON_Duplicate(annotations, true) : NULL;
    image.layers = wh_calloc(nlayers ? nlayers : 1, sizeof(*image.layers));
    for (; image.nlayers < nlayers; image.nlayers++) {
        wh_manifest_add_layer(&m, &layers[image.nlayers]);
        wh_descriptor_copy(&image.layers[image.nlayers], &layers[image.nlayers]);
    }
    take_text(&image.manifest_bytes, wh_manifest_print(&m));
    describe(&image.manifest, m.media_type, &image.manifest_bytes);
    *out = image;
    return 0;
}

bool oci_export_has_index(const struct wh_export_set *set)
{
    return set->index || set->nimages != 1;
}

int wh_export_root(const struct wh_export_set *set, struct wh_descriptor *root, struct wh_str *bytes,
                   struct wh_error *err)
{
    if (set->nimages == 0)
        return wh_fail(err, WH_E_ARGUMENT, "there is no image to export");
    if (!oci_export_has_index(set)) {
        wh_str_addn(bytes, set->images[0].manifest_bytes.data, set->images[0].manifest_bytes.len);
        wh_descriptor_copy(root, &set->images[0].manifest);
        return 0;
    }
    wh_autoindex index = {.media_type = wh_strdup(set->docker ? WH_MEDIA_DOCKER_INDEX : WH_MEDIA_OCI_INDEX)};
    index.annotations = set->index_annotations ? cJSON_Duplicate(set->index_annotations, true) : NULL;
    for (size_t i = 0; i < set->nimages; i++) {
        struct wh_descriptor entry = {0};
        wh_descriptor_copy(&entry, &set->images[i].manifest);
        entry.has_platform = true;
        entry.platform = set->images[i].platform;
        wh_index_add(&index, &entry);
        wh_descriptor_clear(&entry);
    }
    wh_autostr text = {0};
    take_text(&text, wh_index_print(&index));
    describe(root, index.media_type, &text);
    wh_str_addn(bytes, text.data, text.len);
    return 0;
}

/* ---- the blobs of a set, each once ---- */

static bool has(const struct oci_export_blob *list, size_t n, const struct wh_digest *digest)
{
    for (size_t i = 0; i < n; i++)
        if (wh_digest_eq(&list[i].descriptor->digest, digest))
            return true;
    return false;
}

static void add(struct oci_export_blob *list, size_t *n, enum oci_export_kind kind,
                const struct wh_descriptor *d, const struct wh_str *bytes)
{
    if (!has(list, *n, &d->digest))
        list[(*n)++] = (struct oci_export_blob){kind, d, bytes ? bytes->data : NULL};
}

size_t oci_export_blobs(const struct wh_export_set *set, struct oci_export_blob **out)
{
    size_t max = 0, n = 0;
    for (size_t i = 0; i < set->nimages; i++)
        max += set->images[i].nlayers + 2;
    *out = wh_calloc(max ? max : 1, sizeof(**out));
    for (size_t i = 0; i < set->nimages; i++)
        for (size_t l = 0; l < set->images[i].nlayers; l++)
            add(*out, &n, OCI_EXPORT_LAYER, &set->images[i].layers[l], NULL);
    for (size_t i = 0; i < set->nimages; i++)
        add(*out, &n, OCI_EXPORT_CONFIG, &set->images[i].config, &set->images[i].config_bytes);
    for (size_t i = 0; i < set->nimages; i++)
        add(*out, &n, OCI_EXPORT_MANIFEST, &set->images[i].manifest, &set->images[i].manifest_bytes);
    return n;
}
