/* Options, ports and volumes of containers: text of workflows and of `docker run`. The first byte says which.
 */
#include <stddef.h>
#include <stdint.h>

#include "wherry/base/json.h"
#include "wherry/container/create.h"

static void options(cJSON *request, const char *text)
{
    size_t used = 0;
    wh_autoerror err = {0};
    wh_autostrv char **words = wh_create_split(text, &err);
    if (err.code != WH_OK && words)
        abort();
    /* Files of the machine are no part of this. */
    for (size_t i = 0; words && words[i]; i++)
        if (strstr(words[i], "env-file") || strchr(words[i], '/'))
            return;
    if (wh_create_options(request, words, &used, &err) == 0 && used > wh_strv_len(words))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t ms;
    if (size < 1 || size > 1 << 13 || memchr(data, 0, size))
        return 0;
    wh_autofree char *text = wh_strndup((const char *)data + 1, size - 1);
    wh_autojson *request = cJSON_CreateObject();
    switch (data[0] % 4) {
    case 0:
        options(request, text);
        break;
    case 1:
        (void)wh_create_port(request, text, NULL);
        break;
    case 2:
        if (!strchr(text, '/')) /* folders would be made */
            (void)wh_create_volume(request, text, NULL);
        break;
    default:
        if (wh_create_duration(text, &ms) && ms < 0)
            abort();
    }
    if ((size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(request, "ports")) >
            WH_MAX_CREATE_PORTS ||
        (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(request, "mounts")) >
            WH_MAX_CREATE_MOUNTS)
        abort();
    wh_autofree char *printed = wh_json_print(request);
    if (!printed)
        abort();
    return 0;
}
