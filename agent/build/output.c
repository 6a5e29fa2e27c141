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
        return wh_fail(err, WH_E_ARGUMENT,
                       "output attribute compression=%s: must be gzip, zstd or uncompressed", value);
    }
    if (!wh_parse_i64(value, 0, 22, &level))
        return wh_fail(err, WH_E_ARGUMENT, "output attribute compression-level=%s: must be 0 to 22", value);
    o->level = (int)level;
    return 0;
}

static void add_annotation(struct output *o, const char *key, const char *value)
{
    if (!o->annotations)
        o->annotations = cJSON_CreateObject();
    cJSON_DeleteItemFromObjectCaseSensitive(o->annotations, key);
    wh_json_add_string(o->annotations, key, value);
}

/* Known to buildx, and without a meaning for an engine that keeps its layers anyway. */
static const char *const without_effect[] = {"unpack", "store", "name-canonical", "tar", NULL};

static int set_attr(struct output *o, const char *name, const char *value, struct wh_error *err)
{
    bool flag;
    if (strcmp(name, "push") == 0)
        return attr_bool(name, value, &o->push, err);
    if (strcmp(name, "push-by-digest") == 0)
        return attr_bool(name, value, &o->by_digest, err);
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
    if (wh_starts_with(name, "annotation.") || wh_starts_with(name, "annotation-manifest.")) {
        add_annotation(o, strchr(name, '.') + 1, value);
        return 0;
    }
    if (wh_strv_has((char *const *)without_effect, name))
        return attr_bool(name, value, &flag, err);
    return wh_fail(err, WH_E_UNSUPPORTED, "output attribute %s is not supported yet", name);
}

static int read_attrs(struct output *o, struct wh_error *err)
{
    for (char **attr = o->asked->attrs; attr && *attr; attr++) {
        struct wh_view name, value;
        wh_view_split(wh_view_of(*attr), '=', &name, &value);
        wh_autofree char *name_text = wh_view_dup(name), *value_text = wh_view_dup(value);
        if (set_attr(o, name_text, value_text, err) < 0)
            return -1;
    }
    return 0;
}

static int prepare(struct build *b, struct output *o, struct wh_error *err)
{
    const char *type = o->asked->type;
    o->compression = WH_COMPRESS_GZIP;
    o->image = strcmp(type, "image") == 0 || strcmp(type, "oci") == 0 || strcmp(type, "docker") == 0;
    if (read_attrs(o, err) < 0)
        return -1;
    if (strcmp(type, "image") != 0 && strcmp(type, "cacheonly") != 0 && o->asked->fd < 0)
        return wh_fail(err, WH_E_ARGUMENT, "output type=%s needs a dest", type);
    for (char **tag = o->names ? NULL : b->request->tags; tag && *tag; tag++)
        add_name(o, *tag);
    for (char **item = b->request->annotations; item && *item; item++) {
        struct wh_view name, value;
        wh_view_split(wh_view_of(*item), '=', &name, &value);
        wh_autofree char *name_text = wh_view_dup(name), *value_text = wh_view_dup(value);
        add_annotation(o, name_text, value_text);
    }
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
        cJSON_Delete(b->outputs[i].annotations);
    }
    free(b->outputs);
    b->outputs = NULL;
}
