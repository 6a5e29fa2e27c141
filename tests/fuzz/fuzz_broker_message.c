/* A poll's answer, from whoever answers at the broker's address. */
#include "wherry/github/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wh_autobrokermessage message = {0};
    wh_autoerror err = {0};
    if (wh_broker_message_parse((const char *)data, size, &message, &err) < 0 && err.code == WH_OK)
        abort();
    return 0;
}
