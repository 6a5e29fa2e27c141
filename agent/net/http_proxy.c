/* Which proxy a URL goes through, by the environment (runner-protocol.md §7). libcurl's own reading differs:
 * it takes all_proxy, ignores HTTP_PROXY, and knows no ports in no_proxy. */
#include "net/http_internal.h"

#include <arpa/inet.h>

static const char *env_either(char *const *env, const char *lower, const char *upper)
{
    const char *value = wh_env_get(env, lower);
    if (!value)
        value = wh_env_get(env, upper);
    return value && *value ? value : NULL;
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    if (wh_streq_ci(host, "localhost") || strcmp(host, "[::1]") == 0 || strcmp(host, "::1") == 0)
        return true;
    return inet_pton(AF_INET, host, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

/* One entry of no_proxy: "*", "host", ".host", "host:port"; a name covers what lies below it. */
static bool entry_matches(struct wh_view entry, const char *host, const char *port)
{
    if (wh_view_eq(entry, "*"))
        return true;
    struct wh_view name = entry, entry_port = {0};
    const char *colon = entry.len ? memrchr(entry.data, ':', entry.len) : NULL;
    bool bare_v6 = colon && memchr(entry.data, ':', (size_t)(colon - entry.data)) && entry.data[0] != '[';
    if (colon && !bare_v6 && (entry.data[0] != '[' || (colon > entry.data && colon[-1] == ']'))) {
        name.len = (size_t)(colon - entry.data);
        entry_port = (struct wh_view){.data = colon + 1, .len = entry.len - name.len - 1};
    }
    if (entry_port.len && !wh_view_eq(entry_port, port))
        return false;
    while (name.len && name.data[0] == '.') {
        name.data++;
        name.len--;
    }
    size_t len = strlen(host);
    if (name.len == 0 || name.len > len)
        return false;
    const char *tail = host + (len - name.len);
    if (wh_strcmp_ci(tail, name.data, name.len) != 0)
        return false;
    return tail == host || tail[-1] == '.';
}

static bool excluded(const char *list, const char *host, const char *port)
{
    struct wh_view rest = wh_view_of(list), entry;
    bool more = true;
    while (more) {
        more = wh_view_split(rest, ',', &entry, &rest);
        if (entry_matches(wh_view_trim(entry), host, port))
            return true;
    }
    return false;
}

char *wh_http_proxy_for(const char *url, char *const *env)
{
    CURLU *parsed = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL, *result = NULL;
    if (curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK && !is_loopback(host)) {
        const char *proxy = strcmp(scheme, "https") == 0 ? env_either(env, "https_proxy", "HTTPS_PROXY")
                                                         : env_either(env, "http_proxy", "HTTP_PROXY");
        const char *none = env_either(env, "no_proxy", "NO_PROXY");
        if (proxy && !(none && excluded(none, host, port)))
            result = strstr(proxy, "://") ? wh_strdup(proxy) : wh_printf("http://%s", proxy);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parsed);
    return result;
}
