/* Git repositories as sources: the commit is asked for, and what it holds is fetched once and kept as a tree
 * under that commit (builder.md §1.4 "ADD git", §3.1). git itself does the talking, with no configuration but
 * ours. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "build/remote.h"

#include "wherry/base/fs.h"
#include "wherry/base/json.h"
#include "wherry/base/secret.h"
#include "wherry/net/http.h"
#include "wherry/platform/process.h"

struct git {
    struct build *b;
    struct git_address address;
    char *program; /* owned */
    char **env;    /* owned; wiped: it has the token */
};

static void git_clear(struct git *g)
{
    git_address_clear(&g->address);
    free(g->program);
    for (char **e = g->env; e && *e; e++)
        wh_wipe(*e, strlen(*e));
    wh_strv_free(g->env);
}

/* GIT_AUTH_TOKEN or GIT_AUTH_HEADER, of this host before those of any: BuildKit's names. */
static char *auth_header(const struct git *g, const char *host)
{
    static const char *const names[] = {"GIT_AUTH_HEADER", "GIT_AUTH_TOKEN"};
    for (size_t i = 0; i < 2 * WH_COUNT(names); i++) {
        wh_autofree char *id = i % 2 == 0 ? wh_printf("%s.%s", names[i / 2], host) : wh_strdup(names[i / 2]);
        const struct wh_build_secret *secret = build_secret(g->b, id);
        if (!secret)
            continue;
        if (i / 2 == 0)
            return wh_printf("Authorization: %s", secret->value);
        wh_autofree char *plain = wh_printf("x-access-token:%s", secret->value);
        wh_autofree char *coded = wh_base64(plain, strlen(plain));
        char *header = wh_printf("Authorization: basic %s", coded);
        wh_wipe(plain, strlen(plain));
        wh_wipe(coded, strlen(coded));
        return header;
    }
    return NULL;
}

static void add_auth(struct git *g)
{
    const char *scheme = strstr(g->address.remote, "://");
    if (!scheme || !wh_starts_with(g->address.remote, "http"))
        return;
    wh_autofree char *origin =
        wh_strndup(g->address.remote, (size_t)(scheme - g->address.remote) + 3 + strcspn(scheme + 3, "/"));
    wh_autofree char *host = wh_strndup(scheme + 3, strcspn(scheme + 3, "/:"));
    char *header = auth_header(g, host);
    if (!header)
        return;
    /* By environment: an argument list is for everyone to read. */
    wh_env_set(&g->env, "GIT_CONFIG_COUNT", "1");
    wh_autofree char *key = wh_printf("http.%s/.extraheader", origin);
    wh_env_set(&g->env, "GIT_CONFIG_KEY_0", key);
    wh_env_set(&g->env, "GIT_CONFIG_VALUE_0", header);
    wh_wipe(header, strlen(header));
    free(header);
}

static int git_open(struct git *g, struct wh_error *err)
{
    static const char *const passed[] = {"http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY",
                                         "NO_PROXY",   "ALL_PROXY",   "all_proxy"};
    const char *path = getenv("PATH");
    g->program = wh_find_program("git", path ? path : "/usr/bin:/bin", false);
    if (!g->program)
        return wh_fail(err, WH_E_UNSUPPORTED, "git is not installed on this machine");
    if (!wh_starts_with(g->address.remote, "http://") && !wh_starts_with(g->address.remote, "https://") &&
        !wh_starts_with(g->address.remote, "git://"))
        return wh_fail(
            err, WH_E_UNSUPPORTED,
            "git by ssh (%s) is not supported yet by wherry's own builder; an https:// address with a "
            "GIT_AUTH_TOKEN secret is",
            g->address.remote);
    wh_env_set(&g->env, "PATH", path ? path : "/usr/bin:/bin");
    wh_env_set(&g->env, "HOME", "/nonexistent");
    wh_env_set(&g->env, "LC_ALL", "C");
    wh_env_set(&g->env, "GIT_CONFIG_NOSYSTEM", "1");
    wh_env_set(&g->env, "GIT_TERMINAL_PROMPT", "0");
    wh_env_set(&g->env, "GIT_ALLOW_PROTOCOL", "http:https:git"); /* submodules too: no file:// */
    for (size_t i = 0; i < WH_COUNT(passed); i++)
        if (getenv(passed[i]))
            wh_env_set(&g->env, passed[i], getenv(passed[i]));
    if (getenv(WH_CA_FILE_ENV))
        wh_env_set(&g->env, "GIT_SSL_CAINFO", getenv(WH_CA_FILE_ENV));
    add_auth(g);
    return 0;
}

/* Runs git; its exit code, negative with an error. */
static int run(struct git *g, const char *cwd, struct wh_str *out, struct wh_str *errors,
               struct wh_error *err, const char *const *args)
{
    char *argv[32];
    size_t n = 0;
    argv[n++] = (char *)"git";
    for (; *args && n < WH_COUNT(argv) - 1; args++)
        argv[n++] = (char *)*args;
    argv[n] = NULL;
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.path = g->program;
    options.argv = argv;
    options.env = g->env;
    options.cwd = cwd;
    options.umask = 022;
    options.death_signal = SIGKILL;
    return wh_process_run(&options, WH_MAX_GIT_OUTPUT, out, errors, err);
}

static int need(struct git *g, const char *cwd, struct wh_error *err, const char *const *args)
{
    wh_autostr errors = {0};
    int code = run(g, cwd, NULL, &errors, err, args);
    if (code < 0)
        return -1;
    if (code > 0)
        return wh_fail(err, WH_E_FAILED, "git %s %s: %.*s", args[0], g->address.remote,
                       (int)WH_MIN(errors.len, (size_t)2000), wh_str_text(&errors));
    return 0;
}
#define GIT(g, cwd, err, ...) need(g, cwd, err, (const char *const[]){__VA_ARGS__, NULL})

static bool is_commit(const char *text)
{
    return strlen(text) == 40 && strspn(text, "0123456789abcdef") == 40;
}

/* ---- which commit ---- */

/* The line of ls-remote for this ref; a tag's commit rather than the tag. */
static bool find_ref(const char *listing, const char *ref, char commit[41])
{
    struct wh_reader r = wh_reader_of(listing, strlen(listing));
    struct wh_view line, name;
    wh_autofree char *peeled = wh_printf("%s^{}", ref);
    bool found = false;
    while (wh_reader_line(&r, &line)) {
        struct wh_view hash;
        if (!wh_view_split(line, '\t', &hash, &name) || hash.len != 40)
            continue;
        if (!wh_view_eq(name, ref) && !wh_view_eq(name, peeled))
            continue;
        memcpy(commit, hash.data, 40);
        commit[40] = '\0';
        found = true;
        if (wh_view_eq(name, peeled))
            return true;
    }
    return found;
}

static int resolve(struct git *g, char commit[41], struct wh_error *err)
{
    const char *ref = g->address.ref;
    if (ref && is_commit(ref)) {
        memcpy(commit, ref, 41);
        return 0;
    }
    wh_autostr out = {0}, errors = {0};
    const char *args[] = {"ls-remote", "--", g->address.remote, NULL};
    int code = run(g, NULL, &out, &errors, err, args);
    if (code < 0)
        return -1;
    if (code > 0)
        return wh_fail(err, WH_E_FAILED, "failed to load cache key: git ls-remote %s: %.*s",
                       g->address.remote, (int)WH_MIN(errors.len, (size_t)2000), wh_str_text(&errors));
    static const char *const forms[] = {"%s", "refs/heads/%s", "refs/tags/%s", "refs/%s"};
    for (size_t i = 0; i < WH_COUNT(forms); i++) {
        wh_autostr full = {0};
        const char *percent = strstr(forms[i], "%s");
        wh_str_addn(&full, forms[i], (size_t)(percent - forms[i]));
        wh_str_add(&full, ref ? ref : "HEAD");
        if (find_ref(wh_str_text(&out), wh_str_text(&full), commit))
            return 0;
    }
    return wh_fail(err, WH_E_NOT_FOUND, "failed to load cache key: repository does not contain ref %s",
                   ref ? ref : "HEAD");
}

/* ---- its files ---- */

/* A shallow fetch of the commit; servers that give none by its hash give the ref, or all. */
static int fetch(struct git *g, const char *dir, const char *commit, struct wh_error *err)
{
    wh_autoerror first = {0};
    if (GIT(g, NULL, err, "init", "-q", "--template=", dir) < 0)
        return -1;
    if (GIT(g, dir, &first, "fetch", "-q", "--depth=1", "--no-tags", "--", g->address.remote, commit) == 0)
        return 0;
    if (g->address.ref && !is_commit(g->address.ref) &&
        GIT(g, dir, NULL, "fetch", "-q", "--depth=1", "--no-tags", "--", g->address.remote, g->address.ref) ==
            0)
        return 0;
    if (GIT(g, dir, NULL, "fetch", "-q", "--", g->address.remote, "+refs/*:refs/remotes/all/*") == 0)
        return 0;
    return wh_error_move(err, &first);
}

static int checkout(struct git *g, const char *dir, const char *commit, struct wh_error *err)
{
    if (fetch(g, dir, commit, err) < 0 ||
        GIT(g, dir, err, "remote", "add", "origin", g->address.remote) < 0 ||
        GIT(g, dir, err, "checkout", "-q", "--detach", commit) < 0)
        return -1;
    if (g->address.submodules) {
        wh_autofree char *modules = wh_path_join(dir, ".gitmodules");
        if (access(modules, F_OK) == 0 &&
            GIT(g, dir, err, "submodule", "update", "-q", "--init", "--recursive", "--depth=1") < 0)
            return -1;
    }
    return 0;
}

/* The entries of a folder into another one of the same file system, but `skip`. */
static int move_entries(int from, int to, const char *skip, struct wh_error *err)
{
    wh_autostrv char **names = NULL;
    if (folder_names(from, &names, err) < 0)
        return -1;
    for (char **name = names; name && *name; name++)
        if (strcmp(*name, skip) != 0 && renameat(from, *name, to, *name) < 0)
            return wh_fail_errno(err, "move %s", *name);
    return 0;
}

static int fill(struct git *g, struct wh_tree *tree, const char *commit, bool keep_git, struct wh_error *err)
{
    wh_autofree char *dir = wh_path_join(wh_tree_work(tree), "repository");
    if (checkout(g, dir, commit, err) < 0)
        return -1;
    /* A link in the place of the subfolder, or on the way to it, would lead out. */
    wh_autoclose int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    wh_autoclose int inside = top < 0 ? -1
                                      : wh_open_in_root(top, g->address.subdir ? g->address.subdir : ".",
                                                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, true, NULL);
    if (inside < 0)
        return wh_fail(err, WH_E_NOT_FOUND, "git repository %s has no folder %s", g->address.remote,
                       g->address.subdir);
    return move_entries(inside, wh_tree_fd(tree), keep_git && !g->address.subdir ? "" : ".git", err);
}

static int get(struct git *g, bool keep_git, struct remote *out, struct wh_error *err)
{
    char commit[41];
    if (git_open(g, err) < 0 || resolve(g, commit, err) < 0)
        return -1;
    const char *wanted = g->address.commit;
    if (wanted && (strlen(wanted) < 7 || strncmp(commit, wanted, strlen(wanted)) != 0))
        return wh_fail(err, WH_E_DIGEST, "failed to load cache key: expected checksum to match %s, got %s",
                       wanted, commit);
    struct wh_digest key;
    struct key k;
    key_begin(&k, "git");
    key_text(&k, g->address.remote);
    key_text(&k, commit);
    key_text(&k, g->address.subdir);
    key_number(&k, keep_git);
    key_number(&k, g->address.submodules);
    key_end(&k, &key);
    int found = remote_find(g->b, &key, out, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    wh_autotree *tree = wh_tree_begin(g->b->store, err);
    if (!tree || fill(g, tree, commit, keep_git, err) < 0)
        return -1;
    struct wh_layer_info info = {.size = -1};
    out->digest = key;
    out->layer = wh_tree_commit(wh_steal(&tree), &info, err);
    wh_autojson *meta = cJSON_CreateObject();
    char text[WH_DIGEST_TEXT];
    wh_json_add_string(meta, "digest", wh_digest_text(&key, text));
    wh_json_add_string(meta, "commit", commit);
    return out->layer > 0 ? remote_put(g->b, &key, out->layer, meta, err) : -1;
}

int remote_git(struct build *b, const char *address, const char *checksum, bool keep_git, struct remote *out,
               struct wh_error *err)
{
    struct git g = {.b = b};
    if (git_address_parse(address, &g.address, err) < 0)
        return -1;
    if (checksum && g.address.commit && strcmp(checksum, g.address.commit) != 0) {
        int status =
            wh_fail(err, WH_E_ARGUMENT, "checksum mismatch \"%s\" != \"%s\"", checksum, g.address.commit);
        git_clear(&g);
        return status;
    }
    if (checksum && !g.address.commit)
        g.address.commit = wh_strdup(checksum);
    int status = get(&g, g.address.keep_git >= 0 ? g.address.keep_git > 0 : keep_git, out, err);
    git_clear(&g);
    return status;
}
