/* A job's rights: GitHub's own word in the job's token ("ac"), else GitHub's rules by the event
 * (cache-service.md §3, §4). The token comes in the message, from the service: its signature is the service's
 * business; what a job sends is only compared. */
#include <sodium.h>

#include "wherry/base/clock.h"
#include "wherry/base/digest.h"
#include "wherry/cachesvc/cachesvc.h"
#include "wherry/serve/serve.h"

#define LOCAL_SECONDS (INT64_C(7) * 86400)

/* ---- the message ---- */

static const cJSON *member(const cJSON *dictionary, const char *name)
{
    const cJSON *pair;
    cJSON_ArrayForEach(pair, wh_json_get(dictionary, "d"))
    {
        if (wh_streq_ci(wh_json_string(pair, "k"), name))
            return wh_json_get(pair, "v");
    }
    return NULL;
}

static const char *text_of(const cJSON *value)
{
    const char *text = cJSON_IsString(value) ? value->valuestring : wh_json_string(value, "s");
    return text && text[0] ? text : NULL;
}

static const cJSON *github_of(const cJSON *message)
{
    return wh_json_get(wh_json_get(message, "contextData"), "github");
}

static const char *results_of(const cJSON *message)
{
    const cJSON *endpoint;
    cJSON_ArrayForEach(endpoint, wh_json_get(wh_json_get(message, "resources"), "endpoints"))
    {
        if (wh_streq_ci(wh_json_string(endpoint, "name"), "SystemVssConnection"))
            return wh_json_string(wh_json_get(endpoint, "data"), "ResultsServiceUrl");
    }
    return NULL;
}

static char *branch(const char *name)
{
    return !name ? NULL : wh_starts_with(name, "refs/") ? wh_strdup(name) : wh_printf("refs/heads/%s", name);
}

/* ---- the token ---- */

static cJSON *claims_of(const char *token)
{
    const char *dot = token ? strchr(token, '.') : NULL;
    const char *end = dot ? strchr(dot + 1, '.') : NULL;
    wh_autostr text = {0};
    if (!end || strlen(token) > WH_MAX_SERVE_TOKEN || !wh_unbase64(dot + 1, (size_t)(end - dot - 1), &text))
        return NULL;
    return wh_json_parse(wh_str_text(&text), text.len, WH_MAX_SERVE_TOKEN, "the job's token", NULL);
}

static void add_scope(cJSON *scopes, const char *scope, int64_t permission)
{
    const cJSON *item;
    if (!scope || cJSON_GetArraySize(scopes) >= WH_MAX_CACHE_SCOPES || strlen(scope) > 1024)
        return;
    cJSON_ArrayForEach(item, scopes)
    {
        if (wh_streq(wh_json_string(item, "scope"), scope))
            return;
    }
    cJSON *added = cJSON_CreateObject();
    wh_json_add_string(added, "scope", scope);
    wh_json_add_int(added, "permission", permission & (WH_CACHE_READ | WH_CACHE_WRITE));
    cJSON_AddItemToArray(scopes, added);
}

/* False: the token says nothing of it. */
static bool scopes_by_token(const cJSON *claims, cJSON *scopes)
{
    const char *ac = wh_json_string(claims, "ac");
    if (!ac)
        return false;
    wh_autojson *list = wh_json_parse(ac, strlen(ac), WH_MAX_SERVE_TOKEN, "the token's ac", NULL);
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
        add_scope(scopes, wh_json_string(item, "Scope"), wh_json_int(item, "Permission", 0));
    return cJSON_IsArray(list);
}

/* Events that anybody can set going while they run on the default branch. */
static bool is_foreign_event(const char *event)
{
    static const char *const names[] = {"pull_request_target", "issue_comment",      "workflow_run", "issues",
                                        "discussion",          "discussion_comment", "fork",         "watch"};
    for (size_t i = 0; i < WH_COUNT(names); i++)
        if (wh_streq(names[i], event))
            return true;
    return false;
}

static void scopes_by_event(const cJSON *message, bool local, cJSON *scopes)
{
    const cJSON *github = github_of(message);
    const char *event = text_of(member(github, "event_name"));
    const char *ref = text_of(member(github, "ref"));
    const cJSON *repository = member(member(github, "event"), "repository");
    wh_autofree char *base = branch(text_of(member(github, "base_ref")));
    wh_autofree char *standard = branch(text_of(member(repository, "default_branch")));
    bool reads = !local && is_foreign_event(event);
    add_scope(scopes, ref ? ref : "refs/heads/main", reads ? WH_CACHE_READ : WH_CACHE_READ | WH_CACHE_WRITE);
    add_scope(scopes, base, WH_CACHE_READ);
    add_scope(scopes, standard, WH_CACHE_READ);
}

/* "Actions.Results:RUN:JOB" among the words of scp. */
static void add_backends(const cJSON *claims, cJSON *out)
{
    const char *scp = wh_json_string(claims, "scp");
    wh_autostrv char **words = scp ? wh_strv_split(scp, ' ') : NULL;
    for (size_t i = 0; words && words[i]; i++) {
        wh_autostrv char **parts = wh_strv_split(words[i], ':');
        if (wh_strv_len(parts) != 3 || !wh_streq(parts[0], "Actions.Results") || wh_json_get(out, "run"))
            continue;
        wh_json_add_string(out, "run", parts[1]);
        wh_json_add_string(out, "job", parts[2]);
    }
}

cJSON *wh_serve_rights(const char *id, const cJSON *message, const char *token, bool local)
{
    struct wh_digest digest;
    wh_autojson *claims = claims_of(token);
    const char *repository = text_of(member(github_of(message), "repository"));
    wh_digest_of(token, strlen(token), &digest);
    wh_autofree char *hash = wh_hex(digest.bytes, sizeof(digest.bytes));
    cJSON *out = cJSON_CreateObject();
    wh_json_add_string(out, "type", "job");
    wh_json_add_string(out, "id", id);
    wh_json_add_string(out, "token", hash);
    wh_json_add_int(out, "expires", wh_json_int(claims, "exp", 0));
    wh_json_add_string(out, "repository",
                       repository ? repository
                       : local    ? "local/local"
                                  : "unknown/unknown");
    cJSON *scopes = cJSON_AddArrayToObject(out, "scopes");
    if (local || !scopes_by_token(claims, scopes))
        scopes_by_event(message, local, scopes);
    add_backends(claims, out);
    if (!local)
        wh_json_add_string(out, "results", results_of(message));
    return out;
}

/* ---- a token of ours ---- */

static char *segment(const cJSON *json)
{
    wh_autofree char *text = wh_json_print(json);
    return wh_base64url(text, strlen(text));
}

/* The rights in it are for the clients' eyes; ours stand in the frame. */
static char *rights_claim(const cJSON *message)
{
    wh_autojson *scopes = cJSON_CreateArray();
    wh_autojson *list = cJSON_CreateArray();
    const cJSON *item;
    scopes_by_event(message, true, scopes);
    cJSON_ArrayForEach(item, scopes)
    {
        cJSON *pair = cJSON_CreateObject();
        wh_json_add_string(pair, "Scope", wh_json_string(item, "scope"));
        wh_json_add_int(pair, "Permission", wh_json_int(item, "permission", 0));
        cJSON_AddItemToArray(list, pair);
    }
    return wh_json_print(list);
}

char *wh_serve_make_token(const cJSON *message, const char *run)
{
    unsigned char random[32];
    char job[37];
    int64_t now = wh_now_ns() / 1000000000;
    const char *id = wh_json_string(message, "jobId");
    wh_autofree char *scp = wh_printf("Actions.Results:%s:%s", run, id ? id : wh_guid(job));
    wh_autofree char *ac = rights_claim(message);
    wh_autojson *header = cJSON_CreateObject();
    wh_autojson *claims = cJSON_CreateObject();
    wh_json_add_string(header, "alg", "HS256");
    wh_json_add_string(header, "typ", "JWT");
    wh_json_add_string(claims, "ac", ac);
    wh_json_add_string(claims, "scp", scp);
    wh_json_add_int(claims, "nbf", now - 60);
    wh_json_add_int(claims, "exp", now + LOCAL_SECONDS);
    randombytes_buf(random, sizeof(random));
    wh_autofree char *a = segment(header);
    wh_autofree char *b = segment(claims);
    wh_autofree char *c = wh_base64url(random, sizeof(random));
    sodium_memzero(random, sizeof(random));
    return wh_printf("%s.%s.%s", a, b, c);
}
