/* The document of a build cache, read and printed. */
#include "wherry/oci/cache.h"

#include "oci/oci.h"
#include "wherry/base/clock.h"

void wh_cache_clear(struct wh_cache *c)
{
    free(c->records);
    *c = (struct wh_cache){0};
}

void wh_cache_record_id(const struct wh_digest *key, struct wh_digest *out)
{
    struct wh_sha256 *hash = wh_sha256_new();
    static const char what[] = "wherry cache record 1";
    wh_sha256_update(hash, what, sizeof(what));
    wh_sha256_update(hash, key->bytes, sizeof(key->bytes));
    wh_sha256_final(hash, out);
    wh_sha256_free(hash);
}

/* ---- reading ---- */

static bool blob_of(const cJSON *layer, struct wh_digest *out)
{
    const char *text = oci_text(layer, "blob");
    return text && wh_digest_parse(text, out, NULL) == 0;
}

/* A list with quick access by number. */
static int list_layers(const cJSON *json, struct wh_digest **out, size_t *n, struct wh_error *err)
{
    int count = cJSON_IsArray(json) ? cJSON_GetArraySize(json) : 0;
    if (count > WH_MAX_CACHE_RECORDS)
        return wh_fail(err, WH_E_LIMIT, "the cache has more than %d layers", WH_MAX_CACHE_RECORDS);
    *out = wh_calloc((size_t)count + 1, sizeof(**out));
    const cJSON *layer;
    cJSON_ArrayForEach(layer, json)
    {
        if (!blob_of(layer, &(*out)[*n]))
            return wh_fail(err, WH_E_PARSE, "layer %zu of the cache has no digest", *n);
        (*n)++;
    }
    return 0;
}

static bool read_record(const cJSON *json, const struct wh_digest *layers, size_t nlayers,
                        struct wh_cache_record *out)
{
    const char *digest = oci_text(json, "digest");
    const cJSON *list = oci_member(json, "layers"), *layer = list ? list->child : NULL;
    if (!digest || wh_digest_parse(digest, &out->id, NULL) < 0 || !layer || layer->next)
        return false;
    int64_t number = wh_json_int(layer, "layer", -1);
    if (number < 0 || (uint64_t)number >= nlayers)
        return false;
    const char *created = oci_text(layer, "createdAt");
    out->blob = layers[number];
    out->created = 0;
    if (created && !wh_time_parse_iso(created, &out->created))
        out->created = 0;
    return true;
}

int wh_cache_parse(const void *data, size_t len, const struct wh_digest *layers, size_t nlayers,
                   struct wh_cache *out, struct wh_error *err)
{
    *out = (struct wh_cache){0};
    wh_autojson *json = wh_json_parse(data, len, WH_MAX_CACHE_DOCUMENT, "cache config", err);
    if (!json)
        return -1;
    wh_autofree struct wh_digest *own = NULL;
    size_t nown = 0;
    if (!layers && list_layers(oci_member(json, "layers"), &own, &nown, err) < 0)
        return -1;
    const cJSON *records = oci_member(json, "records"), *record;
    int count = cJSON_IsArray(records) ? cJSON_GetArraySize(records) : 0;
    if (count > WH_MAX_CACHE_RECORDS)
        return wh_fail(err, WH_E_LIMIT, "the cache has more than %d records", WH_MAX_CACHE_RECORDS);
    out->records = wh_calloc((size_t)count + 1, sizeof(*out->records));
    cJSON_ArrayForEach(record, records)
    {
        if (read_record(record, layers ? layers : own, layers ? nlayers : nown, &out->records[out->n]))
            out->n++;
    }
    return 0;
}

/* ---- printing ---- */

static char *created_text(int64_t ns)
{
    char buf[40];
    wh_time_iso(ns, 9, buf);
    return wh_strdup(buf);
}

static size_t number_of(const struct wh_cache *c, size_t nth, size_t *count, size_t *numbers)
{
    for (size_t i = 0; i < nth; i++)
        if (wh_digest_eq(&c->records[i].blob, &c->records[nth].blob))
            return numbers[nth] = numbers[i];
    return numbers[nth] = (*count)++;
}

/* `parent` is always written but where it is 0, as BuildKit does. */
static void add_layer(cJSON *layers, const struct wh_digest *blob, size_t number)
{
    char text[WH_DIGEST_TEXT];
    cJSON *json = cJSON_CreateObject();
    wh_json_add_string(json, "blob", wh_digest_text(blob, text));
    if (number != 1)
        wh_json_add_int(json, "parent", (int64_t)number - 1);
    cJSON_AddItemToArray(layers, json);
}

char *wh_cache_print(const struct wh_cache *c, const size_t *numbers)
{
    char text[WH_DIGEST_TEXT];
    size_t count = 0;
    wh_autofree size_t *own = wh_calloc(c->n + 1, sizeof(*own));
    wh_autojson *json = cJSON_CreateObject();
    cJSON *layers = numbers ? NULL : cJSON_AddArrayToObject(json, "layers");
    cJSON *records = cJSON_AddArrayToObject(json, "records");
    for (size_t i = 0; i < c->n; i++) {
        size_t before = count, number = numbers ? numbers[i] : number_of(c, i, &count, own);
        if (layers && count > before)
            add_layer(layers, &c->records[i].blob, number);
        cJSON *record = cJSON_CreateObject(), *layer = cJSON_CreateObject();
        wh_autofree char *created = created_text(c->records[i].created);
        wh_json_add_int(layer, "layer", (int64_t)number);
        wh_json_add_string(layer, "createdAt", created);
        cJSON_AddItemToArray(cJSON_AddArrayToObject(record, "layers"), layer);
        wh_json_add_string(record, "digest", wh_digest_text(&c->records[i].id, text));
        cJSON_AddItemToArray(records, record);
    }
    return wh_go_json(json);
}
