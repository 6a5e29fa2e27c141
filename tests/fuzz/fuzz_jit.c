/* The just-in-time string. The first byte says whether the rest is the string, or what its base64 holds, so
 * that the map inside is reached too. */
#include <sodium.h>

#include "wherry/base/digest.h"
#include "wherry/github/official.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return sodium_init() < 0 ? 1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wh_autoerror err = {0};
    wh_autoofficial official = {0};
    if (size == 0)
        return 0;
    wh_autofree char *encoded =
        data[0] % 2 ? wh_base64(data + 1, size - 1) : wh_strndup((const char *)data + 1, size - 1);
    size_t len = data[0] % 2 ? strlen(encoded) : size - 1;
    int code = wh_jit_read(encoded, len, &official, &err);
    if ((code == 0) != (official.config != NULL && official.key != NULL) || (code && !err.code))
        abort();
    return 0;
}
