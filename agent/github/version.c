/* The runner version that we name to the service. */
#include "wherry/github/version.h"

#include <stdio.h>
#include <sys/stat.h>

#include "github/call.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/log.h"

#define PUBLIC_API "https://api.github.com"
#define RELEASE_PATH "repos/actions/runner/releases/latest"
#define VERSION_CALL_MS 15000
#define CACHE_FILE "runner-version"

struct wh_runner_version_query {
    struct wh_http_client *http;
    struct gh_call *call;
    char *state;
    bool public_tried;
    wh_runner_version_fn done;
    void *data;
};

static bool parts(const char *text, unsigned out[3])
{
    int used = 0;
    return text && strspn(text, "0123456789.") == strlen(text) && strlen(text) < 24 &&
           sscanf(text, "%u.%u.%u%n", &out[0], &out[1], &out[2], &used) == 3 && text[used] == '\0';
}

bool wh_runner_version_valid(const char *text)
{
    unsigned numbers[3];
    return parts(text, numbers);
}

static int compare(const char *a, const char *b)
{
    unsigned x[3], y[3];
    if (!parts(a, x) || !parts(b, y))
        return 0;
    for (int i = 0; i < 3; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

char *wh_runner_version_cached(const char *state, bool *fresh)
{
    wh_autofree char *path = wh_printf("%s/" CACHE_FILE, state);
    wh_autostr text = {0};
    struct stat st;
    *fresh = false;
    if (stat(path, &st) == 0 && wh_read_file(AT_FDCWD, path, 64, &text, NULL) >= 0) {
        wh_autofree char *version = wh_view_dup(wh_view_trim(wh_view_of(wh_str_text(&text))));
        int64_t age = wh_now_ns() / 1000000000 - st.st_mtime;
        if (wh_runner_version_valid(version)) {
            *fresh = age >= 0 && age < WH_RUNNER_VERSION_DAY_S;
            if (compare(version, WH_RUNNER_VERSION_FALLBACK) >= 0)
                return wh_steal(&version);
        }
    }
    return wh_strdup(WH_RUNNER_VERSION_FALLBACK);
}

static void remember(const char *state, const char *version)
{
    wh_autofree char *path = wh_printf("%s/" CACHE_FILE, state);
    wh_autofree char *line = wh_printf("%s\n", version);
    wh_autoerror err = {0};
    if (wh_write_file(AT_FDCWD, path, line, strlen(line), 0600, &err))
        wh_log_debug("%s", wh_error_text(&err));
}

/* "v2.336.0" of a release's JSON without its v; NULL if it is none. */
static const char *release_version(const cJSON *json)
{
    const char *tag = wh_json_string(json, "tag_name");
    if (tag && *tag == 'v')
        tag++;
    return wh_runner_version_valid(tag) ? tag : NULL;
}

static void query_free(struct wh_runner_version_query *q)
{
    gh_call_cancel(&q->call);
    free(q->state);
    free(q);
}

void wh_runner_version_query_cancel(struct wh_runner_version_query **query)
{
    if (*query)
        query_free(*query);
    *query = NULL;
}

static void ask(struct wh_runner_version_query *q, const char *api);

static void on_release(void *data, struct gh_answer *answer)
{
    struct wh_runner_version_query *q = data;
    wh_autoerror err = {0};
    q->call = NULL;
    const char *version = answer->err ? NULL : release_version(answer->json);
    if (!version && !q->public_tried) {
        ask(q, PUBLIC_API);
        return;
    }
    if (version)
        remember(q->state, version);
    else if (answer->err)
        wh_error_move(&err, answer->err);
    else
        wh_fail(&err, WH_E_PROTOCOL, "the newest release of actions/runner has no version in its tag");
    q->done(q->data, version, version ? NULL : &err);
    query_free(q);
}

static void ask(struct wh_runner_version_query *q, const char *api)
{
    wh_autofree char *url = gh_url(api, RELEASE_PATH);
    struct gh_call_options o = {
        .http = q->http, .method = "GET", .url = url, .timeout_ms = VERSION_CALL_MS, .tries = 1};
    q->public_tried = strcmp(api, PUBLIC_API) == 0;
    q->call = gh_call_start(&o, on_release, q);
}

struct wh_runner_version_query *wh_runner_version_query(struct wh_http_client *http, const char *api,
                                                        const char *state, wh_runner_version_fn done,
                                                        void *data)
{
    struct wh_runner_version_query *q = wh_calloc(1, sizeof *q);
    q->http = http;
    q->state = wh_strdup(state);
    q->done = done;
    q->data = data;
    ask(q, api);
    return q;
}

char *wh_runner_version_now(struct wh_http_client *http, const char *api, const char *state)
{
    bool fresh;
    wh_autofree char *cached = wh_runner_version_cached(state, &fresh);
    if (fresh)
        return wh_steal(&cached);
    const char *const apis[] = {api, PUBLIC_API};
    for (size_t i = 0; i < WH_COUNT(apis) && (i == 0 || strcmp(api, PUBLIC_API) != 0); i++) {
        wh_autofree char *url = gh_url(apis[i], RELEASE_PATH);
        wh_autohttp *r = wh_http_new(http, "GET", url);
        wh_http_header(r, "Accept", "application/json");
        wh_http_timeouts(r, VERSION_CALL_MS, 5000, 0);
        wh_http_redirects(r, WH_HTTP_REDIRECT_FOLLOW);
        wh_autojson *json = NULL;
        if (wh_http_do(r, NULL) == 0 && wh_http_check(r, NULL) == 0)
            json = wh_http_response_json(r, NULL);
        const char *version = release_version(json);
        if (version) {
            remember(state, version);
            return wh_strdup(version);
        }
    }
    return wh_steal(&cached);
}
