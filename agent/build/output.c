/* Attributes of outputs (builder.md §6 "exporter"). */
#include "build/output.h"

static int attr_bool(const char *name, const char *value, bool *out, struct wh_error *err)
{
    *out = wh_streq(value, "true") || wh_streq(value, "1");
    if (*out || wh_streq(value, "false") || wh_streq(value, "0"))
        return 0;
    return wh_fail(err, WH_E_ARGUMENT, "output attribute %s=%s: must be true or false", name, value);
}

static void add_name(struct output *o, const char *text)
{
    wh_autoref ref = {0};
    if (wh_ref_parse(text, &ref, NULL) == 0)
        wh_strv_take(&o->names, wh_ref_text(&ref));
}

static int add_names(struct output *o, const char *list, struct wh_error *err)
{
    wh_autostrv char **names = wh_strv_split(list, ',');
    for (char **name = names; *name; name++) {
        wh_autoref ref = {0};
        if (wh_ref_parse(*name, &ref, err) < 0)
            return wh_wrap(err, "output attribute name");
        add_name(o, *name);
    }
    return 0;
}

static int set_compression(struct output *o, const char *name, const char *value, struct wh_error *err)
{
    int64_t level;
    if (strcmp(name, "compression") == 0) {
        if (wh_compression_parse(value, &o->compression))
            return 0;
        if (strcmp(value, "estargz") == 0 || strcmp(value, "nydus") == 0)
            return wh_fail(
                err, WH_E_UNSUPPORTED,
                "output attribute compression=%s is not supported by wherry's builder: use gzip or zstd",
                value);
        return wh_fail(err, WH_E_ARGUMENT,
                       "output attribute compression=%s: must be gzip, zstd or uncompressed", value);
    }
    if (!wh_parse_i64(value, 0, 22, &level))
        return wh_fail(err, WH_E_ARGUMENT, "output attribute compression-level=%s: must be 0 to 22", value);
    o->level = (int)level;
    return 0;
}

/* ---- annotations ---- */

static const char *const levels[ANNOTATION_LEVELS] = {
    [ANNOTATION_MANIFEST] = "manifest",
    [ANNOTATION_INDEX] = "index",
    [ANNOTATION_MANIFEST_DESCRIPTOR] = "manifest-descriptor",
    [ANNOTATION_INDEX_DESCRIPTOR] = "index-descriptor",
};

/* "manifest", "manifest-descriptor[linux/amd64]": what it names, or nothing where its platform is another. */
static int read_level(const struct build *b, struct wh_view text, enum annotation_level *out, bool *ours,
                      struct wh_error *err)
{
    struct wh_view name, platform_text;
    wh_autofree char *whole = wh_view_dup(text);
    *ours = true;
    if (wh_view_split(text, '[', &name, &platform_text)) {
        struct wh_platform platform, mine;
        wh_autofree char *inner =
            wh_strndup(platform_text.data, platform_text.len ? platform_text.len - 1 : 0);
        if (!wh_ends_with(whole, "]") || wh_platform_parse(inner, &platform, err) < 0 ||
            wh_platform_parse(b->platform, &mine, err) < 0)
            return wh_fail(err, WH_E_ARGUMENT, "annotation level %s: a platform must stand between [ and ]",
                           whole);
        *ours = wh_platform_eq(&platform, &mine);
    }
    for (int i = 0; i < ANNOTATION_LEVELS; i++)
        if (wh_view_eq(name, levels[i])) {
            *out = (enum annotation_level)i;
            return 0;
        }
    return wh_fail(err, WH_E_ARGUMENT,
                   "annotation level %s: must be manifest, index, manifest-descriptor or index-descriptor",
                   whole);
}

static void put_annotation(struct output *o, enum annotation_level level, const char *key, const char *value)
{
    if (!o->annotations[level])
        o->annotations[level] = cJSON_CreateObject();
    cJSON_DeleteItemFromObjectCaseSensitive(o->annotations[level], key);
    wh_json_add_string(o->annotations[level], key, value);
}

static int add_annotation(const struct build *b, struct output *o, struct wh_view level_text, const char *key,
                          const char *value, struct wh_error *err)
{
    enum annotation_level level = ANNOTATION_MANIFEST;
    bool ours = true;
    if (level_text.len > 0 && read_level(b, level_text, &level, &ours, err) < 0)
        return -1;
    if (ours)
        put_annotation(o, level, key, value);
    return 0;
}

/* annotation.KEY, annotation-LEVEL.KEY, annotation-LEVEL[PLATFORM].KEY. */
static int annotation_attr(const struct build *b, struct output *o, const char *name, const char *value,
                           struct wh_error *err)
{
    const char *rest = name + strlen("annotation");
    const char *dot = strchr(rest, ']') ? strchr(strchr(rest, ']'), '.') : strchr(rest, '.');
    if (!dot || dot[1] == '\0')
        return wh_fail(err, WH_E_ARGUMENT,
                       "output attribute %s: must be annotation.KEY or annotation-LEVEL.KEY", name);
    size_t skip = *rest == '-';
    struct wh_view level = {rest + skip, (size_t)(dot - rest) - skip};
    if (level.len > 0 && level.data[0] == '[') { /* annotation[PLATFORM].KEY is the manifest's */
        wh_autofree char *text = wh_printf("manifest%.*s", (int)level.len, level.data);
        return add_annotation(b, o, wh_view_of(text), dot + 1, value, err);
    }
    return add_annotation(b, o, level, dot + 1, value, err);
}

/* "[LEVEL[,LEVEL]:]KEY=VALUE" of --annotation. */
static int annotation_option(const struct build *b, struct output *o, const char *text, struct wh_error *err)
{
    struct wh_view name, value, head, rest, part;
    wh_view_split(wh_view_of(text), '=', &name, &value);
    wh_autofree char *value_text = wh_view_dup(value), *name_text = wh_view_dup(name);
    const char *colon = strchr(name_text, ':');
    if (!colon)
        return add_annotation(b, o, (struct wh_view){NULL, 0}, name_text, value_text, err);
    head = (struct wh_view){name_text, (size_t)(colon - name_text)};
    for (bool more = true; more; head = rest) {
        more = wh_view_split(head, ',', &part, &rest);
        if (add_annotation(b, o, part, colon + 1, value_text, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- attributes ---- */

/* Known to buildx, and without a meaning for an engine that keeps its layers anyway. */
static const char *const without_effect[] = {
    "unpack", "store", "name-canonical", "prefer-nondist-layers", "attestation-inline", NULL};

/* What only one value of can be done. */
static int fixed(const char *name, const char *value, const char *only, struct wh_error *err)
{
    return strcmp(value, only) == 0
               ? 0
               : wh_fail(err, WH_E_UNSUPPORTED,
                         "output attribute %s=%s is not supported yet by wherry's builder (only %s is)", name,
                         value, only);
}

static int set_epoch(struct output *o, const char *what, const char *value, struct wh_error *err)
{
    return wh_parse_i64(value, 0, INT64_MAX / 1000000000, &o->epoch)
               ? 0
               : wh_fail(err, WH_E_ARGUMENT, "%s=%s: must be seconds since 1970", what, value);
}

static int set_attr(const struct build *b, struct output *o, const char *name, const char *value,
                    struct wh_error *err)
{
    bool flag;
    const struct {
        const char *name;
        bool *out;
    } flags[] = {{"push", &o->push},
                 {"push-by-digest", &o->by_digest},
                 {"registry.insecure", &o->insecure},
                 {"force-compression", &o->force},
                 {"rewrite-timestamp", &o->rewrite}};
    for (size_t i = 0; i < WH_COUNT(flags); i++)
        if (strcmp(name, flags[i].name) == 0)
            return attr_bool(name, value, flags[i].out, err);
    if (strcmp(name, "name") == 0)
        return add_names(o, value, err);
    if (strcmp(name, "compression") == 0 || strcmp(name, "compression-level") == 0)
        return set_compression(o, name, value, err);
    if (strcmp(name, "oci-mediatypes") == 0) {
        if (attr_bool(name, value, &flag, err) < 0)
            return -1;
        o->docker = !flag;
        return 0;
    }
    if (strcmp(name, "source-date-epoch") == 0)
        return set_epoch(o, "output attribute source-date-epoch", value, err);
    if (wh_starts_with(name, "annotation"))
        return annotation_attr(b, o, name, value, err);
    if (strcmp(name, "tar") == 0)
        return fixed(name, value, "true", err);
    if (strcmp(name, "platform-split") == 0 || strcmp(name, "oci-artifact") == 0)
        return fixed(name, value, "false", err);
    if (strcmp(name, "dangling-name-prefix") == 0)
        return 0; /* images here are found by their digests */
    if (wh_strv_has((char *const *)without_effect, name))
        return attr_bool(name, value, &flag, err);
    return wh_fail(err, WH_E_UNSUPPORTED, "output attribute %s is not supported yet", name);
}

static int read_attrs(const struct build *b, struct output *o, struct wh_error *err)
{
    for (char **attr = o->asked->attrs; attr && *attr; attr++) {
        struct wh_view name, value;
        wh_view_split(wh_view_of(*attr), '=', &name, &value);
        wh_autofree char *name_text = wh_view_dup(name), *value_text = wh_view_dup(value);
        if (set_attr(b, o, name_text, value_text, err) < 0)
            return -1;
    }
    return 0;
}

static int prepare(struct build *b, struct output *o, struct wh_error *err)
{
    const char *type = o->asked->type;
    o->compression = WH_COMPRESS_GZIP;
    o->epoch = WH_LAYER_NO_EPOCH;
    const char *epoch =
        b->request->build_args ? wh_env_get(b->request->build_args, "SOURCE_DATE_EPOCH") : NULL;
    if (epoch && epoch[0] && set_epoch(o, "build argument SOURCE_DATE_EPOCH", epoch, err) < 0)
        return -1;
    o->image = strcmp(type, "image") == 0 || strcmp(type, "oci") == 0 || strcmp(type, "docker") == 0;
    if (read_attrs(b, o, err) < 0)
        return -1;
    if (strcmp(type, "image") != 0 && strcmp(type, "cacheonly") != 0 && o->asked->fd < 0)
        return wh_fail(err, WH_E_ARGUMENT, "output type=%s needs a dest", type);
    for (char **tag = o->names ? NULL : b->request->tags; tag && *tag; tag++)
        add_name(o, *tag);
    for (char **item = b->request->annotations; item && *item; item++)
        if (annotation_option(b, o, *item, err) < 0)
            return -1;
    if (o->image && attest_wanted(b, o)) {
        if (strcmp(type, "docker") == 0)
            return wh_fail(err, WH_E_UNSUPPORTED,
                           "docker exporter does not currently support exporting manifest lists, and an "
                           "attestation makes one");
        o->docker = false; /* attestations are OCI's: BuildKit does the same */
    }
    /* Annotations of an index ask for one, also over one manifest. */
    o->index = o->image &&
               (attest_wanted(b, o) || (o->annotations[ANNOTATION_INDEX] && strcmp(type, "docker") != 0));
    if (o->push && !o->names)
        return wh_fail(err, WH_E_ARGUMENT, "tag is needed when pushing to registry");
    return 0;
}

int outputs_prepare(struct build *b, struct wh_error *err)
{
    for (char **tag = b->request->tags; tag && *tag; tag++) {
        wh_autoref ref = {0};
        if (wh_ref_parse(*tag, &ref, err) < 0)
            return wh_wrap(err, "tag");
    }
    if (attest_prepare(b, err) < 0)
        return -1;
    b->outputs = wh_calloc(b->request->noutputs, sizeof(*b->outputs));
    for (size_t i = 0; i < b->request->noutputs; i++) {
        b->outputs[i].asked = &b->request->outputs[i];
        if (prepare(b, &b->outputs[i], err) < 0)
            return -1;
    }
    return 0;
}

void outputs_clear(struct build *b)
{
    for (size_t i = 0; b->outputs && i < b->request->noutputs; i++) {
        wh_strv_free(b->outputs[i].names);
        for (int level = 0; level < ANNOTATION_LEVELS; level++)
            cJSON_Delete(b->outputs[i].annotations[level]);
    }
    free(b->outputs);
    b->outputs = NULL;
    attest_clear(b);
}
