/* RUN --mount and --device records. */
#include <stddef.h>
#include <stdint.h>

#include "dockerfile/mount.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 13 || memchr(data, 0, size))
        return 0;
    char *const env[] = {"T=cache", "V=/x", NULL};
    wh_autofree char *text = wh_strndup((const char *)data, size);
    wh_autofree char *from = NULL;
    struct df_mount_fields fields;
    (void)df_mount_from(text, &from, NULL);
    (void)df_device_check(text, NULL);
    if (df_mount_parse(text, env, '\\', NULL, &fields, NULL) == 0)
        df_mount_fields_clear(&fields);
    struct wh_df_chmod chmod = {0};
    if (wh_df_chmod_parse(text, &chmod, NULL) == 0) {
        unsigned mode = wh_df_chmod_apply(&chmod, 0644, size % 2);
        if (mode > 07777)
            abort();
        free(chmod.text);
    }
    return 0;
}
