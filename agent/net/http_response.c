/* Reading the answer. */
#include "net/http_internal.h"

#include "wherry/base/clock.h"
#include "wherry/net/backoff.h"

#define WH_MAX_ERROR_TEXT 1200   /* bytes of a message in a JSON body in an error's sentence */
#define WH_MAX_ERROR_EXCERPT 300 /* bytes of a body that is not JSON in an error's sentence */

void wh_http_answer_reset(struct wh_http *r)
{
    for (size_t i = 0; i < r->nanswer; i++) {
        free(r->answer[i].name);
        free(r->answer[i].value);
    }
    r->nanswer = 0;
    r->answer_bytes = 0;
}

void wh_http_answer_line(struct wh_http *r, const char *line, size_t len)
{
    struct wh_view name, value;
    struct wh_view text = {.data = line, .len = len};
    if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) { /* a new answer: after 1xx, or a redirect */
        wh_http_answer_reset(r);
        return;
    }
    if (!wh_view_split(text, ':', &name, &value) || r->nanswer >= WH_MAX_HTTP_HEADERS ||
        r->answer_bytes + len > WH_MAX_HTTP_HEADER_BYTES)
        return;
    r->answer = wh_reallocarray(r->answer, r->nanswer + 1, sizeof *r->answer);
    r->answer[r->nanswer].name = wh_view_dup(wh_view_trim(name));
    r->answer[r->nanswer].value = wh_view_dup(wh_view_trim(value));
    r->nanswer++;
    r->answer_bytes += len;
}

int wh_http_status(const struct wh_http *r)
{
    return r->status;
}

const char *wh_http_response_header_at(const struct wh_http *r, const char *name, size_t n)
{
    for (size_t i = 0; i < r->nanswer; i++)
        if (wh_streq_ci(r->answer[i].name, name) && n-- == 0)
            return r->answer[i].value;
    return NULL;
}

const char *wh_http_response_header(const struct wh_http *r, const char *name)
{
    return wh_http_response_header_at(r, name, 0);
}

struct wh_view wh_http_response_body(const struct wh_http *r)
{
    return (struct wh_view){.data = wh_str_text(&r->collected), .len = r->collected.len};
}

static bool is_json_type(const char *type)
{
    if (!type)
        return false;
    size_t len = strcspn(type, "; ");
    wh_autofree char *bare = wh_strndup(type, len);
    return wh_streq_ci(bare, "application/json") || wh_streq_ci(bare, "text/json") ||
           (wh_ends_with(bare, "+json") && wh_starts_with_ci(bare, "application/"));
}

cJSON *wh_http_response_json(const struct wh_http *r, struct wh_error *err)
{
    const char *type = wh_http_response_header(r, "Content-Type");
    if (r->collected.len == 0) {
        wh_fail(err, WH_E_PROTOCOL, "%s: the answer is empty where JSON was expected", r->label);
        return NULL;
    }
    if (!is_json_type(type)) {
        wh_fail(err, WH_E_PROTOCOL, "%s: the answer is of type %.60s, not JSON", r->label,
                type ? type : "(none)");
        return NULL;
    }
    wh_autofree char *what = wh_printf("answer of %s", r->label);
    return wh_json_parse(r->collected.data, r->collected.len, r->max_body, what, err);
}

const char *wh_http_effective_url(const struct wh_http *r)
{
    return r->effective_url ? r->effective_url : r->url;
}

bool wh_http_repeated(const struct wh_http *r)
{
    return r->sends > 1;
}

uint64_t wh_http_sent_bytes(const struct wh_http *r)
{
    return r->sent;
}

bool wh_http_is_out(const struct wh_http *r)
{
    long bytes = 0;
    return r->easy && curl_easy_getinfo(r->easy, CURLINFO_REQUEST_SIZE, &bytes) == CURLE_OK && bytes > 0;
}

int64_t wh_http_retry_after(const struct wh_http *r, int64_t max)
{
    return wh_retry_after_parse(wh_http_response_header(r, "Retry-After"), wh_now_ns(), max);
}

/* ---- the sentence for a status that is not 2xx ---- */

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } known[] = {{400, "Bad Request"},
                 {401, "Unauthorized"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {407, "Proxy Authentication Required"},
                 {409, "Conflict"},
                 {410, "Gone"},
                 {412, "Precondition Failed"},
                 {413, "Payload Too Large"},
                 {416, "Range Not Satisfiable"},
                 {422, "Unprocessable Entity"},
                 {429, "Too Many Requests"},
                 {500, "Internal Server Error"},
                 {501, "Not Implemented"},
                 {502, "Bad Gateway"},
                 {503, "Service Unavailable"},
                 {504, "Gateway Timeout"}};
    for (size_t i = 0; i < WH_COUNT(known); i++)
        if (known[i].status == status)
            return known[i].text;
    return status >= 300 && status <= 399 ? "redirect" : "";
}

/* The message that GitHub, OCI registries or OAuth servers put into JSON; else the start of a text body. */
static char *body_message(const struct wh_http *r)
{
    static const char *const names[] = {"message", "errorMessage", "error_description",
                                        "msg",     "error",        "details"};
    if (r->collected.len == 0)
        return NULL;
    wh_autoerror ignored = {0};
    wh_autojson *json =
        wh_json_parse(r->collected.data, r->collected.len, WH_MAX_HTTP_ERROR_BODY, "error body", &ignored);
    const cJSON *from = json;
    const cJSON *errors = wh_json_get(json, "errors");
    if (cJSON_IsArray(errors) && cJSON_IsObject(errors->child))
        from = errors->child;
    const cJSON *places[] = {json, from};
    for (size_t p = 0; p < WH_COUNT(places); p++)
        for (size_t i = 0; i < WH_COUNT(names); i++) {
            const char *text = wh_json_string(places[p], names[i]);
            if (text && *text)
                return wh_strndup(text, strnlen(text, WH_MAX_ERROR_TEXT));
        }
    const char *type = wh_http_response_header(r, "Content-Type");
    if (json || (type && wh_starts_with_ci(type, "text/html")))
        return NULL;
    wh_autostr clean = {0};
    wh_str_add_utf8(&clean, r->collected.data, WH_MIN(r->collected.len, (size_t)WH_MAX_ERROR_EXCERPT));
    for (size_t i = 0; i < clean.len; i++)
        if ((unsigned char)clean.data[i] < ' ')
            clean.data[i] = ' ';
    struct wh_view trimmed = wh_view_trim((struct wh_view){.data = clean.data, .len = clean.len});
    return trimmed.len ? wh_view_dup(trimmed) : NULL;
}

int wh_http_check(const struct wh_http *r, struct wh_error *err)
{
    if (r->status >= 200 && r->status <= 299)
        return 0;
    if (r->status == 407)
        return wh_fail(err, WH_E_DENIED, "%s: " WH_PROXY_WANTS_USER, r->label);
    wh_autofree char *message = body_message(r);
    const char *id = wh_http_response_header(r, "X-GitHub-Request-Id");
    if (!id)
        id = wh_http_response_header(r, "x-ms-request-id");
    const char *why = reason(r->status);
    enum wh_error_code code = r->status == 401 || r->status == 403 ? WH_E_DENIED
                              : r->status == 404                   ? WH_E_NOT_FOUND
                                                                   : WH_E_HTTP;
    return wh_fail(err, code, "%s answered %d%s%s%s%s%s%s%s", r->label, r->status, *why ? " " : "", why,
                   message ? ": " : "", message ? message : "", id ? " (request id " : "", id ? id : "",
                   id ? ")" : "");
}
