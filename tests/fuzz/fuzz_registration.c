/* What the service answers to a registration. The first byte chooses the call. */
#include <sodium.h>

#include "github/register_internal.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return sodium_init() < 0 ? 1 : 0;
}

static void read_groups(const cJSON *json, bool v1)
{
    struct wh_registration r = {0};
    gh_groups_read(json, v1, &r.groups, &r.ngroups);
    if (r.ngroups > GH_MAX_GROUPS)
        abort();
    wh_registration_group(&r, NULL, NULL);
    wh_registration_group(&r, "Default", NULL);
    for (size_t i = 0; i < r.ngroups; i++)
        free(r.groups[i].name);
    free(r.groups);
}

static void read_runner(const cJSON *json, bool v1)
{
    wh_autoerror err = {0};
    wh_autorunner *config = wh_calloc(1, sizeof *config);
    int code = v1 ? gh_pool_answer_read(json, config, &err) : gh_admin_answer_read(json, config, &err);
    if (code == 0 && (config->id <= 0 || !config->client_id || !config->authorization_url ||
                      (config->use_v2 && !config->server_url_v2)))
        abort();
    if (code && !err.code)
        abort();
}

static void read_tenant(cJSON *json)
{
    struct gh_tenant_answer answer;
    if (gh_tenant_answer_read(json, &answer, NULL) == 0 && !answer.admin && !(answer.url && answer.token))
        abort();
    gh_tenant_answer_clear(&answer);
}

static void read_refusal(const char *text, size_t len)
{
    static const int statuses[] = {400, 401, 403, 404, 409, 422, 429, 500};
    for (size_t i = 0; i < WH_COUNT(statuses); i++)
        for (int purpose = GH_FOR_TENANT_REGISTER; purpose <= GH_FOR_CREDENTIALS; purpose++) {
            gh_autofacts facts = {.retry_after_s = -1};
            struct gh_rest_call call = {.purpose = (enum gh_purpose)purpose};
            gh_facts_read_body(text, len, &facts);
            facts.status = statuses[i];
            free(gh_refusal_sentence(gh_refusal_of(&facts, call.purpose), &facts, &call, 0));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    if (data[0] % 6 == 5) {
        read_refusal(text, size - 1);
        return 0;
    }
    wh_autojson *json = wh_json_parse(text, size - 1, WH_HTTP_DEFAULT_BODY, "answer", NULL);
    switch (data[0] % 6) {
    case 0:
        read_tenant(json);
        break;
    case 1:
    case 2:
        read_groups(json, data[0] % 2 == 0);
        gh_runner_id_in(json, data[0] % 2 == 0, "box1");
        break;
    default:
        read_runner(json, data[0] % 2 == 0);
    }
    gh_json_wipe(json);
    return 0;
}
