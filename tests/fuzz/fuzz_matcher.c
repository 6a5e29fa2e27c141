/* A problem matcher's file, and lines that are tried on it: the file, a NUL, the lines. */
#include "wherry/job/matcher.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wh_autoerror err = {0};
    const uint8_t *nul = memchr(data, '\0', size);
    size_t head = nul ? (size_t)(nul - data) : size;
    wh_autojson *json = wh_json_parse((const char *)data, head, 1 << 20, "matcher", &err);
    struct wh_matcher *list = NULL;
    if (!json || wh_matchers_read(json, &list, &err) < 0)
        return 0;
    struct wh_reader r = wh_reader_of(nul ? nul + 1 : data, nul ? size - head - 1 : 0);
    struct wh_view line;
    while (wh_reader_line(&r, &line)) {
        for (struct wh_matcher *m = list; m; m = m->next) {
            struct wh_match match;
            if (wh_matcher_line(m, line.data, line.len, &match) > 0)
                wh_match_clear(&match);
        }
    }
    for (struct wh_matcher *next; list; list = next) {
        next = list->next;
        wh_matcher_free(list);
    }
    return 0;
}
