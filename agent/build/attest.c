/* Attestations: an in-toto statement of how the image was made (SLSA provenance 0.2, with BuildKit's build
 * type), and one of the packages in it (SPDX), in a manifest of their own beside the image's (builder.md §6
 * Attestations). */
#include <stdio.h>

#include "build/output.h"

#include "wherry/base/clock.h"
#include "wherry/container/rootfs.h"
#include "wherry/oci/export.h"

#define IN_TOTO "application/vnd.in-toto+json"
#define PROVENANCE "https://slsa.dev/provenance/v0.2"
#define SPDX "https://spdx.dev/Document"
#define BUILD_TYPE "https://mobyproject.org/buildkit@v1"

/* ---- what is asked for ---- */

static int attest_bool(const char *name, const char *value, bool *out, struct wh_error *err)
{
    *out = wh_streq(value, "true") || wh_streq(value, "1");
    if (*out || wh_streq(value, "false") || wh_streq(value, "0"))
        return 0;
    return wh_fail(err, WH_E_ARGUMENT, "attestation attribute %s=%s: must be true or false", name, value);
}

static int provenance_attr(struct attest *a, const char *name, const char *value, struct wh_error *err)
{
    if (strcmp(name, "mode") == 0) {
        a->max = strcmp(value, "max") == 0;
        return a->max || strcmp(value, "min") == 0
                   ? 0
                   : wh_fail(err, WH_E_ARGUMENT, "invalid mode \"%s\" of the provenance: must be min or max",
                             value);
    }
    if (strcmp(name, "builder-id") == 0) {
        free(a->builder_id);
        a->builder_id = wh_strdup(value);
        return 0;
    }
    if (strcmp(name, "inline-only") == 0)
        return attest_bool(name, value, &a->inline_only, err);
    if (strcmp(name, "reproducible") == 0)
        return attest_bool(name, value, &a->reproducible, err);
    if (strcmp(name, "version") == 0 && strcmp(value, "v0.2") == 0)
        return 0;
    return wh_fail(err, WH_E_UNSUPPORTED,
                   "attestation attribute %s=%s of the provenance is not supported yet by wherry's builder",
                   name, value);
}

static int read_one(struct attest *a, const char *text, struct wh_error *err)
{
    wh_autostrv char **attrs = wh_strv_split(text, ',');
    const char *type = attrs ? wh_env_get(attrs, "type") : NULL;
    if (!type || (strcmp(type, "provenance") != 0 && strcmp(type, "sbom") != 0))
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "attestation `%s`: the types provenance and sbom are made by wherry's builder", text);
    bool provenance = strcmp(type, "provenance") == 0, disabled = false;
    if (provenance) {
        free(a->builder_id);
        a->builder_id = NULL;
        a->max = true; /* BuildKit's own default */
        a->inline_only = a->reproducible = false;
    }
    for (char **attr = attrs; *attr; attr++) {
        struct wh_view name, value;
        wh_view_split(wh_view_of(*attr), '=', &name, &value);
        wh_autofree char *name_text = wh_view_dup(name), *value_text = wh_view_dup(value);
        if (strcmp(name_text, "type") == 0)
            continue;
        if (strcmp(name_text, "disabled") == 0) {
            if (attest_bool(name_text, value_text, &disabled, err) < 0)
                return -1;
        } else if (provenance) {
            if (provenance_attr(a, name_text, value_text, err) < 0)
                return -1;
        } else if (strcmp(name_text, "generator") == 0) {
            return wh_fail(err, WH_E_UNSUPPORTED,
                           "attestation attribute generator=%s is not supported yet by wherry's builder: its "
                           "own list of packages "
                           "is what `sbom: true` gives",
                           value_text);
        } else {
            return wh_fail(err, WH_E_UNSUPPORTED, "attestation attribute %s of the sbom is not supported yet",
                           name_text);
        }
    }
    *(provenance ? &a->provenance : &a->sbom) = !disabled;
    return 0;
}

int attest_prepare(struct build *b, struct wh_error *err)
{
    b->began = wh_now_ns();
    for (char **text = b->request->attests; text && *text; text++)
        if (read_one(&b->attest, *text, err) < 0)
            return -1;
    return 0;
}

void attest_clear(struct build *b)
{
    free(b->attest.builder_id);
    b->attest = (struct attest){0};
}

/* What is made for registries only stays out of archives of one image, as with BuildKit. */
bool attest_wanted(const struct build *b, const struct output *o)
{
    bool archive = strcmp(o->asked->type, "image") != 0;
    return o->image && (b->attest.sbom || (b->attest.provenance && !(archive && b->attest.inline_only)));
}

/* ---- statements ---- */

static char *rfc3339(int64_t ns)
{
    char buf[40];
    wh_time_iso(ns, 9, buf);
    return wh_strdup(buf);
}

/* Percent-encodes what a package URL has no place for. */
static char *purl_escape(const char *text)
{
    wh_autostr out = {0};
    for (; *text; text++) {
        if ((*text >= '0' && *text <= '9') || (*text >= 'A' && *text <= 'Z') ||
            (*text >= 'a' && *text <= 'z') || strchr("-._~", *text))
            wh_str_addc(&out, *text);
        else
            wh_str_addf(&out, "%%%02X", (unsigned char)*text);
    }
    return wh_strdup(wh_str_text(&out));
}

/* "pkg:docker/NAME@TAG?platform=linux%2Famd64", the name as a person writes it. */
static char *image_purl(const struct wh_ref *ref, const char *platform, const char *digest)
{
    struct wh_ref plain = {0};
    wh_ref_copy(&plain, ref);
    wh_autofree char *tag = plain.tag ? purl_escape(plain.tag) : NULL, *os = purl_escape(platform);
    free(plain.tag);
    plain.tag = NULL;
    plain.has_digest = false;
    wh_autofree char *name = wh_ref_familiar(&plain);
    wh_ref_clear(&plain);
    wh_autofree char *digest_text = digest ? purl_escape(digest) : NULL;
    return wh_printf("pkg:docker/%s%s%s?%s%s%splatform=%s", name, tag ? "@" : "", tag ? tag : "",
                     digest_text ? "digest=" : "", digest_text ? digest_text : "", digest_text ? "&" : "",
                     os);
}

static cJSON *digest_set(const struct wh_digest *digest)
{
    char text[WH_DIGEST_TEXT];
    cJSON *set = cJSON_CreateObject();
    wh_json_add_string(set, "sha256", wh_digest_text(digest, text) + strlen("sha256:"));
    return set;
}

static cJSON *subjects(const struct build *b, const struct output *o, const struct wh_export_image *image)
{
    cJSON *list = cJSON_CreateArray();
    for (char **name = o->names; name && *name; name++) {
        wh_autoref ref = {0};
        if (wh_ref_parse(*name, &ref, NULL) < 0)
            continue;
        wh_autofree char *purl = image_purl(&ref, b->platform, NULL);
        cJSON *subject = cJSON_CreateObject();
        wh_json_add_string(subject, "name", purl);
        cJSON_AddItemToObject(subject, "digest", digest_set(&image->manifest.digest));
        cJSON_AddItemToArray(list, subject);
    }
    if (!list->child) {
        cJSON *subject = cJSON_CreateObject();
        wh_json_add_string(subject, "name", "_");
        cJSON_AddItemToObject(subject, "digest", digest_set(&image->manifest.digest));
        cJSON_AddItemToArray(list, subject);
    }
    return list;
}

static cJSON *materials(const struct build *b)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < b->nimages; i++) {
        char digest[WH_DIGEST_TEXT];
        const struct wh_oci_image *image = b->images[i].image;
        wh_autofree char *purl =
            image_purl(&image->ref, b->platform,
                       image->ref.has_digest ? wh_digest_text(&image->resolved, digest) : NULL);
        cJSON *material = cJSON_CreateObject();
        wh_json_add_string(material, "uri", purl);
        cJSON_AddItemToObject(material, "digest", digest_set(&image->resolved));
        cJSON_AddItemToArray(list, material);
    }
    return list;
}

static void add_pairs(cJSON *args, const char *prefix, char *const *list)
{
    for (; list && *list; list++) {
        struct wh_view name, value;
        wh_view_split(wh_view_of(*list), '=', &name, &value);
        wh_autofree char *key = wh_printf("%s%.*s", prefix, (int)name.len, name.data),
                         *text = wh_view_dup(value);
        cJSON_DeleteItemFromObjectCaseSensitive(args, key);
        wh_json_add_string(args, key, text);
    }
}

static void add_args(cJSON *parameters, const struct build *b)
{
    cJSON *args = cJSON_CreateObject();
    add_pairs(args, "build-arg:", b->request->build_args);
    add_pairs(args, "label:", b->request->labels);
    wh_json_add_string(args, "target", b->request->target);
    if (args->child) {
        wh_json_sort_members(args);
        cJSON_AddItemToObject(parameters, "args", args);
    } else {
        cJSON_Delete(args);
    }
}

static cJSON *invocation(const struct build *b)
{
    const struct attest *a = &b->attest;
    cJSON *json = cJSON_CreateObject();
    wh_json_add_string(cJSON_AddObjectToObject(json, "configSource"), "entryPoint",
                       b->request->dockerfile_name);
    cJSON *parameters = cJSON_AddObjectToObject(json, "parameters");
    wh_json_add_string(parameters, "frontend", "dockerfile.v0");
    if (a->max)
        add_args(parameters, b);
    cJSON *locals = cJSON_AddArrayToObject(parameters, "locals");
    static const char *const names[] = {"context", "dockerfile"};
    for (size_t i = 0; i < WH_COUNT(names); i++) {
        cJSON *local = cJSON_CreateObject();
        wh_json_add_string(local, "name", names[i]);
        cJSON_AddItemToArray(locals, local);
    }
    wh_json_add_string(cJSON_AddObjectToObject(json, "environment"), "platform", b->platform);
    return json;
}

/* The Dockerfile itself, as mode=max tells it. */
static void add_source(cJSON *own, const struct build *b)
{
    cJSON *info = cJSON_CreateObject();
    wh_autofree char *data = wh_base64(b->request->dockerfile, b->request->dockerfile_len);
    wh_json_add_string(info, "filename", b->request->dockerfile_name);
    wh_json_add_string(info, "language", "Dockerfile");
    wh_json_add_string(info, "data", data);
    cJSON_AddItemToArray(cJSON_AddArrayToObject(cJSON_AddObjectToObject(own, "source"), "infos"), info);
}

static cJSON *metadata(const struct build *b)
{
    const struct attest *a = &b->attest;
    cJSON *json = cJSON_CreateObject();
    struct wh_digest id;
    char text[WH_DIGEST_TEXT];
    wh_autofree char *seed = wh_printf("%lld %p", (long long)b->began, (const void *)b);
    wh_digest_of(seed, strlen(seed), &id);
    wh_autofree char *invocation_id = wh_strndup(wh_digest_text(&id, text) + strlen("sha256:"), 25);
    wh_autofree char *began = rfc3339(b->began), *ended = rfc3339(wh_now_ns());
    wh_json_add_string(json, "buildInvocationID", invocation_id);
    wh_json_add_string(json, "buildStartedOn", began);
    wh_json_add_string(json, "buildFinishedOn", ended);
    cJSON *completeness = cJSON_AddObjectToObject(json, "completeness");
    cJSON_AddBoolToObject(completeness, "parameters", a->max);
    cJSON_AddBoolToObject(completeness, "environment", true);
    cJSON_AddBoolToObject(completeness, "materials", false); /* the context is a folder */
    cJSON_AddBoolToObject(json, "reproducible", a->reproducible);
    cJSON *own = cJSON_AddObjectToObject(json, BUILD_TYPE "#metadata");
    if (a->max)
        add_source(own, b);
    return json;
}

static cJSON *statement(const struct build *b, const struct output *o, const struct wh_export_image *image,
                        const char *type, cJSON *predicate)
{
    cJSON *json = cJSON_CreateObject();
    wh_json_add_string(json, "_type", "https://in-toto.io/Statement/v0.1");
    wh_json_add_string(json, "predicateType", type);
    cJSON_AddItemToObject(json, "subject", subjects(b, o, image));
    cJSON_AddItemToObject(json, "predicate", predicate);
    return json;
}

static cJSON *provenance(const struct build *b)
{
    cJSON *json = cJSON_CreateObject();
    wh_json_add_string(cJSON_AddObjectToObject(json, "builder"), "id",
                       b->attest.builder_id ? b->attest.builder_id : "");
    wh_json_add_string(json, "buildType", BUILD_TYPE);
    cJSON *used = materials(b);
    if (used->child)
        cJSON_AddItemToObject(json, "materials", used);
    else
        cJSON_Delete(used);
    cJSON_AddItemToObject(json, "invocation", invocation(b));
    cJSON_AddItemToObject(json, "metadata", metadata(b));
    return json;
}

static int packages(struct build *b, struct stage *target, const char *name, cJSON **out,
                    struct wh_error *err)
{
    wh_autofree int64_t *ids = NULL;
    *out = NULL;
    if (target->state.n == 0) {
        *out = sbom_make(b, -1, name, err);
        return *out ? 0 : -1;
    }
    if (state_trees(b, &target->state, &ids, err) < 0)
        return -1;
    struct wh_rootfs_options options = {
        .layers_fd = wh_layer_layers_fd(b->store), .layers = ids, .nlayers = target->state.n};
    struct wh_rootfs root = WH_ROOTFS_NONE;
    int status = wh_rootfs_mount(&options, &root, err);
    if (status == 0)
        *out = sbom_make(b, root.fd, name, err);
    if (wh_rootfs_finish(&root, *out ? err : NULL) < 0 || !*out)
        status = -1;
    return status;
}

/* ---- the manifest ---- */

static int add_statement(struct build *b, struct wh_export_image *out, const char *type, const cJSON *json,
                         struct wh_error *err)
{
    wh_autofree char *text = wh_go_json(json);
    struct wh_digest digest;
    if (wh_blob_put(b->store, text, strlen(text), WH_BLOB_LATER, &digest, err) < 0)
        return -1;
    struct wh_descriptor *d = &out->layers[out->nlayers++];
    wh_descriptor_set(d, IN_TOTO, &digest, (int64_t)strlen(text));
    d->annotations = cJSON_CreateObject();
    wh_json_add_string(d->annotations, "in-toto.io/predicate-type", type);
    return 0;
}

static void take_text(struct wh_str *out, struct wh_descriptor *d, const char *media_type, char *text)
{
    struct wh_digest digest;
    wh_str_add(out, text);
    wh_digest_of(out->data, out->len, &digest);
    wh_descriptor_set(d, media_type, &digest, (int64_t)out->len);
    free(text);
}

static void make_documents(const struct wh_export_image *image, struct wh_export_image *out)
{
    char text[WH_DIGEST_TEXT];
    wh_autojson *config = cJSON_CreateObject();
    wh_json_add_string(config, "architecture", "unknown");
    wh_json_add_string(config, "os", "unknown");
    cJSON_AddObjectToObject(config, "config");
    cJSON *rootfs = cJSON_AddObjectToObject(config, "rootfs");
    wh_json_add_string(rootfs, "type", "layers");
    cJSON *ids = cJSON_AddArrayToObject(rootfs, "diff_ids");
    wh_automanifest m = {.media_type = wh_strdup(WH_MEDIA_OCI_MANIFEST)};
    for (size_t i = 0; i < out->nlayers; i++) {
        cJSON_AddItemToArray(ids, cJSON_CreateString(wh_digest_text(&out->layers[i].digest, text)));
        wh_manifest_add_layer(&m, &out->layers[i]);
    }
    take_text(&out->config_bytes, &out->config, WH_MEDIA_OCI_CONFIG, wh_go_json(config));
    wh_descriptor_copy(&m.config, &out->config);
    take_text(&out->manifest_bytes, &out->manifest, WH_MEDIA_OCI_MANIFEST, wh_manifest_print(&m));
    out->manifest.annotations = cJSON_CreateObject();
    wh_json_add_string(out->manifest.annotations, "vnd.docker.reference.digest",
                       wh_digest_text(&image->manifest.digest, text));
    wh_json_add_string(out->manifest.annotations, "vnd.docker.reference.type", "attestation-manifest");
    out->platform = (struct wh_platform){.os = "unknown", .arch = "unknown"};
}

int attest_make(struct build *b, struct stage *target, const struct output *o,
                const struct wh_export_image *image, struct wh_export_image *out, struct wh_error *err)
{
    const struct attest *a = &b->attest;
    bool archive = strcmp(o->asked->type, "image") != 0;
    *out = (struct wh_export_image){.layers = wh_calloc(2, sizeof(*out->layers))};
    int status = 0;
    if (a->sbom) {
        cJSON *list;
        status = packages(b, target, o->names && o->names[0] ? o->names[0] : "image", &list, err);
        if (status == 0) {
            wh_autojson *json = statement(b, o, image, SPDX, list);
            status = add_statement(b, out, SPDX, json, err);
        }
    }
    if (status == 0 && a->provenance && !(archive && a->inline_only)) {
        wh_autojson *json = statement(b, o, image, PROVENANCE, provenance(b));
        status = add_statement(b, out, PROVENANCE, json, err);
    }
    if (status == 0)
        make_documents(image, out);
    return status < 0 ? wh_wrap(err, "attestation") : 0;
}
