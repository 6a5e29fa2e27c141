/* The github context of a local run, as far as a git checkout can tell it (job-execution.md §11.6). */
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/platform/process.h"
#include "wherry/workflow/workflow.h"

#define MAX_GIT_OUTPUT ((size_t)64 << 10)

/* Output of `git -C folder args...` without its last newline; NULL if it failed. */
static char *git(const char *program, const char *folder, char *const *args)
{
    if (!program)
        return NULL;
    wh_autostrv char **argv = NULL;
    wh_strv_add(&argv, "git");
    wh_strv_add(&argv, "-C");
    wh_strv_add(&argv, folder);
    for (; *args; args++)
        wh_strv_add(&argv, *args);
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.path = program;
    options.argv = argv;
    wh_autostr out = {0};
    if (wh_process_run(&options, MAX_GIT_OUTPUT, &out, NULL, NULL) != 0)
        return NULL;
    while (out.len > 0 && (out.data[out.len - 1] == '\n' || out.data[out.len - 1] == '\r'))
        wh_str_truncate(&out, out.len - 1);
    return out.len > 0 ? wh_str_steal(&out) : NULL;
}
#define GIT(...) git(program, folder, (char *const[]){__VA_ARGS__, NULL})

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

static cJSON *default_event(const char *event_name, const char *ref, const char *sha, const char *repository)
{
    cJSON *event = cJSON_CreateObject();
    if (wh_streq(event_name, "push")) {
        cJSON_AddStringToObject(event, "ref", ref);
        cJSON_AddStringToObject(event, "after", sha);
    } else if (wh_streq(event_name, "workflow_dispatch")) {
        cJSON_AddStringToObject(event, "ref", ref);
        cJSON_AddObjectToObject(event, "inputs");
    }
    cJSON *repo = cJSON_AddObjectToObject(event, "repository");
    cJSON_AddStringToObject(repo, "full_name", repository);
    const char *slash = strchr(repository, '/');
    cJSON_AddStringToObject(repo, "name", slash ? slash + 1 : repository);
    return event;
}

static void add_event(cJSON *github, const char *event_name, const cJSON *event, const char *ref,
                      const char *sha, const char *repository)
{
    const cJSON *pull = event ? wh_json_get(event, "pull_request") : NULL;
    const char *head = pull ? wh_json_string(wh_json_get(pull, "head"), "ref") : NULL;
    const char *base = pull ? wh_json_string(wh_json_get(pull, "base"), "ref") : NULL;
    cJSON_AddStringToObject(github, "event_name", event_name);
    cJSON_AddStringToObject(github, "head_ref", head ? head : "");
    cJSON_AddStringToObject(github, "base_ref", base ? base : "");
    cJSON_AddItemToObject(github, "event",
                          event ? cJSON_Duplicate(event, true)
                                : default_event(event_name, ref, sha, repository));
}

static void add_fixed(cJSON *github)
{
    static const char *const fixed[][2] = {{"server_url", "https://github.com"},
                                           {"api_url", "https://api.github.com"},
                                           {"graphql_url", "https://api.github.com/graphql"},
                                           {"run_id", "1"},
                                           {"run_number", "1"},
                                           {"run_attempt", "1"},
                                           {"retention_days", "90"}};
    for (size_t i = 0; i < WH_COUNT(fixed); i++)
        cJSON_AddStringToObject(github, fixed[i][0], fixed[i][1]);
    cJSON_AddBoolToObject(github, "ref_protected", false);
}

static const char *ref_name(const char *ref)
{
    static const char *const prefixes[] = {"refs/heads/", "refs/tags/", "refs/"};
    for (size_t i = 0; i < WH_COUNT(prefixes); i++)
        if (wh_starts_with(ref, prefixes[i]))
            return ref + strlen(prefixes[i]);
    return ref;
}

cJSON *wh_workflow_github(const char *folder, const char *event_name, const cJSON *event,
                          const char *workflow_path, const char *workflow_name)
{
    wh_autofree char *program = wh_find_program("git", getenv("PATH"), false);
    wh_autofree char *sha = GIT("rev-parse", "HEAD");
    wh_autofree char *ref = GIT("symbolic-ref", "--quiet", "HEAD");
    wh_autofree char *tag = ref ? NULL : GIT("describe", "--tags", "--exact-match", "HEAD");
    wh_autofree char *url = GIT("config", "--get", "remote.origin.url");
    wh_autofree char *user = GIT("config", "--get", "user.name");
    if (!sha)
        sha = wh_strdup("0000000000000000000000000000000000000000");
    if (!ref)
        ref = tag ? wh_printf("refs/tags/%s", tag) : wh_strdup("refs/heads/main");
    char *repository = url ? repository_of(url) : NULL;
    wh_autofree char *full_name = repository ? repository : local_repository(folder);
    struct wh_view owner;
    struct wh_view rest;
    (void)wh_view_split(wh_view_of(full_name), '/', &owner, &rest);
    wh_autofree char *owner_text = wh_view_dup(owner);
    const char *login = getenv("USER");
    const char *actor = login ? login : user ? user : "local";
    wh_autofree char *workflow_ref = wh_printf("%s/%s@%s", full_name, workflow_path, ref);

    cJSON *github = cJSON_CreateObject();
    const char *const members[][2] = {{"ref", ref},
                                      {"ref_name", ref_name(ref)},
                                      {"ref_type", wh_starts_with(ref, "refs/tags/") ? "tag" : "branch"},
                                      {"sha", sha},
                                      {"repository", full_name},
                                      {"repository_owner", owner_text},
                                      {"actor", actor},
                                      {"triggering_actor", actor},
                                      {"workflow", workflow_name},
                                      {"workflow_ref", workflow_ref},
                                      {"workflow_sha", sha}};
    for (size_t i = 0; i < WH_COUNT(members); i++)
        cJSON_AddStringToObject(github, members[i][0], members[i][1]);
    add_fixed(github);
    add_event(github, event_name, event, ref, sha, full_name);
    return github;
}
