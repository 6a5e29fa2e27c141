/* Descriptors and media types (builder.md §6). */
#include <stdio.h>

#include "oci/oci.h"
#include "wherry/oci/image.h"

struct layer_type {
    const char *media_type;
    enum wh_compression compression;
};

static const struct layer_type layer_types[] = {
    {WH_MEDIA_OCI_LAYER, WH_COMPRESS_NONE},
    {WH_MEDIA_OCI_LAYER "+gzip", WH_COMPRESS_GZIP},
    {WH_MEDIA_OCI_LAYER "+zstd", WH_COMPRESS_ZSTD},
    {WH_MEDIA_DOCKER_LAYER, WH_COMPRESS_NONE},
    {WH_MEDIA_DOCKER_LAYER ".gzip", WH_COMPRESS_GZIP},
    {WH_MEDIA_DOCKER_LAYER ".zstd", WH_COMPRESS_ZSTD},
    {WH_MEDIA_DOCKER_FOREIGN_LAYER, WH_COMPRESS_NONE},
    {WH_MEDIA_DOCKER_FOREIGN_LAYER ".gzip", WH_COMPRESS_GZIP},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar", WH_COMPRESS_NONE},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", WH_COMPRESS_GZIP},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", WH_COMPRESS_ZSTD},
};

static const char *const compression_names[] = {"uncompressed", "gzip", "zstd"};

const char *wh_compression_text(enum wh_compression c)
{
    return compression_names[c];
}

bool wh_compression_parse(const char *text, enum wh_compression *out)
{
    for (size_t i = 0; i < WH_COUNT(compression_names); i++) {
        if (!wh_streq(text, compression_names[i]))
            continue;
        *out = (enum wh_compression)i;
        return true;
    }
    return false;
}

const char *wh_layer_media_type(enum wh_compression c, bool docker)
{
    return layer_types[(docker ? 3 : 0) + (int)c].media_type;
}

int wh_layer_media_compression(const char *media_type, enum wh_compression *out, struct wh_error *err)
{
    for (size_t i = 0; i < WH_COUNT(layer_types); i++) {
        if (!wh_streq(media_type, layer_types[i].media_type))
            continue;
        *out = layer_types[i].compression;
        return 0;
    }
    return wh_fail(err, WH_E_UNSUPPORTED, "\"%.120s\" is no image layer that can be unpacked",
                   media_type ? media_type : "");
}

void wh_descriptor_clear(struct wh_descriptor *d)
{
    free(d->media_type);
    cJSON_Delete(d->annotations);
    cJSON_Delete(d->extra);
    cJSON_Delete(d->platform_json);
    *d = (struct wh_descriptor){0};
}

void wh_descriptor_copy(struct wh_descriptor *to, const struct wh_descriptor *from)
{
    struct wh_descriptor copy = *from;
    copy.media_type = wh_strdup(from->media_type);
    copy.annotations = from->annotations ? cJSON_Duplicate(from->annotations, true) : NULL;
    copy.extra = from->extra ? cJSON_Duplicate(from->extra, true) : NULL;
    copy.platform_json = from->platform_json ? cJSON_Duplicate(from->platform_json, true) : NULL;
    wh_descriptor_clear(to);
    *to = copy;
}

void wh_descriptor_set(struct wh_descriptor *d, const char *media_type, const struct wh_digest *digest,
                       int64_t size)
{
    wh_descriptor_clear(d);
    d->media_type = wh_strdup(media_type);
    d->digest = *digest;
    d->size = size;
}

static void copy_text(char *field, size_t size, const cJSON *object, const char *name)
{
    const char *text = oci_text(object, name);
    snprintf(field, size, "%s", text ? text : "");
}

void oci_platform_read(const cJSON *json, struct wh_platform *out)
{
    *out = (struct wh_platform){0};
    copy_text(out->os, sizeof(out->os), json, "os");
    copy_text(out->arch, sizeof(out->arch), json, "architecture");
    copy_text(out->variant, sizeof(out->variant), json, "variant");
    copy_text(out->os_version, sizeof(out->os_version), json, "os.version");
    wh_platform_normalise(out);
}

const cJSON *oci_member(const cJSON *object, const char *name)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNull(member) ? NULL : member;
}

const char *oci_text(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(oci_member(object, name));
}

int oci_text_map(const cJSON *json, const char *what, struct wh_error *err)
{
    if (json && !cJSON_IsObject(json))
        return wh_fail(err, WH_E_PARSE, "%s: annotations is no object", what);
    for (const cJSON *child = json ? json->child : NULL; child; child = child->next)
        if (!cJSON_IsString(child))
            return wh_fail(err, WH_E_PARSE, "%s: annotation %.100s is no string", what, child->string);
    return 0;
}

static bool is_extra(const char *name)
{
    static const char *const known[] = {"mediaType", "digest", "size", "annotations", "platform"};
    for (size_t i = 0; i < WH_COUNT(known); i++)
        if (wh_streq(name, known[i]))
            return false;
    return true;
}

static int read_descriptor(const cJSON *json, const char *what, struct wh_descriptor *d, struct wh_error *err)
{
    const char *type = oci_text(json, "mediaType"), *digest = oci_text(json, "digest");
    const cJSON *size = oci_member(json, "size"), *platform = oci_member(json, "platform");
    const cJSON *annotations = oci_member(json, "annotations");
    if (!cJSON_IsObject(json))
        return wh_fail(err, WH_E_PARSE, "%s: the descriptor is no object", what);
    if (!type || !digest)
        return wh_fail(err, WH_E_PARSE, "%s: the descriptor lacks mediaType or digest", what);
    if (wh_digest_parse(digest, &d->digest, err) < 0)
        return wh_wrap(err, "%s", what);
    if (!cJSON_IsNumber(size) || size->valuedouble < 0 || size->valuedouble > 9007199254740992.0 ||
        size->valuedouble != (double)(int64_t)size->valuedouble)
        return wh_fail(err, WH_E_PARSE, "%s: size is no byte count", what);
    if (oci_text_map(annotations, what, err) < 0)
        return -1;
    d->media_type = wh_strdup(type);
    d->size = (int64_t)size->valuedouble;
    d->annotations = annotations ? cJSON_Duplicate(annotations, true) : NULL;
    if (cJSON_IsObject(platform)) {
        d->has_platform = true;
        oci_platform_read(platform, &d->platform);
        d->platform_json = cJSON_Duplicate(platform, true);
    }
    for (const cJSON *child = json->child; child; child = child->next) {
        if (!is_extra(child->string) || cJSON_IsNull(child))
            continue;
        if (!d->extra)
            d->extra = cJSON_CreateObject();
        cJSON_AddItemToObject(d->extra, child->string, cJSON_Duplicate(child, true));
    }
    return 0;
}

int wh_descriptor_parse(const cJSON *json, const char *what, struct wh_descriptor *out, struct wh_error *err)
{
    struct wh_descriptor d = {0};
    if (read_descriptor(json, what, &d, err) < 0) {
        wh_descriptor_clear(&d);
        return -1;
    }
    wh_descriptor_clear(out);
    *out = d;
    return 0;
}

static cJSON *platform_json(const struct wh_platform *p)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "architecture", p->arch);
    cJSON_AddStringToObject(json, "os", p->os);
    if (p->os_version[0])
        cJSON_AddStringToObject(json, "os.version", p->os_version);
    if (p->variant[0])
        cJSON_AddStringToObject(json, "variant", p->variant);
    return json;
}

void oci_move_member(cJSON *to, cJSON *from, const char *name)
{
    cJSON *member = cJSON_DetachItemFromObjectCaseSensitive(from, name);
    if (member)
        cJSON_AddItemToObject(to, name, member);
}

void oci_move_rest(cJSON *to, cJSON *from)
{
    while (from->child) {
        cJSON *member = cJSON_DetachItemViaPointer(from, from->child);
        wh_autofree char *name = wh_strdup(member->string);
        cJSON_AddItemToObject(to, name, member);
    }
}

cJSON *wh_descriptor_json(const struct wh_descriptor *d)
{
    cJSON *json = cJSON_CreateObject();
    char digest[WH_DIGEST_TEXT];
    wh_autojson *extra = d->extra ? cJSON_Duplicate(d->extra, true) : cJSON_CreateObject();
    cJSON_AddStringToObject(json, "mediaType", d->media_type);
    cJSON_AddStringToObject(json, "digest", wh_digest_text(&d->digest, digest));
    cJSON_AddNumberToObject(json, "size", (double)d->size);
    oci_move_member(json, extra, "urls");
    if (d->annotations && d->annotations->child) {
        cJSON *annotations = cJSON_Duplicate(d->annotations, true);
        wh_json_sort_members(annotations);
        cJSON_AddItemToObject(json, "annotations", annotations);
    }
    oci_move_member(json, extra, "data");
    if (d->platform_json)
        cJSON_AddItemToObject(json, "platform", cJSON_Duplicate(d->platform_json, true));
    else if (d->has_platform)
        cJSON_AddItemToObject(json, "platform", platform_json(&d->platform));
    oci_move_rest(json, extra);
    return json;
}
