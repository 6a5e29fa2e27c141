/* From a GitHub URL to the addresses of its API (runner-protocol.md §1.1). */
#include <curl/curl.h>
#include <stdio.h>

#include "wherry/github/register.h"

void wh_github_url_clear(struct wh_github_url *u)
{
    free(u->url);
    free(u->api);
    free(u->entity);
    memset(u, 0, sizeof *u);
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

/* path without slashes at its ends, cut at each slash. */
static int set_entity(const char *path, struct wh_github_url *out)
{
    wh_autostrv char **parts = wh_strv_split(path, '/');
    size_t count = wh_strv_len(parts);
    for (size_t i = 0; i < count; i++)
        if (!name_ok(parts[i]))
            return -1;
    if (count == 1)
        out->entity = wh_printf("%s/orgs/%s/actions", out->api, parts[0]);
    else if (count == 2 && wh_streq_ci(parts[0], "enterprises"))
        out->entity = wh_printf("%s/enterprises/%s/actions", out->api, parts[1]);
    else if (count == 2)
        out->entity = wh_printf("%s/repos/%s/%s/actions", out->api, parts[0], parts[1]);
    else
        return -1;
    return 0;
}

static int parse_parts(CURLU *parsed, struct wh_github_url *out)
{
    char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL;
    int code = -1;
    curl_url_get(parsed, CURLUPART_PORT, &port, 0);
    if (curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_PATH, &path, 0) == CURLUE_OK &&
        (wh_streq_ci(scheme, "https") || wh_streq_ci(scheme, "http"))) {
        wh_ascii_lower(host);
        wh_autofree char *tail = port ? wh_printf(":%s", port) : wh_strdup("");
        struct wh_view trimmed = wh_view_of(path);
        while (trimmed.len && trimmed.data[0] == '/')
            trimmed.data++, trimmed.len--;
        while (trimmed.len && trimmed.data[trimmed.len - 1] == '/')
            trimmed.len--;
        wh_autofree char *bare = wh_view_dup(trimmed);
        const char *api_host = wh_starts_with_ci(host, "www.") ? host + 4 : host;
        out->api = is_hosted(host) ? wh_printf("%s://api.%s%s", scheme, api_host, tail)
                                   : wh_printf("%s://%s%s/api/v3", scheme, host, tail);
        out->url = wh_printf("%s://%s%s/%s", scheme, host, tail, bare);
        code = set_entity(bare, out);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(path);
    return code;
}

int wh_github_url_parse(const char *url, struct wh_github_url *out, struct wh_error *err)
{
    memset(out, 0, sizeof *out);
    CURLU *parsed = curl_url();
    int code =
        curl_url_set(parsed, CURLUPART_URL, url ? url : "", 0) == CURLUE_OK ? parse_parts(parsed, out) : -1;
    curl_url_cleanup(parsed);
    if (code) {
        wh_github_url_clear(out);
        return wh_fail(err, WH_E_ARGUMENT,
                       "\"%s\" is not the URL of a repository, an organisation or an enterprise: give "
                       "https://github.com/OWNER/REPO, https://github.com/ORG or "
                       "https://github.com/enterprises/NAME",
                       url ? url : "");
    }
    return 0;
}
