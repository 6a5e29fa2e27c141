/* The token call's answer. The first byte chooses the status. */
#include <sodium.h>

#include "github/token.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return sodium_init() < 0 ? 1 : 0; /* secret memory needs it */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 201, 400, 401, 429, 500, 503};
    struct wh_token_answer answer = {0};
    if (size == 0)
        return 0;
    wh_token_answer_read(statuses[data[0] % WH_COUNT(statuses)], (const char *)data + 1, size - 1, &answer);
    if ((answer.outcome == WH_OUT_OK) != (answer.token != NULL))
        abort();
    wh_token_answer_clear(&answer);
    return 0;
}
