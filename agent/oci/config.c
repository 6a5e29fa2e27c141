/* Image configs: the JSON document is the model (builder.md §5 Config, History). */
#include "oci/oci.h"
#include "wherry/oci/image.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const section_order[] = {
    "User",   "ExposedPorts", "Env",         "Entrypoint",  "Cmd",     "Volumes", "WorkingDir",
    "Labels", "StopSignal",   "ArgsEscaped", "Healthcheck", "OnBuild", "Shell",   NULL};
static const char *const healthcheck_order[] = {"Test",          "Interval", "Timeout", "StartPeriod",
                                                "StartInterval", "Retries",  NULL};
static const char *const history_order[] = {"created", "created_by",  "author",
                                            "comment", "empty_layer", NULL};
static const char *const rootfs_order[] = {"type", "diff_ids", NULL};

static int check_diff_ids(const cJSON *config, struct wh_error *err)
{
    const cJSON *rootfs = oci_member(config, "rootfs"), *ids = oci_member(rootfs, "diff_ids");
    size_t n = 0;
    if (rootfs && !cJSON_IsObject(rootfs))
        return wh_fail(err, WH_E_PARSE, "rootfs is no object");
    if (ids && !cJSON_IsArray(ids))
        return wh_fail(err, WH_E_PARSE, "rootfs.diff_ids is no array");
    for (const cJSON *id = ids ? ids->child : NULL; id; id = id->next, n++) {
        struct wh_digest digest;
        if (!cJSON_IsString(id) || wh_digest_parse(id->valuestring, &digest, NULL) < 0)
            return wh_fail(err, WH_E_PARSE, "rootfs.diff_ids[%zu] is no sha256 digest", n);
        if (n >= WH_MAX_MANIFEST_LAYERS)
            return wh_fail(err, WH_E_LIMIT, "more than %d diff_ids", WH_MAX_MANIFEST_LAYERS);
    }
    return 0;
}

static int check_history(const cJSON *config, struct wh_error *err)
{
    const cJSON *history = oci_member(config, "history");
    size_t n = 0;
    if (history && !cJSON_IsArray(history))
        return wh_fail(err, WH_E_PARSE, "history is no array");
    for (const cJSON *entry = history ? history->child : NULL; entry; entry = entry->next, n++) {
        if (!cJSON_IsObject(entry))
            return wh_fail(err, WH_E_PARSE, "history[%zu] is no object", n);
        if (n >= WH_MAX_HISTORY)
            return wh_fail(err, WH_E_LIMIT, "more than %d history entries", WH_MAX_HISTORY);
    }
    return 0;
}

static int check_config(const cJSON *config, struct wh_error *err)
{
    const cJSON *section = oci_member(config, "config");
    if (!cJSON_IsObject(config))
        return wh_fail(err, WH_E_PARSE, "it is no JSON object");
    if (section && !cJSON_IsObject(section))
        return wh_fail(err, WH_E_PARSE, "config is no object");
    if (!oci_text(config, "os") || !oci_text(config, "architecture"))
        return wh_fail(err, WH_E_PARSE, "os or architecture is missing");
    if (check_diff_ids(config, err) < 0)
        return -1;
    return check_history(config, err);
}

cJSON *wh_image_config_parse(const void *data, size_t len, struct wh_error *err)
{
    wh_autojson *config = wh_json_parse(data, len, WH_MAX_CONFIG_BYTES, "image config", err);
    if (!config)
        return NULL;
    if (check_config(config, err) < 0) {
        wh_wrap(err, "image config");
        return NULL;
    }
    return wh_steal(&config);
}

cJSON *wh_image_config_new(const struct wh_platform *platform)
{
    cJSON *config = cJSON_CreateObject();
    cJSON_AddStringToObject(config, "architecture", platform->arch);
    cJSON *section = cJSON_AddObjectToObject(config, "config");
    cJSON_AddItemToArray(cJSON_AddArrayToObject(section, "Env"), cJSON_CreateString(DEFAULT_PATH));
    cJSON_AddStringToObject(section, "WorkingDir", "/");
    cJSON_AddStringToObject(config, "os", platform->os);
    if (platform->os_version[0])
        cJSON_AddStringToObject(config, "os.version", platform->os_version);
    if (platform->variant[0])
        cJSON_AddStringToObject(config, "variant", platform->variant);
    return config;
}

cJSON *wh_image_config_section(cJSON *config)
{
    cJSON *section = cJSON_GetObjectItemCaseSensitive(config, "config");
    if (cJSON_IsObject(section))
        return section;
    cJSON_DeleteItemFromObjectCaseSensitive(config, "config");
    return cJSON_AddObjectToObject(config, "config");
}

int wh_image_config_platform(const cJSON *config, struct wh_platform *out, struct wh_error *err)
{
    if (!oci_text(config, "os") || !oci_text(config, "architecture"))
        return wh_fail(err, WH_E_PARSE, "image config: os or architecture is missing");
    oci_platform_read(config, out);
    return 0;
}

static const cJSON *diff_ids(const cJSON *config)
{
    return oci_member(oci_member(config, "rootfs"), "diff_ids");
}

int wh_image_config_diff_ids(const cJSON *config, struct wh_digest **out, struct wh_error *err)
{
    const cJSON *ids = diff_ids(config);
    int n = 0, count = ids ? cJSON_GetArraySize(ids) : 0;
    wh_autofree struct wh_digest *list = wh_calloc((size_t)count + 1, sizeof(*list));
    for (const cJSON *id = ids ? ids->child : NULL; id; id = id->next, n++)
        if (!cJSON_IsString(id) || wh_digest_parse(id->valuestring, &list[n], NULL) < 0)
            return wh_fail(err, WH_E_PARSE, "image config: rootfs.diff_ids[%d] is no sha256 digest", n);
    *out = wh_steal(&list);
    return n;
}

void wh_image_config_add_diff_id(cJSON *config, const struct wh_digest *diff_id)
{
    char text[WH_DIGEST_TEXT];
    cJSON *rootfs = cJSON_GetObjectItemCaseSensitive(config, "rootfs");
    if (!cJSON_IsObject(rootfs)) {
        cJSON_DeleteItemFromObjectCaseSensitive(config, "rootfs");
        rootfs = cJSON_AddObjectToObject(config, "rootfs");
        cJSON_AddStringToObject(rootfs, "type", "layers");
    }
    cJSON *ids = cJSON_GetObjectItemCaseSensitive(rootfs, "diff_ids");
    if (!cJSON_IsArray(ids)) {
        cJSON_DeleteItemFromObjectCaseSensitive(rootfs, "diff_ids");
        ids = cJSON_AddArrayToObject(rootfs, "diff_ids");
    }
    cJSON_AddItemToArray(ids, cJSON_CreateString(wh_digest_text(diff_id, text)));
}

void wh_image_config_add_history(cJSON *config, const char *created, const char *created_by,
                                 const char *comment, bool empty_layer)
{
    cJSON *history = cJSON_GetObjectItemCaseSensitive(config, "history");
    if (!cJSON_IsArray(history)) {
        cJSON_DeleteItemFromObjectCaseSensitive(config, "history");
        history = cJSON_AddArrayToObject(config, "history");
    }
    cJSON *entry = cJSON_CreateObject();
    wh_json_add_string(entry, "created", created);
    wh_json_add_string(entry, "created_by", created_by);
    cJSON_AddStringToObject(entry, "comment", comment ? comment : "buildkit.dockerfile.v0");
    if (empty_layer)
        cJSON_AddTrueToObject(entry, "empty_layer");
    cJSON_AddItemToArray(history, entry);
}

void wh_image_config_set_created(cJSON *config, const char *created)
{
    cJSON_DeleteItemFromObjectCaseSensitive(config, "created");
    if (created)
        cJSON_AddStringToObject(config, "created", created);
    else
        cJSON_AddNullToObject(config, "created");
}

size_t wh_image_config_history_layers(const cJSON *config)
{
    const cJSON *history = oci_member(config, "history");
    size_t n = 0;
    for (const cJSON *entry = history ? history->child : NULL; entry; entry = entry->next)
        if (!cJSON_IsTrue(oci_member(entry, "empty_layer")))
            n++;
    return n;
}

/* ---- printing ---- */

static bool is_empty(const cJSON *value)
{
    if (cJSON_IsNull(value) || cJSON_IsFalse(value))
        return true;
    if (cJSON_IsString(value))
        return value->valuestring[0] == '\0';
    if (cJSON_IsNumber(value))
        return value->valuedouble == 0;
    return (cJSON_IsArray(value) || cJSON_IsObject(value)) && !value->child;
}

/* Puts the members into the given order (unknown ones after, as they came) and drops empty ones. */
static void reorder(cJSON *object, const char *const *order, bool drop_empty)
{
    wh_autojson *rest = cJSON_CreateObject();
    rest->child = object->child;
    object->child = NULL;
    for (size_t i = 0; order[i]; i++)
        oci_move_member(object, rest, order[i]);
    oci_move_rest(object, rest);
    for (cJSON *child = object->child, *next; drop_empty && child; child = next) {
        next = child->next;
        if (is_empty(child))
            cJSON_Delete(cJSON_DetachItemViaPointer(object, child));
    }
}

static void order_section(cJSON *section)
{
    static const char *const maps[] = {"ExposedPorts", "Volumes", "Labels"};
    for (size_t i = 0; i < WH_COUNT(maps); i++)
        wh_json_sort_members(cJSON_GetObjectItemCaseSensitive(section, maps[i]));
    cJSON *healthcheck = cJSON_GetObjectItemCaseSensitive(section, "Healthcheck");
    if (cJSON_IsObject(healthcheck))
        reorder(healthcheck, healthcheck_order, true);
    reorder(section, section_order, true);
}

static void order_rootfs(cJSON *config)
{
    cJSON *rootfs = cJSON_GetObjectItemCaseSensitive(config, "rootfs");
    if (!cJSON_IsObject(rootfs)) {
        cJSON_DeleteItemFromObjectCaseSensitive(config, "rootfs");
        rootfs = cJSON_AddObjectToObject(config, "rootfs");
        cJSON_AddStringToObject(rootfs, "type", "layers");
    }
    cJSON *ids = cJSON_GetObjectItemCaseSensitive(rootfs, "diff_ids");
    if (!cJSON_IsArray(ids) || !ids->child) {
        cJSON_DeleteItemFromObjectCaseSensitive(rootfs, "diff_ids");
        cJSON_AddNullToObject(rootfs, "diff_ids");
        wh_image_config_set_created(config, NULL);
    }
    reorder(rootfs, rootfs_order, false);
}

char *wh_image_config_print(const cJSON *config)
{
    static const char *const optional[] = {"author", "variant", "os.version", "os.features"};
    wh_autojson *copy = cJSON_Duplicate(config, true);
    order_section(wh_image_config_section(copy));
    order_rootfs(copy);
    cJSON *history = cJSON_GetObjectItemCaseSensitive(copy, "history");
    for (cJSON *entry = history ? history->child : NULL; entry; entry = entry->next)
        if (cJSON_IsObject(entry))
            reorder(entry, history_order, true);
    for (size_t i = 0; i < WH_COUNT(optional); i++) {
        cJSON *value = cJSON_GetObjectItemCaseSensitive(copy, optional[i]);
        if (value && is_empty(value))
            cJSON_DeleteItemFromObjectCaseSensitive(copy, optional[i]);
    }
    wh_json_sort_members(copy);
    return wh_go_json(copy);
}

void wh_chain_id(const struct wh_digest *diff_ids_list, size_t n, struct wh_digest *out)
{
    *out = diff_ids_list[0];
    for (size_t i = 1; i < n; i++) {
        char above[WH_DIGEST_TEXT], diff[WH_DIGEST_TEXT];
        wh_autofree char *text =
            wh_printf("%s %s", wh_digest_text(out, above), wh_digest_text(&diff_ids_list[i], diff));
        wh_digest_of(text, strlen(text), out);
    }
}
