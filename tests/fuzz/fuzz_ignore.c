/* An ignore file (up to a NUL), then paths to ask it about: walking and asking must agree. */
#include <stddef.h>
#include <stdint.h>

#include "wherry/dockerfile/ignore.h"

static enum wh_ignore_answer walk(const struct wh_ignore *ig, const char *path)
{
    struct wh_ignore_state parent = {0}, mine = {0};
    enum wh_ignore_answer a = WH_IGNORE_INCLUDED;
    for (const char *at = path; at;) {
        const char *slash = strchr(at, '/');
        wh_autofree char *part = slash ? wh_strndup(path, (size_t)(slash - path)) : wh_strdup(path);
        a = wh_ignore_walk(ig, &parent, part, slash != NULL, &mine);
        wh_ignore_state_clear(&parent);
        parent = mine;
        mine = (struct wh_ignore_state){0};
        at = slash ? slash + 1 : NULL;
    }
    wh_ignore_state_clear(&parent);
    return a;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 13)
        return 0;
    const uint8_t *nul = memchr(data, 0, size);
    size_t len = nul ? (size_t)(nul - data) : size;
    struct wh_ignore *ig = NULL;
    wh_autofree char *pattern = wh_strndup((const char *)data, len);
    struct wh_glob *glob = NULL;
    if (wh_glob_compile(pattern, size % 2, &glob, NULL) == 0) {
        (void)wh_glob_match(glob, "src/main.c");
        (void)wh_glob_match(glob, pattern);
        wh_glob_free(glob);
    }
    free(wh_glob_literal_prefix(pattern));
    if (wh_ignore_parse((const char *)data, len, "fuzz", &ig, NULL) < 0)
        return 0;
    wh_autofree char *rest =
        nul ? wh_strndup((const char *)nul + 1, size - len - 1) : wh_strdup("a/b/c.go\nkeep/this\nx");
    wh_autostrv char **paths = wh_strv_split(rest, '\n');
    for (size_t i = 0; paths[i] && i < 16; i++) {
        const char *p = paths[i];
        if (p[0] == '\0' || p[0] == '/' || wh_ends_with(p, "/") || strstr(p, "//"))
            continue;
        if (walk(ig, p) != wh_ignore_match(ig, p, false))
            abort();
    }
    wh_ignore_free(ig);
    return 0;
}
