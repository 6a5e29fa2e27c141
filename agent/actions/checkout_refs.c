/* Which refs are fetched, whether they are what the event said, and what is checked out (actions.md §2.1,
 * §2.2). */
#include <stdio.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "actions/checkout.h"
#include "wherry/base/fs.h"
#include "wherry/base/json.h"
#include "wherry/base/secret.h"
#include "wherry/git/repo.h"
#include "wherry/net/http.h"

#define TAGS "+refs/tags/*:refs/tags/*"
#define MAX_ANSWER ((size_t)4 << 20)
#define TRIES 3

enum kind { KIND_COMMIT, KIND_BRANCH, KIND_PULL, KIND_TAG, KIND_OTHER, KIND_UNQUALIFIED };

static enum kind kind_of(const struct checkout *c)
{
    if (!c->ref[0])
        return KIND_COMMIT;
    if (wh_starts_with_ci(c->ref, "refs/heads/"))
        return KIND_BRANCH;
    if (wh_starts_with_ci(c->ref, "refs/pull/"))
        return KIND_PULL;
    if (wh_starts_with_ci(c->ref, "refs/tags/"))
        return KIND_TAG;
    return wh_starts_with_ci(c->ref, "refs/") ? KIND_OTHER : KIND_UNQUALIFIED;
}

/* What follows refs/heads/, refs/pull/ or refs/tags/. */
static const char *short_name(const struct checkout *c, enum kind kind)
{
    return c->ref +
           (kind == KIND_BRANCH ? strlen("refs/heads/") : strlen("refs/pull/")); /* refs/tags/ is as long */
}

/* ---- the REST API ---- */

/* GET <api>/repos/O/R<rest>; *status is 0 where no answer came. */
static cJSON *ask(struct checkout *c, const char *rest, int *status, struct wh_error *err)
{
    *status = 0;
    struct wh_http_client *client = wh_http_client_new_private(NULL, err);
    if (!client)
        return NULL;
    const char *path = c->url + strlen(c->origin); /* "/O/R", encoded */
    wh_autofree char *url = wh_printf("%s/repos%s%s", c->api, path, rest);
    wh_autosecret *token = wh_secret_new(c->token, strlen(c->token));
    cJSON *json = NULL;
    {
        wh_autohttp *r = wh_http_new(client, "GET", url);
        wh_http_header(r, "Accept", "application/vnd.github.v3+json");
        wh_http_secret_header(r, "Authorization", "token ", token);
        wh_http_redirects(r, WH_HTTP_REDIRECT_FOLLOW);
        wh_http_max_body(r, MAX_ANSWER);
        if (wh_http_do(r, err) == 0) {
            *status = wh_http_status(r);
            if (wh_http_check(r, err) == 0)
                json = wh_http_response_json(r, err);
        }
    }
    wh_http_client_free(client);
    return json;
}

static char *ask_default_branch(struct checkout *c, struct wh_error *err)
{
    wh_action_print("Retrieving the default branch name");
    int status;
    wh_autoerror problem = {0};
    wh_autojson *json = ask(c, "", &status, &problem);
    const char *name = json ? wh_json_string(json, "default_branch") : NULL;
    if (name && name[0])
        return wh_strdup(name);
    if (status == 404 && wh_ends_with(c->name, ".wiki"))
        return wh_strdup("master");
    if (json)
        wh_fail(err, WH_E_PROTOCOL, "default_branch cannot be empty");
    else
        wh_error_move(err, &problem);
    return NULL;
}

int checkout_default_branch(struct checkout *c, struct wh_error *err)
{
    wh_action_group("Determining the default branch");
    for (int i = 1;; i++) {
        wh_autoerror problem = {0};
        wh_autofree char *name = ask_default_branch(c, &problem);
        if (name) {
            wh_action_print("Default branch '%s'", name);
            free(c->ref);
            c->ref = wh_printf("%s%s", wh_starts_with(name, "refs/") ? "" : "refs/heads/", name);
            wh_action_group_end();
            return 0;
        }
        if (i == TRIES)
            return wh_error_move(err, &problem);
        wh_action_print("%s", wh_error_text(&problem));
        checkout_wait();
    }
}

char *checkout_object_format(struct checkout *c)
{
    if (c->commit[0])
        return wh_strdup(strlen(c->commit) == 64 ? "sha256" : "");
    int status;
    wh_autojson *json = ask(c, "/hash-algorithm", &status, NULL);
    const char *name = json ? wh_json_string(json, "hash_algorithm") : NULL;
    return wh_strdup(wh_streq(name, "sha256") ? name : "");
}

/* ---- fetching ---- */

static bool strict(const struct checkout *c)
{
    return checkout_at_least(c, 6, 0, 2);
}

static void specs_all(const struct checkout *c, char ***specs)
{
    wh_strv_add(specs, "+refs/heads/*:refs/remotes/origin/*");
    wh_strv_add(specs, TAGS);
    if (kind_of(c) == KIND_PULL)
        wh_strv_take(specs, wh_printf("+%s:refs/remotes/pull/%s", c->commit[0] ? c->commit : c->ref,
                                      short_name(c, KIND_PULL)));
}

static void specs_wanted(const struct checkout *c, bool all_tags, char ***specs)
{
    enum kind kind = kind_of(c);
    const char *what = c->commit[0] ? c->commit : c->ref;
    if (all_tags)
        wh_strv_add(specs, TAGS);
    if (kind == KIND_COMMIT) {
        wh_strv_add(specs, c->commit);
    } else if (kind == KIND_BRANCH) {
        wh_strv_take(specs, wh_printf("+%s:refs/remotes/origin/%s", what, short_name(c, kind)));
    } else if (kind == KIND_PULL) {
        wh_strv_take(specs, wh_printf("+%s:refs/remotes/pull/%s", what, short_name(c, kind)));
    } else if (kind == KIND_TAG) {
        if (!all_tags)
            wh_strv_take(specs, wh_printf("+%s:%s", strict(c) ? c->ref : what, c->ref));
    } else if (c->commit[0]) {
        wh_strv_add(specs, c->commit);
    } else if (kind == KIND_OTHER) {
        wh_strv_take(specs, wh_printf("+%s:%s", c->ref, c->ref));
    } else {
        wh_strv_take(specs, wh_printf("+refs/heads/%s*:refs/remotes/origin/%s*", c->ref, c->ref));
        if (!all_tags)
            wh_strv_take(specs, wh_printf("+refs/tags/%s*:refs/tags/%s*", c->ref, c->ref));
    }
}

static int fetch(struct checkout *c, char *const *specs, struct wh_error *err)
{
    wh_autostrv char **args = NULL;
    const char *const first[] = {"-c", "protocol.version=2", "fetch"};
    for (size_t i = 0; i < WH_COUNT(first); i++)
        wh_strv_add(&args, first[i]);
    /* Before 6.0.2 tags came along where they were asked for; since then they are named. */
    bool with_tags = !strict(c) && (wh_strv_has(specs, TAGS) || (c->depth > 0 && c->fetch_tags));
    if (!with_tags)
        wh_strv_add(&args, "--no-tags");
    wh_strv_add(&args, "--prune");
    if (c->version.major == 3)
        wh_strv_add(&args, "--progress");
    wh_strv_add(&args, "--no-recurse-submodules");
    if (c->filter[0])
        wh_strv_take(&args, wh_printf("--filter=%s", c->filter));
    wh_autofree char *shallow = wh_path_join(c->gitdir, "shallow");
    if (c->depth > 0)
        wh_strv_take(&args, wh_printf("--depth=%lld", (long long)c->depth));
    else if (access(shallow, F_OK) == 0)
        wh_strv_add(&args, "--unshallow");
    wh_strv_add(&args, "origin");
    for (char *const *s = specs; *s; s++)
        wh_strv_add(&args, *s);
    wh_strv_free(c->fetched);
    c->fetched = wh_strv_dup(specs);
    if (checkout_fetched_before(c, specs)) {
        checkout_echo(c, (const char *const *)args);
        wh_action_print("The commit is here already: nothing was fetched");
        return 0;
    }
    return checkout_git_retry(c, err, (const char *const *)args);
}

/* ---- looking at what came ---- */

/* Names that git's patterns and its own files know in the same way. */
static bool is_plain_name(const char *name)
{
    return !strpbrk(name, "*?[\\ \t\n~^:") && !strstr(name, "..") && !strstr(name, "//") && name[0] != '\0';
}

/* `branch --list --remote origin/B` or `tag --list T`: is it there? */
static int listed(struct checkout *c, const char *full, const char *shown, const char *const *args,
                  struct wh_error *err)
{
    wh_autofree char *object = NULL;
    int there = c->may_answer && is_plain_name(full) ? wh_git_ref(c->gitdir, full, &object, NULL) : -1;
    if (there >= 0) {
        checkout_echo(c, args);
        if (there)
            wh_action_print("%s", shown);
        return there;
    }
    wh_autostr out = {0};
    if (checkout_git(c, 0, &out, err, args) < 0)
        return -1;
    return wh_view_trim((struct wh_view){wh_str_text(&out), out.len}).len > 0;
}

static int branch_there(struct checkout *c, const char *branch, struct wh_error *err)
{
    wh_autofree char *full = wh_printf("refs/remotes/origin/%s", branch);
    wh_autofree char *pattern = wh_printf("origin/%s", branch);
    wh_autofree char *shown = wh_printf("  %s", pattern);
    return listed(c, full, shown, (const char *const[]){"branch", "--list", "--remote", pattern, NULL}, err);
}

static int tag_there(struct checkout *c, const char *tag, struct wh_error *err)
{
    wh_autofree char *full = wh_printf("refs/tags/%s", tag);
    return listed(c, full, tag, (const char *const[]){"tag", "--list", tag, NULL}, err);
}

/* 1 if `rev-parse REF` (what may be asked with a suffix) is the expected commit. */
static int is_commit_of(struct checkout *c, const char *ref, const char *suffix, struct wh_error *err)
{
    wh_autofree char *asked = wh_printf("%s%s", ref, suffix);
    wh_autofree char *object = NULL;
    int there = c->may_answer && is_plain_name(ref) ? wh_git_ref(c->gitdir, ref, &object, NULL) : -1;
    /* Another object may still lead to the commit (an annotated tag): git knows. */
    if (there == 1 && (suffix[0] == '\0' || wh_streq(object, c->commit))) {
        CHECKOUT_ECHO(c, "rev-parse", asked);
        wh_action_print("%s", object);
        return wh_streq(object, c->commit);
    }
    wh_autostr out = {0};
    if (CHECKOUT_GIT(c, 0, &out, err, "rev-parse", asked) < 0)
        return -1;
    return wh_view_eq(wh_view_trim((struct wh_view){wh_str_text(&out), out.len}), c->commit);
}

/* 1 as expected (or nothing to compare), 0 not. */
static int verify(struct checkout *c, struct wh_error *err)
{
    enum kind kind = kind_of(c);
    if (!c->commit[0])
        return 1;
    if (kind == KIND_COMMIT) {
        wh_autofree char *object = wh_printf("%s^{object}", c->commit);
        int code = CHECKOUT_GIT(c, CHECKOUT_ANY, NULL, err, "rev-parse", "--verify", "--quiet", object);
        return code < 0 ? -1 : code == 0;
    }
    if (kind != KIND_BRANCH && kind != KIND_TAG)
        return 1;
    const char *name = short_name(c, kind);
    int rc = kind == KIND_BRANCH ? branch_there(c, name, err) : tag_there(c, name, err);
    if (rc != 1)
        return rc;
    if (kind == KIND_TAG)
        return is_commit_of(c, c->ref, strict(c) ? "^{commit}" : "", err);
    wh_autofree char *full = wh_printf("refs/remotes/origin/%s", name);
    return is_commit_of(c, full, "", err);
}

static int moved(const struct checkout *c, struct wh_error *err)
{
    return wh_fail(err, WH_E_FAILED,
                   "The ref '%s' does not point to the expected commit '%s'. The ref may have been updated "
                   "after the workflow was "
                   "triggered.",
                   c->ref, c->commit);
}

int checkout_fetch(struct checkout *c, struct wh_error *err)
{
    wh_action_group("Fetching the repository");
    wh_autostrv char **specs = NULL, **wanted = NULL;
    int as_expected = 1;
    if (c->depth == 0) {
        specs_all(c, &specs);
        if (fetch(c, specs, err) < 0 || (as_expected = verify(c, err)) < 0)
            return -1;
        if (!as_expected) { /* pushed to since: get the very commit */
            specs_wanted(c, false, &wanted);
            if (fetch(c, wanted, err) < 0 || (strict(c) && (as_expected = verify(c, err)) < 0))
                return -1;
        }
    } else {
        specs_wanted(c, strict(c) && c->fetch_tags, &specs);
        if (fetch(c, specs, err) < 0 || (strict(c) && (as_expected = verify(c, err)) < 0))
            return -1;
    }
    if (strict(c) && !as_expected)
        return moved(c, err);
    wh_action_group_end();
    return 0;
}

/* ---- checking out ---- */

int checkout_target(struct checkout *c, char **target, char **start, struct wh_error *err)
{
    enum kind kind = kind_of(c);
    *start = NULL;
    wh_action_group("Determining the checkout info");
    int rc = 0;
    if (kind == KIND_COMMIT) {
        *target = wh_strdup(c->commit);
    } else if (kind == KIND_BRANCH) {
        *target = wh_strdup(short_name(c, kind));
        *start = wh_printf("refs/remotes/origin/%s", *target);
    } else if (kind == KIND_PULL) {
        *target = wh_printf("refs/remotes/pull/%s", short_name(c, kind));
    } else if (kind == KIND_TAG) {
        *target = wh_strdup(c->ref);
    } else if (kind == KIND_OTHER) {
        *target = wh_strdup(c->commit[0] ? c->commit : c->ref);
    } else if ((rc = branch_there(c, c->ref, err)) == 1) {
        *target = wh_strdup(c->ref);
        *start = wh_printf("refs/remotes/origin/%s", c->ref);
    } else if (rc == 0 && (rc = tag_there(c, c->ref, err)) == 1) {
        *target = wh_printf("refs/tags/%s", c->ref);
    } else {
        return rc < 0 ? -1
                      : wh_fail(err, WH_E_NOT_FOUND, "A branch or tag with the name '%s' could not be found",
                                c->ref);
    }
    wh_action_group_end();
    return 0;
}

int checkout_commit(struct checkout *c, char **commit, struct wh_error *err)
{
    const char *format = c->version.major == 3 ? "--format='%H'" : "--format=%H";
    const char *quote = c->version.major == 3 ? "'" : "";
    wh_autofree char *object = NULL;
    if (c->may_answer && wh_git_ref(c->gitdir, "HEAD", &object, NULL) == 1) {
        CHECKOUT_ECHO(c, "log", "-1", format);
        wh_action_print("%s%s%s", quote, object, quote);
        *commit = wh_steal(&object);
        return 0;
    }
    wh_autostr out = {0};
    if (CHECKOUT_GIT(c, 0, &out, err, "log", "-1", format) < 0)
        return -1;
    *commit = wh_view_dup(wh_view_trim((struct wh_view){wh_str_text(&out), out.len}));
    return 0;
}
