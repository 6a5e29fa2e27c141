/* WWW-Authenticate headers. */
#include <assert.h>

#include "wherry/oci/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wh_autofree char *text = wh_strndup((const char *)data, size);
    struct wh_challenge c = {0};
    if (wh_challenge_parse(text, &c, NULL) == 0)
        assert(!c.bearer || c.realm);
    wh_challenge_clear(&c);
    return 0;
}
