/* What an answer that is not 2xx means: read from status, body and headers. Nothing here trusts the body's
 * form. */
#include <curl/curl.h>

#include "github/rest.h"
#include "wherry/base/clock.h"

#define MAX_MESSAGE 600 /* bytes of the service's own words in a sentence */

void gh_facts_clear(struct gh_facts *f)
{
    free(f->message);
    free(f->v1_type);
    free(f->sso_url);
    memset(f, 0, sizeof *f);
}

/* "message" and the first of "errors": a list of objects or strings, or one string. */
static char *message_of(const cJSON *json)
{
    const char *text = wh_json_string(json, "message");
    if (!text)
        text = wh_json_string(json, "error_description");
    if (!text)
        text = wh_json_string(json, "error");
    const cJSON *errors = wh_json_get(json, "errors");
    const cJSON *first = cJSON_IsArray(errors) ? errors->child : errors;
    const char *detail = cJSON_IsString(first) ? first->valuestring : wh_json_string(first, "message");
    wh_autostr both = {0};
    if (text)
        wh_str_add_utf8(&both, text, strnlen(text, MAX_MESSAGE));
    if (detail && *detail && !wh_streq(detail, text)) {
        wh_str_add(&both, both.len ? ": " : "");
        wh_str_add_utf8(&both, detail, strnlen(detail, MAX_MESSAGE));
    }
    for (size_t i = 0; i < both.len; i++)
        if ((unsigned char)both.data[i] < ' ')
            both.data[i] = ' ';
    return both.len ? wh_str_steal(&both) : NULL;
}

void gh_facts_read_body(const char *body, size_t len, struct gh_facts *out)
{
    wh_autoerror ignored = {0};
    wh_autojson *json = wh_json_parse(body, len, WH_MAX_HTTP_ERROR_BODY, "answer", &ignored);
    out->json = cJSON_IsObject(json);
    out->message = message_of(json);
    const char *type = wh_json_string(json, "typeKey");
    if (type && *type) {
        const char *dot = strrchr(type, '.');
        type = dot ? dot + 1 : type;
        out->v1_type = wh_strndup(type, strnlen(type, WH_MAX_ERROR_TYPE));
    }
    out->v1_code = wh_json_int(json, "errorCode", 0);
}

static char *host_of(const char *url)
{
    char *host = NULL, *mine = NULL;
    CURLU *parsed = curl_url();
    if (curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
        mine = wh_strdup(host);
        curl_free(host);
    }
    curl_url_cleanup(parsed);
    return mine;
}

/* The label has method, scheme and host as they were asked. */
static bool answered_elsewhere(const struct wh_http *r)
{
    const char *asked = strchr(wh_http_label(r), ' ');
    wh_autofree char *from = asked ? host_of(asked + 1) : NULL;
    wh_autofree char *by = host_of(wh_http_effective_url(r));
    return from && by && !wh_streq_ci(from, by);
}

void gh_facts_read(const struct wh_http *r, struct gh_facts *out)
{
    memset(out, 0, sizeof *out);
    struct wh_view body = wh_http_response_body(r);
    gh_facts_read_body(body.data, body.len, out);
    out->status = wh_http_status(r);
    if (!out->v1_type)
        out->v1_type = wh_v1_error_type(r);
    const char *sso = wh_http_response_header(r, "X-GitHub-SSO");
    if (sso && strstr(sso, "required")) {
        const char *url = strstr(sso, "url=");
        out->sso_url = wh_strdup(url ? url + 4 : "");
    }
    const char *left = wh_http_response_header(r, "X-RateLimit-Remaining");
    const char *reset = wh_http_response_header(r, "X-RateLimit-Reset");
    out->limit_used_up = left && strcmp(left, "0") == 0;
    if (!reset || !wh_parse_i64(reset, 0, INT64_MAX / 2000000000, &out->limit_reset_s))
        out->limit_reset_s = 0;
    int64_t after = wh_http_retry_after(r, INT64_MAX / 2000000000);
    out->retry_after_s = after < 0 ? -1 : after / 1000;
    out->elsewhere = answered_elsewhere(r);
}

static bool says(const struct gh_facts *f, const char *words)
{
    return f->message && strcasestr(f->message, words) != NULL;
}

static bool is_type(const struct gh_facts *f, const char *type)
{
    return f->v1_type && wh_starts_with_ci(f->v1_type, type);
}

static bool is_rate_limit(const struct gh_facts *f)
{
    return f->status == 429 ||
           (f->status == 403 && (f->limit_used_up || says(f, "rate limit") || says(f, "abuse detection")));
}

static bool is_version(const struct gh_facts *f)
{
    return (is_type(f, "AccessDenied") && f->v1_code == 1) ||
           (says(f, "version") && (says(f, "deprecated") || says(f, "too old") || says(f, "minimum") ||
                                   says(f, "no longer supported") || says(f, "outdated")));
}

static bool is_clock(const struct gh_facts *f)
{
    return says(f, "Current server time is") || says(f, "'exp'") || says(f, "'iat'") ||
           says(f, "Expiration time");
}

/* The App's own calls, which bear a JWT. */
static enum gh_refusal refusal_of_app(const struct gh_facts *f, enum gh_purpose purpose)
{
    if (is_clock(f))
        return GH_REFUSED_CLOCK;
    if (says(f, "suspended"))
        return GH_REFUSED_SUSPENDED;
    if (says(f, "Integration not found") || says(f, "Integration must generate"))
        return GH_REFUSED_APP_ID;
    if (f->status == 401)
        return GH_REFUSED_APP_KEY;
    if (f->status == 404)
        return GH_REFUSED_INSTALLATION;
    if (f->status == 403)
        return GH_REFUSED_RIGHTS;
    (void)purpose;
    return GH_REFUSED;
}

static enum gh_refusal refusal_of_denial(const struct gh_facts *f)
{
    if (f->sso_url || says(f, "SAML"))
        return GH_REFUSED_SSO;
    if (says(f, "IP allow list"))
        return GH_REFUSED_IP;
    if (says(f, "expired") || is_type(f, "TaskAgentAccessTokenExpired"))
        return GH_REFUSED_EXPIRED;
    return f->status == 401 ? GH_REFUSED_TOKEN : GH_REFUSED_RIGHTS;
}

static bool is_name_taken(const struct gh_facts *f, enum gh_purpose purpose)
{
    return (purpose == GH_FOR_REGISTER || purpose == GH_FOR_JIT) &&
           (f->status == 409 || is_type(f, "TaskAgentExists") || says(f, "already exists") ||
            says(f, "exists with the same name"));
}

static enum gh_refusal refusal_of_absence(enum gh_purpose purpose)
{
    bool by_runner_token = purpose == GH_FOR_TENANT_REGISTER || purpose == GH_FOR_TENANT_REMOVE;
    if (by_runner_token) /* which of the two it is, the service does not say */
        return GH_REFUSED_TOKEN;
    return purpose == GH_FOR_REGISTER ? GH_REFUSED_GROUP : GH_REFUSED_NOT_FOUND;
}

enum gh_refusal gh_refusal_of(const struct gh_facts *f, enum gh_purpose purpose)
{
    if (f->elsewhere)
        return GH_REFUSED_ELSEWHERE;
    if (is_rate_limit(f))
        return GH_REFUSED_RATE_LIMIT;
    if (is_version(f))
        return GH_REFUSED_VERSION;
    if (purpose == GH_FOR_INSTALLATION || purpose == GH_FOR_APP_TOKEN)
        return refusal_of_app(f, purpose);
    if (is_name_taken(f, purpose))
        return GH_REFUSED_NAME_TAKEN;
    if (purpose == GH_FOR_CREDENTIALS && is_clock(f))
        return GH_REFUSED_CLOCK;
    if (is_type(f, "TaskAgentPoolNotFound"))
        return GH_REFUSED_GROUP;
    if (f->status == 401 || f->status == 403)
        return refusal_of_denial(f);
    if (f->status == 422 && purpose == GH_FOR_REMOVE && (says(f, "running") || says(f, "busy")))
        return GH_REFUSED_RUNNER_BUSY;
    if (f->status == 404 && !f->json)
        return GH_REFUSED_NO_API;
    if (f->status == 404)
        return refusal_of_absence(purpose);
    if (f->status == 400 || f->status == 422)
        return GH_REFUSED_INVALID;
    return f->json || f->status >= 500 ? GH_REFUSED : GH_REFUSED_NO_API;
}
