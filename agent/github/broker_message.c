/* Reading a message of the broker or of a V1 server (runner-protocol.md §3.2, §3.5, §3.6). */
#include "github/session_internal.h"
#include "wherry/base/json.h"

#define MAX_TIMEOUT_MS ((uint64_t)24 * 3600 * 1000)

void wh_broker_message_clear(struct wh_broker_message *m)
{
    free(m->type_text);
    free(m->id);
    free(m->request_id);
    free(m->run_service_url);
    free(m->billing_owner_id);
    free(m->job_id);
    free(m->reason);
    free(m->broker_url);
    cJSON_Delete(m->job);
    free(m->qualified_id);
    free(m->config_type);
    free(m->service_type);
    memset(m, 0, sizeof *m);
}

static enum wh_broker_message_type type_of(const char *text)
{
    static const struct {
        const char *text;
        enum wh_broker_message_type type;
    } known[] = {{"RunnerJobRequest", WH_MESSAGE_JOB},      {"PipelineAgentJobRequest", WH_MESSAGE_JOB},
                 {"JobCancellation", WH_MESSAGE_CANCEL},    {"AgentRefresh", WH_MESSAGE_REFRESH},
                 {"RunnerRefresh", WH_MESSAGE_REFRESH},     {"RunnerShutdown", WH_MESSAGE_SHUTDOWN},
                 {"BrokerMigration", WH_MESSAGE_MIGRATION}, {"ForceTokenRefresh", WH_MESSAGE_TOKEN_REFRESH},
                 {"RunnerRefreshConfig", WH_MESSAGE_CONFIG}};
    for (size_t i = 0; i < WH_COUNT(known); i++)
        if (wh_streq_ci(known[i].text, text))
            return known[i].type;
    return WH_MESSAGE_OTHER;
}

/* "[d.]hh:mm:ss[.fffffff]"; anything else is 0. */
static uint64_t duration_ms(const char *text)
{
    struct wh_reader r = wh_reader_of(text, text ? strlen(text) : 0);
    uint64_t fields[4] = {0};
    size_t count = 0;
    bool days = false;
    while (!wh_reader_end(&r) && count < WH_COUNT(fields)) {
        uint64_t value = 0;
        int c, digits = 0;
        while ((c = wh_reader_peek(&r)) >= '0' && c <= '9' && digits < 9) {
            value = value * 10 + (uint64_t)(c - '0');
            wh_reader_next(&r);
            digits++;
        }
        if (digits == 0)
            return 0;
        fields[count++] = value;
        if (wh_reader_take(&r, '.')) {
            if (count != 1 || days)
                break; /* a fraction of a second: not worth a thought */
            days = true;
        } else if (!wh_reader_take(&r, ':')) {
            break;
        }
    }
    if (count != (days ? 4 : 3))
        return 0;
    const uint64_t *hms = fields + (days ? 1 : 0);
    uint64_t seconds = (days ? fields[0] * 86400 : 0) + hms[0] * 3600 + hms[1] * 60 + hms[2];
    return WH_MIN(seconds * 1000, MAX_TIMEOUT_MS);
}

static char *copy_id(const cJSON *object, const char *name)
{
    wh_autofree char *text = wh_json_text(object, name);
    if (!text || strlen(text) > WH_MAX_ID_CHARS)
        return NULL;
    return wh_steal(&text);
}

static bool is_http(const char *url)
{
    return url && (wh_starts_with_ci(url, "http://") || wh_starts_with_ci(url, "https://"));
}

static int read_job(const cJSON *body, struct wh_broker_message *out, struct wh_error *err)
{
    out->request_id = copy_id(body, "runner_request_id");
    out->billing_owner_id = copy_id(body, "billing_owner_id");
    out->should_acknowledge = wh_json_bool(body, "should_acknowledge", false);
    const char *url = wh_json_string(body, "run_service_url");
    if (!out->request_id || !*out->request_id)
        return wh_fail(err, WH_E_PROTOCOL, "RunnerJobRequest: runner_request_id is missing");
    if (url && *url && !is_http(url))
        return wh_fail(err, WH_E_PROTOCOL, "RunnerJobRequest: run_service_url is not http or https");
    out->run_service_url = wh_strdup(url && *url ? url : NULL);
    return 0;
}

/* The message is the job itself: the body goes on as it is. */
static int read_job_itself(cJSON **body, struct wh_broker_message *out, struct wh_error *err)
{
    if (!cJSON_IsObject(*body))
        return wh_fail(err, WH_E_PROTOCOL, "%s: the body is no job", out->type_text);
    out->request_id = copy_id(*body, "jobId");
    if (!out->request_id || !*out->request_id)
        return wh_fail(err, WH_E_PROTOCOL, "%s: jobId is missing", out->type_text);
    out->job = wh_steal(body);
    out->is_job = true;
    return 0;
}

static int read_body(const cJSON *body, struct wh_broker_message *out, struct wh_error *err)
{
    switch (out->type) {
    case WH_MESSAGE_JOB:
        return read_job(body, out, err);
    case WH_MESSAGE_CANCEL:
        out->job_id = copy_id(body, "jobId");
        out->timeout_ms = duration_ms(wh_json_string(body, "timeout"));
        if (!out->job_id)
            return wh_fail(err, WH_E_PROTOCOL, "JobCancellation: jobId is missing");
        return 0;
    case WH_MESSAGE_MIGRATION:
        if (!is_http(wh_json_string(body, "brokerBaseUrl")))
            return wh_fail(err, WH_E_PROTOCOL, "BrokerMigration: brokerBaseUrl is missing or no http URL");
        out->broker_url = wh_strdup(wh_json_string(body, "brokerBaseUrl"));
        return 0;
    case WH_MESSAGE_SHUTDOWN:
        out->reason = wh_json_text(body, "reason");
        return 0;
    case WH_MESSAGE_CONFIG:
        out->qualified_id = copy_id(body, "runnerQualifiedId");
        out->config_type = copy_id(body, "configType");
        out->service_type = copy_id(body, "serviceType");
        return 0;
    default:
        return 0;
    }
}

/* The body as JSON: of a string (the usual), or an object itself. Encrypted where there is an iv and a key.
 */
static cJSON *open_body(cJSON *json, const struct gh_session_key *key, struct wh_error *err)
{
    cJSON *body = (cJSON *)wh_json_get(json, "body");
    const char *iv = wh_json_string(json, "iv");
    wh_autostr plain = {0};
    if (!cJSON_IsString(body))
        return body ? cJSON_DetachItemViaPointer(json, body) : NULL;
    if (!*body->valuestring)
        return NULL;
    if (!key || !key->set || !iv || !*iv)
        return wh_json_parse(body->valuestring, strlen(body->valuestring), WH_MAX_MESSAGE_BYTES, "body", err);
    if (gh_message_decrypt(key, body->valuestring, iv, &plain, err))
        return NULL;
    cJSON *opened = wh_json_parse(wh_str_text(&plain), plain.len, WH_MAX_MESSAGE_BYTES, "body", err);
    wh_str_wipe(&plain);
    return opened;
}

static int read_message(cJSON *json, const struct gh_session_key *key, struct wh_broker_message *out,
                        struct wh_error *err)
{
    wh_autoerror why = {0};
    const char *type = wh_json_need_string(json, "messageType", "message", err);
    if (!type)
        return -1;
    out->type = type_of(type);
    out->type_text = wh_strndup(type, strnlen(type, WH_MAX_ID_CHARS));
    out->id = copy_id(json, "messageId");
    if (!out->id)
        out->id = wh_strdup("");
    wh_autojson *body = open_body(json, key, &why);
    bool needed =
        out->type != WH_MESSAGE_OTHER && out->type != WH_MESSAGE_REFRESH && out->type != WH_MESSAGE_CONFIG;
    if (why.code && needed) {
        wh_error_move(err, &why);
        return wh_wrap(err, "message %s", out->type_text);
    }
    if (wh_streq_ci(type, "PipelineAgentJobRequest"))
        return read_job_itself(&body, out, err);
    return read_body(body, out, err);
}

int gh_message_read(const char *text, size_t len, const struct gh_session_key *key,
                    struct wh_broker_message *out, struct wh_error *err)
{
    memset(out, 0, sizeof *out);
    wh_autojson *json = wh_json_parse(text, len, WH_MAX_MESSAGE_BYTES, "message", err);
    return json ? read_message(json, key, out, err) : -1;
}

int wh_broker_message_parse(const char *text, size_t len, struct wh_broker_message *out, struct wh_error *err)
{
    int code = gh_message_read(text, len, NULL, out, err);
    if (code)
        wh_broker_message_clear(out);
    return code;
}
