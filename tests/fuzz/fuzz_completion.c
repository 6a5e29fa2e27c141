/* A kept completion: read, written again, and read the same. */
#include "github/wire.h"
#include "wherry/base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wh_autojson *json = wh_json_parse((const char *)data, size, 65536, "completion", NULL);
    struct wh_github_completion first, second;
    if (!json || wh_github_completion_read(json, &first, NULL))
        return 0;
    wh_autojson *again = wh_github_completion_json(&first);
    if (wh_github_completion_read(again, &second, NULL) || second.nsteps != first.nsteps ||
        second.noutputs != first.noutputs)
        __builtin_trap();
    cJSON_Delete(gh_completion_body("p", "j", NULL, &second));
    wh_github_completion_clear(&first);
    wh_github_completion_clear(&second);
    return 0;
}
