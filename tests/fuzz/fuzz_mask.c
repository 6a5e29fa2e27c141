/* The masker: the input's first line holds values (parted by blanks), the rest is text. No value may be left
 * in what comes out, but for one that *** makes up with its neighbours. */
#include "wherry/job/mask.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *masked, const char *value)
{
    if (!strchr(value, '*') && strstr(masked, value))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wh_autofree char *input = wh_strndup((const char *)data, size);
    struct wh_view first, text;
    wh_view_split(wh_view_of(input), '\n', &first, &text);
    wh_autofree char *line = wh_view_dup(first);
    wh_autostrv char **values = wh_strv_split(line, ' ');
    struct wh_masker *m = wh_masker_new();
    for (char **v = values; v && *v; v++) {
        if ((v - values) % 3 == 2)
            wh_masker_add_regex(m, *v, NULL);
        else
            wh_masker_add(m, *v, strlen(*v), NULL);
        wh_autofree char *early = wh_mask_text(m, *v);
        (void)early;
    }
    wh_autofree char *body = wh_view_dup(text);
    wh_autofree char *masked = wh_mask_text(m, body);
    for (char **v = values; v && *v; v++) {
        if (**v)
            check(masked, *v);
    }
    wh_masker_free(m);
    return 0;
}
