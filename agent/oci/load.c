#include "wherry/oci/load.h"

#include <archive.h>
#include <archive_entry.h>
#include <unistd.h>

#include "wherry/base/json.h"
#include "wherry/oci/image.h"
#include "wherry/oci/reference.h"
#include "wherry/store/blob.h"
#include "wherry/store/record.h"

#define BLOCK 65536
#define MAX_LINKS 8 /* of one name to the file that it means */

struct load {
    struct wh_store *store;
    const char *scope;
    cJSON *members; /* name -> "sha256:..." of a file, or "->name" of a link */
    uint64_t bytes;
    cJSON *out;
};

/* ---- the tar ---- */

static int broken(struct archive *a, struct wh_error *err)
{
    const char *text = archive_error_string(a);
    return wh_fail(err, WH_E_PARSE, "%s", text ? text : "the archive is damaged");
}

static const char *plain(const char *name)
{
    while (name[0] == '.' && name[1] == '/')
        name += 2;
    while (name[0] == '/')
        name++;
    return name;
}

static int take_file(struct load *l, struct archive *a, const char *name, struct wh_error *err)
{
    wh_autoblob *writer = wh_blob_begin(l->store, WH_BLOB_LATER, err);
    wh_autofree char *block = wh_malloc(BLOCK);
    struct wh_digest digest;
    char text[WH_DIGEST_TEXT];
    if (!writer)
        return -1;
    for (la_ssize_t n; (n = archive_read_data(a, block, BLOCK)) != 0;) {
        if (n < 0)
            return broken(a, err);
        l->bytes += (uint64_t)n;
        if (l->bytes > WH_MAX_LOAD_BYTES)
            return wh_fail(err, WH_E_LIMIT, "it has more than %llu bytes",
                           (unsigned long long)WH_MAX_LOAD_BYTES);
        if (wh_blob_write(writer, block, (size_t)n, err) < 0)
            return -1;
    }
    if (wh_blob_commit(wh_steal(&writer), WH_BLOB_ANY, &digest, NULL, err) < 0)
        return -1;
    cJSON_DeleteItemFromObjectCaseSensitive(l->members, name);
    cJSON_AddStringToObject(l->members, name, wh_digest_text(&digest, text));
    return 0;
}

/* A link's target is beside it; docker's older archives have such for layers that images share. */
static void take_link(struct load *l, const char *name, const char *target, bool hard)
{
    const char *slash = strrchr(name, '/');
    wh_autofree char *folder = wh_strndup(name, slash && !hard ? (size_t)(slash - name) + 1 : 0);
    while (wh_starts_with(target, "../")) {
        size_t len = strlen(folder);
        if (len > 0)
            folder[len - 1] = '\0';
        char *up = strrchr(folder, '/');
        *(up ? up + 1 : folder) = '\0';
        target += 3;
    }
    wh_autofree char *value = wh_printf("->%s%s", folder, plain(target));
    cJSON_DeleteItemFromObjectCaseSensitive(l->members, name);
    cJSON_AddStringToObject(l->members, name, value);
}

static int take_member(struct load *l, struct archive *a, struct archive_entry *entry, struct wh_error *err)
{
    const char *path = archive_entry_pathname(entry);
    const char *hard = archive_entry_hardlink(entry);
    const char *soft = archive_entry_symlink(entry);
    if (!path)
        return wh_fail(err, WH_E_PARSE, "a member has no name");
    const char *name = plain(path);
    if (hard || soft)
        take_link(l, name, hard ? hard : soft, hard != NULL);
    else if (archive_entry_filetype(entry) == AE_IFREG)
        return take_file(l, a, name, err) < 0 ? wh_wrap(err, "%.200s", name) : 0;
    return 0;
}

static int read_members(struct load *l, int fd, struct wh_error *err)
{
    struct archive *a = archive_read_new();
    struct archive_entry *entry;
    unsigned count = 0;
    int n = 0;
    archive_read_support_format_tar(a);
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_bzip2(a);
    archive_read_support_filter_xz(a);
    archive_read_support_filter_zstd(a);
    int code = archive_read_open_fd(a, fd, BLOCK);
    if (code == ARCHIVE_OK)
        code = ARCHIVE_RETRY;
    while (n == 0 && code != ARCHIVE_EOF) {
        if (code < ARCHIVE_WARN && code != ARCHIVE_RETRY)
            n = broken(a, err);
        if (n == 0)
            code = archive_read_next_header(a, &entry);
        if (n < 0 || (code != ARCHIVE_OK && code != ARCHIVE_WARN))
            continue;
        n = ++count > WH_MAX_LOAD_MEMBERS
                ? wh_fail(err, WH_E_LIMIT, "it has more than %u members", WH_MAX_LOAD_MEMBERS)
                : take_member(l, a, entry, err);
    }
    (void)archive_read_free(a);
    return n;
}

/* ---- what is in it ---- */

static int find(const struct load *l, const char *name, struct wh_digest *digest, struct wh_error *err)
{
    const char *at = plain(name);
    for (int i = 0; i < MAX_LINKS; i++) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(l->members, at);
        if (!cJSON_IsString(value))
            break;
        if (!wh_starts_with(value->valuestring, "->"))
            return wh_digest_parse(value->valuestring, digest, err);
        at = value->valuestring + 2;
    }
    return wh_fail(err, WH_E_NOT_FOUND, "it names %.200s, which is not in it", name);
}

static cJSON *document(const struct load *l, const char *name, struct wh_error *err)
{
    struct wh_digest digest;
    wh_autostr text = {0};
    if (find(l, name, &digest, err) < 0 ||
        wh_blob_read(l->store, &digest, WH_MAX_LOAD_DOCUMENT, &text, err) < 0)
        return NULL;
    return wh_json_parse(text.data, text.len, WH_MAX_LOAD_DOCUMENT, name, err);
}

/* name: as it was tagged, or NULL. */
static int keep(struct load *l, const struct wh_digest *root, const char *media_type, const char *name,
                const struct wh_digest *id, struct wh_error *err)
{
    char text[WH_DIGEST_TEXT];
    wh_autoref ref = {0};
    wh_autofree char *full = NULL;
    if (name && wh_ref_parse(name, &ref, err) < 0)
        return -1;
    if (name)
        full = wh_ref_text(&ref);
    wh_autofree char *pinned = wh_printf("%s/%s@%s", name ? ref.host : "docker.io",
                                         name ? ref.path : "library/loaded", wh_digest_text(root, text));
    struct wh_image_ref row = {.name = pinned,
                               .visible = (char *)(uintptr_t)l->scope,
                               .manifest = *root,
                               .media_type = (char *)(uintptr_t)media_type};
    if (wh_image_ref_put(l->store, &row, err) < 0)
        return -1;
    cJSON *one = cJSON_CreateObject();
    wh_json_add_string(one, "name", full);
    wh_json_add_string(one, "pinned", pinned);
    wh_json_add_string(one, "id", wh_digest_text(id, text));
    cJSON_AddItemToArray(l->out, one);
    return 0;
}

/* ---- docker's: [{"Config":..,"RepoTags":[..],"Layers":[..]}] ---- */

static int describe(struct load *l, const char *name, const char *media_type, struct wh_descriptor *out,
                    struct wh_error *err)
{
    struct wh_digest digest;
    uint64_t size;
    if (find(l, name, &digest, err) < 0 || wh_blob_has(l->store, &digest, &size, err) < 1)
        return -1;
    unsigned char magic[4] = {0};
    wh_autoclose int fd = wh_blob_open(l->store, &digest, NULL, err);
    if (fd < 0 || read(fd, magic, sizeof magic) < 0)
        return fd < 0 ? -1 : wh_fail_errno(err, "read %s", name);
    const bool gzip = magic[0] == 0x1f && magic[1] == 0x8b;
    const bool zstd = memcmp(magic, "\x28\xb5\x2f\xfd", 4) == 0;
    if (!media_type)
        media_type = wh_layer_media_type(gzip   ? WH_COMPRESS_GZIP
                                         : zstd ? WH_COMPRESS_ZSTD
                                                : WH_COMPRESS_NONE,
                                         false);
    wh_descriptor_set(out, media_type, &digest, (int64_t)size);
    return 0;
}

static int add_layers(struct load *l, const cJSON *layers, struct wh_manifest *m, struct wh_error *err)
{
    const cJSON *layer;
    if (cJSON_GetArraySize(layers) > (int)WH_MAX_LOAD_LAYERS)
        return wh_fail(err, WH_E_LIMIT, "an image has more than %u layers", WH_MAX_LOAD_LAYERS);
    cJSON_ArrayForEach(layer, layers)
    {
        struct wh_descriptor d = {0};
        if (!cJSON_IsString(layer))
            return wh_fail(err, WH_E_PARSE, "manifest.json: a layer is no name");
        int n = describe(l, layer->valuestring, NULL, &d, err);
        if (n == 0)
            wh_manifest_add_layer(m, &d);
        wh_descriptor_clear(&d);
        if (n < 0)
            return -1;
    }
    return 0;
}

static int load_one(struct load *l, const cJSON *entry, struct wh_error *err)
{
    const char *config = wh_json_need_string(entry, "Config", "manifest.json", err);
    const cJSON *tags = wh_json_get(entry, "RepoTags");
    const cJSON *tag = NULL;
    struct wh_digest digest;
    wh_automanifest m = {.media_type = wh_strdup(WH_MEDIA_OCI_MANIFEST)};
    if (!config || describe(l, config, WH_MEDIA_OCI_CONFIG, &m.config, err) < 0 ||
        add_layers(l, wh_json_get(entry, "Layers"), &m, err) < 0)
        return -1;
    wh_autofree char *text = wh_manifest_print(&m);
    if (wh_blob_put(l->store, text, strlen(text), WH_BLOB_LATER, &digest, err) < 0)
        return -1;
    if (!cJSON_IsArray(tags) || !tags->child)
        return keep(l, &digest, m.media_type, NULL, &m.config.digest, err);
    cJSON_ArrayForEach(tag, tags)
    {
        if (cJSON_IsString(tag) &&
            keep(l, &digest, m.media_type, tag->valuestring, &m.config.digest, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- OCI's: index.json ---- */

static int load_index(struct load *l, struct wh_error *err)
{
    struct wh_digest digest;
    wh_autostr text = {0};
    wh_autoindex index = {0};
    if (find(l, "index.json", &digest, err) < 0 ||
        wh_blob_read(l->store, &digest, WH_MAX_LOAD_DOCUMENT, &text, err) < 0 ||
        wh_index_parse(text.data, text.len, &index, err) < 0)
        return -1;
    if (index.nmanifests > WH_MAX_LOAD_IMAGES)
        return wh_fail(err, WH_E_LIMIT, "it has more than %u images", WH_MAX_LOAD_IMAGES);
    for (size_t i = 0; i < index.nmanifests; i++) {
        const struct wh_descriptor *d = &index.manifests[i];
        const char *name = wh_json_string(d->annotations, "io.containerd.image.name");
        if (!name)
            name = wh_json_string(d->annotations, "org.opencontainers.image.ref.name");
        wh_autoref ref = {0};
        bool has_name = name && strchr(name, '/') && wh_ref_parse(name, &ref, NULL) == 0;
        if (wh_blob_has(l->store, &d->digest, NULL, err) < 1)
            return wh_fail(err, WH_E_NOT_FOUND, "its index.json names a manifest that is not in it");
        if (keep(l, &d->digest, d->media_type, has_name ? name : NULL, &d->digest, err) < 0)
            return -1;
    }
    return 0;
}

static int load_all(struct load *l, struct wh_error *err)
{
    if (!cJSON_GetObjectItemCaseSensitive(l->members, "manifest.json")) {
        if (cJSON_GetObjectItemCaseSensitive(l->members, "index.json"))
            return load_index(l, err);
        return wh_fail(err, WH_E_PARSE, "it holds neither a manifest.json nor an index.json: no image");
    }
    wh_autojson *manifest = document(l, "manifest.json", err);
    const cJSON *entry;
    if (!manifest)
        return -1;
    if (!cJSON_IsArray(manifest) || cJSON_GetArraySize(manifest) > (int)WH_MAX_LOAD_IMAGES)
        return wh_fail(err, WH_E_PARSE, "manifest.json is no list of at most %u images", WH_MAX_LOAD_IMAGES);
    cJSON_ArrayForEach(entry, manifest)
    {
        if (load_one(l, entry, err) < 0)
            return -1;
    }
    return 0;
}

int wh_oci_load(struct wh_store *store, int fd, const char *scope, cJSON *out, struct wh_error *err)
{
    struct load l = {.store = store, .scope = scope, .members = cJSON_CreateObject(), .out = out};
    int n = read_members(&l, fd, err);
    if (n == 0)
        n = load_all(&l, err);
    cJSON_Delete(l.members);
    return n < 0 ? wh_wrap(err, "load the archive") : 0;
}
