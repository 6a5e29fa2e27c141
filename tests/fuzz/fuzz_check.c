/* The check directive's options, comments that skip rules, and findings sifted by them. */
#include <stddef.h>
#include <stdint.h>

#include "wherry/dockerfile/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 12 || memchr(data, 0, size))
        return 0;
    wh_autofree char *text = wh_strndup((const char *)data, size);
    struct wh_df_check check;
    if (wh_df_check_parse(text, &check, NULL) == 0)
        wh_df_check_clear(&check);
    wh_autodockerfile *df = NULL;
    if (wh_df_parse(text, size, "Dockerfile", &df, NULL, NULL) < 0)
        return 0;
    wh_df_lint(df);
    check = (struct wh_df_check){0};
    (void)wh_df_check_parse(df->check, &check, NULL);
    wh_df_lint_settle(df, &check);
    for (size_t i = 1; i < df->nwarnings; i++)
        if (df->warnings[i - 1].range.line > df->warnings[i].range.line)
            abort();
    (void)wh_df_lint_verdict(df, &check, NULL);
    wh_df_check_clear(&check);
    return 0;
}
