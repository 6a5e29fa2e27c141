/* Writing the official runner's files: a BOM, two spaces, names in its order, what has its default left out.
 */
#include <errno.h>
#include <unistd.h>

#include "github/official_fields.h"
#include "github/rest.h"
#include "github/rsa_key.h"
#include "wherry/base/fs.h"

#define BOM "\xef\xbb\xbf"

void wh_official_texts_clear(struct wh_official_texts *texts)
{
    for (size_t i = 0; i < WH_OFFICIAL_FILES; i++)
        wh_str_wipe(&texts->text[i]);
}

static void add_kept(cJSON *to, const char *name, const cJSON *kept)
{
    const cJSON *item = wh_json_get(kept, name);
    if (item)
        cJSON_AddItemToObject(to, name, cJSON_Duplicate(item, true));
}

static bool is_listed(const struct gh_field *fields, const char *name)
{
    for (; fields->name; fields++)
        if (wh_streq_ci(fields->name, name))
            return true;
    return false;
}

static void add_rest(cJSON *to, const struct gh_field *fields, const cJSON *kept)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, kept) if (item->string && !is_listed(fields, item->string))
        cJSON_AddItemToObject(to, item->string, cJSON_Duplicate(item, true));
}

static cJSON *runner_json(const struct wh_runner_config *config)
{
    cJSON *json = cJSON_CreateObject();
    const cJSON *kept = wh_json_get(config->foreign, GH_FOREIGN_RUNNER);
    for (const struct gh_field *field = gh_runner_fields; field->name; field++) {
        const void *from = gh_field_at(config, field);
        if (field->kind == GH_FIELD_KEPT) {
            add_kept(json, field->name, kept);
        } else if (field->kind == GH_FIELD_NUMBER) {
            if (*(const int64_t *)from)
                wh_json_add_int(json, field->name, *(const int64_t *)from);
        } else if (field->kind == GH_FIELD_FLAG) {
            if (*(const bool *)from)
                cJSON_AddBoolToObject(json, field->name, true);
        } else {
            const char *text = *(char *const *)from;
            if (wh_streq(field->name, "workFolder") && !text)
                text = "_work";
            if (wh_streq(field->name, "agentName") && config->agent_name)
                text = config->agent_name; /* somebody renamed it on GitHub */
            if (text && *text)
                wh_json_add_string(json, field->name, text);
        }
    }
    add_rest(json, gh_runner_fields, kept);
    return json;
}

/* All values are texts here. */
static cJSON *credentials_json(const struct wh_runner_config *config)
{
    cJSON *json = cJSON_CreateObject();
    const cJSON *kept = wh_json_get(config->foreign, GH_FOREIGN_CREDENTIALS);
    wh_json_add_string(json, "scheme", GH_SCHEME);
    cJSON *data = cJSON_AddObjectToObject(json, "data");
    for (const struct gh_field *field = gh_credential_fields; field->name; field++) {
        const void *from = gh_field_at(config, field);
        if (field->kind == GH_FIELD_TEXT)
            wh_json_add_string(data, field->name, *(char *const *)from);
        else if (wh_streq(field->name, "requireFipsCryptography"))
            wh_json_add_string(data, field->name, *(const bool *)from ? "True" : "False");
        else if (*(const bool *)from)
            wh_json_add_string(data, field->name, "true");
    }
    add_rest(data, gh_credential_fields, kept);
    return json;
}

static void print_json(struct wh_str *out, cJSON *json)
{
    wh_autofree char *text = wh_json_print_indented(json);
    wh_str_add(out, BOM);
    wh_str_add(out, text);
    cJSON_Delete(json);
}

void gh_official_print_file(const struct wh_runner_config *config, enum wh_official_file file,
                            struct wh_str *out)
{
    print_json(out, file == WH_FILE_RUNNER ? runner_json(config) : credentials_json(config));
}

int wh_official_print(const struct wh_runner_config *config, const struct wh_rsa_key *key,
                      struct wh_official_texts *out, struct wh_error *err)
{
    gh_official_print_file(config, WH_FILE_RUNNER, &out->text[WH_FILE_RUNNER]);
    gh_official_print_file(config, WH_FILE_CREDENTIALS, &out->text[WH_FILE_CREDENTIALS]);
    wh_str_add(&out->text[WH_FILE_RSAPARAMS], BOM);
    return wh_rsa_key_export_params(key, &out->text[WH_FILE_RSAPARAMS], err);
}

int wh_official_write_dir(const char *folder, const struct wh_runner_config *config,
                          const struct wh_rsa_key *key, struct wh_error *err)
{
    struct wh_official_texts texts = {0};
    wh_autoclose int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return wh_fail_errno(err, "open the folder %s", folder);
    for (size_t i = 0; i < WH_OFFICIAL_FILES; i++)
        if (faccessat(dir, wh_official_file_name(i), F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
            return wh_fail(err, WH_E_EXISTS,
                           "%s/%s is there already: give another folder, or remove it first", folder,
                           wh_official_file_name(i));
    int code = wh_official_print(config, key, &texts, err);
    /* The file that says "configured" comes last. */
    for (size_t i = WH_OFFICIAL_FILES; code == 0 && i-- > 0;)
        code = wh_write_file(dir, wh_official_file_name(i), texts.text[i].data, texts.text[i].len, 0600, err);
    wh_official_texts_clear(&texts);
    return code;
}
