/* COPY's wildcards: Go's filepath.Match (builder.md §1.4). */
#include "dockerfile/match.h"

struct wh_glob {
    struct df_match *match;
};

int wh_glob_compile(const char *pattern, bool double_star, struct wh_glob **out, struct wh_error *err)
{
    struct df_match *match;
    if (df_match_compile(pattern, double_star, &match, err) < 0)
        return -1;
    *out = wh_calloc(1, sizeof **out);
    (*out)->match = match;
    return 0;
}

bool wh_glob_match(const struct wh_glob *g, const char *path)
{
    return df_match_path(g->match, path, strlen(path));
}

void wh_glob_free(struct wh_glob *g)
{
    if (!g)
        return;
    df_match_free(g->match);
    free(g);
}

bool wh_glob_has_wildcard(const char *pattern)
{
    return strpbrk(pattern, "*?[\\") != NULL;
}

char *wh_glob_literal_prefix(const char *pattern)
{
    size_t n = strcspn(pattern, "*?[\\");
    while (n > 0 && pattern[n] != '\0' && pattern[n - 1] != '/')
        n--;
    if (pattern[n] == '\0') {
        const char *slash = strrchr(pattern, '/');
        n = slash ? (size_t)(slash - pattern) + 1 : 0;
    }
    return wh_strndup(pattern, n > 0 ? n - 1 : 0);
}
