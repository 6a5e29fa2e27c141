/* Manifests and indexes: reading within limits, writing BuildKit's bytes, choosing a platform (builder.md §6,
 * §7). */
#include "oci/oci.h"
#include "wherry/oci/image.h"

void wh_manifest_clear(struct wh_manifest *m)
{
    free(m->media_type);
    free(m->artifact_type);
    wh_descriptor_clear(&m->config);
    for (size_t i = 0; i < m->nlayers; i++)
        wh_descriptor_clear(&m->layers[i]);
    free(m->layers);
    cJSON_Delete(m->annotations);
    cJSON_Delete(m->subject);
    *m = (struct wh_manifest){0};
}

void wh_index_clear(struct wh_index *i)
{
    free(i->media_type);
    free(i->artifact_type);
    for (size_t n = 0; n < i->nmanifests; n++)
        wh_descriptor_clear(&i->manifests[n]);
    free(i->manifests);
    cJSON_Delete(i->annotations);
    *i = (struct wh_index){0};
}

static bool is_index_type(struct wh_view type)
{
    return wh_view_eq(type, WH_MEDIA_OCI_INDEX) || wh_view_eq(type, WH_MEDIA_DOCKER_INDEX);
}

static bool is_manifest_type(struct wh_view type)
{
    return wh_view_eq(type, WH_MEDIA_OCI_MANIFEST) || wh_view_eq(type, WH_MEDIA_DOCKER_MANIFEST);
}

int wh_manifest_kind(const void *data, size_t len, const char *media_type, enum wh_manifest_kind *out,
                     struct wh_error *err)
{
    wh_autojson *json = wh_json_parse(data, len, WH_MAX_MANIFEST_BYTES, "manifest", err);
    if (!json)
        return -1;
    struct wh_view answer, parameters;
    wh_view_split(wh_view_of(media_type), ';', &answer, &parameters);
    answer = wh_view_trim(answer);
    struct wh_view own = wh_view_of(oci_text(json, "mediaType"));
    /* The document's own word counts first: servers are known to label indexes as manifests. */
    if (is_index_type(own) || is_manifest_type(own)) {
        *out = is_index_type(own) ? WH_KIND_INDEX : WH_KIND_MANIFEST;
        return 0;
    }
    const cJSON *version = oci_member(json, "schemaVersion");
    if (cJSON_IsNumber(version) && version->valuedouble == 1)
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "the image has a manifest of schema 1, which is long deprecated; push it anew with a "
                       "current tool");
    if (cJSON_IsArray(oci_member(json, "manifests")) && !is_manifest_type(answer)) {
        *out = WH_KIND_INDEX;
        return 0;
    }
    if (cJSON_IsObject(oci_member(json, "config")) && !is_index_type(answer)) {
        *out = WH_KIND_MANIFEST;
        return 0;
    }
    return wh_fail(err, WH_E_PARSE, "the document is neither an image manifest nor an index (type \"%.*s\")",
                   (int)WH_MIN(answer.len, (size_t)100), answer.data ? answer.data : "");
}

/* Reads an array of descriptors. */
static int read_list(const cJSON *list, const char *name, size_t max, struct wh_descriptor **out, size_t *n,
                     struct wh_error *err)
{
    if (!list)
        return 0;
    if (!cJSON_IsArray(list))
        return wh_fail(err, WH_E_PARSE, "%s is no array", name);
    size_t count = (size_t)cJSON_GetArraySize(list);
    if (count > max)
        return wh_fail(err, WH_E_LIMIT, "%zu entries in %s, more than %zu", count, name, max);
    *out = wh_calloc(count ? count : 1, sizeof(**out));
    for (const cJSON *child = list->child; child; child = child->next) {
        wh_autofree char *what = wh_printf("%s[%zu]", name, *n);
        if (wh_descriptor_parse(child, what, &(*out)[*n], err) < 0)
            return -1;
        (*n)++;
    }
    return 0;
}

static int read_annotations(const cJSON *json, cJSON **out, struct wh_error *err)
{
    const cJSON *annotations = oci_member(json, "annotations");
    if (oci_text_map(annotations, "document", err) < 0)
        return -1;
    *out = annotations ? cJSON_Duplicate(annotations, true) : NULL;
    return 0;
}

static int read_manifest(const cJSON *json, struct wh_manifest *m, struct wh_error *err)
{
    const cJSON *config = oci_member(json, "config"), *subject = oci_member(json, "subject");
    const char *type = oci_text(json, "mediaType");
    if (!cJSON_IsObject(json) || !cJSON_IsObject(config))
        return wh_fail(err, WH_E_PARSE, "the object config is missing");
    m->media_type = wh_strdup(type ? type : WH_MEDIA_OCI_MANIFEST);
    m->artifact_type = wh_strdup(oci_text(json, "artifactType"));
    m->subject = cJSON_IsObject(subject) ? cJSON_Duplicate(subject, true) : NULL;
    if (wh_descriptor_parse(config, "config", &m->config, err) < 0)
        return -1;
    if (read_list(oci_member(json, "layers"), "layers", WH_MAX_MANIFEST_LAYERS, &m->layers, &m->nlayers,
                  err) < 0)
        return -1;
    return read_annotations(json, &m->annotations, err);
}

int wh_manifest_parse(const void *data, size_t len, struct wh_manifest *out, struct wh_error *err)
{
    wh_automanifest m = {0};
    wh_autojson *json = wh_json_parse(data, len, WH_MAX_MANIFEST_BYTES, "manifest", err);
    if (!json)
        return -1;
    if (read_manifest(json, &m, err) < 0)
        return wh_wrap(err, "image manifest");
    *out = m;
    m = (struct wh_manifest){0};
    return 0;
}

static int read_index(const cJSON *json, struct wh_index *i, struct wh_error *err)
{
    const char *type = oci_text(json, "mediaType");
    if (!cJSON_IsArray(oci_member(json, "manifests")))
        return wh_fail(err, WH_E_PARSE, "the array manifests is missing");
    i->media_type = wh_strdup(type ? type : WH_MEDIA_OCI_INDEX);
    i->artifact_type = wh_strdup(oci_text(json, "artifactType"));
    if (read_list(oci_member(json, "manifests"), "manifests", WH_MAX_INDEX_MANIFESTS, &i->manifests,
                  &i->nmanifests, err) < 0)
        return -1;
    return read_annotations(json, &i->annotations, err);
}

int wh_index_parse(const void *data, size_t len, struct wh_index *out, struct wh_error *err)
{
    wh_autoindex i = {0};
    wh_autojson *json = wh_json_parse(data, len, WH_MAX_MANIFEST_BYTES, "index", err);
    if (!json)
        return -1;
    if (read_index(json, &i, err) < 0)
        return wh_wrap(err, "image index");
    *out = i;
    i = (struct wh_index){0};
    return 0;
}

static void add_list(cJSON *json, const char *name, const struct wh_descriptor *list, size_t n,
                     bool null_if_empty)
{
    if (n == 0 && null_if_empty) {
        cJSON_AddNullToObject(json, name);
        return;
    }
    cJSON *array = cJSON_AddArrayToObject(json, name);
    for (size_t i = 0; i < n; i++)
        cJSON_AddItemToArray(array, wh_descriptor_json(&list[i]));
}

static cJSON *new_document(const char *media_type, const char *artifact_type)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "schemaVersion", 2);
    cJSON_AddStringToObject(json, "mediaType", media_type);
    if (artifact_type)
        cJSON_AddStringToObject(json, "artifactType", artifact_type);
    return json;
}

static void add_annotations(cJSON *json, const cJSON *annotations)
{
    if (!annotations || !annotations->child)
        return;
    cJSON *copy = cJSON_Duplicate(annotations, true);
    wh_json_sort_members(copy);
    cJSON_AddItemToObject(json, "annotations", copy);
}

char *wh_manifest_print(const struct wh_manifest *m)
{
    wh_autojson *json = new_document(m->media_type, m->artifact_type);
    cJSON_AddItemToObject(json, "config", wh_descriptor_json(&m->config));
    add_list(json, "layers", m->layers, m->nlayers, true);
    if (m->subject)
        cJSON_AddItemToObject(json, "subject", cJSON_Duplicate(m->subject, true));
    add_annotations(json, m->annotations);
    return wh_go_json_indented(json);
}

char *wh_index_print(const struct wh_index *i)
{
    wh_autojson *json = new_document(i->media_type, i->artifact_type);
    add_list(json, "manifests", i->manifests, i->nmanifests, false);
    add_annotations(json, i->annotations);
    return wh_go_json_indented(json);
}

static void append(struct wh_descriptor **list, size_t *n, const struct wh_descriptor *item)
{
    *list = wh_reallocarray(*list, *n + 1, sizeof(**list));
    (*list)[*n] = (struct wh_descriptor){0};
    wh_descriptor_copy(&(*list)[*n], item);
    (*n)++;
}

void wh_manifest_add_layer(struct wh_manifest *m, const struct wh_descriptor *layer)
{
    append(&m->layers, &m->nlayers, layer);
}

void wh_index_add(struct wh_index *i, const struct wh_descriptor *manifest)
{
    append(&i->manifests, &i->nmanifests, manifest);
}

static bool is_image_entry(const struct wh_descriptor *d)
{
    struct wh_view type = wh_view_of(d->media_type);
    bool unknown =
        d->has_platform && (wh_streq(d->platform.os, "unknown") || wh_streq(d->platform.arch, "unknown"));
    return !unknown && (is_manifest_type(type) || is_index_type(type));
}

static char *list_platforms(const struct wh_index *i)
{
    wh_autostr text = {0};
    char buf[100];
    for (size_t n = 0; n < i->nmanifests && text.len < 500; n++) {
        if (!is_image_entry(&i->manifests[n]) || !i->manifests[n].has_platform)
            continue;
        wh_str_addf(&text, "%s%s", text.len ? ", " : "", wh_platform_text(&i->manifests[n].platform, buf));
    }
    return text.len ? wh_str_steal(&text) : wh_strdup("none");
}

const struct wh_descriptor *wh_index_choose(const struct wh_index *i, const struct wh_platform *want,
                                            struct wh_error *err)
{
    const struct wh_descriptor *best = NULL;
    int best_rank = 0;
    for (size_t n = 0; n < i->nmanifests; n++) {
        const struct wh_descriptor *d = &i->manifests[n];
        if (!is_image_entry(d))
            continue;
        int rank = d->has_platform ? wh_platform_rank(want, &d->platform) : 1000;
        if (rank >= 0 && (!best || rank < best_rank)) {
            best = d;
            best_rank = rank;
        }
    }
    if (!best) {
        char buf[100];
        wh_autofree char *there = list_platforms(i);
        wh_fail(err, WH_E_NOT_FOUND, "no match for platform %s in the image; it is there for: %s",
                wh_platform_text(want, buf), there);
    }
    return best;
}
