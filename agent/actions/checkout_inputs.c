/* checkout's inputs, and what they mean together (actions.md §2, §2.1). */
#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "actions/checkout.h"
#include "wherry/base/fs.h"
#include "wherry/base/json.h"

/* "true" in any case; everything else is false. */
static bool flag(struct checkout *c, const char *name, const char *absent)
{
    const char *text = wh_action_input(c->run, name);
    return wh_streq_ci(text[0] ? text : absent, "true");
}

static int unsupported(struct checkout *c, struct wh_error *err)
{
    const char *submodules = wh_action_input(c->run, "submodules");
    const char *input = NULL;
    if (wh_action_input(c->run, "ssh-key")[0])
        input = "ssh-key";
    else if (flag(c, "lfs", "false"))
        input = "lfs";
    else if (wh_streq_ci(submodules, "true") || wh_streq_ci(submodules, "recursive"))
        input = "submodules";
    else if (wh_action_input(c->run, "sparse-checkout")[0])
        input = "sparse-checkout";
    if (!input)
        return 0;
    return wh_fail(err, WH_E_UNSUPPORTED,
                   "Input '%s' of actions/checkout is not supported yet by wherry: take it away, or run this "
                   "job on another "
                   "runner",
                   input);
}

/* Folds "." and ".." as text, like path.resolve(). */
static char *resolve(const char *base, const char *path)
{
    wh_autofree char *joined = wh_path_join(base, path);
    wh_autostrv char **parts = wh_strv_split(joined, '/');
    wh_autostrv char **kept = NULL;
    size_t n = 0;
    for (char **p = parts; p && *p; p++) {
        if (**p == '\0' || strcmp(*p, ".") == 0)
            continue;
        if (strcmp(*p, "..") == 0) {
            if (n > 0) {
                free(kept[--n]);
                kept[n] = NULL;
            }
            continue;
        }
        wh_strv_add(&kept, *p);
        n++;
    }
    wh_autofree char *text = kept && n ? wh_strv_join(kept, "/") : wh_strdup("");
    return wh_printf("/%s", text);
}

static int paths(struct checkout *c, struct wh_error *err)
{
    const char *workspace = wh_action_env("GITHUB_WORKSPACE");
    if (!workspace[0])
        return wh_fail(err, WH_E_ARGUMENT, "GITHUB_WORKSPACE not defined");
    c->temp = wh_strdup(wh_action_env("RUNNER_TEMP"));
    if (!c->temp[0])
        return wh_fail(err, WH_E_ARGUMENT, "RUNNER_TEMP is not defined");
    c->workspace = resolve("/", workspace);
    struct stat st;
    if (stat(c->workspace, &st) < 0 || !S_ISDIR(st.st_mode))
        return wh_fail(err, WH_E_NOT_FOUND, "Directory '%s' does not exist", c->workspace);
    const char *path = wh_action_input(c->run, "path");
    c->path = resolve(c->workspace, path[0] ? path : ".");
    wh_autofree char *inside = wh_printf("%s/", c->path);
    wh_autofree char *above = wh_printf("%s/", c->workspace);
    if (!wh_starts_with(inside, above))
        return wh_fail(err, WH_E_ARGUMENT, "Repository path '%s' is not under '%s'", c->path, c->workspace);
    c->gitdir = wh_path_join(c->path, ".git");
    return 0;
}

/* "https://GitHub.com:443/x" -> scheme "https", host "github.com", port "" (or ":8443"). */
static int split_url(const char *url, char **scheme, char **host, char **port, struct wh_error *err)
{
    const char *rest = strstr(url, "://");
    if (!rest || rest == url)
        return wh_fail(err, WH_E_ARGUMENT, "Invalid URL '%s'", url);
    wh_autofree char *kind = wh_strndup(url, (size_t)(rest - url));
    wh_ascii_lower(kind);
    if (!wh_streq(kind, "https") && !wh_streq(kind, "http"))
        return wh_fail(err, WH_E_ARGUMENT, "Invalid URL '%s': neither https nor http", url);
    rest += 3;
    wh_autofree char *authority = wh_strndup(rest, strcspn(rest, "/?#"));
    char *at = strrchr(authority, '@');
    char *name = at ? at + 1 : authority;
    wh_ascii_lower(name);
    char *bracket = strchr(name, ']');
    char *colon = strchr(bracket ? bracket : name, ':');
    const char *number = colon ? colon + 1 : "";
    bool usual = (wh_streq(kind, "https") && wh_streq(number, "443")) ||
                 (wh_streq(kind, "http") && wh_streq(number, "80"));
    *port = colon && number[0] && !usual ? wh_printf(":%s", number) : wh_strdup("");
    if (colon)
        *colon = '\0';
    if (name[0] == '\0') {
        free(wh_steal(port));
        return wh_fail(err, WH_E_ARGUMENT, "Invalid URL '%s': no host", url);
    }
    *host = wh_strdup(name);
    *scheme = wh_steal(&kind);
    return 0;
}

static char *encode(const char *text)
{
    wh_autostr out = {0};
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (isalnum(*p) || strchr("-_.!~*'()", *p))
            wh_str_addc(&out, (char)*p);
        else
            wh_str_addf(&out, "%%%02X", *p);
    }
    return wh_str_steal(&out);
}

static int urls(struct checkout *c, struct wh_error *err)
{
    const char *given = wh_action_input(c->run, "github-server-url");
    const char *server = given[0] ? given : wh_action_env("GITHUB_SERVER_URL");
    wh_autofree char *scheme = NULL, *host = NULL, *port = NULL;
    if (split_url(server[0] ? server : "https://github.com", &scheme, &host, &port, err) < 0)
        return -1;
    c->origin = wh_printf("%s://%s%s", scheme, host, port);
    wh_autofree char *owner = encode(c->owner);
    wh_autofree char *name = encode(c->name);
    c->url = wh_printf("%s/%s/%s", c->origin, owner, name);
    c->token_key = wh_printf("http.%s/.extraheader", c->origin);
    bool ghes =
        !wh_streq(host, "github.com") && !wh_ends_with(host, ".ghe.com") && !wh_ends_with(host, ".localhost");
    const char *api = wh_action_env("GITHUB_API_URL");
    if (given[0])
        c->api = ghes ? wh_printf("%s/api/v3", c->origin) : wh_printf("%s://api.%s%s", scheme, host, port);
    else
        c->api = wh_strdup(api[0] ? api : "https://api.github.com");
    return 0;
}

static bool is_commit(const struct checkout *c, const char *text)
{
    size_t n = strspn(text, "0123456789abcdefABCDEF");
    if (text[n] != '\0')
        return false;
    return n == 40 || (n == 64 && checkout_at_least(c, 6, 0, 3));
}

static void choose_ref(struct checkout *c, bool own)
{
    const char *ref = wh_action_input(c->run, "ref");
    c->commit = wh_strdup("");
    if (ref[0] && is_commit(c, ref)) {
        free(wh_steal(&c->commit));
        c->commit = wh_strdup(ref);
        c->ref = wh_strdup("");
        return;
    }
    if (ref[0] || !own) {
        c->ref = wh_strdup(ref);
        return;
    }
    free(wh_steal(&c->commit));
    c->commit = wh_strdup(wh_action_env("GITHUB_SHA"));
    const char *event = wh_action_env("GITHUB_REF");
    bool bare = c->commit[0] && event[0] && !wh_starts_with(event, "refs/");
    c->ref = wh_printf("%s%s", bare ? "refs/heads/" : "", event);
}

/* Math.floor(Number(text)); what is no number or negative is 0. */
static int64_t depth_of(const char *text)
{
    char *end;
    double n = strtod(text[0] ? text : "1", &end);
    return *end != '\0' || !(n >= 1) || n > INT_MAX ? 0 : (int64_t)floor(n);
}

int checkout_inputs(struct checkout *c, struct wh_error *err)
{
    const char *own = wh_action_env("GITHUB_REPOSITORY");
    const char *repository = wh_action_input(c->run, "repository");
    if (!repository[0])
        repository = own;
    wh_autostrv char **parts = wh_strv_split(repository, '/');
    if (wh_strv_len(parts) != 2 || !parts[0][0] || !parts[1][0])
        return wh_fail(err, WH_E_ARGUMENT, "Invalid repository '%s'. Expected format {owner}/{repo}.",
                       repository);
    c->owner = wh_strdup(parts[0]);
    c->name = wh_strdup(parts[1]);
    if (paths(c, err) < 0 || urls(c, err) < 0)
        return -1;
    bool is_own = wh_streq_ci(repository, own);
    choose_ref(c, is_own);
    c->clean = flag(c, "clean", "true");
    c->filter = wh_strdup(wh_action_input(c->run, "filter"));
    c->depth = depth_of(wh_action_input(c->run, "fetch-depth"));
    c->fetch_tags = flag(c, "fetch-tags", "false");
    c->show_progress = flag(c, "show-progress", "true");
    c->persist = flag(c, "persist-credentials", "false");
    c->safe_directory = flag(c, "set-safe-directory", "true");
    c->token = wh_strdup(wh_action_input(c->run, "token"));
    if (!c->token[0])
        return wh_fail(err, WH_E_ARGUMENT, "Input required and not supplied: token");
    if (unsupported(c, err) < 0)
        return -1;
    if (is_own && !wh_action_input(c->run, "ref")[0])
        return 0;
    return checkout_guard(c, repository, err);
}

/* ---- the guard ---- */

static const cJSON *payload(const cJSON *event, const char *a, const char *b, const char *c, const char *d)
{
    const char *names[] = {a, b, c, d};
    for (size_t i = 0; i < WH_COUNT(names) && names[i] && event; i++)
        event = cJSON_GetObjectItemCaseSensitive(event, names[i]);
    return event;
}

static bool equals_ci(const cJSON *value, const char *text)
{
    return value && cJSON_IsString(value) && value->valuestring[0] && wh_streq_ci(value->valuestring, text);
}

/* refs/pull/N/head or refs/pull/N/merge */
static bool is_pull_ref(const char *ref)
{
    if (!wh_starts_with(ref, "refs/pull/"))
        return false;
    const char *number = ref + strlen("refs/pull/");
    size_t digits = strspn(number, "0123456789");
    return digits > 0 && (wh_streq(number + digits, "/head") || wh_streq(number + digits, "/merge"));
}

int checkout_guard(struct checkout *c, const char *repository, struct wh_error *err)
{
    bool known = c->version.major >= 7 || (c->version.major == 6 && c->version.minor >= 1) ||
                 (c->version.major == 5 && c->version.minor >= 1) ||
                 (c->version.major == 4 && c->version.minor >= 4) ||
                 (c->version.major == 3 && c->version.minor >= 7);
    const char *name = wh_action_env("GITHUB_EVENT_NAME");
    bool target = wh_streq(name, "pull_request_target"), run = wh_streq(name, "workflow_run");
    if (!known || (!target && !run) || flag(c, "allow-unsafe-pr-checkout", "false"))
        return 0;
    const cJSON *event = wh_action_event(c->run);
    const cJSON *base = payload(event, "repository", "id", NULL, NULL);
    const cJSON *head, *head_name, *sha1, *sha2;
    if (target) {
        head = payload(event, "pull_request", "head", "repo", "id");
        head_name = payload(event, "pull_request", "head", "repo", "full_name");
        sha1 = payload(event, "pull_request", "head", "sha", NULL);
        sha2 = payload(event, "pull_request", "merge_commit_sha", NULL, NULL);
    } else {
        const cJSON *kind = payload(event, "workflow_run", "event", NULL, NULL);
        if (!cJSON_IsString(kind) || !wh_starts_with(kind->valuestring, "pull_request"))
            return 0;
        head = payload(event, "workflow_run", "head_repository", "id", NULL);
        head_name = payload(event, "workflow_run", "head_repository", "full_name", NULL);
        sha1 = payload(event, "workflow_run", "head_commit", "id", NULL);
        bool of_target = wh_streq(kind->valuestring, "pull_request_target"); /* then head_sha is the base's */
        sha2 = of_target ? NULL : payload(event, "workflow_run", "head_sha", NULL, NULL);
    }
    if (!cJSON_IsNumber(base) || !cJSON_IsNumber(head) || base->valuedouble == head->valuedouble)
        return 0;
    if (!equals_ci(head_name, repository) && !is_pull_ref(c->ref) && !equals_ci(sha1, c->commit) &&
        !equals_ci(sha2, c->commit))
        return 0;
    return wh_fail(
        err, WH_E_DENIED,
        "Refusing to check out fork pull request code from a '%s' workflow. It would run with the rights, "
        "secrets and "
        "caches of the base repository, which is how \"pwn request\" attacks begin. After a look at "
        "https://gh.io/securely-using-pull_request_target, set 'allow-unsafe-pr-checkout: true' on the "
        "actions/checkout step to do it all the same.",
        name);
}

void checkout_free(struct checkout *c)
{
    char *owned[] = {c->owner,  c->name, c->origin,    c->api,         c->url,           c->workspace,
                     c->path,   c->temp, c->ref,       c->commit,      c->filter,        c->git,
                     c->gitdir, c->home, c->token_key, c->credentials, c->head_is_now_at};
    for (size_t i = 0; i < WH_COUNT(owned); i++)
        free(owned[i]);
    if (c->token)
        explicit_bzero(c->token, strlen(c->token));
    free(c->token);
    wh_strv_free(c->env);
    wh_strv_free(c->fetched);
    memset(c, 0, sizeof(*c));
}
