/* connectionData of whoever answers at a V1 server's address, and every route of it. */
#include "wherry/github/location.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wh_autoerror err = {0};
    wh_autolocations *l = wh_locations_parse((const char *)data, size, "https://h/t/", &err);
    const struct wh_route_value values[] = {{"poolId", "1"}, {"agentId", "a/b"}, {"planId", NULL}, {0}};
    if (!l) {
        if (err.code == WH_OK)
            abort();
        return 0;
    }
    for (int i = 0; i < WH_RESOURCES; i++) {
        wh_autoroute route = {0};
        if (wh_locations_route(l, (enum wh_resource)i, values, &route, NULL) == 0 &&
            !wh_starts_with(route.url, "https://h/t"))
            abort();
    }
    return 0;
}
