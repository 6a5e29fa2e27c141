/* Vectors of strings, environments. */
#include "wherry/base/str.h"

size_t wh_strv_len(char *const *strv)
{
    size_t n = 0;
    while (strv && strv[n])
        n++;
    return n;
}

void wh_strv_take(char ***strv, char *text)
{
    char **list = *strv;
    size_t n = wh_strv_len(list);
    /* Room doubles whenever n is a power of two (8 slots at first), so that appending costs few
     * reallocations. An empty vector may have been allocated with room for its NULL alone. */
    if (!list || n == 0 || (n >= 4 && (n & (n - 1)) == 0))
        list = wh_reallocarray(list, n < 4 ? 8 : n * 2 + 2, sizeof(char *));
    list[n] = text;
    list[n + 1] = NULL;
    *strv = list;
}

void wh_strv_add(char ***strv, const char *text)
{
    wh_strv_take(strv, wh_strdup(text));
}

char **wh_strv_dup(char *const *strv)
{
    if (!strv)
        return NULL;
    char **copy = wh_calloc(8, sizeof(char *));
    for (size_t i = 0; strv[i]; i++)
        wh_strv_add(&copy, strv[i]);
    return copy;
}

void wh_strv_free(char **strv)
{
    for (size_t i = 0; strv && strv[i]; i++)
        free(strv[i]);
    free(strv);
}

bool wh_strv_has(char *const *strv, const char *text)
{
    for (size_t i = 0; strv && strv[i]; i++)
        if (strcmp(strv[i], text) == 0)
            return true;
    return false;
}

char *wh_strv_join(char *const *strv, const char *sep)
{
    struct wh_str s = {0};
    for (size_t i = 0; strv && strv[i]; i++) {
        if (i > 0)
            wh_str_add(&s, sep);
        wh_str_add(&s, strv[i]);
    }
    return wh_str_steal(&s);
}

char **wh_strv_split(const char *text, char sep)
{
    char **strv = NULL;
    struct wh_view head, rest = wh_view_of(text);
    bool more;
    do {
        more = wh_view_split(rest, sep, &head, &rest);
        wh_strv_take(&strv, wh_view_dup(head));
    } while (more);
    return strv;
}

static char **env_find(char **env, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; env && env[i]; i++)
        if (strncmp(env[i], name, n) == 0 && env[i][n] == '=')
            return &env[i];
    return NULL;
}

const char *wh_env_get(char *const *env, const char *name)
{
    char **at = env_find((char **)env, name);
    return at ? *at + strlen(name) + 1 : NULL;
}

void wh_env_set(char ***env, const char *name, const char *value)
{
    char **at = env_find(*env, name);
    if (!value) {
        if (at) {
            free(*at);
            for (; at[0]; at++)
                at[0] = at[1];
        }
        return;
    }
    char *entry = wh_printf("%s=%s", name, value);
    if (!at) {
        wh_strv_take(env, entry);
        return;
    }
    free(*at);
    *at = entry;
}
