/* What clients of the cache service write: ranges, block lists, protobuf; and the token of a job. The first
 * byte chooses. */
#include "cachesvc/internal.h"
#include "wherry/serve/serve.h"

static void try_ranges(const char *text)
{
    uint64_t start, end;
    if (svc_content_range(text, &start, &end) && (end < start || end > INT64_MAX))
        abort();
    for (uint64_t size = 0; size <= 1000; size = size * 10 + 1)
        if (svc_range(text, size, &start, &end) == RANGE_PART && (start > end || end >= size))
            abort();
}

static void try_list(const uint8_t *data, size_t size)
{
    size_t n = 0;
    char **ids = svc_block_list((const char *)data, size, &n);
    if (ids && (n > WH_MAX_CACHE_BLOCKS || wh_strv_len(ids) != n))
        abort();
    for (size_t i = 0; ids && i < n; i++)
        if (!svc_block_id_ok(ids[i]))
            abort();
    wh_strv_free(ids);
}

static void try_protobuf(const uint8_t *data, size_t size)
{
    static const struct field fields[] = {{"key", 2, 's'},
                                          {"restore_keys", 3, 'S'},
                                          {"version", 4, 's'},
                                          {"size_bytes", 5, 'i'},
                                          {"ok", 1, 'b'}};
    wh_autoerror err = {0};
    wh_autojson *json = svc_protobuf_read(data, size, fields, WH_COUNT(fields), &err);
    wh_autostr again = {0};
    if (!json)
        return;
    svc_protobuf_write(json, fields, WH_COUNT(fields), &again);
    wh_autojson *second = svc_protobuf_read(wh_str_text(&again), again.len, fields, WH_COUNT(fields), &err);
    if (!second)
        abort();
}

static void try_token(const char *text)
{
    wh_autojson *message = cJSON_CreateObject();
    wh_autojson *rights = wh_serve_rights("id", message, text, false);
    const cJSON *scopes = wh_json_get(rights, "scopes");
    if (cJSON_GetArraySize(scopes) > WH_MAX_CACHE_SCOPES)
        abort();
    const cJSON *scope;
    cJSON_ArrayForEach(scope, scopes) if (wh_json_int(scope, "permission", 0) < 0 ||
                                          wh_json_int(scope, "permission", 0) > 3) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    wh_autofree char *text = wh_strndup((const char *)data + 1, size - 1);
    switch (data[0]) {
    case 'r':
        try_ranges(text);
        break;
    case 'l':
        try_list(data + 1, size - 1);
        break;
    case 'p':
        try_protobuf(data + 1, size - 1);
        break;
    default:
        try_token(text);
    }
    return 0;
}
