/* From a GitHub URL to the addresses of its API (runner-protocol.md §1.1). */
#include <curl/curl.h>
#include <stdio.h>

#include "wherry/github/register.h"

#define MAX_URL_CHARS 2048

void wh_github_url_clear(struct wh_github_url *u)
{
    free(u->url);
    free(u->host);
    free(u->owner);
    free(u->repo);
    free(u->api);
    free(u->entity);
    memset(u, 0, sizeof *u);
}

const char *wh_scope_text(enum wh_scope scope)
{
    static const char *const names[] = {"repository", "organisation", "enterprise"};
    return names[scope];
}

static bool is_hosted(const char *host)
{
    return wh_streq_ci(host, "github.com") || wh_streq_ci(host, "www.github.com") ||
           wh_streq_ci(host, "github.localhost") || wh_ends_with(host, ".ghe.com") ||
           wh_ends_with(host, ".ghe.localhost");
}

static bool name_ok(const char *name)
{
    return name && *name &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
               strlen(name) &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* ---- the parts ---- */

struct parts {
    char *scheme, *host, *port, *path, *user; /* libcurl's */
    char **names;                             /* of the path */
};

static void parts_clear(struct parts *p)
{
    curl_free(p->scheme);
    curl_free(p->host);
    curl_free(p->port);
    curl_free(p->path);
    curl_free(p->user);
    wh_strv_free(p->names);
}

static bool parts_read(const char *url, struct parts *p)
{
    CURLU *parsed = curl_url();
    bool ok = url && strlen(url) <= MAX_URL_CHARS &&
              curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
              curl_url_get(parsed, CURLUPART_SCHEME, &p->scheme, 0) == CURLUE_OK &&
              curl_url_get(parsed, CURLUPART_HOST, &p->host, 0) == CURLUE_OK &&
              curl_url_get(parsed, CURLUPART_PATH, &p->path, 0) == CURLUE_OK;
    if (ok) {
        curl_url_get(parsed, CURLUPART_PORT, &p->port, 0);
        curl_url_get(parsed, CURLUPART_USER, &p->user, 0);
        wh_ascii_lower(p->host);
        wh_autostrv char **all = wh_strv_split(p->path, '/');
        for (char **name = all; *name; name++)
            if (**name)
                wh_strv_add(&p->names, *name);
    }
    curl_url_cleanup(parsed);
    return ok && (wh_streq_ci(p->scheme, "https") || wh_streq_ci(p->scheme, "http"));
}

/* ---- what is wrong with it ---- */

static int fail_shape(const char *url, struct wh_error *err)
{
    return wh_fail(err, WH_E_ARGUMENT,
                   "\"%.200s\" is not the URL of a repository, an organisation or an enterprise: give "
                   "https://github.com/OWNER/REPO, https://github.com/ORG or "
                   "https://github.com/enterprises/NAME",
                   url ? url : "");
}

/* A page of GitHub's that a user may have copied from the browser; what it should have been. */
static char *guess(const struct parts *p)
{
    char **n = p->names;
    size_t count = wh_strv_len(n);
    const char *colon = p->port ? ":" : "", *port = p->port ? p->port : "";
    if (count >= 2 && (wh_streq_ci(n[0], "orgs") || wh_streq_ci(n[0], "organizations")) && name_ok(n[1]))
        return wh_printf("%s://%s%s%s/%s", p->scheme, p->host, colon, port, n[1]);
    if (count > 2 && wh_streq_ci(n[0], "enterprises") && name_ok(n[1]))
        return wh_printf("%s://%s%s%s/enterprises/%s", p->scheme, p->host, colon, port, n[1]);
    if (count > 2 && name_ok(n[0]) && name_ok(n[1]))
        return wh_printf("%s://%s%s%s/%s/%s", p->scheme, p->host, colon, port, n[0], n[1]);
    return NULL;
}

/* First words of paths that belong to GitHub's own pages, never to an owner. */
static bool is_page(const char *name)
{
    static const char *const pages[] = {"settings", "users",  "login",    "notifications", "explore",
                                        "topics",   "search", "features", "marketplace",   "apps"};
    for (size_t i = 0; i < WH_COUNT(pages); i++)
        if (wh_streq_ci(name, pages[i]))
            return true;
    return false;
}

static int check_parts(const char *url, const struct parts *p, struct wh_error *err)
{
    size_t count = p->names ? wh_strv_len(p->names) : 0;
    if (p->user)
        return wh_fail(err, WH_E_ARGUMENT,
                       "the URL holds a user name or password: give it without (tokens have --token-file and "
                       "--pat)");
    if (is_hosted(p->host) && wh_streq_ci(p->scheme, "http") && !wh_ends_with(p->host, "localhost"))
        return wh_fail(err, WH_E_ARGUMENT,
                       "\"%.200s\": http would show the token to everybody on the way; give https", url);
    if (count == 0)
        return wh_fail(err, WH_E_ARGUMENT,
                       "\"%.200s\" names a server only: append /OWNER/REPO, /ORG or /enterprises/NAME", url);
    if (is_page(p->names[0]))
        return wh_fail(err, WH_E_ARGUMENT,
                       "\"%.200s\" is a page of GitHub's, or of a user: runners belong to a repository "
                       "(https://github.com/OWNER/REPO), an organisation (https://github.com/ORG) or an "
                       "enterprise (https://github.com/enterprises/NAME)",
                       url);
    bool orgs = wh_streq_ci(p->names[0], "orgs") || wh_streq_ci(p->names[0], "organizations");
    if (count > 2 || orgs || (count == 1 && wh_streq_ci(p->names[0], "enterprises"))) {
        wh_autofree char *better = guess(p);
        return better ? wh_fail(err, WH_E_ARGUMENT,
                                "\"%.200s\" is a page, not what runners belong to: give %s", url, better)
                      : fail_shape(url, err);
    }
    for (size_t i = 0; i < count; i++)
        if (!name_ok(p->names[i]))
            return fail_shape(url, err);
    return 0;
}

/* ---- the addresses ---- */

static void set_scope(const struct parts *p, struct wh_github_url *out)
{
    const char *first = p->names[0], *second = p->names[1]; /* check_parts() saw one or two */
    if (!second) {
        out->scope = WH_SCOPE_ORGANISATION;
        out->owner = wh_strdup(first);
        out->entity = wh_printf("%s/orgs/%s/actions", out->api, out->owner);
    } else if (wh_streq_ci(first, "enterprises")) {
        out->scope = WH_SCOPE_ENTERPRISE;
        out->owner = wh_strdup(second);
        out->entity = wh_printf("%s/enterprises/%s/actions", out->api, out->owner);
    } else {
        size_t len = strlen(second);
        /* The address for git: no repository's name ends so. */
        if (len > 4 && wh_ends_with(second, ".git"))
            len -= 4;
        out->scope = WH_SCOPE_REPOSITORY;
        out->owner = wh_strdup(first);
        out->repo = wh_strndup(second, len);
        out->entity = wh_printf("%s/repos/%s/%s/actions", out->api, out->owner, out->repo);
    }
}

static void set_addresses(const struct parts *p, struct wh_github_url *out)
{
    wh_autofree char *tail = p->port ? wh_printf(":%s", p->port) : wh_strdup("");
    const char *api_host = wh_starts_with(p->host, "www.") ? p->host + 4 : p->host;
    out->host = wh_strdup(p->host);
    out->hosted = is_hosted(p->host);
    out->api = out->hosted ? wh_printf("%s://api.%s%s", p->scheme, api_host, tail)
                           : wh_printf("%s://%s%s/api/v3", p->scheme, p->host, tail);
    set_scope(p, out);
    out->url = wh_printf("%s://%s%s/%s%s%s%s", p->scheme, p->host, tail,
                         out->scope == WH_SCOPE_ENTERPRISE ? "enterprises/" : "", out->owner,
                         out->repo ? "/" : "", out->repo ? out->repo : "");
}

int wh_github_url_parse(const char *url, struct wh_github_url *out, struct wh_error *err)
{
    struct parts p = {0};
    memset(out, 0, sizeof *out);
    int code = parts_read(url, &p) ? check_parts(url, &p, err) : fail_shape(url, err);
    if (code == 0 && p.names)
        set_addresses(&p, out);
    parts_clear(&p);
    return code;
}
