/* Reading the official runner's files. */
#include "wherry/github/official.h"

#include <errno.h>
#include <unistd.h>

#include "github/official_fields.h"
#include "github/rsa_key.h"
#include "wherry/base/fs.h"
#include "wherry/github/register.h"

#define FIELD(name, kind, member, web)                                                                       \
    {                                                                                                        \
        name, kind, offsetof(struct wh_runner_config, member), web                                           \
    }
#define KEPT(name)                                                                                           \
    {                                                                                                        \
        name, GH_FIELD_KEPT, 0, false                                                                        \
    }

const struct gh_field gh_runner_fields[] = {
    KEPT("isHostedServer"),
    FIELD("agentId", GH_FIELD_NUMBER, id, false),
    FIELD("agentName", GH_FIELD_TEXT, name, false),
    FIELD("skipSessionRecover", GH_FIELD_FLAG, skip_session_recover, false),
    FIELD("poolId", GH_FIELD_NUMBER, group_id, false),
    FIELD("poolName", GH_FIELD_TEXT, group, false),
    FIELD("disableUpdate", GH_FIELD_FLAG, disable_update, false),
    FIELD("ephemeral", GH_FIELD_FLAG, ephemeral, false),
    FIELD("serverUrl", GH_FIELD_TEXT, server_url, true),
    FIELD("gitHubUrl", GH_FIELD_TEXT, url, true),
    FIELD("workFolder", GH_FIELD_TEXT, work_folder, false),
    KEPT("monitorSocketAddress"),
    FIELD("useV2Flow", GH_FIELD_FLAG, use_v2, false),
    FIELD("useRunnerAdminFlow", GH_FIELD_FLAG, runner_admin, false),
    FIELD("serverUrlV2", GH_FIELD_TEXT, server_url_v2, true),
    {NULL, GH_FIELD_KEPT, 0, false},
};

const struct gh_field gh_credential_fields[] = {
    FIELD("clientId", GH_FIELD_TEXT, client_id, false),
    FIELD("authorizationUrl", GH_FIELD_TEXT, authorization_url, true),
    FIELD("requireFipsCryptography", GH_FIELD_FLAG, ps256, false),
    FIELD("oauthEndpointUrl", GH_FIELD_TEXT, oauth_endpoint_url, true),
    FIELD("enableAuthMigrationByDefault", GH_FIELD_FLAG, auth_migration, false),
    FIELD("authorizationUrlV2", GH_FIELD_TEXT, authorization_url_v2, true),
    {NULL, GH_FIELD_KEPT, 0, false},
};

static const char *const names[] = {".runner", ".credentials", ".credentials_rsaparams"};
static const char *const migrated[] = {".runner_migrated", ".credentials_migrated", NULL};

const char *wh_official_file_name(enum wh_official_file file)
{
    return names[file];
}

void wh_official_clear(struct wh_official *official)
{
    wh_runner_config_free(official->config);
    wh_rsa_key_free(official->key);
    memset(official, 0, sizeof *official);
}

/* ---- one field ---- */

static bool is_web(const char *text)
{
    return (wh_starts_with_ci(text, "https://") || wh_starts_with_ci(text, "http://")) &&
           !strpbrk(text, " \r\n\t");
}

static int fail_field(struct wh_error *err, const char *what, const char *name, const char *wanted)
{
    return wh_fail(err, WH_E_PARSE, "%s: field %s must be %s (was the file edited?)", what, name, wanted);
}

static int read_flag(const cJSON *json, const struct gh_field *field, const char *what, bool *to,
                     struct wh_error *err)
{
    /* The official runner takes the mere presence of this one for a yes. */
    if (wh_streq(field->name, "enableAuthMigrationByDefault")) {
        *to = true;
        return 0;
    }
    *to = wh_json_bool(json, field->name, false);
    return *to == wh_json_bool(json, field->name, true) ? 0
                                                        : fail_field(err, what, field->name, "true or false");
}

static int read_field(const cJSON *json, const struct gh_field *field, const char *what,
                      struct wh_runner_config *config, struct wh_error *err)
{
    void *to = gh_field_at(config, field);
    if (!wh_json_get(json, field->name))
        return 0;
    if (field->kind == GH_FIELD_FLAG)
        return read_flag(json, field, what, to, err);
    if (field->kind == GH_FIELD_NUMBER) {
        int64_t *number = to;
        *number = wh_json_int(json, field->name, -1);
        return *number >= 0 ? 0 : fail_field(err, what, field->name, "a number");
    }
    const char *text = wh_json_string(json, field->name);
    if (!text || (field->web && *text && !is_web(text)))
        return fail_field(err, what, field->name, field->web ? "a web address" : "a text");
    char **place = to;
    free(*place);
    *place = *text ? wh_strdup(text) : NULL;
    return 0;
}

static bool is_known(const struct gh_field *fields, const char *name)
{
    for (; fields->name; fields++)
        if (wh_streq_ci(fields->name, name))
            return fields->kind != GH_FIELD_KEPT;
    return false;
}

/* What we don't know is kept under the file's own names. */
static void keep_foreign(const cJSON *json, const struct gh_field *fields, const char *member,
                         struct wh_runner_config *config)
{
    const cJSON *item;
    cJSON *kept = NULL;
    cJSON_ArrayForEach(item, json)
    {
        if (!item->string || cJSON_IsNull(item) || is_known(fields, item->string))
            continue;
        if (!config->foreign)
            config->foreign = cJSON_CreateObject();
        if (!kept)
            kept = cJSON_AddObjectToObject(config->foreign, member);
        cJSON_AddItemToObject(kept, item->string, cJSON_Duplicate(item, true));
    }
}

static int read_fields(const cJSON *json, const struct gh_field *fields, const char *member, const char *what,
                       struct wh_runner_config *config, struct wh_error *err)
{
    for (const struct gh_field *field = fields; field->name; field++)
        if (field->kind != GH_FIELD_KEPT && read_field(json, field, what, config, err))
            return -1;
    keep_foreign(json, fields, member, config);
    return 0;
}

/* ---- the two files ---- */

static cJSON *parse(struct wh_view bytes, const char *what, struct wh_error *err)
{
    cJSON *json = wh_json_parse(bytes.data, bytes.len, WH_MAX_OFFICIAL_FILE, what, err);
    if (!json)
        wh_wrap(err, "it is truncated or damaged");
    else if (!cJSON_IsObject(json))
        wh_fail(err, WH_E_PARSE, "%s is no object in JSON: it is no file of a runner", what);
    if (cJSON_IsObject(json))
        return json;
    cJSON_Delete(json);
    return NULL;
}

static int missing(struct wh_error *err, const char *what, const char *name)
{
    return wh_fail(
        err, WH_E_PARSE,
        "%s: field %s is missing: the file was edited, or is of another program or version. Register "
        "the runner anew",
        what, name);
}

static int check_runner(const struct wh_runner_config *c, const char *what, struct wh_error *err)
{
    if (c->id <= 0)
        return missing(err, what, "agentId");
    if (!c->name)
        return missing(err, what, "agentName");
    if (c->use_v2 && !c->server_url_v2)
        return missing(err, what, "serverUrlV2");
    if (!c->use_v2 && !c->server_url)
        return missing(err, what, "serverUrl");
    wh_autogithuburl url = {0};
    if (c->url && wh_github_url_parse(c->url, &url, err))
        return wh_wrap(err, "%s: field gitHubUrl", what);
    return 0;
}

static int read_runner(struct wh_view bytes, struct wh_runner_config *config, struct wh_error *err)
{
    wh_autojson *json = parse(bytes, names[WH_FILE_RUNNER], err);
    if (!json || read_fields(json, gh_runner_fields, GH_FOREIGN_RUNNER, names[WH_FILE_RUNNER], config, err) ||
        check_runner(config, names[WH_FILE_RUNNER], err))
        return -1;
    if (!config->url)
        config->url = wh_strdup("");
    return 0;
}

static int read_credentials(struct wh_view bytes, struct wh_runner_config *config, struct wh_error *err)
{
    const char *what = names[WH_FILE_CREDENTIALS];
    wh_autojson *json = parse(bytes, what, err);
    const char *scheme = json ? wh_json_need_string(json, "scheme", what, err) : NULL;
    if (!scheme)
        return -1;
    if (!wh_streq_ci(scheme, GH_SCHEME))
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "%s: credentials of the scheme \"%.60s\" are not those of a registered runner (%s): "
                       "register it anew",
                       what, scheme, GH_SCHEME);
    const cJSON *data = wh_json_need_object(json, "data", what, err);
    if (!data || read_fields(data, gh_credential_fields, GH_FOREIGN_CREDENTIALS, what, config, err))
        return -1;
    if (!config->client_id)
        return missing(err, what, "clientId");
    return config->authorization_url ? 0 : missing(err, what, "authorizationUrl");
}

int gh_official_settings(struct wh_view runner, struct wh_view credentials, struct wh_runner_config *config,
                         struct wh_error *err)
{
    return read_runner(runner, config, err) || read_credentials(credentials, config, err) ? -1 : 0;
}

static int check_name(const char *name, const char *what, struct wh_error *err)
{
    if (!wh_runner_name_valid(name))
        return wh_fail(
            err, WH_E_ARGUMENT,
            "%s: the runner's name \"%.80s\" cannot name a folder here: names have 1 to %d letters, "
            "digits, dots, dashes and underscores, and do not start with a dot",
            what, name, WH_MAX_RUNNER_NAME);
    return 0;
}

int wh_official_read(const struct wh_view files[WH_OFFICIAL_FILES], struct wh_official *out,
                     struct wh_error *err)
{
    wh_autorunner *config = wh_calloc(1, sizeof *config);
    struct wh_view params = files[WH_FILE_RSAPARAMS];
    memset(out, 0, sizeof *out);
    if (gh_official_settings(files[WH_FILE_RUNNER], files[WH_FILE_CREDENTIALS], config, err) ||
        check_name(config->name, names[WH_FILE_RUNNER], err))
        return -1;
    out->key = wh_rsa_key_import_params(params.data, params.len, err);
    if (!out->key)
        return wh_wrap(err, "%s", names[WH_FILE_RSAPARAMS]);
    out->config = wh_steal(&config);
    return 0;
}

/* ---- a folder ---- */

static int read_one(int dir, const char *folder, size_t i, struct wh_str *text, struct wh_error *err)
{
    bool newer = migrated[i] && faccessat(dir, names[i], F_OK, 0) && errno == ENOENT &&
                 faccessat(dir, migrated[i], F_OK, 0) == 0;
    const char *name = newer ? migrated[i] : names[i];
    wh_autoerror why = {0};
    if (wh_read_file(dir, name, WH_MAX_OFFICIAL_FILE, text, &why) >= 0)
        return 0;
    if (why.code == WH_E_NOT_FOUND)
        return wh_fail(err, WH_E_NOT_FOUND,
                       "%s has no file %s: give the folder of a configured official runner", folder, name);
    wh_error_move(err, &why);
    return wh_wrap(err, "%s/%s", folder, name);
}

int wh_official_read_dir(const char *folder, struct wh_official *out, struct wh_error *err)
{
    struct wh_official_texts texts = {0};
    struct wh_view views[WH_OFFICIAL_FILES];
    int code = 0;
    memset(out, 0, sizeof *out);
    wh_autoclose int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return wh_fail_errno(err, "open the folder %s", folder);
    for (size_t i = 0; code == 0 && i < WH_OFFICIAL_FILES; i++) {
        code = read_one(dir, folder, i, &texts.text[i], err);
        views[i] = (struct wh_view){.data = wh_str_text(&texts.text[i]), .len = texts.text[i].len};
    }
    if (code == 0 && (code = wh_official_read(views, out, err)))
        wh_wrap(err, "%s", folder);
    wh_official_texts_clear(&texts);
    return code;
}
