/* The document of a build cache from a registry: what is read is printed, and read as the same. */
#include <assert.h>

#include "wherry/base/json.h"
#include "wherry/oci/cache.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct wh_cache c, again;
    struct wh_digest layers[3] = {{{1}}, {{2}}, {{3}}};
    if (wh_cache_parse(data, size, NULL, 0, &c, NULL) == 0 && c.n < 64) {
        wh_autofree char *text = wh_cache_print(&c, NULL);
        assert(wh_cache_parse(text, strlen(text), NULL, 0, &again, NULL) == 0 && again.n == c.n);
        for (size_t i = 0; i < c.n; i++)
            assert(wh_digest_eq(&again.records[i].blob, &c.records[i].blob) &&
                   wh_digest_eq(&again.records[i].id, &c.records[i].id));
        wh_cache_clear(&again);
    }
    wh_cache_clear(&c);
    if (wh_cache_parse(data, size, layers, 3, &c, NULL) == 0)
        for (size_t i = 0; i < c.n; i++)
            assert(c.records[i].blob.bytes[0] >= 1 && c.records[i].blob.bytes[0] <= 3);
    wh_cache_clear(&c);
    return 0;
}
