/* ${...} in every mode. */
#include <stddef.h>
#include <stdint.h>

#include "wherry/dockerfile/expand.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 14 || size == 0 || memchr(data, 0, size))
        return 0;
    char *const env[] = {"A=apple",      "E=",         "P=/usr/local/bin:/x",
                         "S=two words",  "STAR=a*b\\", "U=gr\xc3\xbcn",
                         "BAD=\xff\xfe", NULL};
    wh_autofree char *word = wh_strndup((const char *)data + 1, size - 1);
    wh_autofree char *out = NULL;
    wh_autostrv char **words = NULL;
    struct wh_df_expansion seen = {0};
    (void)wh_df_expand(word, env, data[0] & 4 ? '`' : '\\', (enum wh_df_expand_mode)(data[0] % 3), &out,
                       &seen, NULL);
    wh_df_expansion_clear(&seen);
    (void)wh_df_expand_words(word, env, '\\', &words, &seen, NULL);
    wh_df_expansion_clear(&seen);
    return 0;
}
