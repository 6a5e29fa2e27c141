/* Answers, in the words of the API that was asked (cache-service.md §0.3, §1, §2, §2.1). */
#include "cachesvc/internal.h"

static const struct {
    const char *code;
    unsigned status;
    const char *azure; /* the code of a blob's answer */
} codes[] = {
    {"malformed", 400, "InvalidInput"},
    {"invalid_argument", 400, "InvalidInput"},
    {"unauthenticated", 401, "AuthenticationFailed"},
    {"permission_denied", 403, "AuthenticationFailed"},
    {"not_found", 404, "BlobNotFound"},
    {"bad_route", 404, "ResourceNotFound"},
    {"already_exists", 409, "BlobAlreadyExists"},
    {"resource_exhausted", 429, "ServerBusy"},
    {"too_large", 413, "RequestBodyTooLarge"},
    {"internal", 500, "InternalError"},
    {"unavailable", 503, "ServerBusy"},
};

void svc_answer(struct request *r, unsigned status, const char *type, const char *body)
{
    r->answer.status = status;
    r->answer.type = type;
    wh_str_clear(&r->answer.body);
    wh_str_add(&r->answer.body, body);
}

void svc_answer_json(struct request *r, unsigned status, cJSON *json)
{
    wh_autofree char *text = wh_json_print(json);
    svc_answer(r, status, "application/json", text);
    cJSON_Delete(json);
}

void svc_answer_empty(struct request *r, unsigned status)
{
    svc_answer(r, status, NULL, "");
}

void svc_answer_header(struct request *r, const char *name, const char *value)
{
    wh_strv_add(&r->answer.headers, name);
    wh_strv_add(&r->answer.headers, value);
}

static void refuse_v1(struct request *r, unsigned status, const char *code, const char *text)
{
    bool exists = wh_streq(code, "already_exists");
    cJSON *json = cJSON_CreateObject();
    wh_json_add_string(json, "message", text);
    wh_json_add_string(
        json, "typeName",
        exists ? "Microsoft.Azure.DevOps.ArtifactCache.WebApi.ArtifactCacheItemAlreadyExistsException, "
                 "Microsoft.Azure.DevOps.ArtifactCache.WebApi"
               : code);
    wh_json_add_string(json, "typeKey", exists ? "ArtifactCacheItemAlreadyExistsException" : code);
    wh_json_add_int(json, "errorCode", 0);
    svc_answer_json(r, status, json);
}

static void refuse_blob(struct request *r, unsigned status, const char *azure, const char *text)
{
    wh_autostr xml = {0};
    wh_str_addf(&xml, "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>", azure);
    for (const char *p = text; *p; p++)
        if (*p == '<' || *p == '>' || *p == '&')
            wh_str_addf(&xml, "&#%d;", *p);
        else
            wh_str_addc(&xml, *p);
    wh_str_add(&xml, "</Message></Error>");
    svc_answer(r, status, "application/xml", xml.data);
    svc_answer_header(r, "x-ms-error-code", azure);
}

static void refuse(struct request *r, unsigned status, const char *code, const char *azure, const char *text)
{
    r->svc->counts.refused++;
    wh_log_debug("cache: %s %s: %u %s: %s", r->method, r->path, status, code, text);
    if (r->api == API_BLOB) {
        refuse_blob(r, status, azure, text);
    } else if (r->api == API_V1) {
        refuse_v1(r, status, code, text);
    } else {
        cJSON *json = cJSON_CreateObject();
        wh_json_add_string(json, "code", wh_streq(code, "too_large") ? "invalid_argument" : code);
        wh_json_add_string(json, "msg", text);
        /* BuildKit's client shows `message` alone, and takes "already exists" in it for no failure. */
        wh_json_add_string(json, "message", text);
        svc_answer_json(r, status, json);
    }
    if (status == 429)
        svc_answer_header(r, "Retry-After", "10");
}

void svc_refuse(struct request *r, const char *code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    wh_autofree char *text = wh_vprintf(fmt, args);
    va_end(args);
    for (size_t i = 0; i < WH_COUNT(codes); i++)
        if (wh_streq(codes[i].code, code)) {
            refuse(r, codes[i].status, code, codes[i].azure, text);
            return;
        }
    refuse(r, 500, code, "InternalError", text);
}

void svc_refuse_status(struct request *r, unsigned status, const char *code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    wh_autofree char *text = wh_vprintf(fmt, args);
    va_end(args);
    refuse(r, status, code, code, text);
}

void svc_trouble(struct request *r, const struct wh_error *err)
{
    wh_log_warning("cache service: %s %s: %s", r->method, r->path, wh_error_text(err));
    /* A client tries 5xx again, for up to 20 minutes where it is BuildKit's: a full disk is no such case. */
    if (err->code == WH_E_NO_SPACE)
        svc_refuse(r, "too_large", "no space left for the cache: %s", wh_error_text(err));
    else
        svc_refuse(r, "internal", "%s",
                   "the cache service has trouble with its store; the agent's log says more");
}
