/* The answer to a WebSocket's opening request. */
#include "net/ws_handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wh_autoerror err = {0};
    int taken = wh_ws_answer_check((const char *)data, size, "dGhlIHNhbXBsZSBub25jZQ==", &err);
    if (taken > (int)size || (taken < 0 && err.code == WH_OK))
        abort();
    return 0;
}
