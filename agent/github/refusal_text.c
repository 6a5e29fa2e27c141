/* The sentence of each refusal: what it means, and what to do. */
#include <stdio.h>

#include "github/rest.h"
#include "wherry/base/clock.h"

static bool by_runner_token(const struct gh_rest_call *call)
{
    switch (call->purpose) {
    case GH_FOR_RUNNER_TOKEN:
    case GH_FOR_JIT:
    case GH_FOR_INSTALLATION:
    case GH_FOR_APP_TOKEN:
        return false;
    default:
        return true;
    }
}

static const char *token_name(const struct gh_rest_call *call)
{
    if (by_runner_token(call))
        return call->purpose == GH_FOR_TENANT_REMOVE || call->purpose == GH_FOR_REMOVE ? "remove token"
                                                                                       : "registration token";
    return call->by_app ? "App's token" : "personal access token";
}

static const char *url_of(const struct gh_rest_call *call)
{
    return call->scope ? call->scope->url : "this server";
}

static char *rate_limit(const struct gh_facts *f, int64_t now_s)
{
    char when[40], length[32];
    int64_t reset = f->limit_reset_s;
    if (f->retry_after_s >= 0)
        reset = now_s + f->retry_after_s;
    if (reset <= now_s)
        return wh_strdup(
            "GitHub's rate limit is used up; it did not say until when. Try again in some minutes");
    int64_t wait = WH_MIN(reset - now_s, INT64_C(864000));
    return wh_printf("GitHub's rate limit is used up until %s, for %s more. Try again then",
                     wh_time_iso(reset * INT64_C(1000000000), 0, when),
                     wh_duration_text((uint64_t)wait * UINT64_C(1000000000), length));
}

static char *unknown_token(const struct gh_rest_call *call)
{
    if (by_runner_token(call))
        return wh_printf(
            "GitHub does not know this %s for %s: it is mistyped, of another repository or "
            "organisation, or older than the hour that such tokens live. Get a new one at Settings "
            "> Actions > Runners",
            token_name(call), url_of(call));
    if (call->by_app)
        return wh_printf("GitHub does not take the App's token for %s", url_of(call));
    return wh_strdup(
        "GitHub does not know this personal access token: it is mistyped, revoked or expired. Look "
        "at Settings > Developer settings > Personal access tokens");
}

static char *no_rights(const struct gh_rest_call *call)
{
    static const char *const scopes[] = {
        "the scope repo (classic), or Administration: write (fine-grained)",
        "the scope admin:org (classic), or Self-hosted runners: write (fine-grained)",
        "the scope manage_runners:enterprise (classic)",
    };
    static const char *const app_rights[] = {"the repository permission Administration: write",
                                             "the organisation permission Self-hosted runners: write",
                                             "the enterprise permission Self-hosted runners: write"};
    enum wh_scope scope = call->scope ? call->scope->scope : WH_SCOPE_REPOSITORY;
    if (by_runner_token(call))
        return wh_printf("this %s may not do that at %s: who made it has no admin right there (any more)",
                         token_name(call), url_of(call));
    if (call->by_app)
        return wh_printf("the App may not administer runners of %s: it needs %s, granted by the owner of the "
                         "installation",
                         url_of(call), app_rights[scope]);
    return wh_printf(
        "this personal access token may not administer runners of %s: it needs %s, and its owner "
        "the admin right there",
        url_of(call), scopes[scope]);
}

static char *not_found(const struct gh_rest_call *call)
{
    if (call->purpose == GH_FOR_REMOVE)
        return wh_printf("GitHub knows no such runner at %s", url_of(call));
    return wh_printf(
        "there is no %s %s, or this %s may not see it (GitHub makes no difference). Check the URL, "
        "and that the token is of it",
        call->scope ? wh_scope_text(call->scope->scope) : "repository", url_of(call), token_name(call));
}

static char *version_refused(const struct gh_rest_call *call)
{
    return wh_printf(
        "GitHub takes no runners of version %s any more: leave --runner-version away, so that the "
        "newest official release is named, or name a newer one",
        call->version ? call->version : "as old as this");
}

static char *of_app(enum gh_refusal refusal, const struct gh_rest_call *call)
{
    switch (refusal) {
    case GH_REFUSED_APP_KEY:
        return wh_strdup(
            "GitHub does not take the App's signature: the private key file is not this App's, or "
            "the key was deleted. Make a new one on the App's page, and check its id");
    case GH_REFUSED_APP_ID:
        return wh_strdup(
            "GitHub knows no App of this id: give the App ID or the client id from the App's page");
    case GH_REFUSED_SUSPENDED:
        return wh_printf("the App's installation is suspended: the owner of %s must lift that", url_of(call));
    default:
        return wh_printf(
            "the App has no such installation at %s: install it there, or check the installation's "
            "id (without one it is looked up)",
            url_of(call));
    }
}

static char *sso(const struct gh_facts *f)
{
    if (f->sso_url && *f->sso_url)
        return wh_printf("this token is not authorised for the organisation's single sign-on: do that at %s",
                         f->sso_url);
    return wh_strdup(
        "this token is not authorised for the organisation's single sign-on: do that at Settings > "
        "Developer settings > Personal access tokens > Configure SSO");
}

char *gh_refusal_sentence(enum gh_refusal refusal, const struct gh_facts *f, const struct gh_rest_call *call,
                          int64_t now_s)
{
    switch (refusal) {
    case GH_REFUSED_RATE_LIMIT:
        return rate_limit(f, now_s);
    case GH_REFUSED_TOKEN:
        return unknown_token(call);
    case GH_REFUSED_EXPIRED:
        if (by_runner_token(call))
            return wh_printf("this %s has expired: such tokens live one hour. Get a new one at Settings > "
                             "Actions > Runners",
                             token_name(call));
        return wh_printf("this %s has expired: get a new one", token_name(call));
    case GH_REFUSED_NOT_FOUND:
        return not_found(call);
    case GH_REFUSED_NAME_TAKEN:
        return wh_printf("a runner named \"%s\" is registered at %s already. Use %sanother --name",
                         call->name ? call->name : "", url_of(call),
                         call->purpose == GH_FOR_JIT ? "" : "--replace to take its place, or ");
    case GH_REFUSED_RIGHTS:
        return no_rights(call);
    case GH_REFUSED_SSO:
        return sso(f);
    case GH_REFUSED_IP:
        return wh_printf("the IP allow list of %s does not have this machine's address", url_of(call));
    case GH_REFUSED_VERSION:
        return version_refused(call);
    case GH_REFUSED_RUNNER_BUSY:
        return wh_printf(
            "runner \"%s\" runs a job, and GitHub removes none that do: wait for its end, or cancel "
            "the job",
            call->name ? call->name : "");
    case GH_REFUSED_GROUP:
        return wh_strdup(
            "the runner group is gone, or may not be used here: name another with --runnergroup");
    case GH_REFUSED_INVALID:
        return wh_strdup("GitHub does not take a value of this registration");
    case GH_REFUSED_CLOCK:
        return wh_strdup(
            "this machine's clock differs from GitHub's by more than the signature allows: set it "
            "(timedatectl set-ntp true) and try again");
    case GH_REFUSED_APP_KEY:
    case GH_REFUSED_APP_ID:
    case GH_REFUSED_SUSPENDED:
    case GH_REFUSED_INSTALLATION:
        return of_app(refusal, call);
    case GH_REFUSED_ELSEWHERE:
        return wh_strdup(
            "the server redirects to another host, where credentials do not go: give the URL of the "
            "host that answers");
    case GH_REFUSED_NO_API:
        return wh_printf(
            "%s does not answer as GitHub does: check the URL (a proxy or a login page may stand "
            "before it)",
            call->scope ? call->scope->host : "the server");
    case GH_REFUSED:
        break;
    }
    return wh_strdup("GitHub refuses");
}
