/* .git/index is whatever a job left there. */
#include "wherry/git/repo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wh_git_index index;
    (void)wh_git_index_parse(data, size, &index, NULL);
    return 0;
}
