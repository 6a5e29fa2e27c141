/* Image references and platforms: what is accepted must come out again the same. */
#include <assert.h>

#include "wherry/oci/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wh_autofree char *text = wh_strndup((const char *)data, size);
    wh_autoref ref = {0}, again = {0};
    struct wh_platform platform, same;
    char buf[100];
    if (wh_ref_parse(text, &ref, NULL) == 0) {
        wh_autofree char *full = wh_ref_text(&ref), *familiar = wh_ref_familiar(&ref);
        assert(wh_ref_parse(full, &again, NULL) == 0);
        wh_autofree char *full_again = wh_ref_text(&again);
        assert(wh_streq(full, full_again));
        assert(familiar[0] != '\0');
        (void)wh_host_is_loopback(ref.host);
    }
    if (wh_platform_parse(text, &platform, NULL) == 0) {
        assert(wh_platform_rank(&platform, &platform) == 0);
        wh_platform_text(&platform, buf);
        if (wh_platform_parse(buf, &same, NULL) == 0)
            assert(wh_platform_eq(&platform, &same));
    }
    return 0;
}
