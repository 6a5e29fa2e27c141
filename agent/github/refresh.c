/* RunnerRefreshConfig (runner-protocol.md §3.6): the registration's file goes to the V1 server, which answers
 * with the one that it wants, or with nothing. What came of it is told as an update state, as the official
 * runner does.
 */
#include "github/official_fields.h"
#include "github/session_internal.h"
#include "wherry/base/digest.h"
#include "wherry/base/log.h"
#include "wherry/base/secret.h"
#include "wherry/github/migrated.h"

#define REFRESH_CALL_MS 30000
#define BOM_BYTES 3
#define MAX_NUMBER 24
#define MAX_TRACE 1000 /* of an update state */
#define STATE "RefreshConfig"

struct wh_refresh {
    struct wh_session *session;
    const struct wh_runner_config *config;
    enum wh_official_file file;
    struct gh_tenant_call *call;
    struct wh_later *later;
    char *text; /* base64 of the file */
    char *wrong;
    wh_refresh_fn done;
    void *data;
};

void wh_refresh_cancel(struct wh_refresh **refresh)
{
    struct wh_refresh *r = *refresh;
    *refresh = NULL;
    if (!r)
        return;
    gh_tenant_cancel(&r->call);
    wh_later_cancel(&r->later);
    free(r->text);
    free(r->wrong);
    free(r);
}

static void on_told(void *data, struct gh_answer *answer)
{
    (void)data;
    if (answer->err)
        wh_log_debug("tell of the new settings: %s", wh_error_text(answer->err));
}

static void tell(struct wh_session *s, const char *what)
{
    char pool[MAX_NUMBER], agent[MAX_NUMBER];
    wh_autofree char *cut = wh_strndup(what, strnlen(what, MAX_TRACE));
    snprintf(pool, sizeof pool, "%lld", (long long)s->config->group_id);
    snprintf(agent, sizeof agent, "%lld", (long long)s->config->id);
    struct gh_tenant_request r = {
        .resource = WH_RESOURCE_AGENT_UPDATES,
        .method = "PUT",
        .values = (struct wh_route_value[]){{"poolId", pool}, {"agentId", agent}, {0}},
        .query = (struct wh_route_value[]){{"currentState", STATE}, {"updateTrace", cut}, {0}},
        .timeout_ms = REFRESH_CALL_MS};
    if (s->tenant)
        gh_tenant_start(s->tenant, &r, on_told, NULL);
}

static void finish(struct wh_refresh *r, const struct wh_str *text, struct wh_error *err)
{
    wh_refresh_fn done = r->done;
    void *data = r->data;
    enum wh_official_file file = r->file;
    if (err)
        tell(r->session, wh_error_text(err));
    else if (text)
        tell(r->session, file == WH_FILE_RUNNER ? "Runner settings updated successfully."
                                                : "Runner credentials updated successfully.");
    wh_refresh_cancel(&r);
    done(data, file, text, err);
}

static void on_answer(void *data, struct gh_answer *answer)
{
    struct wh_refresh *r = data;
    wh_autoerror err = {0};
    wh_autostr text = {0};
    r->call = NULL;
    if (answer->err) {
        wh_wrap(answer->err, "ask for the settings of %s", wh_migrated_name(r->file));
        finish(r, NULL, answer->err);
        return;
    }
    const char *encoded = cJSON_IsString(answer->json) ? answer->json->valuestring : NULL;
    if (!encoded || !*encoded) {
        finish(r, NULL, NULL); /* they are as they should be */
        return;
    }
    if (!wh_unbase64(encoded, strlen(encoded), &text) || text.len == 0)
        wh_fail(&err, WH_E_PROTOCOL, "%s: the service's settings are no base64", wh_migrated_name(r->file));
    else if (wh_migrated_check(r->config, r->file, (struct wh_view){.data = text.data, .len = text.len},
                               &err) == 0) {
        finish(r, &text, NULL);
        return;
    }
    finish(r, NULL, &err);
}

static void send_file(void *data)
{
    struct wh_refresh *r = data;
    char agent[MAX_NUMBER];
    wh_autojson *body = cJSON_CreateString(r->text);
    snprintf(agent, sizeof agent, "%lld", (long long)r->session->config->id);
    struct gh_tenant_request request = {
        .resource = WH_RESOURCE_CONFIG_REFRESH,
        .method = "POST",
        .values =
            (struct wh_route_value[]){{"agentId", agent},
                                      {"configType", r->file == WH_FILE_RUNNER ? "runner" : "credentials"},
                                      {0}},
        .body = body,
        .timeout_ms = REFRESH_CALL_MS,
        .max_body = 2 * WH_MAX_OFFICIAL_FILE};
    r->call = gh_tenant_start(r->session->tenant, &request, on_answer, r);
}

static void refuse(void *data)
{
    struct wh_refresh *r = data;
    wh_autoerror err = {0};
    wh_fail(&err, WH_E_UNSUPPORTED, "RunnerRefreshConfig: %s", r->wrong);
    finish(r, NULL, &err);
}

/* "a/b/c/<agentId>" */
static bool is_ours(const char *qualified_id, int64_t id)
{
    wh_autofree char *wanted = wh_printf("%lld", (long long)id);
    size_t count = 0;
    const char *last = NULL;
    wh_autofree char *copy = wh_strdup(qualified_id ? qualified_id : "");
    char *rest = NULL;
    for (const char *part = strtok_r(copy, "/", &rest); part; part = strtok_r(NULL, "/", &rest)) {
        count++;
        last = part;
    }
    return count == 4 && wh_streq(last, wanted);
}

static char *what_is_wrong(const struct wh_session *s, const struct wh_broker_message *m,
                           const struct wh_runner_config *config)
{
    if (!is_ours(m->qualified_id, config->id))
        return wh_printf("\"%.80s\" is not this runner (%lld)", m->qualified_id ? m->qualified_id : "",
                         (long long)config->id);
    if (!wh_streq_ci(m->config_type, "runner") && !wh_streq_ci(m->config_type, "credentials"))
        return wh_printf("there is no file of the type \"%.40s\"", m->config_type ? m->config_type : "");
    if (!wh_streq_ci(m->service_type, "pipelines"))
        return wh_printf("the service type \"%.40s\" has no such exchange",
                         m->service_type ? m->service_type : "");
    return s->tenant ? NULL : wh_strdup("this runner's file names no server (serverUrl) to ask");
}

struct wh_refresh *wh_refresh_start(struct wh_session *s, const struct wh_broker_message *m,
                                    const struct wh_runner_config *config, wh_refresh_fn done, void *data)
{
    struct wh_refresh *r = wh_calloc(1, sizeof *r);
    struct wh_str text = {0};
    r->session = s;
    r->config = config;
    r->done = done;
    r->data = data;
    r->file = wh_streq_ci(m->config_type, "credentials") ? WH_FILE_CREDENTIALS : WH_FILE_RUNNER;
    r->wrong = what_is_wrong(s, m, config);
    gh_official_print_file(config, r->file, &text);
    r->text = wh_base64(text.data + BOM_BYTES, text.len - BOM_BYTES);
    wh_str_wipe(&text);
    wh_later(&r->later, wh_http_client_loop(s->http), 0, r->wrong ? refuse : send_file, r);
    return r;
}
