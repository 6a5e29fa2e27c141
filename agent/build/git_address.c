/* Git addresses in Dockerfiles and as contexts: remote#ref:subdir and the query's fields (builder.md §1.4).
 */
#include "build/remote.h"

#include "wherry/base/digest.h"

void git_address_clear(struct git_address *a)
{
    free(a->remote);
    free(a->ref);
    free(a->subdir);
    free(a->commit);
    *a = (struct git_address){0};
}

static int parse_bool(const char *name, struct wh_view value, bool *out, struct wh_error *err)
{
    bool yes = value.len == 0 || wh_view_eq(value, "1") || wh_view_eq(value, "true");
    if (!yes && !wh_view_eq(value, "0") && !wh_view_eq(value, "false"))
        return wh_fail(err, WH_E_ARGUMENT, "invalid %s value: \"%.*s\"", name, (int)value.len, value.data);
    *out = yes;
    return 0;
}

static void put(char **field, struct wh_view value)
{
    free(*field);
    *field = value.len ? wh_view_dup(value) : NULL;
}

static int take_field(struct git_address *a, struct wh_view name, struct wh_view value, struct wh_error *err)
{
    bool flag = false;
    if (wh_view_eq(name, "ref") || wh_view_eq(name, "branch") || wh_view_eq(name, "tag")) {
        if (a->ref)
            return wh_fail(err, WH_E_ARGUMENT, "ref conflicts with another ref of the same address");
        put(&a->ref, value);
        if (!wh_view_eq(name, "ref") && a->ref) { /* a branch or tag of that name, and nothing else */
            char *full = wh_printf("refs/%s/%s", wh_view_eq(name, "tag") ? "tags" : "heads", a->ref);
            free(a->ref);
            a->ref = full;
        }
    } else if (wh_view_eq(name, "subdir")) {
        put(&a->subdir, value);
    } else if (wh_view_eq(name, "checksum") || wh_view_eq(name, "commit")) {
        put(&a->commit, value);
    } else if (wh_view_eq(name, "keep-git-dir")) {
        if (parse_bool("keep-git-dir", value, &flag, err) < 0)
            return -1;
        a->keep_git = flag;
    } else if (wh_view_eq(name, "submodules")) {
        if (parse_bool("submodules", value, &a->submodules, err) < 0)
            return -1;
    } else {
        return wh_fail(err, WH_E_ARGUMENT, "unexpected query \"%.*s\"", (int)name.len, name.data);
    }
    return 0;
}

static int parse_query(struct git_address *a, struct wh_view query, struct wh_error *err)
{
    while (query.len > 0) {
        struct wh_view field, rest, name, value;
        if (!wh_view_split(query, '&', &field, &rest))
            rest = (struct wh_view){query.data + query.len, 0};
        wh_view_split(field, '=', &name, &value);
        if (field.len > 0 && take_field(a, name, value, err) < 0)
            return -1;
        query = rest;
    }
    return 0;
}

/* A subfolder stays inside: `..` is none. */
static int check_subdir(const struct git_address *a, struct wh_error *err)
{
    if (!a->subdir)
        return 0;
    wh_autostrv char **parts = wh_strv_split(a->subdir, '/');
    if (wh_strv_has(parts, "..") || wh_strv_has(parts, ".git"))
        return wh_fail(err, WH_E_ARGUMENT, "subfolder %s of a git address leads out of the repository",
                       a->subdir);
    return 0;
}

static int parse(const char *text, struct git_address *a, struct wh_error *err)
{
    struct wh_view all = wh_view_of(text), fragment = {text, 0}, base, query = {text, 0}, ref, subdir;
    for (size_t i = 0; i < all.len; i++)
        if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f)
            return wh_fail(err, WH_E_ARGUMENT, "git address with a blank or control character");
    bool has_fragment = wh_view_split(all, '#', &base, &fragment);
    struct wh_view before = base, head;
    if (wh_view_split(before, '?', &head, &query))
        base = head;
    a->remote = wh_view_dup(base);
    if (a->remote[0] == '-')
        return wh_fail(err, WH_E_ARGUMENT, "git address %s", a->remote);
    if (has_fragment) {
        bool more = wh_view_split(fragment, ':', &ref, &subdir);
        put(&a->ref, ref);
        if (more)
            put(&a->subdir, subdir);
    }
    if (parse_query(a, query, err) < 0)
        return -1;
    if (a->ref && a->ref[0] == '-')
        return wh_fail(err, WH_E_ARGUMENT, "git reference %s", a->ref);
    return check_subdir(a, err);
}

int git_address_parse(const char *text, struct git_address *out, struct wh_error *err)
{
    *out = (struct git_address){.keep_git = -1, .submodules = true};
    if (parse(text, out, err) == 0)
        return 0;
    git_address_clear(out);
    return -1;
}
