/* Manifests, indexes and configs: what is read is printed, and what was printed is read as the same. */
#include <assert.h>

#include "wherry/oci/image.h"

static void try_manifest(const void *data, size_t size)
{
    wh_automanifest m = {0}, again = {0};
    if (wh_manifest_parse(data, size, &m, NULL) < 0)
        return;
    wh_autofree char *text = wh_manifest_print(&m);
    assert(wh_manifest_parse(text, strlen(text), &again, NULL) == 0);
    wh_autofree char *same = wh_manifest_print(&again);
    /* Names that are no UTF-8 are mended by printing, and may sort elsewhere then. */
    assert(wh_streq(text, same) || !wh_utf8_valid(data, size));
}

static void try_index(const void *data, size_t size)
{
    wh_autoindex i = {0}, again = {0};
    struct wh_platform want;
    if (wh_index_parse(data, size, &i, NULL) < 0)
        return;
    wh_platform_host(&want);
    (void)wh_index_choose(&i, &want, NULL);
    wh_autofree char *text = wh_index_print(&i);
    assert(wh_index_parse(text, strlen(text), &again, NULL) == 0);
}

static void try_config(const void *data, size_t size)
{
    wh_autojson *config = wh_image_config_parse(data, size, NULL);
    wh_autofree struct wh_digest *ids = NULL;
    if (!config)
        return;
    (void)wh_image_config_diff_ids(config, &ids, NULL);
    (void)wh_image_config_history_layers(config);
    wh_autofree char *text = wh_image_config_print(config);
    wh_autojson *again = wh_image_config_parse(text, strlen(text), NULL);
    assert(again);
    wh_autofree char *same = wh_image_config_print(again);
    assert(wh_streq(text, same) || !wh_utf8_valid(data, size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum wh_manifest_kind kind;
    (void)wh_manifest_kind(data, size, "application/json", &kind, NULL);
    try_manifest(data, size);
    try_index(data, size);
    try_config(data, size);
    return 0;
}
