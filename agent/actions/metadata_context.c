/* What the metadata action knows of the commit and the repository: from the event and the service, or from
 * git (input `context`). */
#include <ctype.h>
#include <stdio.h>
#include <time.h>

#include "actions/metadata.h"
#include "actions/moment.h"
#include "wherry/base/clock.h"
#include "wherry/base/secret.h"
#include "wherry/net/http.h"
#include "wherry/platform/process.h"

#define MAX_ANSWER ((size_t)4 << 20)
#define MAX_GIT_OUTPUT ((size_t)4 << 20)

/* ---- git ---- */

/* Its output without blanks around; an exit code without a word of error is fine, as for the original. */
static char *git(struct wh_error *err, const char *const *args)
{
    wh_autofree char *path = wh_find_program("git", wh_action_env("PATH"), false);
    if (!path) {
        wh_fail(err, WH_E_NOT_FOUND, "context: git needs git, which is not on the PATH");
        return NULL;
    }
    wh_autostrv char **argv = NULL;
    wh_strv_add(&argv, path);
    for (const char *const *a = args; *a; a++)
        wh_strv_add(&argv, *a);
    struct wh_process_options o = WH_PROCESS_OPTIONS;
    o.path = path;
    o.argv = argv;
    wh_autostr out = {0}, errors = {0};
    int code = wh_process_run(&o, MAX_GIT_OUTPUT, &out, &errors, err);
    if (code < 0)
        return NULL;
    struct wh_view said = wh_view_trim(wh_view_of(wh_str_text(&errors)));
    if (code != 0 && said.len > 0) {
        wh_fail(err, WH_E_FAILED, "%.*s", (int)said.len, said.data);
        return NULL;
    }
    return wh_view_dup(wh_view_trim(wh_view_of(wh_str_text(&out))));
}
#define GIT(err, ...) git(err, (const char *const[]){__VA_ARGS__, NULL})

static int git_date(const char *sha, int64_t *when, struct wh_error *err)
{
    wh_autofree char *seconds = GIT(err, "show", "-s", "--format=%ct", sha, "--");
    uint64_t number;
    if (!seconds)
        return -1;
    if (!wh_parse_u64(seconds, (uint64_t)INT64_MAX / 1000, &number))
        return wh_fail(err, WH_E_FAILED, "git says '%.40s' where the date of a commit was asked for",
                       seconds);
    *when = (int64_t)number * 1000;
    return 0;
}

/* ---- the REST API ---- */

static cJSON *ask(struct wh_action_run *run, const char *rest, struct wh_error *err)
{
    struct wh_http_client *client = wh_http_client_new_private(NULL, err);
    if (!client)
        return NULL;
    const char *api = wh_action_env("GITHUB_API_URL"), *text = wh_action_input(run, "github-token");
    wh_autofree char *url = wh_printf("%s/repos/%s%s", api[0] ? api : "https://api.github.com",
                                      wh_action_env("GITHUB_REPOSITORY"), rest);
    wh_autosecret *token = wh_secret_new(text, strlen(text));
    cJSON *json = NULL;
    {
        wh_autohttp *r = wh_http_new(client, "GET", url);
        wh_http_header(r, "Accept", "application/vnd.github.v3+json");
        if (text[0])
            wh_http_secret_header(r, "Authorization", "token ", token);
        wh_http_redirects(r, WH_HTTP_REDIRECT_FOLLOW);
        wh_http_max_body(r, MAX_ANSWER);
        if (wh_http_do(r, err) == 0 && wh_http_check(r, err) == 0)
            json = wh_http_response_json(r, err);
    }
    wh_http_client_free(client);
    return json;
}

static char *text_of(const cJSON *object, const char *name)
{
    const char *text = wh_json_string(object, name);
    return wh_strdup(text ? text : "");
}

static void take_repository(struct metadata_context *c, const cJSON *repository)
{
    c->name = text_of(repository, "name");
    c->description = text_of(repository, "description");
    c->html_url = text_of(repository, "html_url");
    c->default_branch = text_of(repository, "default_branch");
    c->license = text_of(wh_json_get(repository, "license"), "spdx_id");
}

/* The event's payload describes the repository as the service would now; only where it does not (or in part),
 * the service is asked. */
static int read_repository(struct wh_action_run *run, struct metadata_context *c, struct wh_error *err)
{
    const cJSON *repository = wh_json_get(c->payload, "repository");
    if (wh_json_string(repository, "html_url") && wh_json_string(repository, "default_branch")) {
        take_repository(c, repository);
        return 0;
    }
    if (repository && !wh_action_input(run, "github-token")[0]) { /* no service: a job of `wherry exec` */
        take_repository(c, repository);
        if (!c->html_url[0]) {
            free(c->html_url);
            c->html_url =
                wh_printf("%s/%s", wh_action_env("GITHUB_SERVER_URL"), wh_action_env("GITHUB_REPOSITORY"));
        }
        return 0;
    }
    wh_autojson *json = ask(run, "", err);
    if (!json)
        return wh_wrap(err, "reading the repository %s", wh_action_env("GITHUB_REPOSITORY"));
    take_repository(c, json);
    return 0;
}

/* ---- the workflow's context ---- */

static bool date_of(const cJSON *commit, const char *sha, int64_t *when)
{
    const char *id = wh_json_string(commit, "id"), *text = wh_json_string(commit, "timestamp");
    return id && text && wh_streq(id, sha) && wh_moment_parse(text, when);
}

static void read_commit_date(struct wh_action_run *run, struct metadata_context *c)
{
    const cJSON *commit;
    cJSON_ArrayForEach(commit, wh_json_get(c->payload, "commits"))
    {
        if (date_of(commit, c->sha, &c->commit_date))
            return;
    }
    if (date_of(wh_json_get(c->payload, "head_commit"), c->sha, &c->commit_date))
        return;
    wh_autoerror problem = {0};
    if (!wh_action_input(run, "github-token")[0]) { /* no service: the work tree may know */
        if (git_date(c->sha, &c->commit_date, &problem) < 0)
            c->commit_date = wh_now_ns() / 1000000;
        return;
    }
    wh_autofree char *rest = wh_printf("/commits/%s", c->sha);
    wh_autojson *json = ask(run, rest, &problem);
    const char *text = wh_json_string(wh_json_get(wh_json_get(json, "commit"), "committer"), "date");
    if (text && wh_moment_parse(text, &c->commit_date))
        return;
    wh_action_debug("Failed to get commit date from GitHub API: %s",
                    problem.code ? wh_error_text(&problem) : "Committer date not found");
    c->commit_date = wh_now_ns() / 1000000;
}

static bool contains(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

static void read_workflow(struct wh_action_run *run, struct metadata_context *c)
{
    if (contains(c->event, "pull_request_target")) {
        wh_autofree char *number = wh_json_text(c->payload, "number");
        free(c->ref);
        c->ref = wh_printf("refs/pull/%s/merge", number ? number : "undefined");
    }
    wh_autofree char *head = wh_strdup(wh_action_env("DOCKER_METADATA_PR_HEAD_SHA"));
    wh_ascii_lower(head);
    const char *sha = wh_json_string(wh_json_get(wh_json_get(c->payload, "pull_request"), "head"), "sha");
    if (contains(head, "true") && contains(c->event, "pull_request") && sha) {
        free(c->sha);
        c->sha = wh_strdup(sha);
    }
    read_commit_date(run, c);
}

/* ---- git's context ---- */

static char *first_line(const char *text)
{
    return wh_strndup(text, strcspn(text, "\r\n"));
}

/* A ref below prefix that has HEAD in its history; "" if none has. */
static char *containing(const char *prefix, struct wh_error *err)
{
    wh_autofree char *refs = GIT(err, "for-each-ref", "--format=%(refname)", "--contains", "HEAD",
                                 "--sort=-committerdate", prefix);
    if (!refs)
        return NULL;
    wh_autostrv char **lines = wh_strv_split(refs, '\n');
    for (char **l = lines; *l; l++) {
        struct wh_view name = wh_view_trim(wh_view_of(*l));
        if (name.len > 0 && !(name.len > 5 && memcmp(name.data + name.len - 5, "/HEAD", 5) == 0))
            return wh_view_dup(name);
    }
    return wh_strdup("");
}

static char *infer(struct wh_error *err)
{
    wh_autofree char *local = containing("refs/heads/", err);
    if (!local || local[0])
        return wh_steal(&local);
    wh_autofree char *remote = containing("refs/remotes/", err);
    if (!remote)
        return NULL;
    if (remote[0]) {
        const char *branch = strchr(remote + strlen("refs/remotes/"), '/');
        return branch ? wh_printf("refs/heads/%s", branch + 1) : wh_steal(&remote);
    }
    wh_autofree char *tags = GIT(err, "tag", "--contains", "HEAD");
    if (!tags)
        return NULL;
    wh_autofree char *tag = first_line(tags);
    if (tag[0])
        return wh_printf("refs/tags/%s", tag);
    wh_fail(err, WH_E_NOT_FOUND, "Cannot infer ref from detached HEAD");
    return NULL;
}

static bool is_pull(const char *name)
{
    struct wh_reader r = wh_reader_of(name, strlen(name));
    size_t digits = 0;
    if (!wh_reader_take_text(&r, "pull/"))
        return false;
    for (; isdigit(wh_reader_peek(&r)); digits++)
        wh_reader_next(&r);
    return digits > 0 && (wh_reader_take_text(&r, "/head") || wh_reader_take_text(&r, "/merge")) &&
           wh_reader_end(&r);
}

/* The longest tag at HEAD that the decoration begins with: names may hold a comma and a blank. */
static char *tag_of(const char *decoration, struct wh_error *err)
{
    wh_autofree char *refs =
        GIT(err, "for-each-ref", "--format=%(refname)", "--points-at", "HEAD", "refs/tags/");
    if (!refs)
        return NULL;
    wh_autostrv char **lines = wh_strv_split(refs, '\n');
    const char *best = NULL;
    for (char **l = lines; *l; l++) {
        const char *name = wh_starts_with(*l, "refs/tags/") ? *l + strlen("refs/tags/") : "";
        size_t len = strlen(name);
        if (len > 0 && wh_starts_with(decoration, name) &&
            (decoration[len] == '\0' || wh_starts_with(decoration + len, ", ")) &&
            (!best || strlen(best) < strlen(*l)))
            best = *l;
    }
    if (best)
        return wh_strdup(best);
    wh_autofree char *name = wh_strndup(decoration, strcspn(decoration, ","));
    return wh_printf("refs/tags/%s", name);
}

static char *detached_ref(struct wh_error *err)
{
    wh_autofree char *shown = GIT(err, "show", "-s", "--pretty=%D");
    if (!shown)
        return NULL;
    wh_action_debug("detached HEAD ref: %s", shown);
    const char *at = wh_starts_with(shown, "grafted, ") ? shown + strlen("grafted, ") : shown;
    if (wh_streq(at, "HEAD"))
        return infer(err);
    if (!wh_starts_with(at, "HEAD, ")) {
        wh_fail(err, WH_E_NOT_FOUND, "Cannot find detached HEAD ref in \"%s\"", shown);
        return NULL;
    }
    at += strlen("HEAD, ");
    if (wh_starts_with(at, "tag: "))
        return tag_of(at + strlen("tag: "), err);
    if (is_pull(at))
        return wh_printf("refs/%s", at);
    const char *slash = strchr(at, '/'), *comma = strstr(at, ", ");
    if (slash && slash > at && comma && comma > slash && !memchr(slash + 1, '/', (size_t)(comma - slash - 1)))
        return wh_printf("refs/heads/%s", comma + 2);
    if (slash && slash > at)
        return wh_printf("refs/heads/%s", slash + 1);
    wh_fail(err, WH_E_NOT_FOUND, "Unsupported detached HEAD ref in \"%s\"", shown);
    return NULL;
}

static int read_git(struct metadata_context *c, struct wh_error *err)
{
    wh_autofree char *branch = GIT(err, "branch", "--show-current");
    if (!branch)
        return -1;
    wh_autofree char *ref = branch[0] ? GIT(err, "symbolic-ref", "HEAD") : detached_ref(err);
    if (!ref)
        return -1;
    wh_autofree char *sha = GIT(err, "show", "--format=%H", "HEAD", "--quiet", "--");
    wh_autofree char *seconds = sha ? GIT(err, "show", "-s", "--format=%ct", sha) : NULL;
    uint64_t number;
    if (!seconds)
        return -1;
    if (!wh_parse_u64(seconds, (uint64_t)INT64_MAX / 1000, &number))
        return wh_fail(err, WH_E_FAILED, "git says '%.40s' where the date of a commit was asked for",
                       seconds);
    c->commit_date = (int64_t)number * 1000;
    free(c->ref);
    free(c->sha);
    c->ref = wh_steal(&ref);
    c->sha = wh_steal(&sha);
    return 0;
}

/* ---- both ---- */

static void print_context(const struct metadata_context *c)
{
    bool unknown;
    wh_autofree char *date = wh_moment_format(c->commit_date, "UTC", "ddd MMM DD YYYY HH:mm:ss", &unknown);
    wh_action_group("Context info");
    wh_action_print("eventName: %s", c->event);
    wh_action_print("sha: %s", c->sha);
    wh_action_print("ref: %s", c->ref);
    wh_action_print("workflow: %s", c->workflow);
    wh_action_print("action: %s", c->action);
    wh_action_print("actor: %s", c->actor);
    wh_action_print("runNumber: %s", c->run_number);
    wh_action_print("runId: %s", c->run_id);
    wh_action_print("commitDate: %s GMT+0000 (Coordinated Universal Time)", date);
    wh_action_group_end();
}

int metadata_context_read(struct wh_action_run *run, struct metadata_context *c, struct wh_error *err)
{
    const char *source = wh_action_input(run, "context");
    *c = (struct metadata_context){
        .event = wh_strdup(wh_action_env("GITHUB_EVENT_NAME")),
        .sha = wh_strdup(wh_action_env("GITHUB_SHA")),
        .ref = wh_strdup(wh_action_env("GITHUB_REF")),
        .workflow = wh_strdup(wh_action_env("GITHUB_WORKFLOW")),
        .action = wh_strdup(wh_action_env("GITHUB_ACTION")),
        .actor = wh_strdup(wh_action_env("GITHUB_ACTOR")),
        .run_number = wh_strdup(wh_action_env("GITHUB_RUN_NUMBER")),
        .run_id = wh_strdup(wh_action_env("GITHUB_RUN_ID")),
        .payload = wh_action_event(run),
    };
    if (wh_streq(source, "git")) {
        if (read_git(c, err) < 0)
            return -1;
    } else if (source[0] == '\0' || wh_streq(source, "workflow")) {
        read_workflow(run, c);
    } else {
        return wh_fail(err, WH_E_ARGUMENT, "Invalid context source: %s", source);
    }
    if (read_repository(run, c, err) < 0)
        return -1;
    print_context(c);
    return 0;
}

void metadata_context_free(struct metadata_context *c)
{
    char *const texts[] = {c->event,    c->sha,        c->ref,           c->workflow, c->action,
                           c->actor,    c->run_number, c->run_id,        c->name,     c->description,
                           c->html_url, c->license,    c->default_branch};
    for (size_t i = 0; i < WH_COUNT(texts); i++)
        free(texts[i]);
    *c = (struct metadata_context){0};
}
