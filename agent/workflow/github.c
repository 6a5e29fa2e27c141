/* The github context of a local run, as far as a git checkout can tell it (job-execution.md §11.6). */
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/platform/process.h"
#include "workflow/workflow_internal.h"

#define MAX_GIT_OUTPUT ((size_t)8 << 20) /* changed files */

/* Output of `git -C folder args...` without its last newline; NULL if it failed or said nothing. */
static char *git(const struct wh_checkout *c, const char *const *args)
{
    if (!c->git)
        return NULL;
    wh_autostrv char **argv = NULL;
    wh_strv_add(&argv, "git");
    wh_strv_add(&argv, "-C");
    wh_strv_add(&argv, c->folder);
    for (; *args; args++)
        wh_strv_add(&argv, *args);
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.path = c->git;
    options.argv = argv;
    wh_autostr out = {0};
    if (wh_process_run(&options, MAX_GIT_OUTPUT, &out, NULL, NULL) != 0)
        return NULL;
    while (out.len > 0 && (out.data[out.len - 1] == '\n' || out.data[out.len - 1] == '\r'))
        wh_str_truncate(&out, out.len - 1);
    return out.len > 0 ? wh_str_steal(&out) : NULL;
}
#define GIT(...) git(c, (const char *const[]){__VA_ARGS__, NULL})

/* "owner/name" of https://host/owner/name(.git), git@host:owner/name(.git), ssh://...; NULL for anything
 * else. */
static char *repository_of(const char *url)
{
    struct wh_view v = wh_view_of(url);
    while (v.len > 0 && v.data[v.len - 1] == '/')
        v.len--;
    if (v.len > 4 && memcmp(v.data + v.len - 4, ".git", 4) == 0)
        v.len -= 4;
    size_t parts = 0;
    size_t start = v.len;
    while (start > 0 && parts < 2) {
        char c = v.data[start - 1];
        if ((c == '/' || c == ':') && ++parts == 2)
            break;
        start--;
    }
    struct wh_view name = {v.data + start, v.len - start};
    struct wh_view owner;
    struct wh_view repo;
    if (!wh_view_split(name, '/', &owner, &repo) || owner.len == 0 || repo.len == 0)
        return NULL;
    return wh_view_dup(name);
}

static char *local_repository(const char *folder)
{
    wh_autofree char *full = realpath(folder, NULL);
    const char *name = full ? strrchr(full, '/') : NULL;
    return wh_printf("local/%s", name && name[1] ? name + 1 : "workspace");
}

/* What the remote calls its default, else main or master, whichever is there. */
static char *default_branch(const struct wh_checkout *c)
{
    wh_autofree char *remote = GIT("symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD");
    if (remote && wh_starts_with(remote, "origin/"))
        return wh_strdup(remote + strlen("origin/"));
    static const char *const usual[] = {"main", "master"};
    for (size_t i = 0; i < WH_COUNT(usual); i++) {
        wh_autofree char *local = wh_printf("refs/heads/%s", usual[i]);
        wh_autofree char *far = wh_printf("refs/remotes/origin/%s", usual[i]);
        wh_autofree char *found = GIT("rev-parse", "--verify", "--quiet", local);
        wh_autofree char *found_far = found ? NULL : GIT("rev-parse", "--verify", "--quiet", far);
        if (found || found_far)
            return wh_strdup(usual[i]);
    }
    return wh_strdup(c->ref && wh_starts_with(c->ref, "refs/heads/") ? c->ref + strlen("refs/heads/")
                                                                     : "main");
}

void wh_checkout_read(const char *folder, struct wh_checkout *c)
{
    static const char zeros[] = "0000000000000000000000000000000000000000";
    *c = (struct wh_checkout){.folder = wh_strdup(folder),
                              .git = wh_find_program("git", getenv("PATH"), false)};
    c->sha = GIT("rev-parse", "--verify", "--quiet", "HEAD");
    c->ref = GIT("symbolic-ref", "--quiet", "HEAD");
    wh_autofree char *tag = c->ref ? NULL : GIT("describe", "--tags", "--exact-match", "HEAD");
    if (!c->ref)
        c->ref = tag ? wh_printf("refs/tags/%s", tag) : wh_strdup("refs/heads/main");
    c->has_commit = c->sha != NULL;
    if (!c->sha)
        c->sha = wh_strdup(zeros);
    c->before = c->has_commit ? GIT("rev-parse", "--verify", "--quiet", "HEAD^") : NULL;
    c->message = c->has_commit ? GIT("log", "-1", "--format=%B") : NULL;
    c->author = c->has_commit ? GIT("log", "-1", "--format=%an") : NULL;
    c->email = c->has_commit ? GIT("log", "-1", "--format=%ae") : NULL;
    c->timestamp = c->has_commit ? GIT("log", "-1", "--format=%cI") : NULL;
    c->default_branch = default_branch(c);
    wh_autofree char *url = GIT("config", "--get", "remote.origin.url");
    wh_autofree char *user = GIT("config", "--get", "user.name");
    c->repository = url ? repository_of(url) : NULL;
    if (!c->repository)
        c->repository = local_repository(folder);
    const char *login = getenv("USER");
    c->actor = wh_strdup(login && login[0] ? login : user ? user : "local");
}

void wh_checkout_clear(struct wh_checkout *c)
{
    char *const owned[] = {c->folder,     c->git,    c->sha,   c->ref,       c->before,
                           c->message,    c->author, c->email, c->timestamp, c->default_branch,
                           c->repository, c->actor,  c->server};
    for (size_t i = 0; i < WH_COUNT(owned); i++)
        free(owned[i]);
    *c = (struct wh_checkout){0};
}

/* ---- changed files ---- */

static char **diff(const struct wh_checkout *c, const char *range)
{
    wh_autofree char *text = GIT("diff", "--name-only", "--no-renames", range);
    char **names = text ? wh_strv_split(text, '\n') : NULL;
    if (!names)
        names = wh_calloc(1, sizeof *names);
    return names;
}

char **wh_checkout_changed(const struct wh_checkout *c, const cJSON *github)
{
    const char *base = wh_json_string(github, "base_ref");
    if (!c->has_commit)
        return NULL;
    if (base && base[0] && base[0] != '-') {
        wh_autofree char *far = wh_printf("origin/%s", base);
        wh_autofree char *at_far = GIT("merge-base", far, "HEAD");
        wh_autofree char *at = at_far ? wh_strdup(at_far) : GIT("merge-base", base, "HEAD");
        wh_autofree char *range = at ? wh_printf("%s..HEAD", at) : NULL;
        return range ? diff(c, range) : NULL;
    }
    const char *before = wh_json_string(wh_json_get(github, "event"), "before");
    if (!before || strspn(before, "0123456789abcdef") != strlen(before) ||
        strspn(before, "0") == strlen(before))
        return NULL;
    wh_autofree char *known = GIT("cat-file", "-t", before);
    wh_autofree char *range = known ? wh_printf("%s..HEAD", before) : NULL;
    return range ? diff(c, range) : NULL;
}

/* ---- the context ---- */

static void add_fixed(const struct wh_checkout *c, cJSON *github)
{
    static const char home[] = "https://github.com";
    const char *server = c->server ? c->server : home;
    bool enterprise = !wh_streq(server, home);
    wh_autofree char *api = enterprise ? wh_printf("%s/api/v3", server) : wh_strdup("https://api.github.com");
    wh_autofree char *graphql =
        enterprise ? wh_printf("%s/api/graphql", server) : wh_printf("%s/graphql", api);
    const char *const fixed[][2] = {{"server_url", server},  {"api_url", api},    {"graphql_url", graphql},
                                    {"run_id", "1"},         {"run_number", "1"}, {"run_attempt", "1"},
                                    {"retention_days", "90"}};
    for (size_t i = 0; i < WH_COUNT(fixed); i++)
        cJSON_AddStringToObject(github, fixed[i][0], fixed[i][1]);
    cJSON_AddBoolToObject(github, "ref_protected", false);
}

static const char *ref_name(const char *ref)
{
    static const char *const prefixes[] = {"refs/heads/", "refs/tags/", "refs/pull/", "refs/"};
    for (size_t i = 0; i < WH_COUNT(prefixes); i++)
        if (wh_starts_with(ref, prefixes[i]))
            return ref + strlen(prefixes[i]);
    return ref;
}

/* A pull request's ref is that of its merge; a payload that was given may name another for a push. */
static char *ref_of(const struct wh_checkout *c, const char *event_name, const cJSON *event)
{
    const char *given = wh_json_string(event, "ref");
    if (wh_streq(event_name, "pull_request"))
        return wh_printf("refs/pull/%lld/merge", (long long)wh_json_int(event, "number", 1));
    if ((wh_streq(event_name, "push") || wh_streq(event_name, "workflow_dispatch")) && given &&
        wh_starts_with(given, "refs/"))
        return wh_strdup(given);
    if (wh_streq(event_name, "pull_request_target") || wh_streq(event_name, "schedule"))
        return wh_printf("refs/heads/%s", c->default_branch);
    return wh_strdup(c->ref);
}

cJSON *wh_workflow_github(const struct wh_checkout *c, const struct wh_workflow *w, const char *event_name,
                          const cJSON *given)
{
    cJSON *event = given ? cJSON_Duplicate(given, true) : wh_workflow_payload(c, w, event_name);
    wh_autofree char *ref = ref_of(c, event_name, event);
    struct wh_view owner;
    struct wh_view rest;
    (void)wh_view_split(wh_view_of(c->repository), '/', &owner, &rest);
    wh_autofree char *owner_text = wh_view_dup(owner);
    wh_autofree char *workflow_ref = wh_printf("%s/%s@%s", c->repository, wh_workflow_file(w), ref);
    const cJSON *pull = wh_json_get(event, "pull_request");
    const char *head = wh_json_string(wh_json_get(pull, "head"), "ref");
    const char *base = wh_json_string(wh_json_get(pull, "base"), "ref");

    cJSON *github = cJSON_CreateObject();
    const char *const members[][2] = {{"ref", ref},
                                      {"ref_name", ref_name(ref)},
                                      {"ref_type", wh_starts_with(ref, "refs/tags/") ? "tag" : "branch"},
                                      {"sha", c->sha},
                                      {"repository", c->repository},
                                      {"repository_owner", owner_text},
                                      {"actor", c->actor},
                                      {"triggering_actor", c->actor},
                                      {"workflow", wh_workflow_name(w)},
                                      {"workflow_ref", workflow_ref},
                                      {"workflow_sha", c->sha},
                                      {"event_name", event_name},
                                      {"head_ref", head ? head : ""},
                                      {"base_ref", base ? base : ""}};
    for (size_t i = 0; i < WH_COUNT(members); i++)
        cJSON_AddStringToObject(github, members[i][0], members[i][1]);
    add_fixed(c, github);
    cJSON_AddItemToObject(github, "event", event);
    return github;
}
